"""The mails of a store (sources.py), one after the other."""

import bz2
import contextlib
import gzip
import lzma
import os
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from typing import BinaryIO

from lanmail import maildir, mbox, message
from lanmail.cli.mailbox import rights, sources
from lanmail.cli.mailbox.mail import Mail
from lanmail.folders import keywords, uidlist

_PIECE = 1 << 18
_LARGEST = 1 << 30
_UNPACK = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def mails(store: sources.Store, variant: str = "auto") -> Iterator[Mail]:
    """All mails of a store; OSError when it cannot be read."""
    if store.kind == "mbox":
        yield from _of_mbox(store, variant)
    elif store.kind == "maildir":
        yield from _of_maildir(store)
    else:
        yield Mail(store.levels, "", (), _date_of(store.path), partial(_file, store.path), place=store.path)


def _of_mbox(store: sources.Store, variant: str) -> Iterator[Mail]:
    descriptor = sources.open_file(store.path)
    try:
        for number, one in enumerate(mbox.messages(descriptor, variant), 1):
            if one.is_mail:
                date = one.date if one.date is not None else _received(one.header)
                yield Mail(store.levels, "", one.flags, date, one.chunks, place=f"{store.path}, message {number}")
    finally:
        os.close(descriptor)


def _of_maildir(store: sources.Store) -> Iterator[Mail]:
    with rights.of_caller():
        table = keywords.load(store.path)
    courier = _courier_keywords(store.path)
    numbers = uids_of(store.path)
    known = numbers.uids if numbers else {}
    found: dict[str, tuple[str, str]] = {}
    for sub in ("new", "cur"):
        with contextlib.suppress(FileNotFoundError):
            for entry in sources.listed(f"{store.path}/{sub}"):
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    found[base_of(entry.name)] = (sub, entry.name)
    # in the order of UIDs; what has none came later
    for base in sorted(found, key=lambda base: (known.get(base, uidlist.MAX), maildir.arrival(base))):
        sub, name = found[base]
        letters = sources.letters(name).partition(",")[0]
        flags = [maildir.FLAGS[letter] for letter in letters if letter in maildir.FLAGS]
        if "P" in letters:
            flags.append("$Forwarded")
        flags += [*table.of(letters, base), *courier.get(name, ()), *courier.get(base, ())]
        path = f"{store.path}/{sub}/{name}"
        date = _modified(path)
        if date is not None:
            yield Mail(store.levels, base, tuple(dict.fromkeys(flags)), date, partial(_file, path), base, path)


def _modified(path: str) -> float | None:
    """The time of a file; None when it is gone."""
    try:
        with rights.of_caller():
            return os.lstat(path).st_mtime
    except FileNotFoundError:
        return None


def base_of(name: str) -> str:
    """The part of a file name that never changes, also where the colon could not be written."""
    return name.split(":", 1)[0].split(";2,", 1)[0].split("!2,", 1)[0].split("\uf022", 1)[0]


def uids_of(path: str) -> uidlist.UidList | None:
    """The UIDs that Dovecot, Courier or we gave in a Maildir."""
    for name in (uidlist.NAME, uidlist.COURIER):
        with contextlib.suppress(OSError, uidlist.Corrupt):
            descriptor = sources.open_file(f"{path}/{name}")
            try:
                return uidlist.parse(_whole(descriptor))
            finally:
                os.close(descriptor)
    return None


def _courier_keywords(path: str) -> dict[str, tuple[str, ...]]:
    """courierimapkeywords/:list — keywords, an empty line, then `file name:number number`."""
    found: dict[str, tuple[str, ...]] = {}
    with contextlib.suppress(OSError):
        descriptor = sources.open_file(f"{path}/courierimapkeywords/:list")
        try:
            text = os.fsdecode(_whole(descriptor))
        finally:
            os.close(descriptor)
        first, _, rest = text.partition("\n\n")
        names = first.split("\n")
        for line in rest.split("\n"):
            base, _, numbers = line.rpartition(":")
            found[base] = tuple(names[int(one)] for one in numbers.split()
                                if one.isascii() and one.isdigit() and len(one) < 6 and int(one) < len(names))
    return found


def _whole(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, 1 << 20):
        data += piece
        if len(data) > _LARGEST:
            raise OSError("it is larger than 1 GiB")
    return data


def _file(path: str) -> Iterator[bytes]:
    """A message file, unpacked when Dovecot's mail_compress wrote it."""
    descriptor = sources.open_file(path)
    with open(descriptor, "rb") as raw:
        first = raw.peek(6)[:6]
        unpack = next((opener for magic, opener in _UNPACK.items() if first.startswith(magic)), None)
        if first.startswith((b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")):
            raise OSError("it is compressed with zstd or lz4; let Dovecot write it plain: doveadm backup")
        stream: BinaryIO = unpack(raw, "rb") if unpack else raw  # type: ignore[operator]
        total = 0
        try:
            while piece := stream.read(_PIECE):
                total += len(piece)
                if total > _LARGEST:
                    raise OSError("it is larger than 1 GiB, which is no mail")
                yield piece
        except (EOFError, lzma.LZMAError) as error:
            raise OSError(f"it is packed and damaged: {error}") from None


def _date_of(path: str) -> float | None:
    """When a single message came in: what the topmost Received says, else the time of the file."""
    with contextlib.suppress(OSError):
        descriptor = sources.open_file(path)
        try:
            found = _received(os.read(descriptor, 64 << 10))
            return found if found is not None else os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
    return None


def _received(header: bytes) -> float | None:
    """The date of the topmost Received, else of Date."""
    received = (message.field(header, b"received") or b"").rpartition(b";")[2]
    for text in (received, message.field(header, b"date") or b""):
        with contextlib.suppress(ValueError, OverflowError, TypeError, IndexError):
            moment = parsedate_tz(text[:200].decode("ascii", "replace"))
            if moment is not None and 1970 <= moment[0] < 2200:
                return float(mktime_tz(moment))
    return None
