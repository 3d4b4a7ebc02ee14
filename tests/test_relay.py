"""relay as a program: what goes out, what waits, what comes back."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from lanmail import daemon, relay, spool
from lanmail.administration import backlog
from tests import ports
from tests.relayroot import Root, Running, smarthost, until
from tests.smtppeer import Peer, Session

ALL = ("PIPELINING", "8BITMIME", "SIZE 1000000", "ENHANCEDSTATUSCODES")


async def test_a_mail_goes_out_as_it_is(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        text = "From: meier@office.lan\nSubject: Gr\u00fc\u00dfe\n\n.dot\n..two\nbody \u00e4\n".encode()
        entry_id = root.put("x@far.example", "y@near.example", message=text)
        assert await root.once() == os.EX_OK
        (mail,) = peer.taken
        assert mail.text == text.replace(b"\n", b"\r\n")
        assert (mail.sender, mail.recipients) == ("meier@office.lan", ["x@far.example", "y@near.example"])
        assert "BODY=8BITMIME" in mail.params
        assert not root.waiting()
        assert root.state(entry_id) is None
        assert len([line for line in root.events("sent") if entry_id in line]) == 2


async def test_temporary_is_tried_by_schedule(tmp_path: Path) -> None:
    answers = iter(["451 4.2.0 later", "450 4.2.0 later still"])
    async with Peer(*ALL, script={"RCPT": lambda _s, _l: next(answers, None)}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        for tries, pause in ((1, 60), (2, 300)):
            assert await root.once() == os.EX_TEMPFAIL
            state = root.state(entry_id)
            assert state is not None
            assert state["tries"] == tries
            assert pause * 0.85 < state["next"] - state["recipients"]["x@far.example"]["at"] < pause * 1.15
            assert await root.once() == os.EX_TEMPFAIL  # it is not its time
            root.due(entry_id)
        assert state["error"] == "450 4.2.0 later still"
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 1
        assert root.state(entry_id) is None
        assert not root.queued()


async def test_permanent_bounces_once_with_a_copy_for_the_postmaster(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no such user"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_OK
        ((head, text),) = root.queued()
        assert head.sender is None
        assert [str(one.address) for one in head.recipients] == ["meier@office.lan", "postmaster@office.lan"]
        assert b"550 5.1.1 no such user" in text
        assert b"Final-Recipient: rfc822; x@far.example" in text
        assert b"Remote-MTA: dns; [127.0.0.1]" in text
        assert not root.waiting()
        assert root.state(entry_id) is None


async def test_mixed_answers(tmp_path: Path) -> None:
    """Only the refused one bounces, only the deferred one is tried again, nobody gets it twice."""
    def rcpt(_session: Session, line: str) -> str | None:
        return "550 5.1.1 no" if "bad@" in line else "451 4.1.1 wait" if "late@" in line and first else None

    first = True
    async with Peer(*ALL, script={"RCPT": rcpt}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("good@far.example", "bad@far.example", "late@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        ((_, text),) = root.queued()
        assert b"bad@far.example" in text
        assert b"late@far.example" not in text
        first = False
        root.due(entry_id)
        assert await root.once() == os.EX_OK
        assert [one.recipients for one in peer.taken] == [["good@far.example"], ["late@far.example"]]
        assert len(root.queued()) == 1


async def test_lost_answer_after_the_dot_is_sent_again_and_logged(tmp_path: Path) -> None:
    ends = iter(["close"])
    async with Peer(*ALL, script={".": lambda _s, _l: next(ends, None)}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert "it may arrive twice" in root.events("tried")[0]
        assert root.state(entry_id)["tries"] == 1
        root.due(entry_id)
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 2


async def test_unknown_trouble_never_bounces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lanmail.transports import smtp

    async def send(_self: object, _job: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(smtp.Transport, "send", send)
    root = Root(tmp_path, smarthost(9))
    entry_id = root.put("x@far.example")
    assert await root.once() == os.EX_TEMPFAIL
    assert root.state(entry_id)["recipients"]["x@far.example"]["status"] == "deferred"
    assert "ZeroDivisionError" in root.events("internal-error")[0]
    assert not root.queued()


async def test_dead_host_burns_no_tries_and_blocks_nobody(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(1))  # nobody listens on port 1
        root.account("schmidt", f"[outgoing]\n{smarthost(peer.port)}")
        dead = [root.put(f"{n}@far.example") for n in range(5)]
        root.put("x@far.example", sender="schmidt@office.lan", account="schmidt")
        assert await root.once() == os.EX_TEMPFAIL
        assert len(peer.taken) == 1
        assert sorted(root.waiting()) == sorted(dead)
        assert len(root.events("unreachable")) == 1
        assert all((root.state(one) or {}).get("tries", 0) == 0 for one in dead)
        assert not root.queued()


async def test_recovers_when_the_host_is_back(tmp_path: Path) -> None:
    port = ports.free()
    root = Root(tmp_path, smarthost(port), settings='[relay]\nretry = ["100ms"]')
    for number in range(20):
        root.put(f"{number}@far.example")
    async with Running(root) as running:
        await until(lambda: root.events("unreachable"))
        async with Peer(*ALL, port=port) as peer:
            await until(lambda: len(peer.taken) == 20)
            await until(lambda: running.desk.idle)
    assert not root.waiting()
    assert len(root.events("reachable")) == 1


@pytest.mark.parametrize(("recipients", "limit", "mails"), [(250, 2, 125), (5, 2, 3), (3, 1, 3), (3, 0, 1)])
async def test_splits_by_the_limit(tmp_path: Path, recipients: int, limit: int, mails: int) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port, f"max_recipients = {limit}"))
        everybody = [f"{n}@far.example" for n in range(recipients)]
        root.put(*everybody)
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == mails
        assert sorted(to for one in peer.taken for to in one.recipients) == sorted(everybody)
        assert not os.listdir(root.paths.state / "outbound")


async def test_one_bounce_for_a_mail_that_was_split(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no such user"}) as peer:
        root = Root(tmp_path, smarthost(peer.port, "max_recipients = 1"))
        root.put("a@far.example", "b@far.example", "c@near.example")
        assert await root.once() == os.EX_OK
        ((_, text),) = root.queued()
        assert text.count(b"Final-Recipient:") == 3


async def test_splits_by_domain_when_gmail_wants_it(tmp_path: Path) -> None:
    def rcpt(session: Session, line: str) -> str | None:
        domain = re.search(r"@([^>]*)", line)[1]
        if all(one.endswith(f"@{domain}") for one in session.recipients):
            return None
        return ("451-4.3.0 Multiple destination domains per transaction is unsupported.  Please\r\n"
                "451 4.3.0 try again. x1-2002 - gsmtp")

    async with Peer(*ALL, script={"RCPT": rcpt}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("a@far.example", "b@near.example", "c@far.example", "d@near.example")
        assert await root.once() == os.EX_OK
        assert sorted(to for one in peer.taken for to in one.recipients) == [
            "a@far.example", "b@near.example", "c@far.example", "d@near.example"]
        assert not root.queued()
        before = len(peer.taken)
        root.put("a@far.example", "b@near.example")
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == before + 2


async def test_rate_is_even(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port, "rate = 36000"))  # one in 100 ms
        for number in range(4):
            root.put(f"{number}@far.example")
        async with Running(root) as running:
            started = asyncio.get_running_loop().time()
            await until(lambda: len(peer.taken) == 4)
            assert asyncio.get_running_loop().time() - started >= 0.29
            await until(lambda: running.desk.idle)


async def test_undo_window(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port, 'hold = "1h"'))
        entry_id = root.put("x@far.example")
        root.put("old@far.example", age=4000)
        async with Running(root) as running:
            await until(lambda: len(peer.taken) == 1)
            assert peer.taken[0].recipients == ["old@far.example"]
            assert root.waiting() == [entry_id]
            backlog.remove(root.paths, backlog.find(root.paths, entry_id))
            await until(lambda: running.desk.idle)
        assert not root.waiting()
        assert len(peer.taken) == 1


async def test_denied_accounts_send_nothing(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.account("meier", "deny_internet = true")
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
        assert not peer.taken
        ((_, text),) = root.queued()
        assert b"521 5.7.1 User <x@far.example> not local; no forwarding address" in text


async def test_late_notice_then_give_up(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "451 4.2.0 later"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        late = root.put("x@far.example", age=5 * 3600)
        assert await root.once() == os.EX_TEMPFAIL
        ((head, text),) = root.queued()
        assert [str(one.address) for one in head.recipients] == ["meier@office.lan"]
        assert b"Action: delayed" in text
        assert b"Will-Retry-Until:" in text
        root.due(late)
        await root.once()
        assert len(root.queued()) == 1  # told once
        old = root.put("y@far.example", age=4 * 86400)
        await root.once()
        assert old not in root.waiting()
        assert b"not delivered within 96 hours: 451 4.2.0 later" in root.queued()[-1][1]


async def test_late_notice_also_while_the_host_is_dead(tmp_path: Path) -> None:
    root = Root(tmp_path, smarthost(1))
    root.put("x@far.example", age=5 * 3600)
    root.put("y@far.example", age=4 * 86400)
    assert await root.once() == os.EX_TEMPFAIL
    async with Running(root) as running:
        running.desk.sweep()
        await until(lambda: len(root.queued()) == 2)
    assert sorted(re.search(rb"Action: (\w+)", text)[1] for _, text in root.queued()) == [b"delayed", b"failed"]


async def test_bounce_that_cannot_be_delivered_goes_to_the_postmaster(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", sender=None, origin="local", source="dsn")
        assert await root.once() == os.EX_OK
        ((head, _),) = root.queued()
        assert [str(one.address) for one in head.recipients] == ["postmaster@office.lan"]
        assert head.origin is not None
        assert head.origin.get("source") == "double"


async def test_third_bounce_is_only_logged(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", sender=None, origin="local", source="double")
        assert await root.once() == os.EX_OK
        assert not root.queued()
        assert len(root.events("untold")) == 1


async def test_nobody_to_tell_is_held(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no"}) as peer:
        root = Root(tmp_path, smarthost(peer.port), postmaster=False)
        entry_id = root.put("x@far.example", sender="stranger@far.example", origin="mx", client="192.0.2.1")
        assert await root.once() == os.EX_OK
        assert "550 5.1.1 no" in root.held()[entry_id]


async def test_success_reports(tmp_path: Path) -> None:
    """The next server reports by itself, or we say that we handed it on."""
    for features, told in ((ALL, 1), ((*ALL, "DSN"), 0)):
        async with Peer(*features) as peer:
            root = Root(tmp_path / str(told), smarthost(peer.port))
            root.put("x@far.example", rcpt=(("NOTIFY", "SUCCESS"),))
            assert await root.once() == os.EX_OK
            assert len(root.queued()) == told
            assert any("NOTIFY=SUCCESS" in line for line in peer.lines) is not bool(told)


async def test_retry_by_hand(tmp_path: Path) -> None:
    answers = iter(["451 4.2.0 later"])
    async with Peer(*ALL, script={"RCPT": lambda _s, _l: next(answers, None)}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        async with Running(root) as running:
            await until(lambda: root.state(entry_id) is not None and running.desk.idle)
            backlog.retry(root.paths, backlog.find(root.paths, entry_id))
            await until(lambda: len(peer.taken) == 1)
            await until(lambda: running.desk.idle)
        assert not root.waiting()
        assert root.state(entry_id) is None


async def test_killed_while_sending_is_sent_again_and_logged(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        root.outbound.claim(root.outbound.names()[0])  # as a life before this one left it
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 1
        assert entry_id in root.events("resumed")[0]


async def test_torn_and_foreign_files(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        (name,) = root.outbound.names()
        torn = root.outbound.new / name.replace(entry_id, "1700000000.M1P1Q1.x")
        torn.write_bytes((root.outbound.new / name).read_bytes()[:-3])
        os.mkfifo(root.outbound.new / "fifo")
        (root.outbound.new / "link").symlink_to("/etc/passwd")
        (root.outbound.new / "plain").write_text("Subject: no envelope\n\n")
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 1
        held = root.held()
        assert "torn" in held["1700000000.M1P1Q1.x"]
        assert "no envelope" in held["plain"]
        assert len(root.events("left-alone")) == 2


async def test_second_relay_refuses(tmp_path: Path) -> None:
    root = Root(tmp_path)
    async with Running(root):
        with pytest.raises(daemon.Refused, match="another lanmail-relay"):
            relay.Relay(root.context())


async def test_no_way_out_keeps_the_mail(tmp_path: Path) -> None:
    root = Root(tmp_path)
    entry_id = root.put("x@far.example")
    assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    assert "names no smarthost" in root.events("unreachable")[0]
    item = backlog.find(root.paths, entry_id)
    assert item.reason is not None
    assert "names no smarthost" in item.reason


def test_spool_names_are_kept(tmp_path: Path) -> None:
    root = Root(tmp_path)
    entry_id = root.put("x@far.example", age=100)
    assert spool.parse_name(root.outbound.names()[0]).id == entry_id


async def test_nothing_stays_open_of_what_is_sent(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        for _ in range(40):
            root.put("x@far.example")
        async with Running(root):
            await until(lambda: len(peer.taken) == 40 and not root.waiting())
            await until(lambda: not [one for one in os.listdir("/proc/self/fd") if _removed(one, root.paths.outbound)])


def _removed(descriptor: str, spool: Path) -> bool:
    try:
        place = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return False
    return place.startswith(f"{spool}/") and place.endswith("(deleted)")
