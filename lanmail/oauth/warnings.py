"""Which mails people get about their log-ins at providers: before something ends, when it did, when it is well again.

`of_record` and `of_app` look at what is known and say what is due; `told` in either is when each kind was last said, so
nothing is said twice. No mail holds a token, and all of them are local, so they arrive with every provider down.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lanmail.oauth import store
from lanmail.oauth.apps import App
from lanmail.oauth.appstate import AppState
from lanmail.oauth.store import Record

DAY = 86_400.0
_AGAIN = (0.0, 1.0, 3.0, 7.0)  # days; then weekly
_ENDS = (60, 30, 14, 7, 3, 1)  # days before a client secret ends
_NEAR = 14  # days before a refresh token ends
_TESTING = 5  # days after a consent at a provider that lets it live for seven
_PATIENCE, _AFTER = 2 * 3600.0, 1800.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail that is due. `kind` is also what it is remembered by; `owner`: the account, not only the postmaster."""

    kind: str
    subject: str
    text: str
    owner: bool = True


def of_record(record: Record, app: App | None, expires: float, now: float) -> Iterator[Notice]:
    """What is to be said about one address. `expires` is the end of its access token."""
    provider = app.title if app is not None and app.title else record.app
    who, login = record.address, f"lanmail oauth login {record.address} --app {record.app}"
    if record.state == store.NEEDS_CONSENT:
        if _again(record.since, record.told.get("needs-consent", 0.0), now):
            yield Notice("needs-consent", f"Please log in at {provider} again: {who}", _NEEDS.format(
                who=who, provider=provider, since=_day(record.since), why=record.why, login=login))
        return
    if record.state != store.OK:
        return
    if record.failing and not _app_matter(record):
        limit = max(record.failing + _PATIENCE, expires + _AFTER)
        if now > limit and record.told.get("failing", 0.0) < record.failing:
            yield Notice("failing", f"No log-in at {provider} since {_day(record.failing)}: {who}", _FAILING.format(
                who=who, provider=provider, since=_day(record.failing), why=record.error.get("text", "")))
        return
    if not record.failing and any(record.told.get(kind) for kind in ("needs-consent", "failing")):
        yield Notice("recovered", f"The log-in at {provider} works again: {who}",
                     f"Mail of {who} is fetched and sent again.\n")
    if record.testing:
        if now > record.granted + _TESTING * DAY and record.told.get("testing", 0.0) < record.granted:
            yield Notice("testing", f"The log-in at {provider} ends in two days: {who}", _TESTS.format(
                who=who, provider=provider, end=_day(record.granted + 7 * DAY), login=login))
    elif (record.refresh_expires and record.refresh_expires - now < _NEAR * DAY
          and record.told.get("ending", 0.0) <= max(record.granted, now - 7 * DAY)):
        yield Notice("ending", f"The log-in at {provider} ends on {_day(record.refresh_expires)}: {who}",
                     _ENDING.format(who=who, provider=provider, end=_day(record.refresh_expires), login=login))


def with_link(notice: Notice, link: str) -> Notice:
    """The same with a link by which the owner can log in himself."""
    return replace(notice, text=f"{notice.text}{_LINK.format(link=link)}")


def of_app(app: App, known: AppState, now: float) -> Iterator[Notice]:
    """What the postmaster is to be told about an app."""
    provider = app.title or app.name
    if known.broken and known.told.get("app-error", 0.0) < known.broken:
        yield Notice("app-error", f"{provider} refuses the app {app.name}", _REFUSED.format(
            name=app.name, provider=provider, since=_day(known.broken), why=known.error.get("text", "")), owner=False)
    if not known.broken and known.told.get("app-error"):
        yield Notice("app-recovered", f"{provider} takes the app {app.name} again",
                     f"All addresses of the app {app.name} are served again.\n", owner=False)
    if known.skew and known.told.get("skew", 0.0) <= now - 7 * DAY:
        minutes = f"{abs(known.skew) / 60:.0f} minutes {'slow' if known.skew > 0 else 'fast'}"
        yield Notice("skew", f"The clock of this machine is {minutes}", _SKEW.format(
            provider=provider, minutes=minutes), owner=False)
    yield from _secret_ends(app, known, now)


def _secret_ends(app: App, known: AppState, now: float) -> Iterator[Notice]:
    if not app.client_secret_expires:
        return
    try:
        end = datetime.fromisoformat(app.client_secret_expires).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return
    left = (end - now) / DAY
    step = next((days for days in sorted(_ENDS) if left <= days), None)
    if step is not None and known.told.get("secret", 0.0) < end - step * DAY:
        when = "has ended" if left <= 0 else "ends tomorrow" if left <= 1 else f"ends in {left:.0f} days"
        yield Notice("secret", f"The secret of the app {app.name} {when}", _KEY_ENDS.format(
            name=app.name, end=app.client_secret_expires, provider=app.title or app.name), owner=False)


def remember(told: dict[str, float], notice: Notice, now: float) -> None:
    """Note that it was said; what is well again may be said anew when it breaks."""
    if notice.kind == "recovered":
        told.pop("needs-consent", None)
        told.pop("failing", None)
    elif notice.kind == "app-recovered":
        told.pop("app-error", None)
    else:
        told[notice.kind] = now


def _app_matter(record: Record) -> bool:
    return record.error.get("class") in ("app", "config")


def _again(since: float, last: float, now: float) -> bool:
    """At once, after 1, 3 and 7 days, then weekly."""
    days = (now - since) / DAY
    step = max((one for one in _AGAIN if one <= days), default=0.0)
    if days >= 14:
        step = days // 7 * 7
    return last < since + step * DAY


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


_NEEDS = """\
Mail of {who} is not fetched or sent any more since {since}, because {provider} wants somebody to log in again:

    {why}

Whoever looks after this mail server types:

    {login}

and whoever owns {who} then logs in at {provider} once, in a browser. Nothing is lost: mail to be sent waits,
and mail to be fetched stays where it is.
"""
_LINK = """
Or open this link within three days, and log in there; it works once:

    {link}
"""
_FAILING = """\
{provider} gives no log-in for {who} since {since}:

    {why}

It is tried again all the time, and nothing is lost. If it is not the provider's trouble, `lanmail oauth status` says
more.
"""
_TESTS = """\
The app for {provider} is still in "Testing", where each log-in ends after seven days: that of {who} on {end}.

Publish the app ("In production") at the provider, and log in once more:

    {login}
"""
_ENDING = """\
The log-in of {who} at {provider} ends on {end}, and could not be renewed. To go on without a pause, type

    {login}
"""
_REFUSED = """\
{provider} refuses the app {name} since {since}, and with it all its addresses:

    {why}

Mend conf/apps/{name}.toml or its secret; it is tried again as soon as either changes, and every six hours. Nothing
is lost: mail to be sent waits, and mail to be fetched stays where it is.
"""
_SKEW = """\
By the clock of {provider}, that of this machine is {minutes}. Log-ins by certificate fail because of it, and tokens
end earlier or later than we think. Set the clock, best by NTP.
"""
_KEY_ENDS = """\
The client secret of the app {name} ends on {end}. From then on {provider} refuses the app, and no mail is fetched or
sent with it.

Make a new secret at the provider, put it into the file that client_secret in conf/apps/{name}.toml names, and write the
day it ends into client_secret_expires. A certificate (private_key) in place of a secret lives longer.
"""
