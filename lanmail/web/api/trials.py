"""account.autoresponder_test: what an autoresponder would answer, and why not, without doing anything."""

from typing import Any, Literal

from pydantic import Field

from lanmail import address, config, printable
from lanmail.autoanswer import trial
from lanmail.settings import Account
from lanmail.web.api import ownrules
from lanmail.web.api.frame import Call, Params, Refused, method

_MESSAGE = 512 << 10  # characters of a mail that comes with the call


class Example(Params):
    """A mail, whole or in parts, and what is to be tried with it."""

    name: str = Field(min_length=1, max_length=200)
    settings: dict[str, Any] | None = Field(None, max_length=100, description="tried instead of what is set; not saved")
    message: str | None = Field(None, max_length=_MESSAGE, description="a whole mail; else it is made of the parts")
    sender: str = Field("eva@example.org", max_length=320, description='"": none, as bounces have')
    sender_name: str = Field("", max_length=200)
    subject: str = Field("", max_length=1000)
    recipient: str | None = Field(None, max_length=320, description="else the account's address")
    origin: Literal["mx", "submission", "lan", "lmtp", "pickup", "fetch", "local"] = "mx"
    spam: bool = False
    at: str = Field("", max_length=40, description='as if it were then: "2026-12-24 12:00"')


@method("account.autoresponder_test", Example, needs="self", reads=True)
def autoresponder_test(call: Call, given: Example) -> dict[str, Any]:
    """What the autoresponder would do with a mail: each guard's verdict, and the answer. Nothing is changed or sent."""
    path, loaded = ownrules.path_of(call, given.name), call.house.settings()
    settings = given.settings or {}
    account = config.tried(path, {("autoresponder", key): value for key, value in settings.items()},
                           loaded.account_defaults)
    ownrules.may_set(call, account, settings)
    case = trial.Case(_message(given, account, loaded.server.domain), given.sender or "<>", given.recipient,
                      given.origin, given.spam, _moment(given.at))
    try:
        return trial.data(trial.run(call.house.paths, loaded, account, case))
    except ValueError as error:
        raise Refused("invalid_field", str(error), "sender") from None


def _message(given: Example, account: Account, domain: str) -> bytes:
    """The mail. What was typed is one line each, so that no header is made of it."""
    if given.message is not None:
        return given.message.encode("utf-8", "replace")
    name = printable.line(given.sender_name).replace("\\", "\\\\").replace('"', '\\"')
    author = _address(given.sender, "sender") if given.sender else f"mailer-daemon@{domain}"
    to = _address(given.recipient, "recipient") if given.recipient else f"{account.name}@{domain}"
    lines = [f'From: "{name}" <{author}>' if name else f"From: {author}", f"To: {to}",
             f"Subject: {printable.line(given.subject)}", "Message-ID: <example@localhost>", "", ""]
    return "\n".join(lines).encode("utf-8", "replace")


def _moment(text: str) -> float:
    try:
        return trial.moment(text)
    except ValueError as error:
        raise Refused("invalid_field", str(error), "at") from None


def _address(text: str, field: str) -> str:
    try:
        return str(address.parse(text))
    except ValueError as error:
        raise Refused("invalid_field", f"{text!r} is not a mail address: {error}", field) from None
