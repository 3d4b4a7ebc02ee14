"""The schema of conf/: every key with its type, its default and one sentence.

From these models come the checks, the commented sample, `lanmail config show`, the JSON Schema for editors and the
manual. Values are frozen: a reload makes a new `Settings`, so whoever holds one sees one consistent state.
A default is written as people would write it ("50MB"); the attribute holds plain bytes or seconds.
"""

import functools
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from lanmail import incoming, keys, units
from lanmail.accountrules import Autoresponder, EInvoice, Forward, Sms
from lanmail.filters.options import Filtering, Filters
from lanmail.incoming import Incoming, Source
from lanmail.keys import Model
from lanmail.logins import scram
from lanmail.outgoing import Dkim, Outgoing
from lanmail.sms.options import SmsGateway
from lanmail.units import (
    IP,
    CommandWord,
    DnsServer,
    Domain,
    Duration,
    Grant,
    Group,
    Hostname,
    Mailbox,
    Member,
    Mode,
    Network,
    Size,
)

Service = Literal["smtp", "pop3", "imap"]
TlsVersion = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


_key, _port, _section = keys.key, keys.port, keys.section


class Server(Model):
    """Who we are and where we listen: common to all programs."""

    domain: Domain = _key(..., "The domain of the office; local addresses are name@domain.")
    extra_domains: list[Domain] = _key([], "More domains whose addresses are local, with the same accounts.")
    hostname: Hostname = _key("", "Name in greetings and Received lines; empty means mail.<domain>.")
    listen: list[IP] = _key(["127.0.0.1", "::1"], 'Addresses to listen on; ["0.0.0.0", "::"] serves the whole network.')
    port_offset: int = _key(0, "Added to every port, so that several servers or a test fit on one machine.", ge=0)
    proxy_networks: list[Network] = _key([], "Load balancers that must start a connection with the PROXY protocol.")
    umask: Mode = _key("027", "File mode bits that programs take away from files and directories they make.")

    @model_validator(mode="after")
    def _hostname(self) -> "Server":
        if not self.hostname:
            object.__setattr__(self, "hostname", f"mail.{self.domain}")
        return self

    @functools.cached_property
    def local_domains(self) -> frozenset[str]:
        """All domains whose addresses are ours, in their Unicode and their ASCII (A-label) spelling."""
        return frozenset(form for name in (self.domain, *self.extra_domains) for form in units.domain_forms(name))

    def port(self, configured: int) -> int:
        """The port to listen on for a configured one; 0 stays 0 (off)."""
        return configured and configured + self.port_offset


class Lan(Model):
    """A listener without log-in for scanners and old devices in named networks."""

    port: int = _port(0, "Port for devices that cannot log in; 0 is off.")
    networks: list[Network] = _key([], "Networks that may send through this port without log-in.")
    senders: dict[IP, Mailbox] = _key({}, "Sender address forced on a device, by its IP address.")
    tls_min: TlsVersion = _key("TLSv1", "Oldest TLS version accepted on this port; plain text is allowed too.")


class Smtpd(Model):
    """Receiving mail by SMTP, submission and LMTP."""

    workers: int = _key(1, "Processes that share the sockets; more than one uses more than one core.", ge=1, le=64)
    mx_port: int = _port(25, "SMTP from other servers and plain clients; 0 is off.")
    submission_port: int = _port(587, "Submission with STARTTLS and log-in; 0 is off.")
    submissions_port: int = _port(465, "Submission with TLS from the first byte and log-in; 0 is off.")
    lmtp_port: int = _port(24, "LMTP from a mail server in front of this one; 0 is off.")
    mx_auth: bool = _key(True, "Offer log-in on mx_port too, for clients that are set to port 25.")
    max_size: Size = _key("50MB", "Largest message accepted (announced as SIZE).")
    max_recipients: int = _key(1000, "Most recipients of one message.", ge=100)
    max_errors: int = _key(20, "Errors of a client until it gets 421 and is disconnected.", ge=1)
    max_junk_commands: int = _key(100, "NOOP, RSET, VRFY and the like in a row until the client is dropped.", ge=1)
    max_refused_recipients: int = _key(100, "Refused recipients in one connection until the client is dropped.", ge=1)
    max_failed_logins: int = _key(5, "Failed log-ins in one connection until it is closed.", ge=1)
    error_delay_after: int = _key(10, "Errors of a client from which on every answer waits error_delay.", ge=1)
    error_delay: Duration = _key("1s", "How long an answer waits after too many errors.")
    greeting_timeout: Duration = _key("60s", "How long a client may be silent before its first mail.")
    idle_timeout: Duration = _key("5m", "How long it may be silent between commands after that (RFC 5321 §4.5.3.2).")
    data_timeout: Duration = _key("30m", "How long one message may take to arrive.")
    data_min_rate: Size = _key("1KB", "Bytes per second a message must make over a minute while it arrives.")
    max_connections: int = _key(500, "Most connections at a time.", ge=1)
    max_connections_per_client: int = _key(50, "Most connections from one IP address at a time.", ge=1)
    max_line: Size = _key("4KB", "Longest command line.", ge=1000)
    max_auth_line: Size = _key("12KB", "Longest line of a log-in (RFC 4954 §4).", ge=1000)
    max_header: Size = _key("256KB", "Largest header section; a message with more is refused with 552 5.3.4.", ge=4096)
    bare_lf: Literal["normalize", "reject"] = _key("normalize", "What happens to a line end without CR in a message.")
    check_author: bool = _key(False, "A logged-in account's header From must be one of its own addresses too.")
    min_free: Size = _key("100MB", "Free disk space below which mail is refused for now (452 4.3.1).")
    max_backlog: int = _key(50_000, "Entries in spool/queue from which on mail is refused for now (451 4.3.2).", ge=1)
    lan: Lan = _section(Lan)


class Pop3d(Model):
    """Reading mail by POP3."""

    workers: int = _key(1, "Processes that share the sockets; more than one uses more than one core.", ge=1, le=64)
    port: int = _port(110, "POP3 with STLS; 0 is off.")
    tls_port: int = _port(995, "POP3 with TLS from the first byte; 0 is off.")
    max_line: Size = _key("8KB", "Longest command line.", ge=512)
    max_failed_logins: int = _key(5, "Failed log-ins in one connection until it is closed.", ge=1)
    login_timeout: Duration = _key("60s", "How long a client may take to log in.")
    idle_timeout: Duration = _key("10m", "How long a client may be silent (RFC 1939 §3 asks for ten minutes).")
    max_connections: int = _key(1000, "Most connections at a time.", ge=1)
    max_connections_per_user: int = _key(20, "Most connections of one account from one IP address.", ge=1)
    max_connections_per_client: int = _key(50, "Most connections from one IP address that are not logged in.", ge=1)
    max_errors: int = _key(20, "Commands a client may get wrong in a row until it is disconnected.", ge=1)
    in_use_wait: Duration = _key("3s", "How long a log-in waits for another session of the same account to end.")
    mark_seen: bool = _key(True, "What POP3 fetched is marked as read for IMAP, at QUIT.")
    hide_capabilities: list[str] = _key([], "Capabilities not announced to any client.")


class Imapd(Model):
    """Reading mail by IMAP."""

    workers: int = _key(1, "Processes that share the sockets; more than one uses more than one core.", ge=1, le=64)
    port: int = _port(143, "IMAP with STARTTLS; 0 is off.")
    tls_port: int = _port(993, "IMAP with TLS from the first byte; 0 is off.")
    namespace_prefix: Literal["", "INBOX."] = _key("", "Prefix of folder names; INBOX.X means X in either case.")
    shared_namespace: str = _key(
        "Shared", "The folder under which clients see team mailboxes; empty: none.", pattern=r"^[^./\x00-\x1f\x7f]*$")
    users_namespace: str = _key(
        "Other Users", "The same for folders that other people share; empty: none.", pattern=r"^[^./\x00-\x1f\x7f]*$")
    hide_capabilities: list[str] = _key([], "Capabilities not announced to any client.")
    max_line_before_login: Size = _key("8KB", "Longest command line before log-in.", ge=512)
    max_literal_before_login: Size = _key("1KB", "Largest literal before log-in.")
    max_command: Size = _key("64KB", "Longest command with its literals after log-in, except APPEND.", ge=8192)
    max_append: Size = _key("50MB", "Largest message stored by APPEND.")
    max_failed_logins: int = _key(5, "Failed log-ins in one connection until it is closed.", ge=1)
    login_timeout: Duration = _key("60s", "How long a client may take to log in.")
    idle_timeout: Duration = _key("30m", "How long a client may be silent (RFC 9051 §5.4 asks for thirty minutes).")
    max_connections: int = _key(1000, "Most connections at a time.", ge=1)
    max_connections_per_user: int = _key(20, "Most connections of one account from one IP address.", ge=1)
    max_connections_per_client: int = _key(50, "Most connections from one IP address that are not logged in.", ge=1)
    max_notify: int = _key(500, "Most mailboxes that a client is told of by NOTIFY.", ge=1)
    max_mime_depth: int = _key(100, "Nesting of MIME parts that is looked into; deeper is one part.", ge=1, le=100)
    max_mime_parts: int = _key(10_000, "MIME parts of a message that are looked at.", ge=1, le=100_000)
    max_keywords: int = _key(200, "Most keywords (own flags) in one mailbox.", ge=0)
    max_folder_name: int = _key(255, "Longest name of one level of a folder, in bytes on disk.", ge=1, le=255)
    max_folder_depth: int = _key(16, "Most levels of a folder name.", ge=1)
    search_index: bool = _key(True, "Make and use full-text indexes, in state/index, for SEARCH BODY and TEXT.")
    search_index_share: int = _key(
        50, "How much of one core the making of an index may use, in percent; one is made at a time.", ge=1, le=100
    )


class Deliver(Model):
    """Sorting queued mail into Maildirs and to the outside."""

    sub_address_separator: str = _key(
        "+", 'With "+", meier+shop is delivered to meier; empty turns this off.', max_length=1
    )
    unknown_local: Literal["reject", "postmaster"] = _key("reject", "Mail to unknown local names: refuse or keep.")
    pickup_wait: Duration = _key("3s", "How long a file in spool/pickup must be unchanged if nobody saw it closed.")
    sweep: Duration = _key("30s", "How often spools are looked through in case a notification was missed.")
    give_up: Duration = _key("5d", "After this time mail for a mailbox that stays full comes back; 0s is never.")
    max_hops: int = _key(50, "Received lines in a message from which on it is a loop and goes to hold.", ge=10)
    mail_commands: bool = _key(True, 'People may switch forwarding and autoresponder by mail: "LMS Forwarding off".')
    command_words: dict[CommandWord, Literal["forwarding", "autoresponder", "on", "off"]] = _key(
        {}, 'More words for such mails, like { weiterleitung = "forwarding", an = "on", aus = "off" }.')


class Examination(Model):
    """Looking for e-invoices, in a process of its own; what goes beyond is undecided: delivered, but not forwarded."""

    max_part: Size = _key("50MB", "Largest attachment, and largest XML document, that is examined.", ge=1 << 16)
    max_time: Duration = _key("20s", "Most CPU time for one mail.", ge=1)
    max_memory: Size = _key("1GB", "Most memory (address space) of that process.", ge=256 << 20)


class Relay(Model):
    """Sending to the outside: how often, how long, and who is told. Which way mail goes is said in [outgoing]."""

    retry: list[Duration] = _key(
        ["1m", "5m", "15m", "30m", "1h"], "Pauses between tries; the last one repeats. Each varies by a tenth.",
        min_length=1,
    )
    delay_notice: Duration = _key("4h", "After this time the sender is told that his mail is late; 0s is never.")
    give_up: Duration = _key("3d", "After this time what was not sent comes back to the sender.")
    connections_per_domain: int = _key(2, "Most connections to the servers of one domain (transport mx).", ge=1)
    max_connections: int = _key(300, "Most connections to all servers together.", ge=1)
    connect_timeout: Duration = _key("30s", "How long a server may take to accept a connection.")
    answer_timeout: Duration = _key("5m", "How long a server may take for an answer (RFC 5321 §4.5.3.2).")
    data_timeout: Duration = _key("10m", "How long it may take to answer after the last octet of a mail.")
    idle_timeout: Duration = _key("5s", "How long a connection is kept for the next mail.")
    resolver: DnsServer = _key("", "DNS server to ask, 192.0.2.1 or 192.0.2.1:5353; empty: those of the system.")
    mta_sts: bool = _key(True, "Honour the MTA-STS policies (RFC 8461) of domains that publish one (transport mx).")
    postmaster_copies: bool = _key(True, "The postmaster gets a copy of every bounce.")
    sweep: Duration = _key("30s", "How often spool/outbound is looked through in case a notification was missed.")


class Tokend(Model):
    """Keeping OAuth2 tokens of external mailboxes fresh. Apps at providers have a file each in apps/."""

    spread: Duration = _key("60s", "What is due at the start is spread over this time.")
    requests_per_host: int = _key(2, "Most requests to one provider at a time.", ge=1)


class Archived(Model):
    """Keeping the archive. Which accounts are archived, and for how long, is said in them or in [account_defaults]."""

    sweep: Duration = _key("30s", "How often spool/archive is looked through in case a notification was missed.")
    report: list[Mailbox] = _key(
        [], "Who gets a mail each day with the end of the journal: whoever keeps it can prove what was there.")


class Httpd(Model):
    """The HTTP API, the log-in pages and the web interface."""

    enabled: bool = _key(False, "Serve HTTP at all.")
    workers: int = _key(1, "Processes that share the sockets; more than one uses more than one core.", ge=1, le=64)
    port: int = _port(6080, "HTTP, for auth.cleartext_networks and trusted_proxies; others go to HTTPS. 0 is off.")
    tls_port: int = _port(6443, "HTTPS; 0 is off.")
    public_url: str = _key("", "How browsers outside reach this server, like https://mail.firma.example.",
                           pattern=r"^(https?://[^\s/?#]+)?/?$")
    hosts: list[Hostname] = _key([], "More names under which this server may be asked, besides server.hostname.")
    metrics_networks: list[Network] = _key(["127.0.0.0/8", "::1/128"], "Networks that may read /metrics without a key.")
    trusted_proxies: list[Network] = _key([], "Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto count.")
    max_body: Size = _key("1MB", "Largest request body; messages may be as large as smtpd.max_size.")
    max_connections: int = _key(200, "Most connections at a time; more are told 503.", ge=1)
    session: Duration = _key("12h", "How long a log-in to the web pages lasts at most.")
    session_idle: Duration = _key("1h", "How long it lasts when nothing is done.")


class Auth(Model):
    """Log-in to any of the servers."""

    cleartext_networks: list[Network] = _key(["127.0.0.0/8", "::1/128"], "Networks that may log in without TLS.")
    cache_ttl: Duration = _key("10m", "How long a good log-in is remembered in memory, so that the next is quick.")
    max_failures: int = _key(5, "Failed log-ins by client and by account that are answered without extra delay.", ge=1)
    delay: Duration = _key("2s", "How long the answer to a failed log-in takes at first; it doubles from time to time.")
    max_delay: Duration = _key("30s", "The longest delay after failed log-ins.")
    forget_failures: Duration = _key("15m", "Time without failures after which they are forgotten.")
    scram: bool = _key(False, "New passwords get a SCRAM-SHA-256 verifier, too; it is offered once one is there.")


class Tls(Model):
    """Certificate and TLS versions of all servers."""

    cert: str = _key("tls/server.pem", "Certificate with its chain, PEM; relative to conf/.", min_length=1)
    key: str = _key("tls/server.key", "Its private key, PEM, mode 0600; relative to conf/.", min_length=1)
    min_version: TlsVersion = _key("TLSv1.2", "Oldest TLS version accepted.")


class Log(Model):
    """What is written to state/log/."""

    level: Literal["debug", "info", "warning", "error"] = _key("info", "The least that is logged.")
    keep_days: int = _key(30, "Log files older than this are removed; 0 keeps all.", ge=0)


class AccountDefaults(Model):
    """What holds for every account that does not say otherwise in its own file."""

    services: list[Service] = _key(["smtp", "pop3", "imap"], "What the account may log in to.")
    send_as: list[Grant] = _key([], 'Addresses besides its own that it may send as; "*@domain" and "*" are allowed.')
    hide_capabilities: list[str] = _key([], "Capabilities not announced to this account's clients after log-in.")
    quota: Size = _key("0", "Most octets of mail in all folders; 0 is without limit.")
    quota_messages: int = _key(0, "Most messages in all folders; 0 is without limit.", ge=0)
    deny_internet: bool = _key(False, "Mail to addresses outside is refused: 521 5.7.1.")
    junk: bool = _key(True, "Mail that filters take for spam goes into the folder Junk.")
    sent_copy: bool = _key(False, "What the account sends by SMTP is kept in its Sent folder (clients mostly do).")
    self_service: bool = _key(
        True, "The person may change forwarding, autoresponder and external mailboxes by the web pages and the API.")
    archive: bool = _key(False, "All mail that the account receives or sends is archived.")
    archive_years: int = _key(
        0, "So many full calendar years its mail stays in the archive, then a purge takes it; 0 is for ever.", ge=0)


class _Own(Model):
    """What only the account itself can say."""

    name: str = Field(description="The account's name: the file's name without .toml.", exclude=True)
    full_name: str = _key("", "The person's name, for people reading this.")
    password: str = _key("", "Argon2id hash; `lanmail account passwd` writes it. Empty: no log-in.", repr=False)
    scram: str = _key("", "SCRAM-SHA-256 verifier of the same password; written with it.", repr=False,
                      pattern=f"^({scram.FORM})?$")
    disabled: bool = _key(False, "No log-in; mail is still accepted and kept.")
    postmaster: bool = _key(False, "Gets mail to postmaster and abuse, and undeliverable mail; one account has it.")
    administrator: bool = _key(False, "May change everything here by the web pages.")
    groups: list[Group] = _key([], 'Groups that the account belongs to; they get rights in folders as "group=NAME".')
    shared: bool = _key(False, "A team mailbox: its members see it as Shared.NAME; nobody needs to log in to it.")
    members: list[Member] = _key(
        [], 'Who uses the team mailbox: "meier", "group:sales"; "meier=lr" gives fewer rights (RFC 4314).')
    filter: Filters = _key([], "More filters for its mail, after those of [filter] in lanmail.toml.")
    forward: Forward = _section(Forward)
    autoresponder: Autoresponder = _section(Autoresponder)
    einvoice: EInvoice = _section(EInvoice)
    sms: Sms = _section(Sms)
    outgoing: Outgoing = _section(Outgoing)
    sources: dict[incoming.Name, Source] = _key({}, "External mailboxes that are fetched, a table for each.")


class Account(AccountDefaults, _Own):
    """One account, conf/accounts/NAME.toml; keys of [account_defaults] left out here have their default from there."""

    @functools.cached_property
    def has_rules(self) -> bool:
        """Whether mail for it may need more than to be put into the mailbox."""
        return bool(self.forward.to or self.autoresponder.enabled or self.einvoice.enabled or self.sms.to or self.filter
                    or self.archive)


class Settings(Model):
    """conf/lanmail.toml."""

    server: Server = Field()
    smtpd: Smtpd = _section(Smtpd)
    pop3d: Pop3d = _section(Pop3d)
    imapd: Imapd = _section(Imapd)
    deliver: Deliver = _section(Deliver)
    einvoice: Examination = _section(Examination)
    filter: Filtering = _section(Filtering)
    relay: Relay = _section(Relay)
    outgoing: Outgoing = _section(Outgoing)
    dkim: Dkim = _section(Dkim)
    incoming: Incoming = _section(Incoming)
    sms: SmsGateway = _section(SmsGateway)
    tokend: Tokend = _section(Tokend)
    archived: Archived = _section(Archived)
    httpd: Httpd = _section(Httpd)
    auth: Auth = _section(Auth)
    tls: Tls = _section(Tls)
    log: Log = _section(Log)
    account_defaults: AccountDefaults = _section(AccountDefaults)

    def ports(self) -> Iterator[tuple[str, int]]:
        """Every port that is on, as (key, port with the offset)."""
        for section in ("smtpd", "pop3d", "imapd", "httpd"):
            model = getattr(self, section)
            if section == "httpd" and not self.httpd.enabled:
                continue
            for name in type(model).model_fields:
                if (name == "port" or name.endswith("_port")) and getattr(model, name):
                    yield f"{section}.{name}", self.server.port(getattr(model, name))
        if self.smtpd.lan.port:
            yield "smtpd.lan.port", self.server.port(self.smtpd.lan.port)

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What is wrong between keys that are right by themselves: (the keys, a sentence about the first)."""
        taken: dict[int, str] = {}
        for name, number in self.ports():
            if number > 65535:
                yield (name, "server.port_offset"), f"port {number} (with server.port_offset) is above 65535"
            elif number in taken:
                yield (name, taken[number]), f"port {number} is already used by {taken[number]}"
            taken.setdefault(number, name)
        if self.smtpd.lan.port and not self.smtpd.lan.networks:
            yield ("smtpd.lan.port",), "smtpd.lan.networks must name the networks that may use this port"
        for name, sentence in self.sms.lacks():
            yield ("sms.gateway",), f"sms.{name} {sentence}"
