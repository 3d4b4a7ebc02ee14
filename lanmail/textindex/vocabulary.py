"""The vocabulary of a full-text index: all its terms in blobs of some 100 KB, line by line, so that the terms that a
needle is part of are found by plain search. A term may stand in it twice.

Needs of the database: TABLE (see below); a blob has a checksum, for a term that is missing would hide documents.
"""

import sqlite3
import zlib
from collections.abc import Iterator

from lanmail.textindex import terms

TABLE = "CREATE TABLE vocabulary (id INTEGER PRIMARY KEY, kind INTEGER, terms BLOB, crc INTEGER)"
_BLOB = 20_000  # terms in one
_FEW = 10_000
_REMEMBERED = 400_000
_LOOSE = 300  # blobs that may be small


class Broken(ValueError):
    """A checksum is wrong."""


def fitting(db: sqlite3.Connection, kind: int, run: terms.Run) -> Iterator[str]:
    """The terms that a run is part of, each once."""
    if run.left and run.right:
        yield run.text
        return
    pattern = (b"\n" if run.left else b"") + run.text.encode() + (b"\n" if run.right else b"")
    found: set[bytes] = set()
    for blob in _blobs(db, kind):
        at = blob.find(pattern)
        while at >= 0:
            end = blob.find(b"\n", at + 1)
            term = blob[blob.rfind(b"\n", 0, at + 1) + 1 : end]
            if term not in found:
                found.add(term)
                yield term.decode()
            at = blob.find(pattern, end)


def _blobs(db: sqlite3.Connection, kind: int, last: int = 1 << 62) -> Iterator[bytes]:
    for blob, checksum in db.execute("SELECT terms, crc FROM vocabulary WHERE kind = ? AND id <= ?", (kind, last)):
        if zlib.crc32(blob) != checksum:
            raise Broken("a checksum in the vocabulary is wrong")
        yield blob


class Filler:
    """Takes the terms of one kind of text, and writes those down that are new."""

    def __init__(self, db: sqlite3.Connection, kind: int) -> None:
        self._db, self._kind = db, kind
        self._seen: set[str] = set()
        self._fresh: set[str] = set()

    def take(self, found: set[str]) -> None:
        self._fresh |= found - self._seen

    def write(self) -> None:
        """To be called before a commit."""
        fresh, self._fresh = self._fresh, set()
        if len(self._seen) + len(fresh) > _REMEMBERED:
            self._seen.clear()
        self._seen |= fresh
        encoded = {term.encode() for term in fresh}
        if len(encoded) < _FEW:  # of many, those that are there already are not worth the search
            for blob in _blobs(self._db, self._kind):
                encoded.difference_update(blob.split(b"\n"))
        self._put(encoded)

    def tidy(self) -> None:
        """Make few large blobs of many small ones."""
        count, size, last = self._db.execute(
            "SELECT count(*), total(length(terms)), max(id) FROM vocabulary WHERE kind = ?", (self._kind,)).fetchone()
        if count <= _LOOSE + size / (1 << 16):
            return
        found: set[bytes] = set()
        for blob in _blobs(self._db, self._kind, last):
            found.update(blob[1:-1].split(b"\n"))
            if len(found) > _REMEMBERED:
                self._put(found)
                found.clear()
        self._put(found)
        self._db.execute("DELETE FROM vocabulary WHERE kind = ? AND id <= ?", (self._kind, last))

    def _put(self, encoded: set[bytes]) -> None:
        lines = sorted(encoded)
        for at in range(0, len(lines), _BLOB):
            blob = b"\n%b\n" % b"\n".join(lines[at : at + _BLOB])
            self._db.execute("INSERT INTO vocabulary (kind, terms, crc) VALUES (?, ?, ?)",
                             (self._kind, blob, zlib.crc32(blob)))
