"""archiving/closing.py: the mail of an account that ends goes into the archive, each once."""

import os
import time
from pathlib import Path

from lanmail import maildir, paths
from lanmail.address import Address
from lanmail.administration import enrolment
from lanmail.archiving import closing, intake

MINE = Address("bob", "office.lan")


def office(tmp_path: Path) -> paths.Paths:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True, exist_ok=True)
    (where.accounts / "bob.toml").write_text("disabled = false\n")
    root = str(where.maildirs / "bob")
    maildir.ensure(root)
    for name in ("Sent", "Junk", "Akten"):
        maildir.create(root, name)
    for folder, name, text in (("", "new/1763759701.M1P2Q3.host,S=20,W=22", "Subject: 1\n\nbody\n"),
                               ("", "cur/1763759702.M1P2Q3.host,S=20:2,S", "Subject: 2\n\nbody\n"),
                               (".Sent", "cur/1763759703.M1P2Q3.host:2,S", "To: eva@far.example\nSubject: 3\n\n."),
                               (".Junk", "cur/1763759704.M1P2Q3.host:2,", "Subject: spam\n\n"),
                               (".Akten", "cur/odd name;x:2,", "Subject: 5\n\nbody\n")):
        (where.maildirs / "bob" / folder / name).write_text(text)
    os.mkfifo(where.maildirs / "bob/cur/fifo")
    return where


def _day() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def test_all_but_drafts_and_spam(tmp_path: Path) -> None:
    began = _day()
    where = office(tmp_path)
    enrolment.remove(where, "bob", delete_mail=False, archived_as=MINE)
    assert not (where.maildirs / "bob").exists()
    assert not (where.accounts / "bob.toml").exists()
    entries = sorted((where.spool / "archive/new").iterdir())
    assert len(entries) == 4
    text = "".join(path.read_text() for path in entries)
    assert "spam" not in text
    assert text.count("receivers=bob") == 3
    assert text.count("submitter=bob") == 1
    assert text.count("X-Receiver: <bob@office.lan>") == 3
    assert "id=1763759701.M1P2Q3.host form=accepted" in text
    work = intake.Intake(where)
    try:
        filed = [one.data for one in work.take(work.names()).lines]
    finally:
        work.close()
    *dated, named_oddly = sorted(str(one["arrived"])[:10] for one in filed if one["direction"] == "in")
    assert dated == ["2025-11-21", "2025-11-21"]
    assert began <= named_oddly <= _day()
    assert len(filed) == 4
    assert [one["recipients"] for one in filed if one["direction"] == "out"] == [["eva@far.example"]]


def test_what_the_archive_has_does_not_go_there_twice(tmp_path: Path) -> None:
    where = office(tmp_path)
    there = where.archive / "2025-11/cur"
    there.mkdir(parents=True)
    (there / "1763759701.M1P2Q3.host,S=20,H=x:2,S").write_text("")
    done = closing.hand_over(where, "bob", MINE)
    assert len(list((where.spool / "archive/new").iterdir())) == 3
    (where.maildirs / "bob/new/1763759709.M1P2Q3.host").write_text("Subject: late\n\nx\n")
    assert closing.hand_over(where, "bob", MINE, done) == done | {"1763759709.M1P2Q3.host"}
    assert len(list((where.spool / "archive/new").iterdir())) == 4
