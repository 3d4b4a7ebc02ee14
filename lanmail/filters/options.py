"""[filter] in lanmail.toml: what looks at mail, how long it may take, and what becomes of mail that it rejects."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from lanmail import keys
from lanmail.keys import Model
from lanmail.units import Duration, Size

_key = keys.key
READY = ("rspamd", "clamd")
_PLACE = re.compile(r"/[^\0\s]{1,100}|http://[^\s/@?#]+/?|[^\s/:@]+:\d{1,5}")
_FORM = {"type": "string", "pattern": "^(rspamd|clamd|/.+)$"}


def name(value: Any) -> str:
    """rspamd, clamd, or the whole path of a program. ValueError."""
    if value in READY or (isinstance(value, str) and re.fullmatch(r"/[^\0\r\n]{1,500}", value)):
        return str(value)
    raise ValueError(f'{value!r} is no filter; write "rspamd", "clamd" or the whole path of a program')


def several(value: Any) -> Any:
    """One may be written without brackets."""
    return [value] if isinstance(value, str) and value else [] if value == "" else value


def field(value: Any) -> str:
    """A header field and the start of its value, "X-Spam-Flag: YES". ValueError."""
    if isinstance(value, str) and re.fullmatch(r"[!-9;-~]{1,60}: *[ -~]{1,200}", value):
        return value
    raise ValueError(f'{value!r} is no header field; write it with the start of its value, like "X-Spam-Flag: YES"')


def server(value: Any) -> str:
    """Where a filter listens: the path of a socket, or an http URL of this machine or network. ValueError."""
    if isinstance(value, str) and _PLACE.fullmatch(value):
        return value
    raise ValueError(f'{value!r} is no place to ask; write "/run/clamav/clamd.ctl", "127.0.0.1:3310" or '
                     '"http://127.0.0.1:11333"')


FilterName = Annotated[str, BeforeValidator(name), WithJsonSchema(_FORM)]
Filters = Annotated[list[FilterName], BeforeValidator(several), WithJsonSchema({
    "anyOf": [{"type": "string"}, {"type": "array", "items": _FORM}]})]
HeaderField = Annotated[str, BeforeValidator(field), WithJsonSchema({
    "type": "string", "pattern": "^[!-9;-~]+: *.+$", "examples": ["X-Spam-Flag: YES"]})]
Place = Annotated[str, BeforeValidator(server), WithJsonSchema({
    "type": "string", "pattern": "^(/|http://)?.+$", "examples": ["/run/clamav/clamd.ctl"]})]


class Filtering(Model):
    """What looks at mail before it is put into mailboxes. An account's file can name more (filter)."""

    use: Filters = _key([], 'Filters for all mail, one after another: "rspamd", "clamd", or the path of a program.')
    timeout: Duration = _key("30s", "How long one filter may take for one mail.")
    memory: Size = _key("1GB", "How much memory a program may use.")
    max_size: Size = _key("25MB", "Larger mail is not shown to filters; 0 is no limit.")
    wait: Duration = _key("10m", "How long mail waits for a filter that does not work; then it is delivered without.")
    rejected: Literal["hold", "drop"] = _key(
        "hold", "What becomes of strangers' mail that a filter rejects; who wrote from here gets it back.")
    junk_headers: list[HeaderField] = _key([], 'Fields that say "spam" and are believed, like "X-Spam-Flag: YES".')
    rspamd: Place = _key("/run/rspamd/rspamd.sock", "Where rspamd listens: a socket, or http://HOST:PORT.")
    clamd: Place = _key("/run/clamav/clamd.ctl", "Where clamd listens: a socket, or HOST:PORT.")
