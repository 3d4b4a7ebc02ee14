"""NOTIFY (RFC 5465): the command and its grammar. What clients are then told is in lanmail/imap/notices.py."""

from dataclasses import dataclass

from lanmail.imap import fetchgrammar, notices, parser
from lanmail.imap.items import Item
from lanmail.imap.session import Bad, No, Session

EVENTS = ("MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange",
          "ServerMetadataChange")
KNOWN = {name.upper() for name in EVENTS}
MESSAGE = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})
SELECTED = ("SELECTED", "SELECTED-DELAYED")
OTHERS = ("INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES")
MAX_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """An event group as it stands in the command; without events it says NONE."""

    kind: str
    mailboxes: tuple[bytes, ...] = ()
    events: frozenset[str] = frozenset()
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    groups: tuple[Asked, ...] = ()  # none at all: NOTIFY NONE
    status: bool = False


def parse(cursor: parser.Cursor) -> Notify:
    cursor.space()
    word = cursor.word()
    if word == "NONE":
        return Notify()
    if word != "SET":
        cursor.fail("SET or NONE")
    cursor.space()
    status = not cursor.peek(b"(")
    if status:
        if cursor.word() != "STATUS":
            cursor.fail("STATUS or an event group")
        cursor.space()
    groups = [_group(cursor)]
    while cursor.take(b" "):
        groups.append(_group(cursor))
    if sum(group.kind in SELECTED for group in groups) > 1:
        cursor.fail("one group for the selected mailbox")  # §6.1
    return Notify(tuple(groups), status)


def _group(cursor: parser.Cursor) -> Asked:
    cursor.expect(b"(")
    kind = cursor.word()
    if kind not in SELECTED + OTHERS:
        cursor.fail("which mailboxes")
    mailboxes: tuple[bytes, ...] = ()
    if kind in ("SUBTREE", "MAILBOXES"):
        cursor.space()
        mailboxes = _mailboxes(cursor)
    cursor.space()
    if not cursor.peek(b"("):
        if cursor.word() != "NONE":
            cursor.fail("events or NONE")
        cursor.expect(b")")
        return Asked(kind, mailboxes)
    events, wanted = _events(cursor, selected=kind in SELECTED)
    cursor.expect(b")")
    return Asked(kind, mailboxes, events, wanted)


def _mailboxes(cursor: parser.Cursor) -> tuple[bytes, ...]:
    if not cursor.take(b"("):
        return (cursor.astring(),)
    found = [cursor.astring()]
    while not cursor.take(b")"):
        cursor.space()
        found.append(cursor.astring())
        if len(found) > MAX_NAMES:
            cursor.fail("at most 1000 mailboxes")
    return tuple(found)


def _events(cursor: parser.Cursor, *, selected: bool) -> tuple[frozenset[str], tuple[Item, ...]]:
    """RFC 5465 §5: what must be named together; names that nobody knows are refused later, with NO."""
    cursor.expect(b"(")
    events: set[str] = set()
    wanted: tuple[Item, ...] = ()
    while True:
        events.add(cursor.word())
        if selected and "MESSAGENEW" in events and not wanted and cursor.peek(b" ("):
            cursor.space()
            wanted = tuple(dict.fromkeys([Item("UID", b"UID"), *fetchgrammar.several(cursor)]))
        if cursor.take(b")"):
            break
        cursor.space()
    if len(events & {"MESSAGENEW", "MESSAGEEXPUNGE"}) == 1 or ("FLAGCHANGE" in events and "MESSAGENEW" not in events):
        cursor.fail("MessageNew together with MessageExpunge")
    if selected and events & KNOWN - MESSAGE:
        cursor.fail("events of messages")  # §6.1
    return frozenset(events), wanted


async def notify(session: Session, arguments: Notify) -> str:
    """RFC 5465 §3.1. SET also says what happened in the selected mailbox until now, as NOOP would."""
    if any(group.events - KNOWN for group in arguments.groups):
        raise No("An event that is not known here.", f"BADEVENT ({' '.join(EVENTS)})")
    chosen = tuple(_resolved(session, group) for group in arguments.groups)
    fresh = notices.Notices(session, chosen)
    try:
        await fresh.begin(status=arguments.status)
    except notices.Overflow as error:
        fresh.close()
        raise No(f"{error}.", "NOTIFICATIONOVERFLOW") from None
    except BaseException:
        fresh.close()
        raise
    if arguments.groups and session.selected is not None:
        session.heed(None)
        await session.look()
        await session.report(expunges=True)
    session.heed(fresh)
    return ""


def _resolved(session: Session, group: Asked) -> notices.Group:
    """The same with names as we have them; "" in a SUBTREE is above all."""
    home = session.home
    mailboxes = []
    for raw in group.mailboxes:
        try:
            mailboxes.append(home.folder(raw) if raw else "")
        except No as refusal:
            raise Bad(refusal.text) from None
    return notices.Group(group.kind, tuple(mailboxes), group.events, group.items)
