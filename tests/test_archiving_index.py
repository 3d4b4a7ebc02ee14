"""The index of the archive follows the journal: whatever is killed, damaged, purged or hostile."""

import base64
import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from lanmail import log
from lanmail.archiving import finding, following, index, journal, store, texts
from tests import hostile_mail
from tests.archiveroot import Archive, mail


@pytest.fixture
def some(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def filled(some: Archive, count: int = 5) -> Archive:
    for number in range(count):
        some.add(mail(f"n{number}", "Vertrag"))
    some.fill()
    return some


def everything(some: Archive) -> list[tuple[object, ...]]:
    """All that the index says, whatever way it came about."""
    with some.reader() as reader:
        rows = [tuple(row) for table in ("mails", "copies", "texts", "sent")
                for row in reader.db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]
    found = [some.find(text) for text in ("", "vertrag", "-vertrag", "from:eva", "to:bob")]
    return [*rows, *map(tuple, found)]


def test_what_is_new_comes_in(some: Archive) -> None:
    filled(some, 2)
    some.add(mail("n2", "Vertrag"))
    some.flush()
    assert following.is_behind(some.where)
    assert some.find("vertrag") == ["n1", "n0"]
    now = some.fill()
    assert (now.added, now.read, now.finished) == (1, now.total, True)
    assert some.find("vertrag") == ["n2", "n1", "n0"]
    assert not following.is_behind(some.where)
    assert some.fill().added == 0


def test_an_empty_archive(some: Archive) -> None:
    assert not following.is_behind(some.where)
    assert some.fill().finished
    assert some.find("") == []


@pytest.mark.parametrize("lines", [1, 2, 3, 5])
def test_killed_at_any_line_it_goes_on_where_it_was(some: Archive, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        some.add(mail(f"n{number}", "Vertrag"))
    some.flush()
    count = 0

    def kill(_now: following.Filling) -> bool:
        nonlocal count
        count += 1
        if count == lines:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(following, "_BATCH", -1.0 if lines % 2 else 1e9)  # a commit after each line, or none
    with pytest.raises(KeyboardInterrupt):
        some.fill(enough=kill)
    assert some.fill().finished
    kept = everything(some)
    some.fill(anew=True)
    assert everything(some) == kept


def test_follower_goes_on_in_slices_and_says_when_there_is_more(some: Archive) -> None:
    filled(some, 0)
    for number in range(3):
        some.add(mail(f"n{number}"))
    some.flush()
    follower = following.Follower(some.where)
    rounds = 1
    while follower.follow(seconds=0):
        rounds += 1
    assert rounds >= 4  # begin is a line, too
    assert some.find("") == ["n2", "n1", "n0"]


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "version", "page", "foreign"])
def test_a_damaged_index_is_made_anew(some: Archive, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = everything(filled(some))
    file = index.path(some.where)
    if damage == "garbage":
        file.write_bytes(os.urandom(5000))
    elif damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "page":
        data = file.read_bytes()
        for start in range(4096, len(data), 4096):
            data = data[:start] + b"\xff" * 100 + data[start + 100 :]
        file.write_bytes(data)
    else:
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("UPDATE about SET stamp = 'archive 0'" if damage == "version" else "DROP TABLE mails")
            db.commit()
    some.add(mail("n5", "Vertrag"))
    some.flush()
    while following.Follower(some.where).follow(seconds=20):
        pass
    assert some.find("vertrag")[0] == "n5"
    assert some.fill(anew=True).added == 6
    assert everything(some)[:5] == kept[:5]


def test_the_index_of_another_archive_is_made_anew(some: Archive, tmp_path: Path) -> None:
    filled(some)
    other = Archive(tmp_path / "other")
    other.add(mail("theirs"))
    other.flush()
    index.path(other.where).parent.mkdir(parents=True, exist_ok=True)
    index.path(some.where).rename(index.path(other.where))
    assert other.fill().anew
    assert other.find("") == ["theirs"]


def test_whoever_cannot_write_waits_and_says_so_once(some: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(some)
    said: list[str] = []
    monkeypatch.setattr(log, "archive_index_failed", lambda **fields: said.append(fields["error"]))
    monkeypatch.setattr(following, "_PAUSE", 0.0)

    def full(*_: object, **_options: object) -> object:
        raise OSError("database or disk is full")

    monkeypatch.setattr(index, "Writer", full)
    follower = following.Follower(some.where)
    assert [follower.follow() for _ in range(3)] == [False] * 3
    assert said == ["database or disk is full"]
    monkeypatch.setattr(following, "_PAUSE", 1000.0)
    follower.follow()
    monkeypatch.undo()
    some.add(mail("later"))
    some.flush()
    assert not follower.follow()
    assert following.is_behind(some.where)  # it waits


def test_only_one_writes(some: Archive) -> None:
    filled(some)
    asked = []

    def look(_now: following.Filling) -> bool:
        with pytest.raises(following.Busy):
            following.fill(some.where)
        asked.append(following.Follower(some.where).follow())
        return False

    some.add(mail("more"))
    some.fill(enough=look)
    assert asked == [False]


# what goes


@pytest.mark.parametrize("sliced", [False, True])
def test_what_is_purged_leaves_no_trace(some: Archive, sliced: bool) -> None:
    gone = some.add(mail("erased", "Zahnradgetriebe geheim", author="Opfer <opfer@far.example>"))
    filled(some)
    some.purge(gone)
    follower = following.Follower(some.where)
    while sliced and follower.follow(seconds=0):
        pass
    assert some.fill().removed == (0 if sliced else 1)
    assert some.find("zahnradgetriebe") == some.find("from:opfer") == []
    assert some.find("", inside=True) == some.find("") == [f"n{number}" for number in range(4, -1, -1)]
    for file in index.path(some.where).parent.glob("index.sqlite*"):
        assert b"zahnradgetrieb" not in file.read_bytes()
    kept = everything(some)
    some.fill(anew=True)
    assert everything(some) == kept


def test_purged_before_it_was_indexed(some: Archive) -> None:
    gone = some.add(mail("erased"))
    some.add(mail("stays"))
    some.flush()
    some.purge(gone)
    some.fill()
    assert some.find("") == ["stays"]


def test_a_file_that_is_missing_leaves_what_the_journal_says(some: Archive) -> None:
    some.add(mail("lost", "text"), to=("blind@far.example",))
    some.flush()
    (some.where.archive / some.lines()[1].data["file"]).unlink()
    some.fill()
    assert [one.subject for one in some.search("to:blind")] == [""]


# the form that went out


def test_the_form_that_went_out_is_not_a_mail_of_its_own(some: Archive) -> None:
    one = some.add(mail("as written", "Vertrag"), submitter="alice", receivers=())
    some.add(mail("as sent", "Vertrag"), mail_id=one, form=store.SENT, submitter="alice", receivers=())
    some.fill()
    found = some.search("")
    assert [mail.subject for mail in found] == ["as written"]
    with some.reader() as reader:
        assert [name.partition(",")[0][-5:] for name in finding.sent_forms(reader, found[0])] == ["-sent"]
    some.purge(one, form=store.SENT)
    some.fill()
    with some.reader() as reader:
        assert finding.sent_forms(reader, found[0]) == []
    assert some.find("") == ["as written"]


@pytest.mark.parametrize("late", [False, True])
def test_the_form_that_went_out_alone_or_first(some: Archive, late: bool) -> None:
    one = some.add(mail("as sent", "Vertrag"), form=store.SENT, submitter="alice", receivers=())
    some.add(mail("again", "Vertrag"), mail_id=one, form=store.SENT, submitter="alice", receivers=()) if late else None
    if late:
        some._waiting.pop()  # the same id and form is one file
        some.add(mail("as written"), mail_id=one, submitter="alice", receivers=())
    some.fill()
    assert some.find("") == (["as written"] if late else ["as sent"])
    assert some.find("vertrag") == ([] if late else ["as sent"])


# hostile mail


def deep(levels: int) -> bytes:
    return b"Subject: deep\n" + hostile_mail.deep(levels) + b"\nganz innen\n"


HOSTILE = {
    "nothing": b"",
    "no header": b"\n\n\n",
    "NULs": b"Subject: a\0b\nFrom: \0\n\nx\0y Vertrag\0\n",
    "controls": b"Subject: \x1b[31mred\x07\nFrom: =?utf-8?q?a=0Ab=00?= <x@y>\n\n\x1b]0;x\x07\n",
    "octets": b"Subject: \xff\xfe\xfd\nFrom: \xe4\xf6\n\n" + bytes(range(256)),
    "charset": b"Subject: =?x-none?q?=FF?= =?bz2?b?QlpoOTFBWSZTWQ==?=\nContent-Type: text/plain; charset=utf-7\n\n"
               b"+2ADYAA-+3f8-\n",
    "half characters": b"Subject: =?utf-16-le?b?ANg=?= =?utf-7?q?+2AA-?=\n\nx\n",
    "deep": deep(500),
    "messages": b"Content-Type: message/rfc822\n\n" * 300 + b"Subject: inner\n\nVertrag\n",
    "long word": b"Subject: x\n\n" + b"a" * 3_000_000,
    "many words": b"Subject: x\n\n" + b" ".join(b"%x" % number for number in range(60_000)),
    "long subject": b"Subject: " + b"=?utf-8?q?=C3=A4?= " * 10_000 + b"\n\nx\n",
    "parts": b'Content-Type: multipart/mixed; boundary=b\n\n' + b"--b\nContent-Disposition: attachment\n\n\n" * 20_000,
    "markup": b"Content-Type: text/html\n\n" + b'<a ">' * 30_000 + b"<p>Vertrag</p>" + b"<" * 30_000,
    "quotes": b"Content-Type: text/html\n\n<p>Vertrag</p>" + b'<a "<a \'>"\'' * 20_000,
    "marks": b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\na" + "\u0301".encode() * 200_000,
    "date": b"Date: Mon, 99 Xyz 99999 99:99:99 +9999\nSubject: x\n\nx\n",
    "name": b"Content-Type: application/pdf; name*0*=utf-8''%00%0A..%2F; name*1=../../etc/passwd\n\nx\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_mail(some: Archive, what: str) -> None:
    some.add(HOSTILE[what], mail_id="1795000000.M1.mail")
    some.add(mail("behind"))
    some.fill()  # nothing is quadratic: that would take hours
    assert some.find("subject:behind") == ["behind"]
    found = some.search("")[-1]
    assert found.id == "1795000000.M1.mail"
    assert all(text.isprintable() for text in (found.subject, found.author, found.recipients, *found.attachments))
    assert some.search("", inside=True)[-1] == found


@pytest.mark.parametrize("what", hostile_mail.scaled(100))
def test_mail_made_to_hurt_who_reads_it(what: str) -> None:
    read = texts.of(hostile_mail.scaled(200_000)[what])
    assert len(read.body) <= 2 * texts.MAX_TEXT


def test_texts_behind_the_limit_are_not_searched(some: Archive) -> None:
    some.add(mail("long", "wort " * (texts.MAX_TEXT // 5 + 10) + "dahinter"))
    some.fill()
    assert some.find("wort") == ["long"]
    assert some.find("dahinter") == []


def test_html_is_read_as_people_see_it(some: Archive) -> None:
    page = "<style>stil</style><p class=klasse>Die <b>Prü</b>fung &amp; Vertr&auml;ge</p>"
    page = base64.b64encode(page.encode()).decode()
    some.add(f"Subject: html\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{page}\n")
    some.fill()
    for asked in ("prüfung", "vertrag", '"die prüfung verträge"'):
        assert some.find(asked) == ["html"], asked
    for asked in ("stil", "klasse", "class", "p"):
        assert some.find(asked) == [], asked


def test_lines_that_are_not_as_lines_are_do_no_harm(some: Archive) -> None:
    filled(some, 1)
    book = journal.Journal(some.where)
    book.append([{"kind": "mail"}, {"kind": "mail", "id": 7, "form": [], "receivers": 3}, {"kind": "purged"},
                 {"kind": "purged", "of": 1 << 70}, {"kind": "purged", "of": "x"}, {"kind": "news"},
                 {**some.lines()[1].data, "seq": 99, "prev": "", "file": "../../etc/passwd", "id": "x"}])
    book.close()
    some.add(mail("behind"))
    some.fill()
    assert some.find("subject:behind") == ["behind"]
