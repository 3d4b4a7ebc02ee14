"""The sender that the outside sees in place of the real one: outgoing.overwrite_sender.

    of(template, account, header, sender) -> Address       %localpart% filled in
    overwrite(header, new) -> bytes                        the header (LF form) with the new author

The author's address in From becomes the new one and keeps its display name; Sender goes; where answers would have gone
stands in Reply-To, if nobody wrote one. Whatever else is in the header stays, octet for octet.
"""

import re

from lanmail import address, message

PLACEHOLDER = "%localpart%"
_field = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)").findall
_FALLBACK = "mail"


def of(template: str, account: str | None, header: bytes, sender: address.Address | None) -> address.Address:
    """The new sender: %localpart% is the account's name, else the local part of the sender or of From."""
    local = account
    if local is None and sender is not None:
        local = sender.local
    if local is None:
        local = next((one.local for one in _authors(header)), _FALLBACK)
    before, _, domain = template.rpartition("@")
    try:
        return address.parse(f"{before.replace(PLACEHOLDER, local)}@{domain}")
    except ValueError:  # what one writes in quotes does not fit into a longer name
        return address.parse(f"{before.replace(PLACEHOLDER, _FALLBACK)}@{domain}")


def overwrite(header: bytes, new: address.Address) -> bytes:
    """The header with `new` for its author. One From remains of several."""
    out: list[bytes] = []
    author = b""
    named = answers = False
    for field in _field(header):
        name = field.partition(b":")[0].rstrip(b" \t").lower()
        if name == b"from":
            if not named:
                author = _value(field)
                out.append(b"From: " + _renamed(author, str(new).encode()) + b"\n")
            named = True
        elif name != b"sender":
            answers |= name == b"reply-to"
            out.append(field)
    added = b"" if named else b"From: " + str(new).encode() + b"\n"
    if author and not answers and [str(one) for one in _addresses(author)] != [str(new)]:
        added += b"Reply-To: " + author + b"\n"
    end = next((number for number, field in enumerate(out) if field in (b"\n", b"")), len(out))
    return b"".join([*out[:end], added, *out[end:]])


def _value(field: bytes) -> bytes:
    return b"".join(field.partition(b":")[2].split(b"\n")).strip()


def _addresses(value: bytes) -> list[address.Address]:
    return address.from_header(value.decode("utf-8", "replace"))


def _authors(header: bytes) -> list[address.Address]:
    return _addresses(message.field(header, b"From") or b"")


def _renamed(value: bytes, new: bytes) -> bytes:
    """The first mailbox of the list with another address: `Name <old>`, `old (Name)`, `old`."""
    text = value.decode("utf-8", "surrogateescape")
    phrase: list[str] = []
    comments: list[str] = []
    depth = 0
    for piece in address.tokens(text):
        if depth or piece == "(":
            depth += (piece == "(") - (piece == ")")
            comments.append(piece)
        elif piece == "<":
            name = "".join(phrase).strip().encode("utf-8", "surrogateescape")
            return name + b" <" + new + b">" if name else new
        elif piece in ",;":
            break
        elif piece == ":":
            phrase = []  # of a group
        else:
            phrase.append(piece)
    note = "".join(comments).encode("utf-8", "surrogateescape")
    return new + b" " + note if note and not depth else new
