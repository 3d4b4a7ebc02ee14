"""[sms] in lanmail.toml: by which gateway short messages go, what they say, and when there are none."""

import json
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from lanmail import keys, secret
from lanmail.keys import Model
from lanmail.timetable import Times
from lanmail.units import Directory, Duration, Url

_key = keys.key

Kind = Literal["", "smstools", "gammu", "http", "mail"]
PLACES = ("to", "digits", "text", "from", "subject", "account", "sender", "id", "secret")
PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")


class SmsGateway(Model):
    """Short messages to telephones when mail comes. Which account gets them to which number is said in its file."""

    gateway: Kind = _key("", "By smstools or gammu (files for these programs), http or mail; empty: no short messages.")
    text: str = _key("Mail from {from}: {subject}", "What a message says; cut to one short message.", min_length=1)
    country_code: str = _key("49", "Put in place of the single 0 that a number starts with.", pattern=r"^[1-9]\d{0,3}$")
    quiet: list[Times] = _key([], 'Times without short messages, like "22:00-06:00" or "Sat,Sun"; none is sent later.')
    max_per_minute: int = _key(1, "Most messages of an account in a minute; 0 is no limit.", ge=0)
    max_per_day: int = _key(20, "Most messages of an account in 24 hours; 0 is no limit.", ge=0)
    give_up: Duration = _key("1h", "A message that could not be handed over for so long is dropped.")
    directory: Directory = _key("", "The outgoing directory of smstools, or the OutboxPath of gammu.")
    sender: str = _key("", "What {sender} stands for: your name or number at the gateway.", max_length=40)
    url: Url = _key("", "Gateway http: where to ask; may have placeholders, like the body.")
    method: Literal["POST", "GET", "PUT"] = _key("POST", "Gateway http: the method.")
    headers: dict[str, str] = _key({}, 'Gateway http: more headers, like { X-Api-Key = "{secret}" }.')
    form: dict[str, str] = _key({}, 'Gateway http: the fields of a form, like { to = "{to}", text = "{text}" }.')
    json_body: str = _key("", 'Gateway http: JSON in place of a form, like \'{"to": ["{digits}"], "text": "{text}"}\'.')
    password: secret.Reference = _key("", "What {secret} stands for: file:secrets/NAME or credential:NAME.")
    ok: list[int] = _key([200, 201, 202], "Gateway http: statuses that say that the message was taken.", min_length=1)
    ok_pattern: str = _key("", "Gateway http: a regular expression that must be found in the answer, too.")
    timeout: Duration = _key("30s", "Gateway http: how long it may take.")
    mail_to: str = _key("", 'Gateway mail: the address to write to, like "{digits}@sms.provider.example".')
    mail_from: str = _key("", "Gateway mail: the sender it knows you by; empty: postmaster@<domain>.")

    @model_validator(mode="after")
    def _sound(self) -> "SmsGateway":
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not value.isprintable():
                raise PydanticCustomError("header", "headers: {name} is no header of a request", {"name": repr(name)})
        try:
            re.compile(self.ok_pattern)
        except re.error as error:
            raise PydanticCustomError("regular-expression", "ok_pattern is no regular expression: {why}",
                                      {"why": str(error)}) from None
        if self.json_body:
            try:
                json.loads(PLACE.sub("x", self.json_body))
            except ValueError as error:
                raise PydanticCustomError("json", "json_body is no JSON: {why}", {"why": str(error)}) from None
        return self

    def lacks(self) -> Iterator[tuple[str, str]]:
        """What the chosen gateway needs and is not there: (key, a sentence)."""
        needed = {"smstools": "directory", "gammu": "directory", "http": "url", "mail": "mail_to"}.get(self.gateway)
        if needed and not getattr(self, needed):
            yield needed, f'must be given for gateway = "{self.gateway}"'
        if self.gateway == "mail" and self.mail_to and not re.fullmatch(r"[^@\s]*\{(to|digits)\}[^@\s]*@[^@\s{}]+",
                                                                        self.mail_to):
            yield "mail_to", 'must be an address with {digits} or {to} in it, like "{digits}@sms.provider.example"'
        secretly = any("{secret}" in one for one in (self.url, self.json_body, *self.headers.values(),
                                                     *self.form.values()))
        if secretly and not self.password:
            yield "password", "must say where the {secret} lies"
