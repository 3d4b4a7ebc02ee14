"""IMAP keywords of a folder: Dovecot's `dovecot-keywords` for the first 26, a file of ours for the rest.

    load(directory) -> Table                                   cheap; cached by the caller through `stamp`
    stamp(directory) -> tuple                                  changes when one of the two files changes
    allot(directory, table, names) -> Table                    every name has its place; the dotlock must be held
    assign(directory, table, {base: names}) -> Table           sets the further keywords of messages; dotlock held
    forget(directory, table, alive: Container[str]) -> Table   drops what is said about expunged messages; dotlock held
    rewrite(directory, table) -> None                          both files anew; dotlock held
    Table.letters(names) -> str        file name letters a-z of those that have one
    Table.further(names) -> tuple      those that live in our file
    Table.of(letters, base) -> tuple   all keywords of one message, by its file name
    Table.names -> tuple               all keywords of the folder

`dovecot-keywords`: lines `<index 0-25> <keyword>`; letter a is index 0. `lanmail-keywords`: lines
`<keyword> <keyword> …<TAB><base name>`, appended, the last line for a base name counts. Keywords are compared without
case (RFC 9051 §2.3.2); the first spelling stays. The lock is the uidlist's.
"""

import contextlib
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lanmail import atomic

NAME = "dovecot-keywords"
FURTHER = "lanmail-keywords"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAX_KEYWORDS = 200
_LIMIT = 64 << 20
_KEYWORD = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]{1,200}\Z')  # RFC 3501 §9: an atom


class TooMany(ValueError):
    """The folder has as many keywords as it may have."""


@dataclass(frozen=True, slots=True)
class Table:
    """The keywords of one folder; immutable. `by_letter` maps a letter to its keyword."""

    by_letter: Mapping[str, str] = field(default_factory=dict)
    further_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    further_names: tuple[str, ...] = ()
    lines: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """All keywords."""
        return (*self.by_letter.values(), *self.further_names)

    def letters(self, names: Iterable[str]) -> str:
        """The letters of those of `names` that have one, sorted."""
        wanted = {name.lower() for name in names}
        return "".join(letter for letter, name in self.by_letter.items() if name.lower() in wanted)

    def further(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that have no letter, in the spelling of the folder."""
        wanted = {name.lower() for name in names}
        return tuple(name for name in self.further_names if name.lower() in wanted)

    def of(self, letters: str, base: str) -> tuple[str, ...]:
        """The keywords of the message with this base name and these flag letters."""
        known = self.by_letter
        first = tuple(known[letter] for letter in letters if letter in known)
        return first + self.further_of.get(base, ())


def stamp(directory: str) -> tuple[int, ...]:
    """Inode, size and mtime of both files; empty parts for missing ones."""
    result: list[int] = []
    for name in (NAME, FURTHER):
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(f"{directory}/{name}")
            result += (status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(result)


def load(directory: str) -> Table:
    """Read both files; lines that make no sense are passed over."""
    by_letter: dict[str, str] = {}
    for line in _read(f"{directory}/{NAME}").split("\n"):
        digits, _, name = line.partition(" ")
        known = digits.isascii() and digits.isdigit() and len(digits) < 3 and int(digits) < len(LETTERS)
        if known and _KEYWORD.match(name):
            by_letter[LETTERS[int(digits)]] = name
    further_of: dict[str, tuple[str, ...]] = {}
    spelled: dict[str, str] = {}
    lines = _read(f"{directory}/{FURTHER}").split("\n")
    for line in lines[:-1]:  # the last one is empty, or a torn append
        words, tab, base = line.partition("\t")
        if tab and base:
            further_of[base] = tuple(_spelled(words, spelled))
    taken = {name.lower() for name in by_letter.values()}
    return Table(dict(sorted(by_letter.items())), {base: names for base, names in further_of.items() if names},
                 tuple(name for key, name in spelled.items() if key not in taken), len(lines) - 1)


def _spelled(words: str, known: dict[str, str]) -> Iterator[str]:
    """The keywords in a line as they were spelled first; nothing that the folder cannot have."""
    for word in words.split(" "):
        key = word.lower()
        if key in known:
            yield known[key]
        elif _KEYWORD.match(word) and len(known) < MAX_KEYWORDS:
            known[key] = word
            yield word


def _read(path: str) -> str:
    try:
        return os.fsdecode(atomic.read(path, _LIMIT))
    except OSError:  # missing, or not a regular file
        return ""


def allot(directory: str, table: Table, names: Iterable[str]) -> Table:
    """Give every one of `names` a place, a letter as long as there are some. Raises TooMany."""
    known = {name.lower() for name in table.names}
    spelled: dict[str, str] = {}
    for name in names:
        spelled.setdefault(name.lower(), name)
    fresh = [name for key, name in spelled.items() if key not in known]
    if not fresh:
        return table
    if len(known) + len(fresh) > MAX_KEYWORDS:
        raise TooMany(f"a folder has at most {MAX_KEYWORDS} keywords")
    free = [letter for letter in LETTERS if letter not in table.by_letter]
    by_letter = dict(sorted({**table.by_letter, **dict(zip(free, fresh, strict=False))}.items()))
    if free:
        _write_letters(directory, by_letter)
    return Table(by_letter, table.further_of, (*table.further_names, *fresh[len(free):]), table.lines)


def _write_letters(directory: str, by_letter: Mapping[str, str]) -> None:
    path = f"{directory}/{NAME}"
    text = "".join(f"{LETTERS.index(letter)} {name}\n" for letter, name in by_letter.items())
    before = 0.0
    with contextlib.suppress(FileNotFoundError):
        before = os.lstat(path).st_mtime
    atomic.write(path, os.fsencode(text), mode=0o660)
    after = os.lstat(path).st_mtime
    if int(after) <= int(before):  # Dovecot looks at whole seconds to see that the file changed
        os.utime(path, (int(before) + 1, int(before) + 1))


def assign(directory: str, table: Table, changes: Mapping[str, Iterable[str]]) -> Table:
    """Set the further keywords of messages (base name → names, all of them; letters' names are passed over)."""
    further_of = dict(table.further_of)
    text = ""
    for base, names in changes.items():
        kept = table.further(names)
        if kept != further_of.get(base, ()):
            further_of[base] = kept
            text += f"{' '.join(kept)}\t{base}\n"
    if not text:
        return table
    return _store(directory, Table(table.by_letter, {base: names for base, names in further_of.items() if names},
                                   table.further_names, table.lines + text.count("\n")), text)


def forget(directory: str, table: Table, alive: Container[str]) -> Table:
    """Drop what the file says about messages that are gone."""
    kept = {base: names for base, names in table.further_of.items() if base in alive}
    if len(kept) == len(table.further_of):
        return table
    return _rewrite(directory, Table(table.by_letter, kept, table.further_names, len(kept)))


def _store(directory: str, table: Table, text: str) -> Table:
    """Append, or write anew when more than half of the lines are of no use."""
    if table.lines > 2 * len(table.further_of) + 100:
        return _rewrite(directory, table)
    atomic.set_aside(f"{directory}/{FURTHER}")
    descriptor = os.open(f"{directory}/{FURTHER}", os.O_RDWR | os.O_APPEND | os.O_CREAT | atomic.SAFE, 0o660)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a crash tore the last append
            text = "\n" + text
        atomic.write_all(descriptor, os.fsencode(text))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return table


def rewrite(directory: str, table: Table) -> None:
    """Write both files anew, as far as there is anything to say; the dotlock must be held."""
    if table.by_letter:
        _write_letters(directory, table.by_letter)
    if table.further_of:
        _rewrite(directory, table)


def _rewrite(directory: str, table: Table) -> Table:
    text = "".join(f"{' '.join(names)}\t{base}\n" for base, names in table.further_of.items())
    atomic.write(f"{directory}/{FURTHER}", os.fsencode(text), mode=0o660)
    return Table(table.by_letter, table.further_of, table.further_names, len(table.further_of))
