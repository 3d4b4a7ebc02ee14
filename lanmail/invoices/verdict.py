"""What the examination of a document says, and how to ask for it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

MAX_PART = 50 << 20
Kind = Literal["invoice", "credit-note", "not-einvoice", "undecided"]

# Why something is no e-invoice, the reasons that say most to a person first: of several attachments the one that came
# nearest is told.
_RANK = ("missing", "type-code", "profile", "zugferd1", "customization-id", "namespace", "root", "encrypted",
         "not-examinable", "hostile",
         "damaged", "pdf-without-xml", "not-well-formed", "xml-other", "not-xml", "nothing-attached")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Kind, the reason when it is no e-invoice, and what the document says of itself, as it is written there.

    `format` is ubl, cii or zugferd1 (the syntax of the XML, also inside a PDF); `issue_date` of CII is turned into
    YYYY-MM-DD. Amounts stay text.
    """

    kind: Kind
    reason: str | None = None
    format: str | None = None
    profile: str | None = None
    customization_id: str | None = None
    number: str | None = None
    issue_date: str | None = None
    type_code: str | None = None
    currency: str | None = None
    seller: str | None = None
    seller_vat: str | None = None
    buyer: str | None = None
    gross: str | None = None
    payable: str | None = None

    @property
    def is_einvoice(self) -> bool:
        return self.kind in ("invoice", "credit-note")

    def as_json(self, path: str) -> dict[str, Any]:
        """The object that the command prints."""
        return {"path": path, **asdict(self)}

    def told_as(self, reason: str) -> "Verdict":
        return replace(self, kind="not-einvoice", reason=reason)


@dataclass(frozen=True, slots=True)
class Wish:
    """How to look. `every`: beyond the first e-invoice; `max_part`: octets of one document or attachment."""

    zip: bool = False
    tnef: bool = False
    every: bool = False
    max_part: int = MAX_PART


USUAL = Wish()


@dataclass(slots=True)
class Result:
    """What counts, and each e-invoice with its XML, in the order in which they stand in the mail."""

    verdict: Verdict
    invoices: list[tuple[Verdict, bytes]] = field(default_factory=list)


def no(reason: str) -> Verdict:
    """No e-invoice."""
    return Verdict("not-einvoice", reason)


def undecided(reason: str) -> Verdict:
    """It could not be examined to the end; it may be one."""
    return Verdict("undecided", reason)


def best(found: list[Verdict]) -> Verdict:
    """What counts of several documents: the first e-invoice, else what is undecided, else what came nearest."""
    for one in found:
        if one.is_einvoice:
            return one
    for one in found:
        if one.kind == "undecided":
            return one
    return min(found, key=_rank, default=no("nothing-attached"))


def _rank(one: Verdict) -> int:
    kind = (one.reason or "").partition(":")[0]
    return _RANK.index(kind) if kind in _RANK else len(_RANK)
