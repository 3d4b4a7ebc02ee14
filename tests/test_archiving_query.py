"""Queries for the archive: what they mean, and what is said when they mean nothing."""

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.archiving import finding, query
from tests import archiveroot

NOW = archiveroot.NOW
ALL_KEYS = ("from", "to", "subject", "filename", "has", "account", "direction", "after", "before", "on", "larger",
            "smaller", "id", "message-id")


def at(*day: int) -> int:
    return int(datetime.datetime(*day).timestamp())  # type: ignore[arg-type]


def phrase(text: str) -> query.Phrase:
    found = query.parse(text, NOW)
    assert len(found.phrases) == 1
    assert not found.facts
    return found.phrases[0]


def fact(text: str) -> query.Fact:
    found = query.parse(text, NOW)
    assert len(found.facts) == 1
    assert not found.phrases
    return found.facts[0]


@pytest.mark.parametrize(("text", "column", "words"), [
    ("Verträge", "", ("vertrag",)),
    ("MÜLLER", "", ("mull",)),
    ('"neue Preise"', "", ("neu", "preis")),
    ("„neue Preise“", "", ("neu", "preis")),
    ("»neue Preise«", "", ("neu", "preis")),
    ("from:eva@far.example", "sender", ("eva", "far", "exampl")),
    ('TO:"Hans Meier"', "recipients", ("han", "meier")),
    ("subject:Angebot", "subject", ("angebot",)),
    ("filename:Rechnung.pdf", "attachments", ("rechnung", "pdf")),
    ("filename:*.pdf", "attachments", ("pdf",)),
    ("OR", "", ("or",)),
    ("NEAR(a,b)", "", ("near", "a", "b")),
    ('"http://far.example"', "", ("http", "far", "exampl")),
    ("http://far.example", "", ("http", "far", "exampl")),
    ("12:30", "", ("12", "30")),
])
def test_words(text: str, column: str, words: tuple[str, ...]) -> None:
    found = phrase(text)
    assert (found.column, found.words, found.negative) == (column, words, False)


def test_a_minus_stands_before_anything() -> None:
    assert phrase("-Entwurf").negative
    assert phrase('-"neue Preise"').words == ("neu", "preis")
    assert phrase("-from:eva").negative
    assert fact("-has:attachment").negative
    assert [one.negative for one in query.parse("Angebot - Müller -- x-y", NOW).phrases] == [False] * 3


def test_beginnings() -> None:
    assert phrase("Rechn*").beginning == "rechn"
    assert phrase("Müll*").beginning == phrase("Muell*").beginning == "mull"
    assert phrase('"neue Prei"*').beginning == "prei"
    assert phrase("*prei").beginning == ""


@pytest.mark.parametrize(("text", "kind", "value"), [
    ("account:Meier", "account", "meier"),
    ("direction:IN", "direction", "in"),
    ("has:attachments", "attachment", ""),
    ("larger:5MB", "larger", 5 << 20),
    ("smaller:500KB", "smaller", 500 << 10),
    ("larger:999999999999999TB", "larger", 1 << 60),
    ("id:1763759701.M1", "id", "1763759701.M1"),
    ('message-id:"<a b@c>"', "message-id", "<a b@c>"),
    ("after:2026", "since", at(2026, 1, 1)),
    ("after:2026-03", "since", at(2026, 3, 1)),
    ("before:2026-3-15", "until", at(2026, 3, 15)),
    ("before:15.3.2026", "until", at(2026, 3, 15)),
    ("on:2026", "on", (at(2026, 1, 1), at(2027, 1, 1))),
    ("on:2026-12", "on", (at(2026, 12, 1), at(2027, 1, 1))),
    ("on:2026-12-31", "on", (at(2026, 12, 31), at(2027, 1, 1))),
    ("after:7d", "since", int(NOW) - 7 * 86400),
    ("after:2w", "since", int(NOW) - 14 * 86400),
])
def test_facts(text: str, kind: str, value: object) -> None:
    assert fact(text) == query.Fact(kind, value)  # type: ignore[arg-type]


def test_today_begins_at_the_first_midnight_where_clocks_are_put_back_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/Havana")
        time.tzset()
        second = datetime.datetime(2027, 11, 7, 0, 30, fold=1).timestamp()
        assert query.period("today", second)[0] == datetime.datetime(2027, 11, 7).timestamp() == second - 5400
    time.tzset()


def test_today_and_yesterday_end_at_midnight() -> None:
    today = datetime.datetime.fromtimestamp(NOW).replace(hour=0, minute=0, second=0, microsecond=0)
    assert fact("after:today").value == int(today.timestamp())
    assert fact("before:yesterday").value == int((today - datetime.timedelta(days=1)).timestamp())


@pytest.mark.parametrize(("text", "position", "says"), [
    ('Angebot "neue Preise', 9, "is not closed"),
    ("from:", 6, "from: wants a word right behind it"),
    ("from: eva", 6, "from: wants a word"),
    ("x from:()", 8, "from: wants a word"),
    ("form:eva", 1, "did you mean from:"),
    ("x direktion:in", 3, "did you mean direction:"),
    ("after:2026-13", 7, "after: wants a day like 2026-03-15"),
    ("after:2026-00", 7, "not '2026-00'"),
    ("after:30.2.2026", 7, "wants a day"),
    ("on:7d", 4, "wants a day"),
    ("on:9999", 4, "wants a day"),
    ("has:flag", 5, "has: wants attachment"),
    ("direction:up", 11, "direction: wants in or out"),
    ("larger:big", 8, "larger: wants a size like 500KB"),
    ("a*", 1, "two letters or more"),
    ('"!"', 1, "no letter or digit between the quotes"),
    ("& §", 1, "no letter or digit to look for"),
    ("a " * 101, 202, "at most 100 parts"),
    ("a" * 4001, 4000, "at most 4000 characters"),
])
def test_errors_say_where_and_what(text: str, position: int, says: str) -> None:
    with pytest.raises(query.QueryError) as caught:
        query.parse(text, NOW)
    assert caught.value.position == position
    assert says in str(caught.value)


def test_nothing_is_everything() -> None:
    assert query.parse("  ", NOW) == query.Query()


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> archiveroot.Archive:
    made = archiveroot.Archive(tmp_path_factory.mktemp("archive"))
    made.add(archiveroot.mail("one", "two"))
    made.fill()
    return made


_pieces = st.one_of(
    st.text(max_size=10), st.sampled_from([f"{key}:" for key in ALL_KEYS]),
    st.sampled_from(['"', "-", "*", " ", "(", ")", "'", ";", "\\", "OR ", "AND ", "NOT ", "NEAR", "^", "+", "{", "}",
                     "„", "2026", "-03", "15.3.2026", "7d", "today", "5MB", "in", "attachment", "a\0b", "\udc80",
                     "ab*"]))


@given(st.lists(_pieces, max_size=8).map("".join))
def test_whatever_is_written_the_answer_is_an_error_of_ours_or_a_list(some: archiveroot.Archive, text: str) -> None:
    try:
        asked = query.parse(text, NOW)
    except query.QueryError as error:
        assert 1 <= error.position <= len(text) + 1  # noqa: PT017 — most of what is made here is right
        return
    with some.reader() as reader:
        for scope in (finding.EVERYTHING, finding.visible_to("bob")):
            assert len(finding.search(reader, asked, scope)) <= 1
            assert len(finding.search(reader, asked, scope, relevance=True)) <= 1
            assert len(list(finding.scan(reader, asked, scope))) <= 1
