"""MIME header values: Content-Type and its kin (RFC 2045 §5.1, RFC 2183), with RFC 2231 parameters put together.

Broken values are read as far as they go; every reader is one pass over the value, which comes as `headers` cuts it.
Values stay bytes: 8-bit, RFC 2047 words and RFC 2231 percent signs are for the client to decode.
"""

import re

TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]"
ATEXT = rb"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]"
MAX_STEPS = 128  # parameters of one value, or octets of rubbish between them; after that the rest is ignored
NUL_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()

_token = re.compile(TOKEN + rb"*+").match
_atom = re.compile(ATEXT + rb"++").match
_blanks = re.compile(rb"[ \t\r\n]*+").match
_word_like = re.compile(rb"[^; \t\r\n]*+").match
_comment_special = re.compile(rb"[()\\]").search
_quoted_special = re.compile(rb'["\\\n\0]').search
_simple_type = re.compile(rb"(%b++)/(%b++)[ \t\r\n]*+(?=;|\Z)" % (TOKEN, TOKEN)).match
_simple_parameter = re.compile(
    rb';[ \t\r\n]*+(%b++)=(?:"([^"\\\n\0]*+)"|(%b++))[ \t\r\n]*+(?=;|\Z)' % (TOKEN, TOKEN)
).match
_split_name = re.compile(rb"([^*]*+)\*([0-9]*+)(\*?)\Z").match

Parameters = list[tuple[bytes, bytes]]


def content_type(value: bytes) -> tuple[bytes, bytes, Parameters]:
    """Type, subtype, parameters. What is no type/subtype gives empty ones; a type alone has an empty subtype."""
    simple = _simple_type(value)
    if simple:
        return simple[1], simple[2], parameters(value, simple.end())
    kind, at = _token_at(value, skip(value, 0))
    if not 0 <= at < len(value) or not kind:
        return kind, b"", []
    if value[at] != 47 or not 0 <= (at := skip(value, at + 1)) < len(value):  # "/"
        return b"", b"", []
    subtype, at = _token_at(value, at)
    if at < 0 or not subtype or (at < len(value) and value[at] != 59):  # ";"
        return b"", b"", []
    return kind, subtype, parameters(value, at)


def disposition(value: bytes) -> tuple[bytes, Parameters] | None:
    kind, at = _token_at(value, skip(value, 0))
    return None if at < 0 else (kind, parameters(value, at))


def encoding(value: bytes) -> bytes | None:
    """A Content-Transfer-Encoding: one token and nothing else but comments."""
    token, at = _token_at(value, skip(value, 0))
    return token if token and at == len(value) else None


def languages(value: bytes) -> list[bytes]:
    """The tags of Content-Language (RFC 3282)."""
    found: list[bytes] = []
    at = skip(value, 0)
    while at >= 0 and (atom := _atom(value, at)) and len(found) < MAX_STEPS:
        at = skip(value, atom.end())
        if at < 0:
            break
        found.append(atom[0])
        if at >= len(value) or value[at] != 44:  # ","
            break
        at = skip(value, at + 1)
    return found


def parameters(value: bytes, at: int) -> Parameters:
    """`; name=value` pairs from there on; what is none is skipped up to the next semicolon."""
    found: Parameters = []
    pieces: list[tuple[bytes, int, bool, bytes]] = []
    size = len(value)
    steps = MAX_STEPS
    while 0 <= at < size and steps > 0:
        steps -= 1
        simple = _simple_parameter(value, at)
        if simple:
            name, content, at = simple[1], simple[2] if simple[2] is not None else simple[3], simple.end()
        else:
            rubbish, at = at, value.find(b";", at)
            steps -= at - rubbish
            if at < 0 or steps < 0:
                break
            parameter = _parameter_at(value, at + 1)
            if isinstance(parameter, int):
                at = parameter
                continue
            name, content, at = parameter
        piece = _split_name(name) if b"*" in name else None
        if piece:
            alone = not piece[2] and not piece[3]
            pieces.append((piece[1], -1 if alone else int(piece[2][:9] or 0), alone or bool(piece[3]), content))
        else:
            found.append((name, content))
    return found + _joined(pieces) if pieces else found


def _parameter_at(value: bytes, at: int) -> tuple[bytes, bytes, int] | int:
    """Name, value and the position after them; or only the position where to go on looking, negative for nowhere."""
    size = len(value)
    name, at = _token_at(value, skip(value, at))
    if not 0 <= at < size:
        return -1
    if value[at] != 61:  # "="
        return at + 1
    at = skip(value, at + 1)
    if at < 0 or at == size:
        return (name, b"", at) if at >= 0 else -1
    if value[at] == 34:
        content, at = quoted(value, at)
        at = skip(value, at) if at >= 0 else at
    elif value[at] == 61:
        # An RFC 2047 word where none may stand (RFC 2047 §5), but many write it: name==?utf-8?b?...?=
        word = _word_like(value, at)
        content, at = (word[0], word.end()) if word else (b"", -1)
    else:
        content, at = _token_at(value, at)
    return -1 if at < 0 else (name, content, at)


def _joined(pieces: list[tuple[bytes, int, bool, bytes]]) -> Parameters:
    """RFC 2231 §3: name*0, name*1*, ... become name, or name* if a piece is percent-encoded; with gaps they stay.

    A piece is (name, number, extended, value); number -1 is none: no series, but a value by itself.
    """
    found: Parameters = []
    pieces.sort(key=lambda piece: piece[:2])
    first = 0
    while first < len(pieces):
        last = first
        name = pieces[first][0].lower()
        while last < len(pieces) and pieces[last][0].lower() == name:
            last += 1
        series = pieces[first:last]
        found += [(piece[0] + b"*", piece[3]) for piece in series if piece[1] < 0]
        series = [piece for piece in series if piece[1] >= 0]
        if not series:
            pass
        elif [piece[1] for piece in series] != list(range(len(series))):
            found += [(b"%b*%d%b" % (piece[0], piece[1], b"*" if piece[2] else b""), piece[3]) for piece in series]
        elif any(piece[2] for piece in series):
            text = b"".join(piece[3] if piece[2] else piece[3].replace(b"%", b"%25") for piece in series)
            found.append((series[0][0] + b"*", text if series[0][2] else b"''" + text))
        else:
            found.append((series[0][0], b"".join(piece[3] for piece in series)))
        first = last
    return found


def skip(value: bytes, at: int) -> int:
    """Past blanks and comments; -1 when a comment does not end."""
    size = len(value)
    while True:
        blanks = _blanks(value, at)
        at = blanks.end() if blanks else at
        if at >= size or value[at] != 40:  # "("
            return at
        at = comment_end(value, at + 1)
        if at < 0:
            return -1


def quoted(value: bytes, at: int) -> tuple[bytes, int]:
    """A quoted string's content, and the position after it; -1 when it does not end."""
    content = bytearray()
    start = at = at + 1
    while special := _quoted_special(value, at):
        end, at = special.start(), special.end()
        match value[end]:
            case 34:  # '"'
                content += value[start:end]
                return bytes(content), at
            case 92:  # "\"
                if at >= len(value):
                    break
                if value[at] in b"\r\n\0":
                    continue
                content += value[start:end]
                start = at
                at += 1
            case 10:
                content += value[start:end].removesuffix(b"\r")
                start = at
            case _:
                content += value[start:end] + NUL_REPLACEMENT
                start = at
    return bytes(content), -1


def _token_at(value: bytes, at: int) -> tuple[bytes, int]:
    """A token, which may be empty, and the position after it and the blanks that follow; -1 as in `skip`."""
    token = _token(value, at) if at >= 0 else None
    return (token[0], skip(value, token.end())) if token else (b"", -1)


def comment_end(value: bytes, at: int) -> int:
    """The position after a comment whose parenthesis is just before; -1 when it does not end."""
    depth = 1
    while special := _comment_special(value, at):
        at = special.end()
        match special[0]:
            case b"(":
                depth += 1
            case b")":
                depth -= 1
                if not depth:
                    return at
            case _:
                if at >= len(value):
                    break
                if value[at] not in b"\r\n\0":
                    at += 1
    return -1
