"""STORE: change the flags of messages (RFC 3501 §6.4.6), also only if nobody else did (RFC 7162 §3.1.3)."""

from collections.abc import Callable
from dataclasses import dataclass

from lanmail import maildir, sequenceset
from lanmail.folders import changes, keywords
from lanmail.folders.snapshot import Entry, Snapshot
from lanmail.imap import box, parser, rights
from lanmail.imap.session import EXPUNGED, No, Session

MAX_KEYWORD = 64
CHUNK = 100  # messages told of between two looks at the clock


@dataclass(frozen=True, slots=True)
class Store:
    numbers: parser.Set
    mode: str  # "+", "-", "="
    flags: tuple[str, ...]
    silent: bool
    uid: bool
    unchanged_since: int | None = None


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Store:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    unchanged_since = _modifier(cursor) if cursor.take(b"(") else None
    mode = "+" if cursor.take(b"+") else "-" if cursor.take(b"-") else "="
    word = cursor.word()
    if word not in ("FLAGS", "FLAGS.SILENT"):
        cursor.fail("FLAGS or FLAGS.SILENT")
    cursor.space()
    flags = flag_names(cursor, cursor.flags_or_run())
    return Store(numbers, mode, flags, word == "FLAGS.SILENT", uid, unchanged_since)


def _modifier(cursor: parser.Cursor) -> int:
    if cursor.word() != "UNCHANGEDSINCE":
        cursor.fail("UNCHANGEDSINCE")
    cursor.space()
    modseq = cursor.modseq()
    cursor.expect(b") ")
    return modseq


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
    if arguments.unchanged_since is not None:
        session.enable("CONDSTORE")
    if view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    steps = rights.plan(rights.here(session), arguments.mode, arguments.flags, view.box.now.keywords.names)
    uids = view.select(arguments.numbers, uid=arguments.uid)
    before = {uid: entry for uid in uids if (entry := view.box.messages.get(uid))}
    if not before:
        return EXPUNGED if uids and not arguments.uid else ""
    snapshot = view.box.now
    try:
        _, kept = await view.box.change(changes.store_steps, list(before), steps, arguments.unchanged_since,
                                        many=len(before) > box.MANY)
    except keywords.TooMany as error:
        raise No(f"{error}.", "LIMIT") from error
    there = [uid for uid in before if uid in view.box.messages]
    view.report_keywords(session)
    await _Telling(session, arguments, steps, snapshot, kept).tell(before, there)
    missing = len(there) < len(uids) and not arguments.uid
    if kept:
        code = "MODIFIED " + sequenceset.text([uid if arguments.uid else view.number(uid) for uid in sorted(kept)])
        if missing:
            raise No("Some of the messages no longer exist.", code)
        return f"[{code}] Others changed some of the messages."
    return EXPUNGED if missing else ""


class _Telling:
    """What the client is told of the messages: all of them, or with .SILENT what it cannot know."""

    def __init__(self, session: Session, arguments: Store, steps: changes.Steps, before: Snapshot,
                 kept: set[int]) -> None:
        self._session = session
        self._view = session.view
        self._arguments = arguments
        self._steps = steps
        self._before = before
        self._kept = kept
        self._guessed: dict[tuple[str, str], bool] = {}

    async def tell(self, before: dict[int, Entry], uids: list[int]) -> None:
        messages = self._view.box.messages
        tell = self._tell_unguessed if self._arguments.silent else self._tell_all
        for start in range(0, len(uids), CHUNK):
            tell([(before[uid], entry) for uid in uids[start : start + CHUNK] if (entry := messages.get(uid))])
            await self._session.room()

    def _tell_all(self, pairs: list[tuple[Entry, Entry]]) -> None:
        answer, write = self._view.flags_answer, self._session.connection.write
        write(b"".join([answer(entry) for _, entry in pairs]))
        self._view.told.update([(entry.uid, entry.modseq) for _, entry in pairs])

    def _tell_unguessed(self, pairs: list[tuple[Entry, Entry]]) -> None:
        view, write, kept = self._view, self._session.connection.write, self._kept
        known, told, last, guesses = view.flags_known, view.told, view.told.get, self._guesses()
        numbers, unchanged_too = self._session.condstore, self._arguments.unchanged_since is not None
        for old, entry in pairs:
            uid = entry.uid
            if uid in kept:
                write(view.flags_answer(entry))
            elif known < old.modseq > last(uid, 0) or not guesses(old, entry):
                continue  # more happened to it than this command: that will be told in full
            elif numbers and (entry is not old or unchanged_too):
                # RFC 7162 §3.1.3: .SILENT keeps back the flags, never the mod-sequence
                write(view.flags_answer(entry, flags=False))
            told[uid] = entry.modseq

    def _guesses(self) -> Callable[[Entry, Entry], bool]:
        """Whether the flags of a message are what a client expects that knew the old ones."""
        if self._before.keywords.further_of or self._view.box.now.keywords.further_of:
            return self._guess
        known, mark, guess = self._guessed, maildir.INFO, self._guess

        def guesses(old: Entry, new: Entry) -> bool:
            key = old.name.partition(mark)[2], new.name.partition(mark)[2]
            found = known.get(key)
            if found is None:
                found = known[key] = guess(old, new)
            return found

        return guesses

    def _guess(self, old: Entry, new: Entry) -> bool:
        expected = {flag.lower() for flag in self._before.flags(old)}
        for mode, flags in self._steps:
            given = {flag.lower() for flag in flags}
            expected = expected | given if mode == "+" else expected - given if mode == "-" else given
        return expected == {flag.lower() for flag in self._view.box.now.flags(new)}
