"""Which folders of an IMAP mailbox are fetched: all but those that hold no mail, or those that were chosen.

    choose(mailboxes, wanted, excluded, foreign) -> list[Mailbox]
    of_others(mailboxes, prefixes, names) -> list[Mailbox]      mailboxes that others have opened for us

Names are what people read, levels separated by a slash, in any case; `*` stands for anything. `\\Junk` means whatever
the server marks so (RFC 6154). An excluded folder takes all below it with it; its name counts at the top, and in
INBOX, where many servers keep all folders. Who names a folder gets it, excluded or not; a pattern (`Kunden/*`) and
"all" leave out what is excluded and what belongs to others (RFC 2342).
"""

import dataclasses
import fnmatch
import unicodedata
from collections.abc import Iterable, Sequence

from lanmail.clients import imapclient
from lanmail.clients.imapclient import Mailbox

ALL = "*"


def choose(mailboxes: Sequence[Mailbox], wanted: Sequence[str], excluded: Sequence[str],
           foreign: Sequence[str] = ()) -> list[Mailbox]:
    """The mailboxes to fetch from, INBOX first. `wanted` empty means all; `foreign` are prefixes of what is others'."""
    names = {name for name in map(_plain, wanted) if "*" not in name}
    patterns = [name for name in map(_plain, wanted) if "*" in name] if wanted else [ALL]
    refused = _Excluded(mailboxes, excluded)
    others = tuple(_plain(prefix).rstrip("/.") for prefix in foreign)
    chosen = []
    for mailbox in mailboxes:
        if not mailbox.selectable:
            continue
        name = _name(mailbox)
        usual = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) and not refused.holds(mailbox) \
            and not _below(name, others)
        if usual or names & _spellings(mailbox):
            chosen.append(mailbox)
    return sorted(chosen, key=lambda one: (_name(one) != "inbox", one.levels))


def missing(mailboxes: Sequence[Mailbox], wanted: Sequence[str]) -> list[str]:
    """The folders that were chosen by name and are not there."""
    there = {name for one in mailboxes if one.selectable for name in _spellings(one)}
    return [one for one in wanted if "*" not in one and _plain(one) not in there]


def of_others(mailboxes: Sequence[Mailbox], prefixes: Sequence[str], names: Sequence[str]) -> list[Mailbox]:
    """The mailboxes of these people or teams among all (RFC 2342), with levels as their owners see them."""
    wanted = {_plain(name) for name in names} | {_plain(name).partition("@")[0] for name in names}
    found = []
    for mailbox in mailboxes:
        whole = imapclient.plain(mailbox.raw)
        rest = next((whole.removeprefix(one) for one in prefixes if whole.startswith(one)), "")
        for name in wanted:
            below = rest[len(name):]  # the separator may be in the name of the owner, too
            if _plain(rest[:len(name)]) == name and (not below or below.startswith(mailbox.separator)):
                levels = tuple(below.split(mailbox.separator)[1:]) if below else ()
                found.append(dataclasses.replace(mailbox, levels=levels or ("INBOX",)))
    return found


class _Excluded:
    """The folders that nobody wants, with what is below them."""

    def __init__(self, mailboxes: Sequence[Mailbox], excluded: Iterable[str]) -> None:
        plain = [_plain(one) for one in excluded]
        self._uses = {one for one in plain if one.startswith("\\")}
        self._patterns = [one for one in plain if "*" in one]
        self._names = {one for one in plain if one} - self._uses - set(self._patterns)
        self._marked = {_name(one) for one in mailboxes if self._is_used(one)}

    def _is_used(self, mailbox: Mailbox) -> bool:
        return any(attribute.lower() in self._uses for attribute in mailbox.attributes)

    def holds(self, mailbox: Mailbox) -> bool:
        name = _name(mailbox)
        if name == "inbox":  # what is below INBOX is no part of it
            return "inbox" in self._names
        heads = list(_heads(name))
        roots = [*heads, *map(_without_inbox, heads)]
        return not self._names.isdisjoint(set(roots) - {"inbox"}) or not self._marked.isdisjoint(heads) \
            or any(fnmatch.fnmatchcase(one, pattern) for one in roots for pattern in self._patterns)


def _heads(name: str) -> Iterable[str]:
    """A name and those of the folders it is in: a, a/b, a/b/c."""
    levels = name.split("/")
    return ("/".join(levels[:count]) for count in range(1, len(levels) + 1))


def _below(name: str, prefixes: Iterable[str]) -> bool:
    return any(prefix and (name == prefix or name.startswith((f"{prefix}/", f"{prefix}."))) for prefix in prefixes)


def _name(mailbox: Mailbox) -> str:
    return _plain("/".join(mailbox.levels))


def _spellings(mailbox: Mailbox) -> set[str]:
    """How people may name it: with or without INBOX in front, or with the server's separator."""
    name = _name(mailbox)
    return {name, _without_inbox(name), _plain(imapclient.plain(mailbox.raw))}


def _without_inbox(name: str) -> str:
    return name.removeprefix("inbox/")


def _plain(text: str) -> str:
    """Compared without case, and however an umlaut was put together."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip().strip("/")
