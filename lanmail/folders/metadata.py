"""Notes that clients attach to folders and to the account (RFC 5464): small flat files, `lanmail-metadata`.

    load(path) -> Entries                     (account, entry) → value; account "" is for what all share
    change(path, account, values) -> None     None as a value takes the entry away; raises TooLarge, TooMany
    FOLDER, SERVER                            the file's name in a folder, and the one for the account as a whole

A line is `ACCOUNT<TAB>ENTRY<TAB>VALUE`, with \\\\, \\t, \\n, \\r written as two characters. Entry names are in lower
case. A private note in somebody else's folder lies in the folder, too, under the name of its writer, so that it goes
along when the folder is renamed and goes away with it. Dotlock `….lock`. Blocking.
"""

import os

from lanmail import atomic
from lanmail.folders import dotlock

FOLDER = "lanmail-metadata"
SERVER = "lanmail-metadata-server"
MAX_VALUE = 32 << 10
MAX_ENTRIES = 100  # of one account in one folder
_LIMIT = 8 << 20
_TABLE = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_PLAIN = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}

Entries = dict[tuple[str, str], bytes]


class TooLarge(ValueError):
    """A value has more than MAX_VALUE octets."""


class TooMany(ValueError):
    """There is no room for more entries."""


def load(path: str) -> Entries:
    """All entries of a file; a line that makes no sense is passed over."""
    try:
        text = atomic.read(path, _LIMIT).decode("utf-8", "surrogateescape")
    except OSError:
        return {}
    found: Entries = {}
    for line in text.split("\n"):
        parts = line.split("\t")
        if len(parts) == 3 and parts[1].startswith("/"):
            found[parts[0], parts[1]] = _unescaped(parts[2]).encode("utf-8", "surrogateescape")
    return found


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    pieces, escaped = [], False
    for character in text:
        if escaped:
            pieces.append(_PLAIN.get(character, character))
        elif character != "\\":
            pieces.append(character)
        escaped = character == "\\" and not escaped
    return "".join(pieces)


def change(path: str, account: str, values: dict[str, bytes | None]) -> None:
    """Set and remove entries, all or none; those that begin with /shared/ are everybody's."""
    if any(value is not None and len(value) > MAX_VALUE for value in values.values()):
        raise TooLarge
    with dotlock.held(path):
        found = load(path)
        for entry, value in values.items():
            whose = "" if entry.startswith("/shared/") else account
            if value is None:
                found.pop((whose, entry), None)
            else:
                found[whose, entry] = value
        if any(sum(one == whose for one, _ in found) > MAX_ENTRIES for whose in ("", account)):
            raise TooMany
        data = "".join(_line(key, value) for key, value in sorted(found.items())).encode("utf-8", "surrogateescape")
        if len(data) > _LIMIT:
            raise TooMany
        if data:
            atomic.write(path, data, mode=0o660)
        elif os.path.lexists(path):
            os.unlink(path)


def _line(key: tuple[str, str], value: bytes) -> str:
    text = value.decode("utf-8", "surrogateescape").translate(_TABLE)
    return f"{key[0]}\t{key[1]}\t{text}\n"
