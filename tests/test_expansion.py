"""The way of a mail by rules: forwards, circles, what rules wish, and that no mail is lost on the way."""

import dataclasses
import os

import pytest

from lanmail import address, envelope, spool
from lanmail.delivery import expansion, route
from lanmail.errors import Permanent, Temporary
from lanmail.rules.mail import Made, Target
from tests.mailroot import Root, dying, files

FORWARD = '[forward]\nto = [{}]\nkeep = {}\n'


@pytest.fixture
def root(tmp_path, monkeypatch):
    made = Root(tmp_path)
    monkeypatch.setattr(expansion, "RULES", (by_settings,))
    return made


def by_settings(_mail, visit):
    """A forward without any guard of its own: what is tested here is the walk."""
    if visit.account.forward.to:
        visit.targets += [Target(one) for one in visit.account.forward.to]
        visit.keep = visit.account.forward.keep


def forward(root: Root, name: str, *to: str, keep: bool = False) -> None:
    text = FORWARD.format(", ".join(f'"{one}"' for one in to), str(keep).lower())
    (root.paths.accounts / f"{name}.toml").write_text(text)


def everywhere(root: Root) -> dict[str, int]:
    """How many mails everybody has, but for the notes to the postmaster."""
    found = {one.name: root.inbox(one.name) for one in root.paths.maildirs.iterdir()}
    mails = {name: [mail for mail in inbox if b"Subject: Forward of" not in mail] for name, inbox in found.items()}
    return {name: len(inbox) for name, inbox in mails.items() if inbox}


@pytest.mark.parametrize(("keep", "found"), [(False, {"schmidt": 1}), (True, {"meier": 1, "schmidt": 1})])
def test_to_another_account(root, keep, found):
    forward(root, "meier", "schmidt", keep=keep)
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == found
    assert root.waiting() == []


def test_outside_it_is_the_accounts_mail(root):
    forward(root, "meier", "x@far.example")
    root.put("meier@office.lan", sender="who@else.example")
    assert root.run() == 0
    text, = files(root.paths.outbound / "new")
    assert text == (
        b"X-Sender: <meier@office.lan>\nX-Receiver: <x@far.example>\nX-Origin: forward account=meier keep=no\n"
        b"Return-Path: <who@else.example>\nDelivered-To: meier@office.lan\nX-Forwarded-For: meier@office.lan\n"
        b"Subject: hi\n\nbody\n")
    assert everywhere(root) == {}


def test_the_null_sender_stays_null(root):
    forward(root, "meier", "x@far.example", keep=True)
    root.put("meier@office.lan", sender=None)
    assert root.run() == 0
    text, = files(root.paths.outbound / "new")
    assert text.startswith(b"X-Sender: <>\nX-Receiver: <x@far.example>\nX-Origin: forward account=meier keep=yes\n")
    assert everywhere(root) == {"meier": 1}


@pytest.mark.parametrize("ring", [["meier"], ["meier", "schmidt"], ["meier", "schmidt", "chef"]])
def test_a_circle_keeps_one_copy(root, ring):
    for name, after in zip(ring, [*ring[1:], ring[0]], strict=True):
        forward(root, name, after)
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {ring[-1]: 1}
    assert root.waiting() == []


def test_two_ways_into_a_circle_lose_nothing(root):
    """schmidt and chef send to each other, meier to both."""
    forward(root, "meier", "schmidt", "chef")
    forward(root, "schmidt", "chef")
    forward(root, "chef", "schmidt")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert sum(everywhere(root).values()) == 1


def test_nobody_gets_it_twice(root):
    forward(root, "meier", "schmidt", "schmidt@office.lan", "x@far.example", keep=True)
    root.put("meier@office.lan", "schmidt@office.lan", "x@far.example", kind="submission", account="chef",
             sender="chef@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "schmidt": 1}
    text, = files(root.paths.outbound / "new")
    assert text.startswith(b"X-Sender: <chef@office.lan>\n"), "named directly it goes as it came"


def test_a_target_that_is_not_there_leaves_the_copy(root):
    forward(root, "meier", "nobody")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}


def test_denied_internet(root):
    forward(root, "meier", "x@far.example")
    path = root.paths.accounts / "meier.toml"
    path.write_text("deny_internet = true\n" + path.read_text())
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}
    assert files(root.paths.outbound / "new") == []


def test_returned_mail_knows_no_rules(root):
    forward(root, "meier", "x@far.example")
    root.put("meier@office.lan", kind=route.RETURNED, account="meier")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}


def ruled(root: Root, monkeypatch, rule) -> None:
    monkeypatch.setattr(expansion, "RULES", (rule,))
    forward(root, "meier", "schmidt")


def test_a_rule_that_cannot_say_defers_its_recipient_only(root, monkeypatch):
    for error in (Temporary("not now"), OSError(5, "broken"), RuntimeError("a bug")):
        def rule(_mail, visit, error=error):
            if visit.name == "meier":
                raise error
        ruled(root, monkeypatch, rule)
        root.put("meier@office.lan", "schmidt@office.lan")
        assert root.run() == os.EX_TEMPFAIL
    assert everywhere(root) == {"schmidt": 3}
    ruled(root, monkeypatch, lambda _mail, _visit: None)
    for state in (root.paths.state / "queue").iterdir():
        assert '"delivered"' in state.read_text()


def test_a_refusal_comes_back_to_our_own(root, monkeypatch):
    def refuse(_mail, _visit):
        raise Permanent("not wanted here", 550, "5.7.1")
    ruled(root, monkeypatch, refuse)
    root.put("meier@office.lan", kind="submission", account="schmidt", sender="schmidt@office.lan")
    assert root.run() == 0
    assert b"550 5.7.1 not wanted here" in root.inbox("schmidt")[0]


def test_wishes(root, monkeypatch):
    """Header lines, another folder, a new mail, and the end of it."""
    def wish(mail, visit):
        visit.mark(b"X-One: 1\n")
        visit.changes = dataclasses.replace(visit.changes, subject=b"other")
        visit.folder = ".Junk"
        head = envelope.Envelope(None, [envelope.Recipient(address.parse("schmidt@office.lan"))])
        visit.made.append(Made("answer meier", "queue", head, b"Return-Path: <>\nSubject: new\n\n" + mail.data()[-5:]))
    ruled(root, monkeypatch, wish)
    root.put("meier@office.lan")
    assert root.run() == 0
    assert files(root.paths.maildirs / "meier/.Junk/new") == [
        b"Return-Path: <a@far.example>\nX-One: 1\nSubject: other\n\nbody\n"]
    assert root.inbox("schmidt")[0].endswith(b"Return-Path: <>\nSubject: new\n\nbody\n")

    def end(_mail, visit):
        visit.consumed = "done"
    ruled(root, monkeypatch, end)
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1}


def test_a_new_mail_is_made_once_over_several_tries(root, monkeypatch):
    """schmidt cannot be decided at first; meier's answer went out at the first try."""
    broken = [True]

    def wish(_mail, visit):
        if visit.name == "schmidt" and broken:
            raise Temporary("not now")
        head = envelope.Envelope(None, [envelope.Recipient(address.parse("chef@office.lan"))])
        visit.made.append(Made(f"answer {visit.name}", "queue", head, b"Subject: new\n\n"))
    ruled(root, monkeypatch, wish)
    root.put("meier@office.lan", "schmidt@office.lan")
    assert root.run() == os.EX_TEMPFAIL
    assert len(root.inbox("chef")) == 1
    broken.clear()
    forward(root, "schmidt", "chef")
    assert root.run() == 0
    assert len(root.inbox("chef")) == 2
    assert everywhere(root) == {"meier": 1, "schmidt": 1, "chef": 2}


def test_mail_to_oneself_asks_the_rules(root, monkeypatch):
    asked = []
    monkeypatch.setattr(expansion, "RULES", (lambda mail, visit: asked.append((mail.submitter, visit.name)),))
    root.put("meier@office.lan", kind="submission", account="meier", sender="meier@office.lan")
    root.put("schmidt@office.lan", kind="submission", account="meier", sender="meier@office.lan")
    assert root.run() == 0
    assert asked == [("meier", "meier")]


@pytest.mark.parametrize("step", range(40))
def test_killed_at_any_step_everybody_gets_one(root, step, tmp_path, monkeypatch):
    """A forward to two accounts and the outside, with an answer."""
    forward(root, "meier", "schmidt", "x@far.example", keep=True)
    root.put("meier@office.lan")
    child = os.fork()
    if not child:
        try:
            with dying(step, monkeypatch):
                root.run()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "schmidt": 1}
    assert len(files(root.paths.outbound / "new")) == 1
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())
    assert spool.parse_name(os.listdir(root.paths.outbound / "new")[0]).size
