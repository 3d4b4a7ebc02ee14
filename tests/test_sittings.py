"""Open sessions end when their account is disabled, or what their token was granted by has ended, and no others."""

import asyncio
import base64
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lanmail import config, daemon, errors, imapd, policy, pop3d, settings, smtpd
from lanmail.logins import grants, sittings
from lanmail.logins.grants import OFFLINE, SCOPES, Client, Register
from tests import imapserver, smtp_host
from tests.test_pop3d import Host as Pop3Host

ALL = [*SCOPES.values(), OFFLINE]


class Office:
    """Clients of an account's, and what the sessions of one process were told."""

    def __init__(self, state: Path, account: str = "meier") -> None:
        self.state, self.owner = state, account
        self.register = Register(state)
        self.client = self.register.add_client(account, "Thunderbird", list(SCOPES.values()))[0]
        self.people: dict[str, settings.Account | None] = {account: settings.Account(name=account)}
        self.sittings = sittings.Sittings(state, self)
        self.told: list[tuple[str, bool]] = []

    def granted(self, client: Client | None = None) -> grants.Issued:
        client = client or self.client
        code = self.register.code(client, self.owner, ALL, "http://localhost/")
        return self.register.exchange(code, client.id, grants.time.time())

    def account(self, name: str) -> settings.Account | None:
        if name == "unreadable":
            raise errors.Temporary("its file is broken")
        return self.people.get(name)

    def sit(self, name: str, issued: grants.Issued, service: str = "imap") -> None:
        standing = grants.standing(self.state, issued.access, service=service)
        assert standing is not None
        self.sit_down(name, self.owner, standing)

    def sit_down(self, name: str, account: str, standing: grants.Standing | None = None) -> None:
        self.sittings.began(name, account, standing, lambda now: self.told.append((name, now)))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


async def test_a_changed_password_ends_what_began_with_the_old_one(office: Office) -> None:
    office.sit_down("password", "meier")
    office.sit("token", office.granted())
    await office.sittings.look()
    assert office.told == []
    office.people["meier"] = settings.Account(name="meier", password="$argon2id$new")
    office.sit_down("new", "meier")
    await office.sittings.look()
    await office.sittings.look()
    assert office.told == [("password", False), ("password", True)]


async def test_who_sat_down_while_the_file_could_not_be_read_stays(office: Office) -> None:
    office.sit_down("a", "unreadable")
    await office.sittings.look()
    assert office.told == []


async def test_who_came_by_an_ended_consent_is_told_and_then_cut_off(office: Office) -> None:
    gone, there = office.granted(), office.granted()
    office.sit("a", gone)
    office.sit("b", gone, "pop3")
    office.sit("c", there)
    office.sit_down("d", "meier")
    await office.sittings.look()
    assert office.told == []
    office.register.end(gone.consent)
    await office.sittings.look()
    assert sorted(office.told) == [("a", False), ("b", False)]
    office.sittings.ended("a")
    await office.sittings.look()
    assert office.told[2:] == [("b", True)]


@pytest.mark.parametrize("end", [
    lambda office, issued: office.register.end(issued.consent),
    lambda office, _: office.register.remove_client(office.client.id),
    lambda office, _: office.register.save_client(replace(office.client, disabled=True)),
    lambda office, _: office.register.save_client(replace(office.client, scopes=(SCOPES["smtp"],))),
])
async def test_every_way_to_end_it(office: Office, end: Callable[[Office, grants.Issued], Any]) -> None:
    issued = office.granted()
    office.sit("a", issued)
    end(office, issued)
    await office.sittings.look()
    assert office.told == [("a", False)]


async def test_an_account_that_is_disabled_or_gone(office: Office) -> None:
    office.people["schmidt"] = settings.Account(name="schmidt")
    office.sit("a", office.granted())
    for name, account in (("b", "meier"), ("c", "schmidt"), ("d", "removed"), ("e", "unreadable")):
        office.sit_down(name, account)
    await office.sittings.look()
    assert office.told == [("d", False)]
    office.people["meier"] = settings.Account(name="meier", disabled=True)
    await office.sittings.look()
    assert sorted(office.told[1:]) == [("a", False), ("b", False), ("d", True)]


async def test_the_hour_of_the_token_ends_no_session(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = office.granted()
    office.sit("a", issued)
    now = grants.time.time()
    monkeypatch.setattr(sittings.time, "time", lambda: now + 2 * grants.ACCESS_LIFE)
    assert grants.standing(office.state, issued.access, service="imap", now=now + 2 * grants.ACCESS_LIFE) is None
    await office.sittings.look()
    assert office.told == []
    assert office.register.consents()[0].used == pytest.approx(now + 2 * grants.ACCESS_LIFE, abs=10), "it is in use"


async def test_it_looks_by_itself_and_only_while_somebody_is_there(
        office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sittings, "EVERY", 0.01)
    looked = []
    look = office.sittings.look

    async def noted() -> None:
        looked.append(1)
        await look()

    monkeypatch.setattr(office.sittings, "look", noted)
    watching = asyncio.create_task(office.sittings.watch())
    await asyncio.sleep(0.05)
    assert looked == []
    issued = office.granted()
    office.sit("a", issued)
    office.register.end(issued.consent)
    while len(office.told) < 2:
        await asyncio.sleep(0.01)
    assert office.told[:2] == [("a", False), ("a", True)]
    watching.cancel()


def test_a_minute_is_enough() -> None:
    assert sittings.EVERY * 2 < 60


def xoauth2(user: str, issued: grants.Issued) -> str:
    return base64.b64encode(f"user={user}\x01auth=Bearer {issued.access}\x01\x01".encode()).decode()


async def test_imap(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        worker, office = server.worker, Office(server.paths.state)
        worker.checker.offers_tokens = True
        issued = office.granted()
        clients = [await server.client(login=None) for _ in range(3)]
        for client in clients:
            await client.ok(f"AUTHENTICATE XOAUTH2 {xoauth2('meier', issued)}")
        waiting, idling, stuck = clients
        by_password = await server.client()
        await idling.ok("SELECT INBOX")
        idling.send("i IDLE\r\n")
        assert await idling.line() == b"+ idling"
        stuck.send("a APPEND INBOX {100}\r\n")
        assert (await stuck.line()).startswith(b"+")
        await worker.sittings.look()
        await waiting.ok("NOOP")
        office.register.end(issued.consent)
        await worker.sittings.look()
        for client in (waiting, idling):
            assert await client.line() == b"* BYE Your log-in has ended, log in again."
            assert await client.reader.read() == b""
        await worker.sittings.look()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await stuck.line()
        await by_password.ok("NOOP")
        (server.paths.accounts / "meier.toml").write_text("disabled = true\n")
        await worker.sittings.look()
        assert (await by_password.line()).startswith(b"* BYE")
        while worker.sittings._open:
            await asyncio.sleep(0.01)


async def test_pop3(tmp_path: Path) -> None:
    host = Pop3Host(tmp_path / "root", "[httpd]\nenabled = true")
    await host.start()
    office = Office(host.paths.state)
    issued = office.granted()
    client = await host.client()
    assert await client.say(f"AUTH XOAUTH2 {xoauth2('meier', issued)}") == "+OK Logged in"
    other = await host.logged_in("weber")
    office.register.end(issued.consent)
    await host.service.sittings.look()
    assert await client.ended()
    assert await other.say("NOOP") == "+OK"
    (host.paths.accounts / "weber.toml").unlink()
    await host.service.sittings.look()
    assert await other.ended()
    assert not host.service.sittings._open
    await host.stop()


async def test_smtp(tmp_path: Path) -> None:
    host = await smtp_host.start(tmp_path, more="[httpd]\nenabled = true")
    office = Office(host.where.state, "alice")
    issued = office.granted()
    between, sending = [await host.connect(policy.SUBMISSION) for _ in range(2)]
    for client in (between, sending):
        assert (await client.say(f"AUTH XOAUTH2 {xoauth2('alice', issued)}")).startswith("235")
    for line in ("MAIL FROM:<alice@office.lan>", "RCPT TO:<bob@office.lan>", "DATA"):
        answer = await sending.say(line)
    assert answer.startswith("354")
    office.register.end(issued.consent)
    await host.service.sittings.look()
    assert (await between.reply()).startswith("421 4.7.0")
    await sending.raw(b"Subject: x\r\n\r\nlet through\r\n.\r\n")
    assert (await sending.reply()).startswith("250"), "the mail that was under way"
    await host.service.sittings.look()
    assert (await sending.reply()).startswith("421 4.7.0")
    await host.close()


@pytest.mark.parametrize("program", [smtpd, pop3d, imapd])
async def test_the_watch_ends_with_its_program_without_a_fault(
        tmp_path: Path, program: ModuleType) -> None:
    where = smtp_host.write_conf(tmp_path / "root")
    context = daemon.Context(program.__name__, where, config.load(where), [], stopping=asyncio.Event())
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: faults.append(about))
    serving = asyncio.ensure_future(program.serve(context))
    await asyncio.sleep(0.1)
    context.stopping.set()
    await asyncio.wait_for(serving, 20)
    del serving
    await asyncio.sleep(0)
    gc.collect()
    assert faults == []
