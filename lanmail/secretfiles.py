"""Secrets that somebody typed: a file each in conf/secrets, mode 0600, with a name made from whose it is and the key.

    write(where, "meier", ("outgoing", "password"), "geheim")     "file:secrets/meier.outgoing.password"
    drop(where, "meier", ("sources", "gmx"))                      all below this key
    move(where, "meier", "weber")                                 the references that are others now

A part of a name has only a-z, 0-9, "_" and "-", so that nothing typed becomes part of a path and no owner's files
begin like another's. A file that some other place in conf/ names, too, is not removed.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lanmail import atomic
from lanmail.paths import Paths

_LONGEST = 60
BY_COMMAND = "source-{}-"  # files that `lanmail source add` makes for an account


def reference(owner: str, key: Sequence[str] = ()) -> str:
    """What stands in conf/ for the secret of this key."""
    return f"file:secrets/{name_of(owner, key)}"


def name_of(owner: str, key: Sequence[str] = ()) -> str:
    """The name of the file."""
    return ".".join(_part(one) for one in (owner, *key))


def _part(text: str) -> str:
    if len(text) <= _LONGEST and re.fullmatch("[a-z0-9_-]+", text):
        return text
    clean = re.sub("[^a-z0-9_-]+", "-", text.lower())[:_LONGEST]
    return f"{clean}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:10]}"


def write(where: Paths, owner: str, key: Sequence[str], text: str) -> str:
    """Write a secret where only the programs read it; the reference for conf. OSError."""
    put(where, name_of(owner, key), f"{text}\n".encode())
    return reference(owner, key)


def put(where: Paths, name: str, data: bytes) -> None:
    """Write a file, owned like what the programs write when root does it. OSError."""
    where.secrets.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = where.secrets / name
    atomic.write(path, data, mode=0o600)
    if os.geteuid() == 0 and where.var.exists():
        owner = where.var.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def content(where: Paths, name: str) -> bytes | None:
    """What a file holds now; None when there is none. OSError."""
    try:
        return atomic.read(where.secrets / name, 1 << 20)
    except FileNotFoundError:
        return None


def drop(where: Paths, owner: str, key: Sequence[str] = ()) -> list[str]:
    """Remove the secrets of a key and of all keys below it, which nothing in conf/ names any more. OSError.

    Without a key all of the owner.
    """
    named = name_of(owner, key)
    beginnings = (f"{named}.",) if key else (f"{named}.", BY_COMMAND.format(owner))
    found = [one for one in _names(where) if one == named or one.startswith(beginnings)]
    gone = [one for one in found if not _is_named(where, one)]
    for one in gone:
        (where.secrets / one).unlink(missing_ok=True)
    if gone:
        atomic.sync_dir(where.secrets)
    return gone


def move(where: Paths, owner: str, new: str, named: Collection[str]) -> dict[str, str]:
    """Copy the files of an owner that are `named` (references) for another: old reference → new one. OSError.

    The old files stay until `drop`: who reads the old reference at this moment still finds its secret.
    """
    moved = {}
    for one in list(_names(where)):
        for before, after in ((f"{_part(owner)}.", f"{_part(new)}."),
                              (BY_COMMAND.format(owner), BY_COMMAND.format(new))):
            if (one.startswith(before) and f"file:secrets/{one}" in named
                    and (data := content(where, one)) is not None):
                put(where, after + one.removeprefix(before), data)
                moved[f"file:secrets/{one}"] = f"file:secrets/{after}{one.removeprefix(before)}"
    return moved


def _names(where: Paths) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        yield from (one for one in sorted(os.listdir(where.secrets)) if not one.startswith("."))


def _is_named(where: Paths, name: str) -> bool:
    """Whether a file in conf/ still has the reference."""
    wanted = f"file:secrets/{name}".encode()
    return any(re.search(re.escape(wanted) + b"[\"']", data) for data in map(_read, _files(where.conf)))


def _files(conf: Path) -> Iterator[Path]:
    for directory in (conf, conf / "accounts", conf / "apps"):
        if directory.is_dir():
            yield from sorted(path for path in directory.iterdir() if path.suffix == ".toml")


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return atomic.read(path, 1 << 20)
    return b""
