"""oauth_client.*: mail programs that log in here by OAuth2. An account looks after its own, an administrator after all.

A secret comes out once, when the client is made. To end what was granted is always allowed, also to accounts that the
administrator looks after.
"""

import base64
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from lanmail import clientconfig
from lanmail.administration import enrolment
from lanmail.logins import endpoints, grants, mailprograms
from lanmail.logins.grants import INTROSPECT, Client, Register
from lanmail.web.api.frame import Call, Params, Refused, method

Service = Literal["imap", "pop3", "smtp"]
_ID = Field(min_length=32, max_length=32, pattern="^[0-9a-f]{32}$")


class Whose(Params):
    """The clients of one account, or of all."""

    account: str | None = Field(None, max_length=200)


class New(Params):
    """A new client. Without an account it is a server that may ask about tokens (RFC 7662)."""

    account: str | None = Field(None, max_length=200)
    name: str = Field(min_length=1, max_length=200, description="what its owner sees when logging in")
    services: list[Service] = Field(default_factory=list, max_length=3, description="none: all")
    redirect_uris: list[str] = Field(default_factory=list, max_length=50)
    public: bool = Field(False, description="without a secret: it must use PKCE")


class One(Params):
    """A client, by its id."""

    id: str = _ID


class Limited(One):
    """A client, and all that it may be used for from now on."""

    services: list[Service] = Field(max_length=3)


class Disabled(One):
    """A client that lets nobody in, or does again."""

    disabled: bool = True


class Secret(One):
    """A client, and its secret if it has one."""

    secret: str = Field("", max_length=200)


class Consent(Params):
    """A log-in, by the id that oauth_client.list has of it."""

    id: str = _ID


class Nothing(Params):
    """No parameters."""


@method("oauth_client.list", Whose, needs="self", reads=True)
def list_(call: Call, given: Whose) -> dict[str, Any]:
    """The clients of an account or of all, with the log-ins that count and when they were used last."""
    mine = call.caller.account
    account = call.only(given.account if given.account is not None else mine) if mine is not None else given.account
    register, name = _register(call), account.lower() if account is not None else None
    consents = register.consents(name)
    return {"clients": [_known(one, consents) for one in register.clients(name)]}


@method("oauth_client.create", New, needs="self")
def create(call: Call, given: New) -> dict[str, Any]:
    """Register a mail program; its secret is shown this once."""
    register = _register(call)
    try:
        if given.account is None:
            if call.caller.account is not None:
                raise Refused("forbidden", "only an administrator registers servers", "account")
            made, secret = mailprograms.add_server(register, given.name)
        else:
            path = enrolment.find(call.house.paths, call.only(given.account))
            if path is None:
                raise Refused("not_found", f"there is no account {given.account[:100]!r}", "account")
            made, secret = mailprograms.add(register, path.stem, given.name, given.services, public=given.public,
                                            redirects=given.redirect_uris)
    except mailprograms.Refused as refused:
        raise Refused("refused_by_rule" if refused.field == "account" else "invalid_field", str(refused),
                      refused.field) from None
    return _known(made, []) | {"secret": secret or None, "urls": _urls(call)}


@method("oauth_client.modify_scope", Limited, needs="self")
def modify_scope(call: Call, given: Limited) -> dict[str, Any]:
    """Change what a client may be used for. Its tokens lose at once what it may no longer."""
    found = _owned(call, given.id)
    try:
        changed = mailprograms.limit(found, given.services)
    except mailprograms.Refused as refused:
        raise Refused("invalid_field", str(refused), refused.field) from None
    return _saved(call, changed)


@method("oauth_client.disable", Disabled, needs="self", always=True)
def disable(call: Call, given: Disabled) -> dict[str, Any]:
    """Let nobody in by a client for now, or again: "disabled": false."""
    found, mine = _owned(call, given.id), call.caller.account
    owner = call.house.directory.account(mine) if mine is not None and not given.disabled else None
    if owner is not None and not owner.self_service:
        raise Refused("forbidden", "the administrator makes these changes here")
    return _saved(call, replace(found, disabled=given.disabled))


@method("oauth_client.delete", One, needs="self", always=True)
def delete(call: Call, given: One) -> dict[str, Any]:
    """Remove a client; all its tokens are void at once."""
    found = _owned(call, given.id)
    _register(call).remove_client(found.id)
    return {"id": found.id, "name": found.name, "deleted": True}


@method("oauth_client.disconnect", Consent, needs="self", always=True)
def disconnect(call: Call, given: Consent) -> dict[str, Any]:
    """End one log-in: its tokens are void at once, its owner has to log in again in that program."""
    register, mine = _register(call), call.caller.account
    found = next((one for one in register.consents(mine) if one.id == given.id), None)
    if found is None:
        raise Refused("not_found", f"there is no log-in {given.id}", "id")
    register.end(found.id)
    return {"id": found.id, "account": found.account, "ended": True}


@method("oauth_client.urls", Nothing, needs="self", reads=True)
def urls(call: Call, _given: Nothing) -> dict[str, Any]:
    """What a mail program asks for: endpoints and scopes, and the mail servers."""
    found = [{"kind": one.kind, "hostname": one.hostname, "port": one.port, "implicit": one.implicit}
             for one in clientconfig.servers(call.house.settings())]
    return {"urls": _urls(call), "servers": found}


@method("oauth_client.addon", Secret, needs="self", always=True)
def addon(call: Call, given: Secret) -> dict[str, Any]:
    """The add-on by which Thunderbird (140 or newer) logs in as this client, as Base64; its secret must be given."""
    found = _owned(call, given.id)
    if INTROSPECT in found.scopes:
        raise Refused("refused_by_rule", "this client is a server that asks about tokens; it is no mail program", "id")
    if found.secret and not found.has_secret(given.secret):
        raise Refused("forbidden", "this is not the secret of this client", "secret")
    data = clientconfig.addon(call.house.settings(), found, given.secret if found.secret else "")
    return {"filename": f"{found.account}-oauth2.xpi", "content": base64.b64encode(data).decode()}


def _register(call: Call) -> Register:
    return Register(call.house.paths.state)


def _owned(call: Call, client_id: str) -> Client:
    """The client; whose it is is nobody else's business."""
    found, mine = _register(call).client(client_id), call.caller.account
    if found is None or (mine is not None and found.account != mine):
        raise Refused("not_found", f"there is no client {client_id}", "id")
    return found


def _saved(call: Call, client: Client) -> dict[str, Any]:
    register = _register(call)
    register.save_client(client)
    return _known(client, register.consents(client.account))


def _known(one: Client, consents: list[grants.Consent]) -> dict[str, Any]:
    connected = [{"id": consent.id, "since": consent.created, "used": consent.used}
                 for consent in consents if consent.client == one.id]
    return {"id": one.id, "account": one.account, "name": one.name, "services": mailprograms.services(one),
            "scope": " ".join([*one.scopes, *([] if INTROSPECT in one.scopes else [grants.OFFLINE])]),
            "redirect_uris": list(one.redirect_uris), "disabled": one.disabled, "created": one.created,
            "secret": None, "secret_set": bool(one.secret), "connected": connected,
            "used": max((consent.used for consent in consents if consent.client == one.id), default=None)}


def _urls(call: Call) -> dict[str, str]:
    settings = call.house.settings()
    return {"issuer": endpoints.base(settings), **endpoints.urls(settings),
            "scope": " ".join([*grants.SCOPES.values(), grants.OFFLINE])}
