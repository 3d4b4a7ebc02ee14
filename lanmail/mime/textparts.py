"""The parts of a message in which SEARCH looks for text; for usual messages without a tree of all parts."""

from typing import NamedTuple

from lanmail.mime import contents, headers, tree, usual


class Text(NamedTuple):
    """One part: what its header says of it, and its body as it stands."""

    content: contents.Content
    body: bytes


def of(data: bytes) -> list[Text]:
    """All of them: parts of type text, and reports of type message that are no messages."""
    middle = usual.middle(data)
    if middle and b"\0" not in data[:middle]:
        found: list[Text] = []
        content = contents.of_message(headers.known_of_mime(data[: middle - 1]))
        # the line end before the body may be that before the first boundary
        if _take(data[middle - 1 :], content, (), found):
            return found
    return [of_node(data, node) for node in nodes(tree.outline(data)) if is_searched(node)]


def of_node(data: bytes, node: tree.Node) -> Text:
    return Text(node.content, data[node.middle : node.end])


def is_searched(node: tree.Node) -> bool:
    """Whether SEARCH BODY looks into a part."""
    return _is_searched(node.kind, node.content)


def _is_searched(kind: int, content: contents.Content) -> bool:
    return kind == tree.TEXT or (kind == tree.LEAF and (content.type or b"").lower() == b"message")


def nodes(root: tree.Node) -> list[tree.Node]:
    """All parts, level by level."""
    found = [root]
    for node in found:
        found += node.parts
    return found


def _take(block: bytes, content: contents.Content, around: tuple[bytes, ...], found: list[Text]) -> bool:
    """Add the texts of a part, whose body is `block` with the line end before it; False: it is not usual."""
    kind = content.kind
    if kind == tree.MULTIPART:
        parts = usual.pieces(block, content, around) if 2 * usual.MOST < tree.MAX_PARTS else None
        inside = (*around, content.parameter(b"boundary") or b"")
        return parts is not None and all(_take_part(part, inside, found) for part in parts)
    if kind == tree.MESSAGE:
        return False
    if _is_searched(kind, content):
        found.append(Text(content, block[1:]))
    return True


def _take_part(part: bytes, around: tuple[bytes, ...], found: list[Text]) -> bool:
    """The same for what stands between two boundaries."""
    middle = part.find(b"\n\n") + 2
    if middle < 2 or part[:1] != b"\n" or len(found) > usual.MOST:
        return False
    return _take(part[middle - 1 :], contents.of_part(part[1:middle]), around, found)
