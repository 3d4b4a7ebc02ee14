"""Mail addresses: RFC 5321 §4.1.2 for envelopes, a lenient reader for header fields.

An `Address` has passed the grammar: it holds no CR, LF, NUL or other control character, so it can stand in an
envelope line, a header or a log. It is never used as a path. Everything here is linear in its input.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 512  # RFC 5321 §4.5.3.1.3 says 256; real long sub-addresses need a little more

# RFC 5321 §4.1.2 atext, with the UTF-8 of RFC 6531 §3.3
_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*)"')
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9_\-\u0080-\U0010ffff]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LITERAL = re.compile(r"\[[!-Z^-~]{1,80}\]")
# C1 controls, line and paragraph separators, non-characters of UTF-16: never in an address
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: `local` unquoted, case kept; `domain` lower-case. str() quotes the local part where it must be."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{quote_local(self.local)}@{self.domain}" if self.domain else quote_local(self.local)

    @property
    def is_ascii(self) -> bool:
        """False when the address can only go to a server that offers SMTPUTF8 (RFC 6531)."""
        return self.local.isascii() and self.domain.isascii()

    @property
    def in_ascii(self) -> str | None:
        """For a server without SMTPUTF8, the domain as A-labels (RFC 5890); None when the local part is not ASCII."""
        if self.is_ascii:
            return str(self)
        if not self.local.isascii():
            return None
        try:
            return str(Address(self.local, self.domain.encode("idna").decode("ascii")))
        except UnicodeError:
            return None


def quote_local(local: str) -> str:
    """The local part as it stands in an address: quoted when it is not a dot-string (RFC 5321 §4.1.2)."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_domain(text: str) -> bool:
    """True for a domain name or an address literal that may stand in an address."""
    if len(text) > MAX_DOMAIN or _FORBIDDEN.search(text):
        return False
    if _LITERAL.fullmatch(text):
        return _is_literal(text)
    return bool(_DOMAIN.fullmatch(text)) and not text.endswith(".")


def parse(text: str) -> Address:
    """`local@domain`, with nothing around it. Raises ValueError with a sentence that says what is wrong."""
    local, end = _local_part(text)
    if not text[end : end + 1] == "@":
        raise ValueError("an address needs an @ between local part and domain")
    return Address(local, _domain(text[end + 1 :]))


def parse_path(text: str, *, allow_null: bool = False, allow_postmaster: bool = False) -> tuple[Address | None, str]:
    """The `<path>` that starts `text` (RFC 5321 §4.1.1.2), and the rest behind it.

    `allow_null` takes `<>` (returned as None), `allow_postmaster` a bare `<postmaster>` (returned without a
    domain). A source route is read and dropped (RFC 5321 appendix C). Raises ValueError.
    """
    if not text.startswith("<"):
        raise ValueError("the address must stand in angle brackets")
    if allow_null and text.startswith("<>"):
        return None, text[2:]
    start = 1
    if text.startswith("@", 1):
        start = text.find(":") + 1
        if not start or not all(hop.startswith("@") and is_domain(hop[1:]) for hop in text[1 : start - 1].split(",")):
            raise ValueError("the source route is malformed")
    local, end = _local_part(text, start)
    if text.startswith(">", end):
        if allow_postmaster and local.lower() == "postmaster":
            return Address("postmaster", ""), text[end + 1 :]
        raise ValueError("an address needs an @ and a domain")
    close = text.find(">", end)
    if not text.startswith("@", end) or close < 0:
        raise ValueError("the address is malformed" if close >= 0 else "the closing bracket > is missing")
    if close - start > MAX_PATH:
        raise ValueError(f"the address is longer than {MAX_PATH} characters")
    return Address(local, _domain(text[end + 1 : close])), text[close + 1 :]


def _local_part(text: str, start: int = 0) -> tuple[str, int]:
    """The local part at `start`, unquoted, and the offset behind it."""
    plain = _DOT_STRING.match(text, start)
    if plain:
        local, end = plain.group(), plain.end()
    else:
        quoted = _QUOTED.match(text, start)
        if not quoted:
            raise ValueError("the local part is malformed")
        local, end = re.sub(r"\\(.)", r"\1", quoted.group(1)), quoted.end()
    if _FORBIDDEN.search(local):
        raise ValueError("the local part holds a control character")
    if len(local.encode()) > MAX_LOCAL * 4:  # RFC 5321 §4.5.3.1.1 says 64; longer ones exist (VERP) and harm nobody
        raise ValueError(f"the local part is longer than {MAX_LOCAL * 4} octets")
    return local, end


def _domain(text: str) -> str:
    if not is_domain(text):
        raise ValueError(f"the domain {text[:80]!r} is malformed" if text else "the domain is missing")
    return text.lower()


def _is_literal(text: str) -> bool:
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


# one token of a header's address list: quoted string, comment bracket, angle bracket, separator, or a run of others
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[(),:;<>]|[^"(),:;<>]+|"', re.DOTALL)
_TOKEN_UNQUOTED = re.compile(r"[(),:;<>]|[^(),:;<>]+")
_MAX_WRITTEN = 4 * MAX_PATH  # an address as it may stand in a header, with blanks around its dots


def tokens(value: str) -> Iterator[str]:
    """The tokens of an address list. A quote that nothing closes is text, and so are all behind it: one search for
    the end, not one for each quote."""
    for match in _TOKEN.finditer(value):
        yield match.group()
        if match.group() == '"':
            yield from _TOKEN_UNQUOTED.findall(value, match.end())
            return


def from_header(value: str, limit: int = 10_000, *, default_domain: str | None = None) -> list[Address]:
    """The addresses of an unfolded From, To, Cc or Bcc value (RFC 5322 §3.4), at most `limit`.

    Lenient: display names, comments and group names are skipped, what is no address is left out. A bare name gets
    `default_domain`, if there is one (cron writes `To: root`).
    """
    found: list[Address] = []
    depth = 0
    current: list[str] = []
    bracket: list[str] | None = None

    def finish() -> None:
        nonlocal current, bracket
        candidate = "".join(bracket if bracket is not None else current).strip()
        current, bracket = [], None
        if not candidate or len(candidate) > _MAX_WRITTEN:
            return
        if default_domain and "@" not in candidate:
            candidate = f"{candidate}@{default_domain}"
        try:
            found.append(parse(re.sub(r"\s*([@.])\s*", r"\1", candidate) if " " in candidate else candidate))
        except ValueError:
            return

    inside = False
    for piece in tokens(value):
        if depth or piece == "(":
            depth += (piece == "(") - (piece == ")")
        elif piece in ",;":
            if not inside:
                finish()
                if len(found) >= limit:
                    break
        elif piece == ":" and not inside:
            current = []
        elif piece == "<":
            bracket, inside = [], True
        elif piece == ">":
            inside = False
        elif inside and bracket is not None:
            bracket.append(piece)
        elif bracket is None:
            current.append(piece)
    finish()
    return found[:limit]
