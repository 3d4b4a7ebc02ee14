"""deliver: where mail goes, that it goes there once, and what happens when something is in the way."""

import email
import email.policy
import os
import time

import pytest
from click.testing import CliRunner

from lanmail import daemon, deliver, spool
from lanmail.delivery import office
from tests.mailroot import Root, files

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def bounce_of(mail):
    message = email.message_from_bytes(mail, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    return message


# where it goes

@pytest.mark.parametrize(("to", "account"), [
    ("meier@office.lan", "meier"), ("Meier@OFFICE.lan", "meier"), ("meier+shop@office.lan", "meier"),
    ("sales@office.lan", "meier"), ("postmaster@office.lan", "chef"), ("abuse@office.lan", "chef"),
])
def test_one_local_recipient_is_one_rename(root, to, account):
    root.put(to)
    name = root.queue.names()[0]
    before = os.stat(root.queue.new / name).st_ino
    assert root.run() == 0
    landed = root.paths.maildirs / account / "new" / name
    assert landed.stat().st_ino == before
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())


def test_several_local_recipients_share_one_clean_copy(root):
    root.put("meier@office.lan", "schmidt@office.lan", "sales@office.lan")
    assert root.run() == 0
    names = {account: os.listdir(root.paths.maildirs / account / "new") for account in ("meier", "schmidt")}
    assert names["meier"] == names["schmidt"]
    assert root.inbox("meier") == root.inbox("schmidt") == [b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\n"]
    found = (root.paths.maildirs / "meier" / "new" / names["meier"][0]).stat()
    assert found.st_nlink == 2
    parsed = spool.parse_name(names["meier"][0])
    assert parsed.size == found.st_size
    assert parsed.wire_size == found.st_size + 4
    assert root.waiting() == []
    assert os.listdir(root.queue.tmp) == []


def test_an_alias_for_two_reaches_both_and_names_nobody(root):
    root.put("info@office.lan")
    assert root.run() == 0
    assert b"X-Receiver" not in root.inbox("meier")[0] + root.inbox("schmidt")[0]


def test_external_mail_is_handed_on_as_it_is(root):
    root.put("a@far.example", "b@far.example", **OURS)
    name = root.queue.names()[0]
    data = (root.queue.new / name).read_bytes()
    assert root.run() == 0
    assert (root.paths.outbound / "new" / name).read_bytes() == data


def test_mixed_mail_is_split_and_nobody_learns_of_the_others(root):
    root.put("meier@office.lan", "b@far.example", "schmidt@office.lan", **OURS)
    assert root.run() == 0
    assert b"X-Receiver" not in root.inbox("meier")[0] + root.inbox("schmidt")[0]
    (outside,) = files(root.paths.outbound / "new")
    assert outside.startswith(b"X-Sender: <meier@office.lan>\nX-Receiver: <b@far.example>\n"
                              b"X-Origin: submission account=meier\nReturn-Path: <meier@office.lan>\n")
    assert b"office.lan" not in outside.split(b"Return-Path")[0].replace(b"<meier@office.lan>", b"")
    assert not list((root.paths.state / "queue").iterdir())


def test_named_directly_and_by_an_alias_the_outside_hears_of_no_name_of_ours(root):
    root.put("away@office.lan", "x@far.example")
    assert root.run() == 0
    (copy,) = files(root.paths.outbound / "new")
    assert copy.startswith(b"X-Sender: <a@far.example>\nX-Receiver: <x@far.example>\nX-Origin: mx\nReturn-Path:")


def test_what_an_alias_sends_outside_carries_delivered_to(root):
    root.put("both@office.lan", "z@far.example", **OURS)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    copies = sorted(files(root.paths.outbound / "new"))
    assert len(copies) == 2
    through = next(one for one in copies if b"y@far.example" in one)
    assert b"Return-Path: <meier@office.lan>\nDelivered-To: both@office.lan\nSubject" in through
    assert not any(b"both@office.lan" in one for one in copies if one is not through)


# nobody there

def test_our_own_sender_is_told_and_the_postmaster_too(root):
    entry_id = root.put("nobody@office.lan", "meier@office.lan", **OURS)
    assert root.run() == 0
    mails = root.inbox("meier")
    assert len(mails) == 2
    bounce = bounce_of(next(mail for mail in mails if b"delivery-status" in mail))
    assert entry_id in bounce.as_string()
    assert b"delivery-status" in root.inbox("chef")[0]
    assert root.waiting() == []


def test_strangers_are_not_told_but_the_postmaster_gets_the_mail(root):
    root.put("nobody@office.lan")
    assert root.run() == 0
    assert b"X-Receiver: <nobody@office.lan>" in root.inbox("chef")[0]
    assert root.inbox("chef")[0].endswith(b"\nbody\n")
    assert files(root.paths.outbound / "new") == []


@pytest.mark.parametrize("sent", [
    {"sender": None, "kind": "local"},
    {"sender": "meier@office.lan", "kind": "submission", "params": (("NOTIFY", "NEVER"),)},
    {**OURS, "message": b"Return-Path: <meier@office.lan>\nAuto-Submitted: auto-replied\n\nx\n"},
    {**OURS, "message": b"Return-Path: <meier@office.lan>\nPrecedence: bulk\n\nx\n"},
])
def test_no_bounce_for_null_sender_automatic_mail_and_notify_never(root, sent):
    root.put("nobody@office.lan", **sent)
    assert root.run() == 0
    assert root.inbox("meier") == []
    assert len(root.inbox("chef")) == 1


def test_without_a_postmaster_nothing_is_lost(tmp_path):
    root = Root(tmp_path, postmaster=False)
    unknown = root.put("nobody@office.lan")
    nobody = root.put("postmaster@office.lan")
    partly = root.put("nobody@office.lan", "meier@office.lan")
    assert root.run() == 0
    held = root.held()
    assert set(held) == {unknown, nobody, f"{partly}-1"}
    assert "There is no nobody here" in held[unknown]
    assert "no account is postmaster" in held[nobody]
    assert len(root.inbox("meier")) == 1
    copy = next(data for data in files(root.paths.hold / "new") if data.count(b"X-Receiver") == 1
                and b"nobody" in data)
    assert b"<meier@office.lan>" not in copy


def test_unknown_names_go_to_the_postmaster_when_so_set(tmp_path):
    root = Root(tmp_path, settings='[deliver]\nunknown_local = "postmaster"\n')
    root.put("nobody@office.lan", **OURS)
    assert root.run() == 0
    assert b"X-Receiver: <nobody@office.lan>" in root.inbox("chef")[0]
    assert root.inbox("meier") == []


def test_success_is_told_when_asked_for(root):
    root.put("schmidt@office.lan", params=(("NOTIFY", "SUCCESS"),), **OURS)
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    status = list(bounce_of(root.inbox("meier")[0]).iter_parts())[1].get_payload()[1]
    assert (status["Action"], status["Status"]) == ("delivered", "2.1.5")


# loops

@pytest.mark.parametrize("kind", ["fetch", "other"])
def test_too_many_hops_go_to_hold_with_one_note(root, kind):
    entry_id = root.put("meier@office.lan", kind=kind, message=b"Return-Path: <>\n" + b"Received: x\n" * 51 + b"\nx\n")
    root.put("meier@office.lan", kind=kind, message=b"Return-Path: <>\n" + b"Received: x\n" * 50 + b"\nx\n")
    assert root.run() == 0
    assert list(root.held()) == [entry_id]
    assert "51 Received" in root.held()[entry_id]
    (note,) = root.inbox("chef")
    assert b"Subject: Mail loop stopped" in note
    assert len(root.inbox("meier")) == 1


def test_a_mail_that_comes_back_to_a_way_out_stops(root):
    entry_id = root.put("away@office.lan", "meier@office.lan",
                        message=b"Return-Path: <a@far.example>\nDelivered-To: away@office.lan\n\nx\n")
    assert root.run() == 0
    assert list(root.held()) == [f"{entry_id}-1"]
    assert "mail loop" in root.held()[f"{entry_id}-1"]
    assert len(root.inbox("meier")) == 1
    assert files(root.paths.outbound / "new") == []
    assert len(root.inbox("chef")) == 1


# the program

def test_the_second_deliver_refuses(root):
    lock = office.lock(root.paths)
    with pytest.raises(daemon.Refused, match="another lanmail-deliver") as refused:
        root.run()
    assert refused.value.code == os.EX_TEMPFAIL
    os.close(lock)
    assert root.run() == 0


@pytest.mark.parametrize("where", ["queue", "queue/new", "hold/new", "outbound", "pickup", "pickup/new", "pickup/cur"])
def test_a_spool_that_everybody_may_write_to_is_refused(root, where):
    root.run()
    (root.paths.spool / where).chmod(0o777)
    with pytest.raises(daemon.Refused, match=r"written by everybody.*chmod"):
        root.run()
    if where in ("pickup", "pickup/new"):
        (root.paths.spool / where).chmod(0o1777)
        assert root.run() == 0


def test_a_link_in_place_of_a_spool_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.queue.new.rmdir()
    root.queue.new.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(daemon.Refused, match="not a directory of its own"):
        root.run()


def test_the_manual_is_the_help(monkeypatch):
    shown = CliRunner().invoke(deliver.main, ["--help"])
    assert shown.exit_code == 0
    assert shown.output.count("Writes: maildirs/") == 1
    assert "spool/hold, with the reason" in shown.output


def test_the_delay_is_never_negative_whatever_the_clock_does(root, monkeypatch):
    root.put("meier@office.lan")
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert root.run() == 0
    (lines,) = root.paths.log.iterdir()
    assert "delay=0.000" in lines.read_text()
