"""External mailboxes that are fetched: [incoming] in lanmail.toml for all, [sources.NAME] in an account's file for one.

`of` puts both together by the rule of remote.py: a source takes all that it does not say from [incoming], but one that
names a server of its own nothing of that server, its TLS and log-in. Nothing is fetched before somebody says what is to
be fetched: the interface is "disabled" where none is set.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from lanmail import keys, remote
from lanmail.keys import Model
from lanmail.remote import given
from lanmail.timetable import Times
from lanmail.units import Duration, Host, Size

_key = keys.key

Interface = Literal["disabled", "standard", "office365"]
Protocol = Literal["imap", "pop3"]
OFFICE365 = "outlook.office365.com"
PORTS = {("imap", True): 993, ("imap", False): 143, ("pop3", True): 995, ("pop3", False): 110}
# What holds no mail, as Exchange and others name it, and what nobody wants twice; first those of Outlook in German.
# \All, \Flagged and \Important show mail of other folders a second time.
EXCLUDED = [
    "Kalender", "Kontakte", "Notizen", "RSS-Abonnements", "Synchronisierungsprobleme", "Verlauf der Unterhaltung",
    "Suchordner", "Aufgaben", "Junk-E-Mail", "Gelöscht", "Journal",
    "Gelöschte Elemente", "Gelöschte Objekte", "Papierkorb", "Entwürfe", "Gesendet", "Gesendete Elemente",
    "Gesendete Objekte", "Postausgang", "RSS-Feeds", "Spam",
    "Calendar", "Contacts", "Notes", "RSS Feeds", "RSS Subscriptions", "Sync Issues", "Conversation History",
    "Search Folders", "Tasks", "Junk", "Junk Email", "Junk E-mail", "Deleted Items", "Deleted Messages", "Trash",
    "Drafts", "Sent", "Sent Items", "Sent Messages", "Outbox",
    r"\Junk", r"\Trash", r"\Drafts", r"\Sent", r"\All", r"\Flagged", r"\Important",
]
HEADERS = ["Delivered-To", "X-Envelope-To", "X-Original-To", "Envelope-To", "X-RCPT-TO", "Received", "To"]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class _What(Model):
    interface: Interface = _key(
        "disabled", "A mailbox by POP3 or IMAP (standard), Microsoft 365 with OAuth2 (office365), or nothing.")
    protocol: Protocol = _key("imap", "How mail is fetched.")


class _Common(remote.Remote, _What):
    """What [incoming] and a source both may say."""

    host: Host = _key("", "The server that has the mailbox.")
    port: int = _key(0, "Its port; 0 is 993 (IMAP) or 995 (POP3), without TLS or with STARTTLS 143 or 110.",
                     ge=0, le=65535)
    every: Duration = _key("5m", "How often mail is fetched.", ge=10)
    jitter: int = _key(10, "By how many per cent `every` varies, so that not all come at the same time.", ge=0, le=50)
    window: list[Times] = _key([], 'When mail is fetched, like ["Mon-Fri 07:00-19:00"]; empty: at any time.')
    push: bool = _key(False, "IMAP: stay connected, and fetch new mail in INBOX (or the only folder) at once (IDLE).")
    delete: bool = _key(False, "Delete mail on the server as soon as it is here; false leaves a copy there.")
    delete_after: Duration = _key("0s", "Delete copies on the server so long after they were fetched; 0s is never.")
    delete_older: Duration = _key("0s", "Delete copies of mail that is older than this by its date; 0s is never.")
    move_to: str = _key("", "IMAP: move fetched mail into this folder on the server; empty: it stays where it is.")
    mark_seen: bool = _key(False, r"IMAP: mark fetched mail as read (\Seen) on the server; false changes no mark.")
    max_size: Size = _key("0", "Mail of this size or more stays on the server, and you are told; 0 is no limit.")
    small_first: bool = _key(True, "Small mail is fetched before large mail.")
    mails_per_pass: int = _key(200, "Most mails fetched at a time; then it is the turn of others.", ge=1)
    timeout: Duration = _key("180s", "How long a server may be silent.", ge=1)
    folders: list[str] = _key(["INBOX"], 'IMAP: the folders to fetch; ["*"] is all but those in exclude.')
    exclude: list[str] = _key(EXCLUDED, 'IMAP: folders that "*" leaves out, by name or by special use.')


class Incoming(_Common):
    """External mailboxes whose mail is fetched. Each is a table [sources.NAME] of an account's file; keys that it
    leaves out have these values."""

    parallel: int = _key(10, "Most mailboxes that are fetched at the same time.", ge=1, le=1000)
    delete_always: bool = _key(False, "Delete mail on all servers once it is here, whatever an account says.")
    online_check: str = _key("", "HOST:PORT that must answer before anything is fetched; empty: no check.",
                             pattern=r"^(\S+:\d{1,5})?$")
    retry: list[Duration] = _key(
        ["1m", "5m", "10m", "30m", "1h"], "Pauses after failures in a row, if longer than `every`; the last repeats.",
        min_length=1)
    max_refused: int = _key(5, "Refused log-ins in a row until we wait for new settings or `fetch`.", ge=1)
    notices: bool = _key(True, "Tell the account by mail of a mailbox that cannot be fetched, at most once a day.")


class Source(_Common):
    """One external mailbox of this account: [sources.NAME]."""

    shared: str = _key("", "More mailboxes that this log-in may open, separated by semicolons.")
    shared_login: str = _key(
        "", 'IMAP: how to log in there with a password, like "%shared*%user"; empty: they are folders of this log-in.')
    multidrop: bool = _key(False, "A collective mailbox: mail goes to those local people whom its header names.")
    fallback: str = _key("", "multidrop: the account that gets mail for nobody; empty: the postmaster.")
    headers: list[str] = _key(
        HEADERS, 'multidrop: where to look for recipients, in this order; "To" is Resent-To, To, Cc and the like.')
    prefix: str = _key("", 'multidrop: what a qmail server puts in front of names in Delivered-To, like "firma-".')
    dedupe: str = _key("Message-ID", "multidrop: the header by which a second copy for somebody is known, or empty.")


def name(value: Any) -> str:
    """The name of a source. ValueError with a sentence."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError(f'{value!r} is no name for a source; write small letters, digits, "-" and "_", like "gmx"')


Name = Annotated[str, BeforeValidator(name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]

_POLICY = frozenset(_Common.model_fields.keys() - remote.Remote.model_fields.keys())


def of(default: Incoming, own: Source) -> Source:
    """What holds for a source."""
    said = given(own)
    foreign = own.interface == "office365" and default.interface != "office365"
    values = remote.combined(default, own, _POLICY, own_server=foreign or bool(said & {"host", "port"}))
    if values["protocol"] != default.protocol and "port" not in said:
        values["port"] = 0
    if default.delete_always:
        values["delete"] = True
    if values["interface"] == "office365":
        values["host"] = values["host"] or OFFICE365
        values |= {"tls": "implicit", "auth": "oauth2", "mechanism": "XOAUTH2"}
    return Source.model_construct(_fields_set=set(said), **values)


def problem(source: Source) -> str:
    """Why a source cannot be fetched as it is set up, in a sentence for people; nothing when it can."""
    if source.interface == "disabled":
        return 'it is switched off: interface is "disabled"'
    if not source.host:
        return "host is not set"
    if not source.user:
        return "user is not set"
    if source.auth == "oauth2" and not source.app:
        return "app is not set; it names the app whose tokens are used"
    if source.auth == "password" and not source.password:
        return "password is not set"
    return ""


def tls_of(source: Source) -> remote.Tls:
    """How TLS begins: `auto` is implicit at the usual port for that (also where no port is said), else STARTTLS."""
    if source.tls != "auto":
        return source.tls
    return "implicit" if source.port in (0, PORTS[source.protocol, True]) else "auto"


def port_of(source: Source) -> int:
    """The server's port."""
    return source.port or PORTS[source.protocol, tls_of(source) == "implicit"]
