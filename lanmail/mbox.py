"""mbox files: many messages in one file, each behind a line that begins with "From " (RFC 4155).

    messages(descriptor, variant="auto") -> Iterator[Message]     found one after the other; memory stays small
    is_mbox(first octets) -> bool
    Message.flags, .date, .is_mail; .chunks() -> its octets without what mbox added to them
    write(stream, data, flags, date) -> None         one message more, so that reading gives the same octets

The variants differ in how a line of a message that begins with "From " is told from the next message: mboxo puts ">"
before it, mboxrd also before those that have ">" already (so that it can be taken away for certain), mboxcl and mboxcl2
have a Content-Length, mboxcl2 nothing else. "auto" believes a Content-Length that ends where a message can end, and
takes one ">" away as mboxrd says, until a message of the file shows that nothing was quoted there.

A "From " line only counts when it looks like one: with a time and a year, behind an empty line or before a header.
Flags come from Status, X-Status, X-Keywords (Dovecot, mutt, Pine), X-Mozilla-Status and X-Mozilla-Keys (Thunderbird).
Of these fields the last one is taken away: `write` puts ours behind those that belong to the message.
"""

import calendar
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lanmail import message

VARIANTS = ("auto", "o", "rd", "cl", "cl2")
MAX_HEADER = 1 << 20
_BLOCK = 1 << 17
_LINE = 1000
_DATED = re.compile(rb"From [^\n]*\b\d{1,2}:\d\d(?::\d\d)?\b[^\n]*\b(?:19|20)\d\d\b")
_ASCTIME = re.compile(
    rb"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +([A-Z][a-z]{2}) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))?"
    rb"(?: +[A-Z]{3,4})? +(\d{4})(?: +([+-])(\d\d)(\d\d))?")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")
_QUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_QUOTED_ONCE = re.compile(rb"^>(?=From )", re.MULTILINE)
_TO_QUOTE = re.compile(rb"^(?=>*From )", re.MULTILINE)
_UNQUOTED = re.compile(rb"^From ", re.MULTILINE)
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
# the fields that mbox writers add, and what stands in them when it is theirs
_ADDED = {
    b"Status": re.compile(rb"[ROUNDC]{0,8}"), b"X-Status": re.compile(rb"[AFDTRJ]{0,8}"),
    b"X-Keywords": re.compile(rb"[^\n]{0,20000}"), b"X-UID": re.compile(rb"\d{1,10}"),
    b"X-IMAPbase": re.compile(rb"[^\n]{0,20000}"), b"X-IMAP": re.compile(rb"[^\n]{0,20000}"),
    b"Content-Length": re.compile(rb"\d{1,15}"), b"X-Mozilla-Status": re.compile(rb"[0-9A-Fa-f]{4}"),
    b"X-Mozilla-Status2": re.compile(rb"[0-9A-Fa-f]{8}"), b"X-Mozilla-Keys": re.compile(rb"[^\n]{0,20000}"),
    b"X-Lanmail-No-Body": re.compile(rb"[01]"),
}
_PATTERNS = {name: re.compile(rb"^" + name + rb":((?:[^\n]|\n[ \t])*)(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)
             for name in _ADDED}
_LETTERS = {b"R": "\\Seen", b"A": "\\Answered", b"F": "\\Flagged", b"D": "\\Deleted", b"T": "\\Draft"}
_MOZILLA = {0x0001: "\\Seen", 0x0002: "\\Answered", 0x0004: "\\Flagged", 0x1000: "$Forwarded"}
_MOZILLA_EXPUNGED = 0x0008


@dataclass(slots=True)
class Message:
    """One message in the file: its octets lie between `start` and `end`, the "From " line before them."""

    descriptor: int
    from_line: bytes
    start: int
    end: int
    unquote: re.Pattern[bytes] | None
    header: bytes  # as it stands in the file, with the empty line, if there is one
    _matches: dict[bytes, re.Match[bytes]] | None = None

    @property
    def _fields(self) -> dict[bytes, re.Match[bytes]]:
        if self._matches is None:
            self._matches = _added(self.header)
        return self._matches

    @property
    def added(self) -> dict[bytes, bytes]:
        """What the mbox says about the message in fields of its own."""
        return {name: match[1].strip() for name, match in self._fields.items()}

    @property
    def is_mail(self) -> bool:
        """False for what was deleted and waits for compacting, and for Pine's and UW-IMAP's own notes."""
        notes = self.added
        if int(notes.get(b"X-Mozilla-Status", b"0"), 16) & _MOZILLA_EXPUNGED:
            return False
        subject = message.field(self.header, b"subject") or b""
        return not (b"X-IMAP" in notes and subject.startswith(b"DON'T DELETE THIS MESSAGE"))

    @property
    def flags(self) -> tuple[str, ...]:
        """IMAP flags and keywords."""
        notes = self.added
        found = [flag for letter, flag in _LETTERS.items()
                 if letter in notes.get(b"X-Status", b"") or (letter == b"R" and letter in notes.get(b"Status", b""))]
        bits = int(notes.get(b"X-Mozilla-Status", b"0"), 16)
        found += [flag for bit, flag in _MOZILLA.items() if bits & bit]
        words = notes.get(b"X-Keywords", b"").split() + notes.get(b"X-Mozilla-Keys", b"").split()
        return tuple(dict.fromkeys([*found, *(word.decode("ascii", "replace") for word in words)]))

    @property
    def date(self) -> float | None:
        """When it came in: the "From " line's date, seconds since 1970; without a zone in it, it is UTC (RFC 4155)."""
        return _moment(self.from_line)

    def chunks(self) -> Iterator[bytes]:
        """The message, piece by piece."""
        kept = _without(self.header, self._fields)
        notes = self.added
        if b"X-Lanmail-No-Body" in notes:  # the empty line is not the message's own
            kept = kept[:-1] if notes[b"X-Lanmail-No-Body"] == b"1" else kept[:-2]
            yield kept
            return
        unquote = self.unquote
        yield unquote.sub(b"", kept) if unquote else kept
        pieces = _pieces(self.descriptor, self.start + len(self.header), self.end)
        for piece, whole_line in pieces if unquote else ():
            yield unquote.sub(b"", piece) if unquote and whole_line else piece
        if not unquote:
            yield from (piece for piece, _ in pieces)


def is_mbox(first: bytes) -> bool:
    """Whether a file that begins with these octets is an mbox."""
    line = first.lstrip(b"\r\n").split(b"\n", 1)[0]
    return line.startswith(b"From ") and (_DATED.match(line) is not None or line.startswith(b"From - ")
                                          or len(line.split()) <= 2)


# --- finding ---------------------------------------------------------------------------------------------------

def messages(descriptor: int, variant: str = "auto") -> Iterator[Message]:
    """All messages of the file, in order."""
    size = os.fstat(descriptor).st_size
    finder: Iterator[int] | None = None
    first = next(_separators(descriptor, 0, size), None)
    bare = variant == "cl2"
    while first is not None:
        line = _line(descriptor, first)
        start = first + len(line)
        header = _header(descriptor, start, size)
        end = None
        if variant not in ("o", "rd"):
            end = _by_length(descriptor, start + len(header), size, header)
        if end is not None:
            first, finder = _next_line(descriptor, end, size), None
            bare = bare or (variant == "auto" and _has_bare(descriptor, start + len(header), end))
        else:
            finder = finder or _separators(descriptor, start, size)
            first = next(finder, None)
            end = _without_blank_line(descriptor, start, size if first is None else first)
        unquote = None if bare else _QUOTED_ONCE if variant == "o" else _QUOTED
        yield Message(descriptor, line, start, max(end, start), unquote, header[:max(0, end - start)])


def _separators(descriptor: int, position: int, size: int) -> Iterator[int]:
    """Where "From " lines stand, at `position` or behind it."""
    last = b"\n"
    while position < size:
        block = os.pread(descriptor, _BLOCK, position)
        if not block:
            return
        at = 0 if last == b"\n" and block.startswith(b"From ") else block.find(b"\nFrom ") + 1 or -1
        while at >= 0:
            if _separates(descriptor, position + at):
                yield position + at
            at = block.find(b"\nFrom ", at) + 1 or -1
        # "\nFrom " may lie across the end of the block: the next one begins where no whole one can have been seen
        step = len(block) - 4 if len(block) == _BLOCK else len(block)
        last = block[step - 1:step]
        position += step


def _separates(descriptor: int, at: int) -> bool:
    """Whether the "From " there begins a message."""
    window = os.pread(descriptor, 2 * _LINE, at)
    line, newline, following = window.partition(b"\n")
    if not newline and len(window) == 2 * _LINE:
        return False
    before = os.pread(descriptor, min(at, 4), max(0, at - 4))
    blank = at == 0 or before.endswith((b"\n\n", b"\n\r\n"))
    header_follows = _FIELD.match(following) is not None or following[:2] in (b"", b"\n", b"\r\n")
    if _ASCTIME.search(line):
        return blank or _FIELD.match(following) is not None
    if _DATED.match(line):
        return blank and header_follows
    # Thunderbird and others that write no date
    return blank and line.rstrip() in (b"From", b"From -") and _FIELD.match(following) is not None


def _line(descriptor: int, at: int) -> bytes:
    line, newline, _ = os.pread(descriptor, 2 * _LINE, at).partition(b"\n")
    return line + newline


def _header(descriptor: int, start: int, size: int) -> bytes:
    """The header with its empty line; of endless ones the first MiB."""
    data = os.pread(descriptor, 8192, start)
    end = message.header_end(data)
    if end == len(data) and start + len(data) < size:
        data = os.pread(descriptor, MAX_HEADER, start)
        end = message.header_end(data)
    separator = re.search(rb"\nFrom ", data[:end])
    if separator and _separates(descriptor, start + separator.start() + 1):  # a message without body
        return data[:separator.start() + 1]
    return data[:end]


def _by_length(descriptor: int, body: int, size: int, header: bytes) -> int | None:
    """The end by Content-Length, when a message can end there."""
    field = _added(header).get(b"Content-Length")
    if field is None:
        return None
    end = body + int(field[1])
    if end > size:
        return None
    following = os.pread(descriptor, 64, end)
    rest = following.lstrip(b"\r\n")
    return end if (not rest and end + len(following) >= size) or rest.startswith(b"From ") else None


def _next_line(descriptor: int, end: int, size: int) -> int | None:
    following = os.pread(descriptor, 64, end)
    at = end + len(following) - len(following.lstrip(b"\r\n"))
    return at if at < size else None


def _has_bare(descriptor: int, start: int, end: int) -> bool:
    """Whether a line begins with "From " although it belongs to the message: then nothing is quoted here."""
    return any(whole and _UNQUOTED.search(piece) for piece, whole in _pieces(descriptor, start, end))


def _without_blank_line(descriptor: int, start: int, end: int) -> int:
    """The end without the empty line that stands before the next message."""
    tail = os.pread(descriptor, min(4, end - start), max(start, end - 4))
    if tail.endswith(b"\n\r\n"):
        return end - 2
    return end - 1 if tail.endswith(b"\n\n") or tail == b"\n" else end


def _pieces(descriptor: int, start: int, end: int) -> Iterator[tuple[bytes, bool]]:
    """The octets between, cut behind line ends, and whether each piece begins at the beginning of a line."""
    begins = True
    while start < end:
        piece = os.pread(descriptor, min(_BLOCK, end - start), start)
        if not piece:
            return
        cut = piece.rfind(b"\n") + 1
        if cut and start + len(piece) < end:
            piece = piece[:cut]
        yield piece, begins
        begins = piece.endswith(b"\n")
        start += len(piece)


# --- fields ----------------------------------------------------------------------------------------------------

def _added(header: bytes) -> dict[bytes, re.Match[bytes]]:
    """The last field of each kind that mbox writers add, where its value is one of theirs."""
    found = {}
    lowered = b"\n" + header.lower()
    for name, values in _ADDED.items():
        if b"\n" + name.lower() + b":" not in lowered:
            continue
        matches = list(_PATTERNS[name].finditer(header))
        if matches and values.fullmatch(matches[-1][1].strip().replace(b"\n", b" ")):
            found[name] = matches[-1]
    length = found.get(b"Content-Length")
    if length is None or int(length[1]):
        found.pop(b"X-Lanmail-No-Body", None)  # it is the message's own
    return found


def _without(header: bytes, fields: dict[bytes, re.Match[bytes]]) -> bytes:
    for start, end in sorted((match.span() for match in fields.values()), reverse=True):
        header = header[:start] + header[end:]
    return header


def _moment(line: bytes) -> float | None:
    found = _ASCTIME.search(line)
    if not found or found[1] not in _MONTHS:
        return None
    month, day, hour, minute, second, year, sign, zone_hours, zone_minutes = found.groups()
    try:
        when = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second or 0))
        moment = calendar.timegm(when)
    except (ValueError, OverflowError):
        return None
    zone = int(zone_hours or 0) * 3600 + int(zone_minutes or 0) * 60
    return float(moment + zone if sign == b"-" else moment - zone)


# --- writing ---------------------------------------------------------------------------------------------------

def write(stream: BinaryIO, data: bytes, flags: tuple[str, ...], date: float) -> None:
    """Add a message (as mboxcl: quoted like mboxrd, with a Content-Length)."""
    end = message.header_end(data)
    bodiless = end == len(data) and not data.endswith(b"\n\n") and data not in (b"\n", b"\r\n") \
        and not data.endswith(b"\n\r\n")
    header = data[:end]
    sender = (message.field(header, b"return-path") or b"").strip(b"<> \t\r\n")
    safe = sender if re.fullmatch(rb"[!-~]{1,320}", sender) else b"MAILER-DAEMON"
    moment = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(date)).encode()
    body = _TO_QUOTE.sub(b">", data[end:])
    if bodiless:
        fields, blank = header, b"\n"
        extra = b"X-Lanmail-No-Body: " + (b"1" if header.endswith(b"\n") or not header else b"0") + b"\n"
        if not header.endswith(b"\n") and header:
            fields += b"\n"
    else:
        blank = b"\r\n" if header.endswith(b"\r\n") else b"\n"
        fields, extra = header[:-len(blank)], b""
    letters = {letter for letter, flag in _LETTERS.items() if flag in flags}
    stream.write(b"From " + safe + b" " + moment + b"\n" + _TO_QUOTE.sub(b">", fields) + extra
                 + b"Status: " + (b"RO" if b"R" in letters else b"O") + b"\n"
                 + b"X-Status: " + b"".join(letter for letter in (b"A", b"F", b"D", b"T") if letter in letters) + b"\n"
                 + b"X-Keywords: " + " ".join(flag for flag in flags if not flag.startswith("\\")).encode() + b"\n"
                 + b"Content-Length: " + str(len(body)).encode() + b"\n" + blank)
    stream.write(body + (b"\n" if body.endswith(b"\n") or not body else b"\n\n"))
