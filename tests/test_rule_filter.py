"""Filters and the folder Junk through deliver: who gets what, and what becomes of mail that is rejected or waits."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from lanmail import admin, envelope, spool
from lanmail.filters import asking
from lanmail.folders import subscriptions
from tests.mailroot import Root, files

OURS = {"sender": "schmidt@office.lan", "kind": "submission", "account": "schmidt"}


@pytest.fixture(autouse=True)
def _nothing_was_said():
    asking.forget()
    yield
    asking.forget()


@pytest.fixture
def office(tmp_path):
    """A root whose filter is this script."""
    tmp_path.chmod(0o755)

    def made(script: str, more: str = "", account: str = "") -> Root:
        path = tmp_path / "filter.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        use = f'use = "{path}"\n' if not account else ""
        root = Root(tmp_path / "root", settings=f"[filter]\n{use}{more}\n")
        if account:
            (root.paths.accounts / "meier.toml").write_text(account.format(path))
        return root
    return made


def junk(root: Root, name: str = "meier", folder: str = ".Junk") -> list[bytes]:
    return files(root.paths.maildirs / name / folder / "new")


def test_accepted_mail_gets_the_lines_and_is_else_as_it_came(office) -> None:
    root = office("echo X-Checked: yes")
    root.put("meier@office.lan", message=b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\xff\n")
    assert root.run() == 0
    assert root.inbox("meier") == [b"Return-Path: <a@far.example>\nX-Checked: yes\nSubject: hi\n\nbody\xff\n"]


def test_tagged_mail_goes_into_junk_which_is_made(office) -> None:
    root = office("echo X-Spam-Level: 9; exit 2")
    root.put("meier@office.lan")
    assert root.run() == 0
    (one,) = junk(root)
    assert b"X-Spam-Level: 9\n" in one
    assert root.inbox("meier") == []
    assert "Junk" in subscriptions.load(str(root.paths.maildirs / "meier"))


def test_junk_is_the_folder_that_the_client_uses_for_it(office) -> None:
    root = office("exit 2")
    box = root.paths.maildirs / "meier"
    for place in ("cur", "new", "tmp", ".Werbung/cur", ".Werbung/new", ".Werbung/tmp"):
        (box / place).mkdir(parents=True)
    (box / "lanmail-special-use").write_text("\\Junk Werbung\n")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert len(junk(root, folder=".Werbung")) == 1
    assert not (box / ".Junk").exists()


def test_an_account_may_have_spam_in_its_inbox(office) -> None:
    root = office("exit 2")
    (root.paths.accounts / "meier.toml").write_text("junk = false\n")
    root.put("info@office.lan")
    assert root.run() == 0
    (one,) = root.inbox("meier")
    assert b"X-Spam-Flag: YES\n" in one
    assert len(junk(root, "schmidt")) == 1


def test_spam_makes_no_short_message(office) -> None:
    root = office("exit 2", '[sms]\ngateway = "smstools"\ndirectory = "/nowhere"\n')
    (root.paths.accounts / "meier.toml").write_text('[sms]\nto = "0179123456"\n')
    root.put("meier@office.lan")
    assert root.run() == 0
    assert files(root.paths.jobs / "new") == []


def test_rejected_mail_of_ours_comes_back_with_the_reason(office) -> None:
    root = office("echo 'not like that'; exit 1")
    root.put("meier@office.lan", **OURS)
    assert root.run() == 0
    assert root.inbox("meier") == []
    (bounce,) = root.inbox("schmidt")
    assert b"550 5.7.1 not like that" in bounce


def test_rejected_mail_of_strangers_goes_to_hold_and_comes_out_of_it_unasked(office) -> None:
    root = office("echo 'malware'; exit 1")
    entry_id = root.put("info@office.lan")
    assert root.run() == 0
    ((held, why),) = root.held().items()
    assert held == entry_id
    assert "malware" in why
    assert root.inbox("meier") == root.inbox("schmidt") == root.inbox("chef") == []
    result = CliRunner().invoke(admin.cli, ["queue", "release", entry_id, "--root", str(root.paths.root)])
    assert result.exit_code == 0
    assert root.run() == 0
    assert len(root.inbox("meier")) == len(root.inbox("schmidt")) == 1


def test_or_it_is_dropped(office) -> None:
    root = office("exit 1", 'rejected = "drop"')
    root.put("meier@office.lan")
    assert root.run() == 0
    assert root.held() == {}
    assert root.inbox("meier") == root.inbox("chef") == root.waiting() == []


def test_one_recipient_s_own_filter_rejects_for_him_alone(office) -> None:
    root = office('[ "$ACCOUNT" = meier ] || exit 70; exit 1', account='filter = ["{}"]\n')
    root.put("meier@office.lan", "schmidt@office.lan")
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    assert root.inbox("meier") == []
    (held,) = files(root.paths.hold / "new")
    head, _ = envelope.decode(held)
    assert head is not None
    assert [str(one.address) for one in head.recipients] == ["meier@office.lan"]


def test_who_forwards_to_an_account_whose_filter_rejects_keeps_nothing(office) -> None:
    root = office("exit 1", account='filter = ["{}"]\n')
    (root.paths.accounts / "schmidt.toml").write_text('[forward]\nto = ["meier"]\n')
    entry_id = root.put("schmidt@office.lan")
    assert root.run() == 0
    assert list(root.held()) == [entry_id]
    assert root.inbox("schmidt") == root.inbox("meier") == []
    CliRunner().invoke(admin.cli, ["queue", "release", entry_id, "--root", str(root.paths.root)])
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert root.inbox("schmidt") == []


def test_a_filter_of_all_is_asked_once_for_all_recipients(office, tmp_path) -> None:
    root = office(f'echo "$RECIPIENT|$ACCOUNT|$SENDER" >>{tmp_path}/asked')
    root.put("meier@office.lan", "schmidt@office.lan", "chef@office.lan")
    assert root.run() == 0
    assert (tmp_path / "asked").read_text() == "meier@office.lan schmidt@office.lan chef@office.lan||a@far.example\n"


def test_a_filter_may_want_it_later(office) -> None:
    root = office("exit 75")
    root.put("meier@office.lan")
    assert root.run() == os.EX_TEMPFAIL
    assert root.inbox("meier") == []
    assert len(root.waiting()) == 1


def test_mail_waits_for_a_filter_that_does_not_work(office) -> None:
    root = office("exit 99")
    entry_id = root.put("meier@office.lan")
    assert root.run() == os.EX_TEMPFAIL
    assert root.inbox("meier") == []
    state = json.loads((root.paths.state / "queue" / f"{entry_id}.json").read_text())
    assert "exit code 99" in state["error"]


def test_and_after_its_time_it_is_delivered_without(office) -> None:
    root = office("exit 99", 'wait = "0s"')
    for _ in range(2):
        root.put("meier@office.lan")
    assert root.run() == 0
    got = root.inbox("meier")
    assert len(got) == 2
    assert all(b"\nX-Lanmail-Unfiltered: /" in one for one in got)
    assert root.run() == 0  # the note
    (note,) = root.inbox("chef")
    assert b"exit code 99" in note


def test_old_mail_does_not_wait(office) -> None:
    root = office("exit 99", 'wait = "1h"')
    head = envelope.decode(b"X-Sender: <a@far.example>\nX-Receiver: <meier@office.lan>\nX-Origin: mx\n")[0]
    assert head is not None
    root.queue.put(head, b"Return-Path: <>\n\n", f"{int(time.time()) - 3700}.M1P1Q1.h")
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


@pytest.mark.parametrize("facts", [{"kind": "local"}, {"kind": "returned", "account": "meier"}])
def test_our_own_notices_are_not_filtered(office, facts) -> None:
    root = office("exit 1")
    root.put("meier@office.lan", sender=None, **facts)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


def test_large_mail_is_not_shown(office) -> None:
    root = office("exit 1", "max_size = 30")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


@pytest.mark.parametrize(("lines", "spam"), [
    ("x-spam-flag:   yes, really", True), ("X-Spam-Flag: NO", False), ("X-Spam: Yes", False), ("Subject: a", False),
    ("X-A: b\nX-Spam-Flag: NO\nX-SPAM-FLAG:\n YES", True),
])
def test_a_line_counts_only_when_the_settings_believe_it(tmp_path, lines, spam) -> None:
    root = Root(tmp_path, settings='[filter]\njunk_headers = ["X-Spam-Flag: YES"]\n')
    root.put("meier@office.lan", message=f"Return-Path: <a@far.example>\n{lines}\n\nX-Spam-Flag: YES\n".encode())
    assert root.run() == 0
    assert (len(junk(root)), len(root.inbox("meier"))) == ((1, 0) if spam else (0, 1))


def test_without_filters_such_a_line_is_only_a_line(tmp_path) -> None:
    root = Root(tmp_path)
    root.put("meier@office.lan", message=b"Return-Path: <a@far.example>\nX-Spam-Flag: YES\n\n")
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


@pytest.mark.parametrize(("wrong", "complaint"), [
    ('use = "bin/x"', "is no filter"), ('use = "/bin/x"\nrspamd = "nowhere"', "no place to ask"),
    ('junk_headers = ["YES"]', "no header field"), ('rejected = "junk"', "rejected"),
])
def test_settings_that_cannot_work_are_refused(tmp_path, wrong, complaint) -> None:
    root = Root(tmp_path, settings=f"[filter]\n{wrong}\n")
    result = CliRunner().invoke(admin.cli, ["config", "check", "--root", str(root.paths.root)])
    assert result.exit_code == os.EX_CONFIG
    assert complaint in result.output


def test_a_message_is_tried_by_hand(office, tmp_path) -> None:
    root = office("echo X-Checked: yes; cat >&2; exit 2")
    (tmp_path / "mail.eml").write_bytes(b"Subject: hi\r\n\r\nbody\r\n")

    def call(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(admin.cli, ["filter", "test", *words, "--root", str(root.paths.root)])
        assert result.exit_code == code, result.output
        return result.output

    said = call(str(tmp_path / "mail.eml"))
    assert "filter.sh" in said
    assert "tag" in said
    assert "X-Checked: yes" in said
    assert "does not work" in call(str(tmp_path / "mail.eml"), "--filter", "clamd", code=os.EX_UNAVAILABLE)
    (found,) = json.loads(call(str(tmp_path / "mail.eml"), "--json"))
    assert (found["verdict"], found["header"]) == ("tag", ["X-Checked: yes"])
    assert spool.queue(root.paths).names() == []


def test_without_a_filter_there_is_nothing_to_try(tmp_path) -> None:
    root = Root(tmp_path / "root")
    (tmp_path / "mail.eml").write_bytes(b"\n")
    result = CliRunner().invoke(
        admin.cli, ["filter", "test", str(tmp_path / "mail.eml"), "--root", str(root.paths.root)])
    assert result.exit_code == os.EX_CONFIG
    assert "filter.use" in result.output
