"""BODY and BODYSTRUCTURE (RFC 3501 §7.4.2) of a scanned message."""

from lanmail.mime import contents, envelopes, strings, tree, values

_EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'


def write(node: tree.Node) -> tuple[bytes, bytes]:
    """Both, each as one list in parentheses."""
    body: list[bytes] = []
    extended: list[bytes] = []
    _write(node, body, extended, whole=True)
    return b"".join(body), b"".join(extended)


def _write(node: tree.Node, body: list[bytes], extended: list[bytes], *, whole: bool = False) -> None:
    if node.kind == tree.MULTIPART:
        _write_multipart(node, body, extended)
    else:
        _write_single(node, body, extended, whole)
    content = node.content
    if node.kind == content.kind:
        tail = content.tail
        if not tail:
            tail = content.tail = _tail(node)
    else:
        tail = _tail(node)
    body.append(b")")
    extended.append(tail)


def _write_multipart(node: tree.Node, body: list[bytes], extended: list[bytes]) -> None:
    body.append(b"(")
    extended.append(b"(")
    for part in node.parts:
        _write(part, body, extended)
    if not node.parts:
        # The grammar asks for one part at least.
        body.append(_EMPTY + b")")
        extended.append(_EMPTY + b" NIL NIL NIL NIL)")
    subtype = b" " + strings.nstring(node.content.subtype)
    body.append(subtype)
    extended.append(subtype)


def _write_single(node: tree.Node, body: list[bytes], extended: list[bytes], whole: bool) -> None:
    content = node.content
    if node.kind == content.kind:
        head = content.heads[whole]
        if not head:
            head = content.heads[whole] = _head(node, whole)
    else:
        head = _head(node, whole)
    if node.kind == tree.TEXT:
        sizes = b"%b%d %d" % (head, node.body.wire, node.body.lines)
        body.append(sizes)
        extended.append(sizes)
        return
    sizes = b"%b%d" % (head, node.body.wire)
    body.append(sizes)
    extended.append(sizes)
    if node.kind == tree.MESSAGE:
        envelope = b" %b " % envelopes.envelope(node.parts[0].fields)
        body.append(envelope)
        extended.append(envelope)
        _write(node.parts[0], body, extended)
        lines = b" %d" % node.body.lines
        body.append(lines)
        extended.append(lines)


def _head(node: tree.Node, whole: bool) -> bytes:
    """All up to the size."""
    content = node.content
    kind, subtype = _type(node)
    parameters, encoding = content.parameters, content.encoding
    if whole and node.kind == tree.TEXT and _says_nothing(content):
        kind, subtype, parameters, encoding = b"text", b"plain", [], None
    if node.kind == tree.TEXT and (content.charset is None or not parameters):
        parameters = [*parameters, (b"charset", b"us-ascii")]
    return b"(%b %b %b %b %b %b " % (
        strings.nstring(kind),
        strings.nstring(subtype),
        _parameters(parameters),
        strings.unfolded(content.id),
        strings.unfolded(content.description),
        b'"7bit"' if encoding is None else strings.nstring(encoding),
    )


def _type(node: tree.Node) -> tuple[bytes, bytes]:
    """Type and subtype; parts that the limits keep shut are application/octet-stream."""
    content = node.content
    if node.kind == tree.MESSAGE:
        return b"message", b"rfc822"
    if node.kind != content.kind or (node.kind == tree.LEAF and (content.type or b"").lower() == b"multipart"):
        return b"application", b"octet-stream"
    return (b"text", b"plain") if content.type is None else (content.type, content.subtype)


def _says_nothing(content: contents.Content) -> bool:
    """Whether the fields only repeat the defaults (RFC 2045 §5.2); it is then shown as if there were none."""
    charset = content.charset
    return (
        (content.type is None or content.subtype.lower() == b"plain")
        and (not content.parameters or (len(content.parameters) == 1 and (charset or b"").lower() == b"us-ascii"))
        and (content.encoding is None or content.encoding.lower() == b"7bit")
        and content.disposition is None
        and content.id is content.description is content.md5 is content.location is None
        and not content.languages
    )


def _tail(node: tree.Node) -> bytes:
    """All after the sizes, or after a multipart's subtype: the extension data."""
    content = node.content
    first = _parameters(content.parameters) if node.kind == tree.MULTIPART else strings.unfolded(content.md5)
    disposition = b"NIL"
    if content.disposition is not None:
        disposition = b"(%b %b)" % (strings.nstring(content.disposition[0]), _parameters(content.disposition[1]))
    languages = b"NIL"
    if content.languages:
        languages = b"(%b)" % b" ".join([strings.nstring(tag) for tag in content.languages])
    return b" %b %b %b %b)" % (first, disposition, languages, strings.unfolded(content.location))


def _parameters(parameters: values.Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    nstring = strings.nstring
    return b"(%b)" % b" ".join([b"%b %b" % (nstring(name), nstring(value)) for name, value in parameters])
