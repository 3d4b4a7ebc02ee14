"""Mail that lies in files of others: mbox files, Maildirs, single messages, and trees of all three.

    find(path) -> Iterator[Store]      the folders below a path, each with its levels and what kind it is

In a tree the directories are the levels. Thunderbird's `NAME.sbd` holds the folders below NAME, Maildir++'s `.A.B` is
A/B; `.msf`, `.dat` and the like are no mail. No link is followed, and everything is opened with the rights of who typed
the command.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lanmail import atomic, maildir, mbox, mutf7
from lanmail.cli.mailbox import rights

Kind = Literal["mbox", "maildir", "eml"]
_NO_MAIL = (".msf", ".dat", ".html", ".json", ".sqlite", ".lock", ".db", ".log", ".ini", ".summary", ".gz", ".zip")
_MAILDIR_FILES = ("new", "cur", "tmp")
_DEEPEST = 24


@dataclass(frozen=True, slots=True)
class Store:
    """One folder in files. `path` is an mbox file, a Maildir's directory or one message."""

    levels: tuple[str, ...]
    kind: Kind
    path: str


def find(path: str) -> Iterator[Store]:
    """What lies there. FileNotFoundError; ValueError with a sentence when a file is neither mbox nor message."""
    path = os.path.abspath(path)
    with rights.of_caller():
        status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        yield from _directory(path, (), 0, top=True)
        return
    kind = _kind(path)
    if kind is None:
        raise ValueError(f"{path} is neither an mbox file nor a message")
    yield Store(_levels_of(os.path.basename(path)) if kind == "mbox" else (), kind, path)


def open_file(path: str) -> int:
    """A descriptor on a regular file of the source."""
    with rights.of_caller():
        return atomic.open_regular(path)


def listed(path: str) -> list[os.DirEntry[str]]:
    """A directory of the source, sorted by name."""
    with rights.of_caller(), os.scandir(path) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _directory(path: str, levels: tuple[str, ...], depth: int, *, top: bool = False) -> Iterator[Store]:
    entries = listed(path)
    names = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    is_maildir = "cur" in names
    if is_maildir:
        yield Store(levels or ("INBOX",), "maildir", path)
    if depth >= _DEEPEST:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            below = _below(entry.name, levels, in_maildir=is_maildir)
            if below is not None:
                yield from _directory(entry.path, below, depth + 1)
        elif not is_maildir and entry.is_file(follow_symlinks=False) and not entry.name.lower().endswith(_NO_MAIL):
            kind = _kind(entry.path)
            if kind == "mbox":
                yield Store((*levels, *_levels_of(entry.name)), kind, entry.path)
            elif kind == "eml":
                yield Store(levels, kind, entry.path)


def _below(name: str, levels: tuple[str, ...], *, in_maildir: bool) -> tuple[str, ...] | None:
    """The levels of a directory; None for one that holds no folders."""
    if in_maildir:
        if not name.startswith(".") or name.startswith(".."):
            return None
        parts = name[1:].split(".")  # Maildir++
        return tuple(_text(part) for part in (parts if levels in ((), ("INBOX",)) else (*levels, *parts)))
    if name.endswith(".sbd"):
        return (*levels, _text(name[:-4]))
    if name in _MAILDIR_FILES:
        return None
    return (*levels, *(_text(part) for part in (name[1:].split(".") if name.startswith(".") else [name])))


def _text(name: str) -> str:
    """A name on disk as text: modified UTF-7 (Maildir++, Courier) where it is that."""
    shown = os.fsencode(name).decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        return mutf7.decode(shown) if "&" in shown else shown
    return shown


def _levels_of(name: str) -> tuple[str, ...]:
    """What an mbox file is called: `Sent`, `archive.mbox`; the usual names of an inbox are INBOX."""
    stem = name[:-5] if name.lower().endswith(".mbox") else name[:-4] if name.lower().endswith(".mbx") else name
    return ("INBOX",) if stem.lower() in ("inbox", "mbox", "") else (_text(stem),)


def _kind(path: str) -> Kind | None:
    with contextlib.suppress(OSError):
        descriptor = open_file(path)
        try:
            first = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
        if mbox.is_mbox(first):
            return "mbox"
        if path.lower().endswith((".eml", ".email", ".mail")) or looks_like_mail(first):
            return "eml"
    return None


def looks_like_mail(first: bytes) -> bool:
    """Whether text begins with header fields as mails have them."""
    lowered = b"\n" + first.lower()
    head = lowered.replace(b"\r", b"").partition(b"\n\n")[0]
    return any(b"\n" + name + b":" in head for name in (b"received", b"from", b"message-id", b"return-path")) \
        and b":" in head.split(b"\n", 2)[1]


def letters(name: str) -> str:
    """The flag letters of a file in a Maildir; some systems write another character than the colon."""
    for mark in (":2,", ";2,", "!2,", "\uf0222,"):
        if mark in name:
            return name.partition(mark)[2]
    return maildir.letters_of(name)
