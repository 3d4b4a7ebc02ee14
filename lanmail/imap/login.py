"""Before the mail: CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ENABLE, ID, LOGOUT.

RFC 3501 §6.1, §6.2; RFC 4959 (SASL-IR); RFC 2971 (ID); RFC 5161 (ENABLE).
"""

import ssl
from typing import NamedTuple

import lanmail
from lanmail import errors, log, sasl
from lanmail.imap import capabilities, parser, wire
from lanmail.imap.session import Bad, No, Session, State

SERVER_ID = f'("name" "lanmail" "version" "{lanmail.__version__}")'
MAX_ID_FIELDS = 30


async def capability(session: Session, _arguments: None) -> str:
    session.untagged(f"CAPABILITY {capabilities.text(session)}")
    return ""


async def starttls(session: Session, _arguments: None) -> str:
    """RFC 3501 §6.2.1; the answer goes out in clear text, everything behind it under TLS."""
    if session.connection.secure:
        raise Bad("TLS is already active.")
    context = session.worker.tls_context()
    if context is None:
        raise No("TLS is not available.", "UNAVAILABLE")
    raise Upgrade(context)


class Upgrade(Exception):
    """STARTTLS was accepted: the dispatcher says OK and then starts TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.context = context


class Login(NamedTuple):
    user: bytes
    password: bytes


def parse_login(cursor: parser.Cursor) -> Login:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return Login(user, cursor.astring())


async def login(session: Session, arguments: Login) -> str:
    _refuse_in_clear(session)
    credentials = sasl.Credentials(sasl.text(arguments.user), password=sasl.text(arguments.password))
    return await _check(session, credentials)


class Authenticate(NamedTuple):
    mechanism: str
    initial: bytes | None


def parse_authenticate(cursor: parser.Cursor) -> Authenticate:
    cursor.space()
    mechanism = cursor.word()
    initial = None
    if cursor.take(b" "):
        initial = cursor.text[cursor.position :]
        cursor.position = len(cursor.text)
    return Authenticate(mechanism, initial)


async def authenticate(session: Session, arguments: Authenticate) -> str:
    """RFC 3501 §6.2.2 with SASL-IR."""
    _refuse_in_clear(session)
    try:
        initial = None if arguments.initial is None else sasl.decode(arguments.initial)
        checker = session.worker.checker
        exchange = sasl.start(arguments.mechanism, initial, checker.keys if checker.offers_scram else None)
        while exchange.credentials is None:
            exchange.respond(sasl.decode(await _ask(session, exchange.challenge)))
    except sasl.UnknownMechanism as error:
        raise No(f"{error.text}.", "CANNOT") from error
    except sasl.BadResponse as error:
        raise Bad(f"{error.text}.") from error
    try:
        return await _check(session, exchange.credentials, exchange.success)
    except No:
        if exchange.refusal is not None:
            await _ask(session, exchange.refusal, cancel=False)
        raise


async def _ask(session: Session, challenge: bytes | None, *, cancel: bool = True) -> bytes:
    """Send a challenge and read the answer."""
    session.connection.write(b"+ " + sasl.encode(challenge) + b"\r\n")
    try:
        line = await session.connection.line(sasl.MAX_LINE, session.timeout)
    except wire.TooLong:
        session.bye("Authentication response too long.")
        raise Bad("Authentication response too long.") from None
    if cancel and line == b"*":
        raise Bad("Authentication cancelled.")
    return line


def _refuse_in_clear(session: Session) -> None:
    if not capabilities.may_log_in(session):
        raise No("Log in under TLS only.", "PRIVACYREQUIRED")


async def _check(session: Session, credentials: sasl.Credentials, success: bytes | None = None) -> str:
    """Let somebody in, or say the same words whatever was wrong."""
    client, user, method = session.connection.peer, credentials.user, credentials.mechanism
    try:
        account = await session.worker.checker.login(credentials, client=client, service="imap")
    except sasl.AuthFailed as error:
        _failed(session, user, method, error.why)
        raise No("Authentication failed.", "AUTHENTICATIONFAILED") from error
    except sasl.Throttled as error:
        _failed(session, user, method, "throttled")
        raise No("Too many failed log-ins, try again later.", "UNAVAILABLE") from error
    except errors.MailError as error:
        raise No("Temporary failure, try again later.", "UNAVAILABLE") from error
    if success is not None:
        await _ask(session, success)
    home = await session.worker.open_home(account)
    if not session.worker.admit(session, account):
        raise No("Too many connections of this user.", "LIMIT")
    session.folders = home
    session.state = State.AUTHENTICATED
    session.worker.sittings.began(session, account.name, credentials.standing, session.login_ended)
    log.login(account=account.name, service="imap", client=client, method=method, tls=session.connection.tls_version)
    return f"[CAPABILITY {capabilities.text(session)}] Logged in."


def _failed(session: Session, user: str, method: str, why: str) -> None:
    session.failed_logins += 1
    log.login_failed(user=user, service="imap", client=session.connection.peer, method=method, reason=why)
    if session.failed_logins >= session.worker.limits.max_failed_logins:
        session.state = State.OVER


def parse_enable(cursor: parser.Cursor) -> list[str]:
    names: list[str] = []
    while not names or not cursor.at_end():
        cursor.space()
        names.append(cursor.word())
    return names


async def enable(session: Session, arguments: list[str]) -> str:
    """RFC 5161 §3.1: unknown names are ignored; the untagged answer comes always."""
    known = capabilities.enables(session)
    fresh = [name for name in arguments if name in known and name not in session.enabled]
    for name in fresh:
        session.enable(name)
    session.untagged(" ".join(["ENABLED", *fresh]))
    return ""


def parse_id(cursor: parser.Cursor) -> dict[str, str]:
    cursor.space()
    fields: dict[str, str] = {}
    if cursor.text[cursor.position :].upper() == b"NIL":
        cursor.position += 3
        return fields
    cursor.expect(b"(")
    while not cursor.take(b")"):
        if fields:
            cursor.space()
        name = cursor.string()
        cursor.space()
        fields[name.decode("utf-8", "replace")] = (cursor.nstring() or b"").decode("utf-8", "replace")
        if len(fields) > MAX_ID_FIELDS:
            cursor.fail("at most 30 fields")
    return fields


async def identify(session: Session, arguments: dict[str, str]) -> str:
    """RFC 2971; what the client calls itself helps whoever reads the log."""
    said = {key.lower(): value[:64] for key, value in arguments.items()}
    if said and session.account is not None:
        log.event("imap-client", account=session.account.name, name=said.get("name"), version=said.get("version"))
    session.untagged(f"ID {SERVER_ID}")
    return ""


async def logout(session: Session, _arguments: None) -> str:
    session.bye("Logging out.")
    return ""
