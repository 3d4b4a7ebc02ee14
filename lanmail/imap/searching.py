"""SEARCH: the walk through the mailbox (RFC 3501 §6.4.4), plain or as ESEARCH (RFC 4731), kept for `$` (RFC 5182).

Keys that file names answer (flags, numbers) narrow the candidates first, many messages at a time; only what is left
is looked at message by message, and opened if it must be.
"""

import contextlib
import functools
import itertools
import os
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TypeVar

from lanmail import atomic, maildir, sequenceset
from lanmail.folders import objectids, snapshot, summaries
from lanmail.imap import (
    lookup,
    mailbox,
    records,
    search,
    searchgrammar,
    searchkeys,
    section,
    streaming,
)
from lanmail.imap.session import Bad, No, Session
from lanmail.imap.waiting import Waiting
from lanmail.mime import summary

T = TypeVar("T")
CHUNK = 10_000
Narrowing = searchkeys.Flag | searchkeys.Uids | searchkeys.Numbers | searchkeys.Recent | searchkeys.ModSeq
FEW = 500
_NONE: frozenset[int] = frozenset()

parse = searchgrammar.parse


async def run(session: Session, arguments: searchgrammar.Search) -> str:
    view, returns = session.view, arguments.returns
    before = view.saved
    if "SAVE" in (returns or ()):
        view.saved = array("I")  # RFC 5182 §2.1: it is empty after a NO
    if arguments.names_charset and "UTF8=ACCEPT" in session.enabled:
        raise Bad("After UTF8=ACCEPT, a SEARCH is in UTF-8.")  # RFC 6855 §3
    if arguments.charset is None:
        raise bad_charset()
    uids = await matching(session, resolved(view, arguments.key, before))
    found = uids if arguments.uid else _numbers(view, uids)
    modseq = highest_modseq(session, arguments.key, _told(returns, uids))
    if returns is None:
        numbers = "".join(f" {number}" for number in found)
        session.untagged(f"SEARCH{numbers}" + (f" (MODSEQ {modseq})" if modseq else ""))
        return view.unsaid(uid=arguments.uid)
    if "SAVE" in returns:
        view.saved = _to_save(returns, uids)
    if returns != ("SAVE",):
        scores = await _scores(session, arguments.key, uids) if "RELEVANCY" in returns else []
        session.untagged(_extended(arguments, found, scores) + (f" MODSEQ {modseq}" if modseq else ""))
    return view.unsaid(uid=arguments.uid)


def highest_modseq(session: Session, key: searchkeys.Key, uids: list[int]) -> int:
    """What RFC 7162 §3.1.6 adds to the answer when MODSEQ was searched for; 0 for nothing."""
    if not _asks_modseq(key):
        return 0
    session.enable("CONDSTORE")
    messages = session.view.box.messages
    return max((entry.modseq for uid in uids if (entry := messages.get(uid))), default=0)


def _asks_modseq(key: searchkeys.Key) -> bool:
    if isinstance(key, searchkeys.Not):
        return _asks_modseq(key.key)
    if isinstance(key, searchkeys.And | searchkeys.Or):
        return any(map(_asks_modseq, key.keys))
    return isinstance(key, searchkeys.ModSeq)


def _told(returns: tuple[str, ...] | None, uids: list[int]) -> list[int]:
    """RFC 4731 §3.2: for MIN and MAX alone the mod-sequence is that of these messages, else of all found."""
    if uids and returns is not None and set(returns) <= {"MIN", "MAX", "SAVE"} and returns != ("SAVE",):
        return [uids[place] for name, place in (("MIN", 0), ("MAX", -1)) if name in returns]
    return uids


async def _scores(session: Session, key: searchkeys.Key, uids: list[int]) -> list[int]:
    """RFC 6203 §4: how relevant each message is."""
    score = await relevancy(session, key, uids)
    scores = dict(await each(session, uids, score, costly=True))
    return [scores.get(uid, 1) for uid in uids]


async def relevancy(session: Session, key: searchkeys.Key, uids: list[int]) -> "Callable[[search.Message], int]":
    """The function that says how relevant a message is that was found."""
    known = await lookup.verdicts(session, [key], len(uids))
    return search.relevancy(key, {one: verdict.scores for one, verdict in known.items()})


def _numbers(view: mailbox.View, uids: list[int]) -> list[int]:
    """The sequence numbers of messages, ascending; of many by one walk through all."""
    if len(uids) < CHUNK:
        return [view.number(uid) for uid in uids]
    wanted = set(uids)
    return [number for number, uid in enumerate(view.uids, 1) if uid in wanted]


def bad_charset() -> No:
    return No("No such charset here.", "BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252)")


def resolved(view: mailbox.View, key: searchkeys.Key, saved: "array[int] | None" = None) -> searchkeys.Key:
    """The key in terms of the mailbox as the session sees it."""
    uids = view.uids
    return searchgrammar.resolved(key, len(uids), uids[-1] if uids else 0, view.saved if saved is None else saved)


def _to_save(returns: tuple[str, ...], uids: list[int]) -> "array[int]":
    """RFC 5182 §2.4: all that was found, or only the first and the last when nothing but these is asked for."""
    ends = {"MIN": 0, "MAX": -1}
    if uids and {"SAVE"} < set(returns) <= {"SAVE", *ends}:
        return array("I", sorted({uids[place] for name, place in ends.items() if name in returns}))
    return array("I", uids)


def _extended(arguments: searchgrammar.Search, found: list[int], scores: list[int]) -> str:
    """RFC 4466 §2.6.2; MIN, MAX and ALL are left out when nothing was found, COUNT is not."""
    parts = [f'ESEARCH (TAG "{arguments.tag}")']
    if arguments.uid:
        parts.append("UID")
    for name in arguments.returns or ():
        if name == "COUNT":
            parts.append(f"COUNT {len(found)}")
        elif name == "RELEVANCY":
            parts.append(f"RELEVANCY ({' '.join(map(str, scores))})")
        elif found and name != "SAVE":
            value = {"MIN": str(found[0]), "MAX": str(found[-1])}.get(name)
            parts.append(f"{name} {value or sequenceset.text(found)}")
    return " ".join(parts)


async def matching(session: Session, key: searchkeys.Key) -> list[int]:
    """The UIDs of the messages that match, ascending."""
    view = session.view
    messages = view.box.messages
    uids = [uid for uid in view.uids if uid in messages]
    rest: list[searchkeys.Key] = []
    for part in _conjuncts(key):
        if isinstance(part, Narrowing):
            narrowed = []
            for start in range(0, len(uids), CHUNK):
                narrowed += _narrow(view, [uid for uid in uids[start : start + CHUNK] if uid in messages], part)
                await session.breathe()
            uids = narrowed
        else:
            rest.append(part)
    if not rest:
        return uids
    uids, sure = await _narrow_by_texts(session, uids, rest)
    known = await lookup.verdicts(session, rest, len(uids))
    uids = functools.reduce(lambda some, key: known[key].candidates(some) if key in known else some, rest, uids)
    surely = frozenset.intersection(*[known[key].finding.sure for key in rest]) if known.keys() >= set(rest) else _NONE
    surely |= sure if len(rest) == 1 else _NONE
    matches = search.compile(searchkeys.And(tuple(rest)), known)
    asked = [uid for uid in uids if uid not in surely]
    found = [uid for uid, yes in await each(session, asked, matches, costly=any(map(search.needs_file, rest))) if yes]
    return sorted([*found, *(uid for uid in uids if uid in surely and uid in messages)]) if surely else found


async def each(session: Session, uids: list[int], ask: "Callable[[Probe], T]", *, costly: bool) -> list[tuple[int, T]]:
    """What `ask` says of each message; those that are gone or cannot be read are left out."""
    messages = session.view.box.messages
    found: list[tuple[int, T]] = []
    waiting = Waiting(session, len(uids))
    with session.view.box.cache.reading() as kept, contextlib.closing(Probe(session.view, kept)) as probe:
        for place, uid in enumerate(uids):
            waiting.tell(place)
            entry = messages.get(uid)
            for _ in range(2):
                if entry is None:
                    break
                try:
                    with probe.of(uid, entry):
                        # a large message is looked through in a thread, so that nobody else has to wait for it
                        large = costly and probe.disk_size() > streaming.LARGE
                        found.append((uid, await session.worker.run(ask, probe) if large else ask(probe)))
                    break
                except FileNotFoundError:  # renamed by another program
                    await session.look()
                    entry = session.view.box.messages.get(uid)
                except OSError:
                    break
            probe.keep()
            await session.breathe()
        probe.keep(all_of_it=True)
    return found


async def _narrow_by_texts(
    session: Session, uids: list[int], keys: list[searchkeys.Key]
) -> tuple[list[int], frozenset[int]]:
    """Those of `uids` that may match, as far as what is kept of Subject and From tells, and those that surely match
    such a key (the last, of several)."""
    box = session.view.box
    wanted = [field for key in keys if isinstance(key, searchkeys.Header) and (field := records.kept_text(key))]
    if not wanted:
        return uids, _NONE
    await box.follow_cache()
    narrowed: list[int] = []
    sure: list[int] = []
    for start in range(0, len(uids), FEW):
        some = [uid for uid in uids[start : start + FEW] if uid in box.messages]
        told: list[bool | None] = []
        with box.cache.reading() as kept:
            for number, text in wanted:
                told = kept.have([box.messages[uid].base for uid in some], number, text)
                some = [uid for uid, one in zip(some, told, strict=True) if one is not False]
                told = [one for one in told if one is not False]
        narrowed += some
        sure += itertools.compress(some, told)
        await session.breathe()
    return narrowed, frozenset(sure)


def _conjuncts(key: searchkeys.Key) -> list[searchkeys.Key]:
    if isinstance(key, searchkeys.And):
        return [part for one in key.keys for part in _conjuncts(one)]
    return [key]


def _narrow(view: mailbox.View, uids: list[int], key: Narrowing) -> list[int]:
    """Those of `uids` that match a key which needs no file."""
    messages = view.box.messages
    if isinstance(key, searchkeys.Flag):
        letter, wanted, mark = key.letter, key.present, maildir.INFO
        # between two keys others had their turn, and may have removed a message
        return [uid for uid in uids
                if (entry := messages.get(uid)) and (letter in entry.name.partition(mark)[2]) is wanted]
    if isinstance(key, searchkeys.ModSeq):
        return [uid for uid in uids if (entry := messages.get(uid)) and entry.modseq >= key.value]
    if isinstance(key, searchkeys.Uids):
        return [uid for low, high in key.ranges for uid in uids[bisect_left(uids, low) : bisect_right(uids, high)]]
    if isinstance(key, searchkeys.Numbers):
        # the numbers of what is left of view.uids are still ascending with the UIDs
        bounds = [(view.uids[max(low, 1) - 1], view.uids[min(high, len(view.uids)) - 1])
                  for low, high in key.ranges if low <= len(view.uids) and high]
        return [uid for low, high in bounds for uid in uids[bisect_left(uids, low) : bisect_right(uids, high)]]
    return [uid for uid in uids if (uid in view.recent) is key.present]


class Probe:
    """One message after another in the shape that `search` asks for; a file is open only inside `of`."""

    def __init__(self, view: mailbox.View, kept: summaries.Reader) -> None:
        self._view = view
        self._kept = kept
        self._fresh: list[summaries.Record] = []
        self._directory = -1  # from which files are opened
        self._descriptor = -1
        self._source: section.Source | None = None
        self._entry: snapshot.Entry
        self.uid = 0

    def close(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)

    def of(self, uid: int, entry: snapshot.Entry) -> "Probe":
        self.uid = uid
        self._entry = entry
        return self

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._source = None

    @property
    def number(self) -> int:
        return self._view.number(self.uid)

    @property
    def flags(self) -> str:
        return self._entry.letters

    @property
    def keywords(self) -> frozenset[str]:
        return frozenset(flag.lower() for flag in self._view.box.now.flags(self._entry) if not flag.startswith("\\"))

    @property
    def recent(self) -> bool:
        return self.uid in self._view.recent

    @property
    def email_id(self) -> str:
        return objectids.of_message(self._entry.base)

    def disk_size(self) -> int:
        size = self._entry.size
        return size if size is not None else os.stat(f"{self._view.box.path}/{self._entry.path}").st_size

    def internal_date(self) -> float:
        return os.stat(f"{self._view.box.path}/{self._entry.path}", follow_symlinks=False).st_mtime

    def saved_date(self) -> float:
        saved = objectids.saved(self._entry.base)
        return self.internal_date() if saved is None else saved  # RFC 8514 §4.3

    def wire_size(self) -> int:
        size = self._entry.wire_size
        return size if size is not None else self.source().wire_size

    def modseq(self) -> int:
        return self._entry.modseq

    def source(self) -> section.Source:
        if self._source is None:
            if self._directory < 0:
                self._directory = os.open(self._view.box.path, os.O_RDONLY | os.O_DIRECTORY)
            self._descriptor, status = atomic.open_looked_at(self._entry.path, dir_fd=self._directory)
            self._source = section.Source(fd=self._descriptor, size=status.st_size)
        return self._source

    def header_source(self) -> section.Source:
        if self._source is None:
            record = self._kept.get(self._entry.base)
            source = None if record is None else records.as_source(record)
            if source is not None:
                return source
            if record is None:
                self._learn()
        return self.source()

    def _learn(self) -> None:
        """Read the header; it is kept for the next search."""
        source, status = self.source(), os.fstat(self._descriptor)
        if summary.is_complete(self._entry.size, status, time.time()):
            self._fresh.append(summary.of_header(source, self._entry.base, status.st_mtime))

    def keep(self, *, all_of_it: bool = False) -> None:
        """Put into the cache what was learned, once it is worth a write."""
        if len(self._fresh) >= FEW or all_of_it:
            fresh, self._fresh = self._fresh, []
            self._view.box.keep(fresh)
