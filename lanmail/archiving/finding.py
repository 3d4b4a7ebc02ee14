"""Finding mail in the archive: a query, who asks, and the rows of the index that fit.

    visible_to("alice", …) -> Scope         what these accounts may find: what they received or sent; EVERYTHING
    visible_to_holder(state, "alice")       the same for who has this account now, not for who had its name before
    search(reader, query, scope, …) -> [Found]      the newest first, or what fits best
    scan(reader, query, scope, step) -> [Found]     also words inside of others; looks through all texts
    one(reader, text, scope) -> Found       by its id or the beginning of that; LookupError

Every program that shows something of the archive asks here, and passes the scope of who asks. Blind copies are known
to the administrator and to who sent the mail: for all others these recipients are neither shown nor found.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lanmail.archiving import holders, index, words
from lanmail.archiving.query import Fact, Phrase, Query

_SEEN = tuple(column for column in index.COLUMNS if column != index.HIDDEN)
_WEIGHTS = "4.0, 3.0, 2.0, 1.0, 1.0, 3.0"  # of the columns, by relevance
_ROW = "m.seq, m.id, m.form, m.file, m.date, m.arrived, m.size, m.direction, m.sender, m.author, m.recipients, " \
    "m.subject, m.names, m.attachments, m.message_id"
_TOGETHER = 500
_FEW = 2_000  # mails
RANKED = 1_000  # mails that are put in order by relevance; who gets more than so many asks for too little
_SAMPLE, _MANY = 200, 50  # texts that are read first, and how many of them must fit so that it goes on
_MOST_READ = 250  # mails that are found by reading
_ABOVE_ALL = 1 << 62
_ENDLESS = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks: the accounts whose mail may be seen; None is all. `spans` says when each name was his (`holders`)."""

    accounts: tuple[str, ...] | None
    spans: tuple[holders.Span, ...] = ()

    def values(self) -> list[Any]:
        """Those of the condition below."""
        return [value for span in self.spans for value in span] if self.spans else list(self.accounts or ())

    def condition(self) -> str:
        """Of a row `c` of copies, and `m` of its mail."""
        if self.accounts is None:
            return ""
        if not self.spans:
            return f" AND c.account IN ({', '.join('?' * len(self.accounts))})"
        one = "(c.account = ? AND m.arrived >= ? AND m.arrived < ?)"
        return f" AND ({' OR '.join([one] * len(self.spans))})"

    def has(self, account: str, arrived: float) -> bool:
        """Whether a mail of this account is within."""
        if not self.spans:
            return self.accounts is None or account in self.accounts
        return any(account == name and since <= arrived < until for name, since, until in self.spans)


EVERYTHING = Scope(None)


def visible_to(*accounts: str) -> Scope:
    """What people with these accounts may see of the archive."""
    return Scope(tuple(sorted(set(accounts))))


def visible_to_holder(state: Path, account: str) -> Scope:
    """What an account itself may see: nothing of who had its name before. OSError."""
    spans = holders.spans(state, account)
    return Scope(tuple(sorted({name for name, _, _ in spans})), spans)


@dataclass(frozen=True, slots=True)
class Found:
    """A mail of the archive as a list shows it; texts are on one line, times in seconds since 1970.

    `is_own`: who asks may see the whole envelope, blind copies too. `accounts`: (name, "in" or "out") within the scope.
    """

    seq: int
    id: str
    form: str
    file: str
    date: int
    arrived: int
    size: int
    direction: str
    sender: str
    author: str
    recipients: str
    subject: str
    attachments: tuple[str, ...]
    message_id: str
    is_own: bool
    accounts: tuple[tuple[str, str], ...] = ()


class _Statement:
    """Conditions on a row `m` of mails, and their values."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.conditions: list[str] = []
        self.values: list[Any] = []
        if scope.accounts is not None:
            self.add(self.copy(), scope.values())

    def add(self, condition: str, values: Sequence[Any], negative: bool = False) -> None:
        self.conditions.append(f"NOT ({condition})" if negative else condition)
        self.values += values

    def copy(self, more: str = "") -> str:
        """An account of the scope has the mail; its values are the accounts, and those of `more` behind them."""
        among = self.scope.condition()
        return f"EXISTS (SELECT 1 FROM copies c WHERE c.seq = m.seq{among}{more})"  # noqa: S608 — signs only

    def own(self) -> tuple[str, Sequence[Any]]:
        """Who asks may see the envelope."""
        if self.scope.accounts is None:
            return "1", ()
        return self.copy(" AND c.direction = 'out'"), self.scope.values()

    def take_facts(self, facts: list[Fact]) -> None:
        """Accounts and directions without a minus are meant together: what alice sent is not what somebody else did."""
        together = [fact for fact in facts if fact.kind in ("account", "direction") and not fact.negative]
        directions = [fact for fact in together if fact.kind == "direction"]
        accounts = [[fact] for fact in together if fact.kind == "account"]
        for one in accounts or [[]] * bool(directions):
            conditions = "".join(f" AND c.{fact.kind} = ?" for fact in (*one, *directions))
            self.add(self.copy(conditions),
                     [*self.scope.values(), *[fact.value for fact in (*one, *directions)]])
        for fact in facts:
            if fact not in together:
                condition, found = self.fact(fact)
                self.add(condition, found, fact.negative)

    def fact(self, fact: Fact) -> tuple[str, Sequence[Any]]:
        value, among = fact.value, self.scope.values()
        match fact.kind:
            case "account" | "direction":
                return self.copy(f" AND c.{fact.kind} = ?"), [*among, value]
            case "attachment":
                return "m.attachments > 0", ()
            case "on":
                assert isinstance(value, tuple)
                return "(m.date >= ? AND m.date < ?)", value
            case "id":
                return "(m.id >= ? AND m.id < ?)", (value, f"{value}{_ENDLESS}")
            case "message-id":
                return "m.message_id IN (?, ?)", (value, f"<{value}>")
        return f"m.{_COMPARED[fact.kind]} ?", (value,)

    def take_phrases(self, phrases: list[Phrase]) -> str:
        """The expression of FTS5 for what must be there, "" for none; what else is said becomes conditions."""
        there, gone = list[str](), list[str]()
        for phrase in phrases:
            if phrase.column == "recipients" and self.scope.accounts is not None:
                there += self.take_recipients(phrase)
            else:
                (gone if phrase.negative else there).append(_expression(phrase, self.columns(phrase)))
        without = "".join(f" NOT ({one})" for one in gone)
        if there:
            return f"({' AND '.join(f'({one})' for one in there)}){without}"
        for one in gone:
            self.add("m.seq IN (SELECT rowid FROM words WHERE words MATCH ?)", [one], negative=True)
        return ""

    def columns(self, phrase: Phrase) -> Sequence[str]:
        if phrase.column == "recipients" and self.scope.accounts is None:
            return ("recipients", index.HIDDEN)
        if phrase.column:
            return (phrase.column,)
        return index.COLUMNS if self.scope.accounts is None else _SEEN

    def take_recipients(self, phrase: Phrase) -> list[str]:
        """Recipients that the header names, and those of the envelope for who sent it; what must be there at least."""
        inside = "m.seq IN (SELECT rowid FROM words WHERE words MATCH ?)"
        named, hidden = (_expression(phrase, (one,)) for one in ("recipients", index.HIDDEN))
        own, values = self.own()
        if phrase.negative:
            self.add(f"({inside} OR ({inside} AND {own}))", [named, hidden, *values], negative=True)
            return []
        self.add(f"({own} OR {inside})", [*values, named])
        return [_expression(phrase, ("recipients", index.HIDDEN))]

    def sql(self) -> str:
        return " AND ".join(self.conditions) or "1"


_COMPARED = {"since": "date >=", "until": "date <", "larger": "size >", "smaller": "size <"}


def _expression(phrase: Phrase, columns: Sequence[str]) -> str:
    """FTS5's words for a phrase; ours hold nothing but letters and digits."""
    text = f'"{" ".join(phrase.words)}"'
    if phrase.beginning:
        text = f'({text} OR "{" ".join((*phrase.words[:-1], phrase.beginning))}" *)'
    return text if len(columns) == len(index.COLUMNS) else f"{{{' '.join(columns)}}} : {text}"


def search(reader: index.Reader, query: Query, scope: Scope, *, limit: int = 50, offset: int = 0,
           relevance: bool = False) -> list[Found]:
    """The mails that fit; by relevance: the newest RANKED of them in that order, then the others. Damaged, OSError."""
    with index.damage():
        rows = _by_reading(reader, query, scope, offset + limit, relevance)
        if rows is None:
            rows = list(itertools.islice(_rows(reader, query, scope, relevance), offset + limit))
        return _completed(reader, [_found(row) for row in rows[offset:]], scope)


def _rows(reader: index.Reader, query: Query, scope: Scope, relevance: bool) -> Iterator[Sequence[Any]]:
    """All that fits, one after the other, as it is asked for."""
    statement = _Statement(scope)
    expression = statement.take_phrases(query.phrases)
    statement.take_facts(query.facts)
    own, values = statement.own()
    few = [] if relevance else _accounts_with_few(reader, query, scope)
    if few:
        if expression:
            statement.add("+m.seq IN (SELECT rowid FROM words WHERE words MATCH ?)", [expression])
        theirs = ", ".join("?" * len(few))
        statement.add(f"m.seq IN (SELECT seq FROM copies WHERE account IN ({theirs}))", few)  # noqa: S608 — signs only
    if few or not expression:
        sql = f"SELECT {_ROW}, {own} FROM mails m WHERE {statement.sql()} ORDER BY m.seq DESC"  # noqa: S608 — the same
        yield from reader.db.execute(sql, [*values, *statement.values])
        return
    found = f"SELECT {_ROW}, {own} FROM words CROSS JOIN mails m ON m.seq = words.rowid WHERE words MATCH ? " \
        f"AND words.rowid %s ? AND {statement.sql()} ORDER BY %s"  # noqa: S608 — signs and our own names only
    oldest = _oldest_ranked(reader, expression) if relevance else _ABOVE_ALL
    if relevance:
        yield from reader.db.execute(found % (">=", f"bm25(words, {_WEIGHTS}), words.rowid DESC"),
                                     [*values, expression, oldest, *statement.values])
    if oldest:
        yield from reader.db.execute(found % ("<", "words.rowid DESC"),
                                     [*values, expression, oldest, *statement.values])


def _oldest_ranked(reader: index.Reader, expression: str) -> int:
    """Where the newest RANKED begin that have the words; 0 when they are not so many."""
    row = reader.db.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?",
                            (expression, RANKED - 1)).fetchone()
    return int(row[0]) if row else 0


def _by_reading(reader: index.Reader, query: Query, scope: Scope, wanted: int,
                relevance: bool) -> list[Sequence[Any]] | None:
    """The first mails that fit, for words of which only the beginning is given, if much of what else fits has them.

    For such a beginning FTS5 puts together the places of all its words, in all mails, before it finds the first one.
    Where they are many, reading texts until there are enough is quicker; None where they are not. By relevance all
    pages must come from the same order, so there only the sample decides.
    """
    begun = [one for one in query.phrases if one.beginning and not one.negative]
    if not begun or (wanted > _MOST_READ and not relevance):
        return None
    columns = _Statement(scope).columns
    rest = Query([one for one in query.phrases if one not in begun], query.facts)
    found: list[Sequence[Any]] = []
    for read, row in enumerate(_rows(reader, rest, scope, relevance), 1):
        texts = dict(zip(index.COLUMNS, reader.texts(row[0]), strict=True))
        hidden = (index.HIDDEN,) if row[-1] else ()
        if all(_has(one, texts, (one.column, *hidden) if one.column == "recipients" else columns(one))
               for one in begun):
            found.append(row)
        if len(found) >= wanted and (len(found) >= _MANY or not relevance):
            break
        if read == _SAMPLE and len(found) < _MANY:
            return None
    return found[:wanted]


def _has(phrase: Phrase, texts: dict[str, str], columns: Sequence[str]) -> bool:
    """Whether the words of a phrase that only begins stand in one of the columns, as FTS5 finds them."""
    before, last, size = list(phrase.words[:-1]), phrase.words[-1], len(phrase.words) - 1
    for column in columns:
        there = words.of(texts[column])
        for at in range(size, len(there)):
            word = there[at]
            if (word.startswith(phrase.beginning) or word == last) and there[at - size : at] == before:
                return True
    return False


def _accounts_with_few(reader: index.Reader, query: Query, scope: Scope) -> list[str]:
    """The accounts of which a mail must be, if they have so few that looking at each is quicker than by words."""
    named = [str(fact.value) for fact in query.facts if fact.kind == "account" and not fact.negative]
    asked = named[:1] or list(scope.accounts or ())
    if not asked:
        return []
    sql = f"SELECT count(*) FROM (SELECT 1 FROM copies WHERE account IN ({', '.join('?' * len(asked))}) " \
        "LIMIT ?)"  # noqa: S608 — signs only
    with index.damage():
        found = reader.db.execute(sql, [*asked, _FEW + 1]).fetchone()[0]
    return asked if found <= _FEW else []


def count(reader: index.Reader, query: Query, scope: Scope) -> int:
    """How many mails the facts of a query leave, whatever words are in them: those that `scan` looks through."""
    statement = _Statement(scope)
    statement.take_facts(query.facts)
    with index.damage():
        return int(reader.db.execute(f"SELECT count(*) FROM mails m WHERE {statement.sql()}",  # noqa: S608
                                     statement.values).fetchone()[0])


def scan(reader: index.Reader, query: Query, scope: Scope,
         step: Callable[[], object] = lambda: None) -> Iterator[Found]:
    """The mails that fit, also where a word is only part of another; `step` is called for each that was looked at."""
    statement = _Statement(scope)
    statement.take_facts(query.facts)
    own, values = statement.own()
    patterns = [(phrase, words.inside(phrase.folded)) for phrase in query.phrases]
    sql = f"SELECT {_ROW}, {own}, t.packed FROM mails m LEFT JOIN texts t ON t.seq = m.seq " \
        f"WHERE {statement.sql()} ORDER BY m.seq DESC"  # noqa: S608 — signs and our own names only
    with index.damage():
        rows = reader.db.execute(sql, [*values, *statement.values])
        for row in rows:
            step()
            found = _found(row[:-1])
            columns = dict(zip(index.COLUMNS, index.unpack(row[-1]), strict=True))
            if all(_is_in(phrase, pattern, columns, found) != phrase.negative for phrase, pattern in patterns):
                yield from _completed(reader, [found], scope)


def _is_in(phrase: Phrase, pattern: re.Pattern[str], columns: dict[str, str], found: Found) -> bool:
    """Whether a text is in one of the columns that who asks may see."""
    asked = [phrase.column] if phrase.column else list(_SEEN)
    if found.is_own and phrase.column in ("", "recipients"):
        asked.append(index.HIDDEN)
    return any(pattern.search(columns[one]) for one in asked)


def one(reader: index.Reader, text: str, scope: Scope) -> Found:
    """The mail with that id, or the only one whose id begins so. LookupError with a sentence."""
    found = search(reader, Query(facts=[Fact("id", text)]), scope, limit=10) if text else []
    exact = [mail for mail in found if mail.id == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise LookupError(f"no mail in the archive has the id {text}")
    raise LookupError(f"several mails have an id that begins with {text}: {', '.join(mail.id for mail in found)}")


def sent_forms(reader: index.Reader, mail: Found) -> list[str]:
    """The files, below archive/, of the forms in which a mail went out, in their order."""
    with index.damage():
        rows = reader.db.execute("SELECT file FROM sent WHERE id = ? ORDER BY seq", (mail.id,)).fetchall()
        return [os.fspath(row[0]) for row in rows]


def _found(row: Sequence[Any]) -> Found:
    (seq, mail_id, form, file, date, arrived, size, direction, sender, author, recipients, subject, names, number,
     message_id, is_own) = row
    attachments = tuple(names.split("\n")[:number]) if number else ()
    return Found(seq, mail_id, form, file, date, arrived, size, direction, sender, author, recipients, subject,
                 attachments, message_id, bool(is_own))


def _completed(reader: index.Reader, found: list[Found], scope: Scope) -> list[Found]:
    """With their accounts."""
    accounts: dict[int, list[tuple[str, str]]] = {}
    for start in range(0, len(found), _TOGETHER):
        arrived = {mail.seq: mail.arrived for mail in found[start : start + _TOGETHER]}
        sql = f"SELECT seq, account, direction FROM copies WHERE seq IN ({', '.join('?' * len(arrived))}) " \
            "ORDER BY account, direction"  # noqa: S608 — signs only
        for seq, name, direction in reader.db.execute(sql, list(arrived)):
            if scope.has(name, arrived[seq]):
                accounts.setdefault(seq, []).append((name, direction))
    return [_seen(mail, tuple(accounts.get(mail.seq, ())), scope) for mail in found]


def _seen(mail: Found, accounts: tuple[tuple[str, str], ...], scope: Scope) -> Found:
    if scope.accounts is None:
        return replace(mail, accounts=accounts)
    directions = {direction for _, direction in accounts}
    return replace(mail, accounts=accounts, direction="both" if len(directions) > 1 else min(directions))
