"""Cutting BODY[...] out of a message: the sections of RFC 3501 §6.4.5, in wire form (CRLF), with <offset.length>."""

import re
from dataclasses import dataclass

from lanmail.mime import source, strings, tree

Source = source.Source

_grammar = re.compile(
    r"(?:([1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*)(?:\.(?=[HTM])|\Z))?(HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME)?",
    re.IGNORECASE,
).fullmatch
_field = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)").findall
_atom = re.compile(rb"[!#-'*+\-./0-9:;=?@A-Z^_`a-z|}~]+").fullmatch


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[1.2.HEADER.FIELDS (To Cc)] is `Section((1, 2), "HEADER.FIELDS", (b"To", b"Cc"))`; `Section()` is BODY[]."""

    part: tuple[int, ...] = ()
    what: str = ""  # "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME
    fields: tuple[bytes, ...] = ()

    def wire(self) -> bytes:
        """As it is echoed in the answer, without the brackets."""
        text = ".".join([*map(str, self.part), *([self.what] if self.what else [])]).encode()
        if not self.fields:
            return text
        names = [name if _atom(name) else strings.nstring(name) for name in self.fields]
        return text + b" (" + b" ".join(names) + b")"


def parse(text: str) -> Section:
    """The part between the brackets up to the field list: `1.2.MIME`; the caller adds the fields. Raises ValueError."""
    found = _grammar(text)
    numbers, what = (found[1] or "", (found[2] or "").upper()) if found else ("", "")
    if not found or (what == "MIME" and not numbers):
        raise ValueError(f"not a section of a message: {text[:60]!r}")
    return Section(tuple(map(int, numbers.split("."))) if numbers else (), what)


def cut(message: Source, section: Section, partial: tuple[int, int] | None = None) -> bytes | None:
    """The octets of BODY[section]<partial> for the wire; None (NIL) when there is no such part."""
    if section.what.startswith("HEADER.FIELDS"):
        header = _header(message, section)
        if header is None:
            return None
        chosen = _chosen(header, section.fields, exclude=section.what.endswith(".NOT"))
        return source.on_wire(chosen, 0, len(chosen), partial)
    if not section.part and section.what == "HEADER":
        return source.on_wire(message.header, 0, len(message.header), partial)
    place = _place(message, section)
    return source.on_wire(message.data, *place, partial) if place else None


def size(message: Source, section: Section) -> int | None:
    """How long `cut` without partial would be, or None."""
    if section == Section():
        return message.wire_size
    if section.what.startswith("HEADER"):
        header = cut(message, section)
        return None if header is None else len(header)
    place = _place(message, section)
    return source.wire_size(message.data, *place) if place else None


def find(root: tree.Part, numbers: tuple[int, ...]) -> tree.Part | None:
    """The part that numbers like (1, 2) name; a message that is not multipart is its own part 1."""
    part, is_message = root, True
    for place, number in enumerate(numbers):
        if part.kind == tree.MULTIPART:
            if not 1 <= number <= len(part.parts):
                return None
            part = part.parts[number - 1]
        elif not is_message or number != 1:
            return None
        is_message = part.kind == tree.MESSAGE and place < len(numbers) - 1
        if is_message:
            part = part.parts[0]
    return part


def _place(message: Source, section: Section) -> tuple[int, int] | None:
    """Where in the file the section is, from and to; None when there is no such part."""
    if not section.part:
        return (len(message.header) if section.what == "TEXT" else 0), len(message.data)
    part = find(message.tree, section.part)
    if part is not None and section.what in ("HEADER", "TEXT"):
        # RFC 3501 §6.4.5: these are of a message, so the part must be one.
        part = part.parts[0] if part.kind == tree.MESSAGE else None
    if part is None:
        return None
    body = part.start + part.header.octets
    return (part.start, body) if section.what in ("HEADER", "MIME") else (body, body + part.body.octets)


def _header(message: Source, section: Section) -> bytes | None:
    if not section.part:
        return message.header
    place = _place(message, Section(section.part, "HEADER"))
    return message.data[place[0] : place[1]] if place else None


def _chosen(header: bytes, names: tuple[bytes, ...], *, exclude: bool) -> bytes:
    """The fields with those names, or all others, as they stand, and the empty line (after others: if there is one)."""
    wanted = {name.lower() for name in names}
    chosen = []
    empty_line = b""
    for field in _field(header):
        if field in (b"\n", b"\r\n"):
            empty_line = field
            break
        name, colon, _ = field.partition(b":")
        name = name.partition(b"\0")[0]
        if (bool(colon) and name.rstrip(b" \t").lower() in wanted) is not exclude:
            chosen.append(field)
    text = b"".join(chosen)
    if exclude or empty_line:
        return text + empty_line
    return text + (b"\r\n" if text.endswith(b"\n") or not text else b"\r\n\r\n")
