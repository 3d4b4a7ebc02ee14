"""lanmail.invoices: what is an e-invoice, as XML and in a PDF."""

import io
import subprocess
import sys
import zlib
from pathlib import Path

import pypdf
import pytest
from pypdf.generic import ArrayObject, DecodedStreamObject, NameObject

from lanmail.invoices import document, pdf
from tests.invoices import CII, SPEC, UBL, UBL_NS, cii, hybrid, look, ubl

BIN = Path(__file__).resolve().parent.parent / "bin"


@pytest.mark.parametrize(("data", "syntax"), [(ubl(), "ubl"), (cii(), "cii")])
def test_what_an_invoice_says(data: bytes, syntax: str) -> None:
    found = look(data)
    assert found.as_json("x") == {
        "path": "x", "kind": "invoice", "reason": None, "format": syntax, "profile": "EN16931",
        "customization_id": SPEC, "number": "R 1", "issue_date": "2026-01-02", "type_code": "380", "currency": "EUR",
        "seller": "Grün & Co", "seller_vat": "DE123", "buyer": "B", "gross": "119.00", "payable": "100.00"}


@pytest.mark.parametrize("detail", ["spec", "number", "date", "type", "currency", "seller", "buyer", "lines"])
def test_each_detail_must_be_there(detail: str) -> None:
    for data in (ubl(**{detail: ""}), cii(**{detail: ""})):
        found = document.examine(data)
        assert (found.kind, found.reason) == ("not-einvoice", f"missing:{detail}")


def test_totals_must_be_there() -> None:
    assert document.examine(cii(gross="")).reason == "missing:gross"
    assert document.examine(cii(due="", number=" ")).reason == "missing:number,due"
    assert document.examine(ubl(gross="<c:LegalMonetaryTotal>")).reason == "missing:gross"


@pytest.mark.parametrize(("spec", "reason", "profile"), [
    (f"{SPEC}#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0", None, "XRECHNUNG-3.0"),
    (f"{SPEC}#compliant#urn:xeinkauf.de:kosit:xrechnung_4.1#conformant#urn:xeinkauf.de:kosit:extension:xrechnung_4.1",
     None, "XRECHNUNG-4.1-EXT"),
    (f"{SPEC}#Conformant#urn:factur-x.eu:1p0:extended".upper(), None, "EXTENDED"),
    (f"{SPEC}#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0", None, "PEPPOL-BIS-3"),
    (f" {SPEC}#compliant#urn:fdc:nen.nl:nlcius:v1.0\n", None, "CIUS-OTHER"),
    ("urn:factur-x.eu:1p0:minimum", "profile", "MINIMUM"),
    ("urn:zugferd.de:2p0:basicwl", "profile", "BASIC WL"),
    ("urn:ferd:CrossIndustryDocument:invoice:1p0:comfort", "customization-id", "ZF1-COMFORT"),
    ("OIOUBL-2.02", "customization-id", None),
])
def test_the_specification_decides(spec: str, reason: str | None, profile: str | None) -> None:
    for data in (cii(spec=CII["spec"].replace(SPEC, spec)), ubl(spec=UBL["spec"].replace(SPEC, spec))):
        found = document.examine(data)
        assert (found.reason, found.profile) == (reason, profile)


def test_credit_notes() -> None:
    code = "<b:CreditNoteTypeCode>381</b:CreditNoteTypeCode>"
    note = ubl("CreditNote", type=code, lines=UBL["lines"].replace("Invoice", "CreditNote"))
    assert document.examine(note).kind == "credit-note"
    for number, kind in (("381", "credit-note"), ("261", "credit-note"), ("389", "invoice"), ("384", "invoice")):
        assert document.examine(cii(type=f"<a:TypeCode>{number}</a:TypeCode>")).kind == kind
    assert document.examine(cii(type="<a:TypeCode>220</a:TypeCode>")).reason == "type-code"


def test_what_only_looks_like_it() -> None:
    plain = ubl()
    assert document.examine(plain.replace(b"Invoice-2", b"Invoice-3")).reason == "namespace"
    assert document.examine(plain.replace(f' xmlns="{UBL_NS}Invoice-2"'.encode(), b"")).reason == "namespace"
    order = plain.replace(b"Invoice-2", b"Order-2").replace(b"<Invoice ", b"<Order ")
    order = order.replace(b"</Invoice>", b"</Order>")
    assert document.examine(order).reason == "root"
    assert document.examine(b"<x>" + ubl(prolog="") + b"</x>").reason == "xml-other"
    line = f"<c:InvoiceLine><b:ID>7</b:ID>{UBL['number']}</c:InvoiceLine>"
    assert document.examine(ubl(number="", lines=line)).reason == "missing:number"
    assert document.examine(plain[:-4]).reason == "not-well-formed"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "iso-8859-15", "cp1252", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    name = {"cp1252": "windows-1252", "utf-8-sig": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}.get(encoding)
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    text = ubl(prolog=f'<?xml version="1.0" encoding="{name or encoding}"?>').decode()
    found = look(mark + text.encode(encoding))
    assert (found.kind, found.seller) == ("invoice", "Grün & Co")


def test_what_stands_around_is_borne_with() -> None:
    assert document.examine(b"\r\n \n" + ubl() + b"\n\0\0 ").kind == "invoice"


def test_doctypes_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    for inside in (f'<!ENTITY e SYSTEM "file://{secret}">', '<!ENTITY e "R 9">', ""):
        prolog = f'<?xml version="1.0"?><!DOCTYPE Invoice [{inside}]>'
        data = ubl(prolog=prolog, number="<b:ID>&e;</b:ID>" if inside else UBL["number"])
        found = look(data)
        assert (found.kind, found.number) == ("not-einvoice", None)
        assert (found.reason or "").startswith("hostile")
    bomb = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 20}">' for n in range(12))
    assert look(ubl(prolog=f'<!DOCTYPE Invoice [<!ENTITY a0 "x">{bomb}]>', number="<b:ID>&a12;</b:ID>")
                               ).kind == "not-einvoice"


def test_many_lines_take_no_memory() -> None:
    line = "<c:InvoiceLine><b:ID>7</b:ID><b:Note>" + "n" * 200 + "</b:Note></c:InvoiceLine>"
    data = ubl(lines=line * 40_000)
    script = ("import resource,sys; from lanmail.invoices import document; data = sys.stdin.buffer.read();"
              "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; found = document.examine(data);"
              "print(found.kind, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    said = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True,
                          cwd=BIN.parent).stdout.split()
    assert said[0] == b"invoice"
    assert int(said[1]) < 40_000  # KiB, for 10 MB of XML


@pytest.mark.parametrize(("detail", "text"), [
    ("gross", UBL["gross"] + "<c:a/>" * 500_000),
    ("gross", "<c:a " + " ".join(f'a{n}=""' for n in range(500_000)) + "/>"),
    ("lines", ("<c:InvoiceLine/>" + "<c:a/>" * 8000) * 5), ("lines", f"<c:InvoiceLine>{'<c:a/>' * 500_000}"),
], ids=["elements", "attributes", "between lines", "in a line"])
def test_documents_of_nothing_but_elements_are_hostile(detail: str, text: str) -> None:
    assert (document.examine(ubl(**{detail: text})).reason or "").startswith("hostile")


def test_a_long_attachment_in_the_document_is_passed_over() -> None:
    def holding(text: str) -> bytes:
        held = f'<b:EmbeddedDocumentBinaryObject mimeCode="application/pdf">{text}</b:EmbeddedDocumentBinaryObject>'
        return ubl(gross=f"<c:Attachment>{held}</c:Attachment>{UBL['gross']}")

    assert document.examine(holding("QUJD\n" * 3_000_000)).kind == "invoice"
    assert (document.examine(ubl(gross="x" * 11_000_000 + UBL["gross"])).reason or "").startswith("hostile")


def test_more_lines_than_fit_are_hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "<c:InvoiceLine/>"
    monkeypatch.setattr(document, "MAX_LINES", 10)
    assert document.examine(ubl(lines=line * 10)).kind == "invoice"
    assert (document.examine(ubl(lines=line * 11)).reason or "").startswith("hostile")


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n  ", b"\xef\xbb\xbf\r\n"])
def test_what_stands_before_the_declaration(before: bytes) -> None:
    assert document.examine(before + ubl()).kind == "invoice"


# --- PDF

@pytest.mark.parametrize(("place", "depth"), [("names", 1), ("names", 4), ("af", 1), ("annotation", 1)])
def test_wherever_it_is_embedded(place: str, depth: int) -> None:
    data = hybrid(("notes.txt", b"hello"), ("whatever", cii()), place=place, depth=depth)
    found = look(data)
    assert (found.kind, found.format, found.number) == ("invoice", "cii", "R 1")


def test_the_likeliest_file_is_read_first() -> None:
    data = hybrid(*((f"a{n}.xml", b"<x/>") for n in range(30)), ("factur-x.xml", cii()), ("b.bin", b"\0"))
    assert [name for name, _ in pdf.files(data)][:2] == ["factur-x.xml", "a0.xml"]
    assert look(data).kind == "invoice"


def test_pdfs_without_an_invoice() -> None:
    assert look(hybrid()).reason == "pdf-without-xml"
    assert look(hybrid(("factur-x.xml", cii(number="")))).reason == "missing:number"
    assert look(b"%PDF-1.7\n" + b"/EmbeddedFile garbage" * 50).reason == "damaged"
    zipped = hybrid(("factur-x.xml", b"<x>" + b" " * (pdf.MAX_STREAM + 10) + b"</x>"))
    assert look(zipped).reason == "hostile"


def _holding(dictionary: bytes, data: bytes) -> bytes:
    """A PDF with one embedded file, packed as its dictionary says."""
    head = (b"%PDF-1.7\n1 0 obj<</Type/Catalog/Names<</EmbeddedFiles<</Names[(factur-x.xml) 2 0 R]>>>>>>endobj\n"
            b"2 0 obj<</Type/Filespec/F(factur-x.xml)/EF<</F 3 0 R>>>>endobj\n")
    stream = b"3 0 obj<</Length %d%s>>stream\n" % (len(data), dictionary) + data + b"\nendstream endobj\n"
    return head + stream + b"trailer<</Size 4/Root 1 0 R>>\n%%EOF\n"


_DOWN = b"/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 1>>"


def test_files_that_are_packed_in_odd_ways_are_read_when_small(monkeypatch: pytest.MonkeyPatch) -> None:
    small, rows = cii(), b"".join(b"\0%c" % one for one in cii())
    for dictionary, data in ((b"", small), (b"/Filter/ASCIIHexDecode", small.hex().encode() + b">"),
                             (b"/Filter[/ASCIIHexDecode/FlateDecode]", zlib.compress(small).hex().encode() + b">"),
                             (_DOWN, zlib.compress(rows))):
        assert look(_holding(dictionary, data)).kind == "invoice", dictionary
    monkeypatch.setattr(pdf, "MAX_ODD", 1000)
    for dictionary, data in ((b"/Filter/ASCII85Decode", b"z" * 1001 + b"~>"), (_DOWN, zlib.compress(rows)),
                             (b"/Filter[" + b"/FlateDecode" * 3 + b"]", b"x")):
        with pytest.raises(pdf.Unreadable, match="hostile"):
            list(pdf.files(_holding(dictionary, data)))


def test_what_all_files_unpack_to_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_UNPACKED", 5000)
    data = hybrid(*((f"a{n}.xml", b"<x>" + bytes(2000)) for n in range(4)))
    found = pdf.files(data)
    assert [next(found)[0], next(found)[0]] == ["a0.xml", "a1.xml"]
    with pytest.raises(pdf.Unreadable, match="hostile"):
        next(found)


def test_encrypted_for_nobody_is_read() -> None:
    for password, kind in (("", "invoice"), ("secret", "not-einvoice")):
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(hybrid(("factur-x.xml", cii()))))
        writer.encrypt(password, "owner", algorithm="AES-256")
        out = io.BytesIO()
        writer.write(out)
        found = look(out.getvalue())
        assert found.kind == kind
        assert found.reason == (None if kind == "invoice" else "encrypted")


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_every_encryption_without_a_password(algorithm: str) -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(hybrid(("factur-x.xml", cii()))))
    writer.encrypt("", "owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    assert look(out.getvalue()).kind == "invoice"


def test_what_is_around_a_pdf_or_missing_at_its_end_is_borne_with() -> None:
    whole = hybrid(("factur-x.xml", cii()))
    at = whole.rindex(b"startxref")
    for data in (b"junk" * 200 + b"\n" + whole, whole + b"\0" * 5000, whole[:at], whole[: at + 10], whole[:-6],
                 whole[:at] + b"startxref\n7\n%%EOF\n"):
        assert look(data).kind == "invoice", data[-100:]


def test_the_last_of_several_revisions_counts() -> None:
    writer = pypdf.PdfWriter(io.BytesIO(hybrid(("factur-x.xml", cii()))), incremental=True)
    node = writer._root_object["/Names"]["/EmbeddedFiles"]
    spec = node["/Names"][1].get_object()
    stream = DecodedStreamObject()
    stream.set_data(cii(number="<a:ID>R 2</a:ID>"))
    spec["/EF"][NameObject("/F")] = writer._add_object(stream)
    out = io.BytesIO()
    writer.write(out)
    assert out.getvalue().count(b"%%EOF") == 2
    assert look(out.getvalue()).number == "R 2"


@pytest.mark.parametrize(("keys", "places"), [
    (("/F",), ("/UF",)), (("/UF",), ("/UF",)), ((), ("/F",)), (("/F",), ("/DOS",))])
def test_specifications_name_the_file_in_many_ways(keys: tuple[str, ...], places: tuple[str, ...]) -> None:
    assert look(hybrid(("factur-x.xml", cii()), keys=keys, places=places)).kind == "invoice"


def test_loops_are_walked_once() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(hybrid(("factur-x.xml", cii()))))
    tree = writer._root_object["/Names"]["/EmbeddedFiles"]
    tree[NameObject("/Kids")] = ArrayObject([tree.indirect_reference] * 3)
    out = io.BytesIO()
    writer.write(out)
    assert look(out.getvalue()).kind == "invoice"
