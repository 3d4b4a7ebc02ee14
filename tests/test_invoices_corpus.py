"""lanmail.invoices: a corpus of real and hostile documents, and any way in which a mail may carry one of them."""

import base64
import json
import quopri
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from lanmail.invoices.examiner import Examiner
from lanmail.invoices.verdict import Wish
from tests.invoices import cii, hybrid, look, ubl

HERE = Path(__file__).resolve().parent.parent
CORPUS = HERE.parent / "shared/corpus/einvoice-dev"
SAID = ("number", "issue_date", "type_code", "currency", "seller", "buyer", "gross", "payable")
HOSTILE_RSS = 300 << 10  # KiB
MEASURED = """
import json, pathlib, resource, sys
from lanmail.invoices.examiner import Examiner
from lanmail.invoices.verdict import Wish
for name in sys.argv[1:]:
    with Examiner() as examiner:
        found = examiner.examine(pathlib.Path(name).read_bytes(), Wish(zip=True, tnef=True, every=True)).verdict
    print(json.dumps([name, found.kind, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, object]]:
    if not CORPUS.exists():
        pytest.skip("no corpus beside the checkout")
    found: dict[str, dict[str, object]] = json.loads((CORPUS / "expected.json").read_text())
    return found


@pytest.mark.slow
def test_the_corpus(expected: dict[str, dict[str, object]]) -> None:
    """Every document whose answer is beyond doubt, and what it says."""
    wrong = []
    with Examiner() as examiner:
        for name, answer in expected.items():
            found = examiner.examine((CORPUS / name).read_bytes()).verdict
            assert found.kind != "undecided", name
            if not answer["ambiguous"]:
                right = found.kind == answer["kind"] and (not found.is_einvoice or all(
                    getattr(found, one) == answer[one] for one in SAID))
                wrong += [] if right else [name]
    assert not wrong


@pytest.mark.slow
def test_hostile_documents_take_little_memory(expected: dict[str, dict[str, object]]) -> None:
    """Each has a child of its own; sizes are those of the largest up to then."""
    names = [name for name, answer in expected.items() if answer.get("reason") == "hostile" or "bomb" in name]
    assert len(names) > 10
    done = subprocess.run([sys.executable, "-P", "-c", MEASURED, *(CORPUS / name for name in names)],
                          env={"PYTHONPATH": str(HERE)}, capture_output=True, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(names)
    assert not [line for line in said if line[1] == "undecided" or line[2] > HOSTILE_RSS]


# any way in which a mail may carry a document

_TYPES = strategies.sampled_from([
    "application/octet-stream", "application/xml", "TEXT/XML; charset=iso-8859-1", "image/png", "application/pdf",
    "application/vnd.oasis.ubl+xml", "garbage", "application/x; name*=utf-8''%C3%A4.xml", "text/html; name=a.htm"])
_PLACES = strategies.sampled_from([
    "Content-Disposition: attachment", 'Content-Disposition: inline; filename="x y.pdf"',
    "content-DISPOSITION: ATTACHMENT;\n\tfilename*0=fo; filename*1=o", "X-Other: 1"])
_ENCODINGS = strategies.sampled_from(["base64", "one line", "blanks", "quoted-printable", "8bit"])
_AROUND = strategies.lists(
    strategies.sampled_from(["mixed", "related", "signed", "rfc822", "rfc822 base64"]), max_size=4)
_CHARSETS = strategies.sampled_from([
    ("UTF-8", "utf-8"), ("utf-8", "utf-8-sig"), ("UTF-16", "utf-16"), ("ISO-8859-1", "latin-1"),
    ("windows-1252", "cp1252"), ("US-ASCII", "ascii"), ("", "utf-8")])


def encoded(data: bytes, how: str) -> bytes:
    if how == "quoted-printable" and not data.startswith((b"%PDF", b"\xff\xfe")):
        return b"Content-Transfer-Encoding: Quoted-Printable\n\n" + quopri.encodestring(data)
    if how == "8bit" and not data.startswith((b"%PDF", b"\xff\xfe")):
        return b"Content-Transfer-Encoding: 8bit\n\n" + data
    text = base64.encodebytes(data)
    if how == "one line":
        text = text.replace(b"\n", b"") + b"\n"
    elif how == "blanks":
        text = text.replace(b"\n", b" \n  ")
    return b"Content-Transfer-Encoding: BASE64\n\n" + text


def carried(part: bytes, around: list[str]) -> bytes:
    """A message with the part in it, wrapped from the innermost out."""
    for number, how in enumerate(["mixed", *around]):
        if how == "rfc822":
            part = b"Content-Type: message/rfc822\n\nSubject: x\n" + part
        elif how == "rfc822 base64":
            part = b"Content-Type: message/rfc822\n" + encoded(b"Subject: x\n" + part, "base64")
        else:
            text = b"--b%d\nContent-Type: text/plain\n\n%s\n--b%d\n" % (number, b"words <xml> " * 20, number)
            part = (b"Content-Type: multipart/%s; boundary=\"b%d\"\n\npreamble\n" % (how.encode(), number) + text + part
                    + b"\n--b%d--\nepilogue\n" % number)
    return b"From: a@b\nMIME-Version: 1.0\n" + part


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_TYPES, _PLACES, _ENCODINGS, _AROUND, _CHARSETS, strategies.sampled_from(["ubl", "cii"]),
       strategies.sampled_from([None, "number", "seller", "buyer", "currency", "date", "type", "spec", "lines"]),
       strategies.booleans(), strategies.booleans())
def test_however_it_is_carried(type_: str, place: str, encoding: str, around: list[str], charset: tuple[str, str],
                               syntax: str, without: str | None, pdf: bool, crlf: bool) -> None:
    """What is an e-invoice is one in any mail, and what misses a detail is none."""
    changes = {without: ""} if without else {}
    prolog = f'<?xml version="1.0" encoding="{charset[0]}"?>' if charset[0] else ""
    plain = ubl(prolog="", **changes) if syntax == "ubl" else cii(**changes)
    data = (prolog + plain.decode()).encode(charset[1], "xmlcharrefreplace")
    if pdf:
        data = hybrid(("factur-x.xml", data))
    elif crlf and charset[1] != "utf-16":
        data = data.replace(b">", b">\r\n").replace(b"?>\r\n", b"?>")
    message = carried(f"Content-Type: {type_}\n{place}\n".encode() + encoded(data, encoding), around)
    if around.count("rfc822 base64") > 3:
        return  # deeper than anybody sends
    if crlf and b"8bit" not in message:
        message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    found = look(message)
    assert found.kind == ("not-einvoice" if without else "invoice")
    assert found.reason == (f"missing:{without}" if without else None)
    assert found.number == (None if without == "number" else "R 1")


@pytest.mark.slow
def test_the_corpus_carried_by_mails(expected: dict[str, dict[str, object]]) -> None:
    """Each of its XML documents as an attachment says what it says alone."""
    ways = [("application/octet-stream", "base64", []), ("text/plain; name=a.txt", "blanks", ["rfc822"]),
            ("image/png", "one line", ["related", "mixed"])]
    with Examiner() as examiner:
        for number, (name, answer) in enumerate(sorted(expected.items())):
            data = (CORPUS / name).read_bytes()
            if not name.endswith((".xml", ".pdf")) or answer["ambiguous"] or len(data) < 500:
                continue
            type_, encoding, around = ways[number % len(ways)]
            message = carried(f"Content-Type: {type_}\n".encode() + encoded(data, encoding), list(around))
            found = examiner.examine(message, Wish(every=True)).verdict
            assert (found.kind, found.is_einvoice and found.number) == (
                answer["kind"], found.is_einvoice and answer["number"]), name
