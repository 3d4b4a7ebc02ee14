"""lanmail.invoices: what is an e-invoice, in whatever it comes."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pypdf
import pytest
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, TextStringObject

from lanmail.invoices import document, examination, pdf
from lanmail.invoices.examiner import Examiner

BIN = Path(__file__).resolve().parent.parent / "bin"
CORPUS = BIN.parent.parent / "shared/corpus/einvoice-dev"
SPEC = "urn:cen.eu:en16931:2017"
_U = "urn:oasis:names:specification:ubl:schema:xsd:"
_C = "urn:un:unece:uncefact:data:standard:"


def party(role: str, name: str, vat: str = "") -> str:
    scheme = (f"<c:PartyTaxScheme><b:CompanyID>{vat}</b:CompanyID><c:TaxScheme><b:ID>VAT</b:ID></c:TaxScheme>"
              "</c:PartyTaxScheme>") if vat else ""
    return (f"<c:{role}><c:Party>{scheme}<c:PartyLegalEntity><b:RegistrationName>{name}</b:RegistrationName>"
            f"</c:PartyLegalEntity></c:Party></c:{role}>")


UBL = {
    "spec": f"<b:CustomizationID>{SPEC}</b:CustomizationID>", "number": "<b:ID>R 1</b:ID>",
    "date": "<b:IssueDate>2026-01-02</b:IssueDate>", "type": "<b:InvoiceTypeCode>380</b:InvoiceTypeCode>",
    "currency": "<b:DocumentCurrencyCode>EUR</b:DocumentCurrencyCode>",
    "seller": party("AccountingSupplierParty", "Grün &amp; Co", "DE123"),
    "buyer": party("AccountingCustomerParty", "B"),
    "gross": "<c:LegalMonetaryTotal><b:TaxInclusiveAmount>119.00</b:TaxInclusiveAmount>",
    "due": "<b:PayableAmount>100.00</b:PayableAmount></c:LegalMonetaryTotal>",
    "lines": "<c:InvoiceLine><b:ID>7</b:ID></c:InvoiceLine>" * 2,
}
CII = {
    "spec": "<r:ExchangedDocumentContext><a:GuidelineSpecifiedDocumentContextParameter>"
            f"<a:ID>{SPEC}</a:ID></a:GuidelineSpecifiedDocumentContextParameter></r:ExchangedDocumentContext>",
    "open": "<r:ExchangedDocument>", "number": "<a:ID>R 1</a:ID>", "type": "<a:TypeCode>380</a:TypeCode>",
    "date": '<a:IssueDateTime><u:DateTimeString format="102">20260102</u:DateTimeString></a:IssueDateTime>',
    "close": "</r:ExchangedDocument><r:SupplyChainTradeTransaction>",
    "lines": "<a:IncludedSupplyChainTradeLineItem><a:ID>7</a:ID></a:IncludedSupplyChainTradeLineItem>",
    "open2": "<a:ApplicableHeaderTradeAgreement>",
    "seller": '<a:SellerTradeParty><a:Name>Grün &amp; Co</a:Name><a:SpecifiedTaxRegistration><a:ID schemeID="VA">DE123'
              "</a:ID></a:SpecifiedTaxRegistration></a:SellerTradeParty>",
    "buyer": "<a:BuyerTradeParty><a:Name>B</a:Name></a:BuyerTradeParty>",
    "close2": "</a:ApplicableHeaderTradeAgreement><a:ApplicableHeaderTradeSettlement>",
    "currency": "<a:InvoiceCurrencyCode>EUR</a:InvoiceCurrencyCode>",
    "open3": "<a:SpecifiedTradeSettlementHeaderMonetarySummation>",
    "gross": "<a:GrandTotalAmount>119.00</a:GrandTotalAmount>",
    "due": "<a:DuePayableAmount>100.00</a:DuePayableAmount>",
    "close3": "</a:SpecifiedTradeSettlementHeaderMonetarySummation></a:ApplicableHeaderTradeSettlement>"
              "</r:SupplyChainTradeTransaction>",
}


def ubl(root: str = "Invoice", *, prolog: str = '<?xml version="1.0" encoding="UTF-8"?>', **changes: str) -> bytes:
    inside = "".join({**UBL, **changes}.values())
    return (f'{prolog}<{root} xmlns="{_U}{root}-2" xmlns:b="{_U}CommonBasicComponents-2" '
            f'xmlns:c="{_U}CommonAggregateComponents-2">{inside}</{root}>').encode()


def cii(**changes: str) -> bytes:
    inside = "".join({**CII, **changes}.values())
    return (f'<r:CrossIndustryInvoice xmlns:r="{_C}CrossIndustryInvoice:100" '
            f'xmlns:a="{_C}ReusableAggregateBusinessInformationEntity:100" '
            f'xmlns:u="{_C}UnqualifiedDataType:100">{inside}</r:CrossIndustryInvoice>').encode()


@pytest.mark.parametrize(("data", "syntax"), [(ubl(), "ubl"), (cii(), "cii")])
def test_what_an_invoice_says(data: bytes, syntax: str) -> None:
    found = examination.examine(data)
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
    assert document.examine(plain.replace(f' xmlns="{_U}Invoice-2"'.encode(), b"")).reason == "namespace"
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
    found = examination.examine(mark + text.encode(encoding))
    assert (found.kind, found.seller) == ("invoice", "Grün & Co")


def test_what_stands_around_is_borne_with() -> None:
    assert document.examine(b"\r\n \n" + ubl() + b"\n\0\0 ").kind == "invoice"


def test_doctypes_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    for inside in (f'<!ENTITY e SYSTEM "file://{secret}">', '<!ENTITY e "R 9">', ""):
        prolog = f'<?xml version="1.0"?><!DOCTYPE Invoice [{inside}]>'
        data = ubl(prolog=prolog, number="<b:ID>&e;</b:ID>" if inside else UBL["number"])
        found = examination.examine(data)
        assert (found.kind, found.number) == ("not-einvoice", None)
        assert (found.reason or "").startswith("hostile")
    bomb = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 20}">' for n in range(12))
    assert examination.examine(ubl(prolog=f'<!DOCTYPE Invoice [<!ENTITY a0 "x">{bomb}]>', number="<b:ID>&a12;</b:ID>")
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


# --- PDF

def hybrid(*files: tuple[str, bytes], place: str = "names", depth: int = 1) -> bytes:
    """A PDF with files in a name tree `depth` levels deep, in the catalog's /AF, or in an annotation."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(100, 100)
    specs = []
    for name, data in files:
        stream = DecodedStreamObject()
        stream.set_data(data)
        inner = DictionaryObject({NameObject("/F"): writer._add_object(stream.flate_encode())})
        specs.append(writer._add_object(DictionaryObject({
            NameObject("/Type"): NameObject("/Filespec"), NameObject("/F"): TextStringObject(name),
            NameObject("/EF"): inner})))
    if place == "names":
        pairs = [part for (name, _), spec in zip(files, specs, strict=True) for part in (TextStringObject(name), spec)]
        node = writer._add_object(DictionaryObject({NameObject("/Names"): ArrayObject(pairs)}))
        for _ in range(depth - 1):
            node = writer._add_object(DictionaryObject({NameObject("/Kids"): ArrayObject([node])}))
        writer._root_object[NameObject("/Names")] = DictionaryObject({NameObject("/EmbeddedFiles"): node})
    elif place == "af":
        writer._root_object[NameObject("/AF")] = ArrayObject(specs)
    else:
        page[NameObject("/Annots")] = ArrayObject([writer._add_object(DictionaryObject({
            NameObject("/Subtype"): NameObject("/FileAttachment"), NameObject("/FS"): spec})) for spec in specs])
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(("place", "depth"), [("names", 1), ("names", 4), ("af", 1), ("annotation", 1)])
def test_wherever_it_is_embedded(place: str, depth: int) -> None:
    data = hybrid(("notes.txt", b"hello"), ("whatever", cii()), place=place, depth=depth)
    found = examination.examine(data)
    assert (found.kind, found.format, found.number) == ("invoice", "cii", "R 1")


def test_the_likeliest_file_is_read_first() -> None:
    data = hybrid(*((f"a{n}.xml", b"<x/>") for n in range(30)), ("factur-x.xml", cii()), ("b.bin", b"\0"))
    assert [name for name, _ in pdf.files(data)][:2] == ["factur-x.xml", "a0.xml"]
    assert examination.examine(data).kind == "invoice"


def test_pdfs_without_an_invoice() -> None:
    assert examination.examine(hybrid()).reason == "pdf-without-xml"
    assert examination.examine(hybrid(("factur-x.xml", cii(number="")))).reason == "missing:number"
    assert examination.examine(b"%PDF-1.7\n" + b"/EmbeddedFile garbage" * 50).reason == "damaged"
    zipped = hybrid(("factur-x.xml", b"<x>" + b" " * (pdf.MAX_STREAM + 10) + b"</x>"))
    assert examination.examine(zipped).reason == "hostile"


def test_encrypted_for_nobody_is_read() -> None:
    for password, kind in (("", "invoice"), ("secret", "not-einvoice")):
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(hybrid(("factur-x.xml", cii()))))
        writer.encrypt(password, "owner", algorithm="AES-256")
        out = io.BytesIO()
        writer.write(out)
        found = examination.examine(out.getvalue())
        assert found.kind == kind
        assert found.reason == (None if kind == "invoice" else "encrypted")


def test_loops_are_walked_once() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(hybrid(("factur-x.xml", cii()))))
    tree = writer._root_object["/Names"]["/EmbeddedFiles"]
    tree[NameObject("/Kids")] = ArrayObject([tree.indirect_reference] * 3)
    out = io.BytesIO()
    writer.write(out)
    assert examination.examine(out.getvalue()).kind == "invoice"


# --- mail

def mail(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    """A multipart message; each part is its header lines and its body."""
    body = b"".join(f"--{boundary}\n{head}\n\n".encode() + data + b"\n" for head, data in parts)
    return (f"From: a@b\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary={boundary}\n\n"
            f"").encode() + body + f"--{boundary}--\n".encode()


def base64(data: bytes) -> bytes:
    import base64
    return base64.encodebytes(data)


B64 = "Content-Transfer-Encoding: base64"
TEXT = ("Content-Type: text/plain", b"Please find attached <xml>.\n" * 20)


@pytest.mark.parametrize("head", [
    "Content-Type: application/octet-stream; name=x.dat", "Content-Type: application/pdf", "Content-Type: image/png",
    "Content-Type: text/xml", "Content-Disposition: inline", "Content-Type: text/plain; name=rechnung.txt"])
def test_types_and_names_do_not_matter(head: str) -> None:
    assert examination.examine(mail(TEXT, (f"{head}\n{B64}", base64(cii())))).kind == "invoice"
    assert examination.examine(mail(TEXT, (f"{head}\n{B64}", base64(hybrid(("x", cii())))))).kind == "invoice"


def test_what_is_attached_to_attached_mail_counts() -> None:
    inner = mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(ubl())), boundary="inner")
    assert examination.examine(mail(("Content-Type: message/rfc822", inner))).kind == "invoice"
    assert examination.examine(mail((f"Content-Type: message/rfc822\n{B64}", base64(inner)))).kind == "invoice"


def test_the_first_invoice_counts_and_else_what_comes_nearest() -> None:
    plain = ("Content-Type: text/xml", ubl(number=""))
    other = ("Content-Type: text/xml", b"<note>" + b"n" * 200 + b"</note>")
    assert examination.examine(mail(TEXT, other, plain)).reason == "missing:number"
    assert examination.examine(mail(TEXT, other)).reason == "xml-other"
    assert examination.examine(mail(TEXT)).reason == "nothing-attached"
    first, second = (("Content-Type: text/xml", ubl(number=f"<b:ID>{n}</b:ID>")) for n in (1, 2))
    assert examination.examine(mail(TEXT, plain, first, second)).number == "1"


def test_signed_and_opaque_is_unwrapped(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    (tmp_path / "plain").write_bytes(mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(ubl()))))
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "k", "-out", "c"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    for command in (["-sign", "-nodetach", "-signer", "c", "-inkey", "k"], ["-encrypt", "-aes256", "c"]):
        line = ["openssl", "cms", *command[:1], "-in", "plain", "-outform", "DER", "-binary", *command[1:]]
        octets = subprocess.run(line, cwd=tmp_path, check=True, capture_output=True).stdout
        head = f"Content-Type: application/pkcs7-mime; name=smime.p7m\n{B64}"
        found = examination.examine(f"From: a@b\n{head}\n\n".encode() + base64(octets))
        assert found.kind == ("invoice" if "-sign" in command else "not-einvoice")
        assert found.reason == (None if "-sign" in command else "encrypted")


# --- the child, and the command

def test_a_child_that_dies_is_replaced() -> None:
    with Examiner() as examiner:
        assert examiner.examine(cii()).kind == "invoice"
        assert examiner._child is not None
        examiner._child.kill()
        examiner._child.wait()
        assert examiner.examine(cii()).kind == "undecided"
        assert examiner.examine(cii()).kind == "invoice"


def test_a_child_that_takes_too_long_is_ended() -> None:
    with Examiner(seconds=1.0) as examiner:
        assert examiner.examine(cii()).kind == "invoice"
        assert examiner._child is not None
        os.kill(examiner._child.pid, 19)  # SIGSTOP
        began = time.monotonic()
        assert examiner.examine(cii()).kind == "undecided"
        assert time.monotonic() - began < 20
        assert examiner.examine(cii()).kind == "invoice"
    assert threading.active_count() < 20


def test_the_command(tmp_path: Path) -> None:
    for name, data in (("a.pdf", hybrid(("x.xml", cii()))), ("b.xml", b"<x/>"), ("ü\n.eml", mail(TEXT))):
        (tmp_path / name).write_bytes(data)

    def run(*names: str, data: bytes = b"") -> tuple[int, list[dict[str, object]]]:
        done = subprocess.run([BIN / "lanmail-einvoice", *names], input=data, capture_output=True, cwd=tmp_path,
                              check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    code, said = run("b.xml", "a.pdf", "ü\n.eml")
    assert (code, [(one["path"], one["kind"]) for one in said]) == (
        0, [("b.xml", "not-einvoice"), ("a.pdf", "invoice"), ("ü\n.eml", "not-einvoice")])
    assert run("b.xml")[0] == 1
    code, said = run(data=ubl())
    assert (code, said[0]["path"], said[0]["number"]) == (0, "-", "R 1")
    assert run("none.xml", "a.pdf")[0] == os.EX_NOINPUT


def test_what_lies_in_the_directory_is_not_run(tmp_path: Path) -> None:
    for name in ("json", "logging", "resource", "lanmail"):
        (tmp_path / f"{name}.py").write_text("open('pwned', 'w')\n")
    (tmp_path / "a.xml").write_bytes(ubl())
    done = subprocess.run([BIN / "lanmail-einvoice", "a.xml"], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
def test_the_corpus() -> None:
    """Every document whose answer is beyond doubt, and what it says."""
    if not CORPUS.exists():
        pytest.skip("no corpus beside the checkout")
    expected = json.loads((CORPUS / "expected.json").read_text())
    wrong, said = [], ("number", "issue_date", "type_code", "currency", "seller", "buyer", "gross", "payable")
    with Examiner() as examiner:
        for name, answer in expected.items():
            found = examiner.examine((CORPUS / name).read_bytes())
            assert found.kind != "undecided", name
            if not answer["ambiguous"]:
                right = found.kind == answer["kind"] and (not found.is_einvoice or all(
                    getattr(found, one) == answer[one] for one in said))
                wrong += [] if right else [name]
    assert not wrong
