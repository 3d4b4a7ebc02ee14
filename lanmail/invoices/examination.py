"""A mail, an XML or a PDF: what is in it decides, not what it is called.

    examine(data: bytes) -> Verdict

Of a mail every part that can be a document is looked at, however it is called and nested, until an e-invoice is found.
What is signed and opaque is unwrapped by `openssl cms`, where that is installed. ZIP archives and winmail.dat are not
opened. Blocks, and may take all memory it is given: run it in a child (`examiner`).
"""

import re
import shutil
import subprocess
from collections.abc import Iterator

from lanmail.invoices import document, pdf
from lanmail.invoices.verdict import Verdict, best, no, undecided
from lanmail.mime import decoding, tree

MAX_PART = 50 << 20
MAX_PARTS = 500
MAX_MESSAGES = 3  # that are encoded, or signed, inside another
LEAST = 100  # octets of the smallest document
_CMS = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"  # pkcs7 (RFC 5652 §4): 2 is signed, 3 enveloped
_FIELD = re.compile(rb"[!-9;-~]{1,100}[ \t]*:")
OPENSSL_SECONDS = 10


def examine(data: bytes) -> Verdict:
    """Look at a file: the first e-invoice in it counts."""
    kind = _sniff(data)
    if kind is not None:
        return _of_kind(kind, data)
    return _mail(data, MAX_MESSAGES) if _FIELD.match(data.lstrip(b"\r\n")) else no("not-xml")


def _sniff(data: bytes) -> str | None:
    if pdf.looks_like_pdf(data):
        return "pdf"
    return "xml" if document.looks_like_xml(data) else None


def _of_kind(kind: str, data: bytes) -> Verdict:
    if len(data) > MAX_PART:
        return undecided("too-large")
    return document.examine(data) if kind == "xml" else _pdf(data)


def _pdf(data: bytes) -> Verdict:
    found: list[Verdict] = []
    try:
        for _, content in pdf.files(data):
            if document.looks_like_xml(content):
                found.append(document.examine(content))
                if found[-1].is_einvoice:
                    break
    except pdf.Unreadable as error:
        found.append(no(str(error)))
    return best(found or [no("pdf-without-xml")])


def _mail(data: bytes, deeper: int) -> Verdict:
    found: list[Verdict] = []
    for number, node in enumerate(_leaves(tree.outline(data))):
        if number == MAX_PARTS:
            found.append(undecided("too-many-parts"))
            break
        one = _part(data, node, deeper)
        if one is not None:
            found.append(one)
            if one.is_einvoice:
                break
    return best(found)


def _leaves(root: tree.Node) -> Iterator[tree.Node]:
    todo = [root]
    while todo:
        node = todo.pop()
        if node.parts and not _is_encoded(node):
            todo += reversed(node.parts)
        else:
            yield node


def _is_encoded(node: tree.Node) -> bool:
    """An attached mail in base64, which RFC 2046 §5.2.1 forbids and some programs send."""
    return node.kind == tree.MESSAGE and (node.content.encoding or b"").lower() in (b"base64", b"quoted-printable")


def _part(data: bytes, node: tree.Node, deeper: int) -> Verdict | None:
    """None for what cannot be a document."""
    if node.end - node.middle < LEAST or _is_body_text(node):
        return None
    if node.end - node.middle > 2 * MAX_PART:
        return undecided("too-large")
    content = node.content
    octets = decoding.decode(data[node.middle : node.end], content.encoding)
    kind = _sniff(octets)
    if kind is not None:
        return _of_kind(kind, octets)
    if _CMS in octets[:100]:
        return _signed(octets, deeper)
    if deeper and _is_encoded(node) and _FIELD.match(octets):
        return _mail(octets, deeper - 1)
    said = b"/".join(((content.type or b"").lower(), content.subtype.lower()))
    return no("not-xml") if said in (b"application/xml", b"text/xml", b"application/pdf") else None


def _is_body_text(node: tree.Node) -> bool:
    """What people wrote; a document that is sent as text has a name."""
    content = node.content
    if node.kind != tree.TEXT or content.subtype.lower() not in (b"plain", b"html"):
        return False
    named = content.disposition is not None and any(name == b"filename" for name, _ in content.disposition[1])
    return not (named or content.parameter(b"name"))


def _signed(octets: bytes, deeper: int) -> Verdict:
    """CMS: what is signed is looked into, what is encrypted is for others."""
    if octets.partition(_CMS)[2][:1] != b"\x02":
        return no("encrypted")
    program = shutil.which("openssl")
    if program is None or not deeper:
        return undecided("signed, and not opened")
    try:
        done = subprocess.run(  # noqa: S603 — a fixed program, no shell
            [program, "cms", "-verify", "-noverify", "-inform", "DER"], input=octets, capture_output=True,
            timeout=OPENSSL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return undecided("signed, and not opened")
    return _mail(done.stdout, deeper - 1) if done.stdout else no("damaged")
