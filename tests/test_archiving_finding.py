"""Finding mail in the archive: what looking through all of it finds, what is one word, and who may find what."""

import random
from pathlib import Path

import pytest

from lanmail.archiving import finding, query, texts, words
from lanmail.mime import casemap
from tests.archiveroot import NOW, Archive, mail

VOCABULARY = [
    "Vertrag", "Verträge", "Rechnung", "Rechnungen", "Prüfung", "Rechnungsprüfung", "Müller", "Mueller", "Straße",
    "x1", "Hauptstrasse", "Angebot", "Angebote", "Lieferung", "bauen", "Bau", "neue", "Preise", "Preis", "Meeting",
    "meetings", "café", "Cafe", "4711", "eva", "bob", "日本", "東京",
]
PEOPLE = ("alice", "bob", "carol")


@pytest.fixture
def some(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.mark.parametrize(("written", "asked"), [
    ("Verträge", "Vertrag vertraege VERTRAG Vertrags verträgen"),
    ("Müller", "Mueller Muller MÜLLER müller mu\u0308ller"),
    ("Mueller", "Müller Muller"),
    ("Straße", "Strasse STRASSE straße STRAẞE"),
    ("Strasse", "Straße"),
    ("Rechnungen", "Rechnung rechnungen"),
    ("Häuser", "Haus Haeuser"),
    ("café", "cafe CAFÉ"),
    ("naïve", "naive"),
    ("ﬁnden", "finden"),
    ("meetings", "meeting"),
    ("東京", "東京 京"),
    ("E-Mail", "e-mail"),
])
def test_what_is_one_word(some: Archive, written: str, asked: str) -> None:
    some.add(mail("wanted", f"so ein {written} steht da", author="a@far.example"))
    some.add(mail("other", "etwas ganz anderes", author="a@far.example"))
    some.fill()
    for one in asked.split():
        assert some.find(one) == ["wanted"], one
        assert some.find(f"-{one}") == ["other"], one


def test_columns(some: Archive) -> None:
    attachment = ('Content-Type: multipart/mixed; boundary=b\n\n--b\n\nText\n--b\nContent-Type: application/pdf\n'
                  'Content-Disposition: attachment; filename="=?utf-8?q?Pr=C3=BCfung_7.pdf?="\n\nx\n--b--')
    some.add(mail("Angebot", attachment, author="=?utf-8?q?J=C3=BCrgen?= Schmidt <js@far.example>",
                  to="Bob <bob@office.lan>, carol@office.lan", more="").replace(
                      "Content-Type: text/plain; charset=utf-8\n\n", "", 1))
    some.add(mail("Schmidt", "Angebot, Pruefung, carol"))
    some.fill()
    for asked in ("from:schmidt", "from:jürgen", "from:js@far.example", "subject:angebot", "filename:prüfung",
                  "filename:pdf", "filename:pruefung*", "has:attachment", "to:carol", 'to:"carol office.lan"',
                  "subject:Angebot from:Schmidt -subject:Schmidt"):
        assert some.find(asked) == ["Angebot"], asked
    for asked in ("subject:schmidt", "-has:attachment", "-from:schmidt", '"Pruefung carol"', "Angebot -from:jürgen"):
        assert some.find(asked) == ["Schmidt"], asked
    assert some.find("angebot") == ["Schmidt", "Angebot"]
    assert some.search("Angebot has:attachment")[0].attachments == ("Prüfung 7.pdf",)


def test_dates_are_those_of_the_mail_if_they_can_be(some: Archive) -> None:
    day = 86400
    some.add(mail("old", date=NOW - 2000 * day))
    some.add(mail("future", date=NOW + 300 * day))
    some.add("Subject: none\n\nx\n")
    some.fill()
    assert some.find("before:2022") == ["old"]
    assert some.find("after:2026-11-01") == ["none", "future"]
    assert some.find("-after:2026-11-01") == ["old"]
    assert some.find("-on:2026") == ["old"]


def test_sizes_and_ids(some: Archive) -> None:
    small = some.add(mail("small", more="Message-ID: <7@far.example>\n"))
    some.add(mail("large", "x " * 3000))
    some.fill()
    assert some.find("larger:5KB") == some.find("-smaller:5KB") == ["large"]
    assert some.find("smaller:5KB") == ["small"]
    assert some.find(f"id:{small}") == some.find(f"id:{small[:18]}") == ["small"]
    assert some.find("message-id:7@far.example") == some.find("message-id:<7@far.example>") == ["small"]


def test_order_and_pages(some: Archive) -> None:
    for number in range(6):
        some.add(mail(f"Preis {number}", "Preis " * (number == 2) * 5 + "anderes"))
    some.fill()
    newest = [f"Preis {number}" for number in (5, 4, 3, 2, 1, 0)]
    assert some.find("preis") == some.find("") == newest
    assert some.find("preis", limit=2, offset=1) == newest[1:3]
    assert some.find("preise", relevance=True)[0] == "Preis 2"
    assert sorted(some.find("preis", relevance=True)) == sorted(newest)


def test_by_relevance_the_newest_are_in_order_and_the_others_follow(some: Archive, monkeypatch) -> None:
    monkeypatch.setattr(finding, "RANKED", 3)
    for number in range(8):
        some.add(mail(f"n{number}", "Preis " * (5 if number in (2, 6) else 1) + "und anderes"))
    some.add(mail("none"))
    some.fill()
    best = ["n6", "n7", "n5", "n4", "n3", "n2", "n1", "n0"]
    assert some.find("preis", relevance=True) == best
    for size in (1, 2, 3, 5):
        assert best == [one for start in range(0, 10, size)
                        for one in some.find("preis", relevance=True, limit=size, offset=start)]


@pytest.mark.parametrize("relevance", [False, True])
def test_a_beginning_finds_the_same_by_reading_and_by_the_index(shared: Archive, monkeypatch, relevance: bool) -> None:
    dice = random.Random(9)
    for _ in range(60):
        shared.add(mail(" ".join(dice.choices(VOCABULARY, k=4)), " ".join(dice.choices(VOCABULARY, k=9)),
                        to=f"{dice.choice(PEOPLE)}@office.lan", more="Bcc: carol@office.lan\n" * dice.randrange(2)),
                   to=(f"{dice.choice(PEOPLE)}@office.lan", "hidden@office.lan"), submitter=dice.choice(PEOPLE),
                   receivers=(dice.choice(PEOPLE),))
    shared.fill()
    for text in ("Re*", "subject:Ve* Preis", "to:hid*", "to:car*", "-Bau Ang*", '"neue Pre*"', '"x1 *"', "ev* bo*",
                 '"neue Preis"*', "account:bob Mue*", "direction:out Ha*", "qq*", "from:ev* Str*"):
        for scope in (finding.EVERYTHING, finding.visible_to("bob"), finding.visible_to("carol", "alice")):
            results = []
            for many in (0, 10**9):  # always by reading, never
                monkeypatch.setattr(finding, "_MANY", many)
                monkeypatch.setattr(finding, "_SAMPLE", 1)
                whole = shared.find(text, scope, relevance=relevance, limit=100)
                assert whole == [one for start in (0, 9, 18) for one in shared.find(
                    text, scope, relevance=relevance, limit=9 if start < 18 else 100, offset=start)], text
                results.append(sorted(whole) if relevance else whole)
            assert results[0] == results[1], text


def test_inside_of_words(some: Archive) -> None:
    some.add(mail("Rechnungsprüfung", "in der Büroeinrichtung"))
    some.add(mail("Prüfung", "neue\n Preise"))
    some.fill()
    assert some.find("prüfung") == ["Prüfung"]
    for asked in ("prüfung", "pruefung", "PRUEFUNG", "ung"):
        assert some.find(asked, inside=True) == ["Prüfung", "Rechnungsprüfung"], asked
    assert some.find("einrichtung", inside=True) == ["Rechnungsprüfung"]
    assert some.find('"neue Preise"', inside=True) == ["Prüfung"]
    assert some.find("prüfung -rechnung", inside=True) == ["Prüfung"]
    assert some.find("subject:einrichtung", inside=True) == []


# rights


@pytest.fixture(params=["few", "many"])
def shared(some: Archive, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """alice wrote to bob, and blindly to carol; dave elsewhere wrote to carol. Found by account, or by words first."""
    monkeypatch.setattr(finding, "_FEW", 2_000 if request.param == "few" else -1)
    some.add(mail("an bob", to="bob@office.lan"), sender="alice@office.lan", submitter="alice",
             receivers=("bob", "carol"), to=("bob@office.lan", "carol@office.lan", "secret@far.example"))
    some.add(mail("an carol", to="carol@office.lan"), receivers=("carol",), to=("carol@office.lan",))
    some.fill()
    return some


def test_accounts_see_what_is_theirs(shared: Archive) -> None:
    assert shared.find("") == ["an carol", "an bob"]
    assert shared.find("", finding.visible_to("alice")) == shared.find("", finding.visible_to("bob")) == ["an bob"]
    assert shared.find("", finding.visible_to("carol")) == ["an carol", "an bob"]
    assert shared.find("", finding.visible_to("dave")) == shared.find("", finding.visible_to()) == []
    assert shared.find("", finding.visible_to("alice", "carol")) == ["an carol", "an bob"]
    one = shared.search("bob", finding.visible_to("bob"))[0]
    assert (one.direction, one.accounts, one.is_own) == ("in", (("bob", "in"),), False)
    assert shared.search("bob", finding.visible_to("alice"))[0].is_own
    assert shared.search("bob")[0].accounts == (("alice", "out"), ("bob", "in"), ("carol", "in"))


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("asked", ["to:secret", "secret", "carol", "to:carol", 'to:"secret@far.example"'])
def test_blind_copies_are_found_by_who_sent_them_only(shared: Archive, asked: str, inside: bool) -> None:
    assert "an bob" in shared.find(asked, inside=inside)
    assert shared.find(asked, finding.visible_to("bob"), inside=inside) == []
    assert shared.find(f"-{asked}", finding.visible_to("bob"), inside=inside) == ["an bob"]
    if asked.startswith("to:"):
        assert shared.find(asked, finding.visible_to("alice"), inside=inside) == ["an bob"]
        assert shared.find(f"-{asked}", finding.visible_to("alice"), inside=inside) == []


def test_nobody_learns_who_else_has_a_mail(shared: Archive) -> None:
    bob = finding.visible_to("bob")
    assert shared.find("account:carol", bob) == shared.find("account:alice", bob) == []
    assert shared.find("-account:carol", bob) == ["an bob"]
    assert shared.find("account:bob", bob) == ["an bob"]
    assert shared.find("direction:out", bob) == []
    assert shared.find("-direction:out", bob) == ["an bob"]


def test_accounts_and_directions_are_meant_together(shared: Archive) -> None:
    assert shared.find("account:alice direction:out") == shared.find("account:alice bob") == ["an bob"]
    assert shared.find("account:alice bob", relevance=True) == ["an bob"]
    assert shared.find("account:alice carol", finding.visible_to("alice")) == []
    assert shared.find("account:bob direction:out") == shared.find("account:alice direction:in") == []
    assert shared.find("account:bob account:carol") == ["an bob"]
    assert shared.find("direction:out") == ["an bob"]


def test_by_id(shared: Archive) -> None:
    first, second = sorted(one.id for one in shared.search(""))
    with shared.reader() as reader:
        assert finding.one(reader, first, finding.EVERYTHING).subject == "an bob"
        for text, says in ((first[:10], "several mails"), ("nothing", "no mail"), ("", "no mail")):
            with pytest.raises(LookupError, match=says):
                finding.one(reader, text, finding.EVERYTHING)
        with pytest.raises(LookupError, match="no mail"):
            finding.one(reader, second, finding.visible_to("bob"))


# beside looking through all


def _fits(asked: query.Query, columns: dict[str, list[str]]) -> bool:
    """What a query means, without an index: `columns` are words."""
    return all(_is_there(phrase, [columns[one] for one in ([phrase.column] if phrase.column else columns)])
               != phrase.negative for phrase in asked.phrases)


def _is_there(phrase: query.Phrase, columns: list[list[str]]) -> bool:
    *first, last = phrase.words
    size = len(first)
    return any(column[at - size : at] == first and at >= size
               and (word == last or bool(phrase.beginning and word.startswith(phrase.beginning)))
               for column in columns for at, word in enumerate(column))


def test_the_index_finds_what_looking_through_all_finds(some: Archive) -> None:
    dice = random.Random(7)
    mails: dict[str, dict[str, list[str]]] = {}
    for number in range(200):
        subject = f"{number} {' '.join(dice.choices(VOCABULARY, k=3))}"
        text = mail(subject, "\n".join(dice.choices(VOCABULARY, k=dice.randrange(40))),
                    author=f"{dice.choice(VOCABULARY)} <{dice.choice(PEOPLE)}@far.example>")
        some.add(text, to=("dave@office.lan",), sender="")
        read = texts.of(text.encode())
        mails[subject] = {"subject": words.of(read.subject), "sender": words.of(read.author),
                          "recipients": words.of(read.recipients), "body": words.of(read.body)}
    some.fill()
    for _ in range(150):
        text = " ".join(_part(dice) for _ in range(dice.randrange(1, 4)))
        asked = query.parse(text, NOW)
        expected = [subject for subject in reversed(mails) if _fits(asked, mails[subject])]
        assert some.find(text, limit=1000) == expected, text
        assert sorted(some.find(text, limit=1000, relevance=True)) == sorted(expected), text


def _part(dice: random.Random) -> str:
    one = dice.choice(VOCABULARY)
    one = dice.choice([one, one, f"{one[:dice.randrange(2, 5)]}*", f'"{one} {dice.choice(VOCABULARY)}"'])
    return dice.choice(["", "", "-"]) + dice.choice(["", "", "subject:", "from:"]) + one


def test_the_search_inside_of_words_finds_what_looking_through_all_finds(some: Archive) -> None:
    dice = random.Random(8)
    bodies = {}
    for number in range(60):
        bodies[f"n{number}"] = " ".join(dice.choices(VOCABULARY, k=30))
        some.add(mail(f"n{number}", bodies[f"n{number}"], author="a@far.example"))
    some.fill()
    for _ in range(60):
        one = dice.choice(VOCABULARY)
        start = dice.randrange(len(one))
        part = one[start : start + dice.randrange(1, 6)]
        folded = casemap.fold(part)
        expected = [subject for subject in reversed(bodies) if folded in casemap.fold(bodies[subject])]
        found = some.find(f'"{part}"', inside=True)
        assert [subject for subject in found if subject in expected] == expected, part
