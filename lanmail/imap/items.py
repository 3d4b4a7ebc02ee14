"""What FETCH can tell about a message (RFC 3501 §6.4.5, §7.4.2): what each item costs, and how its value is made.

An item of cost NAME is a column of values, made for many messages at a time; of the others each value is made from a
`Message`, in which there already is what the cost promises. To add an item is to add a line to TABLE, and to
`fetchgrammar` if something follows its name.
"""

import contextlib
import enum
import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lanmail import maildir
from lanmail.folders import objectids, snapshot, summaries
from lanmail.imap import binary, mailbox, preview, records, section
from lanmail.mime import strings

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_CLOCK = [b"%02d:%02d:%%02d" % divmod(minute, 60) for minute in range(1440)]


class Cost(enum.IntEnum):
    """What must be at hand for an item; each includes those before it."""

    NAME = 0  # what the folder's snapshot knows
    STATUS = 1  # a look at the file, or what is kept of it: `Message.status` or `Message.record`
    SUMMARY = 2  # what is kept of a message once it was read: `Message.record`
    FILE = 3  # the message: `Message.source`


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to fetch, as a client asked for it; `label` is how it is named in the answer."""

    name: str
    label: bytes
    cut: section.Section | None = None
    partial: tuple[int, int] | None = None
    marks: bool = False  # sets \Seen

    @property
    def whole(self) -> bool:
        """Whether this is the message as it is."""
        return self.name == "SECTION" and self.cut == section.Section() and self.partial is None

    @property
    def cost(self) -> Cost:
        return Cost.SUMMARY if records.answers(self.cut) else TABLE[self.name].cost

    @property
    def form(self) -> bytes:
        """The item with its name, and %b for its value."""
        kind = TABLE[self.name]
        return kind.form.replace("%s", "%b").encode() if isinstance(kind, Column) else (
            self.label.replace(b"%", b"%%") + b" %b")

    def values(self, messages: Sequence["Message"]) -> list[bytes]:
        """The item without its name, for each of these messages of one mailbox."""
        return TABLE[self.name].written(messages, self)

    def said(self, messages: Sequence["Message"]) -> list[bytes]:
        """The item with its name."""
        return list(map(self.form.__mod__, self.values(messages)))


class Message:
    """A message that an answer is made for; what the dearest of its items needs is there, the rest may be None."""

    __slots__ = ("entry", "record", "source", "status", "view")

    def __init__(self, view: mailbox.View, entry: snapshot.Entry, record: summaries.Record | None = None) -> None:
        self.view = view
        self.entry = entry
        self.record = record
        self.status: os.stat_result | None = None
        self.source: section.Source | None = None


class Column(NamedTuple):
    """An item of cost NAME; `form` is the item with %s for its value."""

    form: str
    values: Callable[[mailbox.View, list[snapshot.Entry]], Iterable[object]]
    cost: Cost = Cost.NAME

    def written(self, messages: Sequence[Message], _item: Item) -> list[bytes]:
        values = self.values(messages[0].view, [message.entry for message in messages])
        # encoded as one text: none of them can hold a line end
        return "\n".join(map(str, values)).encode("ascii", "replace").split(b"\n")


class Single(NamedTuple):
    """An item that is made message by message."""

    cost: Cost
    value: Callable[[Message, Item], bytes]

    def written(self, messages: Sequence[Message], item: Item) -> list[bytes]:
        value = self.value
        return [value(message, item) for message in messages]


class Kept(NamedTuple):
    """An item that stands in the record as it is said."""

    part: int  # of `Record.parts`
    cost: Cost = Cost.SUMMARY

    def written(self, messages: Sequence[Message], _item: Item) -> list[bytes]:
        return [part or b"NIL" for part in summaries.Record.parts([message.record for message in messages], self.part)]


def _uids(_view: mailbox.View, entries: list[snapshot.Entry]) -> list[int]:
    return [entry.uid for entry in entries]


def _flags(view: mailbox.View, entries: list[snapshot.Entry]) -> list[str]:
    """What many have is looked up by the letters in the file name; \\Recent and rarities are put together."""
    texts, recent, mark = view.box.flag_texts(), view.recent, maildir.INFO
    if not recent:
        with contextlib.suppress(KeyError):
            return [texts[entry.name.partition(mark)[2]] for entry in entries]
    known = texts.get
    return [text if (text := known(entry.name.partition(mark)[2])) is not None and entry.uid not in recent
            else view.flags(entry) for entry in entries]


def _modseqs(_view: mailbox.View, entries: list[snapshot.Entry]) -> list[int]:
    return [entry.modseq for entry in entries]


def _sizes(_view: mailbox.View, entries: list[snapshot.Entry]) -> list[int]:
    return [entry.sizes[1] or 0 for entry in entries]


def _saved(base: str) -> str:
    """RFC 8514 §4.2."""
    moment = objectids.saved(base)
    return "NIL" if moment is None else internal_date(moment).decode()


def _date(message: Message, _item: Item) -> bytes:
    if message.status is not None:
        return internal_date(message.status.st_mtime)
    return internal_date(message.record.date if message.record is not None else 0)


def _section(message: Message, item: Item) -> bytes:
    assert item.cut is not None
    if message.source is not None:
        data = section.cut(message.source, item.cut, item.partial)
    else:
        data = records.fields((message.record and message.record.header) or b"", item.cut.fields)
        data = data if item.partial is None else data[item.partial[0] : sum(item.partial)]
    return b"NIL" if data is None else b"{%d}\r\n%b" % (len(data), data)


def _binary(message: Message, item: Item) -> bytes:
    return binary.written(_octets(message, item))


def _binary_size(message: Message, item: Item) -> bytes:
    return b"%d" % len(_octets(message, item) or b"")


def _octets(message: Message, item: Item) -> bytes | None:
    """RFC 3516 §4.2: a part without its transfer encoding."""
    assert message.source is not None
    assert item.cut is not None
    octets = binary.part(message.source, item.cut.part)
    return octets if octets is None or item.partial is None else octets[item.partial[0] :][: item.partial[1]]


def _preview(message: Message, _item: Item) -> bytes:
    """RFC 8970 §3: always made, also with LAZY, as only the beginning of the message is read for it."""
    assert message.source is not None
    return strings.nstring(preview.of(message.source.beginning(preview.MAX_OCTETS)).encode("utf-8", "replace"))


def internal_date(moment: float) -> bytes:
    """A date-time in quotes (RFC 3501 §9), in the server's zone."""
    seconds = math.floor(moment)
    offset = _offset(seconds // 86400)
    if offset is None:
        offset = time.localtime(seconds).tm_gmtoff
    day, clock = divmod(seconds + offset, 86400)
    return _dated(day, offset) % (_CLOCK[clock // 60] % (clock % 60))


@functools.lru_cache(maxsize=8192)
def _offset(day: int) -> int | None:
    """Seconds that the server's zone is ahead of UTC on that day since 1970; None when they change on it."""
    first, last = time.localtime(day * 86400).tm_gmtoff, time.localtime(day * 86400 + 86399).tm_gmtoff
    return first if first == last else None


@functools.lru_cache(maxsize=8192)
def _dated(day: int, offset: int) -> bytes:
    """The whole, with %b for the time of day."""
    date = time.gmtime(day * 86400)
    sign, seconds = ("-", -offset) if offset < 0 else ("+", offset)
    zone = f"{sign}{seconds // 3600:02d}{seconds % 3600 // 60:02d}"
    return f'"{date.tm_mday:2d}-{MONTHS[date.tm_mon - 1]}-{date.tm_year:04d} %b {zone}"'.encode()


TABLE: dict[str, Column | Single | Kept] = {
    "UID": Column("UID %s", _uids),
    "FLAGS": Column("FLAGS (%s)", _flags),
    "RFC822.SIZE": Column("RFC822.SIZE %s", _sizes),
    "MODSEQ": Column("MODSEQ (%s)", _modseqs),  # RFC 7162 §3.1.5
    "INTERNALDATE": Single(Cost.STATUS, _date),
    "ENVELOPE": Kept(2),
    "BODY": Kept(3),
    "BODYSTRUCTURE": Kept(4),
    "EMAILID": Column("EMAILID (%s)", lambda _, entries: [objectids.of_message(entry.base) for entry in entries]),
    "THREADID": Column("THREADID %s", lambda _, entries: ["NIL"] * len(entries)),
    "SAVEDATE": Column("SAVEDATE %s", lambda _, entries: [_saved(entry.base) for entry in entries]),
    "PREVIEW": Single(Cost.FILE, _preview),
    "BINARY": Single(Cost.FILE, _binary),
    "BINARY.SIZE": Single(Cost.FILE, _binary_size),
    "SECTION": Single(Cost.FILE, _section),
}
# nothing follows the name, but for BODY without a bracket
SIMPLE = frozenset(TABLE) - {"SECTION", "BINARY", "BINARY.SIZE"}
