"""The folders of one account, by the names that clients use for them.

On disk and in this program a folder is called `Projekte.2026`, as text; on the wire it is modified UTF-7, with or
without the namespace prefix. `INBOX.X` and `X` are one folder whatever the prefix is set to, INBOX has no case, and
neither have the special folders: `INBOX.SENT` is Sent. Nothing gets past `folder` that is not a plain, canonical name.
"""

import re
from collections.abc import Callable, Iterable

from lanmail import maildir, mutf7
from lanmail.imap.session import No

SEPARATOR = "."
ALIAS = "INBOX."
_PLAIN_ATOM = re.compile(rb"[A-Za-z0-9_.+/=$&,-]+\Z")


class Home:
    """The folders below one Maildir. Its methods look at the disk, briefly; they are called in threads or are quick."""

    def __init__(self, root: str, prefix: str) -> None:
        self.root = root
        self.prefix = prefix

    def folder(self, raw: bytes) -> str:
        """The folder that a client means, which need not exist. No for a name that none can have."""
        name = self.plain(raw)
        if name != "INBOX" and not self.exists(name):
            return self._special(name)
        return name

    def plain(self, raw: bytes) -> str:
        """The same without looking at the disk: the prefix or alias taken off, the name checked."""
        try:
            name = mutf7.decode(raw.decode("ascii"))
            if name.upper() == "INBOX":
                return "INBOX"
            if name[: len(ALIAS)].upper() == ALIAS and len(name) > len(ALIAS):
                name = name[len(ALIAS) :]
            maildir.path_of(self.root, name)
        except UnicodeDecodeError:
            raise No("A mailbox name is written in modified UTF-7.", "CANNOT") from None
        except ValueError as error:
            raise No(f"{str(error).capitalize()}.", "CANNOT") from None
        return name

    def existing(self, raw: bytes) -> str:
        """The folder that a client means; No when it is not there."""
        name = self.folder(raw)
        if not self.exists(name):
            raise No("No such mailbox.", "NONEXISTENT")
        return name

    def exists(self, name: str) -> bool:
        return maildir.exists(self.root, name)

    def path(self, name: str) -> str:
        return maildir.path_of(self.root, name)

    def _special(self, name: str) -> str:
        """`sent` and `SENT.2026` are Sent and Sent.2026."""
        top, dot, rest = name.partition(SEPARATOR)
        if top.casefold() not in SPECIAL_NAMES:
            return name
        for special in maildir.specials(self.root, maildir.folders(self.root)).values():
            if special.casefold() == top.casefold():
                return special + dot + rest
        return name

    def shown(self, name: str, *, prefix: str | None = None) -> str:
        """The name that clients see, as text."""
        return name if name == "INBOX" else (self.prefix if prefix is None else prefix) + name


SPECIAL_NAMES = {name.casefold() for name in maildir.SPECIAL.values()}


def wire(shown: str) -> bytes:
    """A name as it stands in LIST, STATUS and their like."""
    raw = mutf7.encode(shown).encode("ascii")
    if _PLAIN_ATOM.match(raw) and raw.upper() != b"NIL":
        return raw
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def parents(names: Iterable[str]) -> set[str]:
    """Every name that has another one below it."""
    found: set[str] = set()
    for name in names:
        while SEPARATOR in name:
            name = name.rpartition(SEPARATOR)[0]
            if name in found:
                break
            found.add(name)
    return found


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a LIST pattern: `*` is anything, `%` anything without the separator.

    All positions in the pattern that a name may have reached are one integer, so that each character of the name
    costs a few operations on it and no pattern can make a match slow.
    """
    pattern = re.sub(r"[*%]*\*[*%]*", "*", pattern)
    pattern = re.sub(r"%+", "%", pattern)
    if pattern[:6].upper() == ALIAS or pattern.upper() == "INBOX":
        pattern = "INBOX" + pattern[5:]
    masks: dict[str, int] = {}
    stars = percents = 0
    literal: list[str] = []
    for character in pattern:
        if character == "*":
            stars |= 1 << len(literal)
        elif character == "%":
            percents |= 1 << len(literal)
        else:
            masks[character] = masks.get(character, 0) | 1 << len(literal)
            literal.append(character)
    final = 1 << len(literal)

    def matches(name: str) -> bool:
        reached = 1
        for character in name:
            stay = reached & (stars if character == SEPARATOR else stars | percents)
            reached = stay | (reached & masks.get(character, 0)) << 1
            if not reached:
                return False
        return bool(reached & final)

    return matches
