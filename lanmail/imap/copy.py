"""COPY and MOVE (RFC 3501 §6.4.7, RFC 6851), with COPYUID (RFC 4315 §3)."""

import contextlib
from dataclasses import dataclass

from lanmail import sequenceset
from lanmail.folders import changes, folder, keywords
from lanmail.imap import box, destination, expunge, filling, parser, quotas, rights
from lanmail.imap.session import No, Session

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Copy:
    numbers: parser.Set
    mailbox: bytes
    uid: bool


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Copy:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    return Copy(numbers, cursor.astring(), uid)


async def copy(session: Session, arguments: Copy) -> str:
    code = await _transfer(session, arguments, move=False)
    return f"{code}COPY completed."


async def move(session: Session, arguments: Copy) -> str:
    if session.view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    rights.need(session, "te")
    code = await _transfer(session, arguments, move=True)
    # RFC 6851 §4.3: COPYUID goes before the EXPUNGE answers, in an untagged OK
    if not code:
        return "MOVE completed."
    session.untagged(f"OK {code}Moved.")
    await session.look()
    await session.view.report(session, expunges=True, modseq=False)
    return f"{expunge.highest(session)}MOVE completed."


async def _transfer(session: Session, arguments: Copy, *, move: bool) -> str:
    """Copy the messages, and for MOVE take them out of here; returns the response code with a blank, or ""."""
    source = session.view.box
    uids = session.view.select(arguments.numbers, uid=arguments.uid)
    found = await destination.find(session, arguments.mailbox)
    target = found.box
    if not uids:
        return ""
    giver = session.home.place(session.view.name).owner if move else ""
    sizes = {uid: source.messages[uid].size or 0 for uid in uids if uid in source.messages}
    bases = {uid: source.messages[uid].base for uid in uids if uid in source.messages}
    if giver != found.owner:
        await quotas.check(session, found.owner, sum(sizes.values()), len(sizes))
    try:
        async with contextlib.AsyncExitStack() as turns:
            for one in sorted({source, target} if move else {target}, key=lambda one: one.path):
                await turns.enter_async_context(one.turn(many=len(uids) > box.MANY))
            result = await session.worker.run(
                transfer, source.folder, target.folder, uids, arguments.uid, move, found.flags)
    except FileNotFoundError:
        raise No("Some of the messages are no longer there.", "EXPUNGEISSUED") from None
    except keywords.TooMany as error:
        raise No(f"{error}.", "LIMIT") from error
    await target.refresh()
    if not result:
        return ""
    session.stored(target, [pair[1] for pair in result])
    filling.copied(source, target, [(bases[old], target.messages[new].base) for old, new in result
                                    if old in bases and new in target.messages])
    if giver != found.owner:
        octets, count = sum(sizes.get(uid, 0) for uid, _ in result), len(result)
        session.worker.stored(found.owner, octets, count)
        if giver:
            session.worker.stored(giver, -octets, -count)
    old, new = [pair[0] for pair in result], [pair[1] for pair in result]
    return f"[COPYUID {target.now.uidvalidity} {sequenceset.text(old)} {sequenceset.text(new)}] "


def transfer(
    source: folder.Folder, target: folder.Folder, uids: list[int], lenient: bool, move: bool,
    lasting: changes.Filter = changes.all_flags,
) -> list[tuple[int, int]]:
    """In a thread: pairs (UID here, UID there). A UID that is gone is passed over if `lenient`.

    `lasting` tells which flags of a message go with it.
    """
    with contextlib.ExitStack() as locks:
        if move:
            # both locks, always in the same order: two sessions moving against each other must not wait for ever
            for one in sorted((source, target), key=lambda one: one.path):
                locks.enter_context(one.locked())
        for attempt in range(ATTEMPTS):
            now = source.sync()
            entries = [entry for uid in uids if (entry := now.find(uid))]
            if len(entries) < len(uids) and not lenient:
                raise FileNotFoundError
            if not entries:
                return []
            try:
                if move:
                    _, there = changes.move(source, target, entries, lasting)
                else:
                    files = [(f"{source.path}/{entry.path}", lasting(now.flags(entry)), entry.sizes,
                              entry.base) for entry in entries]
                    _, there = changes.copy(target, [changes.Source(*file) for file in files])
                break
            except FileNotFoundError:  # somebody renamed or removed one meanwhile
                source.distrust()
                if attempt == ATTEMPTS - 1:
                    raise
        return [(entry.uid, uid) for entry, uid in zip(entries, there, strict=True)]
