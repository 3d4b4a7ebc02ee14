"""STATUS: a few numbers about a mailbox that need not be selected (RFC 3501 §6.3.10; 7162, 7889, 8438, 8474)."""

from collections.abc import Callable
from dataclasses import dataclass

from lanmail.folders import objectids
from lanmail.imap import box, parser
from lanmail.imap.session import No, Session

ITEMS: dict[str, Callable[[box.Box, Session], int | str]] = {
    "MESSAGES": lambda found, _: len(found.now),
    "RECENT": lambda found, _: found.recent(),
    "UIDNEXT": lambda found, _: found.now.uidnext,
    "UIDVALIDITY": lambda found, _: found.now.uidvalidity,
    "UNSEEN": lambda found, _: found.unseen(),
    "DELETED": lambda found, _: sum("T" in entry.letters for entry in found.now.entries),
    "DELETED-STORAGE": lambda found, _: sum(
        entry.wire_size or 0 for entry in found.now.entries if "T" in entry.letters),
    "SIZE": lambda found, _: sum(entry.wire_size or 0 for entry in found.now.entries),
    "MAILBOXID": lambda found, _: f"({objectids.of_folder(found.now.guid)})",
    "HIGHESTMODSEQ": lambda found, _: found.modseq,
    "APPENDLIMIT": lambda _, session: session.worker.limits.max_append,
}


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: bytes
    items: tuple[str, ...]


def parse(cursor: parser.Cursor) -> Status:
    cursor.space()
    mailbox = cursor.astring()
    cursor.space()
    return Status(mailbox, items(cursor))


def items(cursor: parser.Cursor) -> tuple[str, ...]:
    """A parenthesised list of item names."""
    cursor.expect(b"(")
    found: list[str] = []
    while True:
        word = cursor.word()
        if word not in ITEMS:
            cursor.fail("a STATUS item")
        if word not in found:
            found.append(word)
        if cursor.take(b")"):
            return tuple(found)
        cursor.space()


async def status(session: Session, arguments: Status) -> str:
    name = session.home.existing(arguments.mailbox, "r")
    shown = session.home.spelled(name, arguments.mailbox)
    if not await say(session, name, shown, arguments.items):
        raise No("No such mailbox.", "NONEXISTENT")
    return ""


async def say(session: Session, name: str, shown: str, wanted: tuple[str, ...]) -> bool:
    """Say the numbers; False when the mailbox went away."""
    if "HIGHESTMODSEQ" in wanted:
        session.enable("CONDSTORE")
    try:
        found = await session.worker.open_box(session.home, name)
    except box.Gone:
        return False
    if "SIZE" in wanted or "DELETED-STORAGE" in wanted:
        await session.worker.run(found.folder.fill_sizes, found.now.entries)
    text = " ".join(f"{item} {ITEMS[item](found, session)}" for item in wanted)
    session.untagged(b"STATUS " + session.home.wire(shown) + f" ({text})".encode())
    return True
