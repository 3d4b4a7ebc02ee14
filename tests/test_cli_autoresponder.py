"""`lanmail autoresponder`, run in this process on an office in a temporary directory."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from lanmail import admin, config, paths
from lanmail.autoanswer import letter, trial
from lanmail.rules import autoresponder
from tests.answering import MAIL, NOW, Office, field


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path)
    (made.paths.accounts / "meier.toml").write_text("# Meier\n")
    return made


def lanmail(office, *arguments, code=0, stdin=None):
    done = CliRunner().invoke(admin.cli, ["autoresponder", *arguments, "--root", str(office.paths.root)], input=stdin,
                              env={"LANMAIL_ROOT": None})
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def own(office, name="meier"):
    return config.load_account(office.paths.accounts / f"{name}.toml").autoresponder


def mail(office, text=MAIL):
    file = office.paths.root / "mail.eml"
    file.write_bytes(text)
    return str(file)


def test_on_change_and_off(office):
    (office.paths.root / "text").write_text("Grüße\n[FROMNAME]\n")
    said = lanmail(office, "on", "meier", "--text-file", str(office.paths.root / "text"), "--from", "2026-12-24",
                   "--until", "2099-01-06 12:00", "--forward", "schmidt; eva@far.example", "--forward", "chef",
                   "--no-keep", "--subject", "Weg", "--once-per", "1d")
    assert "is on from 2026-12-24 until 2099-01-06 12:00" in said
    assert "schmidt, eva@far.example, chef; no copy stays" in said
    made = own(office)
    assert (made.enabled, made.text, made.subject) == (True, "Grüße\n[FROMNAME]\n", "Weg")
    assert (made.from_, made.until, made.once_per) == ("2026-12-24", "2099-01-06 12:00", 86400)
    assert (made.forward, made.keep) == (["schmidt", "eva@far.example", "chef"], False)
    assert "permanently" in lanmail(office, "on", "MEIER", "--subject", "", "--forward", "")
    made = own(office)
    assert (made.from_, made.until, made.subject, made.forward, made.text) == ("", "", "", [], "Grüße\n[FROMNAME]\n")
    assert lanmail(office, "off", "meier") == "autoresponder of meier is off\n"
    assert lanmail(office, "off", "meier") == "autoresponder of meier was off already\n"
    assert own(office).text
    assert (office.paths.accounts / "meier.toml").read_text().startswith("# Meier\n")
    lanmail(office, "on", "meier", "--text-file", "-", stdin="from stdin")
    assert own(office).text == "from stdin"


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["on", "meier"], 64, "what shall the answer say?"),
    (["on", "nobody", "--text", "x"], 67, "there is no account 'nobody'"),
    (["on", "../meier", "--text", "x"], 67, "there is no account"),
    (["on", "meier", "--text", "x", "--until", "24.12."], 65, "write it like"),
    (["on", "meier", "--text", "x", "--from", "2026-12-24", "--until", "2026-12-23"], 65, "lies before"),
    (["on", "meier", "--text", "x", "--forward", "nobody"], 67, "no account, alias or group 'nobody'"),
    (["on", "meier", "--text", "x", "--forward", "a b"], 65, "neither a local name nor"),
    (["on", "meier", "--text", "x", "--once-per", "often"], 78, "is not a duration"),
    (["on", "meier", "--text", "x" * 70_000], 78, "at most 65536"),
    (["off", "nobody"], 67, "there is no account"),
    (["show", "nobody"], 67, "there is no account"),
    (["forget", "meier", "x"], 65, "needs an @"),
    (["test", "meier", "-", "--from", "x"], 65, "needs an @"),
    (["test", "meier", "-", "--now", "soon"], 64, "write it like"),
    (["test", "meier", "nofile"], 64, "does not exist"),
])
def test_what_is_wrong_changes_nothing(office, arguments, code, says):
    before = (office.paths.accounts / "meier.toml").read_text()
    assert says in lanmail(office, *arguments, code=code, stdin="")
    assert (office.paths.accounts / "meier.toml").read_text() == before


def test_a_target_outside_needs_the_right(office):
    (office.paths.accounts / "meier.toml").write_text("deny_internet = true\n")
    assert "deny_internet" in lanmail(office, "on", "meier", "--text", "x", "--forward", "x@far.example", code=65)
    lanmail(office, "on", "meier", "--text", "x", "--forward", "schmidt")


def test_warnings(office):
    said = lanmail(office, "on", "meier", "--text", "[NAME] [UNTIL]", "--subject", "[X1] [BIS]",
                   "--until", "2020-01-01")
    assert "2020-01-01 is over" in said
    assert "[NAME], [BIS] will be left as it is" in said
    assert "nothing stands for [UNTIL]" in lanmail(office, "on", "meier", "--text", "[UNTIL]")
    assert "nothing is answered" in lanmail(office, "on", "meier", "--text", "", "--forward", "schmidt")
    assert letter.unknown("[A] [A] [SUBJECT] [a]") == ["[A]"]


def test_show(office):
    assert "switch one on" in lanmail(office, "show")
    lanmail(office, "on", "meier", "--text", "weg\x1b[2J", "--from", "2090-01-01")
    lanmail(office, "on", "chef", "--text", "weg", "--until", "2020-01-01")
    lanmail(office, "on", "schmidt", "--text", "weg", "--subject", "Weg")
    assert [one["state"] for one in json.loads(lanmail(office, "show", "--json"))] == ["over", "not yet", "on"]
    assert "Re: …" in lanmail(office, "show")
    office.put("schmidt@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    said = lanmail(office, "show", "schmidt")
    assert "1 remembered" in said
    assert "eva@far.example" in said
    assert "\x1b" not in lanmail(office, "show", "meier")
    data = json.loads(lanmail(office, "show", "schmidt", "--json"))
    assert (data["answers"], data["last"][0]["to"], data["state"]) == (1, "eva@far.example", "on")
    assert abs(data["last"][0]["at"] - time.time()) < 600


def test_forget(office):
    lanmail(office, "on", "meier", "--text", "weg")
    for sender in ("eva@far.example", "hans@far.example"):
        office.put("meier@office.lan", sender=sender, message=MAIL)
    assert office.run() == 0
    assert lanmail(office, "forget", "meier", "EVA@far.example").startswith("1 ")
    assert lanmail(office, "forget", "meier").startswith("1 ")
    assert lanmail(office, "forget", "meier").startswith("0 ")
    assert lanmail(office, "forget", "schmidt").startswith("0 ")
    assert not (office.paths.state / "autoresponder/schmidt").exists()


def test_a_removed_account_leaves_no_memory(office):
    lanmail(office, "on", "meier", "--text", "weg")
    office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    file = office.paths.state / "autoresponder/meier"
    assert file.exists()
    done = CliRunner().invoke(admin.cli, ["account", "remove", "meier", "--root", str(office.paths.root)])
    assert done.exit_code == 0, done.output
    assert not file.exists()


def test_a_trial_shows_the_answer_and_changes_nothing(office):
    lanmail(office, "on", "meier", "--text", "Grüße [FROMNAME]", "--forward", "schmidt")
    before = sorted(os.walk(office.paths.root))
    said = lanmail(office, "test", "meier", mail(office))
    for line in ("from <eva@far.example> to <meier@office.lan>, came by mx", "forwarded to schmidt; a copy stays",
                 "answered, MAIL FROM <>, RCPT TO <eva@far.example>", "Subject: Re: Angebot", "Grüße Eva Müller"):
        assert line in said
    data = json.loads(lanmail(office, "test", "meier", mail(office), "--json"))
    assert data["answered"]
    assert data["answer"]["message"].startswith("Return-Path: <>\n")
    assert {one["name"] for one in data["guards"] if one["why"]} == set()
    (office.paths.root / "mail.eml").unlink()
    assert sorted(os.walk(office.paths.root)) == before


@pytest.mark.parametrize(("options", "says"), [
    (["--from", "<>"], "it has no sender"),
    (["--from", "noreply@far.example"], "noreply is no person"),
    (["--spam"], "it counts as spam"),
    (["--now", "2020-01-01"], "it is not on at that time (from 2026-01-01 until ever)"),
    (["--origin", "fetch", "--now", "2027-02-01"], "older than 2d (max_age)"),
    (["--to", "schmidt@office.lan"], ""),
    (["--from", "meier@office.lan"], "an address of meier itself"),
])
def test_why_there_is_no_answer(office, options, says):
    lanmail(office, "on", "meier", "--text", "x", "--from", "2026-01-01")
    said = lanmail(office, "test", "meier", mail(office), *options, code=1 if says else 0)
    assert says in said
    if says:
        assert said.rstrip().splitlines()[-1].startswith("no answer: ")
        assert "  yes  " in said
    data = json.loads(lanmail(office, "test", "meier", "-", "--json", *options, code=1 if says else 0, stdin=MAIL))
    assert says in (data["why"] or "")
    assert data["answered"] is not bool(says)


def test_off_and_often(office):
    assert "it is off" in lanmail(office, "test", "meier", mail(office), code=1)
    lanmail(office, "on", "meier", "--text", "x")
    for _ in range(5):
        office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    assert "answered 5 times within an hour" in lanmail(office, "test", "meier", mail(office), code=1)
    lanmail(office, "test", "meier", mail(office), "--from", "hans@far.example")


def test_a_file_of_a_maildir_has_its_envelope_and_an_mbox_line_does_no_harm(office):
    lanmail(office, "on", "meier", "--text", "x")
    envelope = b"X-Sender: <other@far.example>\nX-Receiver: <info@office.lan>\nX-Origin: fetch source=meier/x\n"
    said = lanmail(office, "test", "meier", mail(office, envelope + MAIL), "--now", "2027-01-14 12:00")
    assert "from <other@far.example> to <info@office.lan>, came by fetch" in said
    assert "RCPT TO <eva@far.example>" in lanmail(office, "test", "meier", mail(office, b"From x y\n" + MAIL))
    crlf = MAIL.partition(b"\n")[2].replace(b"\n", b"\r\n")
    assert "RCPT TO <eva@far.example>" in lanmail(office, "test", "meier", mail(office, crlf))


@pytest.mark.parametrize("text", [
    MAIL, field("Precedence", "bulk"), field("To", "x@far.example"), field("Auto-Submitted", "auto-replied"),
    b"", b"\n\n",
])
@pytest.mark.parametrize("how", [
    {}, {"sender": None}, {"kind": "fetch"}, {"kind": "fetch", "sender": None}, {"now": NOW + 10 * 86400},
    {"flags": frozenset({"spam"})}, {"sender": "meier@office.lan"},
])
@pytest.mark.parametrize("keys", [
    {"enabled": True, "text": "x"}, {"enabled": False, "text": "x"},
    {"enabled": True, "text": "", "forward": "schmidt"},
    {"enabled": True, "text": "x", "until": "2027-01-20", "forward": "schmidt", "keep": False},
    {"enabled": True, "text": "x", "only_if_addressed": True},
])
def test_a_trial_says_what_the_rule_does(office, text, how, keys):
    office.responder(**keys)
    given = {"sender": "eva@far.example", "kind": "mx", "now": NOW, "flags": frozenset(), **how}
    settings = config.load(office.paths)
    account = config.load_account(office.paths.accounts / "meier.toml")
    case = trial.Case(text, given["sender"] or "<>", None, given["kind"], bool(given["flags"]), given["now"])
    found = trial.run(paths.of_root(office.paths.root), settings, account, case)
    with office.visit(text, **how) as (mail_, visit):
        autoresponder.apply(mail_, visit)
    assert bool(found.answer) is bool(visit.made)
    assert found.targets == [one.to for one in visit.targets]
    assert found.keep is visit.keep
    if found.answer:
        assert found.answer[1].replace(b"trial.auto", b"1.M2P3.h.auto") == visit.made[0].text
