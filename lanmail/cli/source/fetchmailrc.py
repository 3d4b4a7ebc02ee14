"""fetchmail's run control file: its words, as `fetchmail --configdump` understands them.

    parse(text) -> Control        settings of `set`, and a Poll for each server with its Users

A word in quotes is never a keyword, and neither is one that follows a keyword which takes a text. `:`, `;`, `,` and
and, with, has, wants, options mean nothing. What `defaults` says holds for all servers after it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lanmail.cli.source import carried

_SKIP = re.compile(r"(?:[\s:;,]+|#[^\n]*)+")
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'')
_PLAIN = re.compile(r"=|[^=:;,\s]+")
_ESCAPE = re.compile(r"\\(\n|0[0-7]{1,2}|[1-9][0-9]{0,2}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "\n": ""}

NOISE = frozenset({"and", "with", "has", "wants", "options"})
_SHORT = {"server": "poll", "protocol": "proto", "local": "localdomains", "port": "service", "authenticate": "auth",
          "username": "user", "pass": "password", "folders": "folder", "smtp": "smtphost", "pre": "preconnect",
          "post": "postconnect"}
_FLAGS = frozenset({
    "dns", "checkalias", "uidl", "tracepolls", "keep", "flush", "limitflush", "fetchall", "rewrite", "forcecr",
    "stripcr", "pass8bits", "dropstatus", "dropdelivered", "mimedecode", "idle", "ssl", "sslcertck", "lmtp"})
_NUMBERS = frozenset({"timeout", "interval", "limit", "warnings", "batchlimit", "fetchlimit", "fetchsizelimit",
                      "fastuidl", "expunge"})
_LISTS = frozenset({"localdomains", "aka", "folder", "smtphost", "fetchdomains", "antispam"})
_TEXTS = frozenset({
    "via", "proto", "service", "auth", "qvirtual", "interface", "monitor", "plugin", "plugout", "principal", "netsec",
    "esmtpname", "esmtppassword", "bad-header", "password", "smtpaddress", "smtpname", "mda", "bsmtp", "preconnect",
    "postconnect", "sslkey", "sslcert", "sslproto", "sslcertfile", "sslcertpath", "sslcommonname", "sslfingerprint",
    "properties"})
_OF_SERVER = frozenset({
    "via", "proto", "localdomains", "service", "auth", "timeout", "envelope", "qvirtual", "aka", "interface", "monitor",
    "plugin", "plugout", "dns", "checkalias", "uidl", "interval", "tracepolls", "principal", "esmtpname",
    "esmtppassword", "bad-header", "netsec", "envskip"})
_OPTIONS = _FLAGS | _NUMBERS | _LISTS | _TEXTS | {"envelope", "is", "to", "no"}
_JOINED = frozenset({f"no{word}" for word in (
    "keep", "flush", "limitflush", "fetchall", "rewrite", "forcecr", "stripcr", "pass8bits", "dropstatus",
    "dropdelivered", "mimedecode", "idle", "dns", "checkalias", "uidl", "envelope")})
_KEYWORDS = _OPTIONS | {"poll", "skip", "defaults", "set", "user", "here", "there"}
_GLOBALS_WITHOUT_VALUE = frozenset({"bouncemail", "spambounce", "softbounce", "syslog", "invisible", "showdots"})


class Unreadable(carried.Unreadable):
    """The file is not what fetchmail would take; the text begins with the line."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, and whether it can be a keyword."""

    text: str
    line: int
    quoted: bool = False


@dataclass(slots=True)
class User:
    """A remote mailbox; `given` has what was said of it, and in which line."""

    line: int
    remote: str = ""
    local: list[str] = field(default_factory=list)  # `there=here` where both are named; * is everybody
    given: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Poll:
    """A server."""

    name: str
    line: int
    active: bool = True
    given: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    users: list[User] = field(default_factory=list)


@dataclass(slots=True)
class Control:
    """A whole file."""

    settings: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    polls: list[Poll] = field(default_factory=list)


def parse(text: str) -> Control:
    """Read a run control file. Unreadable."""
    return _Parser(_tokens(text)).parse()


def _tokens(text: str) -> list[Token]:
    """All words but those that mean nothing."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = _SKIP.match(text, at) or _word(text, at)
        if match.re is not _SKIP and match[0] not in NOISE:
            quoted = match.re is _QUOTED
            found.append(Token(_unescaped(match[0][1:-1] if quoted else match[0]), line, quoted))
        at, line = match.end(), line + match[0].count("\n")
    return found


def _word(text: str, at: int) -> re.Match[str]:
    """Of a quoted and a plain reading the longer one counts: `"a"b` is a plain word with quotes in it."""
    quoted, plain = _QUOTED.match(text, at), _PLAIN.match(text, at)
    if quoted is not None and (plain is None or plain.end() <= quoted.end()):
        return quoted
    assert plain is not None  # every other character begins a plain word
    return plain


def _unescaped(text: str) -> str:
    """Escapes as fetchmail has them: \\233 is decimal, \\051 octal, \\xE9 hexadecimal."""
    def one(match: re.Match[str]) -> str:
        word = match[1]
        if word[0] == "x" and len(word) > 1:
            return chr(int(word[1:], 16))
        if word[0] == "0" and len(word) > 1:
            return chr(int(word, 8) & 255)
        if word.isdecimal():
            return chr(int(word) & 255)
        return _LETTERS.get(word, word)

    return _ESCAPE.sub(one, text)


class _Parser:
    """A cursor over the words."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._at = tokens, 0
        self._control = Control()
        self._defaults = (Poll("", 0), User(0))

    def parse(self) -> Control:
        while (token := self._keyword()) is not None:
            self._at += 1
            match token.text:
                case "set":
                    self._set(token)
                case "poll" | "skip":
                    self._poll(token)
                case "defaults":
                    poll = self._server(Poll("", token.line))
                    self._defaults = (poll, poll.users[0] if poll.users else User(token.line))
                case _:
                    raise Unreadable(f"line {token.line}: '{token.text}' before any poll")
        if self._at < len(self._tokens):
            raise self._bad()
        return self._control

    # words

    def _keyword(self) -> Token | None:
        """The keyword that comes next, in its long form; None when there is another word, or none."""
        if self._at >= len(self._tokens):
            return None
        token = self._tokens[self._at]
        if token.text in _JOINED and not token.quoted:  # as many old files write it
            token, option = Token("no", token.line), Token(token.text[2:], token.line)
            self._tokens[self._at : self._at + 1] = [token, option]
        word = _SHORT.get(token.text, token.text)
        return None if token.quoted or word not in _KEYWORDS else Token(word, token.line)

    def _text(self, after: str) -> str:
        if self._at >= len(self._tokens):
            raise Unreadable(f"the file ends after '{after}'")
        self._at += 1
        return self._tokens[self._at - 1].text

    def _number(self, after: str) -> int:
        line, text = self._line(), self._text(after)
        if not text.isdecimal():
            raise Unreadable(f"line {line}: '{after}' takes a number, not '{text}'")
        return int(text)

    def _list(self, *, first: bool = True) -> list[str]:
        """Words up to the next keyword, the first whatever it is; `a = b` becomes a=b."""
        found: list[str] = []
        if self._at >= len(self._tokens):
            raise Unreadable(f"the file ends after '{self._tokens[-1].text}'")
        while self._at < len(self._tokens) and (first or self._keyword() is None):
            word, first = self._text(""), False
            if self._at < len(self._tokens) and self._tokens[self._at] == Token("=", self._tokens[self._at].line):
                self._at += 1
                word += "=" + self._text("=")
            found.append(word)
        return found

    def _line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line

    def _bad(self) -> Unreadable:
        token = self._tokens[self._at]
        return Unreadable(f"line {token.line}: '{token.text}' is not understood")

    # statements

    def _set(self, begun: Token) -> None:
        word = self._text("set")
        value: Any = True
        if word in ("no", "nobouncemail", "nospambounce"):
            word, value = word[2:] or self._text("no"), False
        elif word not in _GLOBALS_WITHOUT_VALUE:
            value = self._number(word) if word == "daemon" else self._text(word)
        self._control.settings[word], self._control.lines[word] = value, begun.line

    def _poll(self, begun: Token) -> None:
        over, user = self._defaults
        poll = Poll(self._text(begun.text), begun.line, begun.text == "poll", dict(over.given), dict(over.lines))
        self._server(poll)
        for one in poll.users:
            one.given, one.lines = {**user.given, **one.given}, {**user.lines, **one.lines}
            one.local = one.local or list(user.local)
            one.remote = one.remote or user.remote
        self._control.polls.append(poll)

    def _server(self, poll: Poll) -> Poll:
        """Options of a server, then users with theirs."""
        user: User | None = None
        while (token := self._keyword()) is not None and token.text not in ("poll", "skip", "defaults", "set"):
            self._at += 1
            if token.text == "user":
                user = self._user(token)
                poll.users.append(user)
            elif token.text in _OF_SERVER or (token.text == "no" and self._next_is_of_server()):
                if user is not None:
                    raise Unreadable(f"line {token.line}: '{token.text}' belongs to the server, before the first user")
                self._option(token, poll.given, poll.lines)
            else:
                if user is None:
                    user = User(token.line)
                    poll.users.append(user)
                self._user_option(token, user)
        return poll

    def _next_is_of_server(self) -> bool:
        token = self._keyword()
        return token is not None and token.text in _OF_SERVER

    def _user(self, begun: Token) -> User:
        user = User(begun.line)
        words = self._list()
        where = self._keyword()
        if where is not None and where.text == "here":
            user.local = words
        elif len(words) == 1:
            user.remote = words[0]
        else:
            raise Unreadable(f"line {begun.line}: 'user' takes one name, not {len(words)}")
        if where is not None and where.text in ("here", "there"):
            self._at += 1
        return user

    def _user_option(self, token: Token, user: User) -> None:
        if token.text in ("is", "to"):
            words = self._list()
            where = self._keyword()
            if where is not None and where.text == "there":
                user.remote = words[0] if words else ""
            else:
                user.local += words
            if where is not None and where.text in ("here", "there"):
                self._at += 1
        elif token.text in _OPTIONS:
            self._option(token, user.given, user.lines)
        else:
            self._at -= 1
            raise self._bad()

    def _option(self, token: Token, given: dict[str, Any], lines: dict[str, int]) -> None:
        word = token.text
        read: Callable[[], Any]
        if word == "no":
            word = _SHORT.get(word := self._text("no"), word)
            if word not in _FLAGS | {"envelope"}:
                raise Unreadable(f"line {token.line}: 'no {word}' is not understood")
            given[word], lines[word] = False, token.line
            return
        if word == "envelope":
            first = self._text(word)
            given["envskip"] = int(first) if first.isdecimal() else 0
            given[word] = self._text(word) if first.isdecimal() else first
        elif word in _FLAGS:
            given[word] = True
        else:
            read = self._list if word in _LISTS else lambda: (self._number if word in _NUMBERS else self._text)(word)
            given[word] = read()
        lines[word] = token.line
