"""SORT and THREAD: searches whose results come in an order that the server makes (RFC 5256, RFC 5957)."""

from dataclasses import dataclass

from lanmail.imap import parser, searchgrammar, searching, searchkeys, sortkeys, threads
from lanmail.imap.session import Session

MAX_CRITERIA = 20
RELEVANCY = "RELEVANCY"
ALGORITHMS = {
    "ORDEREDSUBJECT": (threads.ordered_subject, sortkeys.by_subject),
    "REFERENCES": (threads.references, sortkeys.threading),
    "REFS": (threads.refs, sortkeys.threading),
}


@dataclass(frozen=True, slots=True)
class Sort:
    """The criteria, each with whether it is turned round; `charset` is None when we know no such charset."""

    criteria: tuple[tuple[str, bool], ...]
    charset: str | None
    key: searchkeys.Key
    uid: bool


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: str
    charset: str | None
    key: searchkeys.Key
    uid: bool


def parse_sort(cursor: parser.Cursor, *, uid: bool = False) -> Sort:
    cursor.space()
    cursor.expect(b"(")
    criteria: list[tuple[str, bool]] = []
    while not criteria or not cursor.take(b")"):
        if criteria:
            cursor.space()
        word = cursor.word()
        if reverse := word == "REVERSE":
            cursor.space()
            word = cursor.word()
        if word not in (*sortkeys.CRITERIA, RELEVANCY) or len(criteria) >= MAX_CRITERIA:
            cursor.fail("a sort criterion")
        criteria.append((word, reverse))
    cursor.space()
    charset, key = searchgrammar.charset_and_keys(cursor)
    return Sort(tuple(criteria), charset, key, uid)


def parse_thread(cursor: parser.Cursor, *, uid: bool = False) -> Thread:
    cursor.space()
    algorithm = cursor.word()
    if algorithm not in ALGORITHMS:
        cursor.fail("a threading algorithm")
    cursor.space()
    charset, key = searchgrammar.charset_and_keys(cursor)
    return Thread(algorithm, charset, key, uid)


async def sort(session: Session, arguments: Sort) -> str:
    uids = await _found(session, arguments)
    names = [name for name, _ in arguments.criteria]
    more: dict[str, sortkeys.Ask] = {}
    if RELEVANCY in names:  # RFC 6203 §6: the most relevant come first
        score = await searching.relevancy(session, arguments.key, uids)
        more[RELEVANCY] = lambda of: -score(of)
    keys = sortkeys.for_criteria(names, more)
    found = dict(await searching.each(session, uids, keys, costly=True))
    order = await session.worker.run(_ordered, found, [reverse for _, reverse in arguments.criteria])
    numbers = order if arguments.uid else map(session.view.number, order)
    modseq = searching.highest_modseq(session, arguments.key, order)
    session.untagged("SORT" + "".join(f" {number}" for number in numbers) + (f" (MODSEQ {modseq})" if modseq else ""))
    return session.view.unsaid(uid=arguments.uid)


def _ordered(found: dict[int, sortkeys.Keys], reverse: list[bool]) -> list[int]:
    """The UIDs in order; what is alike stays in the order of the mailbox, also where a criterion is turned round."""
    order = list(found)
    for place in reversed(range(len(reverse))):
        order.sort(key=lambda uid: found[uid][place], reverse=reverse[place])
    return order


async def thread(session: Session, arguments: Thread) -> str:
    make, ask = ALGORITHMS[arguments.algorithm]
    found = await searching.each(session, await _found(session, arguments), ask, costly=True)
    numbers = [uid if arguments.uid else session.view.number(uid) for uid, _ in found]
    text = await session.worker.run(lambda: threads.written(make([message for _, message in found]), numbers))
    session.untagged(f"THREAD {text}" if text else "THREAD")
    return session.view.unsaid(uid=arguments.uid)


async def _found(session: Session, arguments: Sort | Thread) -> list[int]:
    if arguments.charset is None:
        raise searching.bad_charset()
    return await searching.matching(session, searching.resolved(session.view, arguments.key))
