"""From the queue into the archive and out of it again: what an archived account receives and sends is found, once."""

import json

import pytest
from click.testing import CliRunner

from lanmail import admin
from lanmail.archiving import following
from tests.archivedroot import Archive


@pytest.fixture
def root(tmp_path):
    made = Archive(tmp_path)
    made.put("meier@office.lan", "blind@far.example",
             message=b"Subject: Rechnung\n\nim Anhang die Vertragsverl\xc3\xa4ngerung\n")
    made.put("x@far.example", sender="meier@office.lan", kind="submission", account="meier",
             message=b"From: meier@office.lan\nTo: x@far.example\nSubject: Re: Rechnung\n\ndanke, Herr M\xc3\xbcller\n")
    made.put("schmidt@office.lan", message=b"Subject: Rechnung an schmidt\n\nnicht archiviert\n")
    made.work()
    return made


def call(root, *arguments):
    result = CliRunner().invoke(admin.cli, ["archive", "--root", str(root.paths.root), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def found(root, *arguments):
    return [one["subject"] for one in json.loads(call(root, "search", "--json", *arguments))["found"]]


def test_both_directions_are_found_once_each(root):
    for words in (("rechnungen",), ("--account", "meier"), ()):
        assert sorted(found(root, *words)) == ["Re: Rechnung", "Rechnung"]
    assert found(root, "direction:out") == found(root, "mueller") == ["Re: Rechnung"]
    assert found(root, "direction:in account:Meier") == found(root, "vertragsverlaengerungen") == ["Rechnung"]
    assert found(root, "schmidt") == found(root, "--account", "schmidt") == []


def test_who_received_it_does_not_see_who_else_did(root):
    assert found(root, "to:blind") == ["Rechnung"]
    assert found(root, "--account", "meier", "to:blind") == []


def test_it_comes_back_as_it_came(root):
    mail_id = json.loads(call(root, "search", "--json", "direction:in"))["found"][0]["id"]
    delivered, = root.inbox("meier")
    call(root, "restore", mail_id, "--to", "meier", "--folder", "Alt")
    assert "lies there already" in call(root, "restore", mail_id, "--to", "meier")
    restored, = (root.paths.maildirs / "meier/.Alt/cur").iterdir()
    assert restored.read_bytes() == delivered


def test_archived_keeps_the_index_up_to_date(root):
    following.fill(root.paths)
    root.put("meier@office.lan", message=b"Subject: spaeter\n\nx\n")
    root.work()
    follower = following.Follower(root.paths)
    while follower.follow():
        pass
    assert not following.is_behind(root.paths)
    assert found(root, "spaeter") == ["spaeter"]
