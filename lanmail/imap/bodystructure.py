"""BODY and BODYSTRUCTURE (RFC 3501 §7.4.2) of a scanned message."""

from lanmail.imap import contents, envelopes, mime, strings, tree

_EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'


def write(node: tree.Node) -> tuple[bytes, bytes]:
    """Both, each as one list in parentheses."""
    body: list[bytes] = []
    extended: list[bytes] = []
    _write(node, body, extended, whole=True)
    return b"".join(body), b"".join(extended)


def _write(node: tree.Node, body: list[bytes], extended: list[bytes], *, whole: bool = False) -> None:
    body.append(b"(")
    extended.append(b"(")
    if node.kind == tree.MULTIPART:
        _write_multipart(node, body, extended)
    else:
        _write_single(node, body, extended, whole)
    body.append(b")")
    extended.append(_extension(node.content))


def _write_multipart(node: tree.Node, body: list[bytes], extended: list[bytes]) -> None:
    for part in node.parts:
        _write(part, body, extended)
    if not node.parts:
        # The grammar asks for one part at least.
        body.append(_EMPTY + b")")
        extended.append(_EMPTY + b" NIL NIL NIL NIL)")
    subtype = b" " + strings.nstring(node.content.subtype)
    body.append(subtype)
    extended += (subtype, b" ", _parameters(node.content.parameters))


def _write_single(node: tree.Node, body: list[bytes], extended: list[bytes], whole: bool) -> None:
    content = node.content
    kind, subtype, text = _type(node)
    parameters, encoding = content.parameters, content.encoding
    if whole and text and _says_nothing(content):
        kind, subtype, parameters, encoding = b"text", b"plain", [], None
    if text and (content.charset is None or not parameters):
        parameters = [*parameters, (b"charset", b"us-ascii")]
    common = b"%b %b %b %b %b %b %d" % (
        strings.nstring(kind),
        strings.nstring(subtype),
        _parameters(parameters),
        strings.unfolded(content.id),
        strings.unfolded(content.description),
        b'"7bit"' if encoding is None else strings.nstring(encoding),
        node.body.wire,
    )
    body.append(common)
    extended.append(common)
    if node.kind == tree.MESSAGE:
        envelope = b" %b " % envelopes.envelope(node.parts[0].fields)
        body.append(envelope)
        extended.append(envelope)
        _write(node.parts[0], body, extended)
    if text or node.kind == tree.MESSAGE:
        lines = b" %d" % node.body.lines
        body.append(lines)
        extended.append(lines)
    extended.append(b" " + strings.unfolded(content.md5))


def _type(node: tree.Node) -> tuple[bytes, bytes, bool]:
    """Type, subtype, and whether it is text; parts that the limits keep shut are application/octet-stream."""
    content = node.content
    if node.kind == tree.MESSAGE:
        return b"message", b"rfc822", False
    if content.type is None:
        if node.kind == tree.LEAF:  # the header-less message of a digest
            return b"application", b"octet-stream", False
        return b"text", b"plain", True
    if node.kind == tree.LEAF and (content.type.lower() == b"multipart" or tree.kind_of(content) == tree.MESSAGE):
        return b"application", b"octet-stream", False
    return content.type, content.subtype, node.kind == tree.TEXT


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


def _extension(content: contents.Content) -> bytes:
    disposition = b"NIL"
    if content.disposition is not None:
        disposition = b"(%b %b)" % (strings.nstring(content.disposition[0]), _parameters(content.disposition[1]))
    languages = b"NIL"
    if content.languages:
        languages = b"(%b)" % b" ".join([strings.nstring(tag) for tag in content.languages])
    return b" %b %b %b)" % (disposition, languages, strings.unfolded(content.location))


def _parameters(parameters: mime.Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    nstring = strings.nstring
    return b"(%b)" % b" ".join([b"%b %b" % (nstring(name), nstring(value)) for name, value in parameters])
