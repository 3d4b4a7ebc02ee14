"""Which servers have offered TLS: one that did and no longer does is refused (somebody on the way may strip STARTTLS).

    state/tls-seen.json    {"smtp.provider.example:587": "2026-11-21"}

For people: to forget a server, remove its line; tls = "none" in conf asks no memory at all.
"""

import contextlib
import json
import time
from pathlib import Path

from lanmail import atomic

NAME = "tls-seen.json"


class Memory:
    """The memory of one installation; reads its file once and writes it when something new is seen."""

    def __init__(self, state: Path) -> None:
        self._path = state / NAME
        self._stamp = -1
        self._seen: dict[str, str] = {}

    def seen(self, server: str) -> str | None:
        """The day on which this server (`host:port`) last offered TLS, as far as it was written down."""
        self._read()
        return self._seen.get(server)

    def remember(self, server: str) -> None:
        """It offers TLS. A disk that is full does not keep mail from being sent."""
        self._read()
        if server in self._seen:
            return
        self._seen[server] = time.strftime("%Y-%m-%d")
        with contextlib.suppress(OSError):
            atomic.write(self._path, json.dumps(self._seen, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> None:
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            stamp = 0
        if stamp == self._stamp:
            return
        self._stamp, self._seen = stamp, {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(atomic.read(self._path))
            if isinstance(found, dict):
                self._seen = {str(key): str(value) for key, value in found.items()}
