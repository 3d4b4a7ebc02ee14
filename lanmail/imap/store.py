"""STORE: change the flags of messages (RFC 3501 §6.4.6)."""

from dataclasses import dataclass

from lanmail import changes, keywords, maildir
from lanmail.imap import box, parser, rights
from lanmail.imap.session import EXPUNGED, No, Session

MAX_KEYWORD = 64


@dataclass(frozen=True, slots=True)
class Store:
    numbers: parser.Set
    mode: str  # "+", "-", "="
    flags: tuple[str, ...]
    silent: bool
    uid: bool


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Store:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    mode = "+" if cursor.take(b"+") else "-" if cursor.take(b"-") else "="
    word = cursor.word()
    if word not in ("FLAGS", "FLAGS.SILENT"):
        cursor.fail("FLAGS or FLAGS.SILENT")
    cursor.space()
    flags = flag_names(cursor, cursor.flags_or_run())
    return Store(numbers, mode, flags, word == "FLAGS.SILENT", uid)


def flag_names(cursor: parser.Cursor, raw: list[bytes], *, drop_recent: bool = False) -> tuple[str, ...]:
    """Flags in one spelling each; a system flag that does not exist breaks the grammar."""
    found: dict[str, str] = {}
    for flag in raw:
        text = flag.decode("ascii")
        if text.startswith("\\"):
            if drop_recent and text.lower() == "\\recent":
                continue
            letter = maildir.LETTERS.get(text.lower())
            if letter is None:
                cursor.fail("a flag that clients may set")
            text = maildir.FLAGS[letter]
        elif len(text) > MAX_KEYWORD:
            cursor.fail("a keyword of at most 64 characters")
        found.setdefault(text.lower(), text)
    return tuple(found.values())


async def store(session: Session, arguments: Store) -> str:
    view = session.view
    if view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    steps = rights.plan(rights.here(session), arguments.mode, arguments.flags, view.box.now.keywords.names)
    uids = view.select(arguments.numbers, uid=arguments.uid)
    there = [uid for uid in uids if uid in view.box.messages]
    if there:
        try:
            many = len(there) > box.MANY
            for mode, flags in steps:
                await view.box.change(changes.store, there, mode, flags, many=many)
        except keywords.TooMany as error:
            raise No(f"{error}.", "LIMIT") from error
        there = [uid for uid in there if uid in view.box.messages]
        view.knows(there)
        view.report_keywords(session)
        if not arguments.silent:
            await _tell(session, there)
    return EXPUNGED if len(there) < len(uids) and not arguments.uid else ""


async def _tell(session: Session, uids: list[int]) -> None:
    view = session.view
    for uid in uids:
        entry = view.box.messages.get(uid)
        if entry is not None:
            session.connection.write(view.flags_answer(entry))
            await session.room()


