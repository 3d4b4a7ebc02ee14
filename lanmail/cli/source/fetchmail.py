"""What fetchmail's words mean here: each user of each server becomes a source."""

import contextlib
import re
from typing import Any

from lanmail import mutf7
from lanmail.cli.source import fetchmailrc
from lanmail.cli.source.carried import Mailbox
from lanmail.cli.source.fetchmailrc import Control, Poll, User
from lanmail.secret import Secret

_PORTS = {"pop3": 110, "pop3s": 995, "pop-3": 110, "imap": 143, "imap2": 143, "imaps": 993}
_TLS_VERSIONS = {"tls1": "TLSv1", "tls1.0": "TLSv1", "tls1.1": "TLSv1.1", "tls1.2": "TLSv1.2", "tls1.3": "TLSv1.3"}
_QUEUE = "is not needed: what is fetched goes into the queue like any other mail"
_RAW = "has no counterpart: mail is kept as the server sends it"
_STATE = "is not needed: what was fetched is remembered by its UID, on POP3 as well"
_LOST = {
    "mda": f"{_QUEUE}; what the program did with it is lost",
    "bsmtp": _QUEUE, "smtphost": _QUEUE, "smtpaddress": _QUEUE, "smtpname": _QUEUE, "lmtp": _QUEUE,
    "fetchdomains": _QUEUE, "esmtpname": _QUEUE, "esmtppassword": _QUEUE, "antispam": _QUEUE,
    "preconnect": "is not carried over: no commands are run", "postconnect": "is not carried over: no commands are run",
    "plugin": "is not carried over: no commands are run; for a proxy there is the key proxy",
    "plugout": "is not carried over: no commands are run",
    "interface": "is not carried over", "monitor": "is not carried over", "netsec": "is not carried over",
    "sslkey": "is not carried over: client certificates are not used",
    "sslcert": "is not carried over: client certificates are not used",
    "sslcertpath": "is not carried over: name a file with the certificates in tls_ca",
    "sslcommonname": "is not carried over: the certificate must have the name of host",
    "sslfingerprint": "is an MD5 fingerprint, which proves nothing; tls_fingerprint takes the SHA-256 one",
    "principal": "is not carried over: Kerberos is not used",
    "flush": "is not carried over: nothing is deleted that was not fetched",
    "limitflush": "is not carried over: large mail stays at the server",
    "forcecr": _RAW, "stripcr": _RAW, "pass8bits": _RAW, "dropstatus": _RAW, "dropdelivered": _RAW,
    "mimedecode": _RAW, "tracepolls": _RAW,
    "warnings": "is not needed: a notice tells of large mail", "batchlimit": _QUEUE, "expunge": _QUEUE,
    "fetchsizelimit": "is not needed", "fastuidl": _STATE, "uidl": _STATE,
    "dns": "is not needed: names are not looked up", "checkalias": "is not needed: names are not looked up",
    "aka": "is not needed: only mail to domains of ours is delivered", "properties": "is not carried over",
    "bad-header": "is not needed: mail is taken as it is",
}
_HARMLESS = {"fetchall": "is not needed: each mail is fetched once, read or not"}
_GLOBAL = {
    "postmaster": "is not carried over: the account that is postmaster here gets what nobody gets",
    "idfile": "is where fetchmail remembers what it fetched",
}


def mailboxes(text: str) -> tuple[list[Mailbox], list[str]]:
    """The sources in a run control file, and what is to say of its global settings. carried.Unreadable."""
    control = fetchmailrc.parse(text)
    found = [_mailbox(control, poll, user) for poll in control.polls for user in poll.users]
    general = [f"line {control.lines[word]}: 'set {word}' {_GLOBAL[word]}" for word in control.settings
               if word in _GLOBAL]
    general += [f"line {poll.line}: {poll.name} has no user" for poll in control.polls if not poll.users]
    return found, general


def _mailbox(control: Control, poll: Poll, user: User) -> Mailbox:
    given = {**poll.given, **user.given}
    lines = {**poll.lines, **user.lines}
    made = Mailbox(user.line, {"interface": "standard"}, Secret(given.get("password", "")))
    keys = made.keys
    keys["host"] = given.get("via", poll.name)
    keys["user"] = user.remote
    _protocol(given, made)
    _tls(given, made, lines)
    _port(given, made, lines)
    _log_in(given, made, lines)
    _what(given, made, lines)
    _when(control, poll, given, made)
    _who(given, user, made, lines)
    for word, text in {**_LOST, **_HARMLESS}.items():
        if given.get(word) and (word not in _HARMLESS or not given.get("keep")):
            made.remark(f"'{word}' {text}", lines.get(word, 0))
    return made


def _protocol(given: dict[str, Any], made: Mailbox) -> None:
    name = str(given.get("proto", "auto")).lower()
    made.keys["protocol"] = "pop3" if name in ("pop3", "apop", "sdps", "pop2", "rpop", "kpop") else "imap"
    if name == "apop":
        made.remark("APOP is not insisted on: the best log-in that the server offers is used")
    elif name == "auto":
        made.remark("no protocol is named: taken for IMAP")
    elif name not in ("pop3", "imap"):
        made.remark(f"protocol {name} is not spoken here; taken for {made.keys['protocol'].upper()}")
        made.keys["interface"] = "disabled"


def _tls(given: dict[str, Any], made: Mailbox, lines: dict[str, int]) -> None:
    """`ssl` is TLS at once; without it, STARTTLS when offered, unless sslproto says that it must or must not be."""
    proto = given.get("sslproto")
    wish = str(proto or "").lower()
    if given.get("ssl"):
        made.keys["tls"] = "implicit"
    elif proto == "":
        made.keys["tls"] = "none"
    else:
        made.keys["tls"] = "starttls" if wish.startswith("tls") else "auto"
    version = _TLS_VERSIONS.get(wish.removesuffix("+"))
    if version is not None and (version not in ("TLSv1", "TLSv1.1") or not wish.endswith("+")):
        made.keys["tls_min"] = version
        if not wish.endswith("+"):
            made.keys["tls_max"] = version
    elif wish not in ("", "auto", "ssl23") and version is None:
        made.remark(f"sslproto {proto} is not known here; the default versions are used", lines.get("sslproto", 0))
    if given.get("sslcertck") is False:
        made.keys["tls_verify"] = False
        made.remark("the certificate is not checked (no sslcertck); tls_fingerprint would be safer",
                    lines.get("sslcertck", 0))
    if given.get("sslcertfile"):
        made.keys["tls_ca"] = given["sslcertfile"]


def _port(given: dict[str, Any], made: Mailbox, lines: dict[str, int]) -> None:
    service = str(given.get("service", "")).lower()
    port = int(service) if service.isdecimal() else _PORTS.get(service, 0)
    if service and not port:
        made.remark(f"service {service} is not known here; name the port", lines.get("service", 0))
    made.put_port(port)


def _log_in(given: dict[str, Any], made: Mailbox, lines: dict[str, int]) -> None:
    way = str(given.get("auth", "any")).lower()
    if way == "cram-md5":
        made.keys["mechanism"] = "CRAM-MD5"
    elif way in ("oauthbearer", "xoauth2"):
        made.keys |= {"auth": "oauth2", "mechanism": way.upper()}
        made.remark(f"auth {way} needs an app here, and somebody's consent", lines["auth"])
    elif way not in ("any", "password"):
        made.remark(f"auth {way} is not possible here; the password is tried", lines["auth"])
    if not made.keys["user"]:
        made.remark("no user is named: fetchmail takes the name of whoever starts it")
    if not made.password and "auth" not in made.keys:
        made.remark("no password is named: fetchmail takes it from ~/.netrc or asks; "
                    "give it with `lanmail source passwd`")


def _what(given: dict[str, Any], made: Mailbox, lines: dict[str, int]) -> None:
    """Which mail, and what becomes of it there."""
    made.keys["delete"] = not given.get("keep")
    if given.get("limit"):
        made.keys["max_size"] = int(given["limit"]) + 1  # ours is the size from which mail stays there
    if given.get("fetchlimit"):
        made.keys["mails_per_pass"] = int(given["fetchlimit"])
    if given.get("folder"):
        made.keys["folders"] = [_folder(name) for name in given["folder"]]
    if given.get("timeout"):
        made.keys["timeout"] = f"{given['timeout']}s"
    if given.get("idle"):
        made.keys["push"] = True


def _folder(name: str) -> str:
    """Levels are separated by a slash here, and umlauts are umlauts; fetchmail says the name to the server as it is."""
    with contextlib.suppress(ValueError):
        name = mutf7.decode(name)
    return re.sub(r"^INBOX\.(?=.)", "INBOX/", name)


def _when(control: Control, poll: Poll, given: dict[str, Any], made: Mailbox) -> None:
    seconds = int(control.settings.get("daemon") or 0) * max(1, int(given.get("interval") or 1))
    if seconds:
        made.keys["every"] = f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"
    if not poll.active:
        made.keys["interface"] = "disabled"
        made.remark("'skip': comes along switched off")


def _who(given: dict[str, Any], user: User, made: Mailbox, lines: dict[str, int]) -> None:
    """One local name: his mail. Several, or *: a collective mailbox, sorted by the header."""
    made.local = tuple(name.rpartition("=")[2] for name in user.local)
    if len(user.local) <= 1 and "*" not in user.local:
        return
    made.keys["multidrop"] = True
    header = given.get("envelope")
    if header:
        made.keys["headers"] = [header, "To"]
    elif header is False:
        made.keys["headers"] = ["To"]
    if given.get("qvirtual"):
        made.keys["prefix"] = given["qvirtual"]
    if given.get("envskip"):
        made.remark(f"'envelope {given['envskip']} {header}': the first header that names somebody here counts, "
                    "no number of them is skipped", lines["envelope"])
    if given.get("localdomains"):
        made.remark(f"localdomains {', '.join(given['localdomains'])}: must be among server.domain and "
                    "server.extra_domains here", lines["localdomains"])
    renamed = [name for name in user.local if "=" in name]
    if renamed:
        made.remark("who gets what: make an alias for each of " + ", ".join(renamed) + " (`lanmail alias add`)")
