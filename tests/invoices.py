"""E-invoices and what they come in, for tests: XML of both syntaxes, PDFs that hold files, mails."""

import io

import pypdf
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, TextStringObject

from lanmail.invoices import examination
from lanmail.invoices.verdict import Verdict

SPEC = "urn:cen.eu:en16931:2017"
UBL_NS = "urn:oasis:names:specification:ubl:schema:xsd:"
CII_NS = "urn:un:unece:uncefact:data:standard:"


def look(data: bytes) -> Verdict:
    return examination.examine(data).verdict


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
    return (f'{prolog}<{root} xmlns="{UBL_NS}{root}-2" xmlns:b="{UBL_NS}CommonBasicComponents-2" '
            f'xmlns:c="{UBL_NS}CommonAggregateComponents-2">{inside}</{root}>').encode()


def cii(**changes: str) -> bytes:
    inside = "".join({**CII, **changes}.values())
    return (f'<r:CrossIndustryInvoice xmlns:r="{CII_NS}CrossIndustryInvoice:100" '
            f'xmlns:a="{CII_NS}ReusableAggregateBusinessInformationEntity:100" '
            f'xmlns:u="{CII_NS}UnqualifiedDataType:100">{inside}</r:CrossIndustryInvoice>').encode()


def hybrid(*files: tuple[str, bytes], place: str = "names", depth: int = 1,
           keys: tuple[str, ...] = ("/F",), places: tuple[str, ...] = ("/F",)) -> bytes:
    """A PDF with files in a name tree `depth` levels deep, in the catalog's /AF, or in an annotation."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(100, 100)
    specs = []
    for name, data in files:
        stream = DecodedStreamObject()
        stream.set_data(data)
        held = writer._add_object(stream.flate_encode())
        inner = DictionaryObject({NameObject(one): held for one in places})
        specs.append(writer._add_object(DictionaryObject({
            NameObject("/Type"): NameObject("/Filespec"), NameObject("/EF"): inner,
            **{NameObject(key): TextStringObject(name) for key in keys}})))
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
