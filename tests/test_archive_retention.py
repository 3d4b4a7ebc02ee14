"""What leaves the archive and what stays: years, holds, single mails; each with a line in the journal."""

import calendar
import json
import mailbox
import os
import zipfile

import pytest
from click.testing import CliRunner

from lanmail import address, admin, envelope
from lanmail.archiving import retention, store
from tests.archivedroot import Archive


@pytest.fixture
def root(tmp_path):
    """A mail of each year from 2010 on, in turns for meier (ten years), schmidt (for ever) and both."""
    made = Archive(tmp_path)
    made.account("meier", "archive = true\narchive_years = 10")
    made.account("schmidt", "archive = true")
    owner = store.spool_of(made.paths)
    owner.ensure()
    for year in range(2010, 2026):
        moment = calendar.timegm((year, 6, 1, 12, 0, 0))
        names = (("meier",), ("schmidt",), ("meier", "schmidt"))[year % 3]
        known = store.Facts(f"{moment}.M{year}.mail", "accepted", "", names, "mx")
        head = envelope.Envelope(None, [envelope.Recipient(address.parse(f"{name}@office.lan")) for name in names],
                                 origin=store.origin(known))
        owner.put(head, f"Return-Path: <>\nMessage-ID: <{year}>\nSubject: Vertrag {year}\n\nbody\n".encode())
    assert made.keep() == 0
    return made


def call(root, *arguments, code=0, typed=None):
    result = CliRunner().invoke(admin.cli, ["archive", *arguments, "--root", str(root.paths.root)], input=typed)
    assert result.exit_code == code, result.output
    return result.output


def years(root):
    """Of the messages that are there."""
    return sorted(int(file.parent.parent.name[:4]) for file in root.files())


def id_of(root, year):
    return next(line["id"] for line in root.lines() if line["arrived"].startswith(str(year)))


def at(monkeypatch, year, month=1, day=1):
    monkeypatch.setattr("time.time", lambda: float(calendar.timegm((year, month, day, 0, 0, 1))))


def test_a_purge_takes_what_its_accounts_keep_no_longer(root, monkeypatch):
    at(monkeypatch, 2026)
    all_years = years(root)
    assert "4 messages" not in call(root, "purge")
    assert years(root) == all_years  # only said, not done
    said = json.loads(call(root, "purge", "--json"))
    call(root, "purge", "--yes")
    gone = sorted(set(all_years) - set(years(root)))
    assert gone == [2010, 2013]  # meier's alone, up to ten full years ago
    assert said["messages"] == len(gone)
    assert [line["why"] for line in root.lines("purged")] == ["retention"] * 2
    assert "everything is as it was archived" in call(root, "verify")
    assert json.loads(call(root, "verify", "--json"))["purged"] == 2


@pytest.mark.parametrize(("when", "gone"), [((2023, 12, 31), [2010]), ((2024, 1, 1), [2010, 2013]),
                                            ((2027, 1, 1), [2010, 2013, 2016])])
def test_the_years_are_whole_ones(root, monkeypatch, when, gone):
    at(monkeypatch, *when)
    all_years = years(root)
    call(root, "purge", "--yes")
    assert sorted(set(all_years) - set(years(root))) == gone


def test_for_ever_is_the_default(root, monkeypatch):
    root.account("meier", "archive = true")
    at(monkeypatch, 2100)
    assert "nothing is old enough" in call(root, "purge", "--yes")


def test_an_account_that_is_gone_counts_as_the_default(root, monkeypatch):
    (root.paths.accounts / "meier.toml").unlink()
    at(monkeypatch, 2026)
    assert "nothing is old enough" in call(root, "purge")
    root.paths.config_file.write_text(root.paths.config_file.read_text() + "[account_defaults]\narchive_years = 2\n")
    assert json.loads(call(root, "purge", "--json"))["messages"] == 14


def test_an_account_that_cannot_be_read_keeps_its_mail(root, monkeypatch):
    root.account("meier", "archive = perhaps")
    at(monkeypatch, 2026)
    assert "the mail of meier stays" in call(root, "purge", "--yes")
    assert len(years(root)) == 16


def test_what_is_on_hold_stays(root, monkeypatch):
    at(monkeypatch, 2026)
    call(root, "hold", "add", "klage", "--account", "meier", "--reason", "Az. 3 O 17/26")
    assert "nothing is old enough" in call(root, "purge", "--yes")
    assert "legal hold (klage)" in call(root, "erase", id_of(root, 2010), "--reason", "x", "--yes", code=65)
    assert "Az. 3 O 17/26" in call(root, "hold", "list")
    call(root, "hold", "remove", "klage", "--reason", "Vergleich")
    assert "no holds" in call(root, "hold", "list")
    call(root, "purge", "--yes")
    assert 2010 not in years(root)
    assert [line["action"] for line in root.lines("hold")] == ["add", "remove"]


def test_single_mails_on_hold(root, monkeypatch):
    at(monkeypatch, 2026)
    call(root, "hold", "add", "eine", "--id", id_of(root, 2013)[:12], "--reason", "r")
    call(root, "purge", "--yes")
    assert 2013 in years(root)
    assert 2010 not in years(root)


def test_what_a_search_finds_on_hold(root, monkeypatch):
    call(root, "hold", "add", "suche", "--query", "subject:2010", "--reason", "r")
    at(monkeypatch, 2026)
    call(root, "purge", "--yes")
    assert 2010 in years(root)
    assert 2013 not in years(root)
    held = json.loads(call(root, "hold", "list", "--json"))
    assert held[0]["query"] == "subject:2010"
    assert held[0]["ids"] == [id_of(root, 2010)]


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["add", "x", "--reason", "r"], 64, "--account"),
    (["add", "x", "--account", "nobody", "--reason", "r"], 67, "no account"),
    (["add", "x", "--id", "99", "--reason", "r"], 66, "no mail"),
    (["add", "x", "--query", "subject:nothinglikethis", "--reason", "r"], 65, "finds nothing"),
    (["add", "x", "--account", "meier"], 64, "reason"),
    (["remove", "x", "--reason", "r"], 66, "no hold"),
])
def test_holds_that_cannot_be(root, arguments, code, says):
    assert says in call(root, "hold", *arguments, code=code)


def test_erase_by_id_with_a_reason(root):
    mail_id = id_of(root, 2020)
    assert "reason" in call(root, "erase", mail_id, code=64)
    call(root, "erase", mail_id, "--reason", "privat", typed="n\n", code=130)
    assert 2020 in years(root)
    call(root, "erase", mail_id, "--reason", "privat", typed="y\n")
    assert 2020 not in years(root)
    line, = root.lines("purged")
    assert (line["id"], line["why"], line["reason"]) == (mail_id, "erased", "privat")
    assert line["by"]
    assert "everything is as it was archived" in call(root, "verify")
    call(root, "erase", mail_id, "--reason", "again", "--yes", code=66)


def test_a_purge_that_was_killed_is_finished_by_the_next(root, monkeypatch):
    at(monkeypatch, 2026)
    with monkeypatch.context() as patch:
        patch.setattr(retention, "remove", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError):
            retention.purge(root.paths, retention.expired(retention.read(root.paths), lambda name: 10, 1.8e9),
                            "retention", "r", "test")
    assert 2010 in years(root)
    assert "was purged and is still there" in call(root, "verify", code=65)
    call(root, "purge")
    assert 2010 in years(root)
    assert "removed" in call(root, "purge", "--yes")
    assert 2010 not in years(root)
    assert "everything is as it was archived" in call(root, "verify")


def test_stats(root):
    said = json.loads(call(root, "stats", "--json"))
    assert said["mails"] == 16
    assert said["accounts"]["meier"]["mails"] == 11
    assert said["accounts"]["schmidt"]["mails"] == 10
    assert said["months"]["2010-06"]["mails"] == 1
    assert said["octets"] == sum(file.stat().st_size for file in root.files())
    assert "2010-06" in call(root, "stats")


@pytest.mark.parametrize("form", ["eml", "maildir", "mbox"])
def test_export_has_the_messages_and_their_lines(root, tmp_path, form):
    target = tmp_path / "out"
    call(root, "export", "--to", str(target), "--format", form)
    lines = [json.loads(row) for row in (target / "journal.jsonl").read_text().splitlines()]
    assert lines == root.lines()
    assert json.loads((target / "head.json").read_text())["head"] == call(root, "head").strip()
    if form == "mbox":
        box = mailbox.mbox(target / "archive.mbox")
        assert [one["Subject"] for one in box] == [f"Vertrag {year}" for year in range(2010, 2026)]
        assert "X-Receiver" not in box[0]
        box.close()
    else:
        mails = [file for file in target.rglob("*") if file.is_file() and not file.suffix.startswith(".json")]
        found = {file.read_bytes() for file in mails}
        assert found == {file.read_bytes() for file in root.files()}


def test_export_of_some_into_a_zip(root, tmp_path):
    call(root, "export", "subject:2011", "--to", str(tmp_path / "some.zip"), "--id", id_of(root, 2012))
    with zipfile.ZipFile(tmp_path / "some.zip") as packed:
        names = packed.namelist()
        assert len([name for name in names if name.endswith(".eml")]) == 2
        assert len(packed.read("journal.jsonl").splitlines()) == 2
    assert "is there already" in call(root, "export", "--to", str(tmp_path / "some.zip"), code=74)


def test_export_names_what_is_missing(root, tmp_path):
    root.files()[0].unlink()
    said = call(root, "export", "--to", str(tmp_path / "out"), code=65)
    assert "is not exported" in said
    assert "15 messages" in said
    assert os.path.exists(tmp_path / "out/head.json")
