"""How much mail an account may have: GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208, before that RFC 2087).

Each account with a limit is one quota root, called like the account; it counts all its folders, whoever puts mail into
them. Limits are the administrator's: SETQUOTA is refused.
"""

from dataclasses import dataclass

from lanmail.folders import quota
from lanmail.imap import names, parser
from lanmail.imap.session import No, Session
from lanmail.mime import strings
from lanmail.settings import Account

UNIT = 1024  # RFC 9208 §5.1: STORAGE counts units of 1024 octets
WARNINGS = (95, 80)


@dataclass(frozen=True, slots=True)
class Root:
    name: bytes


def parse(cursor: parser.Cursor) -> Root:
    cursor.space()
    return Root(cursor.astring())


def parse_set(cursor: parser.Cursor) -> Root:
    found = parse(cursor)
    cursor.space()
    cursor.expect(b"(")
    while not cursor.take(b")"):
        cursor.atom()
        cursor.space()
        cursor.number64()
        cursor.take(b" ")
    return found


async def get(session: Session, arguments: Root) -> str:
    account = _visible(session, arguments.name)
    if account is None or not quota.Limits.of(account):
        raise No("There is no such quota root.", "NONEXISTENT")
    await _say(session, account)
    return ""


async def of_mailbox(session: Session, arguments: Root) -> str:
    owner, shown = _asked(session.home, arguments.name)
    account = session.worker.shares.account(owner)
    limited = account is not None and bool(quota.Limits.of(account))
    session.untagged(b"QUOTAROOT " + shown + (b" " + account.name.encode() if account and limited else b""))
    if account is not None and limited:
        await _say(session, account)
    return ""


def _asked(home: names.Home, raw: bytes) -> tuple[str, bytes]:
    """Whose quota a mailbox counts for, and its name in the answer. RFC 9208 §4.1.2: it need not exist."""
    try:
        name = home.folder(raw)
    except No:  # a name that none can have, either
        return home.place("INBOX").owner, strings.nstring(raw)
    if home.exists(name) or home.is_foreign(name):
        home.existing(raw, "r")
        return home.place(name).owner, home.wire(home.spelled(name, raw))
    return home.place("INBOX").owner, home.wire(home.spelled(name, raw))


async def set_(session: Session, arguments: Root) -> str:
    if _visible(session, arguments.name) is None:
        raise No("There is no such quota root.", "NONEXISTENT")
    raise No("Only the administrator changes how much mail an account may have.", "NOPERM")


def _visible(session: Session, raw: bytes) -> Account | None:
    """The account that a quota root belongs to: the own one, or one whose folders may be seen."""
    name = raw.decode("ascii", "replace")
    own = session.account.name if session.account is not None else ""
    shares = session.worker.shares
    if name != own and not any(owner == name for owner, _, _ in shares.visible(own)):
        return None
    return shares.account(name)


async def _say(session: Session, account: Account) -> None:
    limits = quota.Limits.of(account)
    usage = await session.worker.usage(account.name, exact=True)
    parts = []
    if limits.octets:
        parts.append(f"STORAGE {-(-usage.octets // UNIT)} {limits.octets // UNIT}")
    if limits.messages:
        parts.append(f"MESSAGE {usage.messages} {limits.messages}")
    session.untagged(f"QUOTA {account.name} ({' '.join(parts)})")


async def check(session: Session, owner: str, octets: int, messages: int) -> None:
    """No unless so much more may be put into the folders of an account."""
    account = session.worker.shares.account(owner)
    if account is None or not (limits := quota.Limits.of(account)):
        return
    more = quota.Usage(octets, messages)
    for exact in (False, True):  # what was removed meanwhile must not be counted when it decides
        usage = await session.worker.usage(owner, exact=exact)
        if limits.holds(usage + more):
            break
    else:
        raise No("There is no room for that: the mailbox is full.", "OVERQUOTA")
    warn(session, account, usage + more)


def warn(session: Session, account: Account, usage: quota.Usage) -> None:
    """Tell once a session that the mailbox is nearly full, and once that it is very nearly full."""
    percent = quota.Limits.of(account).percent(usage)
    reached = next((level for level in WARNINGS if percent >= level), 0)
    if reached > session.warned:
        session.warned = reached
        whose = "Your mailbox" if session.account is not None and account.name == session.account.name else (
            f"The mailbox {account.name}")
        session.untagged(f"OK [ALERT] {whose} is {percent} % full.")


def look(session: Session, owner: str) -> None:
    """A mailbox was selected: warn when it is known to be nearly full; else find out for the next time."""
    account = session.worker.shares.account(owner)
    if account is not None and quota.Limits.of(account):
        usage = session.worker.known_usage(owner)
        if usage is not None:
            warn(session, account, usage)
        else:
            session.worker.measure(owner)
