"""ENVELOPE (RFC 3501 §7.4.2) from the fields of a header.

A text field that comes twice counts as it stands last; addresses of repeated fields are all shown, so that nobody
hides one behind another. 8-bit and RFC 2047 words are left as they are.
"""

from lanmail.mime import addresses, headers, strings, values

_EMPTY = b"(" + b" ".join([b"NIL"] * 10) + b")"


def envelope(fields: headers.Fields) -> bytes:
    """`(date subject from sender reply-to to cc bcc in-reply-to message-id)` of fields given by `headers.known`."""
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
            texts[number] = value.replace(b"\0", values.NUL_REPLACEMENT) if b"\0" in value else value
    if not fields:
        return _EMPTY
    author = _list(lists[headers.FROM])
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        strings.unfolded(texts[headers.DATE]),
        strings.text(texts[headers.SUBJECT]),
        author,
        # RFC 3501 §7.4.2: a missing or empty Sender or Reply-To is the author.
        _list(lists[headers.SENDER]) if lists[headers.SENDER] else author,
        _list(lists[headers.REPLY_TO]) if lists[headers.REPLY_TO] else author,
        _list(lists[headers.TO]),
        _list(lists[headers.CC]),
        _list(lists[headers.BCC]),
        strings.unfolded(texts[headers.IN_REPLY_TO]),
        strings.unfolded(texts[headers.MESSAGE_ID]),
    )


def _list(written: list[bytes] | None) -> bytes:
    return b"(%b)" % b"".join(written) if written else b"NIL"
