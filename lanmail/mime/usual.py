"""BODY and BODYSTRUCTURE of messages in the usual form, without a tree of their parts: three times as fast.

Usual is: LF line ends, boundaries that stand alone on their lines and do not begin like one another, parts that are
texts, files or multiparts. Whatever else there may be is for `tree`, which tells the same of these, too.
"""

from lanmail.mime import bodystructure, contents, strings, tree

MOST = 100  # parts


def middle(data: bytes) -> int:
    """Where the body of a message with LF line ends starts; 0 when it may be unusual."""
    found = -1 if data[:1] == b"\n" or b"\r" in data else data.find(b"\n\n")
    return found + 2 if found >= 0 else 0


def structures(data: bytes, middle: int, content: contents.Content) -> tuple[bytes, bytes] | None:
    """Both structures of a message whose body starts at `middle`; None when it is not in the usual form."""
    if content.kind == tree.MULTIPART:
        body: list[bytes] = []
        extended: list[bytes] = []
        # the line end before the body may be that before the first boundary
        usual = 2 * MOST < tree.MAX_PARTS and _take(data[middle - 1 :], content, (), body, extended)
        return (b"".join(body), b"".join(extended)) if usual else None
    if content.kind == tree.MESSAGE:
        return None
    said = bodystructure.head(content, content.kind, whole=True) + _sizes(data[middle:], content.kind)
    return said + b")", said + bodystructure.tail(content, content.kind)


def pieces(block: bytes, content: contents.Content, around: tuple[bytes, ...]) -> list[bytes] | None:
    """What stands between the boundaries of a multipart; None when it is not in the usual form.

    `block` is its body with the line end before it, `around` are the boundaries of the multiparts that it is in.
    """
    boundary = content.parameter(b"boundary")
    if (not boundary or b"\n" in boundary or len(boundary) > tree.MAX_BOUNDARY or len(around) + 1 >= tree.MAX_DEPTH
            or tree.is_digest(content) or any(one.startswith(boundary) or boundary.startswith(one) for one in around)):
        return None
    parts = block.split(b"\n--" + boundary, MOST)
    if len(parts) < 2 or len(parts) > MOST:
        return None
    last = parts[-1]
    if last.startswith(b"--"):
        if last[2:3] not in (b"\n", b""):
            return None
        del parts[-1]
    return parts[1:] or None


def _take(block: bytes, content: contents.Content, around: tuple[bytes, ...], body: list[bytes],
          extended: list[bytes]) -> bool:
    """Add what is said of a multipart; False: it is not usual. The rest is as for `pieces`."""
    parts = pieces(block, content, around)
    if parts is None:
        return False
    inside = (*around, content.parameter(b"boundary") or b"")
    body.append(b"(")
    extended.append(b"(")
    for part in parts:
        if not _take_part(part, inside, body, extended):
            return False
    subtype = b" " + strings.nstring(content.subtype)
    body.append(subtype + b")")
    extended.append(subtype + bodystructure.tail(content, tree.MULTIPART))
    return True


def _take_part(part: bytes, around: tuple[bytes, ...], body: list[bytes], extended: list[bytes]) -> bool:
    """The same for what stands between two boundaries."""
    middle = part.find(b"\n\n") + 2
    if middle < 2 or part[:1] != b"\n" or len(body) > MOST:
        return False
    content = contents.of_part(part[1:middle])
    kind = content.kind
    if kind == tree.MULTIPART:
        return _take(part[middle - 1 :], content, around, body, extended)
    if kind == tree.MESSAGE:
        return False
    said = bodystructure.head(content, kind, whole=False) + _sizes(part[middle:], kind)
    body.append(said + b")")
    extended.append(said + bodystructure.tail(content, kind))
    return True


def _sizes(body: bytes, kind: int) -> bytes:
    size = len(body)
    lines = size - len(body.replace(b"\n", b""))
    return b"%d %d" % (size + lines, lines) if kind == tree.TEXT else b"%d" % (size + lines)
