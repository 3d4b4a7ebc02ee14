"""sources/imap.py against servers that break off, refuse, or speak like Exchange and Gmail: scripted dialogues."""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lanmail import incoming
from lanmail.clients import smtplogin
from lanmail.clients.imapwire import Broken
from lanmail.clients.smtplogin import Refused
from lanmail.errors import Temporary
from lanmail.secret import Secret
from lanmail.sources import imap, imapfolder, push
from lanmail.sources.visit import Visit
from tests.imapsource import Office
from tests.mailroot import until

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 IDLE UIDPLUS] hi\r\n"
MAILS = {uid: f"Subject: {uid}\r\nMessage-ID: <{uid}@x>\r\n\r\nGuten Tag\r\n".encode() for uid in (1, 2, 3)}
Answer = bytes | Callable[[re.Match[bytes]], bytes]


class Server:
    """Answers by patterns: what `answers` has comes before the usual. `%t` is the tag; an answer `b""` hangs up."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: list[tuple[bytes, Answer]] = [
            (rb"AUTHENTICATE", b"%t OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS] in\r\n"),
            (rb"NOOP|LOGOUT", b"%t OK done\r\n"),
            (rb"EXAMINE|SELECT", b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n%t OK done\r\n"),
            (rb"UID SEARCH", b"* SEARCH 1 2 3\r\n%t OK done\r\n"),
            (rb"UID FETCH \S+ \(UID RFC822.SIZE\)", b"".join(
                b"* %d FETCH (UID %d RFC822.SIZE %d)\r\n" % (uid, uid, len(text)) for uid, text in MAILS.items())
             + b"%t OK done\r\n"),
            (rb"UID FETCH (\S+) \(UID BODY.PEEK\[\]\)", self.bodies),
        ]
        self.greeting = GREETING
        self.heard: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    def first(self, pattern: bytes, answer: Answer) -> None:
        """This answer counts from now on."""
        self.answers.insert(0, (pattern, answer))

    def bodies(self, found: re.Match[bytes]) -> bytes:
        uids: list[int] = []
        for part in found[1].split(b","):
            low, _, high = part.partition(b":")
            uids += range(int(low), int(high or low) + 1)
        return b"".join(body(uid) for uid in uids) + b"%t OK done\r\n"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(self.greeting)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.heard.append(line.rstrip(b"\r\n"))
                tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
                for pattern, answer in self.answers:
                    if found := re.match(pattern, rest or tag):
                        text = answer(found) if callable(answer) else answer
                        writer.write(text.replace(b"%t", tag))
                        if not text or text.endswith(b"!"):
                            writer.close()
                            return
                        break

    def count(self, word: bytes) -> int:
        return sum(word in line for line in self.heard)


def body(uid: int) -> bytes:
    return b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (uid, uid, len(MAILS[uid]), MAILS[uid])


@contextlib.asynccontextmanager
async def speaking(tmp_path: Path, **source: Any) -> AsyncIterator[tuple[Server, Office]]:
    server = Server()
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    office = Office(tmp_path, listening.sockets[0].getsockname()[1], **{"timeout": "2s", **source})
    try:
        yield server, office
    finally:
        await office.driver.close()
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_the_usual_dialogue(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (server, office):
        assert (await office.fetch()).fetched == 3
        assert office.subjects() == ["1", "2", "3"]
        assert server.count(b"EXAMINE") == 1


@pytest.mark.parametrize("broken", [
    body(1) + body(2)[:-20] + b"!", body(1) + b"* BYE shutting down\r\n!", body(1) + b"!",
], ids=["in a mail", "BYE", "between mails"])
async def test_what_breaks_off_comes_again_and_nothing_twice(tmp_path: Path, broken: bytes) -> None:
    async with speaking(tmp_path) as (server, office):
        server.first(rb"UID FETCH \S+ \(UID BODY", broken)
        with pytest.raises(Temporary):
            await office.fetch()
        assert list(office.queue.tmp.iterdir()) == []
        del server.answers[0]
        assert (await office.fetch()).waiting == 0
        assert office.subjects() == ["1", "2", "3"]


async def test_a_mail_at_which_the_server_always_breaks_off_keeps_no_other_back(tmp_path: Path) -> None:
    """Dovecot does so where a mail is not as large as its name says; all before it, and all after it, never came."""
    async with speaking(tmp_path) as (server, office):
        server.first(rb"UID FETCH (\S+) \(UID BODY", lambda found: re.sub(
            rb"\* 2 FETCH.*", lambda rest: rest[0][:40] + b"!", server.bodies(found), flags=re.DOTALL))
        for there in (["1"], ["1", "3"], ["1", "3"]):
            with pytest.raises(Temporary):
                await office.fetch()
            assert office.subjects() == there
        del server.answers[0]
        assert (await office.fetch()).fetched == 1
        assert sorted(office.subjects()) == ["1", "2", "3"]


async def test_a_mail_at_which_the_server_breaks_off_keeps_no_other_folder_back(tmp_path: Path) -> None:
    async with speaking(tmp_path, folders=["INBOX", "Kunden"]) as (server, office):
        server.first(rb"LIST", b'* LIST () "/" INBOX\r\n* LIST () "/" Kunden\r\n%t OK done\r\n')
        server.first(rb"UID FETCH (\S+) \(UID BODY", body(1) + body(2)[:-20] + b"!")
        server.first(rb'EXAMINE "Kunden"', lambda _: [
            server.answers.pop(1), b"* 3 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [UIDNEXT 4] x\r\n%t OK done\r\n"][1])
        with pytest.raises(Temporary, match="INBOX: the server closed"):
            await office.fetch()
        assert office.subjects() == ["1", "1", "2", "3"]


async def test_a_server_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    async with speaking(tmp_path, timeout="1s") as (server, office):
        server.first(rb"UID FETCH \S+ \(UID BODY", body(1) + body(2)[:-20])
        with pytest.raises(Temporary, match="says nothing for 1 s"):
            await office.fetch()
        assert list(office.queue.tmp.iterdir()) == []


async def test_a_mail_that_the_server_cannot_give_stops_no_other(tmp_path: Path) -> None:
    async with speaking(tmp_path, push=True) as (server, office):
        server.first(rb"UID FETCH (1:3) \(UID BODY", body(1) + b"%t NO [SERVERBUG] message 2 is unreadable\r\n")
        server.first(rb"UID FETCH 2 \(UID BODY", b"%t NO [SERVERBUG] message 2 is unreadable\r\n")
        done = await office.fetch()
        assert (done.fetched, done.waiting) == (2, 0)  # there is no use in coming back at once
        assert office.subjects() == ["1", "3"]
        waiting = asyncio.create_task(office.driver.wait(office.visit()))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        del server.answers[:2]
        assert (await office.fetch()).fetched == 1


async def test_a_mail_for_which_the_server_says_nil_is_not_taken_for_expunged(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (server, office):
        nil = b"* 2 FETCH (UID 2 BODY[] NIL)\r\n"
        server.first(rb"UID FETCH 2 \(UID BODY", nil + b"%t OK done\r\n")
        server.first(rb"UID FETCH 1:3 \(UID BODY", body(1) + nil + body(3) + b"%t OK done\r\n")
        assert (await office.fetch()).fetched == 2
        assert server.count(b"UID FETCH 2 (UID BODY") == 1
        del server.answers[:2]
        assert (await office.fetch()).fetched == 1
        assert sorted(office.subjects()) == ["1", "2", "3"]


async def test_what_nobody_asked_for_is_not_stored(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (server, office):
        server.first(rb"UID FETCH \S+ \(UID BODY", lambda _: b"* 9 FETCH (FLAGS (\\Seen) UID 9)\r\n" + body(1) + body(1)
                     + b"* 9 FETCH (UID 9 BODY[] {4}\r\nevil)\r\n* 2 FETCH (BODY[] \"quoted\" UID 2)\r\n%t OK done\r\n")
        assert (await office.fetch()).fetched == 2
        assert len(office.mails()) == 2
        assert office.mails()[1] == b"quoted"


async def test_without_uidvalidity_nothing_is_fetched(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (server, office):
        server.first(rb"EXAMINE", b"* 3 EXISTS\r\n%t OK done\r\n")
        with pytest.raises(Temporary, match="no UIDVALIDITY"):
            await office.fetch()
        assert office.mails() == []


async def test_a_folder_that_may_only_be_read_says_so_and_is_fetched(tmp_path: Path) -> None:
    async with speaking(tmp_path, delete=True) as (server, office):
        server.first(rb"SELECT", b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n%t OK [READ-ONLY] done\r\n")
        with pytest.raises(Temporary, match="INBOX may only be read"):
            await office.fetch()
        assert len(office.mails()) == 3
        assert server.count(b"STORE") == 0


# Exchange and Gmail

def token(user: str = "eva@firma.example", text: str = "t1") -> Callable[[Visit], Any]:
    async def credentials(_visit: Visit) -> smtplogin.Credentials:
        return smtplogin.Credentials(user, Secret(text), is_token=True)

    return credentials


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(Visit, "credentials", token())
    monkeypatch.setattr(Visit, "refused", lambda visit: told.append(visit.label))
    return told


OAUTH = {"auth": "oauth2", "app": "ms", "user": "eva@firma.example", "mechanism": "XOAUTH2"}


async def test_exchange_refuses_a_token_at_once(tmp_path: Path, refused: list[str]) -> None:
    async with speaking(tmp_path, **OAUTH) as (server, office):
        server.first(rb"AUTHENTICATE", b"%t NO AUTHENTICATE failed.\r\n")
        with pytest.raises(Refused, match="AUTHENTICATE failed"):
            await office.fetch()
        assert refused == ["meier/gmx"]
        assert server.count(b"AUTHENTICATE") == 1


async def test_gmail_and_dovecot_refuse_a_token_behind_a_challenge(tmp_path: Path, refused: list[str]) -> None:
    async with speaking(tmp_path, **OAUTH) as (server, office):
        server.greeting = GREETING.replace(b"SASL-IR ", b"")
        challenge = base64.b64encode(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}')
        steps = iter([b"+ \r\n", b"+ " + challenge + b"\r\n", b"l NO [AUTHENTICATIONFAILED] Invalid (Failure)\r\n"])
        server.first(rb".*", lambda _: next(steps))
        with pytest.raises(Refused, match="Invalid"):
            await office.fetch()
        assert server.heard[0].endswith(b"AUTHENTICATE XOAUTH2")
        assert base64.b64decode(server.heard[1]) == b"user=eva@firma.example\1auth=Bearer t1\1\1"
        assert server.heard[2] == b""
        assert refused == ["meier/gmx"]
        assert not any("t1" in one for one in office.said)


async def test_exchange_lets_us_in_and_has_no_mailbox(tmp_path: Path, refused: list[str]) -> None:
    async with speaking(tmp_path, **OAUTH) as (server, office):
        server.first(rb"EXAMINE", b"%t BAD User is authenticated but not connected.\r\n")
        with pytest.raises(Temporary, match="is this its address") as caught:
            await office.fetch()
        assert not isinstance(caught.value, Refused)
        assert refused == []


async def test_each_log_in_has_a_fresh_token(
        tmp_path: Path, refused: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, **OAUTH) as (server, office):
        await office.fetch()
        monkeypatch.setattr(Visit, "credentials", token(text="t2"))
        await office.fetch()
        first, second = (base64.b64decode(line.split()[-1]) for line in server.heard if b"AUTHENTICATE" in line)
        assert (first[-5:], second[-5:]) == (b" t1\1\1", b" t2\1\1")


async def test_shared_mailboxes_are_log_ins_of_their_own_with_the_same_token(
        tmp_path: Path, refused: list[str]) -> None:
    async with speaking(tmp_path, **OAUTH, shared="info@firma.example; weg@firma.example") as (server, office):
        names: list[bytes] = []

        def login(found: re.Match[bytes]) -> bytes:
            names.append(base64.b64decode(found[1]).split(b"\1")[0])
            return b"%t NO AUTHENTICATE failed.\r\n" if b"weg" in names[-1] else b"%t OK in\r\n"

        server.first(rb"AUTHENTICATE XOAUTH2 (\S+)", login)
        server.first(rb"CAPABILITY", b"* CAPABILITY IMAP4rev1\r\n%t OK done\r\n")
        with pytest.raises(Temporary, match="refused") as caught:
            await office.fetch()
        assert not isinstance(caught.value, Refused)
        assert names == [b"user=eva@firma.example", b"user=info@firma.example", b"user=weg@firma.example"]
        assert len(office.mails()) == 6
        assert refused == []


def test_who_logs_in() -> None:
    own = incoming.Source(user="eva", shared=" info ;; eva; verkauf;", auth="password")
    assert imap.users(own) == ["eva"]
    assert imap.users(own.model_copy(update={"shared_login": "%shared*%user"})) == ["eva", "info", "verkauf"]
    assert imap.users(own.model_copy(update={"auth": "oauth2"})) == ["eva", "info", "verkauf"]


# push

async def test_lost_connections_are_made_again_but_not_in_a_hurry(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with speaking(tmp_path, push=True) as (server, office):
        server.first(rb"IDLE", b"* BYE Session expired, please login again.\r\n!")
        monkeypatch.setattr(push, "pause", sleep)
        for _ in range(4):
            await office.fetch()
            await asyncio.wait_for(office.driver.wait(office.visit()), 30)
        assert pauses == [10, 20, 40, 80]
        assert server.count(b"AUTHENTICATE") == 4


async def test_a_kept_connection_that_died_is_replaced(tmp_path: Path) -> None:
    async with speaking(tmp_path, push=True) as (server, office):
        await office.fetch()
        server.writers[0].transport.abort()
        assert (await office.fetch()).fetched == 0
        assert server.count(b"AUTHENTICATE") == 2


async def test_idle_is_said_again_before_servers_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "IDLE", 0.1)
    async with speaking(tmp_path, push=True) as (server, office):
        server.first(rb"IDLE", b"+ idling\r\n")
        tags: list[bytes] = []
        server.first(rb"DONE", lambda _: tags[-1] + b" OK done\r\n")
        real = server.heard

        class Heard(list[bytes]):
            def append(self, line: bytes) -> None:
                if line.endswith(b" IDLE"):
                    tags.append(line.split()[0])
                real.append(line)

        server.heard = Heard()
        await office.fetch()
        waiting = asyncio.create_task(office.driver.wait(office.visit()))
        await until(lambda: len(tags) >= 3)
        server.writers[0].write(b"* 4 EXISTS\r\n")
        await asyncio.wait_for(waiting, 30)


async def test_a_server_that_says_nothing_to_idle_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "IDLE", 0.1)
    async with speaking(tmp_path, push=True, timeout="1s") as (server, office):
        server.first(rb"IDLE", b"+ idling\r\n")
        await office.fetch()
        client = office.driver._seats["eva"].client
        assert client is not None
        with pytest.raises(Broken, match="says nothing"):
            await push.wait(client, b"INBOX", 3)


async def test_numbers_that_move_during_a_long_listing_hide_no_mail(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imapfolder, "LISTING", 2)
    async with speaking(tmp_path, push=True) as (server, office):
        server.first(rb"UID SEARCH 1:2", b"* SEARCH 1 2\r\n* 1 EXPUNGE\r\n%t OK done\r\n")
        server.first(rb"UID SEARCH 3:3", b"* SEARCH\r\n%t OK done\r\n")
        assert (await office.fetch()).fetched == 2
        del server.answers[:2]
        assert (await office.fetch()).fetched == 1
        assert office.subjects() == ["1", "2", "3"]
