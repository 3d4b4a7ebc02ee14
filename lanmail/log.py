"""One line per event, in logfmt, with the same id for a mail in every program.

    2026-11-21T22:15:01.123+01:00 smtpd accepted id=1763759701.M… from=<a@firma.lan> to=<b@firma.lan> size=5120

All programs append to one file per day, state/log/YYYY-MM-DD.log (O_APPEND and one write(2) per line, so lines of
several processes never mix): `grep ID state/log/*` tells the life of a mail. Warnings and errors go to stderr as
well, where systemd's journal takes them. A log that cannot be written never stops a mail.

There is one function per event, so that its name and its keys cannot drift; it counts the event, too (metrics.py). No
secret is ever passed to them.
"""

import logging

from lanmail.monitoring import metrics
from lanmail.monitoring.logfile import batch, event, line, setup, some, value

__all__ = ["batch", "event", "setup", "some", "value"]

_STAGES = frozenset({"helo", "ehlo", "lhlo", "mail", "rcpt", "data", "bdat", "auth", "starttls", "line"})  # of SMTP


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
    metrics.accepted(origin, size, account)
    # written out, because it is the line of every mail
    words = [f"accepted id={id} origin={origin}"]
    for key, item in (("account", account), ("client", client), ("source", source)):
        if item is not None:
            words.append(f"{key}={value(item)}")
    words.append(f"from={value(sender)} to={value(recipients)} size={size}")
    if msgid is not None:
        words.append(f"msgid={value(msgid)}")
    line(" ".join(words))


def rejected(
    *, stage: str, reply: str, client: str | None = None, account: str | None = None, sender: str | None = None,
    recipient: str | None = None,
) -> None:
    """A mail or recipient was refused in the session; it never was ours."""
    metrics.count("mails_rejected", stage if stage in _STAGES else "other")
    event(
        "rejected", stage=stage, client=client, account=account, from_=sender, to=recipient, reply=reply
    )


def delivered(*, id: str, to: str, account: str, delay: float, folder: str = "INBOX", octets: int = 0) -> None:
    """A mail lies in a Maildir; `delay` in seconds since it was accepted."""
    metrics.delivered(account, octets, delay)
    event("delivered", id=id, to=to, account=account, folder=folder, delay=delay)


def quota_notice(*, account: str, percent: int) -> None:
    """A mailbox was told that it is nearly full."""
    event("quota-notice", level=logging.WARNING, account=account, percent=percent)


def queued_outbound(*, id: str, to: str) -> None:
    event("outbound", id=id, to=to)


def deferred(*, id: str, reason: str, retry_in: float, to: str | None = None, tries: int | None = None) -> None:
    metrics.count("mails_deferred")
    event("deferred", level=logging.WARNING, id=id, to=to, reason=reason, retry_in=retry_in, tries=tries)


def sent(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, dsn: str, reply: str) -> None:
    """Another server, folder or program has the mail for this recipient."""
    metrics.count("recipients_sent", transport)
    metrics.observe("sending_seconds", delay)
    event("sent", id=id, to=to, transport=transport, host=host, delay=delay, tries=tries, dsn=dsn, reply=reply)


def failed(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, reply: str) -> None:
    """A recipient was refused for good; who is told of it comes as an event of its own."""
    metrics.count("recipients_failed", transport)
    event("failed", level=logging.WARNING, id=id, to=to, transport=transport, host=host, delay=delay, tries=tries,
          reply=reply)


def tried(*, id: str, to: str, transport: str, host: str | None, delay: float, tries: int, reply: str) -> None:
    """A recipient was not accepted now; when the mail is tried again comes as `deferred`."""
    metrics.count("recipients_tried", transport)
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
    metrics.count("bounces")
    event("bounced", id=id, to=to, bounce=bounce, reply=reply)


def returned(*, id: str, account: str, as_: str) -> None:
    """A forward failed for good and had left no copy: the mail goes back to the account, under the id `as_`."""
    event("returned", level=logging.WARNING, id=id, account=account, as_=as_)


def held(*, id: str, why: str) -> None:
    metrics.count("mails_held")
    event("held", level=logging.WARNING, id=id, why=why)


def moved(*, id: str, what: str, spool: str, why: str | None = None, from_: str | None = None,
          to: str | None = None) -> None:
    """An entry was retried, held, released or removed by hand."""
    event(what, id=id, spool=spool, by_hand="yes", why=why, from_=from_, to=to)


def filtered(*, id: str, account: str, filter: str, verdict: str, why: str) -> None:
    """A filter rejected a mail, or took it for spam."""
    metrics.count("mails_filtered", filter, verdict)
    event("filtered", id=id, account=account, filter=filter, verdict=verdict, why=why)


def unfiltered(*, id: str, account: str, filter: str, why: str) -> None:
    """A filter did not work for so long that the mail was delivered without it."""
    event("unfiltered", level=logging.WARNING, id=id, account=account, filter=filter, why=why)


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


def target_refused(*, id: str, account: str, via: str, reply: str) -> None:
    """An account does not take what another one forwards to it."""
    event("target-refused", level=logging.WARNING, id=id, account=account, via=via, reply=reply)


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
    metrics.count("http_requests", str(status))
    event("requested", client=client, method=method, path=path, status=status, seconds=seconds)


def undeliverable(*, id: str, to: str, account: str, why: str) -> None:
    """Nobody can be told by a bounce: the postmaster got the mail."""
    event("undeliverable", level=logging.WARNING, id=id, to=to, account=account, why=why)


def login(*, account: str, service: str, client: str, method: str, tls: str | None = None) -> None:
    metrics.count("logins", service)
    event("login", account=account, service=service, client=client, method=method, tls=tls)


def login_failed(*, user: str, service: str, client: str, method: str, reason: str) -> None:
    """`user` is what was typed; it may be a password typed in the wrong field, so no more than 64 characters."""
    metrics.count("logins_failed", service)
    event(
        "login-failed", level=logging.WARNING, user=user[:64], service=service, client=client, method=method,
        reason=reason,
    )


def pop3_done(*, account: str, client: str, retrieved: int, octets: int, tops: int, deleted: int) -> None:
    """A POP3 session ended; `deleted` is what was really removed."""
    metrics.count("pop3_retrieved", much=retrieved)
    metrics.count("pop3_retrieved_bytes", much=octets)
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
    metrics.count("tls_failed", service)
    event("tls-failed", client=client, service=service, error=error)


def proxy_failed(*, balancer: str, error: str) -> None:
    """A load balancer of server.proxy_networks did not begin with a PROXY header that can be read."""
    event("proxy-failed", level=logging.WARNING, balancer=balancer, error=error)


def spool_failed(*, id: str, error: str) -> None:
    """The disk would not take a mail; its sender was told to try again."""
    metrics.count("disk_failures")
    event("spool-failed", level=logging.ERROR, id=id, error=error)


def restored(*, id: str, account: str, folder: str) -> None:
    """A mail of the archive was put into a mailbox again."""
    event("restored", id=id, account=account, folder=folder)


def archive_index_failed(*, error: str) -> None:
    """A mail of the archive, or all of it, could not be indexed; the archive itself has it."""
    event("archive-index-failed", level=logging.ERROR, error=error)


def archive_index_anew(*, why: str) -> None:
    """The index of the archive could not be used; it is made anew, and searches find what is in it so far."""
    event("archive-index-anew", level=logging.WARNING, why=why)


def fetched(*, source: str, mails: int, octets: int, deleted: int, waiting: int, seconds: float) -> None:
    """A visit to an external mailbox that found something to do."""
    metrics.count("fetches")
    event("fetched", source=source, mails=mails, octets=octets, deleted=deleted, waiting=waiting, seconds=seconds)


def fetch_failed(*, source: str, error: str, failures: int, retry_in: float | None) -> None:
    """A visit came to nothing; without `retry_in` nothing is tried before somebody changes the settings."""
    metrics.count("fetches_failed")
    event("fetch-failed", level=logging.WARNING, source=source, error=error, failures=failures, retry_in=retry_in)


def fetch_works(*, source: str, failures: int) -> None:
    """A mailbox can be fetched again."""
    event("fetch-works", source=source, failures=failures)


def mail_refused(*, source: str, mail: str, reply: str) -> None:
    """A server lists a mail and does not give it; it stays there."""
    event("mail-refused", level=logging.WARNING, source=source, mail=mail, reply=reply)
