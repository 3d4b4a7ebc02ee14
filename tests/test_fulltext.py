"""The full-text index: what it finds is what a plain search finds, whatever happens to its file."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lanmail.textindex import fulltext, terms, vocabulary
from lanmail.textindex.fulltext import BODY, HEAD

PIECES = ["an", "ge", "bot", "rechnung", "ß", "a\u0308", "日本", "7", " ", ", ", "\n", "“", "-", "_", ".", "x" * 40,
          "\ud800", "\U0001f600", "\xa0"]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def index(path: Path, documents: dict[int, tuple[str, str]], stamp: str = "1") -> None:
    with fulltext.Writer(path, stamp) as writer:
        writer.begin("INBOX", "v1")
        for number, (body, head) in documents.items():
            writer.add(number, {BODY: [body], HEAD: [head]})
        writer.commit(max(documents, default=0))
        writer.finish()


def lookup(path: Path, needle: str, kinds: tuple[int, ...] = (BODY,), name: str = "INBOX") -> fulltext.Finding | None:
    with fulltext.Reader(path, "1") as reader:
        part = reader.collection(name, "v1")
        assert part is not None
        return reader.lookup(part, kinds, needle)


@settings(max_examples=300)
@given(texts, texts, texts)
@example("x" * 300, "", "x" * 33)
@example("", "ab" * 64, "b" + "ab" * 20)
def test_a_text_has_the_runs_of_whatever_is_part_of_it(before: str, needle: str, after: str) -> None:
    found = terms.terms(before + needle + after)
    for run in terms.runs(needle):
        fits = [term for term in found if run.text in term
                and (not run.left or term.startswith(run.text)) and (not run.right or term.endswith(run.text))]
        assert fits
        if run.left and run.right:
            assert run.text in found
        if run.whole:
            assert run.text == needle
    assert all(term in before + needle + after and len(term) <= 2 * terms.STEP for term in found)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), st.data())
@settings(max_examples=25, deadline=None)
def test_lookup_tells_no_lie(tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[str, str]],
                             data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("index") / "a.sqlite"
    numbered = dict(enumerate(documents, 1))
    index(path, numbered)
    whole = data.draw(st.sampled_from(documents))[0]
    start = data.draw(st.integers(0, len(whole)))
    for needle in (whole[start : start + data.draw(st.integers(1, 50))], data.draw(texts), "a", "rech", "nung, "):
        for kinds in ((BODY,), (BODY, HEAD)):
            truth = {number for number, texts in numbered.items() if any(needle in texts[kind] for kind in kinds)}
            finding = lookup(path, needle, kinds)
            if finding is not None:
                assert finding.sure <= truth
                assert finding.possible is None or truth <= finding.possible
            else:
                assert not terms.runs(needle)


def test_single_words_need_no_second_look(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("die rechnungen", ""), 2: ("abrechnung", "rechnung"), 3: ("nichts", "")})
    assert lookup(path, "rechnung") == fulltext.Finding(frozenset({1, 2}), frozenset({1, 2}))
    assert lookup(path, "die rech") == fulltext.Finding(frozenset(), frozenset({1}))
    assert lookup(path, "e, rech") == fulltext.Finding(frozenset(), frozenset({1}))  # the bytes decide
    assert lookup(path, "fehlt") == fulltext.Finding(frozenset(), frozenset())
    assert lookup(path, "?!") is None


def test_too_many_terms_to_look_up_rule_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {number: (f"wort{number} etwas", "") for number in range(1, 20)})
    monkeypatch.setattr(fulltext, "MAX_LOOKUPS", 5)
    finding = lookup(path, "wort")
    assert finding is not None
    assert len(finding.sure) == 5
    assert finding.possible is None
    assert lookup(path, "wort1 etwas") == fulltext.Finding(frozenset(), frozenset({1}))


def test_what_has_too_many_terms_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "MAX_TERMS", 3)
    path = tmp_path / "a.sqlite"
    index(path, {1: ("a b c d", ""), 2: ("a", "")})
    with fulltext.Reader(path, "1") as reader:
        assert reader.collection("INBOX", "v1") == fulltext.Part(1, 2, frozenset({1}))


def test_more_is_added_later_and_collections_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("eins", ""), 2: ("zwei", "")})
    with fulltext.Writer(path, "1") as writer:
        assert writer.begin("INBOX", "v1").upto == 2
        writer.add(3, {BODY: ["eins drei"], HEAD: []})
        writer.commit(3)
        writer.begin("Sent", "v1")
        writer.add(3, {BODY: ["zwei"], HEAD: []})
        writer.commit(3)
        writer.finish()
        words = writer.db.execute("SELECT terms FROM vocabulary ORDER BY id").fetchall()
    assert b"".join(blob for blob, in words).split() == [b"eins", b"zwei", b"drei"]
    assert lookup(path, "ein") == fulltext.Finding(frozenset({1, 3}), frozenset({1, 3}))
    assert lookup(path, "zwei", name="Sent") == fulltext.Finding(frozenset({3}), frozenset({3}))


def test_a_renamed_collection_stays_and_a_lost_one_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("eins", "")})
    with fulltext.Writer(path, "1") as writer:
        writer.arrange({"Archiv": ("v1", 1)})
        assert writer.begin("Archiv", "v1").upto == 1
        writer.arrange({"Archiv": ("v2", 1), "Kopie": ("v1", 1)})
        assert writer.begin("Kopie", "v1").upto == 1
        assert writer.begin("Archiv", "v2").upto == 0
        writer.arrange({"Archiv": ("v2", 1)})
        assert writer.begin("Kopie", "v1").upto == 0


def test_an_index_of_what_is_gone_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "MAX_SPARE", 3)
    path = tmp_path / "a.sqlite"
    index(path, {number: (f"wort{number}", "") for number in range(1, 8)})
    with fulltext.Writer(path, "1") as writer:
        writer.arrange({"INBOX": ("v1", 2)})
        assert writer.begin("INBOX", "v1").upto == 2 + 5
        writer.arrange({"INBOX": ("v1", 1)})
        assert writer.begin("INBOX", "v1").upto == 0
        writer.add(7, {BODY: ["wort7"], HEAD: []})
        writer.commit(7)
    assert lookup(path, "wort") == fulltext.Finding(frozenset({7}), frozenset({7}))


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("eins", "")})
    with fulltext.Writer(path, "1") as writer:
        writer.begin("INBOX", "v1")
        writer.add(2, {BODY: ["zwei"], HEAD: []})
        assert lookup(path, "zwei") == fulltext.Finding(frozenset(), frozenset())
    with fulltext.Reader(path, "1") as reader:
        part = reader.collection("INBOX", "v1")
        assert part is not None
        assert part.upto == 1


def test_another_stamp_is_another_index(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("eins", "")}, "old")
    with pytest.raises(fulltext.Damaged):
        fulltext.Reader(path, "1")
    with fulltext.Writer(path, "1") as writer:
        assert writer.begin("INBOX", "v1").upto == 0


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000, None])
def test_a_damaged_file_is_no_index_and_is_begun_anew(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {number: (f"wort{number} und mehr", "kopf") for number in range(1, 500)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises((fulltext.Damaged, OSError)):
        lookup(path, "wort4")
    if damage is not None:  # what is half there may be found out only when it is read
        with fulltext.Writer(path, "1") as writer:
            assert writer.begin("INBOX", "v1").upto == 0
    with fulltext.Writer(path, "1", anew=True) as writer:
        assert writer.begin("INBOX", "v1").upto == 0
        writer.add(1, {BODY: ["eins"], HEAD: []})
        writer.commit(1)
    assert lookup(path, "eins") == fulltext.Finding(frozenset({1}), frozenset({1}))


def test_a_changed_octet_in_the_vocabulary_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index(path, {1: ("eins", "")})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE vocabulary SET terms = replace(terms, 'eins', 'eims')")
    with pytest.raises(fulltext.Damaged):
        lookup(path, "eins")


def test_many_small_blobs_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_LOOSE", 5)
    path = tmp_path / "a.sqlite"
    with fulltext.Writer(path, "1") as writer:
        writer.begin("INBOX", "v1")
        for number in range(1, 12):
            writer.add(number, {BODY: [f"wort{number}"], HEAD: []})
            writer.commit(number)
        writer.finish()
        assert writer.db.execute("SELECT count(*) FROM vocabulary").fetchone() == (1,)
    assert lookup(path, "wort1") == fulltext.Finding(frozenset({1, 10, 11}), frozenset({1, 10, 11}))
