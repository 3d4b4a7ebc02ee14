"""The `subscriptions` file of an account, as Dovecot keeps it (versions 1 and 2), and Courier's older one.

    load(root) -> list[str]              subscribed folder names, in the file's order
    add(root, *names) -> bool            False when all were subscribed already
    remove(root, *names) -> bool         False when none was subscribed
    exist(root) -> bool                  whether there is such a file
    adopt(root) -> bool                  take over `courierimapsubscribed`; True when there is a file now

Version 2: `V<TAB>2`, an empty line, then one name a line, its levels separated by TAB; version 1: plain names.
Names are in modified UTF-7. The version found is kept. Dotlock `subscriptions.lock`. Blocking.
"""

import os
from collections.abc import Callable

from lanmail import atomic, mutf7
from lanmail.folders import dotlock

NAME = "subscriptions"
COURIER = "courierimapsubscribed"
_V2 = b"V\t2\n\n"
_LIMIT = 4 << 20
_ESCAPES = {"\x01t": "\t", "\x01n": "\n", "\x01r": "\r", "\x011": "\x01", "\x010": "\x00"}


def exist(root: str) -> bool:
    """True when the account has a subscriptions file."""
    return os.path.lexists(f"{root}/{NAME}")


def load(root: str) -> list[str]:
    """The names subscribed to; empty without a file."""
    return [name for name in map(_name, _split(_read(root))[1]) if name]


def _read(root: str) -> bytes:
    try:
        return atomic.read(f"{root}/{NAME}", _LIMIT)
    except FileNotFoundError:
        return _V2


def _split(data: bytes) -> tuple[bytes, list[str]]:
    """Header and lines (levels separated by dots, still encoded) of a file of either version."""
    if not data.startswith(b"V\t2"):
        return b"", [line for line in data.decode("utf-8", "surrogateescape").split("\n") if line]
    body = data.partition(b"\n")[2].decode("utf-8", "surrogateescape")
    return _V2, [".".join(map(_unescape, line.split("\t"))) for line in body.split("\n") if line]


def _unescape(level: str) -> str:
    for escaped, plain in _ESCAPES.items():
        level = level.replace(escaped, plain)
    return level


def _name(line: str) -> str | None:
    try:
        return mutf7.decode(line)
    except ValueError:
        return None  # kept in the file, shown to nobody


def add(root: str, *names: str) -> bool:
    """Subscribe to folders, which need not exist."""
    wanted = [mutf7.encode(name) for name in names]
    return _change(root, lambda lines: lines + [name for name in wanted if name not in lines])


def remove(root: str, *names: str) -> bool:
    """Unsubscribe from folders."""
    unwanted = {mutf7.encode(name) for name in names}
    return _change(root, lambda lines: [line for line in lines if line not in unwanted])


def _change(root: str, change: Callable[[list[str]], list[str]]) -> bool:
    path = f"{root}/{NAME}"
    with dotlock.held(path):
        there = exist(root)
        header, lines = _split(_read(root))
        changed = change(lines)
        if changed == lines and there:
            return False
        if header:
            changed = [line.replace("\x01", "\x011").replace(".", "\t") for line in changed]
        text = "".join(line + "\n" for line in changed)
        atomic.write(path, header + text.encode("utf-8", "surrogateescape"), mode=0o660)
        return True


def adopt(root: str) -> bool:
    """Make a subscriptions file from Courier's, unless there is one."""
    if exist(root):
        return True
    try:
        data = atomic.read(f"{root}/{COURIER}", _LIMIT)
    except OSError:
        return False
    names = [_name(line) for line in data.decode("utf-8", "surrogateescape").split("\n")]
    plain = [name.removeprefix("INBOX.") for name in names if name]
    return add(root, *plain)
