"""What messages are sorted by (RFC 5256 §3, RFC 5957), and what threading wants to know of one.

A message is looked at once for all keys of a command; texts are in the form in which i;unicode-casemap compares them.
"""

import re
from collections.abc import Callable, Mapping

from lanmail import message
from lanmail.imap import search, subjects, threads
from lanmail.mime import addresses, casemap, headers, sentdates

Key = str | float
Keys = tuple[Key, ...]
Ask = Callable[[search.Message], Key]

MAX_TEXT = 16_384
MAX_REFERENCES = 500
MAX_REFERENCE_TEXT = 65_536
_id = re.compile(rb'<(?:"((?:[^"\\]++|\\.)*+)"|([^<>"@]*+))\s*+@([^<>"]*+)>', re.DOTALL).finditer
_blanks = re.compile(rb"\s+").sub
_escape = re.compile(rb"\\(.)", re.DOTALL).sub


def _mailbox(name: bytes) -> Callable[[search.Message], str]:
    """The local part of the first address, or the name of the group that comes first."""

    def key(of: search.Message) -> str:
        found = _first_address(of, name)
        return casemap.collated(message.decode_words(found.local or b"")) if found else ""

    return key


def _display(name: bytes) -> Callable[[search.Message], str]:
    """RFC 5957 §3: the name of the first address, else the address."""

    def key(of: search.Message) -> str:
        found = _first_address(of, name)
        if found is None:
            return ""
        address = b"@".join(part for part in (found.local, found.domain) if part)
        return casemap.collated(message.decode_words(found.name or b"").strip() or message.decode_words(address))

    return key


def _first_address(of: search.Message, name: bytes) -> addresses.Mailbox | None:
    for value in headers.values(of.header_source().header, name)[:1]:
        for found in addresses.parse(value[:MAX_TEXT], 1)[:1]:
            return found
    return None


def _subject(of: search.Message) -> str:
    return subject(of.header_source().header).base


def subject(header: bytes) -> subjects.Subject:
    for value in headers.values(header, b"subject")[:1]:
        return subjects.base(value)
    return subjects.Subject("", False)


def _sent(of: search.Message) -> float:
    """RFC 5256 §2.2: without a Date that can be read, INTERNALDATE."""
    sent = sentdates.of_header(of.header_source().header)
    return _arrival(of) if sent is None else sent


def _arrival(of: search.Message) -> float:
    return float(int(of.internal_date()))  # INTERNALDATE has whole seconds; within one, the order of the mailbox counts


CRITERIA: dict[str, Ask] = {
    "ARRIVAL": _arrival,
    "CC": _mailbox(b"cc"),
    "DATE": _sent,
    "DISPLAYFROM": _display(b"from"),
    "DISPLAYTO": _display(b"to"),
    "FROM": _mailbox(b"from"),
    "SIZE": lambda of: of.wire_size(),
    "SUBJECT": _subject,
    "TO": _mailbox(b"to"),
}


def for_criteria(criteria: list[str], more: Mapping[str, Ask]) -> Callable[[search.Message], Keys]:
    """The function that finds all keys of a message; `more` are criteria of this one search."""
    wanted = [more.get(name) or CRITERIA[name] for name in criteria]
    return lambda of: tuple([key(of) for key in wanted])


def threading(of: search.Message) -> threads.Message:
    header = of.header_source().header
    ids = message_ids(_value(header, b"message-id")[:MAX_TEXT])
    references = message_ids(_value(header, b"references")[-MAX_REFERENCE_TEXT:])[-MAX_REFERENCES:]
    # RFC 5256 §3: In-Reply-To counts when References has no valid id, and only its first
    references = references or message_ids(_value(header, b"in-reply-to")[:MAX_TEXT])[:1]
    return threads.Message(_sent(of), subject(header), ids[0] if ids else None, tuple(references))


def by_subject(of: search.Message) -> threads.Message:
    """What ORDEREDSUBJECT wants to know, which is less."""
    return threads.Message(_sent(of), subject(of.header_source().header))


def _value(header: bytes, name: bytes) -> bytes:
    values = headers.values(header, name)
    return values[0] if values else b""


def message_ids(value: bytes) -> list[bytes]:
    """The valid message ids of a field, without quotes and blanks that mean nothing."""
    found = []
    for match in _id(value):
        quoted, left, right = match.groups()
        left = _escape(rb"\1", quoted) if quoted is not None else _blanks(b"", left)
        right = _blanks(b"", right)
        if left and right:
            found.append(left + b"@" + right)
    return found
