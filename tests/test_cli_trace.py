"""lanmail trace: the life of one mail, from the logs and the directories."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from lanmail import admin, log, spool
from lanmail.monitoring import history
from tests.mailroot import Root

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def call(root, *arguments, code=0):
    result = CliRunner().invoke(admin.cli, ["trace", *arguments, "--root", str(root.paths.root)])
    assert result.exit_code == code, result.output
    return result.output


def traced(root, *arguments):
    return json.loads(call(root, "--json", *arguments))


def accept(root, *to, msgid="<m=1@far.example>", **more):
    """Queue a mail as smtpd does, with its log line."""
    log.setup("smtpd", root.paths.log)
    entry_id = root.put(*to, **more)
    sender = more.get("sender", "a@far.example")
    log.accepted(id=entry_id, sender=sender, recipients=",".join(to), size=100, origin="mx", client="192.0.2.7",
                 msgid=msgid)
    return entry_id


@pytest.mark.parametrize("by", ["id", "msgid", "bare msgid", "file name"])
def test_from_the_first_line_to_the_mailbox(root, by):
    entry_id = accept(root, "info@office.lan", "x@far.example")
    other = accept(root, "schmidt@office.lan", msgid="<m2@far.example>")
    root.run()
    name = os.listdir(root.paths.maildirs / "meier/new")[0]
    wanted = {"id": entry_id, "msgid": "<m=1@far.example>", "bare msgid": "m=1@far.example",
              "file name": f"maildirs/meier/new/{name}:2,S"}[by]
    found = traced(root, wanted)
    assert found["ids"] == [entry_id]
    steps = [(one["program"], one["event"]) for one in found["events"]]
    assert steps == [("smtpd", "accepted"), ("deliver", "delivered"), ("deliver", "delivered"), ("deliver", "outbound")]
    assert found["events"][0]["msgid"] == "<m=1@far.example>"
    assert {place.rpartition("/")[0] for place in found["places"]} == {
        "maildirs/meier/new", "maildirs/schmidt/new", "spool/outbound/new"}
    assert other not in json.dumps(found)


def test_the_table(root):
    entry_id = accept(root, "meier@office.lan")
    root.run()
    lines = call(root, entry_id).splitlines()
    assert lines[0] == entry_id
    assert lines[2].split() == ["TIME", "PROGRAM", "EVENT", "DETAILS"]
    assert lines[3].startswith("20")
    assert "smtpd" in lines[3]
    assert lines[4].split()[0].startswith("+0.")
    assert lines[-1].startswith("now in maildirs/meier/new/")


def test_a_bounce_belongs_to_the_life_of_its_mail(root):
    entry_id = accept(root, "nobody@office.lan", **OURS)
    root.run()
    found = traced(root, entry_id)
    assert len(found["ids"]) == 2
    assert [one["event"] for one in found["events"]] == ["accepted", "bounced", "delivered", "delivered"]
    assert any(place.startswith("maildirs/chef/new/") for place in found["places"])
    assert "(bounce" in call(root, entry_id)


def test_what_a_client_did_with_it_is_seen(root):
    entry_id = accept(root, "meier@office.lan")
    root.run()
    inbox = root.paths.maildirs / "meier"
    (inbox / ".Projekte.2026" / "cur").mkdir(parents=True)
    (inbox / ".Projekte.2026" / "new").mkdir()
    (name,) = os.listdir(inbox / "new")
    os.rename(inbox / "new" / name, inbox / ".Projekte.2026/cur" / f"{name}:2,S")
    assert traced(root, entry_id)["places"] == [f"maildirs/meier/.Projekte.2026/cur/{name}:2,S"]
    os.unlink(inbox / ".Projekte.2026/cur" / f"{name}:2,S")
    assert "now nowhere" in call(root, entry_id)


def test_the_id_of_a_copy_leads_to_the_whole_life(root):
    entry_id = accept(root, "meier@office.lan", "x@far.example")
    root.run()
    assert traced(root, f"{entry_id}-1")["events"] == traced(root, entry_id)["events"]


def test_a_host_whose_name_ends_like_a_copy(root):
    log.setup("smtpd", root.paths.log)
    log.queued_outbound(id="17.M1P1Q1.mail-1", to="a@far.example")
    assert traced(root, "17.M1P1Q1.mail-1")["ids"] == ["17.M1P1Q1.mail-1"]


def test_an_id_that_another_one_starts_with_is_not_mixed_up(root):
    log.setup("smtpd", root.paths.log)
    for entry_id in ("17.M1P1Q1.h", "17.M1P1Q1.host", "17.M1P1Q1.h-2", "x17.M1P1Q1.h"):
        log.queued_outbound(id=entry_id, to="a@far.example")
    assert {one["id"] for one in traced(root, "17.M1P1Q1.h")["events"]} == {"17.M1P1Q1.h", "17.M1P1Q1.h-2"}


def test_nothing_known(root):
    assert "nothing is known" in call(root, "nonsense", code=66)
    assert "nothing is known" in call(root, "<no@such.example>", code=66)
    root.paths.log.mkdir(parents=True)
    (root.paths.log / "2026-01-01.log").write_bytes(b"")
    (root.paths.log / "2026-01-02.log").write_bytes(b"\xff\x00 id=nonsense\nid=nonsense\n")
    assert "nothing is known" in call(root, "nonsense", code=66)


def test_nothing_in_a_log_reaches_the_terminal_as_a_command(root):
    log.setup("smtpd", root.paths.log)
    log.accepted(id="1.a", sender="a", recipients="b", size=1, origin="mx", msgid="<x\x1b[31m\n@h>")
    assert "\x1b" not in call(root, "1.a")
    assert traced(root, "1.a")["events"][0]["msgid"] == "<x\x1b[31m\n@h>"


def test_a_month_of_logs_takes_a_moment(root):
    root.paths.log.mkdir(parents=True)
    line = "2026-11-21T22:15:01.123+01:00 deliver delivered id=17.M{0}P1Q1.host to=a@b.example account=a delay=0.1\n"
    block = "".join(line.format(number) for number in range(20_000))
    (root.paths.log / "2026-11-21.log").write_text(block * 5)
    begin = time.process_time()
    found = history.trace(root.paths, "17.M19999P1Q1.host")
    assert time.process_time() - begin < 1.0
    assert len(found.events) == 1, "the same line five times is one step"


def test_the_journal_is_asked_where_there_is_one(root, tmp_path, monkeypatch):
    line = "2026-11-21T22:15:01.123+01:00 deliver held id=17.M1P1Q1.host why=torn"
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho '{line}'\necho noise\n")
    program.chmod(0o755)
    monkeypatch.setattr(history.shutil, "which", lambda _name: str(program))
    monkeypatch.setattr(history.os.path, "isdir", lambda _path: True)
    found = history.trace(root.paths, "17.M1P1Q1.host")
    assert [(one.event, one.fields["why"]) for one in found.events] == [("held", "torn")]


def test_ids_of_files_are_taken_from_their_names():
    assert spool.parse_name("17.M1P1Q1.host,S=1,W=2:2,S").id == "17.M1P1Q1.host"
