"""What goes into the archive: mail that archived accounts receive or send, once, as it was accepted."""

import os

import pytest

from lanmail import envelope, spool
from lanmail.archiving import store
from lanmail.rules import archive
from tests.archivedroot import Archive
from tests.mailroot import files


@pytest.fixture
def root(tmp_path):
    return Archive(tmp_path)


def one(root):
    line, = root.lines()
    return line


def test_mail_that_is_received(root):
    mail_id = root.put("meier@office.lan", "x@far.example")
    root.work()
    line = one(root)
    assert (line["id"], line["direction"], line["submitter"], line["receivers"]) == (mail_id, "in", "", ["meier"])
    assert line["how"] == "mx"
    assert len(root.inbox("meier")) == 1


def test_mail_that_is_sent_with_a_log_in(root):
    root.put("x@far.example", sender="meier@office.lan", kind="submission", account="meier")
    root.work()
    assert (one(root)["direction"], one(root)["submitter"], one(root)["receivers"]) == ("out", "meier", [])
    assert len(files(root.paths.outbound / "new")) == 1


def test_mail_between_two_archived_accounts_is_there_once(root):
    root.account("schmidt", "archive = true")
    root.put("schmidt@office.lan", "meier@office.lan", sender="meier@office.lan", kind="submission", account="meier")
    root.work()
    assert (one(root)["direction"], one(root)["receivers"]) == ("both", ["meier", "schmidt"])


def test_blind_copies_and_the_whole_envelope_are_kept(root):
    text = b"Return-Path: <a@far.example>\nTo: meier@office.lan\nSubject: hi\n\n" + b"body\n" * 5000
    root.put("meier@office.lan", "schmidt@office.lan", "chef@office.lan", message=text)
    root.work()
    head, message = store.read(root.paths.archive, one(root))
    assert message == text
    assert [str(rcpt.address) for rcpt in head.recipients] == [
        "meier@office.lan", "schmidt@office.lan", "chef@office.lan"] == one(root)["recipients"]


@pytest.mark.parametrize("to", [["info@office.lan"], ["both@office.lan"], ["sales@office.lan", "meier+x@office.lan"]])
def test_through_aliases(root, to):
    root.put(*to)
    root.work()
    assert one(root)["receivers"] == ["meier"]


def test_what_others_get_is_not_archived(root):
    root.put("schmidt@office.lan")
    root.put("x@far.example", sender="schmidt@office.lan", kind="submission", account="schmidt")
    root.put("schmidt@office.lan", sender="meier@office.lan", kind="mx")  # anybody can write that
    root.work()
    assert root.lines() == []


@pytest.mark.parametrize("kind", ["lan", "pickup"])
def test_programs_of_the_office_send_for_the_account_of_their_address(root, kind):
    root.put("x@far.example", sender="meier@office.lan", kind=kind)
    root.put("schmidt@office.lan", sender="meier@office.lan", kind=kind)
    root.work()
    assert [line["submitter"] for line in root.lines()] == ["meier", "meier"]


def test_a_default_for_all_accounts(tmp_path):
    root = Archive(tmp_path, settings="[account_defaults]\narchive = true\n")
    root.account("chef", "archive = false\npostmaster = true")
    root.put("schmidt@office.lan")
    root.put("chef@office.lan")
    root.work()
    assert one(root)["receivers"] == ["schmidt"]


def test_a_forward_does_not_take_it_past_the_archive(root):
    root.account("meier", 'archive = true\n[forward]\nto = ["schmidt"]\nkeep = false')
    root.put("meier@office.lan")
    root.work()
    assert one(root)["receivers"] == ["meier"]
    assert root.inbox("meier") == []


def test_mail_that_nobody_gets_was_sent_all_the_same(root):
    root.put("nobody@office.lan", sender="meier@office.lan", kind="submission", account="meier")
    root.run()
    root.work()
    assert {line["direction"] for line in root.lines()} == {"out", "in"}  # the mail, and the bounce it got


def test_a_rule_that_cannot_say_now_does_not_keep_it_from_the_archive(root, monkeypatch):
    from lanmail.delivery import expansion

    def rule(_mail, visit):
        if visit.name == "meier" and not os.path.exists(root.paths.root / "mended"):
            raise OSError("not now")

    monkeypatch.setattr(expansion, "RULES", (rule,))
    root.put("meier@office.lan", "schmidt@office.lan")
    assert root.run() == 75
    root.keep()
    assert one(root)["receivers"] == ["meier"]
    (root.paths.root / "mended").touch()
    root.work()
    assert one(root)["receivers"] == ["meier"]


def test_accounts_that_a_later_try_reaches_are_written_down(root, monkeypatch):
    root.account("schmidt", 'archive = true\n[forward]\nto = ["chef"]\nkeep = true')
    root.account("chef", "archive = true\npostmaster = true")
    from lanmail.delivery import expansion
    rules = expansion.RULES

    def rule(_mail, visit):
        if visit.name == "schmidt" and not os.path.exists(root.paths.root / "mended"):
            raise OSError("not now")

    monkeypatch.setattr(expansion, "RULES", (rule, *rules))
    root.put("meier@office.lan", "schmidt@office.lan")
    assert root.run() == 75
    (root.paths.root / "mended").touch()
    root.work()
    assert {line["id"] for line in root.lines()} == {root.lines()[0]["id"]}
    assert [line["receivers"] for line in root.lines()] == [["meier", "schmidt"], ["chef", "meier", "schmidt"]]


def test_a_sender_whose_account_cannot_be_read_waits(root):
    root.account("meier", "archive = nonsense")
    root.put("schmidt@office.lan", sender="meier@office.lan", kind="submission", account="meier")
    assert root.run() == 75
    assert root.inbox("schmidt") == []
    root.account("meier", "archive = true")
    root.work()
    assert one(root)["submitter"] == "meier"
    assert len(root.inbox("schmidt")) == 1


def test_relay_is_told_that_the_sent_form_is_wanted(root):
    mail_id = root.put("x@far.example", sender="meier@office.lan", kind="submission", account="meier")
    root.put("x@far.example", sender="schmidt@office.lan", kind="submission", account="schmidt")
    root.work()
    heads = [envelope.decode(raw)[0] for raw in files(root.paths.outbound / "new")]
    assert [archive.marked(head) for head in heads if head] == [mail_id, None]


def test_a_large_mail_is_copied_in_pieces(root, monkeypatch):
    real, largest = os.pread, []

    def pread(descriptor, count, offset):
        largest.append(count)
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", pread)
    text = b"Return-Path: <a@far.example>\nSubject: hi\n\n" + b"x" * 70 + b"\n"
    root.put("meier@office.lan", message=text + b"y" * (8 << 20) + b"\n")
    root.work()
    assert max(largest) <= 1 << 20
    assert one(root)["size"] > 8 << 20


def test_what_waits_is_seen_by_the_queue_command(root):
    from lanmail.administration import backlog

    root.put("meier@office.lan")
    root.run()
    found = [item for item in backlog.items(root.paths) if item.spool == "archive"]
    assert [item.origin for item in found] == ["archive"]
    assert spool.parse_name(found[0].name).id == found[0].id
