"""AUTH (RFC 4954): the SASL exchange in SMTP's framing, and what a failed log-in costs."""

from typing import TYPE_CHECKING

from lanmail import log, sasl
from lanmail.errors import Permanent
from lanmail.smtp import hello

if TYPE_CHECKING:
    from lanmail.smtp.session import Session


async def login(session: "Session", arg: str) -> None:
    """`mechanism [initial-response]`. Raises MailError."""
    _may_begin(session)
    mechanism, _, initial = arg.partition(" ")
    mechanism = mechanism.upper()
    if not mechanism or " " in initial:
        raise Permanent("Syntax: AUTH mechanism [initial-response]", 501, "5.5.4")
    checker = session.service.checker
    if mechanism not in checker.mechanisms(secure=True):
        raise sasl.UnknownMechanism()
    exchange = sasl.start(mechanism, sasl.decode(initial.encode()) if initial else None, checker.keys)
    while exchange.credentials is None:
        line = await _ask(session, exchange.challenge)
        exchange.respond(sasl.decode(line))
    await _check(session, exchange, exchange.credentials)


def _may_begin(session: "Session") -> None:
    if not hello.wants_login(session):
        raise Permanent("There is no log-in on this port", 502, "5.5.1")
    if not session.client.esmtp:
        raise Permanent("Say EHLO first", 503, "5.5.1")
    if session.client.account is not None:
        raise Permanent("You are logged in already", 503, "5.5.1")
    if not hello.is_secure(session):
        raise Permanent("Log in over TLS only", 538, "5.7.11")


async def _ask(session: "Session", challenge: bytes | None) -> bytes:
    session.reply(b"334 " + sasl.encode(challenge))
    line = await session.next_line()
    if line == b"*":
        raise Permanent("Log-in cancelled", 501, "5.7.0")
    return line


async def _check(session: "Session", exchange: sasl.Exchange, credentials: sasl.Credentials) -> None:
    client = session.client
    tls = client.tls.version() if client.tls is not None else None
    user = credentials.user
    try:
        account = await session.service.checker.login(credentials, client=client.address, service="smtp")
    except (sasl.AuthFailed, sasl.Throttled) as error:
        log.login_failed(user=user, service="smtp", client=client.address, method=exchange.mechanism,
                         reason=getattr(error, "why", "") or error.text)
        if exchange.refusal is not None:
            await _ask(session, exchange.refusal)
        session.strikes.failed_logins += 1
        if session.strikes.failed_logins >= session.service.smtpd.max_failed_logins:
            session.reply(str(error).encode())
            session.finish(f"421 4.7.0 {session.service.hostname} Too many failed log-ins")
            return
        raise
    if exchange.success is not None:
        await _ask(session, exchange.success)
    client.login(account)
    session.service.sittings.began(session, account.name, credentials.standing, session.login_ended)
    log.login(account=account.name, service="smtp", client=client.address, method=exchange.mechanism, tls=tls)
    session.reply(b"235 2.7.0 Welcome")
