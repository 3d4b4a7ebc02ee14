"""One line per event, in logfmt, with the same id for a mail in every program.

    2026-11-21T22:15:01.123+01:00 smtpd accepted id=1763759701.M… from=<a@firma.lan> to=<b@firma.lan> size=5120

All programs append to one file per day, state/log/YYYY-MM-DD.log (O_APPEND and one write(2) per line, so lines of
several processes never mix): `grep ID state/log/*` tells the life of a mail. Warnings and errors go to stderr as
well, where systemd's journal takes them. A log that cannot be written never stops a mail.

There is one function per event, so that its name and its keys cannot drift. No secret is ever passed to them.
"""

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lanmail import atomic

_PLAIN = re.compile(r"[!#-<>-~\u00a1-\u2027\u202a-\ud7ff\ue000-\U0010fffd]+")  # no blank, quote, "=" or control


class _Sink:
    """Where lines go: the day's file, and stderr for what people should see at once."""

    def __init__(self) -> None:
        self.program = "lanmail"
        self.directory: Path | None = None
        self.level = logging.INFO
        self.stderr_level = logging.WARNING
        self.keep_days = 30
        self._fd = -1
        self._day = ""
        self._second = -1
        self._prefix = ""
        self._zone = ""
        self.collected: list[str] | None = None  # lines of a batch, not yet written

    def stamp(self) -> tuple[str, str]:
        """(day, time stamp), ISO 8601 with milliseconds and zone; the slow part once a second."""
        nanos = time.time_ns()
        second = nanos // 1_000_000_000
        if second != self._second:
            local = time.localtime(second)
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            zone = time.strftime("%z", local)
            self._zone = f"{zone[:3]}:{zone[3:]}"
            self._second = second
        return self._prefix[:10], f"{self._prefix}.{nanos // 1_000_000 % 1000:03d}{self._zone}"

    def line(self, level: int, text: str) -> None:
        """Write one line; never raises."""
        if level < self.level:
            return
        day, stamp = self.stamp()
        full = f"{stamp} {self.program} {text}\n"
        if self.collected is not None:
            self.collected.append(full)
        else:
            self.write(day, full)
        if level >= self.stderr_level:
            try:
                sys.stderr.write(full)
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # nobody reads it any more; the file has it

    def forget(self) -> None:
        """Close the file of the day; the next line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._day = -1, ""

    def write(self, day: str, text: str) -> None:
        """Append whole lines to the file of the day; never raises."""
        if self.directory is None:
            return
        try:
            if day != self._day:
                self._open(day)
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
        except OSError:
            self._day = ""

    def _open(self, day: str) -> None:
        assert self.directory is not None
        self.forget()
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | atomic.SAFE
        self._fd = os.open(self.directory / f"{day}.log", flags, 0o640)
        self._day = day
        self._purge(day)

    def _purge(self, today: str) -> None:
        assert self.directory is not None
        days = sorted(path for path in self.directory.glob("????-??-??.log") if path.stem <= today)
        for path in days[: -self.keep_days]:
            path.unlink(missing_ok=True)


_sink = _Sink()


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """Write the lines of this block in one go at its end; for a loop of thousands that lasts some milliseconds."""
    _sink.collected = []
    try:
        yield
    finally:
        lines, _sink.collected = _sink.collected, None
        if lines:
            _sink.write(_sink.stamp()[0], "".join(lines))


class _Bridge(logging.Handler):
    """What libraries log through the standard module, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += " | " + (logging.Formatter().formatException(record.exc_info)).replace("\n", " | ")
        event("message", level=record.levelno, logger=record.name, text=text)


def setup(
    program: str,
    directory: Path | None,
    *,
    level: int = logging.INFO,
    keep_days: int = 30,
    stderr_level: int = logging.WARNING,
) -> None:
    """Begin to log as `program` into `directory` (None: stderr only)."""
    _sink.program = program
    _sink.directory = directory
    _sink.forget()
    _sink.level = level
    _sink.keep_days = max(1, keep_days)
    _sink.stderr_level = stderr_level
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(logging.WARNING))


def value(item: object) -> str:
    """One logfmt value: bare when it is plain, else quoted with JSON's escapes; a control never reaches a terminal."""
    text = item if isinstance(item, str) else f"{item:.3f}" if isinstance(item, float) else str(item)
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def event(name: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log one event; fields that are None are left out, and `from_` is written `from`."""
    words = [f"{key.rstrip('_')}={value(item)}" for key, item in fields.items() if item is not None]
    _sink.line(level, " ".join([name, *words]))


def some(many: Sequence[object], most: int = 50) -> str:
    """A list in one value, cut where it would only make the line unreadable."""
    return ",".join(map(str, many[:most])) + (f",+{len(many) - most}" if len(many) > most else "")


def started(*, version: str, pid: int, listen: str | None = None) -> None:
    event("started", version=version, pid=pid, listen=listen)


def ready(*, pid: int) -> None:
    event("ready", pid=pid)


def reloaded() -> None:
    event("reloaded")


def config_broken(*, error: str) -> None:
    event("config-broken", level=logging.ERROR, error=error, hint="what was read before stays in force")


def reload_failed(*, error: str) -> None:
    event("reload-failed", level=logging.ERROR, error=error, hint="the last good settings stay in force")


def stopped(*, pid: int) -> None:
    event("stopped", pid=pid)


def crashed(*, error: str, where: str | None = None, id: str | None = None) -> None:
    """A bug of ours; the mail stays where it was."""
    event("internal-error", level=logging.ERROR, id=id, error=error, where=where)


def worker_died(*, worker: int, pid: int, status: int, again_in: float) -> None:
    event("worker-died", level=logging.ERROR, worker=worker, pid=pid, status=status, again_in=again_in)


def program_died(*, program: str, how: str, again_in: float) -> None:
    """`lanmail up` lost a child."""
    event("program-died", level=logging.ERROR, program=program, how=how, again_in=again_in)


def address_skipped(*, listener: str, address: str, reason: str) -> None:
    event("address-skipped", level=logging.WARNING, listener=listener, address=address, reason=reason)


def accepted(
    *, id: str, sender: str, recipients: str, size: int, origin: str, client: str | None = None,
    account: str | None = None, msgid: str | None = None, source: str | None = None,
) -> None:
    """A mail is ours: it lies durably in the queue."""
    # written out, because it is the line of every mail
    words = [f"accepted id={id} origin={origin}"]
    for key, item in (("account", account), ("client", client), ("source", source)):
        if item is not None:
            words.append(f"{key}={value(item)}")
    words.append(f"from={value(sender)} to={value(recipients)} size={size}")
    if msgid is not None:
        words.append(f"msgid={value(msgid)}")
    _sink.line(logging.INFO, " ".join(words))


def rejected(
    *, stage: str, reply: str, client: str | None = None, account: str | None = None, sender: str | None = None,
    recipient: str | None = None,
) -> None:
    """A mail or recipient was refused in the session; it never was ours."""
    event(
        "rejected", stage=stage, client=client, account=account, from_=sender, to=recipient, reply=reply
    )


def delivered(*, id: str, to: str, account: str, delay: float, folder: str = "INBOX") -> None:
    """A mail lies in a Maildir; `delay` in seconds since it was accepted."""
    event("delivered", id=id, to=to, account=account, folder=folder, delay=delay)


def quota_notice(*, account: str, percent: int) -> None:
    """A mailbox was told that it is nearly full."""
    event("quota-notice", level=logging.WARNING, account=account, percent=percent)


def queued_outbound(*, id: str, to: str) -> None:
    event("outbound", id=id, to=to)


def deferred(*, id: str, reason: str, retry_in: float, to: str | None = None, tries: int | None = None) -> None:
    event("deferred", level=logging.WARNING, id=id, to=to, reason=reason, retry_in=retry_in, tries=tries)


def sent(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, dsn: str, reply: str) -> None:
    """Another server, folder or program has the mail for this recipient."""
    event("sent", id=id, to=to, transport=transport, host=host, delay=delay, tries=tries, dsn=dsn, reply=reply)


def failed(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, reply: str) -> None:
    """A recipient was refused for good; who is told of it comes as an event of its own."""
    event("failed", level=logging.WARNING, id=id, to=to, transport=transport, host=host, delay=delay, tries=tries,
          reply=reply)


def tried(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, reply: str) -> None:
    """A recipient was not accepted now; when the mail is tried again comes as `deferred`."""
    event("tried", id=id, to=to, transport=transport, host=host, delay=delay, tries=tries, reply=reply)


def resumed(*, id: str) -> None:
    """We died while this mail was being sent: whether it arrived is not known, so it is sent (again)."""
    event("resumed", level=logging.WARNING, id=id, hint="it may arrive twice")


def unreachable(*, destination: str, reason: str, retry_in: float, waiting: int) -> None:
    """Nothing goes there for a while; the tries of the mails that wait are not counted."""
    event("unreachable", level=logging.WARNING, destination=destination, reason=reason, retry_in=retry_in,
          waiting=waiting)


def reachable(*, destination: str, waiting: int) -> None:
    event("reachable", destination=destination, waiting=waiting)


def policy_broken(*, domain: str, hosts: str) -> None:
    """An MTA-STS policy in testing mode does not name all servers of its domain; mail goes all the same."""
    event("mta-sts-mismatch", level=logging.WARNING, domain=domain, hosts=hosts)


def split(*, id: str, parts: int, why: str) -> None:
    """The mail goes out in several mails."""
    event("split", id=id, parts=parts, why=why)


def notified(*, id: str, to: str, notice: str, action: str) -> None:
    """The sender is told that his mail is late, or was handed on; `notice` is the id of the mail that says so."""
    event("notified", id=id, to=to, notice=notice, action=action)


def untold(*, id: str, to: str, reply: str, why: str) -> None:
    """A mail failed, and there is nobody who may be told."""
    event("untold", level=logging.WARNING, id=id, to=to, reply=reply, why=why)


def bounced(*, id: str, to: str, bounce: str, reply: str) -> None:
    """A DSN was queued under the id `bounce`."""
    event("bounced", id=id, to=to, bounce=bounce, reply=reply)


def returned(*, id: str, account: str, as_: str) -> None:
    """A forward failed for good and had left no copy: the mail goes back to the account, under the id `as_`."""
    event("returned", level=logging.WARNING, id=id, account=account, as_=as_)


def held(*, id: str, why: str) -> None:
    event("held", level=logging.WARNING, id=id, why=why)


def moved(*, id: str, what: str, spool: str, why: str | None = None, from_: str | None = None,
          to: str | None = None) -> None:
    """An entry was retried, held, released or removed by hand."""
    event(what, id=id, spool=spool, by_hand="yes", why=why, from_=from_, to=to)


def left_alone(*, file: str, why: str) -> None:
    """Something in a spool that is no mail; told once, not at each look."""
    event("left-alone", level=logging.WARNING, file=file, why=why)


def abandoned(*, spool: str, file: str) -> None:
    """A file in tmp/ that nobody finished, removed after 36 hours; it never was acknowledged."""
    event("abandoned", level=logging.WARNING, spool=spool, file=file)


def unsafe(*, error: str) -> None:
    event("unsafe", level=logging.ERROR, error=error, hint="at its next start the program will refuse")


def forward_loop(*, id: str, account: str, why: str) -> None:
    """A mail that was here before is not forwarded again; the copy stays."""
    event("forward-loop", level=logging.WARNING, id=id, account=account, why=why)


def forwarded(*, id: str, account: str, to: str, why: str) -> None:
    """An account sends a mail on."""
    event("forwarded", id=id, account=account, to=to, why=why)


def forward_ends(*, id: str, account: str) -> None:
    """The forwards lead in a circle, or nowhere: the account keeps the copy."""
    event("forward-ends", level=logging.WARNING, id=id, account=account)


def target_unknown(*, id: str, to: str, via: str) -> None:
    """A group or forward names somebody who is not there."""
    event("target-unknown", level=logging.WARNING, id=id, to=to, via=via)


def group_ring(*, id: str, group: str, ring: str) -> None:
    """A group is a member of itself, by others or directly; everybody gets one copy all the same."""
    event("group-ring", level=logging.WARNING, id=id, group=group, ring=ring)


def group_empty(*, id: str, group: str) -> None:
    """Nobody is in the group, so its owner gets the mail."""
    event("group-empty", level=logging.WARNING, id=id, group=group)


def group_refused(*, id: str, group: str, account: str, reply: str) -> None:
    """An account forwards to a group that does not take it; the copy stays."""
    event("group-refused", level=logging.WARNING, id=id, group=group, account=account, reply=reply)


def denied_internet(*, id: str, account: str, to: str) -> None:
    """A copy for outside was not made: the account must not send there."""
    event("denied-internet", id=id, account=account, to=to)


def unanswered(*, id: str, account: str, to: str, why: str) -> None:
    """An autoresponder left a mail without an answer."""
    event("unanswered", id=id, account=account, to=to, why=why)


def made(*, id: str, what: str, spool: str, entry: str) -> None:
    """A new mail or job came of a mail."""
    event("made", id=id, what=what, spool=spool, entry=entry)


def consumed(*, id: str, account: str, why: str) -> None:
    """A mail was carried out, not delivered."""
    event("consumed", id=id, account=account, why=why)


def commanded(*, id: str, account: str, command: str, refused: str | None = None) -> None:
    """A mail to oneself switched forwarding or autoresponder, or was told why not."""
    event("command", id=id, account=account, command=command, refused=refused)


def command_unwritable(*, account: str, file: str, error: str) -> None:
    """A command by mail could not change the account's file, for the program may not write it."""
    event("command-failed", level=logging.ERROR, account=account, file=file, error=error,
          hint="lanmail doctor tells what to do")


def einvoice(*, id: str, account: str, kind: str, reason: str | None = None, format: str | None = None,
             profile: str | None = None, count: int | None = None, duplicate_of: str | None = None) -> None:
    """What a mail in an e-invoice mailbox is."""
    level = logging.WARNING if kind == "undecided" else logging.INFO
    event("einvoice", level=level, id=id, account=account, kind=kind, reason=reason, format=format, profile=profile,
          count=count, duplicate_of=duplicate_of)


def einvoice_saved(*, id: str, account: str, file: str) -> None:
    """The XML of an e-invoice lies in the account's directory for it."""
    event("einvoice-saved", id=id, account=account, file=file)


def requested(*, client: str, method: str, path: str, status: int, seconds: float) -> None:
    """An HTTP request was answered; 0 is a connection that broke."""
    event("requested", client=client, method=method, path=path, status=status, seconds=seconds)


def undeliverable(*, id: str, to: str, account: str, why: str) -> None:
    """Nobody can be told by a bounce: the postmaster got the mail."""
    event("undeliverable", level=logging.WARNING, id=id, to=to, account=account, why=why)


def login(*, account: str, service: str, client: str, method: str, tls: str | None = None) -> None:
    event("login", account=account, service=service, client=client, method=method, tls=tls)


def login_failed(*, user: str, service: str, client: str, method: str, reason: str) -> None:
    """`user` is what was typed; it may be a password typed in the wrong field, so no more than 64 characters."""
    event(
        "login-failed", level=logging.WARNING, user=user[:64], service=service, client=client, method=method,
        reason=reason,
    )


def pop3_done(*, account: str, client: str, retrieved: int, octets: int, tops: int, deleted: int) -> None:
    """A POP3 session ended; `deleted` is what was really removed."""
    event(
        "logout", service="pop3", account=account, client=client, retrieved=retrieved, octets=octets, top=tops,
        deleted=deleted,
    )


def folder_unusable(*, account: str, folder: str, error: str) -> None:
    event("folder-unusable", level=logging.ERROR, account=account, folder=folder, error=error)


def message_unreadable(*, account: str, file: str, error: str) -> None:
    event("message-unreadable", level=logging.WARNING, account=account, file=file, error=error)


def certificate_unusable(*, file: str, error: str) -> None:
    """The files changed to something that cannot be used; the last good certificate stays in force."""
    event("certificate-unusable", level=logging.ERROR, file=file, error=error)


def tls_failed(*, client: str, service: str, error: str) -> None:
    """A handshake did not come about: old versions on either side, an unknown certificate, no TLS at all."""
    event("tls-failed", client=client, service=service, error=error)


def proxy_failed(*, balancer: str, error: str) -> None:
    """A load balancer of server.proxy_networks did not begin with a PROXY header that can be read."""
    event("proxy-failed", level=logging.WARNING, balancer=balancer, error=error)


def spool_failed(*, id: str, error: str) -> None:
    """The disk would not take a mail; its sender was told to try again."""
    event("spool-failed", level=logging.ERROR, id=id, error=error)


def archive_index_failed(*, error: str) -> None:
    """A mail of the archive, or all of it, could not be indexed; the archive itself has it."""
    event("archive-index-failed", level=logging.ERROR, error=error)


def archive_index_anew(*, why: str) -> None:
    """The index of the archive could not be used; it is made anew, and searches find what is in it so far."""
    event("archive-index-anew", level=logging.WARNING, why=why)


def fetched(*, source: str, mails: int, octets: int, deleted: int, waiting: int, seconds: float) -> None:
    """A visit to an external mailbox that found something to do."""
    event("fetched", source=source, mails=mails, octets=octets, deleted=deleted, waiting=waiting, seconds=seconds)


def fetch_failed(*, source: str, error: str, failures: int, retry_in: float | None) -> None:
    """A visit came to nothing; without `retry_in` nothing is tried before somebody changes the settings."""
    event("fetch-failed", level=logging.WARNING, source=source, error=error, failures=failures, retry_in=retry_in)


def fetch_works(*, source: str, failures: int) -> None:
    """A mailbox can be fetched again."""
    event("fetch-works", source=source, failures=failures)


def mail_refused(*, source: str, mail: str, reply: str) -> None:
    """A server lists a mail and does not give it; it stays there."""
    event("mail-refused", level=logging.WARNING, source=source, mail=mail, reply=reply)
