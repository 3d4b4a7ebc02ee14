"""Who may do what in a folder: the file `dovecot-acl` in its directory, in Dovecot's format (RFC 4314).

    user=meier lrwstipekxa        one line for each identifier: what it is, and the letters of its rights
    group=sales lrs               groups are what `groups` in the accounts' files says
    owner lrwstipekxa             whose Maildir it is; without such a line he has all rights
    anyone lr                     `authenticated` is the same here, as nobody gets in without a log-in
    -user=apprentice te           taken away from what another line gives

    read(directory) -> entries | None        what stands there; None without a file; Broken if nobody understands it
    allowed(entries, who) -> rights          what somebody may do
    change(directory, identifier, rights, mode)      one line of it; comments stay as they are
    members(team) -> entries                 what the account file of a team mailbox gives, in all its folders
    identifier(text) / written(entry)        the spelling of the IMAP commands: meier, $sales, !$sales, -meier

Lines count as Dovecot counts them: the most particular kind that names somebody replaces the others (anyone,
authenticated, group, owner, user, group-override), several groups add up, and what is taken away goes last. An owner
can always see his folder and change its rights. Blocking; `read` remembers what it read while the file is the same.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from lanmail import atomic, names
from lanmail.folders import dotlock

if TYPE_CHECKING:
    from lanmail.settings import Account

NAME = "dovecot-acl"
RIGHTS = "lrwstipekxa"
ALL = frozenset(RIGHTS)
NONE: frozenset[str] = frozenset()
KINDS = ("anyone", "authenticated", "group", "owner", "user", "group-override")
KEPT_BY_OWNER = frozenset("la")
# RFC 4314 §2.1.1: what clients of the older RFC 2086 say
OBSOLETE = {"c": "kx", "d": "te"}
_NAMED = {"lookup": "l", "read": "r", "write": "w", "write-seen": "s", "write-deleted": "t", "insert": "i", "post": "p",
          "expunge": "e", "create": "k", "delete": "x", "admin": "a"}
_LABEL = re.compile(r'"((?:[^"\\]|\\.)*+)"(?= |\Z)|([^ "]\S*+)')
_LIMIT = 1 << 20
_REMEMBERED = 10_000
MAX_IDENTIFIER = 255


class Broken(ValueError):
    """A line of the file cannot be understood; str() says which."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one identifier has, or with `negative` has not."""

    kind: str
    name: str = ""
    rights: frozenset[str] = NONE
    negative: bool = False

    @property
    def key(self) -> tuple[str, str, bool]:
        return self.kind, self.name, self.negative

    def matches(self, who: "Who") -> bool:
        if self.kind == "user":
            return self.name == who.name
        if self.kind == "owner":
            return who.owner
        return self.name in who.groups if self.name else True


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who wants to do something, and whether the folder is his."""

    name: str
    groups: frozenset[str] = frozenset()
    owner: bool = False


Entries = tuple[Entry, ...]


def allowed(entries: Iterable[Entry], who: Who) -> frozenset[str]:
    """The rights of somebody, from all lines that concern him."""
    mine, taken = ALL if who.owner else NONE, NONE
    for kind, same in groupby(sorted(entries, key=_rank), key=lambda entry: entry.kind):
        if who.owner and KINDS.index(kind) < KINDS.index("owner"):
            continue
        hits = [entry for entry in same if entry.matches(who)]
        if any(not entry.negative for entry in hits):
            mine = NONE.union(*(entry.rights for entry in hits if not entry.negative))
        if any(entry.negative for entry in hits):
            taken = NONE.union(*(entry.rights for entry in hits if entry.negative))
    return mine - taken | (KEPT_BY_OWNER if who.owner else NONE)


def _rank(entry: Entry) -> int:
    return KINDS.index(entry.kind)


def letters(text: str) -> frozenset[str]:
    """The rights that a client or an admin writes, obsolete ones translated. ValueError for a letter there is not."""
    found = set("".join(OBSOLETE.get(letter, letter) for letter in text))
    if unknown := found - ALL:
        raise ValueError(f"there is no right '{min(unknown)}'")
    return frozenset(found)


def ordered(rights: Iterable[str]) -> str:
    """The letters of rights, in one order."""
    return "".join(sorted(rights, key=RIGHTS.index))


def members(team: "Account") -> Iterator[Entry]:
    """The members of a team mailbox as if they stood in the file of each of its folders."""
    for member in team.members:
        who, equals, rights = member.partition("=")
        kind, colon, group = who.partition(":")
        given = letters(rights) if equals else ALL - {"a"}
        yield Entry("group", group, given) if colon else Entry("user", kind, given)


# --- identifiers -----------------------------------------------------------------------------------------------

def identifier(text: str) -> Entry:
    """An identifier as the IMAP commands write it, with no rights. ValueError with a sentence."""
    negative = text.startswith("-")
    bare = text.removeprefix("-")
    if not bare or len(bare) > MAX_IDENTIFIER or not bare.isprintable():
        raise ValueError("this is no identifier")
    if bare in ("anyone", "authenticated", "owner"):
        return Entry(bare, negative=negative)
    for mark, kind in (("!$", "group-override"), ("$", "group"), ("group=", "group"), ("user=", "user")):
        if bare.startswith(mark):
            return Entry(kind, _named(kind, bare.removeprefix(mark)), negative=negative)
    return Entry("user", _named("user", bare), negative=negative)


def _named(kind: str, name: str) -> str:
    if not name:
        raise ValueError("this is no identifier")
    return name.lower() if kind == "user" and not names.account_problem(name) else name


def written(entry: Entry) -> str:
    """The identifier as the IMAP commands write it."""
    mark = {"group": "$", "group-override": "!$"}.get(entry.kind, "")
    return ("-" if entry.negative else "") + mark + (entry.name or entry.kind)


# --- the file --------------------------------------------------------------------------------------------------

_read: dict[str, tuple[tuple[int, ...], Entries | Broken]] = {}
_guard = threading.Lock()


def read(directory: str) -> Entries | None:
    """What the file in a folder's directory says; None when there is none. Broken, OSError."""
    path = f"{directory}/{NAME}"
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    known = _read.get(path)
    if known is None or known[0] != stamp:
        found: Entries | Broken
        try:
            found = parse(_text(path))
        except FileNotFoundError:
            return None
        except Broken as error:
            found = error
        with _guard:
            if len(_read) >= _REMEMBERED:
                _read.clear()
            known = _read[path] = (stamp, found)
    if isinstance(known[1], Broken):
        raise known[1]
    return known[1]


def _text(path: str) -> str:
    return atomic.read(path, _LIMIT).decode("utf-8", "surrogateescape")


def parse(text: str) -> Entries:
    """All entries of a file; those of one identifier are put together. Broken."""
    found: dict[tuple[str, str, bool], Entry] = {}
    for number, line in enumerate(text.split("\n"), 1):
        try:
            entry = _parse_line(line)
        except ValueError as error:
            raise Broken(f"line {number}: {error}") from None
        if entry is not None:
            before = found.get(entry.key)
            rights = entry.rights | before.rights if before else entry.rights
            found[entry.key] = Entry(entry.kind, entry.name, rights, entry.negative)
    return tuple(found.values())


def _parse_line(line: str) -> Entry | None:
    line = line.rstrip("\r")
    if not line.strip() or line.startswith("#"):
        return None
    match = _LABEL.match(line)
    if match is None:
        raise ValueError("it is not IDENTIFIER RIGHTS")
    label = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
    rights = _rights(line[match.end() :].split())
    negative = label.startswith("-")
    kind, equals, name = label.removeprefix("-").partition("=")
    if kind == "anonymous":
        kind = "anyone"
    if kind not in KINDS or bool(equals) != (kind in ("user", "group", "group-override")):
        raise ValueError(f"there is no identifier '{label}'")
    return Entry(kind, _named(kind, name) if equals else "", rights, negative)


def _rights(words: list[str]) -> frozenset[str]:
    """Letters in one word, then names of rights as `:read`; names that only Dovecot's plugins know stay out."""
    plain = [word for word in words if not word.startswith(":")]
    if len(plain) > 1:
        raise ValueError("more than one word of rights")
    return letters("".join(plain)) | {_NAMED[word[1:]] for word in words if word[1:] in _NAMED and word[0] == ":"}


def _line(entry: Entry) -> str:
    label = ("-" if entry.negative else "") + entry.kind + (f"={entry.name}" if entry.name else "")
    if re.search(r'[\s"\\]', label):
        label = '"' + re.sub(r'(["\\])', r"\\\1", label) + '"'
    return f"{label} {ordered(entry.rights)}".rstrip()


def change(directory: str, whose: Entry, rights: Iterable[str], mode: str = "=", *,
           before: frozenset[str] = NONE, keep: bool = False) -> None:
    """Set ("="), add ("+") or take ("-") rights of one identifier; without any left its line goes, unless `keep`.

    `before` is what it had without a line of its own. Broken, dotlock.Busy, OSError.
    """
    path = f"{directory}/{NAME}"
    with dotlock.held(path):
        try:
            text = _text(path)
        except FileNotFoundError:
            text = ""
        old = {entry.key: entry for entry in parse(text)}.get(whose.key)
        had, given = old.rights if old else before, frozenset(rights)
        now = {"=": given, "+": had | given, "-": had - given}[mode]
        lines = [line for line in text.split("\n") if line and not _is_of(line, whose)]
        if now or keep:
            lines.append(_line(Entry(whose.kind, whose.name, now, whose.negative)))
        _write(directory, lines)


def rename(directory: str, old: str, new: str, *, kind: str = "user") -> bool:
    """What an account (or a group) may do, one of this name may from now on; whether it was named. Busy, OSError."""
    path = f"{directory}/{NAME}"
    with dotlock.held(path):
        lines, changed = [], False
        for line in _text(path).split("\n"):
            with contextlib.suppress(ValueError):
                entry = _parse_line(line)
                if entry is not None and entry.kind.partition("-")[0] == kind and entry.name.lower() == old:
                    line, changed = _line(Entry(entry.kind, new, entry.rights, entry.negative)), True
            lines += [line] if line else []
        if changed:
            _write(directory, lines)
    return changed


def _is_of(line: str, whose: Entry) -> bool:
    entry = _parse_line(line)
    return entry is not None and entry.key == whose.key


def _write(directory: str, lines: list[str]) -> None:
    path = f"{directory}/{NAME}"
    if lines:
        text = "".join(f"{line}\n" for line in lines)
        atomic.write(path, text.encode("utf-8", "surrogateescape"), mode=0o660)
    else:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        atomic.sync_dir(directory)


def inherit(directory: str, parent: str) -> None:
    """A new folder begins with the rights of the one above it, as with Dovecot; or with none of its own."""
    try:
        text = _text(f"{parent}/{NAME}")
    except FileNotFoundError:
        _write(directory, [])
        return
    atomic.write(f"{directory}/{NAME}", text.encode("utf-8", "surrogateescape"), mode=0o660)
