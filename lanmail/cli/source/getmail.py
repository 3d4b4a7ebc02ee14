"""getmail's configuration files, one mailbox each: [retriever], [destination] and [options] of an INI file."""

import ast
import configparser
import re
from typing import Any

from lanmail.cli.source.carried import Mailbox, Unreadable
from lanmail.secret import Secret

_TYPE = re.compile(r"(Simple|Multidrop|BrokenUIDL)(POP3|IMAP|SDPS)(SSL)?Retriever")
_YES = frozenset({"1", "yes", "true", "on"})
_LOST = {
    "password_command": "is not carried over: no commands are run; give the password with `lanmail source passwd`",
    "keyfile": "is not carried over: client certificates are not used",
    "certfile": "is not carried over: client certificates are not used",
    "ssl_ciphers": "is not carried over: the usual ciphers are used",
    "ssl_cert_hostname": "is not carried over: the certificate must have the name of host",
    "use_kerberos": "is not carried over: Kerberos is not used",
    "imap_search": "is not carried over: all mail of the folders is fetched",
    "imap_on_delete": "is not carried over: mail is deleted for good",
    "move_on_delete": "is not carried over: mail is deleted, not moved",
    "delete_dup_msgids": "is not carried over",
    "delete_bigger_than": "is not carried over: large mail stays at the server",
    "max_bytes_per_session": "is not carried over; mails_per_pass counts mails",
    "message_log": "is not needed: the log has each mail",
}
_DESTINATION = "the mail goes into the queue, and from there to the account"


def mailboxes(text: str) -> tuple[list[Mailbox], list[str]]:
    """The source in a configuration file, and what is to say beside. carried.Unreadable."""
    read = configparser.RawConfigParser()
    try:
        read.read_string(text)
    except configparser.Error as error:
        raise Unreadable(" ".join(re.sub(r"\n.*", "", str(error)).split())) from None
    if not read.has_section("retriever"):
        raise Unreadable("there is no section [retriever]: is it a configuration file of getmail?")
    retriever = dict(read["retriever"])
    options = dict(read["options"]) if read.has_section("options") else {}
    made = Mailbox(_line(text, "[retriever]"), {"interface": "standard"}, Secret(retriever.get("password", "")))
    _Reader(made, text, retriever, options).read()
    general = [f"line {_line(text, f'[{name}]')}: [{name}] is not carried over: mail is not changed on the way in"
               for name in read.sections() if name.startswith("filter")]
    _destination(made, text, read)
    return [made], general


def _line(text: str, word: str) -> int:
    """Where a section or a key begins."""
    pattern = re.escape(word) if word.startswith("[") else rf"{re.escape(word)}\s*[=:]"
    found = re.search(rf"^{pattern}", text, re.M | re.I)
    return text.count("\n", 0, found.start()) + 1 if found else 1


class _Reader:
    """From two sections to our keys."""

    def __init__(self, made: Mailbox, text: str, retriever: dict[str, str], options: dict[str, str]) -> None:
        self._made, self._keys, self._text = made, made.keys, text
        self._retriever, self._options = retriever, options

    def read(self) -> None:
        kind = self._retriever.get("type", "")
        match = _TYPE.fullmatch(kind)
        if match is None:
            raise Unreadable(f"line {_line(self._text, 'type')}: there is no retriever of type '{kind}'")
        how, protocol, ssl = match.groups()
        self._keys |= {"protocol": "imap" if protocol == "IMAP" else "pop3",
                       "host": self._retriever.get("server", ""), "user": self._retriever.get("username", ""),
                       "tls": "implicit" if ssl else "none"}
        if how == "BrokenUIDL":
            self._say("type", "BrokenUIDL: a server without UIDL is fetched here only when mail is deleted there")
        if not ssl:
            self._say("type", f"{kind} knows no TLS: this goes without; tls = 'auto' uses it where offered")
        self._server()
        self._log_in()
        self._what()
        if how == "Multidrop" or protocol == "SDPS":
            self._multidrop()
        for word, text in _LOST.items():
            if self._given(word):
                self._say(word, f"{word} {text}")

    def _say(self, word: str, text: str) -> None:
        self._made.remark(text, _line(self._text, word))

    def _given(self, word: str) -> str:
        value = self._retriever.get(word, self._options.get(word, "")).strip()
        return "" if value.lower() in ("0", "no", "false", "off", "none", "()") else value

    def _number(self, word: str) -> int:
        value = self._given(word)
        if value and not value.isdecimal():
            raise Unreadable(f"line {_line(self._text, word)}: {word} takes a number, not '{value}'")
        return int(value or 0)

    def _server(self) -> None:
        self._made.put_port(self._number("port"))
        if self._given("timeout"):
            self._keys["timeout"] = f"{self._number('timeout')}s"
        if self._given("ca_certs"):
            self._keys["tls_ca"] = self._given("ca_certs")
        if self._given("ssl_fingerprints"):
            self._keys["tls_fingerprint"] = [one for one in _words(self._given("ssl_fingerprints"))
                                             if len(re.sub("[^0-9a-fA-F]", "", one)) == 64]
        elif self._keys["tls"] != "none" and not self._given("ca_certs"):
            self._say("type", "the certificate is checked from now on; getmail does so only with ca_certs")
        version = {"tlsv1": "TLSv1", "tlsv1_1": "TLSv1.1", "tlsv1_2": "TLSv1.2"}.get(self._given("ssl_version").lower())
        if version is not None:
            self._keys |= {"tls_min": version, "tls_max": version}

    def _log_in(self) -> None:
        if self._given("use_apop"):
            self._say("use_apop", "use_apop is not insisted on: the best log-in that the server offers is used")
        elif self._given("use_cram_md5"):
            self._keys["mechanism"] = "CRAM-MD5"
        elif self._given("use_xoauth2"):
            self._keys |= {"auth": "oauth2", "mechanism": "XOAUTH2"}
            self._made.password = Secret("")
            self._say("use_xoauth2", "use_xoauth2 needs an app and a consent here")
        elif not self._made.password and not self._given("password_command"):
            self._say("username", "no password is named: getmail asks or takes it from ~/.netrc; "
                                  "give it with `lanmail source passwd`")

    def _what(self) -> None:
        delete, days = bool(self._given("delete")), self._number("delete_after")
        self._keys["delete"] = delete
        if days and not delete:
            self._keys["delete_after"] = f"{days}d"
        if self._number("max_message_size"):
            self._keys["max_size"] = self._number("max_message_size") + 1  # ours is the size from which mail stays
        if self._number("max_messages_per_session"):
            self._keys["mails_per_pass"] = self._number("max_messages_per_session")
        folders = self._given("mailboxes")
        if folders and self._keys["protocol"] == "imap":
            self._keys["folders"] = ["*"] if _words(folders.upper()) == ["ALL"] else _words(folders)
        if self._options.get("read_all", "true").strip().lower() in _YES and not delete:
            self._say("read_all", "read_all: each mail is fetched once here, never again")

    def _multidrop(self) -> None:
        self._keys["multidrop"] = True
        header, _, number = self._given("envelope_recipient").partition(":")
        if header:
            self._keys["headers"] = [header.strip().title()]
        if number.strip() not in ("", "1"):
            self._say("envelope_recipient", f"envelope_recipient {header}:{number}: the first such header that names "
                                            "somebody here counts")
        self._made.local = ("*",)


def _destination(made: Mailbox, text: str, read: configparser.RawConfigParser) -> None:
    """Nothing of it comes along; who got the mail is only told where an address or a user says it."""
    if not read.has_section("destination"):
        return
    section = read["destination"]
    kind = section.get("type", "")
    made.remark(f"[destination] {kind} is not carried over: {_DESTINATION}", _line(text, "[destination]"))
    if section.get("locals"):
        made.remark("locals: make an account or an alias for each address there (`lanmail alias add`)",
                    _line(text, "locals"))
    if section.get("user") and not made.local:
        made.local = (section["user"],)


def _words(text: str) -> list[str]:
    """A tuple as getmail writes it; a single word is one, too."""
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [text]
    return [str(one) for one in value] if isinstance(value, tuple | list) else [str(value)]
