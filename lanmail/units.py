"""How values are written in configuration files: sizes ("50MB"), durations ("30s"), networks, modes, names.

Each type reads what people write, gives the program a plain number or object, and writes itself back the same way
(`config.show`, the JSON API). A wrong value raises ValueError with a sentence that shows how it is written.
"""

import contextlib
import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from lanmail import address, names

_SIZES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}
_DURATIONS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([A-Za-z]*)")


def size(value: Any) -> int:
    """Bytes of 4096, "4KB", "50MB", "2GB"; a KB has 1024 bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    unit = _SIZES.get(match[2].lower().replace("ib", "b")) if match else None
    if not match or unit is None:
        raise ValueError(f'{value!r} is not a size; write it like "512KB", "50MB" or "2GB"')
    return int(float(match[1]) * unit)


def format_size(value: int) -> str:
    """The shortest exact way to write a size: 52428800 is "50MB"."""
    for name in ("TB", "GB", "MB", "KB"):
        if value and value % _SIZES[name.lower()] == 0:
            return f"{value // _SIZES[name.lower()]}{name}"
    return str(value)


def duration(value: Any) -> float:
    """Seconds of 30, "30s", "5m", "12h", "3d", "500ms"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e10:
        return float(value)
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    unit = _DURATIONS.get(match[2].lower()) if match else None
    if not match or unit is None:
        raise ValueError(f'{value!r} is not a duration; write it like "30s", "5m", "12h" or "3d"')
    return float(match[1]) * unit


def format_duration(value: float) -> str:
    """The shortest exact way to write a duration: 300 is "5m"."""
    for name in ("d", "h", "m", "s"):
        if value and value % _DURATIONS[name] == 0:
            return f"{int(value // _DURATIONS[name])}{name}"
    return f"{round(value * 1000)}ms" if value else "0s"


def network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network "192.168.1.0/24" or a single address "192.168.1.20"."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not a network; write it like "192.168.1.0/24"')
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        wide = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f'{value!r} is not a network; write it like "192.168.1.0/24"') from None
    raise ValueError(f"{value!r} has bits set behind the network part; did you mean '{wide}'?")


def ip(value: Any) -> str:
    """One IP address, in its canonical spelling."""
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError(f'{value!r} is not an IP address; write it like "192.168.1.20" or "::1"') from None


def mode(value: Any) -> int:
    """A umask written as in chmod(1): "027"."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    raise ValueError(f'{value!r} is not a mode; write it in quotes with three octal digits, like "027"')


def domain(value: Any) -> str:
    """A domain name, lower-case."""
    if isinstance(value, str) and address.is_domain(value) and not value.startswith("["):
        return value.lower()
    raise ValueError(f'{value!r} is not a domain; write it like "office.lan"')


def domain_forms(name: str) -> set[str]:
    """A domain as it may come in: as written, in its ASCII (A-label) and in its Unicode spelling (RFC 5890)."""
    forms = {name}
    with contextlib.suppress(UnicodeError):
        forms.add(name.encode("idna").decode("ascii").lower())
        forms.add(name.encode("idna").decode("idna").lower())
    return forms


def hostname(value: Any) -> str:
    """A host name, lower-case, or nothing."""
    return "" if value == "" else domain(value)


def mailbox(value: Any) -> str:
    """A mail address."""
    try:
        return str(address.parse(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a mail address: {error}") from None


def grant(value: Any) -> str:
    """Addresses an account may send as: an address, "*@domain", or "*" for all."""
    if value == "*":
        return "*"
    if isinstance(value, str) and value.startswith("*@"):
        return f"*@{domain(value[2:])}"
    try:
        return mailbox(value)
    except ValueError as error:
        raise ValueError(f'{error}; write "name@domain", "*@domain" or "*"') from None


def forward_to(value: Any) -> str:
    """Where mail goes on to: the name of an account, alias or group, or a mail address."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        local, domain = names.alias_target(text)
    except ValueError as error:
        raise ValueError(f"{error}; write a name like meier or an address like eva@example.org") from None
    return str(address.Address(local, domain))


def forward_list(value: Any) -> list[str]:
    """Several of them: a list, or a text in which they are separated by semicolons."""
    written = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in written):
        raise ValueError(f'{value!r} is no list of targets; write it like ["meier", "eva@example.org"]')
    parts = [part.strip() for one in written for part in one.split(";")]
    return list(dict.fromkeys(part for part in parts if part))


def command_word(value: Any) -> str:
    """One word of the subject of a mail that switches something, in small letters."""
    if isinstance(value, str) and re.fullmatch(r"\S{1,40}", value):
        return value.casefold()
    raise ValueError(f"{value!r} is not one word")


def host(value: Any) -> str:
    """A host name or an IP address, or nothing."""
    text = value.strip("[]") if isinstance(value, str) else ""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text))
    if value == "" or (isinstance(value, str) and address.is_domain(value) and not value.startswith("[")):
        return str(value).lower()
    raise ValueError(f'{value!r} is not a host; write its name or address, like "smtp.provider.example"')


def dns_server(value: Any) -> str:
    """The address of a DNS server, with a port or without, or nothing."""
    if value != "":
        split_port(value, 53)
    return str(value)


_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::(?P<p6>\d{1,5}))?|(?P<four>[^:]+)(?::(?P<p4>\d{1,5}))?|(?P<bare>.+)")


def member(value: Any) -> str:
    """Who uses a team mailbox: "meier", "group:sales", with rights of their own "meier=lrs"."""
    who, equals, rights = value.partition("=") if isinstance(value, str) else ("", "", "")
    kind, colon, group = who.partition(":")
    good = re.fullmatch(r"[^\s:=\"\\$/]{1,64}", group) if colon else not names.account_problem(who)
    if not good or (colon and kind != "group") or (equals and not re.fullmatch(r"[lrwstipekxa]+", rights)):
        raise ValueError(f'{value!r} is not a member; write "meier", "group:sales", or with rights "meier=lrs"')
    return f"{who if colon else who.lower()}{equals}{rights}"


def group(value: Any) -> str:
    """The name of a group of accounts."""
    if isinstance(value, str) and re.fullmatch(r"[^\s:=\"\\$/]{1,64}", value):
        return value
    raise ValueError(f'{value!r} is not the name of a group; write it without blanks, like "sales"')


def split_port(value: Any, default: int) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53` → (address, port). ValueError."""
    match = _WITH_PORT.fullmatch(value if isinstance(value, str) else "")
    try:
        if match is None:
            raise ValueError
        where = str(ipaddress.ip_address(match["six"] or match["four"] or match["bare"]))
        return where, int(match["p6"] or match["p4"] or default)
    except ValueError:
        raise ValueError(f'{value!r} is not an IP address; write it like "192.0.2.1" or "192.0.2.1:5353"') from None


_PROXY = re.compile(r"(?:http|socks5)://(?:[^\s/:@\[\]]+|\[[0-9a-f:]+\])(?::\d{1,5})?/?")
_URL = re.compile(r"https?://[^\s@/?#]+(?:/[^\s#?]*)?(?:\?[^\s#]*)?")


def directory(value: Any) -> str:
    """An absolute path of a directory, or nothing."""
    if value == "" or (isinstance(value, str) and value.startswith("/") and "\0" not in value):
        return str(value)
    raise ValueError(f'{value!r} is not the whole path of a directory; write it like "/srv/outgoing"')


def proxy(value: Any) -> str:
    """A proxy "http://HOST:PORT" or "socks5://HOST:PORT", or nothing."""
    if value == "" or (isinstance(value, str) and _PROXY.fullmatch(value)):
        return str(value)
    raise ValueError(f'{value!r} is not a proxy; write it like "http://proxy.lan:3128" or "socks5://proxy.lan:1080", '
                     "and the log-in in keys of its own")


def url(value: Any) -> str:
    """An http or https URL without a log-in in it, or nothing."""
    if value == "" or (isinstance(value, str) and _URL.fullmatch(value)):
        return str(value)
    raise ValueError(f'{value!r} is not a URL; write it like "https://www.firma.example/in.php", without a log-in')


def fingerprint(value: Any) -> str:
    """The SHA-256 of a certificate, as plain hexadecimal digits."""
    text = value.lower().removeprefix("sha256:").replace(":", "").replace(" ", "") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{value!r} is not a SHA-256 fingerprint: 64 hexadecimal digits, with colons or without")
    return text


def new_sender(value: Any) -> str:
    """A mail address that may have %localpart% in its local part, or nothing."""
    if value == "":
        return ""
    local, _, rest = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    try:
        address.parse(f"{local.replace('%localpart%', 'x')}@{rest.replace('%', '?')}")
    except ValueError:
        text = f'{value!r} is not a sender; write it like "info@firma.example" or "%localpart%@firma.example"'
        raise ValueError(text) from None
    return str(value)


def _text(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Size = Annotated[
    int,
    BeforeValidator(size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?([KMGT]i?)?[Bb]?$"}]}),
]
Duration = Annotated[
    float,
    BeforeValidator(duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?(ms|s|m|h|d|w)$"}]}),
]
Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    BeforeValidator(network),
    _text(r"^[0-9A-Fa-f:.]+(/\d{1,3})?$", "192.168.1.0/24"),
]
Mode = Annotated[
    int,
    BeforeValidator(mode),
    PlainSerializer(lambda value: f"{value:03o}", return_type=str, when_used="json"),
    _text("^0?[0-7]{3}$", "027"),
]
IP = Annotated[str, BeforeValidator(ip), _text(r"^[0-9A-Fa-f:.]+$", "192.168.1.20")]
Host = Annotated[str, BeforeValidator(host), _text(r"^[^@\s]*$", "smtp.provider.example")]
DnsServer = Annotated[str, BeforeValidator(dns_server), _text(r"^[0-9A-Fa-f:.\[\]]*$", "192.0.2.1")]
Proxy = Annotated[str, BeforeValidator(proxy), _text(r"^((http|socks5)://\S+)?$", "socks5://proxy.lan:1080")]
Fingerprint = Annotated[str, BeforeValidator(fingerprint), _text(r"^[0-9A-Fa-f: ]+$", "00:11:22…")]
NewSender = Annotated[str, BeforeValidator(new_sender), _text("^(.+@.+)?$", "%localpart%@firma.example")]
Directory = Annotated[str, BeforeValidator(directory), _text("^(/.*)?$", "/srv/outgoing")]
Url = Annotated[str, BeforeValidator(url), _text("^(https?://.+)?$", "https://www.firma.example/in.php")]
Domain = Annotated[str, BeforeValidator(domain), _text(r"^[^@\s]+$", "office.lan")]
Hostname = Annotated[str, BeforeValidator(hostname), _text(r"^[^@\s]*$", "mail.office.lan")]
Mailbox = Annotated[str, BeforeValidator(mailbox), _text("^.+@.+$", "scanner@office.lan")]
Grant = Annotated[str, BeforeValidator(grant), _text(r"^(\*|.+@.+)$", "info@office.lan")]
ForwardTo = Annotated[str, BeforeValidator(forward_to), _text(r"^\S+$", "eva@example.org")]
ForwardList = Annotated[
    list[ForwardTo],
    BeforeValidator(forward_list),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
CommandWord = Annotated[str, BeforeValidator(command_word)]
Member = Annotated[str, BeforeValidator(member), _text(r"^\S+$", "group:sales")]
Group = Annotated[str, BeforeValidator(group), _text(r"^[^\s:=/]+$", "sales")]
