"""Whether a mailbox has room: over its quota nothing more is delivered, and smtpd is told by `state/full/NAME`.

A mailbox that is below its limit takes one more mail, whatever its size; one that has reached it takes none. What is in
the queue by then waits there, and is tried again; new mail smtpd refuses for now (452 4.2.2) as long as the file
`state/full/NAME` is there. Only deliver makes and removes these files. From 90 per cent on, the mailbox gets a notice,
at most one a day (`state/quota/NAME`). `take`, `reconsider` and `notify` block; the rest is quick.
"""

import contextlib
import email.utils
import os
import threading
import time
from collections.abc import Callable, Iterator

from lanmail import log, maildir
from lanmail.errors import Temporary
from lanmail.folders import quota
from lanmail.paths import Paths
from lanmail.settings import Settings

WARN_FROM = 90
DAY = 86_400.0
_TEXT = """From: Mail system <postmaster@{domain}>
To: {name}@{domain}
Subject: Your mailbox is {percent} % full
Date: {date}
Message-ID: {id}
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

The mailbox {name} holds {octets} MB in {messages} messages, which is {percent} % of what it
may hold ({limit}). When it is full, no more mail can be delivered to it: those who write
are told to try again later.

Delete what you do not need any more, and empty the trash.
"""


class Room:
    """The room in all mailboxes that have a limit."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        self._paths, self._settings = paths, settings
        self.meter = quota.Meter()
        self._told: dict[str, float] = {}
        self._underway: dict[str, quota.Usage] = {}  # room was taken for them, they are not in the Maildir yet
        self._turn = threading.Lock()  # mails that come at the same time take their room one after the other

    def root(self, name: str) -> str:
        return str(self._paths.maildirs / name)

    def take_at_once(self, name: str, limits: quota.Limits, octets: int) -> bool:
        """Take room for a mail, if it is known without looking that there is some."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            usage = self.meter.known(self.root(name))
            if usage is None or limits.full(usage + self._coming(name)):
                return False
            self._underway[name] = self._coming(name) + quota.Usage(octets, 1)
            return True
        finally:
            self._turn.release()

    def take(self, name: str, limits: quota.Limits, octets: int) -> Temporary | None:
        """The same, looking at the Maildir when it seems to be full or is not known; why there is no room."""
        root = self.root(name)
        with self._turn:
            coming = self._coming(name)
            if limits.full(self.meter.of(root) + coming) and limits.full(self.meter.of(root, exact=True) + coming):
                self._mark(name)
                return Temporary(f"The mailbox of {name} is full", 452, "4.2.2")
            self._underway[name] = coming + quota.Usage(octets, 1)
            return None

    def _coming(self, name: str) -> quota.Usage:
        return self._underway.get(name, quota.Usage())

    def give_back(self, name: str, octets: int) -> None:
        """The mail that room was taken for could not be delivered."""
        with self._turn:
            self._no_longer_underway(name, octets)

    def _no_longer_underway(self, name: str, octets: int) -> None:
        left = self._coming(name) + quota.Usage(-octets, -1)
        if left.messages > 0:
            self._underway[name] = left
        else:
            self._underway.pop(name, None)

    @contextlib.contextmanager
    def arriving(self, name: str, limits: quota.Limits | None, octets: int) -> Iterator[None]:
        """Around the rename or link that brings in a mail that room was taken for: whoever looks at the Maildir
        meanwhile finds it underway or there, never both."""
        if limits is None:
            yield
            return
        with self._turn:
            yield
            self._no_longer_underway(name, octets)
            self.meter.add(self.root(name), octets, 1)

    def delivered(self, name: str, limits: quota.Limits | None, octets: int) -> bool:
        """A mail was delivered; True when it is time for a notice."""
        root = self.root(name)
        quota.note(root, octets, 1)
        if limits is None:
            return False
        usage = self.meter.known(root)
        if usage is None:
            return False
        if limits.full(usage):
            self._mark(name)
        return limits.percent(usage) >= WARN_FROM and abs(time.time() - self._told.get(name, 0.0)) > DAY

    # who is full, for smtpd

    def _mark(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._paths.full.mkdir(mode=0o750, exist_ok=True)
            os.close(os.open(self._paths.full / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640))

    def marked(self) -> list[str]:
        """Accounts that smtpd takes for full."""
        try:
            return os.listdir(self._paths.full)
        except FileNotFoundError:
            return []

    def reconsider(self, name: str, limits: quota.Limits | None) -> None:
        """Take the mark away when there is room again, or no limit any more."""
        if limits is None or not limits.full(self.meter.of(self.root(name), exact=True)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._paths.full / name)

    # the notice

    def notify(self, name: str, limits: quota.Limits) -> None:
        """Put a notice into the mailbox, unless it got one within a day."""
        try:
            usage = self.meter.of(self.root(name))
            if limits.percent(usage) < WARN_FROM:
                return
            self._told[name] = time.time()
            if self._first_today(name):
                maildir.put(self.root(name), self._notice(name, limits, usage))
                log.quota_notice(account=name, percent=limits.percent(usage))
        except OSError as error:  # the mail itself is delivered
            log.folder_unusable(account=name, folder="INBOX", error=str(error))

    def _first_today(self, name: str) -> bool:
        seen = self._paths.state / "quota" / name
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - seen.stat().st_mtime) < DAY:  # one of the future was a clock's mistake
                return False
        seen.parent.mkdir(mode=0o750, exist_ok=True)
        seen.write_bytes(b"")
        return True

    def _notice(self, name: str, limits: quota.Limits, usage: quota.Usage) -> bytes:
        server = self._settings().server
        most = [f"{limits.octets / (1 << 20):.0f} MB"] if limits.octets else []
        most += [f"{limits.messages} messages"] if limits.messages else []
        text = _TEXT.format(
            name=name, domain=server.domain, percent=limits.percent(usage), octets=f"{usage.octets / (1 << 20):.0f}",
            messages=usage.messages, limit=" and ".join(most), date=email.utils.formatdate(localtime=True),
            id=email.utils.make_msgid(domain=server.domain))
        return text.encode()
