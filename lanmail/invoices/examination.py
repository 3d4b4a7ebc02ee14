"""A mail, an XML or a PDF: what is in it decides, not what it is called.

    examine(data: bytes, wish: Wish) -> Result

Of a mail every part that can be a document is looked at, however it is called and nested. What is signed and opaque is
unwrapped by `openssl cms`, where that is installed; what is encrypted nobody can examine. ZIP archives and winmail.dat
are opened when that is wished for, one level deep. Blocks, and may take all memory it is given: run it in a child
(`examiner`).
"""

import re
import shutil
import subprocess
from collections.abc import Iterator

from lanmail.invoices import containers, document, pdf
from lanmail.invoices.verdict import Result, Verdict, Wish, best, no, undecided
from lanmail.mime import decoding, tree

MAX_PARTS = 500
MAX_MESSAGES = 3  # that are encoded, or signed, inside another
MAX_INVOICES = 20
LEAST = 100  # octets of the smallest document
ENCRYPTED = "not-examinable: encrypted"
_CMS = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"  # pkcs7 (RFC 5652 §4): 2 is signed, 3 enveloped
_FIELD = re.compile(rb"[!-9;-~]{1,100}[ \t]*:")
_PROTOCOLS = (b"application/xml", b"text/xml", b"application/pdf")
OPENSSL_SECONDS = 10


def examine(data: bytes, wish: Wish | None = None) -> Result:
    """Look at a file."""
    search = _Search(wish or Wish())
    if _is_mail(data):
        search.mail(data, MAX_MESSAGES)
    elif (kind := _sniff(data)) is not None:
        search.document(kind, data)
    elif not search.container(data):
        search.found.append(no("not-xml"))
    return Result(best(search.found), search.invoices)


def _is_mail(data: bytes) -> bool:
    """It begins with a field; before all else, for the text of a mail may look like the beginning of a PDF."""
    return _FIELD.match(data.lstrip(b"\r\n")) is not None and not document.looks_like_xml(data)


def _sniff(data: bytes) -> str | None:
    if document.looks_like_xml(data):
        return "xml"
    return "pdf" if pdf.looks_like_pdf(data) else None


class _Search:
    """One examination; what is found in whatever order adds up."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.found: list[Verdict] = []
        self.invoices: list[tuple[Verdict, bytes]] = []

    @property
    def over(self) -> bool:
        return len(self.invoices) >= (MAX_INVOICES if self.wish.every else 1)

    def document(self, kind: str, data: bytes) -> None:
        if len(data) > self.wish.max_part:
            self.found.append(undecided("too-large"))
        elif kind == "pdf":
            self.pdf(data)
        else:
            self.xml(data)

    def xml(self, data: bytes) -> None:
        one = document.examine(data)
        self.found.append(one)
        if one.is_einvoice:
            self.invoices.append((one, data))

    def pdf(self, data: bytes) -> None:
        """The first e-invoice in it, for it is one document: other files belong to the same."""
        before = len(self.found)
        try:
            for _, content in pdf.files(data):
                if document.looks_like_xml(content):
                    self.xml(content)
                    if self.found[-1].is_einvoice:
                        return
        except pdf.Unreadable as error:
            self.found.append(no(str(error)))
        if len(self.found) == before:
            self.found.append(no("pdf-without-xml"))

    def mail(self, data: bytes, deeper: int) -> None:
        for number, node in enumerate(_leaves(tree.outline(data))):
            if number == MAX_PARTS:
                self.found.append(undecided("too-many-parts"))
            if number == MAX_PARTS or self.over:
                break
            self.part(data, node, deeper)

    def part(self, data: bytes, node: tree.Node, deeper: int) -> None:
        size = node.end - node.middle
        if size < LEAST or _is_body_text(node):
            return
        if size > 2 * self.wish.max_part:
            self.found.append(undecided("too-large"))
            return
        content = node.content
        octets = decoding.decode(data[node.middle : node.end], content.encoding)
        said = b"/".join(((content.type or b"").lower(), content.subtype.lower()))
        kind = _sniff(octets)
        if deeper and _is_encoded(node) and _is_mail(octets):
            self.mail(octets, deeper - 1)
        elif kind is not None:
            self.document(kind, octets)
        elif _CMS in octets[:100]:
            self.signed(octets, deeper)
        elif octets.startswith(b"-----BEGIN PGP MESSAGE-----"):
            self.found.append(no(ENCRYPTED))
        elif not self.container(octets) and said in _PROTOCOLS:
            self.found.append(no("not-xml"))

    def container(self, data: bytes) -> bool:
        """Look into an archive, one level; False when it is none, or none that we are to open."""
        if self.wish.zip and containers.looks_like_zip(data):
            files = containers.zipped(data, self.wish.max_part)
        elif self.wish.tnef and containers.looks_like_tnef(data):
            files = containers.of_tnef(data)
        else:
            return False
        try:
            for content in files:
                kind = _sniff(content)
                if kind is not None:
                    self.document(kind, content)
                if self.over:
                    break
        except containers.Unreadable as error:
            self.found.append(no(str(error)))
        return True

    def signed(self, octets: bytes, deeper: int) -> None:
        """CMS: what is signed is looked into, what is encrypted is for others."""
        if octets.partition(_CMS)[2][:1] != b"\x02":
            self.found.append(no(ENCRYPTED))
            return
        program = shutil.which("openssl")
        if program is None or not deeper:
            self.found.append(undecided("signed, and not opened"))
            return
        try:
            done = subprocess.run(  # noqa: S603 — a fixed program, no shell
                [program, "cms", "-verify", "-noverify", "-inform", "DER"], input=octets, capture_output=True,
                timeout=OPENSSL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            self.found.append(undecided("signed, and not opened"))
            return
        if done.stdout:
            self.mail(done.stdout, deeper - 1)
        else:
            self.found.append(no("damaged"))


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


def _is_body_text(node: tree.Node) -> bool:
    """What people wrote; a document that is sent as text has a name."""
    content = node.content
    if node.kind != tree.TEXT or content.subtype.lower() not in (b"plain", b"html"):
        return False
    named = content.disposition is not None and any(name == b"filename" for name, _ in content.disposition[1])
    return not (named or content.parameter(b"name"))
