"""What FETCH can tell about a message (RFC 3501 §6.4.5, §7.4.2): what each item costs, and how its value is made.

An item of cost NAME is a column of values, made for many messages at a time; of the others each value is made from a
`Message`, in which there already is what the cost promises. To add an item is to add a line to TABLE, and to
`fetchgrammar` if something follows its name.
"""

import enum
import operator
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lanmail import maildir, objectids, snapshot, summaries
from lanmail.imap import mailbox, preview, records, section, strings

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
        return self.cut == section.Section() and self.partial is None

    @property
    def cost(self) -> Cost:
        return Cost.SUMMARY if records.answers(self.cut) else TABLE[self.name].cost

    def said(self, message: "Message") -> bytes:
        """The item with its name, for the answer about one message."""
        return TABLE[self.name].said(message, self)


class Message:
    """A message that an answer is made for; what the dearest of its items needs is there, the rest may be None."""

    __slots__ = ("entry", "record", "source", "status", "view")

    def __init__(self, view: mailbox.View, entry: snapshot.Entry) -> None:
        self.view = view
        self.entry = entry
        self.status: os.stat_result | None = None
        self.record: summaries.Record | None = None
        self.source: section.Source | None = None


class Column(NamedTuple):
    """An item of cost NAME; `form` is the item with %s for its value."""

    form: str
    values: Callable[[mailbox.View, list[snapshot.Entry]], Iterable[object]]
    cost: Cost = Cost.NAME

    def said(self, message: Message, _item: Item) -> bytes:
        (value,) = self.values(message.view, [message.entry])
        return (self.form % (value,)).encode("ascii", "replace")


class Single(NamedTuple):
    """An item that is made message by message."""

    cost: Cost
    value: Callable[[Message, Item], bytes]

    def said(self, message: Message, item: Item) -> bytes:
        return b"%b %b" % (item.label, self.value(message, item))


def _uids(_view: mailbox.View, entries: list[snapshot.Entry]) -> list[int]:
    return [entry.uid for entry in entries]


def _flags(view: mailbox.View, entries: list[snapshot.Entry]) -> list[str]:
    """What many have is looked up by the letters in the file name; \\Recent and rarities are put together."""
    known, recent, mark = view.box.flag_texts().get, view.recent, maildir.INFO
    return [text if (text := known(entry.name.partition(mark)[2])) is not None and entry.uid not in recent
            else view.flags(entry) for entry in entries]


def _sizes(_view: mailbox.View, entries: list[snapshot.Entry]) -> list[int]:
    return [entry.wire_size or 0 for entry in entries]


def _saved(base: str) -> str:
    """RFC 8514 §4.2."""
    moment = objectids.saved(base)
    return "NIL" if moment is None else internal_date(moment).decode()


def _date(message: Message, _item: Item) -> bytes:
    if message.status is not None:
        return internal_date(message.status.st_mtime)
    return internal_date(message.record.date if message.record else 0)


def _kept(part: Callable[[summaries.Record], bytes | None]) -> Callable[[Message, Item], bytes]:
    """An item that stands in the record as it is said."""
    return lambda message, _item: (message.record and part(message.record)) or b"NIL"


def _section(message: Message, item: Item) -> bytes:
    assert item.cut is not None
    if message.source is not None:
        data = section.cut(message.source, item.cut, item.partial)
    else:
        data = records.fields((message.record and message.record.header) or b"", item.cut.fields)
        data = data if item.partial is None else data[item.partial[0] : sum(item.partial)]
    return b"NIL" if data is None else b"{%d}\r\n%b" % (len(data), data)


def _preview(message: Message, _item: Item) -> bytes:
    """RFC 8970 §3: always made, also with LAZY, as only the beginning of the message is read for it."""
    assert message.source is not None
    return strings.nstring(preview.of(message.source.beginning(preview.MAX_OCTETS)).encode("utf-8", "replace"))


def internal_date(moment: float) -> bytes:
    """A date-time in quotes (RFC 3501 §9), in the server's zone."""
    local = time.localtime(moment)
    sign, offset = ("-", -local.tm_gmtoff) if local.tm_gmtoff < 0 else ("+", local.tm_gmtoff)
    day = f"{local.tm_mday:2d}-{MONTHS[local.tm_mon - 1]}-{local.tm_year:04d}"
    clock = f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
    return f'"{day} {clock} {sign}{offset // 3600:02d}{offset % 3600 // 60:02d}"'.encode()


TABLE: dict[str, Column | Single] = {
    "UID": Column("UID %s", _uids),
    "FLAGS": Column("FLAGS (%s)", _flags),
    "RFC822.SIZE": Column("RFC822.SIZE %s", _sizes),
    "INTERNALDATE": Single(Cost.STATUS, _date),
    "ENVELOPE": Single(Cost.SUMMARY, _kept(operator.attrgetter("envelope"))),
    "BODY": Single(Cost.SUMMARY, _kept(operator.attrgetter("body"))),
    "BODYSTRUCTURE": Single(Cost.SUMMARY, _kept(operator.attrgetter("structure"))),
    "EMAILID": Column("EMAILID (%s)", lambda _, entries: [objectids.of_message(entry.base) for entry in entries]),
    "THREADID": Column("THREADID %s", lambda _, entries: ["NIL"] * len(entries)),
    "SAVEDATE": Column("SAVEDATE %s", lambda _, entries: [_saved(entry.base) for entry in entries]),
    "PREVIEW": Single(Cost.FILE, _preview),
    "SECTION": Single(Cost.FILE, _section),
}
SIMPLE = frozenset(TABLE) - {"SECTION"}  # nothing follows the name, but for BODY without a bracket
