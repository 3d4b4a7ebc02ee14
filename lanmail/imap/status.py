"""STATUS: a few numbers about a mailbox that need not be selected (RFC 3501 §6.3.10, RFC 8438)."""

from dataclasses import dataclass

from lanmail import mutf7
from lanmail.imap import box, names, parser
from lanmail.imap.session import No, Session

ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "DELETED")


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
    name = session.home.existing(arguments.mailbox)
    # clients look for the answer under the name they used
    shown = name if name == "INBOX" else mutf7.decode(arguments.mailbox.decode("ascii"))
    if not await say(session, name, shown, arguments.items):
        raise No("No such mailbox.", "NONEXISTENT")
    return ""


async def say(session: Session, name: str, shown: str, wanted: tuple[str, ...]) -> bool:
    """Say the numbers; False when the mailbox went away."""
    try:
        found = await session.worker.open_box(session.home, name)
        values = await _values(found, wanted, session)
    except box.Gone:
        return False
    text = " ".join(f"{item} {value}" for item, value in zip(wanted, values, strict=True))
    session.untagged(b"STATUS " + names.wire(shown) + f" ({text})".encode())
    return True


async def _values(found: box.Box, wanted: tuple[str, ...], session: Session) -> list[int]:
    snapshot = found.now
    values = []
    for item in wanted:
        if item == "MESSAGES":
            values.append(len(snapshot))
        elif item == "RECENT":
            values.append(found.recent())
        elif item == "UIDNEXT":
            values.append(snapshot.uidnext)
        elif item == "UIDVALIDITY":
            values.append(snapshot.uidvalidity)
        elif item == "UNSEEN":
            values.append(found.unseen()[0])
        elif item == "DELETED":
            values.append(sum("T" in entry.letters for entry in snapshot.entries))
        else:
            await session.worker.run(found.folder.fill_sizes, snapshot)
            values.append(sum(entry.wire_size or 0 for entry in snapshot.entries))
    return values
