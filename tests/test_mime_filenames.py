"""What parts are called as files, and which of them are attachments."""

import pytest

from lanmail.mime import filenames, tree


def node(*header: str, body: str = "x") -> tree.Node:
    return tree.outline(("\n".join(header) + f"\n\n{body}\n").encode())


@pytest.mark.parametrize(("header", "name"), [
    ("Content-Disposition: attachment; filename=a.pdf", "a.pdf"),
    ('Content-Disposition: attachment; filename="Rechnung 7.pdf"', "Rechnung 7.pdf"),
    ("Content-Disposition: attachment; filename==?utf-8?q?Pr=C3=BCfung.pdf?=", "Prüfung.pdf"),
    ("Content-Disposition: attachment; filename*=utf-8''Pr%C3%BCfung%20x.pdf", "Prüfung x.pdf"),
    ("Content-Disposition: attachment; filename*=iso-8859-1'de'Pr%FCfung.pdf; filename=p.pdf", "Prüfung.pdf"),
    ("Content-Disposition: attachment; filename*0*=utf-8''Pr%C3%BC; filename*1=fung.pdf", "Prüfung.pdf"),
    ("Content-Disposition: attachment", "aus dem Typ.pdf"),
    ('Content-Disposition: attachment; filename="..\\\\..\\\\C:\\\\boot.ini"', "boot.ini"),
    ("Content-Disposition: attachment; filename=\"../../etc/passwd\"", "passwd"),
    ("Content-Disposition: attachment; filename*=utf-8''a%0A%1B%5B31m%00b", "a [31m b"),
    ("Content-Disposition: attachment; filename=" + "x" * 900, "x" * 250),
])
def test_names(header: str, name: str) -> None:
    found = node("MIME-Version: 1.0", 'Content-Type: application/pdf; name="aus dem Typ.pdf"', header)
    assert filenames.of(found.content) == name


@pytest.mark.parametrize(("header", "is_attachment"), [
    (("Content-Type: text/plain",), False),
    (("Content-Type: text/html",), False),
    (("Content-Type: text/plain; name=x.txt",), True),
    (("Content-Type: text/plain", "Content-Disposition: attachment"), True),
    (("Content-Type: application/pdf; name=x.pdf", "Content-Disposition: inline; filename=x.pdf"), True),
    (("Content-Type: image/png; name=logo.png", "Content-ID: <1@x>", "Content-Disposition: inline"), False),
    (("Content-Type: image/png; name=photo.png", "Content-Disposition: inline"), True),
    (("Content-Type: application/pkcs7-signature; name=smime.p7s", "Content-Disposition: attachment"), False),
    (("Content-Type: application/pgp-signature; name=signature.asc",), False),
    (("Content-Type: message/rfc822",), True),
    (("Content-Type: multipart/mixed; boundary=b",), False),
])
def test_attachments(header: tuple[str, ...], is_attachment: bool) -> None:
    assert filenames.is_attachment(node("MIME-Version: 1.0", *header)) is is_attachment
