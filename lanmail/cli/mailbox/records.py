"""What can be wrong with the small files of a folder: the uidlist, the keywords."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

from lanmail import atomic, maildir
from lanmail.cli.mailbox import aside
from lanmail.cli.mailbox.damage import Damage, many
from lanmail.folders import dotlock, folder, keywords, uidlist

_LIMIT = 1 << 30
_VALIDITY = re.compile(rb"\bV([0-9]{1,10})\b")
_RECORD = re.compile(rb"([1-9][0-9]{0,9})(?: [!-9;-~]\S*)* :([^/\n]+)")
_KEYWORD = re.compile(rb"(\d{1,2}) (\S+)")


def of_folder(root: str, name: str, path: str) -> Iterator[Damage]:
    """Everything about the uidlist and the keywords of one folder."""
    yield from _uidlist(root, name, path)
    yield from _keywords(root, name, path)


def _read(path: str) -> bytes | None:
    """The content; None when there is no such file."""
    try:
        return atomic.read(path, _LIMIT)
    except FileNotFoundError:
        return None


# --- the uidlist -----------------------------------------------------------------------------------------------

def _uidlist(root: str, name: str, path: str) -> Iterator[Damage]:
    file = f"{path}/{uidlist.NAME}"
    where = (os.path.relpath(file, root),)
    try:
        data = _read(file)
    except OSError as error:
        if not isinstance(error, PermissionError):  # that one is told with the rights
            yield Damage("fail", name, "uidlist-unreadable", f"the uidlist cannot be read: {error.strerror}",
                         "the folder cannot be opened", "put it aside; clients download everything again",
                         where, partial(_renew, root, path))
        return
    if data is None:
        return
    first, _, rest = data.partition(b"\n")
    try:
        parsed = uidlist.parse(first + b"\n")
    except uidlist.Corrupt as error:
        kept = "the UIDs that can be read stay" if _VALIDITY.search(first) else "clients download everything again"
        yield Damage("fail", name, "uidlist-damaged", str(error),
                     "at the next look messages get new UIDs, and clients download everything again",
                     f"write it anew ({kept}); the damaged one is put aside", where, partial(_renew, root, path))
        return
    # the header of an old version is no damage, so the records are judged under one that is sound
    if not first.startswith(b"1 ") and uidlist.parse(b"3 V1 N1 G1\n" + rest).damaged:
        wrong = _wrong_records(rest)
        yield Damage("fail" if "UID" in wrong else "warn", name, "uidlist-damaged", f"the uidlist has {wrong}",
                     "those messages get a new UID, and clients download them again",
                     "write it anew from what can be read; the damaged one is put aside", where,
                     partial(_rewrite, root, path))
    yield from _without_uid(name, path, parsed, rest)


def _wrong_records(rest: bytes) -> str:
    """What is wrong with the lines, in words."""
    torn = bool(rest) and not rest.endswith(b"\n")
    lines = rest.split(b"\n")[:-1]
    found = [_RECORD.fullmatch(line) for line in lines]
    uids = [int(record[1]) for record in found if record]
    bases = Counter(record[2] for record in found if record)
    twice = sum(count > 1 for count in Counter(uids).values())
    parts = {
        many(found.count(None), "line that is no record", "lines that are no records"): found.count(None),
        many(twice, "UID given twice", "UIDs given twice"): twice,
        "UIDs that do not ascend": not twice and uids != sorted(uids),
        many(sum(count > 1 for count in bases.values()), "message named twice", "messages named twice"):
            any(count > 1 for count in bases.values()),
        "a torn last line": torn,
    }
    return ", ".join(text for text, bad in parts.items() if bad) or "lines that make no sense"


def _without_uid(name: str, path: str, parsed: uidlist.UidList, rest: bytes) -> Iterator[Damage]:
    known = {os.fsdecode(line.partition(b" :")[2]) for line in rest.split(b"\n")}
    try:
        cur = {maildir.base_of(one) for one in maildir.list_names(f"{path}/cur")}
    except OSError:
        return
    unknown = cur - known
    if unknown and parsed.guid:
        yield Damage("note", name, "no-uid", f"{many(len(unknown), 'message has', 'messages have')} no UID yet",
                     "they get one when a client looks into the folder", "give them one now", (),
                     partial(_look, path, root_of(path)))


def root_of(path: str) -> str:
    """The Maildir that a folder's directory belongs to."""
    return os.path.dirname(path) if os.path.basename(path).startswith(".") else path


def _look(path: str, root: str) -> None:
    folder.Folder(path, root).sync()


def _rewrite(root: str, path: str) -> None:
    """What can be read keeps its UIDs: looking at the folder writes the list anew when it is damaged."""
    with dotlock.held(f"{path}/{uidlist.NAME}", timeout=folder.LOCK_WAIT):
        aside.keep_copy(root, f"{path}/{uidlist.NAME}", "a damaged list of UIDs, before it was written anew")
    _look(path, root)


def _renew(root: str, path: str) -> None:
    """A list without a usable header: its UIDVALIDITY and UIDs are kept when they can still be read."""
    file = f"{path}/{uidlist.NAME}"
    with dotlock.held(file, timeout=folder.LOCK_WAIT):
        data = b""
        with contextlib.suppress(OSError):
            data = atomic.read(file, _LIMIT)
        with contextlib.suppress(FileNotFoundError):
            aside.put(root, file, "a damaged list of UIDs, before it was made anew")
        first, _, rest = data.partition(b"\n")
        validity = _VALIDITY.search(first)
        if validity and 0 < int(validity[1]) <= uidlist.MAX:
            # N only has to be right or too small: uidnext is the larger of it and the last UID + 1
            header = b"3 V" + validity[1] + b" N1 G" + os.urandom(16).hex().encode() + b"\n"
            atomic.write(file, uidlist.encode(uidlist.parse(header + rest)), mode=0o660)
    _look(path, root)


# --- keywords --------------------------------------------------------------------------------------------------

def _keywords(root: str, name: str, path: str) -> Iterator[Damage]:
    letters, further = f"{path}/{keywords.NAME}", f"{path}/{keywords.FURTHER}"
    for file, wrong in ((letters, _wrong_letters), (further, _wrong_further)):
        try:
            bad = wrong(_read(file) or b"")
        except OSError as error:
            bad = error.strerror or "unreadable"
            if isinstance(error, PermissionError):
                continue
        if bad:
            yield Damage("warn", name, "keywords-damaged", f"{os.path.basename(file)} is damaged: {bad}",
                         "some keywords (colours, labels of clients) are not shown",
                         "write it anew from what can be read; the damaged one is put aside",
                         (os.path.relpath(file, root),), partial(_rewrite_keywords, root, path, file))
    yield from _nameless(name, path)


def _wrong_letters(data: bytes) -> str:
    lines = data.split(b"\n")
    records = [_KEYWORD.fullmatch(line) for line in lines if line]
    if None in records or any(record and int(record[1]) >= len(keywords.LETTERS) for record in records):
        return "a line is not a number and a keyword"
    if max(Counter(record[1] for record in records if record).values(), default=0) > 1:
        return "a number is given twice"
    return ""


def _wrong_further(data: bytes) -> str:
    if data and not data.endswith(b"\n"):
        return "its end is torn off"
    return "a line is not keywords and a message" if any(b"\t" not in line for line in data.split(b"\n")[:-1]) else ""


def _rewrite_keywords(root: str, path: str, file: str) -> None:
    with dotlock.held(f"{path}/{uidlist.NAME}", timeout=folder.LOCK_WAIT):
        table = keywords.load(path)
        aside.put(root, file, "damaged keywords, before they were written anew")
        keywords.rewrite(path, table)


def _nameless(name: str, path: str) -> Iterator[Damage]:
    table = keywords.load(path)
    used: set[str] = set()
    with contextlib.suppress(OSError):
        for one in maildir.list_names(f"{path}/cur"):
            used.update(maildir.letters_of(one).partition(",")[0])
    lost = sorted(letter for letter in used if letter in keywords.LETTERS and letter not in table.by_letter)
    if lost:
        yield Damage("warn", name, "keywords-lost", f"the names of the keyword letters {' '.join(lost)} are lost",
                     f"clients do not show these keywords; {keywords.NAME} from a backup brings them back")
