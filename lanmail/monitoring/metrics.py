"""What a program counts while it works: mail that came and went, what failed, how long it took.

    metrics.count("mails_rejected", "rcpt")             one more; the names and their labels are in COUNTERS
    metrics.observe("delivery_seconds", 0.2)            one more that took so long
    metrics.delivered("meier", 5120, 0.2)               a mail, with what the account received today
    metrics.watch("connections", lambda: 5)             a number of the moment, asked for when it is written down

Counting is an addition in memory, less than a microsecond; counterfile.py writes it down now and then, in a thread.
Label values are words of ours, never a client's, so that nobody can make them many.
"""

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """What is counted: a sentence, and the names of its labels."""

    about: str
    labels: tuple[str, ...] = ()


COUNTERS = {
    "mails_accepted": Counter("Mails taken in, safe in the queue.", ("origin",)),
    "mails_accepted_bytes": Counter("Their size.", ("origin",)),
    "mails_rejected": Counter("Mails and recipients refused while a client was connected.", ("stage",)),
    "mails_delivered": Counter("Copies put into mailboxes."),
    "mails_delivered_bytes": Counter("Their size."),
    "mails_deferred": Counter("Times that a mail has to wait for another try."),
    "mails_held": Counter("Mails put into spool/hold for a person to look at."),
    "mails_filtered": Counter("Mails that a filter took for spam or rejected.", ("filter", "verdict")),
    "bounces": Counter("Recipients whose failure was told to the sender by a mail."),
    "recipients_sent": Counter("Recipients for whom another server, folder or program took the mail.", ("transport",)),
    "recipients_failed": Counter("Recipients refused for good by the other side.", ("transport",)),
    "recipients_tried": Counter("Recipients not accepted for now; they are tried again.", ("transport",)),
    "fetches": Counter("Visits to external mailboxes that found something to do."),
    "fetches_failed": Counter("Visits to external mailboxes that came to nothing."),
    "tokens_renewed": Counter("OAuth2 tokens of providers that were renewed."),
    "tokens_refused": Counter("Times that a provider refused to renew a token."),
    "logins": Counter("Log-ins.", ("service",)),
    "logins_failed": Counter("Log-ins with a wrong name, password or token.", ("service",)),
    "tls_failed": Counter("TLS handshakes that did not come about.", ("service",)),
    "pop3_retrieved": Counter("Mails that clients fetched by POP3."),
    "pop3_retrieved_bytes": Counter("Their size."),
    "http_requests": Counter("Requests that httpd answered.", ("status",)),
    "disk_failures": Counter("Mails that the disk would not take; their senders were told to try again."),
    "log_warnings": Counter("Lines of the log that are warnings."),
    "log_errors": Counter("Lines of the log that are errors."),
}
HISTOGRAMS = {
    "delivery_seconds": "From accepting a mail to its copy in a mailbox.",
    "sending_seconds": "From accepting a mail to the moment another server took it.",
}
BUCKETS = (0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 14400.0)
SUM, OVER = "sum", "+Inf"
BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), OVER)
_MOST = 5000  # keys; more would be a bug

_DELIVERED, _DELIVERED_BYTES = ("mails_delivered",), ("mails_delivered_bytes",)
_DELIVERY_SUM = ("delivery_seconds", SUM)

Key = tuple[str, ...]  # name and labels
Traffic = dict[str, list[int]]  # account → mails received, their octets, mails sent, their octets


class _Counts:
    """The numbers of this process."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.counts: dict[Key, float] = {}
        self.days: dict[str, Traffic] = {}
        self.watched: dict[str, Callable[[], float]] = {}
        self.changes = 0
        self.began = self.midnight = 0.0  # of the day
        self.day = ""

    def add(self, key: Key, much: float) -> None:
        with self.turn:
            known = self.counts.get(key)
            if known is not None or len(self.counts) < _MOST:
                self.counts[key] = (known or 0) + much
                self.changes += 1

    def row(self, account: str) -> list[int]:
        """What an account received and sent today; `turn` is held."""
        return self.days.setdefault(self.today(), {}).setdefault(account, [0, 0, 0, 0])

    def today(self) -> str:
        """The day, as logs have it; the slow part once a day."""
        now = time.time()
        if not self.began <= now < self.midnight:
            local = time.localtime(now)
            self.day = time.strftime("%Y-%m-%d", local)
            self.began, self.midnight = (
                time.mktime((*local[:2], local[2] + more, 0, 0, 0, 0, 0, -1)) for more in (0, 1))
        return self.day


_mine = _Counts()


def count(name: str, *labels: str, much: float = 1) -> None:
    """Add to a counter of COUNTERS."""
    _mine.add((name, *labels), much)


def observe(name: str, seconds: float) -> None:
    """Note how long something of HISTOGRAMS took."""
    _mine.add((name, BOUNDS[bisect.bisect_left(BUCKETS, seconds)]), 1)
    _mine.add((name, SUM), seconds)


def accepted(origin: str, octets: int, account: str | None) -> None:
    """A mail came in; `account` sent it."""
    mails, size, mine = ("mails_accepted", origin), ("mails_accepted_bytes", origin), _mine
    with mine.turn:  # once, for this happens with every mail
        counts = mine.counts
        counts[mails] = counts.get(mails, 0) + 1
        counts[size] = counts.get(size, 0) + octets
        if account is not None:
            row = mine.row(account)
            row[2] += 1
            row[3] += octets
        mine.changes += 1


def delivered(account: str, octets: int, seconds: float) -> None:
    """A copy lies in the mailbox of an account, so long after the mail came in."""
    bucket, mine = ("delivery_seconds", BOUNDS[bisect.bisect_left(BUCKETS, seconds)]), _mine
    with mine.turn:  # the same
        counts = mine.counts
        counts[_DELIVERED] = counts.get(_DELIVERED, 0) + 1
        counts[_DELIVERED_BYTES] = counts.get(_DELIVERED_BYTES, 0) + octets
        counts[bucket] = counts.get(bucket, 0) + 1
        counts[_DELIVERY_SUM] = counts.get(_DELIVERY_SUM, 0) + seconds
        row = mine.row(account)
        row[0] += 1
        row[1] += octets
        mine.changes += 1


def watch(name: str, ask: Callable[[], float]) -> None:
    """Write down what `ask` says, too; it is called from a thread and must not block."""
    _mine.watched[name] = ask


# for counterfile.py

def changes() -> int:
    """A number that is another one after each change."""
    return _mine.changes


def counted() -> dict[Key, float]:
    """A copy of all counts."""
    with _mine.turn:
        return dict(_mine.counts)


def watched() -> dict[str, float]:
    """The numbers of the moment."""
    return {name: ask() for name, ask in list(_mine.watched.items())}


def days() -> tuple[str, dict[str, Traffic]]:
    """Today, and a copy of the traffic of each day that is not yet forgotten."""
    with _mine.turn:
        return _mine.today(), {day: {name: list(row) for name, row in one.items()} for day, one in _mine.days.items()}


def forget(day: str) -> None:
    """Traffic of a day that is over and written down."""
    with _mine.turn:
        _mine.days.pop(day, None)


def begin(counts: dict[Key, float], day: str = "", known: Traffic | None = None) -> None:
    """Start from what an earlier process counted; what this one has counted so far is added."""
    for key, much in counts.items():
        _mine.add(key, much)
    with _mine.turn:
        for name, row in (known or {}).items():
            mine = _mine.days.setdefault(day, {}).setdefault(name, [0, 0, 0, 0])
            mine[:] = [one + other for one, other in zip(mine, row, strict=True)]


def reset() -> None:
    """Forget everything; for tests."""
    _mine.__init__()  # type: ignore[misc]
