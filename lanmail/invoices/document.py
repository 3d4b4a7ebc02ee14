"""Whether an XML document is an e-invoice: its root, its specification identifier, and the details that each one has.

    examine(data: bytes) -> Verdict

EN 16931-1 names the details (BT-…), EN 16931-3-2 and -3-3 where they stand in UBL and CII. An e-invoice has one of the
three roots, a specification identifier (BT-24) that begins with `urn:cen.eu:en16931:2017` (so not the ZUGFeRD profiles
MINIMUM and BASIC WL, nor ZUGFeRD 1.0), all of DETAILS, and a line. Names and types of files say nothing.

The parser resolves no entities, loads nothing, and a document with a DOCTYPE is refused: neither syntax needs one.
Lines are forgotten as they end, so that memory does not grow with their number; elsewhere the number of elements is
bounded.
"""

import re
from typing import Any

from lxml import etree

from lanmail.invoices.verdict import Kind, Verdict, no, undecided

MAX_XML = 50 << 20
MAX_MARKS = 400_000  # "<" and "=" without the end of a line among them; an invoice has some thousands
MAX_STRAYS = 20_000  # elements between lines
MAX_LINES = 200_000  # the shortest that says anything takes some 300 octets
BLOATED = "hostile: it is made to use up memory"
EN16931 = "urn:cen.eu:en16931:2017"
CREDIT = frozenset(map(str, (81, 83, 261, 262, 296, 308, 381, 396, 420, 458, 532)))
# UNTDID 1001, as the code lists of EN 16931 allow it (BT-3)
TYPES = CREDIT | frozenset(map(str, (
    71, 80, 82, 84, 102, 130, 202, 203, 204, 211, 218, 219, 295, 325, 326, 331, 380, 382, 383, 384, 385, 386, 387, 388,
    389, 390, 393, 394, 395, 456, 457, 471, 472, 473, 500, 501, 502, 503, 527, 553, 575, 623, 633, 751, 780, 817, 870,
    875, 876, 877, 935)))

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_INVOICE, _CREDIT_NOTE = f"{{{_UBL}Invoice-2}}Invoice", f"{{{_UBL}CreditNote-2}}CreditNote"
_CBC, _CAC = f"{{{_UBL}CommonBasicComponents-2}}", f"{{{_UBL}CommonAggregateComponents-2}}"
_CII = "urn:un:unece:uncefact:data:standard:"
_RSM = f"{{{_CII}CrossIndustryInvoice:100}}"
_RAM, _UDT = f"{{{_CII}ReusableAggregateBusinessInformationEntity:100}}", f"{{{_CII}UnqualifiedDataType:100}}"
_CROSS = f"{_RSM}CrossIndustryInvoice"
_ZUGFERD1 = "{urn:ferd:CrossIndustryDocument:invoice:1p0}CrossIndustryDocument"
_ROOTS = {_INVOICE: "ubl", _CREDIT_NOTE: "ubl", _CROSS: "cii"}
# Roots that only look like it: of other documents of the same families, or without the namespace.
_NEAR = re.compile(r"\{(?:urn:oasis:names:specification:ubl:|urn:un:unece:uncefact:data:)")
_LIKE = frozenset({"Invoice", "CreditNote", "CrossIndustryInvoice", "CrossIndustryDocument"})
_LINES = {f"{_CAC}InvoiceLine", f"{_CAC}CreditNoteLine", f"{_RAM}IncludedSupplyChainTradeLineItem"}
_PARENTS = {_INVOICE, _CREDIT_NOTE, f"{_RSM}SupplyChainTradeTransaction"}

# As they are told when they are missing, in this order.
DETAILS = ("number", "issue_date", "type_code", "currency", "seller", "buyer", "gross", "payable")
_TOLD = {"issue_date": "date", "type_code": "type", "payable": "due"}



def _party(role: str) -> tuple[str, ...]:
    base = f"{_CAC}{role}/{_CAC}Party"
    return f"{base}/{_CAC}PartyLegalEntity/{_CBC}RegistrationName", f"{base}/{_CAC}PartyName/{_CBC}Name"


_TRADE = f"{_RSM}SupplyChainTradeTransaction/{_RAM}"
_TOTALS = f"{_TRADE}ApplicableHeaderTradeSettlement/{_RAM}SpecifiedTradeSettlementHeaderMonetarySummation/{_RAM}"
_CONTEXT = f"{_RSM}ExchangedDocumentContext/{_RAM}GuidelineSpecifiedDocumentContextParameter/{_RAM}ID"
# Below the root, always straight down: the ID of a line is no invoice number.
_WHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "ubl": {
        "customization_id": (f"{_CBC}CustomizationID",),
        "number": (f"{_CBC}ID",),
        "issue_date": (f"{_CBC}IssueDate",),
        "type_code": (f"{_CBC}InvoiceTypeCode", f"{_CBC}CreditNoteTypeCode"),
        "currency": (f"{_CBC}DocumentCurrencyCode",),
        "seller": _party("AccountingSupplierParty"),
        "buyer": _party("AccountingCustomerParty"),
        "gross": (f"{_CAC}LegalMonetaryTotal/{_CBC}TaxInclusiveAmount",),
        "payable": (f"{_CAC}LegalMonetaryTotal/{_CBC}PayableAmount",),
    },
    "cii": {
        "customization_id": (_CONTEXT,),
        "number": (f"{_RSM}ExchangedDocument/{_RAM}ID",),
        "issue_date": (f"{_RSM}ExchangedDocument/{_RAM}IssueDateTime/{_UDT}DateTimeString",),
        "type_code": (f"{_RSM}ExchangedDocument/{_RAM}TypeCode",),
        "currency": (f"{_TRADE}ApplicableHeaderTradeSettlement/{_RAM}InvoiceCurrencyCode",),
        "seller": (f"{_TRADE}ApplicableHeaderTradeAgreement/{_RAM}SellerTradeParty/{_RAM}Name",),
        "buyer": (f"{_TRADE}ApplicableHeaderTradeAgreement/{_RAM}BuyerTradeParty/{_RAM}Name",),
        "gross": (f"{_TOTALS}GrandTotalAmount",),
        "payable": (f"{_TOTALS}DuePayableAmount",),
    },
}
_VAT = {  # identifiers, and where their scheme is told
    "ubl": (f"{_CAC}AccountingSupplierParty/{_CAC}Party/{_CAC}PartyTaxScheme", f"{_CBC}CompanyID",
            f"{_CAC}TaxScheme/{_CBC}ID", "VAT"),
    "cii": (f"{_TRADE}ApplicableHeaderTradeAgreement/{_RAM}SellerTradeParty/{_RAM}SpecifiedTaxRegistration",
            f"{_RAM}ID", "", "VA"),
}
_BLOCK = 256 << 10
# BT-125; the parser takes texts of 10 MB at most
_ATTACHMENT = re.compile(rb"(<[\w.-]*:?(?:EmbeddedDocument|Attachment)BinaryObject(?:\s[^<>]*)?>)[A-Za-z0-9+/=\s]*(</)")
_BLANK = b"\0 \t\r\n"
_PROFILES = (("minimum", "MINIMUM"), ("basicwl", "BASIC WL"), ("basic", "BASIC"), ("extended", "EXTENDED"))


def looks_like_xml(data: bytes) -> bool:
    """Whether it begins as XML does, in any of the usual encodings."""
    start = data[:200].removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return start.lstrip(_BLANK)[:1] == b"<"


def examine(data: bytes) -> Verdict:
    """Look at an XML document."""
    if len(data) > MAX_XML:
        return undecided("too-large")
    try:
        root, lines = _parse_leniently(data)
    except etree.XMLSyntaxError as error:
        hostile = {etree.ErrorTypes.ERR_ENTITY_LOOP, etree.ErrorTypes.ERR_RESOURCE_LIMIT}
        return no(BLOATED if error.code in hostile else "not-well-formed")
    except _Bloated:
        return no(BLOATED)
    if root.getroottree().docinfo.doctype:
        return no("hostile: it has a DOCTYPE")
    return _judge(root, lines)


def _parse_leniently(data: bytes) -> tuple[Any, int]:
    """As _parse does it, if need be without what some programs put around a good document, or long attachments."""
    try:
        return _parse(data)
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
            mended = _ATTACHMENT.sub(rb"\1\2", data)
        else:
            mended = data.rstrip(_BLANK).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK[1:])
        if mended == data:
            raise
        return _parse(mended)


class _Bloated(Exception):
    """There is more outside of lines, or in one line, than any invoice has."""


def _parse(data: bytes) -> tuple[Any, int]:
    """The root, with its lines emptied or gone, and how many they were. XMLSyntaxError, _Bloated."""
    parser = etree.XMLPullParser(
        events=("end",), tag=tuple(_LINES), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True, recover=False)
    lines, marks, strays, last = 0, 0, 0, None
    for at in range(0, len(data), _BLOCK):
        block = data[at : at + _BLOCK]
        marks += block.count(b"<") + block.count(b"=")
        parser.feed(block)
        for _, line in parser.read_events():
            parent = line.getparent()
            if parent is not None and parent.tag in _PARENTS and _is_outermost(parent):
                lines, marks = lines + 1, 0
                line.clear(keep_tail=True)  # the parser still stands at this one, so it goes when the next is there
                strays += _forget(parent, last, line)
                last = line
        if marks > MAX_MARKS or strays > MAX_STRAYS or lines > MAX_LINES:
            raise _Bloated
    return parser.close(), lines


def _forget(parent: Any, last: Any, line: Any) -> int:
    """Take the line before out, and whatever stands between; how many there were, for invoices have none."""
    strays = 0
    if last is not None and last.getparent() is parent:
        while (before := line.getprevious()) is not None:
            parent.remove(before)
            if before is last:
                break
            strays += 1
    return strays


def _is_outermost(parent: Any) -> bool:
    above = parent.getparent()
    return above is None or (parent.tag not in (_INVOICE, _CREDIT_NOTE) and above.getparent() is None)


def _judge(root: Any, lines: int) -> Verdict:
    syntax = _ROOTS.get(root.tag)
    if syntax is None:
        return _other(root)
    said: dict[str, Any] = {name: _text(root, paths) for name, paths in _WHERE[syntax].items()}
    if syntax == "cii":
        said["issue_date"] = _date(root, said["issue_date"])
    spec = said["customization_id"] or ""
    kind: Kind = "credit-note" if root.tag == _CREDIT_NOTE or said["type_code"] in CREDIT else "invoice"
    found = Verdict(kind, format=syntax, profile=profile(spec), seller_vat=_vat(root, syntax), **said)
    missing = [_TOLD.get(name, name) for name in DETAILS if said[name] is None] + ["lines"] * (not lines)
    if not spec:
        return found.told_as("missing:" + ",".join(["spec", *missing]))
    if not spec.lower().startswith(EN16931):
        low = found.profile in ("MINIMUM", "BASIC WL")
        return found.told_as("profile" if low else "customization-id")
    if missing:
        return found.told_as("missing:" + ",".join(missing))
    return found if said["type_code"] in TYPES else found.told_as("type-code")


def _other(root: Any) -> Verdict:
    if root.tag == _ZUGFERD1:
        return Verdict("not-einvoice", "zugferd1", "zugferd1")
    if etree.QName(root).localname in _LIKE:
        return no("namespace")
    return no("root" if _NEAR.match(root.tag) else "xml-other")


def _text(root: Any, paths: tuple[str, ...]) -> str | None:
    for path in paths:
        for one in root.iterfind(path):
            text = "".join(one.itertext()).strip()
            if text:
                return text[:1000]
    return None


def _date(root: Any, text: str | None) -> str | None:
    """YYYY-MM-DD from the form 102 of UN/EDIFACT 2379; another form stays as it is."""
    if text is None or not re.fullmatch(r"[0-9]{8}", text):
        return text
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"


def _vat(root: Any, syntax: str) -> str | None:
    base, number, scheme, wanted = _VAT[syntax]
    for one in root.iterfind(base):
        for found in one.iterfind(number):
            kind = (one.findtext(scheme) if scheme else found.get("schemeID")) or ""
            if kind.strip().upper() == wanted and (text := (found.text or "").strip()):
                return text[:100]
    return None


def profile(spec: str) -> str | None:
    """A short name for a specification identifier."""
    low = spec.strip().lower()
    if not low:
        return None
    if found := re.search(r"xrechnung_([0-9]+\.[0-9]+)", low):
        more = "-EXT" if "extension" in low else "-CVD" if ":cvd_" in low else ""
        return f"XRECHNUNG-{found[1]}{more}"
    if "xrechnung" in low:
        return "XRECHNUNG-?"
    if low.startswith("urn:ferd:"):
        return "ZF1-" + low.rpartition(":")[2].replace("komfort", "comfort").upper()
    if "peppol.eu:2017:poacc:" in low:
        return "PEPPOL-BIS-3"
    if "factur-x" in low or "zugferd" in low:
        end = re.split(r"[:#]", low)[-1]
        return next((name for word, name in _PROFILES if end == word), "CIUS-OTHER")
    if low == EN16931:
        return "EN16931"
    if low.endswith(":extended-ctc-fr"):
        return "EXTENDED-CTC-FR"
    return "CIUS-OTHER" if low.startswith(EN16931) else None
