"""message.*: handing mail in, by the rules of smtpd for whoever has logged in; and what became of a mail."""

import base64
import binascii
from typing import Any

from pydantic import ConfigDict, Field

from lanmail import address, submission
from lanmail.errors import MailError, Permanent
from lanmail.monitoring import history
from lanmail.settings import Account
from lanmail.web.api.frame import Call, Params, Refused, method

_TOO_LARGE = 552


class Submit(Params):
    """A mail as it is to be delivered, and its envelope."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Submit")

    from_: str = Field(alias="from", max_length=500, description="the sender (MAIL FROM); empty for none")
    to: list[str] = Field(min_length=1, max_length=10_000, description="the recipients (RCPT TO), blind copies too")
    data: str = Field(description="the message (RFC 5322), header and all, in base64")
    account: str | None = Field(None, max_length=64, description="whose rules count; if nobody is named, the sender's")


@method("message.submit", Submit, needs="self", always=True, large=True)
def submit(call: Call, given: Submit) -> dict[str, Any]:
    """Hand a mail in, all recipients or none; the answer comes when it lies durably in the queue.

    Who may send as whom, to whom and how much is what smtpd says: a refusal is its reply, as "521 5.7.1 …".
    """
    sender = _address(given.from_, "from") if given.from_ else None
    recipients = tuple(_address(one, f"to[{number}]") for number, one in enumerate(given.to))
    house = call.house
    office = submission.Office(house.paths, house.settings(), house.directory)
    account = _account(call, given, sender)
    try:
        text = base64.b64decode("".join(given.data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("invalid_field", "data: this is no base64", "data") from None
    mail = submission.Mail(sender, recipients, text)
    try:
        done = submission.submit(office, account, mail, client=call.client, way="api")
    except submission.RefusedRecipient as refused:
        raise _refused(refused.error, f"to[{refused.number}]") from None
    except MailError as error:
        raise _refused(error, None) from None
    return {"id": done.id, "message_id": done.message_id, "size": done.size}


def _address(text: str, field: str) -> address.Address:
    try:
        return address.parse(text)
    except ValueError as error:
        raise Refused("invalid_field", f"{field}: {error}", field) from None


def _account(call: Call, given: Submit, sender: address.Address | None) -> Account:
    """Who hands it in."""
    directory = call.house.directory
    if call.caller.account is not None:
        name = call.only(given.account or call.caller.account)
    elif given.account is not None:
        name = given.account.lower()
    else:
        own = directory.resolve(sender).accounts if sender is not None and directory.is_local(sender.domain) else ()
        if len(own) != 1:
            raise Refused("invalid_field", "account: the sender is not one account's; say whose rules count", "account")
        name = own[0]
    account = directory.account(name)
    if account is None:
        raise Refused("not_found", f"there is no account {name}", "account")
    if account.disabled:
        raise Refused("refused_by_rule", f"the account {name} is disabled", "account")
    if "smtp" not in account.services:
        raise Refused("refused_by_rule", f"{name} may not send: smtp is none of the account's services", "account")
    return account


def _refused(error: MailError, field: str | None) -> Refused:
    if not isinstance(error, Permanent):
        return Refused("busy", str(error), field)
    return Refused("too_large" if error.code == _TOO_LARGE else "refused_by_rule", str(error), field)


_TIME = r"\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d)?)?)?"


class Traced(Params):
    """A mail, by what is known of it."""

    id: str = Field(min_length=3, max_length=998, description="an id of the log or queue, a file name, or a Message-ID")


class Sought(Params):
    """Mails, by whom they are from or to."""

    address: str = Field(min_length=3, max_length=320, description="an address, or a part of one")
    since: str | None = Field(None, pattern=f"^{_TIME}$", description="local time, like 2026-11-22 or 2026-11-22T12:30")
    until: str | None = Field(None, pattern=f"^{_TIME}$", description="the same; what begins so counts, too")
    limit: int = Field(100, ge=1, le=500)


@method("message.trace", Traced, needs="read", reads=True)
def trace(call: Call, given: Traced) -> dict[str, Any]:
    """The life of one mail: the log lines about it and its bounces, and where its files lie now."""
    found = history.trace(call.house.paths, given.id.strip())
    if not found.ids:
        raise Refused("not_found", f"nothing is known of {given.id[:200]}", "id")
    return {"ids": found.ids, "events": [_event(one) for one in found.events], "places": found.places}


@method("message.find", Sought, needs="read", reads=True)
def find(call: Call, given: Sought) -> dict[str, Any]:
    """Mails that came in, or were refused, from or to an address; the newest first."""
    found = history.find(call.house.paths, given.address.strip(), since=given.since or "", until=given.until or "",
                         most=given.limit + 1)
    return {"found": [_event(one) for one in found[: given.limit]], "more": len(found) > given.limit}


def _event(one: history.Event) -> dict[str, Any]:
    return {"time": one.time, "program": one.program, "event": one.event, "fields": one.fields}
