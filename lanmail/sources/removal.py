"""What becomes of mail on an IMAP server once it is here: deleted, at once or later, or moved into another folder.

Only what was fetched is ever touched. Expunging takes everything with it that is marked as deleted, unless the server
can do it by UID (UIDPLUS, RFC 4315). Where it cannot, and somebody else has marked mails, their marks are taken off
and put back behind the EXPUNGE: who is killed in between leaves a mail too many, never one too few.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lanmail import sequenceset
from lanmail.clients import imapclient, imapwire
from lanmail.clients.imapclient import Client, Denied
from lanmail.incoming import Source

_SET = 500  # UIDs of one command: RFC 7162 §4 lets a server refuse lines above 8192 octets
_RANGE = 20_000  # UIDs that one SEARCH may find
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DELETED = "FLAGS.SILENT (\\Deleted)"


@dataclass(frozen=True, slots=True)
class Way:
    """What a source's settings say; `target` is the folder to move to, as the server spells it."""

    settings: Source
    target: bytes = b""

    @property
    def at_once(self) -> bool:
        return self.settings.delete or bool(self.target)

    @property
    def wanted(self) -> bool:
        return bool(self.at_once or self.settings.delete_after or self.settings.delete_older)

    async def due(self, client: Client, there: Mapping[int, int], now: float) -> list[int]:
        """Which of the mails that are here (UID → when they were fetched) are to go. Denied, Broken."""
        if self.at_once:
            return sorted(there)
        due = set()
        if self.settings.delete_after:
            due = {uid for uid, at in there.items() if at + self.settings.delete_after <= now}
        if self.settings.delete_older:
            due |= await _older(client, sorted(there), now - self.settings.delete_older)
        return sorted(due & there.keys())

    async def remove(self, client: Client, uids: Sequence[int]) -> None:
        """Delete them, or move them. Denied, Broken."""
        moving = bool(self.target) and not self.settings.delete
        for some in _sets(uids):
            text = sequenceset.text(sorted(some))
            if moving and _can(client, "MOVE"):
                await client.command(f"UID MOVE {text} ".encode() + imapclient.astring(self.target))
                continue
            if moving:
                await client.command(f"UID COPY {text} ".encode() + imapclient.astring(self.target))
            await client.command(f"UID STORE {text} +{_DELETED}")
            if _can(client, "UIDPLUS"):
                await client.command(f"UID EXPUNGE {text}")
            else:
                await _expunge(client, set(some))


async def store(client: Client, uids: Sequence[int], change: str) -> None:
    """Change marks of messages. Denied, Broken."""
    for some in _sets(uids):
        await client.command(f"UID STORE {sequenceset.text(sorted(some))} {change}")


async def _expunge(client: Client, ours: set[int]) -> None:
    """Without UIDPLUS."""
    others = sorted(await _search(client, "DELETED") - ours)
    await store(client, others, f"-{_DELETED}")
    try:
        await client.command("EXPUNGE")
    finally:
        await store(client, others, f"+{_DELETED}")


async def _older(client: Client, uids: Sequence[int], moment: float) -> set[int]:
    """Those that came to the server before that day. Its zone is not known: the day has begun in all of them."""
    day = time.gmtime(moment - 12 * 3600)
    before = f"BEFORE {day.tm_mday}-{_MONTHS[day.tm_mon - 1]}-{day.tm_year}"
    found: set[int] = set()
    for start in range(0, len(uids), _RANGE):
        some = uids[start:start + _RANGE]
        found |= await _search(client, f"UID {some[0]}:{some[-1]} {before}")
    return found


async def _search(client: Client, what: str) -> set[int]:
    return {imapwire.number(one) for response in await client.command(f"UID SEARCH {what}")
            if response.kind == "SEARCH" for one in response.values}


def _can(client: Client, what: str) -> bool:
    return bool({what, "IMAP4REV2"} & client.capabilities)  # RFC 9051 has both in it


def _sets(uids: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(uids)
    for start in range(0, len(ordered), _SET):
        yield ordered[start:start + _SET]


async def made(client: Client, name: str, there: Sequence[imapclient.Mailbox]) -> bytes:
    """A new folder to move to, as the server spells it. Denied, Broken."""
    separator = next((one.separator for one in there if one.separator), "/")
    raw = imapclient.encoded(name.replace("/", separator))
    try:
        await client.command(b"CREATE " + imapclient.astring(raw))
    except Denied as error:
        raise Denied(f"the folder {name}, to move mail to, cannot be made: {error}") from None
    return raw
