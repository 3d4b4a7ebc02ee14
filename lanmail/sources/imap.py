"""Fetching by IMAP (RFC 9051, RFC 3501): log in, choose folders, bring what is new; wait for more if that is wished.

A source may have several mailboxes: its own, and those that its log-in may open (`shared`). With a token those are
log-ins of their own under the other name, as Exchange has it; with a password, too, where shared_login says how such a
name is written (Dovecot's master users: "%shared*%user"); else they are folders that the server shows to us.

Each log-in reads password or token anew: a token lives for an hour, a connection with push for days.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from lanmail import folderchoice, incoming, message
from lanmail.clients import imapclient, imapwire, tlsclient
from lanmail.clients.imapclient import Client, Denied, Mailbox
from lanmail.clients.imapwire import Broken
from lanmail.clients.smtplogin import Credentials, Refused
from lanmail.errors import MailError, Temporary
from lanmail.incoming import Source
from lanmail.sources import Outcome, Probe, Visit, push, removal
from lanmail.sources.imapfolder import Folder, Memory

CONNECT = 30.0  # seconds
INBOX = Mailbox(b"INBOX", ("INBOX",), frozenset())
_DATE = "BODY.PEEK[HEADER.FIELDS (DATE)]"


@dataclass(slots=True)
class Seat:
    """One log-in of a source: its connection, and what is known of its folders."""

    user: str
    client: Client | None = None
    watched: Mailbox = INBOX  # for push
    folders: dict[bytes, Memory] = field(default_factory=dict)
    pauses: push.Pauses = field(default_factory=push.Pauses)

    def close(self) -> None:
        """Give the connection back."""
        if self.client is not None:
            self.client.wire.close()
            self.client = None


class Driver:
    """One source."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}

    async def fetch(self, visit: Visit) -> Outcome:
        """Look once into all mailboxes; trouble with one does not stop the others."""
        outcome, troubles = Outcome(), list[Exception]()
        for user in users(visit.settings):
            seat = self._seats.setdefault(user, Seat(user))
            try:
                async with _said(visit, seat):
                    await self._look(visit, seat, outcome, troubles)
                    if seat.client and not visit.settings.push and not outcome.waiting:
                        await seat.client.logout()
                        seat.close()
            except (MailError, OSError) as error:
                if isinstance(error, Refused) and user == visit.settings.user:
                    raise  # the others have the same password or token
                # a shared mailbox that is closed to us must not end the log-ins to our own
                troubles.append(Temporary(f"{visit.label}: {error.text}") if isinstance(error, Refused) else error)
        if troubles:
            raise troubles[0]
        return outcome

    async def _look(self, visit: Visit, seat: Seat, outcome: Outcome, troubles: list[Exception]) -> None:
        client = await self._client(visit, seat)
        chosen, way = await choice(visit, client, seat.user)
        seat.watched = next(iter(chosen), INBOX)
        for mailbox in chosen:
            memory = seat.folders.setdefault(mailbox.raw, Memory())
            try:
                await Folder(visit, client, seat.user, mailbox, memory, outcome).fetch(way)
            except Denied as error:
                if "not connected" in str(error):  # Exchange: then no folder can be opened
                    raise
                troubles.append(Temporary(f"{visit.label}: {'/'.join(mailbox.levels)}: {error}"))
            except Broken as error:
                if not memory.broke:
                    raise
                troubles.append(Temporary(f"{visit.label}: {'/'.join(mailbox.levels)}: {error}"))
                seat.close()  # at one of its mails; the other folders may come
                client = await self._client(visit, seat)

    async def _client(self, visit: Visit, seat: Seat) -> Client:
        """The connection that is there, if it still lives, or a new one."""
        if seat.client is not None:
            try:
                await seat.client.command("NOOP")
                return seat.client
            except (Broken, Denied):
                seat.close()
        seat.client = await connect(visit, seat.user)
        return seat.client

    async def wait(self, visit: Visit) -> None:
        """Return when there may be new mail in a mailbox."""
        seats = [self._seats[user] for user in users(visit.settings) if user in self._seats]
        tasks = [asyncio.create_task(self._watch(visit, seat)) for seat in seats]
        if not tasks:
            return
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _watch(self, visit: Visit, seat: Seat) -> None:
        """One mailbox. A connection that is lost is a reason to look; many of them in a row are none to hurry."""
        began = asyncio.get_running_loop().time()
        try:
            if seat.client is not None:
                memory = seat.folders.get(seat.watched.raw, Memory())
                await push.wait(seat.client, seat.watched.raw, memory.newest)
                seat.pauses.went_well()
                return
        except (Broken, Denied) as error:
            visit.say(f"{seat.user}: {error}")
        seat.close()
        await push.pause(seat.pauses.after(asyncio.get_running_loop().time() - began))

    async def probe(self, visit: Visit, say: Callable[[str], None]) -> Probe:
        """Log in to the source's own mailbox and look, changing nothing."""
        user = visit.settings.user
        seat = Seat(user)
        say(f"connecting to {visit.server}")
        async with _said(visit, seat):
            try:
                seat.client = client = await connect(visit, user)
                tls = client.wire.tls
                say(f"logged in as {user}")
                chosen, _ = await choice(visit, client, user, make=False)
                found = Probe(client.greeting, tlsclient.describe(tls) if tls is not None else "", client.mechanism,
                              tuple(sorted(client.capabilities)), folders=tuple("/".join(one.levels) for one in chosen),
                              certificate=tlsclient.certificate(tls) if tls is not None else "")
                for mailbox in chosen:
                    say(f"looking into {'/'.join(mailbox.levels)}")
                    await _count(client, mailbox, found)
                await client.logout()
                return found
            finally:
                seat.close()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Give the connections back."""
        for seat in self._seats.values():
            seat.close()


def users(settings: Source) -> list[str]:
    """Who logs in, one after the other: the user, and the shared mailboxes that need a log-in of their own."""
    others = shared(settings) if settings.auth == "oauth2" or settings.shared_login else []
    return list(dict.fromkeys([settings.user, *others]))


def shared(settings: Source) -> list[str]:
    """The names of the shared mailboxes."""
    return [name for one in settings.shared.split(";") if (name := one.strip())]


async def connect(visit: Visit, user: str) -> Client:
    """A connection with a log-in. Refused, Temporary, Broken."""
    settings = visit.settings
    own = await visit.credentials()
    if own is None:
        raise Temporary(f"{visit.label}: IMAP needs a user name and a log-in")
    credentials = own
    if user != own.user:
        name = user if own.is_token else settings.shared_login.replace("%shared", user).replace("%user", own.user)
        credentials = Credentials(name, own.password, own.is_token)
    target = imapclient.Target(settings.host, incoming.port_of(settings), credentials, incoming.tls_of(settings),
                               visit.wish, visit.via, settings.mechanism)
    try:
        return await imapclient.connect(target, imapclient.Patience(min(CONNECT, visit.timeout), visit.timeout))
    except Refused:
        if user == own.user:
            visit.refused()
        raise


async def choice(visit: Visit, client: Client, user: str, *, make: bool = True) -> tuple[list[Mailbox], removal.Way]:
    """The folders to fetch from, and where mail goes there afterwards; `make` that folder when it is missing."""
    settings = visit.settings
    spaces = shared(settings) if user not in shared(settings) and len(users(settings)) == 1 else []
    if not settings.move_to and not spaces and [one.upper() for one in settings.folders] == ["INBOX"]:
        return [INBOX], removal.Way(settings)
    there, foreign = await client.mailboxes(), await client.foreign()
    chosen = folderchoice.choose(there, settings.folders, settings.exclude, foreign)
    if lost := folderchoice.missing(there, settings.folders):
        visit.say(f"not there: {', '.join(lost)}")
    for name in spaces:
        boxes = folderchoice.of_others(there, foreign, [name])
        if not boxes:
            raise Temporary(f"{visit.label}: the server shows no mailbox {name} to {user}")
        chosen += folderchoice.choose(boxes, settings.folders, settings.exclude)
    if not settings.move_to:
        return chosen, removal.Way(settings)
    target = next((one.raw for one in folderchoice.choose(there, [settings.move_to], [])), None)
    if target is None and make:
        target = await removal.made(client, settings.move_to, there)
    return [one for one in chosen if one.raw != target], removal.Way(settings, target or b"")


async def _count(client: Client, mailbox: Mailbox, found: Probe) -> None:
    """What is in a folder, for the probe."""
    opened = await client.examine(mailbox.raw)
    found.messages += opened.exists
    if not opened.exists:
        return
    async for response in client.results(client.send(f"FETCH 1 ({_DATE})")):
        header = next((value for name, value in response.pairs().items() if name.startswith("BODY[HEADER")), b"")
        if response.kind == "FETCH" and isinstance(header, bytes) and not found.oldest:
            found.oldest = (message.field(header, b"Date") or b"").decode("ascii", "replace")
    async for response in client.results(client.send("FETCH 1:* (RFC822.SIZE)")):
        if response.kind == "FETCH":
            found.octets += imapwire.number(response.pairs().get("RFC822.SIZE"))


@contextlib.asynccontextmanager
async def _said(visit: Visit, seat: Seat) -> AsyncIterator[None]:
    """Trouble ends the connection, and is told in words for people."""
    try:
        yield
    except BaseException as error:
        seat.close()
        if isinstance(error, Broken | Denied):
            raise Temporary(f"{visit.label}: {visit.server}: {_words(error, seat.user)}") from error
        raise


def _words(error: Exception, user: str) -> str:
    if "authenticated but not connected" in str(error).lower():
        return (f"{error}: Exchange takes the log-in, but has no mailbox {user} for it; is this its address, and is "
                "IMAP switched on for it?")
    return str(error)
