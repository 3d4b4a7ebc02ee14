"""What is looked for in the archive, as people write it.

    Vertrag Müller          mails with both words, in any inflection, anywhere
    "neue Preise"           these words one behind the other
    -Entwurf                not this word; a minus stands before anything
    Rechn*                  words that begin so
    from:  to:  subject:    a word, or several in quotes, in these alone; to: means copies, too
    filename:               in the name of an attachment
    has:attachment          with one
    account:  direction:    of an account; `in` (it was received) or `out`
    after:  before:  on:    2026, 2026-03, 2026-03-15, 15.3.2026, today, yesterday, or 7d for seven days ago
    larger:  smaller:       than 500KB
    id:  message-id:        the one that the log names, or its beginning; the one in the header

    parse(text, now) -> Query       QueryError says where it is wrong, and what would be right

One pass over the text. Nothing of it is ever part of a statement to the database: words are taken apart by `words` and
put in quotes, all else goes there as a value. OR, NEAR, brackets and other signs mean nothing.
"""

import datetime
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from lanmail import units
from lanmail.archiving import words
from lanmail.mime import casemap
from lanmail.textindex import terms

LONGEST = 4000
MOST = 100
IN, OUT = "in", "out"
COLUMNS = {"subject": "subject", "from": "sender", "to": "recipients", "filename": "attachments"}

_QUOTES = {'"': '"', "„": "“”\"", "“": "”“\"", "”": "”\"", "»": "«", "«": "»"}
_key = re.compile(r"([A-Za-z][A-Za-z-]{1,15}):").match
_rest = re.compile(r"\S*").match
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_GERMAN_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_AGO = re.compile(r"(\d{1,5})([dwmy])")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}


_Value = str | int | tuple[int, int]


class QueryError(ValueError):
    """What was written cannot be understood; `position` is that of the character, from 1."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(f"at character {position}: {text}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words one behind the other in one column ("" is any); `beginning`: the last word may go on.

    `folded` is the text as it was written, for the search inside of words.
    """

    column: str
    words: tuple[str, ...]
    beginning: str = ""
    folded: str = ""
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known of a mail.

    `kind` is account, direction, attachment, larger, smaller, id, message-id; or since (at this second since 1970 or
    later), until (earlier than that), on (both of them).
    """

    kind: str
    value: _Value
    negative: bool = False


@dataclass(slots=True)
class Query:
    """All of it must be true of a mail; of an empty one, everything is."""

    phrases: list[Phrase] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def parse(text: str, now: float) -> Query:
    """Read a query; `now` is what today means. Raises QueryError, and nothing else."""
    if len(text) > LONGEST:
        raise QueryError(LONGEST, f"a query has at most {LONGEST} characters")
    whole = text.encode("utf-8", "replace").decode()  # half characters, which no database takes
    return _Parser(whole, now).query()


class _Parser:
    def __init__(self, text: str, now: float) -> None:
        self.text, self.now = text, now
        self.at = 0
        self.found = Query()

    def query(self) -> Query:
        while self.at < len(self.text):
            if self.text[self.at].isspace():
                self.at += 1
                continue
            self.item()
            if len(self.found.phrases) + len(self.found.facts) > MOST:
                raise QueryError(self.at + 1, f"a query has at most {MOST} parts")
        if self.text.strip() and not self.found.phrases and not self.found.facts:
            raise QueryError(1, "there is no letter or digit to look for")
        return self.found

    def item(self) -> None:
        start = self.at
        negative = self.text.startswith("-", self.at) and not self.text.startswith(("- ", "--"), self.at)
        self.at += negative
        key = _key(self.text, self.at)
        name = key[1].lower() if key else ""
        if key and name in COLUMNS:
            self.at = key.end()
            self.phrase(COLUMNS[name], negative, key[0])
        elif key and name in _FACTS:
            self.at = key.end()
            place = self.at
            value, _ = self.value()
            if not value:
                raise QueryError(place + 1, f"{key[0]} wants {_FACTS[name][1]} right behind it")
            self.fact(name, value, place, negative)
        elif key and (close := difflib.get_close_matches(name, [one for one in _KEYS if len(one) > 2], 1, 0.7)):
            raise QueryError(start + 1, f"there is no {key[0]} — did you mean {close[0]}: ? "
                                        "(A word with a colon stands in quotes.)")
        else:
            self.phrase("", negative)

    def phrase(self, column: str, negative: bool, key: str = "") -> None:
        place = self.at
        value, quoted = self.value()
        folded = casemap.fold(value.strip("*"))
        found = words.of(folded)
        if found:
            last = terms.sequence(folded)[-1]
            beginning = words.beginning(last) if value.endswith("*") and not terms.is_alone(last) else ""
            if beginning and len(beginning) < 2:
                raise QueryError(place + 1, "two letters or more have to stand before *")
            self.found.phrases.append(Phrase(column, tuple(found), beginning, " ".join(folded.split()), negative))
        elif key or quoted:
            wanted = f"{key} wants a word right behind it" if key else "there is no letter or digit between the quotes"
            raise QueryError(place + 1, wanted)

    def value(self) -> tuple[str, bool]:
        """What stands here up to the next blank, or between quotes; and whether there were any."""
        first = self.text[self.at : self.at + 1]
        if first in _QUOTES and first:
            ends = [end for mark in _QUOTES[first] if (end := self.text.find(mark, self.at + 1)) >= 0]
            if not ends:
                raise QueryError(self.at + 1, f"{first} is not closed: {_QUOTES[first][0]} is missing behind the words")
            value = self.text[self.at + 1 : min(ends)]
            self.at = min(ends) + 1
            if self.text.startswith("*", self.at):
                self.at += 1
                value += "*"
            return value, True
        match = _rest(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return match[0], False

    def fact(self, name: str, value: str, place: int, negative: bool) -> None:
        read, wanted = _FACTS[name]
        try:
            self.found.facts.append(Fact(*read(value, self.now), negative))
        except (ValueError, OverflowError, OSError) as error:
            raise QueryError(place + 1, f"{name}: wants {wanted}, not '{value[:40]}'") from error


_Read = Callable[[str, float], tuple[str, _Value]]


def _after(value: str, now: float) -> tuple[str, _Value]:
    return "since", period(value, now)[0]


def _before(value: str, now: float) -> tuple[str, _Value]:
    return "until", period(value, now)[0]


def _on(value: str, now: float) -> tuple[str, _Value]:
    start, end = period(value, now)
    if start == end:
        raise ValueError(value)
    return "on", (start, end)


def _account(value: str, _now: float) -> tuple[str, _Value]:
    return "account", value.lower()


def _text(kind: str) -> _Read:
    return lambda value, _now: (kind, value)


def _size(kind: str) -> _Read:
    return lambda value, _now: (kind, min(units.size(value), 1 << 60))


def _one_of(kind: str, **known: str) -> _Read:
    def read(value: str, _now: float) -> tuple[str, _Value]:
        if value.lower() not in known:
            raise ValueError(value)
        return kind, known[value.lower()]

    return read


_A_DAY = "a day like 2026-03-15, 2026-03, 2026, today, yesterday, or 7d for seven days ago"
_FACTS: dict[str, tuple[_Read, str]] = {
    "account": (_account, "the name of an account"),
    "direction": (_one_of("direction", **{IN: IN, OUT: OUT}), "in or out"),
    "has": (_one_of("attachment", attachment="", attachments=""), "attachment"),
    "after": (_after, _A_DAY),
    "before": (_before, _A_DAY),
    "on": (_on, _A_DAY),
    "larger": (_size("larger"), "a size like 500KB"),
    "smaller": (_size("smaller"), "a size like 500KB"),
    "id": (_text("id"), "an id, or its beginning"),
    "message-id": (_text("message-id"), "a Message-ID"),
}
_KEYS = (*COLUMNS, *_FACTS)


def period(text: str, now: float) -> tuple[int, int]:
    """First second of a day, month or year, and the one behind it; what was some time ago has no length. ValueError."""
    today = datetime.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    word = text.lower()
    if word in ("today", "yesterday"):
        start = today - datetime.timedelta(days=word == "yesterday")
        return _seconds(start), _seconds(start + datetime.timedelta(days=1))
    if ago := _AGO.fullmatch(word):
        moment = int(now) - 86400 * int(ago[1]) * _DAYS[ago[2]]
        return moment, moment
    if german := _GERMAN_DAY.fullmatch(word):
        year, month, day = int(german[3]), int(german[2]), int(german[1])
    elif found := _DAY.fullmatch(word):
        year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
        if (found[2] and not month) or (found[3] and not day):
            raise ValueError(text)
    else:
        raise ValueError(text)
    start = datetime.datetime(year, month or 1, day or 1)
    if day:
        end = start + datetime.timedelta(days=1)
    elif month:
        end = start.replace(year=year + month // 12, month=month % 12 + 1)
    else:
        end = start.replace(year=year + 1)
    return _seconds(start), _seconds(end)


def _seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())
