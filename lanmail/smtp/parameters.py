"""The arguments of MAIL FROM and RCPT TO: a path and ESMTP parameters (RFC 5321 §4.1.2, RFC 3461, 1870, 6531)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from lanmail import address
from lanmail.address import Address
from lanmail.envelope import Params
from lanmail.errors import Permanent

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461 §4
_UTF8_ADDR = re.compile(r"(?:[!-*,-<>-~\u00a1-\U0010fffd]|\+[0-9A-F]{2}|\\x\{[0-9A-F]{2,6}\})*")  # RFC 6533 §3
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM: `carried` are the parameters that go into the envelope."""

    sender: Address | None
    size: int
    utf8: bool
    carried: Params
    extended: bool


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO."""

    recipient: Address
    carried: Params
    extended: bool


def _syntax(text: str) -> Permanent:
    return Permanent(text, 501, "5.5.4")


@lru_cache(maxsize=1024)
def mail(arg: str) -> Mail:
    """`FROM:<path> KEY=VALUE …`. Raises Permanent."""
    if arg[:5].upper() != "FROM:":
        raise _syntax("Syntax: MAIL FROM:<address>")
    try:
        # RFC 5321 §3.3 has no blank after the colon; everybody takes it
        sender, rest = address.parse_path(arg[5:].lstrip(" "), allow_null=True)
    except ValueError as error:
        raise Permanent(f"Bad sender address: {error}", 501, "5.1.7") from None
    size, utf8 = 0, False
    carried = []
    for key, value in _words(rest):
        if key == "SIZE":
            if not (value.isascii() and value.isdigit() and len(value) <= 20):
                raise _syntax("SIZE needs a number")
            size = int(value)
        elif key == "SMTPUTF8":
            if value:
                raise _syntax("SMTPUTF8 takes no value")
            utf8 = True
            carried.append((key, ""))
        elif key == "AUTH":  # RFC 4954 §5: who is named there is nobody we could check
            if not _XTEXT.fullmatch(value) and value != "<>":
                raise _syntax("AUTH needs an address in xtext, or <>")
        else:
            carried.append(_mail_word(key, value))
    if not utf8 and sender is not None and not sender.is_ascii:
        raise Permanent("This address needs SMTPUTF8", 553, "5.6.7")
    return Mail(sender, size, utf8, tuple(carried), bool(rest.strip()))


def _mail_word(key: str, value: str) -> tuple[str, str]:
    upper = value.upper()
    if key == "BODY":
        if upper not in ("7BIT", "8BITMIME"):
            raise _syntax("BODY is 7BIT or 8BITMIME")
        return key, upper
    if key == "RET":
        if upper not in ("FULL", "HDRS"):
            raise _syntax("RET is FULL or HDRS")
        return key, upper
    if key == "ENVID":
        if not value or len(value) > 100 or not _XTEXT.fullmatch(value):
            raise _syntax("ENVID is up to 100 characters of xtext")
        return key, value
    raise Permanent(f"Unknown parameter of MAIL FROM: {key[:40]}", 555, "5.5.4")


@lru_cache(maxsize=4096)
def rcpt(arg: str) -> Rcpt:
    """`TO:<path> KEY=VALUE …`. Raises Permanent."""
    if arg[:3].upper() != "TO:":
        raise _syntax("Syntax: RCPT TO:<address>")
    try:
        recipient, rest = address.parse_path(arg[3:].lstrip(" "), allow_postmaster=True)
    except ValueError as error:
        raise Permanent(f"Bad recipient address: {error}", 501, "5.1.3") from None
    assert recipient is not None
    carried = []
    for key, value in _words(rest):
        if key == "NOTIFY":
            if not _NOTIFY.fullmatch(value):
                raise _syntax("NOTIFY is NEVER, or SUCCESS, FAILURE and DELAY")
            carried.append((key, value.upper()))
        elif key == "ORCPT":
            kind, semicolon, original = value.partition(";")
            fine = _UTF8_ADDR if kind.lower() == "utf-8" else _XTEXT
            if not semicolon or len(value) > 500 or not _KEYWORD.fullmatch(kind) or not fine.fullmatch(original):
                raise _syntax("ORCPT is a type, a semicolon and an address in xtext")
            carried.append((key, value))
        else:
            raise Permanent(f"Unknown parameter of RCPT TO: {key[:40]}", 555, "5.5.4")
    return Rcpt(recipient, tuple(carried), bool(rest.strip()))


def bdat(arg: str) -> tuple[int, bool]:
    """`octets [LAST]`, (-1, False) when it is not that. RFC 3030 §2."""
    octets, _, last = arg.partition(" ")
    if not (octets.isascii() and octets.isdigit()) or len(octets) > 19 or last.upper() not in ("", "LAST"):
        return -1, False
    return int(octets), bool(last)


def _words(rest: str) -> list[tuple[str, str]]:
    """KEY=VALUE words with the keys in capitals."""
    if not rest:
        return []
    if not rest.startswith(" "):
        raise _syntax("A blank must stand between the address and its parameters")
    words = []
    seen = set()
    for word in rest.strip(" ").split(" "):
        key, equals, value = word.partition("=")
        key = key.upper()
        if not word:
            continue
        if not _KEYWORD.fullmatch(key) or (equals and not value) or "=" in value:
            raise _syntax("Malformed parameter")
        if key in seen:
            raise _syntax(f"{key[:40]} was given twice")
        seen.add(key)
        words.append((key, value))
    return words
