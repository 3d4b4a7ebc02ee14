"""The folders of one account, by the names that clients use for them.

On disk and in this program a folder is called `Projekte.2026`, as text; on the wire it is modified UTF-7, or UTF-8 once
the client has enabled that, with or without the namespace prefix. `INBOX.X` and `X` are one folder whatever the prefix
is set to, INBOX has no case, and neither have the special folders: `INBOX.SENT` is Sent. Nothing gets past `folder`
that is not a plain, canonical name.

Folders of others have the name of their namespace in front (RFC 2342): `Shared.info.Angebote` is Angebote of the team
mailbox info, `Other Users.eva meier` the INBOX of eva.meier, as a dot would begin the next level. Own folders that are
called like a namespace are reached, and shown, as `INBOX.Shared`.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from lanmail import atomic, maildir, mutf7
from lanmail.folders import acl, shares, subscriptions
from lanmail.imap.session import No

SEPARATOR = "."
ALIAS = "INBOX."
OFFERED = "lanmail-offered"  # folders of others that were subscribed to of themselves, in the own Maildir
_PLAIN_ATOM = re.compile(rb"[A-Za-z0-9_.+/=$&,-]+\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a folder lies: whose it is, the Maildir, and its name in there. Without an owner it is nowhere."""

    owner: str
    root: str
    folder: str


@dataclass(frozen=True, slots=True)
class Spaces:
    """What an account sees of others: its name, and the namespaces that have one (RFC 2342 §5)."""

    account: str
    shares: shares.Shares
    users: str = ""
    shared: str = ""

    def of(self, name: str) -> str:
        """The namespace that a name begins with, or ""."""
        top = name.partition(SEPARATOR)[0]
        return top if top and top in (self.users, self.shared) else ""

    def place(self, name: str) -> Place:
        """Where a folder of others lies."""
        space, _, rest = name.partition(SEPARATOR)
        shown, _, folder = rest.partition(SEPARATOR)
        owner = shown.replace(" ", SEPARATOR)
        account = self.shares.account(owner) if SEPARATOR not in shown and owner != self.account else None
        if account is None or account.shared is not (space == self.shared):
            return Place("", "", folder or "INBOX")
        return Place(account.name, self.shares.root(account.name), folder or "INBOX")

    def name(self, owner: str, folder: str) -> str:
        """The name of a folder of others; "" when its namespace is switched off."""
        account = self.shares.account(owner)
        space = self.shared if account is not None and account.shared else self.users
        levels = [space, owner.replace(SEPARATOR, " "), *([] if folder == "INBOX" else [folder])]
        return SEPARATOR.join(levels) if space else ""


class Home:
    """The folders that an account sees. Its methods look at the disk, briefly; called in threads, or quick."""

    def __init__(self, root: str, prefix: str, spaces: Spaces | None = None) -> None:
        self.root = root
        self.prefix = prefix
        self.spaces = spaces
        self.utf8 = False  # RFC 6855 §3: the client has enabled UTF-8, in which names are then spelled

    def folder(self, raw: bytes) -> str:
        """The folder that a client means, which need not exist. No for a name that none can have."""
        name = self.plain(raw)
        if name != "INBOX" and not self.is_foreign(name) and not self.exists(name):
            return self._special(name)
        return name

    def plain(self, raw: bytes) -> str:
        """The same without looking at the disk: the prefix or alias taken off, the name checked."""
        try:
            name = self.text(raw)
            if name.upper() == "INBOX":
                return "INBOX"
            if self.is_foreign(name):
                return _foreign(name)
            if name[: len(ALIAS)].upper() == ALIAS and len(name) > len(ALIAS):
                name = name[len(ALIAS) :]
            maildir.path_of(self.root, name)
        except UnicodeDecodeError:
            spelling = "UTF-8" if self.utf8 else "modified UTF-7"
            raise No(f"A mailbox name is written in {spelling}.", "CANNOT") from None
        except ValueError as error:
            raise No(f"{str(error).capitalize()}.", "CANNOT") from None
        return self.own(name)

    def text(self, raw: bytes) -> str:
        """What a client wrote, as text; ValueError for what is none in the spelling that he uses."""
        return raw.decode("utf-8") if self.utf8 else mutf7.decode(raw.decode("ascii"))

    def wire(self, shown: str) -> bytes:
        """A name as it stands in LIST, STATUS and their like."""
        raw = self._spelled(shown)
        return raw if _PLAIN_ATOM.match(raw) and raw.upper() != b"NIL" else self.quoted(shown)

    def quoted(self, shown: str) -> bytes:
        return b'"' + self._spelled(shown).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    def _spelled(self, shown: str) -> bytes:
        return shown.encode("utf-8") if self.utf8 else mutf7.encode(shown).encode("ascii")

    def own(self, folder: str) -> str:
        """The name of an own folder: what it is called, unless that is the name of a namespace."""
        return ALIAS + folder if self.is_foreign(folder) else folder

    def is_foreign(self, name: str) -> bool:
        """Whether a name belongs to the folders of others."""
        return self.spaces is not None and bool(self.spaces.of(name))

    def place(self, name: str) -> Place:
        if self.spaces is not None and self.spaces.of(name):
            return self.spaces.place(name)
        return Place(self.spaces.account if self.spaces else "", self.root, name.removeprefix(ALIAS))

    def existing(self, raw: bytes, needs: str = "") -> str:
        """The folder that a client means; No when it is not there, or he may not do what `needs` these rights."""
        name = self.folder(raw)
        if not self.exists(name):
            raise No("No such mailbox.", "NONEXISTENT")
        self.require(name, needs)
        return name

    def exists(self, name: str) -> bool:
        place = self.place(name)
        return bool(place.root) and maildir.exists(place.root, place.folder)

    def path(self, name: str) -> str:
        place = self.place(name)
        if not place.root:
            raise No("No such mailbox.", "NONEXISTENT")
        return maildir.path_of(place.root, place.folder)

    # rights (RFC 4314)

    def rights(self, name: str) -> frozenset[str]:
        """What the account may do in a folder, which need not exist."""
        if self.spaces is None:
            return acl.ALL
        place = self.place(name)
        return self.spaces.shares.rights(self.spaces.account, place.owner, place.folder) if place.owner else acl.NONE

    def require(self, name: str, needs: str) -> None:
        """No unless the account has all these rights; who may not even see the folder is told that there is none."""
        rights = self.rights(name)
        if not rights >= set(needs or "l"):
            if needs and "l" in rights:
                raise No("You have not the right to do that here.", "NOPERM")
            raise No("No such mailbox.", "NONEXISTENT")

    def may_create(self, name: str) -> bool:
        """Whether a folder of this name may be made: the right k in the nearest folder above that exists."""
        place = self.place(name)
        if not place.root or place.folder == "INBOX":
            return False
        parent = self.parent(name)
        return "k" in self.rights(parent) if parent else not self.is_foreign(name)

    def parent(self, name: str) -> str:
        """The nearest folder above one that exists; for a folder of others in the end the INBOX that it belongs to."""
        levels = name.removeprefix(ALIAS).split(SEPARATOR)
        foreign = self.is_foreign(name)
        while len(levels) > (3 if foreign else 1):
            levels.pop()
            parent = SEPARATOR.join(levels) if foreign else self.own(SEPARATOR.join(levels))
            if self.exists(parent):
                return parent
        return SEPARATOR.join(levels[:2]) if foreign else ""

    def foreign(self) -> dict[str, frozenset[str]]:
        """Names of all folders of others that may be seen, with the rights in them."""
        if self.spaces is None or not (self.spaces.users or self.spaces.shared):
            return {}
        found = self.spaces.shares.visible(self.spaces.account)
        named = ((self.spaces.name(owner, folder), rights) for owner, folder, rights in found)
        return {name: rights for name, rights in named if name}

    def subscribe_to_new(self, there: Collection[str]) -> None:
        """Subscribe to folders that were just shared with this account; once, so that unsubscribing lasts.

        Most clients show only what is subscribed to, and a team mailbox should be seen without anybody's doing.
        """
        if self.spaces is None:
            return
        spaces, known = self.spaces, self._offered()
        if known is None and not there:
            return
        offered = {name for name in there if (known and name in known) or self._invites(spaces, name)}
        if offered == known:
            return
        if fresh := sorted(offered - (known or set())):
            subscriptions.add(self.root, *fresh)
        text = "".join(f"{mutf7.encode(name)}\n" for name in sorted(offered))
        atomic.write(f"{self.root}/{OFFERED}", text, mode=0o660)

    def _offered(self) -> set[str] | None:
        try:
            lines = atomic.read(f"{self.root}/{OFFERED}", 4 << 20).decode("ascii", "replace").split("\n")
        except FileNotFoundError:
            return None
        return {mutf7.decode(line) for line in lines if line and _is_canonical(line)}

    def _invites(self, spaces: Spaces, name: str) -> bool:
        place = spaces.place(name)
        return spaces.shares.invited(spaces.account, place.owner, place.folder)

    def _special(self, name: str) -> str:
        """`sent` and `SENT.2026` are Sent and Sent.2026."""
        top, dot, rest = name.partition(SEPARATOR)
        if top.casefold() not in SPECIAL_NAMES:
            return name
        for special in maildir.specials(self.root, maildir.folders(self.root)).values():
            if special.casefold() == top.casefold():
                return special + dot + rest
        return name

    def spelled(self, name: str, raw: bytes) -> str:
        """A name as the client wrote it: clients look for the answer under the name they used."""
        return name if name == "INBOX" else self.text(raw)

    def shown(self, name: str, *, prefix: str | None = None) -> str:
        """The name that clients see, as text."""
        if name == "INBOX" or name.startswith(ALIAS) or self.is_foreign(name):
            return name
        return (self.prefix if prefix is None else prefix) + name


def _foreign(name: str) -> str:
    """The one spelling of the name of a folder of others; ValueError for a name that none can have."""
    space, dot, rest = name.partition(SEPARATOR)
    shown, deeper, folder = rest.partition(SEPARATOR)
    if (dot and not shown) or (deeper and not folder):
        raise ValueError("the folder's name has an empty level")
    if folder.upper() == "INBOX":
        return SEPARATOR.join((space, shown))
    for part in (shown or space, folder or space):
        maildir.path_of("", part)
    return name


def _is_canonical(line: str) -> bool:
    try:
        return bool(mutf7.decode(line))
    except ValueError:
        return False


SPECIAL_NAMES = {name.casefold() for name in maildir.SPECIAL.values()}


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
