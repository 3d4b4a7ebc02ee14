"""ENVELOPE (RFC 3501 §7.4.2) from the fields of a header.

A text field that comes twice counts as it stands last; addresses of repeated fields are all shown, so that nobody
hides one behind another. 8-bit and RFC 2047 words are left as they are.
"""

import functools

from lanmail.mime import addresses, headers, strings, values

NIL = b"NIL"
_EMPTY = b"(" + b" ".join([b"NIL"] * 10) + b")"


def envelope(fields: headers.Fields) -> bytes:
    """`(date subject from sender reply-to to cc bcc in-reply-to message-id)` of fields given by `headers.known`."""
    if len(found := dict(fields)) < len(fields):
        return _of_repeated(fields)
    if not fields:
        return _EMPTY
    value = found.get
    author = _people(value(headers.FROM))
    # RFC 3501 §7.4.2: a missing or empty Sender or Reply-To is the author.
    sender, reply_to = _people(value(headers.SENDER)), _people(value(headers.REPLY_TO))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        strings.unfolded(_text(value(headers.DATE))),
        strings.text(_text(value(headers.SUBJECT))),
        author,
        author if sender is NIL else sender,
        author if reply_to is NIL else reply_to,
        _people(value(headers.TO)),
        _people(value(headers.CC)),
        _people(value(headers.BCC)),
        strings.unfolded(_text(value(headers.IN_REPLY_TO))),
        strings.unfolded(_text(value(headers.MESSAGE_ID))),
    )


def _text(value: bytes | None) -> bytes | None:
    return value.replace(b"\0", values.NUL_REPLACEMENT) if value is not None and b"\0" in value else value


def _people(value: bytes | None) -> bytes:
    """An address list, or NIL."""
    if value is None:
        return NIL
    return _short_list(value) if len(value) <= addresses.SHORT else _list(addresses.written(value))


@functools.lru_cache(maxsize=1024)  # the same people stand in most mail of a folder
def _short_list(value: bytes) -> bytes:
    return _list(addresses.written(value))


def _of_repeated(fields: headers.Fields) -> bytes:
    """The same where a field comes twice."""
    texts: list[bytes | None] = [None] * 10
    lists: list[list[bytes] | None] = [None] * 10
    for number, value in fields:
        if number > headers.MESSAGE_ID:
            continue
        if headers.FROM <= number <= headers.BCC:
            written = lists[number]
            if written is None:
                written = lists[number] = []
            room = addresses.MAX_ADDRESSES - len(written)
            if room > 0:
                written += addresses.written(value, room)
        else:
            texts[number] = _text(value)
    author = _list(lists[headers.FROM])
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        strings.unfolded(texts[headers.DATE]),
        strings.text(texts[headers.SUBJECT]),
        author,
        _list(lists[headers.SENDER]) if lists[headers.SENDER] else author,
        _list(lists[headers.REPLY_TO]) if lists[headers.REPLY_TO] else author,
        _list(lists[headers.TO]),
        _list(lists[headers.CC]),
        _list(lists[headers.BCC]),
        strings.unfolded(texts[headers.IN_REPLY_TO]),
        strings.unfolded(texts[headers.MESSAGE_ID]),
    )


def _list(written: list[bytes] | None) -> bytes:
    return b"(%b)" % b"".join(written) if written else NIL
