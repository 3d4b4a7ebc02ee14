"""Whole sessions of random commands, right and broken: each is answered by its tag, or by BYE; nothing crashes."""

import asyncio
import random
import re
from pathlib import Path

import pytest

from lanmail import log
from tests import hostile_mail, imapserver, imapsyntax
from tests.fuzz.budget import LONG
from tests.imapserver import PASSWORD, message

COMMANDS = [
    line.encode()
    for line in (
        "CAPABILITY",
        "NOOP",
        "ID NIL",
        'ID ("name" "x")',
        "NAMESPACE",
        "ENABLE CONDSTORE",
        "ENABLE QRESYNC UTF8=ACCEPT",
        "SELECT INBOX",
        "EXAMINE INBOX",
        "SELECT INBOX (CONDSTORE)",
        "SELECT INBOX (QRESYNC (1 1))",
        "SELECT Sent",
        "UNSELECT",
        "CLOSE",
        "CHECK",
        "EXPUNGE",
        "UID EXPUNGE 1:*",
        'LIST "" *',
        'LIST "" "%" RETURN (STATUS (MESSAGES))',
        'LIST (SUBSCRIBED RECURSIVEMATCH) "" "*"',
        'LSUB "" "*"',
        "CREATE Projekte.A",
        "CREATE Neu (USE (\\Archive))",
        "DELETE Projekte.A",
        "RENAME Projekte.A B",
        "SUBSCRIBE Sent",
        "UNSUBSCRIBE Sent",
        "NOTIFY NONE",
        "NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))",
        "NOTIFY SET (SELECTED (MessageNew (UID BODY.PEEK[1]) MessageExpunge FlagChange)) (SUBTREE B (MailboxName))",
        "NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge)) (SUBSCRIBED (MailboxMetadataChange))",
        "STATUS INBOX (MESSAGES UIDNEXT SIZE)",
        "APPEND INBOX (\\Seen) {12+}\r\nSubject: x\r\n",
        'APPEND Sent " 1-Jan-2026 00:00:00 +0000" {5+}\r\na: b\n',
        "FETCH 1:* (FLAGS UID RFC822.SIZE INTERNALDATE)",
        "FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY)",
        "FETCH 1:* BODY.PEEK[]",
        "FETCH 1 (BODY[HEADER.FIELDS (FROM TO)] BODY[1]<0.10>)",
        "FETCH 1:* FULL",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)",
        "FETCH 1:3 (BINARY[1] BINARY.SIZE[1])",
        "FETCH 1:* (PREVIEW)",
        "STORE 1:* +FLAGS (\\Deleted $x)",
        "STORE 1 FLAGS ()",
        "UID STORE 1:* (UNCHANGEDSINCE 5) -FLAGS.SILENT (\\Seen)",
        "SEARCH ALL",
        'SEARCH OR (NOT SEEN) SUBJECT "a"',
        "UID SEARCH RETURN (MIN MAX COUNT ALL) BODY x",
        "SEARCH RETURN (SAVE) UNSEEN",
        "FETCH $ FLAGS",
        "SORT (REVERSE DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "UID THREAD ORDEREDSUBJECT US-ASCII TEXT a",
        "COPY 1:2 Sent",
        "MOVE 1 Sent",
        "UID MOVE 1:* Trash",
        "GETQUOTAROOT INBOX",
        "GETACL INBOX",
        "MYRIGHTS INBOX",
        "SETACL Sent otto lrs",
        "LISTRIGHTS Sent otto",
        "STARTTLS",
        f"LOGIN meier {PASSWORD}",
        "LOGIN meier falsch",
        "AUTHENTICATE PLAIN AG1laWVyAHg=",
        "LOGOUT",
    )
]
PIECES = [
    b"(",
    b")",
    b" ",
    b'"',
    b"\\",
    b"*",
    b":",
    b",",
    b"0",
    b"4294967296",
    b"NIL",
    b"[",
    b"]",
    b"<",
    b"\xff",
    b"&",
    b"%",
    b"{",
    b"}",
    b"A" * 300,
    b"((((((((((",
    b"1,2,3,4:*",
    b"$",
    b"\r",
    b"+",
]
TAGGED = re.compile(rb"\A(?:\S+|\*) (?:OK|NO|BAD|BYE)")


def mutated(command: bytes, chance: random.Random) -> bytes:
    """The command with something put in, taken out, doubled or cut off."""
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at, to = sorted((chance.randrange(len(command) + 1), chance.randrange(len(command) + 1)))
        kind = chance.randrange(4)
        if kind == 0:
            command = command[:at] + chance.choice(PIECES) + command[at:]
        elif kind == 1:
            command = command[:at] + command[min(to, at + 5) :]
        elif kind == 2:
            command = command[:to] + command[at:to] + command[to:]
        else:
            command = command[:at] + chance.choice(COMMANDS)[chance.randrange(20) :] + command[to:]
    return command.replace(b"\n", b" ") if b"{" not in command else command


class Waiting(Exception):
    """The server waits for the rest of a literal."""


async def dialogue(server: imapserver.Server, chance: random.Random) -> None:
    """One session; ends with it, or after twenty commands."""
    client = await server.client("meier" if chance.random() < 0.8 else None)
    said: list[bytes] = []
    if chance.random() < 0.7:
        said.append(b"SELECT INBOX")
    said += [mutated(chance.choice(COMMANDS), chance) for _ in range(20)]
    for number, text in enumerate(said):
        try:
            if not await answered(client, text, b"z%d" % number):
                break
        except (asyncio.IncompleteReadError, ConnectionError):
            break  # said BYE and hung up
        except Waiting:
            assert b"{" in text, text
            break
    client.close()


async def answered(client: imapserver.Client, text: bytes, tag: bytes) -> bool:
    """Say it, then NOOP, and read until that is answered; False when the server says BYE."""
    client.send(tag + b" " + text + b"\r\n" + tag + b"n NOOP\r\n")
    while True:
        try:
            line = await asyncio.wait_for(client.line(), 20 if b"{" not in text else 0.3)
        except TimeoutError:
            raise Waiting from None
        if line.startswith(tag + b"n "):
            return True
        if line.startswith(b"* BYE"):
            return False
        if line.startswith(b"+"):
            client.send(b"*\r\n" + tag + b"n NOOP\r\n")
        elif re.match(rb"\* \d+ FETCH \(", line):
            imapsyntax.fetched(line)
        else:
            # a literal's marker that was broken makes a line of its own of what follows, and a tag of how it begins
            first = line.split(b" ")[0]
            begins = [one.split(b" ")[0] or b"*" for one in re.split(rb"\r?\n", text)]
            assert line.startswith((b"* ", tag)) or any(one.startswith(first) for one in begins), (text, line)


@pytest.mark.parametrize("seed", range(2000 if LONG else 12))
async def test_random_dialogues(tmp_path: Path, seed: int) -> None:
    async with imapserver.running(tmp_path) as server:
        log.setup("test", server.paths.log)
        for number in range(4):
            server.deliver(message(f"Nummer {number}"))
        for name in ("deep multipart", "many parts", "RFC 2231", "To: b'(' "):
            server.deliver(hostile_mail.scaled(2000).get(name, b"\0"))
        chance = random.Random(seed)
        for _ in range(3):
            await dialogue(server, chance)
        client = await server.client(select="INBOX")
        await client.ok("UID FETCH 1:* (FLAGS)")  # nothing may be left
        said = "".join(path.read_text() for path in server.paths.log.glob("*.log"))
        assert "internal-error" not in said, said[-3000:]
