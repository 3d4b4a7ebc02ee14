"""What a SEARCH asks, as a tree of small frozen values: the command parser makes it, `search.compile` runs it.

The parser has already resolved everything that needs the session: `*` and `$` in sets, dates, charsets
(all text is `str`).
Several keys side by side are one `And`; NOT is `Not`; `UNSEEN` is `Flag("S", False)`;
`NEW` is `And((Recent(True), Flag("S", False)))`; `CC x` is `Header("cc", "x")`; ALL is `And(())`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, closed ranges: `1:3,7` is `((1, 3), (7, 7))`. Make them with `ranges()`."""

Relation = Literal["before", "on", "since"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of message sequence numbers."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Uids:
    """UID followed by a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Flag:
    """A system flag by its Maildir letter: D draft, F flagged, R answered, S seen, T deleted."""

    letter: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class Keyword:
    """KEYWORD (present) or UNKEYWORD (not present); compared without regard to ASCII case."""

    name: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class Recent:
    """RECENT (present) or OLD (not present)."""

    present: bool = True


@dataclass(frozen=True, slots=True)
class Arrived:
    """BEFORE, ON, SINCE: the day of INTERNALDATE, disregarding time and zone."""

    relation: Relation
    day: date


@dataclass(frozen=True, slots=True)
class Sent:
    """SENTBEFORE, SENTON, SENTSINCE: the day written in the Date field, disregarding time and zone."""

    relation: Relation
    day: date


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514)."""

    relation: Relation
    day: date


@dataclass(frozen=True, slots=True)
class Within:
    """YOUNGER or (older=True) OLDER, RFC 5032; the parser has made the interval a moment, in seconds since 1970."""

    moment: float
    older: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """LARGER, or (smaller=True) SMALLER than that many octets on the wire."""

    octets: int
    smaller: bool = False


@dataclass(frozen=True, slots=True)
class ModSeq:
    """MODSEQ n (RFC 7162): changed at or after n."""

    value: int


@dataclass(frozen=True, slots=True)
class EmailId:
    """EMAILID (RFC 8474)."""

    id: str


@dataclass(frozen=True, slots=True)
class Header:
    """HEADER name text, and FROM, TO, CC, BCC, SUBJECT; an empty text asks only whether the field is there."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """BODY: text in the decoded bodies of the text parts, those of attached messages too."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """TEXT: as BODY, and in all headers: the message's own, those of its parts and of attached messages."""

    text: str


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """FUZZY (RFC 6203) before one of the keys that look for a text; before others it means nothing."""

    key: "Header | Body | Text"


@dataclass(frozen=True, slots=True)
class Not:
    key: "Key"


@dataclass(frozen=True, slots=True)
class And:
    keys: "tuple[Key, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    keys: "tuple[Key, ...]"


Key = (
    Numbers | Uids | Flag | Keyword | Recent | Arrived | Sent | Saved | Within | Size | ModSeq | EmailId
    | Header | Body | Text | Fuzzy | Not | And | Or
)


def ranges(pairs: list[tuple[int, int]]) -> Ranges:
    """Sort and join ranges given in any order and direction (RFC 3501 §9: `4:2` is `2:4`)."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted((min(pair), max(pair)) for pair in pairs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def fuzzily(key: Key) -> Key:
    """The key, and all below it that look for a text, as fuzzy ones."""
    match key:
        case Header() | Body() | Text():
            return Fuzzy(key)
        case Not():
            return Not(fuzzily(key.key))
        case And() | Or():
            return type(key)(tuple(map(fuzzily, key.keys)))
    return key
