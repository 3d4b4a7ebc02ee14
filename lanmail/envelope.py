"""The envelope lines at the top of a spool entry, in the form of the IIS/Exchange pickup directory.

    X-Sender: <alice@firma.lan> BODY=8BITMIME
    X-Receiver: <bob@firma.lan> NOTIFY=FAILURE
    X-Origin: submission account=alice client=192.0.2.7

The envelope is the run of these lines at the very start of the file and ends at the first other line. Because it
is lines, every value is checked against its grammar before it is written: nothing in it may start a line of its
own (the lesson of CVE-2020-28021). `encode` refuses such a value, `decode` refuses what `encode` would not write.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from lanmail import address

LIMIT = 1 << 20  # an envelope of a thousand recipients is far below this

Params = tuple[tuple[str, str], ...]

# RFC 5321 §4.1.2 esmtp-keyword and esmtp-value (any CHAR but "=", SP and controls; UTF-8 with SMTPUTF8)
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]*")
_ORIGIN_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ORIGIN_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ORIGIN_VALUE = re.compile(r"[!-~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]{1,512}")

_SENDER, _RECEIVER, _ORIGIN = "X-Sender", "X-Receiver", "X-Origin"
_LINE = re.compile(rb"(X-Sender|X-Receiver|X-Origin):[ \t]*([^\r\n]*?)[ \t]*(?:\r?\n)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT TO: the address and its ESMTP parameters (NOTIFY, ORCPT)."""

    address: address.Address
    params: Params = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """How a mail came in: kind (mx, submission, lan, lmtp, pickup, fetch, local) and facts; ours alone to write."""

    kind: str
    fields: Params = ()

    def get(self, key: str) -> str | None:
        """The fact named `key`, or None."""
        return next((value for name, value in self.fields if name == key), None)


@dataclass(slots=True)
class Envelope:
    """Sender (None is the null sender), recipients, the parameters of MAIL FROM, and the origin."""

    sender: address.Address | None
    recipients: list[Recipient] = field(default_factory=list)
    params: Params = ()
    origin: Origin | None = None


def encode(envelope: Envelope) -> bytes:
    """The envelope lines, LF-terminated. Raises ValueError for a value that does not match its grammar."""
    lines = [f"{_SENDER}: <{_checked(envelope.sender)}>{_params(envelope.params)}\n"]
    lines += [f"{_RECEIVER}: <{_checked(one.address)}>{_params(one.params)}\n" for one in envelope.recipients]
    if envelope.origin is not None:
        lines.append(f"{_ORIGIN}: {_origin(envelope.origin)}\n")
    return "".join(lines).encode()


def decode(data: bytes) -> tuple[Envelope | None, int]:
    """The envelope at the start of `data` and the offset at which the message begins.

    (None, 0) when `data` does not start with an envelope line. Raises ValueError when such lines are malformed,
    or when there are receivers and no sender.
    """
    sender: address.Address | None = None
    seen_sender = False
    params: Params = ()
    recipients: list[Recipient] = []
    origin: Origin | None = None
    offset = 0
    while match := _LINE.match(data, offset):
        offset = match.end()
        if offset > LIMIT:
            raise ValueError(f"the envelope is larger than {LIMIT} bytes")
        key = match.group(1).lower()
        value = match.group(2).decode()  # UnicodeDecodeError is a ValueError
        if key == b"x-sender":
            if seen_sender:
                raise ValueError("two X-Sender lines")
            sender, rest = _read_path(value, null=True)
            params, seen_sender = read_params(rest), True
        elif key == b"x-receiver":
            receiver, rest = _read_path(value, null=False)
            assert receiver is not None
            recipients.append(Recipient(receiver, read_params(rest)))
        else:
            origin = _read_origin(value)
    if offset == 0:
        return None, 0
    if recipients and not seen_sender:
        raise ValueError("X-Receiver lines without an X-Sender line")
    return Envelope(sender, recipients, params, origin), offset


@lru_cache(maxsize=4096)  # the same people write and are written to
def _read_path(value: str, *, null: bool) -> tuple[address.Address | None, str]:
    """Our own programs write `<path>`; programs of others may leave the brackets out."""
    if not value.startswith("<") and value:
        first, _, rest = value.partition(" ")
        value = f"<{first}> {rest}" if rest else f"<{first}>"
    return address.parse_path(value, allow_null=null)


@lru_cache(maxsize=4096)
def _checked(one: address.Address | None) -> str:
    if one is None:
        return ""
    text = str(one)
    address.parse(text)  # an Address may have been built by hand: what cannot be read back is not written
    return text


def _params(params: Params) -> str:
    for key, value in params:
        if not _KEYWORD.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ValueError(f"malformed envelope parameter {key[:40]!r}={value[:40]!r}")
    return "".join(f" {key}={value}" if value else f" {key}" for key, value in params)


def read_params(text: str) -> Params:
    """The ESMTP parameters behind a path, `KEY=value KEY …`. Raises ValueError."""
    params = []
    for word in text.split(" "):
        if not word:
            continue
        key, _, value = word.partition("=")
        if not _KEYWORD.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ValueError(f"malformed envelope parameter {word[:80]!r}")
        params.append((key, value))
    return tuple(params)


@lru_cache(maxsize=1024)
def _origin(origin: Origin) -> str:
    if not _ORIGIN_KIND.fullmatch(origin.kind):
        raise ValueError(f"malformed origin {origin.kind[:40]!r}")
    for key, value in origin.fields:
        if not _ORIGIN_KEY.fullmatch(key) or not _ORIGIN_VALUE.fullmatch(value):
            raise ValueError(f"malformed origin field {key[:40]!r}={value[:40]!r}")
    return " ".join([origin.kind, *(f"{key}={value}" for key, value in origin.fields)])


@lru_cache(maxsize=1024)
def _read_origin(value: str) -> Origin:
    kind, *words = value.split(" ")
    fields = tuple((key, rest) for key, _, rest in (word.partition("=") for word in words if word))
    origin = Origin(kind, fields)
    _origin(origin)
    return origin
