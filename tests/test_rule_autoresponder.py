"""The autoresponder through deliver: who gets an answer, once, and where mail goes meanwhile."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lanmail import config, entry, spool
from lanmail.archiving import store
from lanmail.delivery import attempt
from lanmail.relaying import office as relaying_office
from lanmail.relaying import route
from lanmail.rules import archive, autoresponder
from lanmail.rules.mail import Target
from tests.answering import MAIL, Office, parsed
from tests.mailroot import Root, dying, files, in_a_child


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


@pytest.fixture
def utc(monkeypatch):
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ask(office, text=MAIL, **how):
    """The visit, when the rule was asked."""
    with office.visit(text, **how) as (mail, visit):
        autoresponder.apply(mail, visit)
    return visit


def sent(office):
    """(envelope, message) of what goes out."""
    return [parsed(one) for one in files(office.paths.outbound / "new")]


def test_an_answer_is_wished_once_and_again_for_the_same_mail(office):
    made, = ask(office).made
    assert (made.key, made.spool) == ("autoresponder meier", "queue")
    again, = ask(office).made
    assert again == made
    assert (office.paths.state / "autoresponder/meier").read_text().count("\n") == 1


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(("keys", "answered", "forwarded"), [
    ({"enabled": False, "text": "x"}, False, False),
    ({"enabled": True, "text": ""}, False, True),
    ({"enabled": True, "text": "x"}, True, True),
    ({"enabled": True, "text": "x", "from": "2027-01-15"}, True, True),
    ({"enabled": True, "text": "x", "from": "2027-01-15 08:00", "until": "2027-01-15 08:00"}, True, True),
    ({"enabled": True, "text": "x", "from": "2027-01-15 08:00:01"}, False, False),
    ({"enabled": True, "text": "x", "until": "2027-01-14"}, False, False),
    ({"enabled": True, "text": "x", "until": "2027-01-15"}, True, True),
])
def test_when_it_counts(office, keys, answered, forwarded):
    """NOW is 2027-01-15 08:00:00 UTC."""
    office.responder(forward=["schmidt"], keep=False, **keys)
    visit = ask(office)
    assert bool(visit.made) is answered
    assert visit.targets == ([Target("schmidt", "autoresponder")] if forwarded else [])
    assert visit.keep is not forwarded


def test_mail_that_is_not_answered_is_forwarded_all_the_same(office):
    office.responder(enabled=True, text="x", forward="schmidt; x@far.example")
    visit = ask(office, sender=None)
    assert not visit.made
    assert [one.to for one in visit.targets] == ["schmidt", "x@far.example"]
    assert visit.keep


def test_the_cap_holds_with_eight_threads(office):
    gate = threading.Barrier(8)

    def one(number):
        gate.wait(20)
        return len(ask(office, entry_id=f"{number}.id").made)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 5


def test_an_answer_goes_out_and_the_mail_is_here(office):
    office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    (head, answer), = sent(office)
    assert head.sender is None
    assert answer["To"] == "eva@far.example"
    assert answer["Subject"] == "Re: Angebot"
    (inbox,) = office.inbox("meier")
    assert inbox.endswith(b"\n" + MAIL)
    assert office.waiting() == []


def test_an_answer_for_outside_is_ready_for_relay_at_once_with_its_copy_for_the_archive(office, monkeypatch):
    office.responder(top="archive = true", enabled=True, text="x")
    tried = []
    real = attempt.Attempt.run
    monkeypatch.setattr(attempt.Attempt, "run", lambda self: (tried.append(self.entry.id), real(self))[1])
    entry_id = office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    assert tried == [entry_id], "the answer did not come into the queue"
    out, kept = spool.outbound(office.paths), store.spool_of(office.paths)
    (name,) = out.names()
    answer = entry.read(out, spool.NEW, name)
    copies = [entry.read(kept, spool.NEW, one) for one in kept.names()]
    facts = {one.head.origin.get("id"): one.head.origin for one in copies}
    assert facts.keys() == {entry_id, answer.id}
    assert (facts[entry_id].get("receivers"), facts[entry_id].get("submitter")) == ("meier", None)
    assert (facts[answer.id].get("submitter"), facts[answer.id].get("how")) == ("meier", "local")
    assert archive.marked(answer.head) == answer.id
    assert len({one.id for one in [answer, *copies]}) == 3


def test_relay_knows_whose_mail_the_answer_is(office):
    """The way out of the account, and its deny_internet as the second check."""
    office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    out = spool.outbound(office.paths)
    name, = out.names()
    one = entry.read(out, spool.NEW, name)
    office.responder(top='deny_internet = true\noutgoing.host = "smtp.own.example"', enabled=True, text="x")
    settings = config.load(office.paths)
    relay = relaying_office.open_office(office.paths, lambda: settings, lambda _text: None)
    way = route.way_of(relay, one)
    assert (way.account, way.settings.host, way.denied) == ("meier", "smtp.own.example", True)
    refusal = route.refusal(way, one, one.head.recipients[0])
    assert refusal is not None
    assert refusal.code == 521


def test_a_colleague_gets_his_answer_here(office):
    office.put("meier@office.lan", sender="schmidt@office.lan", message=MAIL, kind="submission", account="schmidt")
    assert office.run() == 0
    assert sent(office) == []
    answer, = office.inbox("schmidt")
    assert b"Auto-Submitted: auto-replied\n" in answer
    assert len(office.inbox("meier")) == 1


@pytest.mark.parametrize("envelope", ["null", "account"])
def test_two_who_answer_each_other(office, envelope):
    office.responder("schmidt", enabled=True, text="me, too", envelope=envelope)
    office.responder(enabled=True, text="x", envelope=envelope)
    office.put("meier@office.lan", sender="schmidt@office.lan", message=MAIL, kind="submission", account="schmidt")
    assert office.run() == 0
    assert len(office.inbox("schmidt")) == 1
    assert len(office.inbox("meier")) == 1, "his answer is not answered"
    assert office.waiting() == []


def test_a_program_that_answers_answers_and_says_nothing_of_it(office):
    """No field tells that its mails are automatic: after five in an hour it is left alone."""
    for number in range(12):
        office.put("meier@office.lan", sender="robot@far.example", message=MAIL.replace(b"<1@", f"<{number}@".encode()))
    assert office.run() == 0
    assert len(sent(office)) == 5
    assert len(office.inbox("meier")) == 12


def test_lists_and_bounces_are_not_answered(office):
    office.put("meier@office.lan", sender="users-bounces@lists.example", message=b"List-Id: <u>\n" + MAIL)
    office.put("meier@office.lan", sender=None, message=MAIL)
    assert office.run() == 0
    assert sent(office) == []
    log = "".join(path.read_text() for path in office.paths.log.glob("*.log"))
    assert log.count(" unanswered id=") == 2
    assert 'why="it has no sender (a bounce or an answer)"' in log


@pytest.mark.parametrize(("forward", "responder", "found"), [
    ("keep = false", "keep = false", {"schmidt": 1, "chef": 1}),
    ("keep = true", "keep = false", {"schmidt": 1, "chef": 1}),
    ("keep = false", "keep = true", {"schmidt": 1, "chef": 1}),
    ("keep = true", "keep = true", {"schmidt": 1, "chef": 1, "meier": 1}),
])
def test_with_both_forwards_all_get_it_and_a_copy_stays_if_both_leave_one(office, forward, responder, found):
    (office.paths.accounts / "meier.toml").write_text(
        f'[forward]\nto = ["schmidt"]\n{forward}\n'
        f'[autoresponder]\nenabled = true\nforward = ["chef", "schmidt"]\n{responder}\n')
    office.put("meier@office.lan")
    assert office.run() == 0
    assert {name: len(office.inbox(name)) for name in ("meier", "schmidt", "chef") if office.inbox(name)} == found


def test_deny_internet_sends_neither_answers_nor_mail_outside(office):
    office.responder(top="deny_internet = true", enabled=True, text="x", forward="x@far.example;schmidt", keep=False)
    office.put("meier@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    assert sent(office) == []
    assert len(office.inbox("schmidt")) == 1


def test_an_answer_reaches_only_the_envelope_sender(office):
    """Reply-To, From and the rest are the sender's to write: he could have us write to anybody."""
    text = MAIL.replace(b"eva@far.example", b"victim@else.example")
    office.put("meier@office.lan", sender="mallory@evil.example", message=b"Reply-To: v2@else.example\n" + text)
    assert office.run() == 0
    (head, answer), = sent(office)
    assert [str(one.address) for one in head.recipients] == ["mallory@evil.example"]
    assert answer["To"] == "mallory@evil.example"
    assert "Cc" not in answer


def test_somebody_else_at_two_addresses_is_answered_once(office):
    office.put("meier@office.lan", "sales@office.lan", "info@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == 0
    assert len(sent(office)) == 1


def test_a_state_that_cannot_be_written_defers_only_that_mailbox(office):
    in_the_way = office.paths.state / "autoresponder"
    in_the_way.write_text("a file")
    office.put("meier@office.lan", "schmidt@office.lan", sender="eva@far.example", message=MAIL)
    assert office.run() == os.EX_TEMPFAIL
    assert (len(office.inbox("schmidt")), len(office.inbox("meier")), sent(office)) == (1, 0, [])
    in_the_way.unlink()
    assert office.run() == 0
    assert (len(office.inbox("schmidt")), len(office.inbox("meier")), len(sent(office))) == (1, 1, 1)


@pytest.mark.parametrize(("top", "archived"), [("", 0), ("archive = true", 2)])
def test_killed_at_any_step_it_answers_once(tmp_path, monkeypatch, top, archived):
    """deliver dies at each system call that changes something; the next run ends what it began."""
    step, ended = 0, False
    while not ended:
        step += 2
        base = tmp_path / str(step)
        office = Office(base)
        office.responder(top=top, enabled=True, text="x")
        office.put("meier@office.lan", sender="eva@far.example", message=MAIL)

        async def life(office: Root = office, step: int = step) -> None:
            with dying(step, monkeypatch):
                from lanmail import deliver
                await deliver.once(office.context())
            (office.paths.root / "ended").touch()
        in_a_child(life)
        ended = (base / "ended").exists()
        assert office.run() == 0
        copies = files(office.paths.spool / "archive/new")
        assert (len(sent(office)), len(office.inbox("meier")), len(copies)) == (1, 1, archived), step
        assert office.waiting() == []
        assert step < 400


def test_the_rule_is_asked_between_e_invoices_and_the_permanent_forward():
    from lanmail.delivery import expansion
    names = [rule.__module__.rsplit(".", 1)[1] for rule in expansion.RULES]
    order = ["command", "filter", "junk", "einvoice", "autoresponder", "forward", "sms"]
    assert [name for name in order if name in names] == names
