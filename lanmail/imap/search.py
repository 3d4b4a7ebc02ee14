"""Does a message match a SEARCH? A tree of `searchkeys` becomes one function: cheap keys first, the file last."""

import re
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from datetime import date, timedelta
from typing import Protocol

from lanmail.imap import fuzzy, searchkeys, section
from lanmail.mime import headers, summary, textsearch
from lanmail.textindex import stems

Test = Callable[["Message"], bool]
Known = Mapping[searchkeys.Key, Callable[[int], bool | None]]  # by UID
_NOTHING: Known = {}

_date = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}[.,\s]*)?([0-9]{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*[\s.,-]+([0-9]{4}|[0-9]{2})(?![0-9])"
).match
_comment = re.compile(rb"\([^()]*\)")
_MONTHS = {month: number for number, month in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}

NAMES, STATUS, HEADER, BODY = range(4)  # what a key looks at: the file's name, its inode, its header, all of it


class Message(Protocol):
    """What a search may ask of a message; the costly ones are methods and called at most when a key needs them."""

    @property
    def number(self) -> int: ...  # message sequence number
    @property
    def uid(self) -> int: ...
    @property
    def flags(self) -> str: ...  # Maildir letters: "FS"
    @property
    def keywords(self) -> Collection[str]: ...  # names in lower case
    @property
    def recent(self) -> bool: ...
    @property
    def email_id(self) -> str: ...
    def internal_date(self) -> float: ...  # seconds since 1970
    def saved_date(self) -> float: ...
    def wire_size(self) -> int: ...  # RFC822.SIZE
    def modseq(self) -> int: ...
    def source(self) -> section.Source: ...  # opens the file; OSError goes to the caller of the search
    def header_source(self) -> section.Source: ...  # good for fields that `records.keeps`, and may spare opening it


def compile(key: searchkeys.Key, known: Known = _NOTHING) -> Test:
    """One function for the whole tree: `matches = compile(key); [m for m in messages if matches(m)]`.

    `known` says of some keys, anywhere in the tree, which messages match; of the others only reading them tells.
    """
    return _compiled(key, known)[1]


def relevancy(key: searchkeys.Key, known: Mapping[searchkeys.Key, Mapping[int, int]]) -> Callable[["Message"], int]:
    """How relevant a message is that was found, by the fuzzy keys that it matches (RFC 6203 §4)."""
    wanted = [(known.get(one, {}), fuzzy.scorer(one, compile(one.key))) for one in dict.fromkeys(fuzzy.keys_in(key))]

    def score(message: Message) -> int:
        ranks = [scores.get(message.uid) or read(message) for scores, read in wanted]
        ranks = [rank for rank in ranks if rank]
        return sum(ranks) // len(ranks) if ranks else stems.SAME

    return score


def needs_file(key: searchkeys.Key) -> bool:
    """Whether a message may have to be opened; a search of names and flags alone can be answered at once."""
    return _compiled(key, _NOTHING)[0] >= HEADER


def _compiled(key: searchkeys.Key, known: Known) -> tuple[int, Test]:
    """What it costs to test the key, and the test."""
    match key:
        case searchkeys.Not():
            cost, test = _compiled(key.key, known)
            return cost, lambda message: not test(message)
        case searchkeys.And():
            cost, tests = _several(key.keys, known)
            return cost, tests[0] if len(tests) == 1 else lambda message: all(test(message) for test in tests)
        case searchkeys.Or():
            cost, tests = _several(key.keys, known)
            return cost, lambda message: any(test(message) for test in tests)
        case searchkeys.Body() | searchkeys.Text() | searchkeys.Fuzzy() if key in known:
            return BODY, _unless_known(known[key], _compiled(key, _NOTHING)[1])
        case searchkeys.Fuzzy():
            cost, exact = _of_content(key.key)
            score = fuzzy.scorer(key, exact)
            return cost, lambda message: score(message) > 0
        case searchkeys.Header() | searchkeys.Body() | searchkeys.Text() | searchkeys.Sent():
            return _of_content(key)
        case searchkeys.Arrived() | searchkeys.Saved() | searchkeys.Within() | searchkeys.Size():
            return STATUS, _of_status(key)
        case _:
            return NAMES, _of_name(key)


def _several(keys: tuple[searchkeys.Key, ...], known: Known) -> tuple[int, list[Test]]:
    """The tests, cheapest first, and the cost of the dearest."""
    compiled = sorted((_compiled(key, known) for key in keys), key=lambda pair: pair[0])
    return max((cost for cost, _ in compiled), default=NAMES), [test for _, test in compiled]


def _unless_known(answer: Callable[[int], bool | None], read: Test) -> Test:
    def test(message: Message) -> bool:
        known = answer(message.uid)
        return read(message) if known is None else known

    return test


def _of_name(key: searchkeys.Key) -> Test:
    match key:
        case searchkeys.Numbers():
            numbers = _within(key.ranges)
            return lambda message: numbers(message.number)
        case searchkeys.Uids():
            uids = _within(key.ranges)
            return lambda message: uids(message.uid)
        case searchkeys.Flag():
            letter, present = key.letter, key.present
            return lambda message: (letter in message.flags) is present
        case searchkeys.Keyword():
            name, wanted = key.name.lower(), key.present
            return lambda message: (name in message.keywords) is wanted
        case searchkeys.Recent():
            recent = key.present
            return lambda message: message.recent is recent
        case searchkeys.ModSeq():
            value = key.value
            return lambda message: message.modseq() >= value
        case searchkeys.EmailId():
            email = key.id
            return lambda message: message.email_id == email
    raise TypeError(f"not a search key: {key!r}")


def _within(ranges: searchkeys.Ranges) -> Callable[[int], bool]:
    lows = [low for low, _ in ranges]
    highs = [high for _, high in ranges]

    def test(number: int) -> bool:
        place = bisect_right(lows, number)
        return place > 0 and number <= highs[place - 1]

    return test


def _of_status(key: searchkeys.Arrived | searchkeys.Saved | searchkeys.Within | searchkeys.Size) -> Test:
    match key:
        case searchkeys.Arrived():
            start, end = _moments(key.relation, key.day)
            return lambda message: start <= message.internal_date() < end
        case searchkeys.Saved():
            start, end = _moments(key.relation, key.day)
            return lambda message: start <= message.saved_date() < end
        case searchkeys.Within():
            moment = key.moment
            if key.older:
                return lambda message: message.internal_date() <= moment
            return lambda message: message.internal_date() >= moment
        case searchkeys.Size():
            octets = key.octets
            if key.smaller:
                return lambda message: message.wire_size() < octets
            return lambda message: message.wire_size() > octets


def _moments(relation: searchkeys.Relation, day: date) -> tuple[float, float]:
    """From and to, in seconds since 1970; a day is one of the server's own zone, in which INTERNALDATE is shown."""
    start = float("-inf") if relation == "before" else _midnight(day)
    if relation == "since":
        return start, float("inf")
    return start, _midnight(day, 0 if relation == "before" else 1)


def _midnight(day: date, later: int = 0) -> float:
    """The start of a day, or of one some days later."""
    try:
        return time.mktime((day.year, day.month, day.day + later, 0, 0, 0, 0, 0, -1))
    except (OverflowError, ValueError):
        return (day - date(1970, 1, 1)) / timedelta(seconds=1) + 86400 * later


def _of_content(key: searchkeys.Header | searchkeys.Body | searchkeys.Text | searchkeys.Sent) -> tuple[int, Test]:
    if isinstance(key, searchkeys.Sent):
        return HEADER, _sent(key)
    needle = textsearch.Needle(key.text)
    if isinstance(key, searchkeys.Header):
        name = key.name.lower().encode("ascii", "replace")
        if summary.keeps(name):
            return HEADER, lambda message: textsearch.in_field(message.header_source(), name, needle)
        return HEADER, lambda message: textsearch.in_field(message.source(), name, needle)
    if isinstance(key, searchkeys.Body):
        return BODY, lambda message: textsearch.in_body(message.source(), needle)
    return BODY, lambda message: textsearch.in_text(message.source(), needle)


def _sent(key: searchkeys.Sent) -> Test:
    wanted = (key.day.year, key.day.month, key.day.day)
    relation = key.relation

    def test(message: Message) -> bool:
        sent = sent_day(message.header_source().header)
        if sent is None:
            return False
        if relation == "on":
            return sent == wanted
        return sent < wanted if relation == "before" else sent >= wanted

    return test


def sent_day(header: bytes) -> tuple[int, int, int] | None:
    """Year, month, day as the Date field has them, whatever the zone (RFC 3501 §6.4.4); None if it has none."""
    for value in headers.values(header, b"date")[:1]:
        found = _date(_comment.sub(b" ", value[:200]))
        if found and (month := _MONTHS.get(found[2].lower())):
            year = int(found[3])
            if year < 100:
                year += 2000 if year < 50 else 1900  # RFC 5322 §4.3
            return year, month, int(found[1])
    return None
