"""The index of the archive, state/archive/index.sqlite: disposable, made of the journal and the store, never needed.

    with Writer(path) as index:           what is damaged, of another version or of another archive is begun anew
        index.place                       up to where it has read the journal
        index.add(line, data)             a mail; index.add_sent(line) the form in which it went out
        index.remove(seq)                 what is not in the archive any more
        index.commit(place)               all lines of the journal up to there are in
    with Reader(path) as index:           FileNotFoundError: there is none; Damaged: none that can be used

Tables: `mails`, a row for each with what a list shows; `copies`, which account received or sent it; `sent`, the forms
in which mails went out; `words`, FTS5 without content: stemmed words by column, and where they stand; `texts`, the
folded texts, compressed: for the search inside of words, and because an index without content forgets a mail only when
it is told once more what it was. Killed at any moment, the file is what the last commit left.
"""

import contextlib
import os
import sqlite3
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from lanmail.archiving import journal, texts, words
from lanmail.mime import casemap
from lanmail.paths import Paths
from lanmail.textindex import fulltext

NAME = "index.sqlite"
COLUMNS = ("subject", "sender", "recipients", "envelope", "body", "attachments")
HIDDEN = "envelope"  # its recipients: only who sent a mail may know of blind copies
STAMP = f"archive 3 {words.VERSION} {unicodedata.unidata_version}"
_NUMBERS = 1 << 62
LOOSE = 5_000  # mails that came in, or one that went, until it is made tidy
_PAGES = 500  # that one step of that writes
_WAITING = 16 << 20  # octets of words that wait in memory for a commit
_CACHE = 32 << 10  # KiB of pages that stay in memory: ids and Message-IDs come in any order
_BUSY = 10.0
_FUTURE = 2 * 86400  # seconds by which a mail may be from the future; from there on its Date is taken for wrong

_TABLES = (
    "CREATE TABLE about (stamp TEXT, seq INTEGER, hash TEXT, offset INTEGER, clean INTEGER, loose INTEGER)",
    "CREATE TABLE mails (seq INTEGER PRIMARY KEY, id TEXT, form TEXT, file TEXT, date INTEGER, arrived INTEGER, "
    "size INTEGER, attachments INTEGER, direction TEXT, sender TEXT, author TEXT, recipients TEXT, subject TEXT, "
    "names TEXT, message_id TEXT)",
    "CREATE INDEX mails_id ON mails (id)",
    "CREATE INDEX mails_date ON mails (date)",
    "CREATE INDEX mails_message_id ON mails (message_id)",
    "CREATE TABLE copies (account TEXT, seq INTEGER, direction TEXT, PRIMARY KEY (account, seq, direction)) "
    "WITHOUT ROWID",
    "CREATE INDEX copies_seq ON copies (seq)",
    "CREATE TABLE sent (seq INTEGER PRIMARY KEY, id TEXT, file TEXT)",
    "CREATE INDEX sent_id ON sent (id)",
    "CREATE TABLE texts (seq INTEGER PRIMARY KEY, packed BLOB)",
    # `ascii` takes all octets above 127 as letters: each of our words is one token
    f"CREATE VIRTUAL TABLE words USING fts5({', '.join(COLUMNS)}, content='', tokenize='ascii')",
)
_PUT_WORDS = "INSERT INTO words (rowid, subject, sender, recipients, envelope, body, attachments) " \
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
_TAKE_WORDS = "INSERT INTO words (words, rowid, subject, sender, recipients, envelope, body, attachments) " \
    "VALUES ('delete', ?, ?, ?, ?, ?, ?, ?)"
_FORGET = tuple(f"DELETE FROM {table} WHERE seq = ?" for table in ("mails", "copies", "texts"))  # noqa: S608 — ours
_PUT_MAIL = "INSERT INTO mails VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Damaged(Exception):
    """The file is no index, not one of this version, or broken."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What a mail line of the journal says, as far as it is searched; times are seconds since 1970."""

    seq: int
    id: str
    form: str
    file: str
    size: int
    arrived: float
    direction: str
    submitter: str
    receivers: tuple[str, ...]
    sender: str
    recipients: tuple[str, ...]
    message_id: str

    @classmethod
    def of(cls, line: journal.Line) -> Self:
        """ValueError when the line is not as lines are."""
        data = line.data
        try:
            made = cls(line.seq, _text(data["id"]), _text(data["form"]), _text(data["file"]), int(data["size"]),
                       journal.moment(data["arrived"]), _text(data["direction"]), _text(data["submitter"]),
                       tuple(map(_text, data["receivers"])), _text(data["sender"]),
                       tuple(map(_text, data["recipients"])), _text(data["message_id"]))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"line {line.seq} of the journal: {error}") from error
        if not (0 < made.seq < _NUMBERS and 0 <= made.size < _NUMBERS):
            raise ValueError(f"line {line.seq} of the journal has numbers that cannot be")
        return made


def _text(value: Any) -> str:
    """A text that a database takes: JSON can hold half characters."""
    return str(value).encode("utf-8", "replace").decode()


def path(where: Paths) -> Path:
    """Where the index lies."""
    return where.state / "archive" / NAME


def size(file: Path) -> int:
    """Octets of it on disk."""
    total = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            total += os.stat(f"{file}{suffix}").st_size
    return total


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """OSError for what may pass (no room, locked), Damaged for what does not."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such" in str(error) or "malformed" in str(error) or "vtable constructor" in str(error):
            raise Damaged(str(error)) from error
        raise OSError(str(error)) from error
    except (sqlite3.Error, zlib.error, ValueError, TypeError, OverflowError) as error:
        raise Damaged(str(error)) from error


class _File:
    def __init__(self, file: Path, mode: str) -> None:
        self.db = sqlite3.connect(f"file:{quote(os.fspath(file))}?mode={mode}", uri=True, timeout=_BUSY,
                                  isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def about(self) -> journal.Place:
        """Up to where the index has read the journal. Damaged when it is none of this version."""
        row = self.db.execute("SELECT stamp, seq, hash, offset FROM about").fetchone()
        if row is None or row[0] != STAMP:
            raise Damaged("another version")
        return journal.Place(int(row[1]), str(row[2]), int(row[3]))


class Reader(_File):
    """The index as it was at the last commit; it does not wait for the writer, nor the writer for it."""

    def __init__(self, file: Path) -> None:
        os.stat(file)
        with damage():
            super().__init__(file, "rw")  # readers of a write-ahead log write to its index
            try:
                self.db.execute("BEGIN")  # one view, whatever is committed meanwhile
                self.place = self.about()
            except BaseException:
                self.db.close()
                raise

    def texts(self, seq: int) -> list[str]:
        """The folded texts of a mail by column, as far as they are searched; empty ones for what is not there."""
        with damage():
            row = self.db.execute("SELECT packed FROM texts WHERE seq = ?", (seq,)).fetchone()
            return unpack(row[0]) if row else [""] * len(COLUMNS)


class Writer(_File):
    """The one who fills the index; that there is only one at a time is for the caller to see to. Damaged, OSError."""

    def __init__(self, file: Path, *, anew: bool = False) -> None:
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if anew:
            fulltext.remove(file)
        try:
            self._open(file)
        except Damaged:
            fulltext.remove(file)
            self._open(file)

    def _open(self, file: Path) -> None:
        with damage():
            super().__init__(file, "rwc")
            try:
                os.chmod(file, 0o600)
                self.db.execute("PRAGMA journal_mode = WAL")
                self.db.execute("PRAGMA synchronous = NORMAL")
                self.db.execute("PRAGMA secure_delete = ON")  # what is erased leaves no traces
                self.db.execute(f"PRAGMA cache_size = -{_CACHE}")
                if not self.db.execute("PRAGMA schema_version").fetchone()[0]:
                    self._create()
                self.place = self.about()
                self._look()
            except BaseException:
                self.db.close()
                raise

    def _create(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            self.db.execute(statement)
        self.db.execute("INSERT INTO words (words, rank) VALUES ('hashsize', ?)", (_WAITING,))
        at = journal.Place()
        self.db.execute("INSERT INTO about VALUES (?, ?, ?, ?, 1, 0)", (STAMP, at.seq, at.hash, at.offset))
        self.db.execute("COMMIT")

    def _look(self) -> None:
        """After a crash, see whether the file is sound."""
        clean = self.db.execute("SELECT clean FROM about").fetchone()[0]
        if not clean and self.db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Damaged("broken")
        self.db.execute("UPDATE about SET clean = 0")

    def add(self, filed: Filed, data: bytes) -> None:
        """A mail; `data` without its envelope, empty when its file cannot be read."""
        found = texts.of(data)
        arrived, date = int(filed.arrived), found.date
        sent = int(date) if date is not None and 0 <= date <= arrived + _FUTURE else arrived
        columns = (found.subject, f"{found.author}\n{casemap.fold(filed.sender)}", found.recipients,
                   casemap.fold("\n".join((*filed.recipients, found.blind))), found.body, found.attachments)
        copies = [(one, filed.seq, "in") for one in filed.receivers]
        copies += [(filed.submitter, filed.seq, "out")] if filed.submitter else []
        row = (filed.seq, filed.id, filed.form, filed.file, sent, arrived, filed.size, len(found.names),
               filed.direction, filed.sender, found.shown_author, found.shown_recipients, found.shown_subject,
               "\n".join(found.names)[:texts.MAX_HEAD], filed.message_id)
        with damage():
            self._begin()
            if self.db.execute("SELECT 1 FROM mails WHERE seq = ?", (filed.seq,)).fetchone():
                self.hide(filed.seq)  # a journal with two lines of one number is damaged, and the later one counts
            self.db.execute(_PUT_MAIL, row)
            self.db.executemany("INSERT OR IGNORE INTO copies VALUES (?, ?, ?)", copies)
            self.db.execute(_PUT_WORDS, (filed.seq, *_words(columns)))
            self.db.execute("INSERT INTO texts VALUES (?, ?)", (filed.seq, _pack(columns)))
            self.db.execute("UPDATE about SET loose = loose + 1")

    def remove(self, seq: int) -> None:
        """Forget a mail, or a form in which it went out; nothing happens when it is not there."""
        self.hide(seq)
        with damage():
            self.db.execute("DELETE FROM sent WHERE seq = ?", (seq,))

    def hide(self, seq: int) -> None:
        """Find it no more by itself."""
        with damage():
            self._begin()
            row = self.db.execute("SELECT packed FROM texts WHERE seq = ?", (seq,)).fetchone()
            if row is not None:
                self.db.execute(_TAKE_WORDS, (seq, *_words(unpack(row[0]))))
                self.db.execute("UPDATE about SET loose = loose + ?", (LOOSE,))  # its words are to go soon
            for statement in _FORGET:
                self.db.execute(statement, (seq,))

    def number(self, mail_id: str) -> tuple[int, str] | None:
        """The seq of the mail with that id that is found, and which form of it."""
        with damage():
            row = self.db.execute("SELECT seq, form FROM mails WHERE id = ?", (mail_id,)).fetchone()
            return (int(row[0]), str(row[1])) if row else None

    def add_sent(self, filed: Filed) -> None:
        """The form in which a mail went out, whether or not there is another one."""
        with damage():
            self._begin()
            self.db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", (filed.seq, filed.id, filed.file))

    def _begin(self) -> None:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")

    def commit(self, at: journal.Place) -> None:
        """The journal is read up to there; a kill from now on does not lose it."""
        with damage():
            self._begin()
            self.db.execute("UPDATE about SET seq = ?, hash = ?, offset = ?", (at.seq, at.hash, at.offset))
            self.db.execute("COMMIT")
        self.place = at

    def tidy(self, enough: Callable[[], bool]) -> bool:
        """After many changes, make searches fast again, and let words of what was removed go for good.

        True when that is done; False: `enough` said so, which is asked after each of many steps.
        """
        with damage():
            if self.db.execute("SELECT loose FROM about").fetchone()[0] < LOOSE:
                return True
            pages = -_PAGES  # begin to make one of all
            while True:
                before = self.db.total_changes
                self.db.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
                if self.db.total_changes - before < 2:  # nothing was left to do
                    break
                if enough():
                    return False
                pages = _PAGES
            self.db.execute("UPDATE about SET loose = 0")
            return True

    def finish(self) -> None:
        """Say that all is well."""
        with damage():
            self.db.execute("UPDATE about SET clean = 1")
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _words(columns: Sequence[str]) -> list[str]:
    return [" ".join(words.of(text)) for text in columns]


def _pack(columns: Sequence[str]) -> bytes:
    return zlib.compress("\0".join(columns).encode("utf-8", "surrogatepass"), 1)


def unpack(packed: bytes) -> list[str]:
    columns = zlib.decompress(packed).decode("utf-8", "surrogatepass").split("\0")
    if len(columns) != len(COLUMNS):
        raise ValueError("a text is broken")
    return columns
