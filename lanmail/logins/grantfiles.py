"""The files below state/grants: JSON objects, each named by an id or by the hash of a secret that only its owner has.

A file that is damaged, of another kind or named otherwise is as good as none, so it lets nobody in.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lanmail import atomic

HASH = re.compile(r"[0-9a-f]{64}")
ID = re.compile(r"[0-9a-f]{32}")


class Files:
    """Some kinds of them: `kinds` says which fields the files of each directory have."""

    def __init__(self, root: Path, kinds: Mapping[str, Collection[str]]) -> None:
        self.root = root
        self._kinds = {kind: set(fields) for kind, fields in kinds.items()}

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One at a time: two requests with one token must not both find it unused."""
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        with open(self.root / "lock", "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def path(self, kind: str, name: str) -> Path:
        """Where it is; `name` is an id or a hash, never what a client sent."""
        return self.root / kind / f"{name}.json"

    def names(self, kind: str) -> list[str]:
        """Of all files of a kind."""
        try:
            found = os.listdir(self.root / kind)
        except FileNotFoundError:
            return []
        return [name[:-5] for name in found
                if name.endswith(".json") and (HASH.fullmatch(name[:-5]) or ID.fullmatch(name[:-5]))]

    def read(self, kind: str, name: str) -> dict[str, Any] | None:
        """What a file has; None for one that is not there, damaged, or of another kind."""
        try:
            known = json.loads(atomic.read(self.path(kind, name)))
        except (OSError, ValueError):
            return None
        return known if isinstance(known, dict) and known.keys() == self._kinds[kind] else None

    def write(self, kind: str, name: str, known: dict[str, Any], *, durable: bool = True) -> None:
        """Replace the file."""
        path = self.path(kind, name)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        atomic.write(path, json.dumps(known, ensure_ascii=False) + "\n", durable=durable)

    def unlink(self, kind: str, name: str) -> int:
        """Take it away; how many there were."""
        try:
            self.path(kind, name).unlink()
        except FileNotFoundError:
            return 0
        return 1


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
