"""A full-text index for exact substrings: which documents may hold a text, and which do for sure.

One SQLite file. A document is a number in a collection and has texts of several kinds, folded for comparison by the
caller. Their terms (terms.py) are in an FTS5 table; beside it stands the vocabulary (vocabulary.py).

    with Reader(path, stamp) as index:               OSError: there is none; Damaged: none that can be used
        part = index.collection(name, version)       None when it is not in the index
        index.lookup(part, kinds, needle) -> Finding | None       None: the needle cannot be looked up
        index.scores(part, kinds, words) -> {number: score} | None      the same for inflected words (stems.py)

    with Writer(path, stamp) as index:               what is damaged or has another stamp is begun anew
        index.arrange({name: (version, documents)})  follows collections that were renamed, forgets those that are gone
        part = index.begin(name, version)
        index.add(number, {kind: texts})             numbers ascending; index.skip(number) what cannot be indexed
        index.commit(number)                         all up to that number is in
        index.finish()                               what makes lookups fast

The file is disposable: nothing is in it that is not elsewhere. Killed at any moment it is what the last commit left.
Documents are only ever added; those that are gone stay until they outweigh the others.
"""

import contextlib
import os
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from lanmail.textindex import stems, terms, vocabulary

BODY, HEAD = KINDS = (0, 1)
MAX_TERMS = 50_000  # of one kind in one document; one that has more is not indexed
MAX_LOOKUPS = 3_000  # terms that a needle is part of; what further ones say is not asked
MAX_SPARE = 20_000  # documents that are gone and may stay in any case
_FORMAT = "1"
_NUMBERS = 1 << 32
_MANY = 5_000
_BUSY = 10.0


class Damaged(Exception):
    """The file is no index, not one of this format and stamp, or broken."""


@dataclass(frozen=True, slots=True)
class Part:
    """A collection: documents with numbers up to `upto` are in the index, but for those in `skipped`."""

    id: int
    upto: int
    skipped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Finding:
    """Documents that hold the text for sure, and those that may; `possible` is None when all may."""

    sure: frozenset[int]
    possible: frozenset[int] | None


class _File:
    """What reading and writing have in common."""

    def __init__(self, path: str | os.PathLike[str], stamp: str, mode: str) -> None:
        self.stamp = f"{_FORMAT} {stamp}"
        self.db = sqlite3.connect(f"file:{quote(os.fspath(path))}?mode={mode}", uri=True, timeout=_BUSY,
                                  isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def collection(self, name: str, version: str) -> Part | None:
        """The collection of that name, if it is still that version."""
        with _damage():
            row = self.db.execute("SELECT id, upto, skipped FROM collections WHERE name = ? AND version = ?",
                                  (name, version)).fetchone()
            return Part(row[0], row[1], frozenset(array("I", row[2]))) if row else None

    def _is_current(self) -> bool:
        row = self.db.execute("SELECT stamp FROM about").fetchone()
        return row is not None and row[0] == self.stamp


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """OSError for what may pass (no descriptor left, locked), Damaged for what does not."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(str(error)) from error
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:  # also values that no writer wrote
        raise Damaged(str(error)) from error


class Reader(_File):
    """The index as it was at the last commit; writers do not wait for readers, nor readers for writers."""

    def __init__(self, path: str | os.PathLike[str], stamp: str) -> None:
        os.stat(path)
        with _damage():
            super().__init__(path, stamp, "rw")  # readers of a write-ahead log write to its index
            try:
                self.db.execute("BEGIN")  # one view, whatever is committed meanwhile
                if not self._is_current():
                    raise Damaged("another format")
            except BaseException:
                self.db.close()
                raise

    def lookup(self, part: Part, kinds: Iterable[int], needle: str) -> Finding | None:
        """Which documents of a collection have the folded needle in a text of one of the kinds."""
        runs = terms.runs(needle)
        if not runs:
            return None
        with _damage():
            findings = [self._lookup(part, kind, runs) for kind in kinds]
        sure = frozenset[int]().union(*[finding.sure for finding in findings])
        possible = [finding.possible for finding in findings if finding.possible is not None]
        if len(possible) < len(findings):
            return Finding(sure, None)
        return Finding(sure, frozenset[int]().union(*possible))

    def scores(self, part: Part, kinds: Collection[int], words: list[stems.Word]) -> dict[int, int] | None:
        """The documents that have all the words or their inflections, and how well; None: too many to look up."""
        found: dict[int, list[int]] = {}
        with _damage():
            for count, word in enumerate(words):
                ranks: dict[int, int] = {}
                for kind in kinds:
                    if not self._rank(part, kind, word, ranks):
                        return None
                found = {number: [*found.get(number, ()), rank] for number, rank in ranks.items()
                         if not count or number in found}
        return {number: stems.mean(ranks) for number, ranks in found.items()}

    def _rank(self, part: Part, kind: int, word: stems.Word, ranks: dict[int, int]) -> bool:
        """Add what one kind of text says of a word; False when there are too many terms."""
        asked = 0
        for run in (word.run, word.start):
            for term in vocabulary.fitting(self.db, kind, run):
                if rank := word.rank(term):
                    for number in self._documents(part, kind, term):
                        ranks[number] = max(rank, ranks.get(number, 0))
                    asked += 1
                    if asked > MAX_LOOKUPS:
                        return False
        return True

    def _lookup(self, part: Part, kind: int, runs: list[terms.Run]) -> Finding:
        possible: set[int] | None = None
        for run in runs:
            found, complete = self._having(part, kind, run)
            if run.whole:
                return Finding(frozenset(found), frozenset(found) if complete else None)
            if complete:
                possible = found if possible is None else possible & found
                if not possible:
                    break
        return Finding(frozenset(), None if possible is None else frozenset(possible))

    def _having(self, part: Part, kind: int, run: terms.Run) -> tuple[set[int], bool]:
        """The documents with a term that fits; False when there are too many terms to look them all up."""
        found: set[int] = set()
        for count, term in enumerate(vocabulary.fitting(self.db, kind, run)):
            if count == MAX_LOOKUPS:
                return found, False
            found |= self._documents(part, kind, term)
        return found, True

    def _documents(self, part: Part, kind: int, term: str) -> set[int]:
        first = _first(part, kind)
        # group_concat: a row for each would cost five times as much
        row = self.db.execute(
            "SELECT group_concat(rowid - ?) FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ?",
            (first, f'"{term}"', first, first + _NUMBERS - 1)).fetchone()
        return set(map(int, row[0].split(","))) if row[0] else set()


def _first(part: Part, kind: int) -> int:
    """Where the numbers of a collection begin in the FTS5 table."""
    return (part.id * len(KINDS) + kind) * _NUMBERS


class Writer(_File):
    """The one who fills an index; that there is only one at a time is for the caller to see to."""

    def __init__(self, path: str | os.PathLike[str], stamp: str, *, anew: bool = False) -> None:
        if anew:
            remove(path)
        try:
            self._open(path, stamp)
        except (sqlite3.DatabaseError, Damaged):
            remove(path)
            self._open(path, stamp)

    def _open(self, path: str | os.PathLike[str], stamp: str) -> None:
        super().__init__(path, stamp, "rwc")
        self._fillers = [vocabulary.Filler(self.db, kind) for kind in KINDS]
        self._part = Part(0, 0, frozenset())
        self._skipped: set[int] = set()
        self._added = self._unmerged = 0
        try:
            os.chmod(path, 0o600)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
            if self.db.execute("PRAGMA schema_version").fetchone()[0]:
                self._take_over()
            else:
                self._create()
        except BaseException:
            self.db.close()
            raise

    def _take_over(self) -> None:
        if not self._is_current():
            raise Damaged("another format")
        clean = self.db.execute("SELECT clean FROM about").fetchone()[0]
        if not clean and self.db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Damaged("broken")
        self.db.execute("UPDATE about SET clean = 0")

    def _create(self) -> None:
        with self._transaction():
            self.db.execute("CREATE TABLE about (stamp TEXT, clean INTEGER, documents INTEGER)")
            self.db.execute("INSERT INTO about VALUES (?, 0, 0)", (self.stamp,))
            self.db.execute("CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, version TEXT, "
                            "upto INTEGER, skipped BLOB, UNIQUE (name, version))")
            self.db.execute(vocabulary.TABLE)
            # `ascii` takes all octets above 127 as letters: each of our terms is one token
            self.db.execute("CREATE VIRTUAL TABLE postings USING fts5(terms, content='', detail=none, columnsize=0, "
                            "tokenize='ascii')")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        yield
        self.db.execute("COMMIT")

    def arrange(self, present: Mapping[str, tuple[str, int]]) -> None:
        """Compare with the collections that there are, by name their version and number of documents."""
        rows = self.db.execute("SELECT name, version, id FROM collections").fetchall()
        known = {(name, version): number for name, version, number in rows}
        wanted = {(name, version) for name, (version, _) in present.items()}
        lost = {key[1]: number for key, number in known.items() if key not in wanted}
        live = sum(documents for _, documents in present.values())
        with self._transaction():
            if self.db.execute("SELECT documents FROM about").fetchone()[0] > 2 * live + MAX_SPARE:
                self._empty()
                return
            for name, version in wanted - known.keys():
                if version in lost:  # renamed
                    self.db.execute("UPDATE collections SET name = ? WHERE id = ?", (name, lost.pop(version)))
            self.db.executemany("DELETE FROM collections WHERE id = ?", [(number,) for number in lost.values()])

    def _empty(self) -> None:
        self.db.execute("INSERT INTO postings (postings) VALUES ('delete-all')")
        self.db.execute("DELETE FROM vocabulary")
        self.db.execute("DELETE FROM collections")
        self.db.execute("UPDATE about SET documents = 0")

    def begin(self, name: str, version: str) -> Part:
        """Documents of this collection come next."""
        self.db.execute("INSERT OR IGNORE INTO collections (name, version, upto, skipped) VALUES (?, ?, 0, x'')",
                        (name, version))
        part = self.collection(name, version)
        assert part is not None
        self._part, self._skipped = part, set(part.skipped)
        return part

    def add(self, number: int, texts: Mapping[int, Collection[str]]) -> None:
        """Index a document; one with too many terms is skipped."""
        found = {kind: set[str]().union(*map(terms.terms, of_kind)) for kind, of_kind in texts.items()}
        if any(len(of_kind) > MAX_TERMS for of_kind in found.values()):
            self.skip(number)
            return
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        for kind, of_kind in found.items():
            self.db.execute("INSERT INTO postings (rowid, terms) VALUES (?, ?)",
                            (_first(self._part, kind) + number, " ".join(of_kind)))
            self._fillers[kind].take(of_kind)
        self._added += 1

    def skip(self, number: int) -> None:
        """Leave a document out: lookups do not know it, so that it is looked through."""
        self._skipped.add(number)

    def commit(self, number: int) -> None:
        """All documents up to that number are in, or skipped; a kill from now on does not lose them."""
        with self._transaction():
            for filler in self._fillers:
                filler.write()
            self.db.execute("UPDATE collections SET upto = ?, skipped = ? WHERE id = ?",
                            (number, array("I", sorted(self._skipped)).tobytes(), self._part.id))
            self.db.execute("UPDATE about SET documents = documents + ?", (self._added,))
        self._unmerged += self._added
        self._added = 0

    def finish(self) -> None:
        """Make lookups fast, and say that all is well."""
        with self._transaction():
            for filler in self._fillers:
                filler.tidy()
        if self._unmerged > _MANY:
            self.db.execute("INSERT INTO postings (postings) VALUES ('optimize')")
        self.db.execute("UPDATE about SET clean = 1")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def remove(path: str | os.PathLike[str]) -> None:
    """Remove the file of an index and those beside it."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{os.fspath(path)}{suffix}")
