"""One source as fetchmail keeps it: its driver, its status, when it is due, and what follows from each visit."""

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from lanmail import accounts, incoming, log, notice, sources, spool, timetable, tokens
from lanmail.clients import imapwire, pop3wire
from lanmail.errors import MailError, Temporary
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import Later, Outcome, Refused, Visit, multidrop, status

DAY = 86_400.0
LONGEST = 3600.0  # seconds for one visit: a server that sends an octet a minute must not keep others waiting
FULL_AGAIN = 600.0
NO_SPACE_AGAIN = 60.0
LATE = 600.0  # a closed window is looked at again at least this often: clocks may be set
PUSH_AGAIN = 10.0


@dataclass(slots=True)
class House:
    """What all sources share."""

    paths: Paths
    settings: Callable[[], Settings]
    queue: spool.Spool
    directory: accounts.Directory
    say: Callable[[str], None]


class Job:
    """A source."""

    def __init__(self, house: House, account: str, name: str, settings: Source) -> None:
        self.house, self.account, self.name, self.settings = house, account, name, settings
        self.status = status.load(house.paths, account, name)
        self.driver: sources.Driver | None = None
        self.watching: asyncio.Task[None] | None = None
        self.running = False
        self.forced = False
        self.not_before = 0.0  # monotonic: the server does not want to see us earlier
        passed = time.time() - self.status.tried
        waits = self.status.next - self.status.tried
        self.due = time.monotonic() + (max(0.0, waits - passed) if passed >= 0 and 0 < waits <= DAY else 0.0)

    @property
    def label(self) -> str:
        return f"{self.account}/{self.name}"

    @property
    def mailbox(self) -> tuple[str, int, str]:
        """What is visited by one at a time."""
        return self.settings.host, incoming.port_of(self.settings), self.settings.user

    # when

    def change(self, settings: Source) -> None:
        """The settings are other ones: whatever was wrong may be right now."""
        self.settings = settings
        self.status.stopped, self.status.refused = False, 0
        self.due = time.monotonic()

    def ask(self) -> None:
        """Somebody wants it now."""
        self.forced = True
        self.due = max(time.monotonic(), self.not_before)

    def ready(self) -> bool:
        """Whether to visit it now; when not, `due` says when to look again."""
        now = time.monotonic()
        if self.running or self.due > now:
            return False
        if self.forced:
            return True
        if self.status.stopped:
            if self.fingerprint() == self.status.settings:
                self.due = now + 60
                return False
            self.status.stopped, self.status.refused = False, 0
        closed = timetable.opens_in(self.settings.window, time.time())
        self.due = now + min(closed, LATE) if closed else self.due
        return not closed

    def fingerprint(self) -> str:
        """Changes with the settings, the password's file and the token. Looks at files."""
        wanted, conf = self.settings, self.house.paths.conf
        kind, _, where = wanted.password.partition(":")
        file = conf / where if kind == "file" else None
        if wanted.auth == "oauth2":
            file = tokens.file_of(self.house.paths, wanted.app, wanted.user)
        stamp = ""
        with contextlib.suppress(OSError):
            found = os.stat(file) if file is not None else None
            stamp = f"{found.st_mtime_ns} {found.st_size} {found.st_ino}" if found is not None else ""
        return hashlib.sha256(f"{wanted!r} {stamp}".encode()).hexdigest()[:32]

    # a visit

    async def visit(self) -> bool:
        """Fetch once, and write down what came of it; True when it went well."""
        self.forced, forced = False, self.forced
        await self.stop_watching()
        began = time.monotonic()
        self.status.tried = time.time()
        good = False
        try:
            visit = self._begin(forced)
            self.driver = self.driver or sources.make(self.settings.protocol)
            async with asyncio.timeout(LONGEST):
                outcome = await self.driver.fetch(visit)
        except Later as error:
            self._later(error)
        except Refused as error:
            await self._failed(error.text, refused=True)
        except MailError as error:
            await self._failed(error.text)
        except (pop3wire.Broken, imapwire.Broken) as error:
            await self._failed(f"{self.settings.host}: {error}")
        except TimeoutError:
            await self._failed(f"{self.settings.host} is too slow: a visit takes more than {LONGEST / 60:.0f} minutes")
        except OSError as error:
            await self._failed(f"{error.strerror or error}")
        except Exception as error:  # a bug delays mail, and disturbs no other source
            log.crashed(error=repr(error), where=f"fetching {self.label}")
            await self._failed(f"internal error: {type(error).__name__}")
        else:
            await self._worked(outcome, time.monotonic() - began)
            self._watch(visit, outcome)
            good = True
        self.status.seconds = time.monotonic() - began
        self.status.next = time.time() + max(0.0, self.due - time.monotonic())
        with contextlib.suppress(OSError):  # a full disk loses no more than numbers
            await asyncio.to_thread(status.save, self.house.paths, self.account, self.name, self.status)
        return good

    def _begin(self, forced: bool) -> Visit:
        house = self.house.settings()
        wrong = incoming.problem(self.settings)
        if wrong:
            raise Temporary(wrong, 451, "4.3.5")
        if os.path.lexists(self.house.paths.full / self.account):
            raise Later(f"the mailbox of {self.account} is full", FULL_AGAIN)
        if shutil.disk_usage(self.house.paths.queue).free < house.smtpd.min_free:
            raise Later("the disk is nearly full", NO_SPACE_AGAIN)
        recipients = multidrop.recipients(self.settings, self.house.directory, house.server.domain) \
            if self.settings.multidrop else None
        return Visit(self.house.paths, house, self.account, self.name, self.settings, self.house.queue, self.house.say,
                     forced, recipients)

    async def _worked(self, outcome: Outcome, seconds: float) -> None:
        mine, now = self.status, time.time()
        if mine.failures:
            log.fetch_works(source=self.label, failures=mine.failures)
            if mine.told >= mine.failing_since > 0:
                await self._tell(f"Mail from {self.settings.user} is fetched again", (
                    f"The mailbox {self.settings.user} at {self.settings.host} can be fetched again.\n"
                    f"It could not since {_when(mine.failing_since)}."), "fetch-works")
        mine.succeeded, mine.error, mine.failing_since = now, "", 0.0
        mine.failures = mine.refused = 0
        mine.stopped, mine.settings = False, ""
        mine.fetched, mine.octets = mine.fetched + outcome.fetched, mine.octets + outcome.octets
        mine.last_count, mine.kept, mine.waiting, mine.large = (
            outcome.fetched, outcome.kept, outcome.waiting, outcome.large)
        if outcome.fetched:
            mine.last_fetched = now
        if outcome.fetched or outcome.deleted:
            log.fetched(source=self.label, mails=outcome.fetched, octets=outcome.octets, deleted=outcome.deleted,
                        waiting=outcome.waiting, seconds=seconds)
        self.house.say(f"{self.label}: {outcome.fetched} fetched, {outcome.deleted} deleted, {outcome.kept} kept")
        self._again(0.0 if outcome.waiting else _varied(self.settings.every, self.settings.jitter), outcome.pause)

    def _later(self, error: Later) -> None:
        self.house.say(f"{self.label}: {error.text}")
        self.status.error = error.text
        self._again(error.seconds, error.seconds)

    async def _failed(self, text: str, *, refused: bool = False) -> None:
        mine, house = self.status, self.house.settings().incoming
        mine.error, mine.failures = text, mine.failures + 1
        mine.failing_since = mine.failing_since or time.time()
        mine.refused = mine.refused + 1 if refused else 0
        mine.stopped = mine.refused >= house.max_refused
        mine.settings = self.fingerprint() if mine.stopped else ""
        pause = max(house.retry[min(mine.failures, len(house.retry)) - 1], self.settings.every)
        log.fetch_failed(source=self.label, error=text, failures=mine.failures,
                         retry_in=None if mine.stopped else pause)
        self._again(_varied(pause, self.settings.jitter), 0.0)
        if time.time() - mine.told >= DAY or mine.told > time.time():
            mine.told = time.time()
            await self._tell(f"Mail from {self.settings.user} cannot be fetched", self._trouble(text), "fetch-failed")

    def _trouble(self, text: str) -> str:
        what = (f"It is tried again, at most {self.house.settings().incoming.max_refused} times in a row while the"
                " log-in is refused.\n")
        if self.status.stopped:
            what = "Nothing is tried any more until the settings or the password change.\n"
        return (f"The mailbox {self.settings.user} at {self.settings.host} could not be fetched:\n\n  {text}\n\n{what}"
                "No mail is lost: it stays there until it can be fetched.\n\n"
                f"The name of this source is {self.label}. You are told once a day, and when it works again.")

    async def _tell(self, subject: str, text: str, kind: str) -> None:
        house = self.house.settings()
        if house.incoming.notices:
            with contextlib.suppress(OSError):  # the log and the status tell it as well
                await asyncio.to_thread(notice.put, self.house.paths, house, self.account, subject, text, kind)

    def _again(self, seconds: float, at_least: float) -> None:
        now = time.monotonic()
        self.not_before = now + at_least
        self.due = now + max(seconds, at_least)

    # push

    def _watch(self, visit: Visit, outcome: Outcome) -> None:
        if self.settings.push and self.settings.protocol == "imap" and not outcome.waiting and self.driver is not None:
            self.watching = asyncio.create_task(self._pushed(self.driver, visit))

    async def _pushed(self, driver: sources.Driver, visit: Visit) -> None:
        pause = 0.0
        try:
            await driver.wait(visit)
        except (MailError, pop3wire.Broken, imapwire.Broken, OSError, TimeoutError) as error:
            self.house.say(f"{self.label}: {error}")
            pause = PUSH_AGAIN
        except Exception as error:  # as in `visit`
            log.crashed(error=repr(error), where=f"waiting for {self.label}")
            pause = PUSH_AGAIN
        self.due = min(self.due, time.monotonic() + pause)

    async def stop_watching(self) -> None:
        """End the waiting for news, before a visit or for good."""
        task, self.watching = self.watching, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Let go of the connection."""
        await self.stop_watching()
        driver, self.driver = self.driver, None
        if driver is not None:
            with contextlib.suppress(Exception):
                await driver.close()


def _varied(seconds: float, percent: int) -> float:
    return seconds * (1 + random.uniform(-percent, percent) / 100)  # noqa: S311 — so that not all come at once


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
