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
    body.append(b")")
    extended.append(tail(node.content, node.kind))


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
    beginning = head(node.content, node.kind, whole=whole)
    if node.kind == tree.TEXT:
        sizes = b"%b%d %d" % (beginning, node.body.wire, node.body.lines)
        body.append(sizes)
        extended.append(sizes)
        return
    sizes = b"%b%d" % (beginning, node.body.wire)
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


def head(content: contents.Content, kind: int, *, whole: bool) -> bytes:
    """All up to the size, of a part that is no multipart or of a `whole` message."""
    if kind != content.kind:
        return _head(content, kind, whole)
    found = content.heads[whole]
    if not found:
        found = content.heads[whole] = _head(content, kind, whole)
    return found


def _head(content: contents.Content, kind: int, whole: bool) -> bytes:
    main, subtype = _type(content, kind)
    parameters, encoding = content.parameters, content.encoding
    if whole and kind == tree.TEXT and _says_nothing(content):
        main, subtype, parameters, encoding = b"text", b"plain", [], None
    if kind == tree.TEXT and (content.charset is None or not parameters):
        parameters = [*parameters, (b"charset", b"us-ascii")]
    return b"(%b %b %b %b %b %b " % (
        strings.nstring(main),
        strings.nstring(subtype),
        _parameters(parameters),
        strings.unfolded(content.id),
        strings.unfolded(content.description),
        b'"7bit"' if encoding is None else strings.nstring(encoding),
    )


def _type(content: contents.Content, kind: int) -> tuple[bytes, bytes]:
    """Type and subtype; parts that the limits keep shut are application/octet-stream."""
    if kind == tree.MESSAGE:
        return b"message", b"rfc822"
    if kind != content.kind or (kind == tree.LEAF and (content.type or b"").lower() == b"multipart"):
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


def tail(content: contents.Content, kind: int) -> bytes:
    """All after the sizes, or after a multipart's subtype: the extension data."""
    if kind != content.kind:
        return _tail(content, kind)
    if not content.tail:
        content.tail = _tail(content, kind)
    return content.tail


def _tail(content: contents.Content, kind: int) -> bytes:
    first = _parameters(content.parameters) if kind == tree.MULTIPART else strings.unfolded(content.md5)
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
