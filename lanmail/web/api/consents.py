"""external.authorize and external.answer: somebody's log-in at a provider, for an external mailbox.

Where the app's redirect URI is ours, a one-time link leads there and back; else the person copies what the browser's
address line says afterwards. What an account begins for itself only a browser ends that is logged in as this account.
"""

import asyncio
from typing import Any

from pydantic import Field

from lanmail.errors import ConfigError, Permanent
from lanmail.oauth import apps, consent, trial, web
from lanmail.oauth.apps import App
from lanmail.oauth.authorization import Foreign
from lanmail.oauth.pending import Wish
from lanmail.oauth.store import Store
from lanmail.sources.register import Place
from lanmail.web.api import external, selfservice
from lanmail.web.api.external import One
from lanmail.web.api.frame import Call, Params, Refused, method

LONGEST = 120.0  # seconds for the provider and the mail servers together


class Begun(One):
    """An external mailbox; a link that is to be sent to somebody else is good in any browser."""

    send: bool = Field(False, description="administrators: a link for somebody else's browser")


class Answer(One):
    """What the browser's address line said after the log-in."""

    answer: str = Field(min_length=1, max_length=16384)


class Asked(Params):
    """Whose log-in at which app."""

    app: str = Field(min_length=1, max_length=64)
    address: str = Field(min_length=3, max_length=320)
    account: str = Field("", max_length=64, description="the account that is told when the log-in ends")
    login_as: str = Field("", max_length=320, description="who logs in there, if not the address")
    mailbox: str = Field("", max_length=320, description="the mailbox to name to mail servers, if not the address")


@method("external.authorize", Begun, needs="self")
def authorize(call: Call, given: Begun) -> dict[str, Any]:
    """Begin the log-in at the provider for a mailbox: a link for the browser, and how its answer comes back."""
    found = external.find(call, given)
    app = _app(call, found)
    mine = call.caller.account is not None
    if mine:
        selfservice.may_log_in(call.house, app.name, found.source.user, found.account)
    before = Store(call.house.paths).read(app.name, found.source.user, decrypt=False)
    wish = Wish(app.name, found.source.user.lower(), found.account,
                before.login_as if before and not mine else "", before.mailbox if before and not mine else "",
                _browser(call, given), found.name)
    return begin(call, app, wish)


def _browser(call: Call, given: Begun) -> str:
    """Whose browser may go on; of an administrator's key any."""
    if call.caller.account is not None:
        return call.caller.account
    person = call.house.directory.account(call.caller.name)
    return call.caller.name if person is not None and person.administrator and not given.send else ""


def begin(call: Call, app: App, wish: Wish) -> dict[str, Any]:
    """The link: of ours where people come back to us, else the provider's own. Refused."""
    if not app.authorize_url:
        raise Refused("refused_by_rule", f"app {app.name} has no page to log in at; use lanmail oauth login --device")
    Store(call.house.paths).prepare()
    base = web.base(app)
    link = web.link(call.house.paths, base, wish) if base else consent.ask(call.house.paths, app, wish).url
    return {"way": "link" if base else "paste", "link": link, "person": wish.person, "provider": app.title or app.name,
            "address": wish.address}


@method("external.answer", Answer, needs="self")
def answer(call: Call, given: Answer) -> dict[str, Any]:
    """End a log-in by what the browser's address line said. It counts when everything is as it must be."""
    found = external.find(call, given)
    app = _app(call, found)
    return {"servers": redeem(call, app, Wish(app.name, found.source.user.lower(), found.account), given.answer),
            **external.known(call, external.find(call, given, change=False))}


def redeem(call: Call, app: App, wish: Wish, text: str) -> list[dict[str, str]]:
    """What mail servers said of the token. Refused."""
    paths, settings = call.house.paths, call.house.settings()
    try:
        pending, code = consent.answered(paths, app, text, wish)
        if pending.wish.by not in ("", call.caller.name) or (
                call.caller.account is not None and pending.wish.by != call.caller.account):
            raise Foreign("this log-in was begun by somebody else")
        results = asyncio.run(asyncio.wait_for(web.finish(paths, settings, app, pending, code), LONGEST))
    except (Foreign, Permanent) as error:
        advice = getattr(error, "advice", "")
        raise Refused("refused_by_rule", f"{error.text} {advice}".strip(), "answer") from None
    except TimeoutError:
        raise Refused("busy", "the provider, or its mail server, does not answer") from None
    return [told(one) for one in results]


def told(one: trial.Result) -> dict[str, str]:
    """What one server said."""
    return {"server": str(one.server), "verdict": one.verdict, "text": one.text, "advice": one.advice}


def _app(call: Call, found: Place) -> App:
    if found.source.auth != "oauth2" or not found.source.app or not found.source.user:
        raise Refused("refused_by_rule", "this mailbox is opened with a password, not by a log-in at its provider")
    if call.caller.account is not None:
        return selfservice.app_of(call.house.paths, found.source.app)
    return person(call, found.source.app)


def person(call: Call, name: str) -> App:
    """An app that people log in with. Refused."""
    try:
        app = apps.load(call.house.paths, name)
    except ConfigError as error:
        raise Refused("not_found", error.problems[0].text, "app") from None
    if not app.needs_person:
        raise Refused("refused_by_rule", f"app {name} logs in by itself: lanmail oauth login ADDRESS --app {name}")
    return app


@method("oauth_app.authorize_url", Asked)
def authorize_url(call: Call, given: Asked) -> dict[str, Any]:
    """A link by which somebody logs in at a provider, good for three days: to be opened or sent."""
    app = person(call, given.app)
    if "@" not in given.address:
        raise Refused("invalid_field", "write the whole address", "address")
    return begin(call, app, Wish(app.name, given.address.lower(), given.account, given.login_as, given.mailbox))


class Pasted(Params):
    """What the browser's address line said after such a link."""

    app: str = Field(min_length=1, max_length=64)
    address: str = Field(min_length=3, max_length=320)
    answer: str = Field(min_length=1, max_length=16384)


@method("oauth_app.answer", Pasted)
def pasted(call: Call, given: Pasted) -> dict[str, Any]:
    """End a log-in by what the browser's address line said, where people do not come back to our pages."""
    app = person(call, given.app)
    return {"servers": redeem(call, app, Wish(app.name, given.address.lower()), given.answer)}
