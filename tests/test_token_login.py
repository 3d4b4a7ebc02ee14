"""Log-ins by token at the mail servers: who offers them, how they are said, what a refused one hears."""

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lanmail import policy
from lanmail.logins.grants import OFFLINE, SCOPES, Register
from tests import imapserver, smtp_host
from tests.test_pop3d import Host as Pop3Host

MECHANISMS = ["XOAUTH2", "OAUTHBEARER"]
SERVICES = ["smtp", "pop3", "imap"]
# what a client says to the error challenge: RFC 7628 (curl, mutt), and msmtp and mpop
DUMMIES = ["AQ==", ""]


@dataclass
class Door:
    """One of the three servers; `owner` has an account, and so has `other`."""

    service: str
    port: int
    state: Path
    owner: str
    other: str

    def token(self, *services: str) -> str:
        register = Register(self.state)
        scopes = [SCOPES[one] for one in services or (self.service,)]
        client, _ = register.add_client(self.owner, "x", list(SCOPES.values()))
        code = register.code(client, self.owner, [*scopes, OFFLINE], "http://localhost/")
        return register.exchange(code, client.id, time.time()).access

    async def knock(self) -> "Talk":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        talk = Talk(self.service, reader, writer)
        await talk.line()
        return talk


@dataclass
class Talk:
    """A connection to one, in whose words the same things are said."""

    service: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), 20)).decode().rstrip("\r\n")

    async def say(self, text: str) -> str:
        self.writer.write(text.encode() + b"\r\n")
        return await self.line()

    async def offers(self) -> set[str]:
        """The mechanisms."""
        line = await self.say({"smtp": "EHLO x", "pop3": "CAPA", "imap": "c CAPABILITY"}[self.service])
        lines = [line]
        while not re.match(r"250 |\.$|c OK", lines[-1]):
            lines.append(await self.line())
        pattern = {"smtp": r"250.AUTH (.*)", "pop3": r"SASL (.*)", "imap": r"\* CAPABILITY (.*)"}[self.service]
        found = next((match[1] for one in lines if (match := re.match(pattern, one))), "")
        return {word.removeprefix("AUTH=") for word in found.split()}

    async def log_in(self, mechanism: str, payload: str, dummy: str, *, initial: bool = False) -> str:
        """The last answer; an error challenge is answered by `dummy`, and must be one."""
        verb = {"smtp": "AUTH", "pop3": "AUTH", "imap": "a AUTHENTICATE"}[self.service]
        answer = await self.say(f"{verb} {mechanism} {payload}" if initial else f"{verb} {mechanism}")
        if not initial and answer.startswith(("334", "+ ")):
            assert answer.rstrip() in ("334", "+"), "the first challenge is empty"
            answer = await self.say(payload)
        if answer.startswith(("334", "+ ")):
            assert b'"status"' in base64.b64decode(answer.partition(" ")[2])
            answer = await self.say(dummy)
        return answer


GOOD = {"smtp": "235", "pop3": "+OK", "imap": "a OK"}
BAD = {"smtp": "535 5.7.8", "pop3": "-ERR [AUTH]", "imap": "a NO [AUTHENTICATIONFAILED]"}
UNKNOWN = {"smtp": "504", "pop3": "-ERR Unknown auth", "imap": "a NO"}


def said(mechanism: str, user: str, token: str) -> str:
    text = (f"user={user}\x01auth=Bearer {token}\x01\x01" if mechanism == "XOAUTH2"
            else f"n,{f'a={user}' if user else ''},\x01host=x\x01port=1\x01auth=Bearer {token}\x01\x01")
    return base64.b64encode(text.encode()).decode()


@contextlib.asynccontextmanager
async def opened(root: Path, service: str, *, enabled: bool) -> AsyncIterator[Door]:
    more = f"[httpd]\nenabled = {str(enabled).lower()}"
    if service == "smtp":
        host = await smtp_host.start(root, more=more)
        yield Door(service, host.ports[policy.SUBMISSION], host.where.state, "alice", "bob")
        await host.close()
    elif service == "pop3":
        pop3 = Pop3Host(root / "root", more)
        await pop3.start()
        yield Door(service, pop3.port, pop3.paths.state, "meier", "weber")
        await pop3.stop()
    else:
        async with imapserver.running(root) as imap:
            imap.worker.checker.offers_tokens = enabled
            yield Door(service, imap.port, imap.paths.state, "meier", "schmidt")


Open = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.mark.parametrize("service", SERVICES)
async def test_none_is_offered_while_httpd_is_off(tmp_path: Path, service: str) -> None:
    async with opened(tmp_path, service, enabled=False) as door:
        talk = await door.knock()
        assert not await talk.offers() & set(MECHANISMS)
        for mechanism in MECHANISMS:
            answer = await talk.log_in(mechanism, said(mechanism, door.owner, door.token()), "AQ==", initial=True)
            assert answer.startswith((UNKNOWN[service], BAD[service]))
        talk.writer.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_way_to_say_it(tmp_path: Path, service: str) -> None:
    async with opened(tmp_path, service, enabled=True) as door:
        token = door.token()
        for mechanism in MECHANISMS:
            for initial in (True, False):
                for user in (door.owner, f"{door.owner.upper()}@office.lan"):
                    talk = await door.knock()
                    assert await talk.offers() >= set(MECHANISMS)
                    answer = await talk.log_in(mechanism, said(mechanism, user, token), "-", initial=initial)
                    assert answer.startswith(GOOD[service]), (mechanism, initial, user)
                    talk.writer.close()
                    await asyncio.wait_for(talk.reader.read(), 20)
        nameless = await door.knock()
        await nameless.offers()
        assert (await nameless.log_in("OAUTHBEARER", said("OAUTHBEARER", "", token), "-")).startswith(GOOD[service])
        nameless.writer.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_who_is_refused(tmp_path: Path, service: str) -> None:
    """One after the other on a connection, with both kinds of clients; the right one gets in afterwards."""
    async with opened(tmp_path, service, enabled=True) as door:
        token, beside = door.token(), door.token(*(one for one in SERVICES if one != service))
        for mechanism, dummy in zip(MECHANISMS, DUMMIES, strict=True):
            talk = await door.knock()
            await talk.offers()
            for user, shown in ((door.other, token), (door.owner, beside)):
                answer = await talk.log_in(mechanism, said(mechanism, user, shown), dummy)
                assert answer.startswith(BAD[service]), (mechanism, user)
            assert (await talk.log_in(mechanism, said(mechanism, door.owner, token), "-")).startswith(GOOD[service])
            talk.writer.close()
