"""NOTIFY (RFC 5465): what a client hears without asking, of which mailboxes, and what it does not hear."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.imap import notices
from tests.imapserver import Client, Server, message, running

ALL = "(MessageNew MessageExpunge FlagChange)"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "PAUSE", 0.05)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as made:
        yield made


async def quiet(client: Client, seconds: float = 0.4) -> None:
    """Nothing is said for a while."""
    said = b""
    with contextlib.suppress(TimeoutError):
        said = await asyncio.wait_for(client.reader.readuntil(b"\r\n"), seconds)
    assert said == b""


def numbers(line: bytes) -> dict[str, int]:
    """The items of a STATUS answer."""
    found = re.fullmatch(rb"(?:\* )?STATUS \S+ \((.*)\)", line)
    assert found, line
    words = found[1].decode().split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


async def test_selected_mailbox_without_any_command(server: Server) -> None:
    """RFC 5465 §3.1's example: EXISTS, then FETCH with what was asked for; §5.3: EXPUNGE at any time."""
    server.deliver(message("eins"))
    one, two = await server.client(select="INBOX"), await server.client(select="INBOX")
    await one.ok("NOTIFY SET (SELECTED (MessageNew (BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange))")
    server.deliver(message("zwei"))
    assert [await one.line() for _ in range(2)] == [b"* 2 EXISTS", b"* 2 RECENT"]
    assert await one.line() == b"* 2 FETCH (UID 2 BODY[HEADER.FIELDS (SUBJECT)] {17}\r\nSubject: zwei\r\n\r\n)"
    await two.ok("STORE 1 +FLAGS (\\Deleted)")
    assert (await one.line()).startswith(b"* 1 FETCH (UID 1 FLAGS (\\Deleted")
    await two.ok("EXPUNGE")
    assert await one.line() == b"* 1 EXPUNGE"
    assert await one.ok("NOOP") == []


async def test_selected_delayed_keeps_expunges_for_a_command(server: Server) -> None:
    for name in "ab":
        server.deliver(message(name))
    one, two = await server.client(select="INBOX"), await server.client(select="INBOX")
    await one.ok(f"NOTIFY SET (SELECTED-DELAYED {ALL})")
    await two.ok("STORE 1 +FLAGS (\\Deleted)")
    assert b"FETCH" in await one.line()
    await two.ok("EXPUNGE")
    await quiet(one)
    assert await one.ok("FETCH 2 UID") == [b"2 FETCH (UID 2)"]
    assert await one.ok("NOOP") == [b"1 EXPUNGE"]
    one.send("i IDLE\r\n")
    assert await one.line() == b"+ idling"
    await two.ok("STORE 1 +FLAGS (\\Deleted)")
    await two.ok("EXPUNGE")
    assert b"FETCH" in await one.line()
    assert await one.line() == b"* 1 EXPUNGE"
    one.send("DONE\r\n")
    await one.until("i")


async def test_nothing_of_the_selected_mailbox(server: Server) -> None:
    """§3.1: without SELECTED, and after NONE, not even NOOP tells; numbers stay what they were until it does again."""
    for name in "abc":
        server.deliver(message(name))
    one, two = await server.client(select="INBOX"), await server.client(select="INBOX")
    for command in ("NOTIFY NONE", "NOTIFY SET (PERSONAL (MailboxName))", "NOTIFY SET (SELECTED NONE)"):
        await one.ok(command)
        server.deliver(message("new"))
        assert await one.ok("NOOP") == []
        await quiet(one, 0.2)
    await two.ok("UID STORE 2 +FLAGS (\\Flagged)")
    await two.ok("UID STORE 1 +FLAGS (\\Deleted)")
    await two.ok("EXPUNGE")
    assert await one.ok("NOOP") == []
    assert await one.ok("FETCH 2:3 UID") == [b"2 FETCH (UID 2)", b"3 FETCH (UID 3)"]
    told = await one.ok(f"NOTIFY SET (SELECTED {ALL})")
    assert told[0] == b"1 EXPUNGE"
    assert b"5 EXISTS" in told
    assert any(b"UID 2 FLAGS (\\Flagged" in line for line in told)
    assert await one.ok("UID SEARCH ALL") == [b"SEARCH 2 3 4 5 6"]


async def test_highestmodseq_covers_only_what_was_told(server: Server) -> None:
    for name in "ab":
        server.deliver(message(name))
    one, two = await server.client(), await server.client(select="INBOX")
    await one.ok("ENABLE QRESYNC")
    (line,) = [line for line in await one.ok("SELECT INBOX") if b"HIGHESTMODSEQ" in line]
    await one.ok("NOTIFY NONE")
    await two.ok("UID STORE 1 +FLAGS (\\Deleted)")
    await two.ok("EXPUNGE")
    assert await one.ok("NOOP") == []
    await one.ok("UID STORE 2 +FLAGS (\\Deleted)")
    assert b"HIGHESTMODSEQ" not in (await one.command("EXPUNGE"))[-1]
    known = int(re.findall(rb"\d+", line)[0])
    (line,) = [line for line in await two.ok("SELECT INBOX") if b"UIDVALIDITY" in line]
    again = await one.ok(f"SELECT INBOX (QRESYNC ({int(re.findall(rb'[0-9]+', line)[0])} {known} 1:2))")
    assert b"VANISHED (EARLIER) 1:2" in again


async def test_status_of_others(server: Server) -> None:
    one, two = await server.client(select="INBOX"), await server.client()
    for name in ("Kunden", "Kunden.Nord", "Lager"):
        await two.ok(f"CREATE {name}")
    await two.append(message("a"), "Kunden")
    told = await one.ok(f"NOTIFY SET STATUS (SELECTED-DELAYED {ALL}) (SUBTREE Kunden {ALL}) (MAILBOXES (Lager Fehlt) "
                        "(MessageNew MessageExpunge))")
    assert [line.split()[1] for line in told] == [b"Kunden", b"Kunden.Nord", b"Lager"]
    assert numbers(told[0])["MESSAGES"] == 1
    assert ["HIGHESTMODSEQ" in numbers(line) for line in told] == [True, True, False]
    await two.append(message("b"), "Kunden.Nord")
    said = await one.line()
    assert said.startswith(b"* STATUS Kunden.Nord ")
    assert (numbers(said)["MESSAGES"], numbers(said)["UIDNEXT"], numbers(said)["UNSEEN"]) == (1, 2, 1)
    await two.append(message("c"), "Trash")
    await quiet(one, 0.2)
    await two.ok("SELECT Kunden")
    await two.ok("STORE 1 +FLAGS (\\Flagged \\Deleted)")
    assert numbers(await one.line())["HIGHESTMODSEQ"] > numbers(told[0])["HIGHESTMODSEQ"]
    await two.ok("EXPUNGE")
    assert numbers(await one.line())["MESSAGES"] == 0
    await two.append(message("d"), "Lager")
    assert numbers(await one.line())["MESSAGES"] == 1
    await two.ok("SELECT Lager")
    await two.ok("STORE 1 +FLAGS (\\Flagged)")
    await quiet(one)
    server.deliver(message("e"))
    assert await one.line() == b"* 1 EXISTS"


async def test_a_burst_is_one_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox is looked at once a PAUSE at most, and nothing that happened in between is lost."""
    monkeypatch.setattr(notices, "PAUSE", 0.5)
    one = await server.client()
    await one.ok("NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge))")
    said = []
    for number in range(40):
        server.deliver(message(f"{number}"))
        await asyncio.sleep(0.02)
    while not said or numbers(said[-1])["MESSAGES"] < 40:
        said.append(await one.line())
    assert len(said) <= 5
    await quiet(one)


async def test_what_the_client_does_itself_is_not_told(server: Server) -> None:
    """§5: SHOULD omit notifying the client if the event is caused by this client."""
    one, two = await server.client(select="INBOX"), await server.client()
    events = "(MessageNew (FLAGS) MessageExpunge FlagChange)"
    await one.ok(f"NOTIFY SET STATUS (SELECTED {events}) (PERSONAL (MessageNew MessageExpunge MailboxName "
                 "SubscriptionChange MailboxMetadataChange))")
    assert b"1 EXISTS" in await one.append(message("a"))
    await one.append(message("b"), "Sent")
    await one.ok("UID COPY 1 Trash")
    await one.ok("CREATE Neu")
    await one.ok("SUBSCRIBE Neu")
    await one.ok('SETMETADATA Neu (/private/comment "x")')
    await one.ok("RENAME Neu Alt")
    await one.ok("DELETE Alt")
    await quiet(one)
    await two.append(message("c"), "Sent")
    assert numbers(await one.line())["MESSAGES"] == 2


async def test_names_and_subscriptions(server: Server) -> None:
    """§5.4 and §5.5."""
    one, two = await server.client(), await server.client()
    await one.ok("NOTIFY SET (PERSONAL (MailboxName SubscriptionChange))")
    await two.ok("CREATE Neu.Haus")
    assert await one.line() == b'* LIST (\\HasNoChildren) "." Neu.Haus'
    await two.ok("SUBSCRIBE Neu.Haus")
    assert await one.line() == b'* LIST (\\HasNoChildren \\Subscribed) "." Neu.Haus'
    await two.ok("RENAME Neu.Haus B&APw-ro")
    assert await one.line() == b'* LIST (\\HasNoChildren) "." B&APw-ro ("OLDNAME" (Neu.Haus))'
    await two.ok("UNSUBSCRIBE Neu.Haus")
    assert await one.line() == b'* LIST (\\NonExistent \\HasNoChildren) "." Neu.Haus'
    await two.ok("DELETE B&APw-ro")
    assert await one.line() == b'* LIST (\\NonExistent \\HasNoChildren) "." B&APw-ro'
    await one.ok("NOTIFY SET (MAILBOXES Sent (MailboxName)) (SUBSCRIBED (MessageNew MessageExpunge))")
    await two.ok("CREATE Anderes")
    await two.append(message(), "Anderes")
    await quiet(one)
    await two.ok("SUBSCRIBE Anderes")
    assert (await one.line()).startswith(b"* STATUS Anderes (MESSAGES 1 ")


async def test_a_mailbox_that_comes_later_is_watched(server: Server) -> None:
    one, two = await server.client(), await server.client()
    await one.ok(f"NOTIFY SET (SUBTREE Projekte {ALL})")
    await two.ok("CREATE Projekte.Neu")
    assert numbers(await one.line())["MESSAGES"] == 0
    await two.append(message(), "Projekte.Neu")
    assert numbers(await one.line())["MESSAGES"] == 1
    await two.ok("DELETE Projekte.Neu")
    await two.ok("CREATE Projekte.Neu")
    await two.append(message(), "Projekte.Neu")
    await two.append(message(), "Projekte.Neu")
    while numbers(await one.line())["MESSAGES"] != 2:
        pass


async def test_first_none_shuts_a_mailbox_out(server: Server) -> None:
    one, two = await server.client(), await server.client()
    told = await one.ok(f"NOTIFY SET STATUS (MAILBOXES (Trash Junk) NONE) (PERSONAL {ALL})")
    assert {line.split()[1] for line in told}.isdisjoint({b"Trash", b"Junk"})
    await two.append(message(), "Junk")
    await quiet(one)
    await two.append(message(), "Sent")
    assert (await one.line()).startswith(b"* STATUS Sent ")


async def test_annotations(server: Server) -> None:
    """§5.6, §5.7; RFC 5464 §4.4.2: the names of the entries, without their values."""
    one, two = await server.client(), await server.client()
    await one.ok("NOTIFY SET (PERSONAL (MailboxMetadataChange ServerMetadataChange))")
    await two.ok('SETMETADATA Sent (/shared/comment "x" /private/comment "y")')
    assert await one.line() == b"* METADATA Sent /private/comment /shared/comment"
    await two.ok("SETMETADATA INBOX (/private/comment \"z\")")
    assert await one.line() == b"* METADATA INBOX /private/comment"
    await two.ok('SETMETADATA "" (/private/vendor "v")')
    assert await one.line() == b'* METADATA "" /private/vendor'
    await two.ok("SETMETADATA Sent (/shared/comment NIL)")
    assert await one.line() == b"* METADATA Sent /shared/comment"


async def test_folders_of_others_by_their_rights(server: Server) -> None:
    """§5: l and r are needed; §3.1: \\NoAccess for a name that may be seen and not read; §5.9: rights come and go."""
    one, owner = await server.client(), await server.client("schmidt")
    for name, rights in (("Offen", "lr"), ("Zu", "l"), ("Fremd", "")):
        await owner.ok(f"CREATE {name}")
        if rights:
            await owner.ok(f"SETACL {name} meier {rights}")
    told = await one.ok('NOTIFY SET STATUS (SUBTREE "Other Users" (MailboxName MessageNew MessageExpunge))')
    assert told[0] == b'LIST (\\HasNoChildren \\Subscribed \\NoAccess) "." "Other Users.schmidt.Zu"'
    assert [numbers(line.replace(b'"Other Users.schmidt.Offen"', b"x"))["MESSAGES"] for line in told[1:]] == [0]
    await owner.append(message(), "Zu")
    await owner.append(message(), "Fremd")
    await quiet(one)
    await owner.append(message(), "Offen")
    assert b'"Other Users.schmidt.Offen" (MESSAGES 1 ' in await one.line()
    await owner.ok("DELETEACL Offen meier")
    assert b'\\NonExistent' in await one.line()
    await owner.append(message(), "Offen")
    await quiet(one)
    await owner.ok("SETACL Fremd meier lr")
    assert b'"." "Other Users.schmidt.Fremd"' in await one.line()
    assert b"(MESSAGES 1 " in await one.line()


async def test_somebody_whose_folders_were_watched_is_no_more(server: Server) -> None:
    owner, one = await server.client("schmidt"), await server.client()
    await owner.ok("CREATE Offen")
    await owner.ok("SETACL Offen meier lr")
    told = await one.ok('NOTIFY SET STATUS (SUBTREE "Other Users" (MailboxName MessageNew MessageExpunge))')
    assert len(told) == 1
    os.unlink(server.paths.accounts / "schmidt.toml")
    maildir.put(f"{server.root('schmidt')}/.Offen", message())
    assert b"\\NonExistent" in await one.line()
    await one.ok("NOOP")


async def test_too_much_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_notify=8) as server:
        one, two = await server.client(), await server.client()
        await two.ok("CREATE Eins")
        await two.ok("CREATE Zwei")
        await one.ok(f"NOTIFY SET (PERSONAL {ALL})")
        await two.ok("CREATE Drei")
        assert (await one.line()).startswith(b"* STATUS Drei ")
        await two.ok("CREATE Vier")
        said = await one.line()
        assert said.startswith(b"* OK [NOTIFICATIONOVERFLOW] "), said
        await two.append(message(), "Eins")
        await quiet(one)
        assert (await one.fails(f"NOTIFY SET (PERSONAL {ALL})")).startswith(b"[NOTIFICATIONOVERFLOW] ")
        await one.ok(f"NOTIFY SET (SUBTREE Eins {ALL})")
        for number in range(8):
            assert await one.ok(f"CREATE Eins.{number}") == []
        assert (await one.line()).startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        assert await one.ok("NOOP") == []


@pytest.mark.parametrize("text", [
    "", "SET", "NONE x", "SET STATUS", "SET ()", f"SET (EVERYTHING {ALL})", "SET (SELECTED ())",
    "SET (SELECTED (MessageNew))", "SET (PERSONAL (MessageExpunge))", "SET (PERSONAL (FlagChange))",
    "SET (SELECTED (MailboxName))", f"SET (SELECTED {ALL}) (SELECTED-DELAYED {ALL})", "SET (SUBTREE NONE)",
    "SET (MAILBOXES () NONE)", "SET (PERSONAL (MessageNew (UID) MessageExpunge))", "SET (SELECTED (MessageNew (X)",
    f"SET (MAILBOXES &&& {ALL})"])
async def test_bad(server: Server, text: str) -> None:
    client = await server.client()
    await client.fails(f"NOTIFY {text}".rstrip(), "BAD")


async def test_unknown_events_are_named(server: Server) -> None:
    """§3.1: NO, not BAD, with all that are known."""
    client = await server.client()
    said = await client.fails("NOTIFY SET (PERSONAL (MessageNew MessageExpunge AnnotationChange))")
    assert said.startswith(b"[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange ")
    assert b"NOTIFY" in (await client.ok("CAPABILITY"))[0].split()


async def test_everything_is_given_back(server: Server) -> None:
    one = await server.client()
    watcher = server.worker.watch
    assert watcher is not None
    await one.ok(f"NOTIFY SET (PERSONAL {ALL})")
    assert len(watcher._subscriptions) > 10
    await one.ok("NOTIFY SET (SELECTED NONE)")
    assert watcher._subscriptions == {}
    await one.ok(f"NOTIFY SET (PERSONAL {ALL})")
    await one.ok("LOGOUT")
    while server.worker._sessions:
        await asyncio.sleep(0.01)
    assert watcher._subscriptions == {}


async def test_without_inotify_the_sweep_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lanmail.imap import worker
    monkeypatch.setattr(worker, "_watch", lambda: None)
    monkeypatch.setattr(worker, "SWEEP", 0.1)
    async with running(tmp_path) as server:
        sweeping = asyncio.create_task(server.worker.sweep())
        one, two = await server.client(), await server.client()
        await one.ok("NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge MailboxName))")
        server.deliver(message())
        assert numbers(await one.line())["MESSAGES"] == 1
        await two.ok("CREATE Neu")
        assert b"Neu" in await one.line()
        sweeping.cancel()
