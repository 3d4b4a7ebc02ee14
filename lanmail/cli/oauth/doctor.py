"""`lanmail oauth doctor`: what keeps an address's mail from coming and going, in plain words."""

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from typing import Any

import click

from lanmail import config, secret
from lanmail.cli import command
from lanmail.cli.oauth import finding
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import MailError
from lanmail.oauth import appstate, keys, store, trial, uses
from lanmail.oauth.apps import App
from lanmail.oauth.pending import Wish
from lanmail.oauth.store import Access, Record, Store
from lanmail.paths import Paths
from lanmail.secret import NONE, Secret

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_SKEW = 60.0
_ROLES = {"imap": "IMAP.AccessAsApp", "pop3": "POP.AccessAsApp", "smtp": "SMTP.SendAsApp"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list; `good` None: nothing to say for or against."""

    what: str
    good: bool | None
    text: str
    advice: str = ""


@click.command()
@click.argument("address")
@click.option("--app", "app_name", default="", help="The app; needed when there are several.")
@command.json_option
@command.rooted
def doctor(where: Paths, address: str, app_name: str, as_json: bool) -> None:
    """Look at everything that mail of ADDRESS by OAuth2 needs, and say what is wrong and what to do.

    Exit code 1 when something is wrong. For apps of Microsoft 365 that log in without a person it prints the PowerShell
    lines that let the app into the mailbox.
    """
    wish = finding.wish(where, address, app_name)
    app = finding.app_of(where, wish.app)
    found = list(_checks(where, app, wish))
    lines = _powershell(app, wish, _token(where, app, wish), found)
    if as_json:
        command.print_json({"address": wish.address, "app": app.name, "powershell": lines, "checks": [
            {"what": one.what, "good": one.good, "text": one.text, "advice": one.advice} for one in found]})
    else:
        for one in found:
            mark = {True: "ok  ", False: "BAD ", None: "-   "}[one.good]
            click.echo(f"{mark}{one.what}: {one.text}")
            if one.advice:
                click.echo(f"    {one.advice}")
        if lines:
            click.echo("\nin the PowerShell of an administrator of Microsoft 365:\n")
            for line in lines:
                click.echo(f"    {line}")
    if any(one.good is False for one in found):
        click.get_current_context().exit(1)


def _checks(where: Paths, app: App, wish: Wish) -> Iterator[Check]:
    yield from _app(where, app)
    yield _provider(where, app)
    kept = Store(where)
    try:
        record = kept.read(app.name, wish.address)
        access = kept.access(app.name, wish.address)
    except MailError as error:
        yield Check("keys", False, error.text, f"without the old keys: {command.typed()} oauth login {wish.address}")
        return
    yield from _refused(where, app)
    yield from _grant(app, wish, record)
    yield _settings(where, app, wish)
    if access is None or not access.secret:
        yield Check("token", False, "there is none", "lanmail-tokend fetches it; does it run?" if record else "")
        return
    yield _fresh(access)
    yield from _rights(app, access.secret)
    if access.expires > time.time():
        servers = uses.servers(where, command.settings_of(where), app, wish)
        for one in asyncio.run(trial.attempt(servers, access.secret)):
            yield Check(str(one.server), one.verdict == "ok", one.text, one.advice)


def _app(where: Paths, app: App) -> Iterator[Check]:
    title = app.title or app.preset or "a provider of your own"
    yield Check("app", True, f"{app.name} at {title}, {app.authentication}, {app.grant}",
                app.hint if app.needs_person else "")
    if app.client_secret:
        try:
            text = secret.read(app.client_secret, where.conf).reveal()
        except MailError as error:
            yield Check("secret", False, error.text)
        else:
            said = "is there" if text else f"{app.client_secret} is empty"
            if _GUID.fullmatch(text):
                said = "it looks like the secret's id; the provider shows the secret itself only once, when it is made"
            change = f"{command.typed()} oauth app edit {app.name} --secret"
            yield Check("secret", said == "is there", said, "" if said == "is there" else change)
    if app.client_secret_expires:
        days = (date.fromisoformat(app.client_secret_expires) - date.today()).days
        yield Check("secret's end", days > 30, f"{app.client_secret_expires}, {days} days from now",
                    "make a new one at the provider in time" if days <= 30 else "")


def _provider(where: Paths, app: App) -> Check:
    """Whether the provider can be reached, and whether its clock and ours agree."""
    url = app.metadata_url or app.token_url
    try:
        answer = asyncio.run(httpclient.send(httpclient.Request("GET", url), tlsclient.wish(app, where.conf),
                                             tunnel.of(app, where.conf), app.timeout))
    except MailError as error:
        return Check("provider", False, error.text, "is the network up, and must a proxy be named (proxy = …)?")
    skew = 0.0
    try:
        skew = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - time.time()
    except (TypeError, ValueError):
        pass
    if abs(skew) > _SKEW:
        return Check("provider", False, f"its clock and ours differ by {abs(skew):.0f} s", "set our clock (NTP)")
    if app.metadata_url and answer.status != 200:
        return Check("provider", False, f"{url}: HTTP {answer.status} {answer.excerpt(80)}", "is tenant right?")
    return Check("provider", True, f"{url.split('/')[2]} answers")


def _refused(where: Paths, app: App) -> Iterator[Check]:
    known = appstate.read(where, app.name)
    if known.broken:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(known.broken))
        yield Check("app's standing", False, f"refused since {since}: {known.error.get('text', '')}",
                    f"mend it with {command.typed()} oauth app edit {app.name}; it is then tried again at once")


def _grant(app: App, wish: Wish, record: Record | None) -> Iterator[Check]:
    again = f"{command.typed()} oauth login {wish.address} --app {app.name}"
    if record is None:
        yield Check("log-in", False, f"nobody has logged in for {wish.address}", again)
        return
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.granted)) if record.granted else "long ago"
    if record.state == store.NEEDS_CONSENT:
        yield Check("log-in", False, f"is over: {record.why or 'the provider wants a new one'}", again)
    elif record.state == store.PAUSED:
        yield Check("log-in", False, f"is paused: {record.why}", again)
    else:
        yield Check("log-in", True, f"{wish.person if app.needs_person else 'the app by itself'}, since {since}")
    if record.error:
        text = str(record.error.get("text", ""))
        yield Check("last error", False if record.failing else None, text)
    if record.testing:
        yield Check("Testing", False, "the app is in \"Testing\": every log-in ends after 7 days",
                    "publish it (\"In production\") at the provider, then log in once more: " + again)
    granted = {one.lower() for one in record.scope.split()}
    lost = [one for one in app.scope().split()
            if one.lower() not in granted and one not in ("offline_access", "openid", "email", "profile")]
    if granted and lost:
        yield Check("scopes", False, f"not granted: {' '.join(lost)}", again)


def _settings(where: Paths, app: App, wish: Wish) -> Check:
    """Whether something in conf/ uses the token."""
    mine = [use for use in uses.of(where, command.settings_of(where)) if use.address.lower() == wish.address]
    right = [use.where for use in mine if use.app == app.name]
    if right:
        return Check("settings", True, f"used by {', '.join(right)}")
    broken = [problem for problem in config.check(where) if "/accounts/" in problem.file]
    if broken:
        return Check("settings", False, str(broken[0]), f"{command.typed()} config check")
    other = ", ".join(f"{use.where} (app {use.app})" for use in mine)
    return Check("settings", False if other else None, f"nothing in conf uses it{f', but {other}' if other else ''}",
                 f'a source or [outgoing] with auth = "oauth2", app = "{app.name}", user = "{wish.address}" does')


def _fresh(access: Access) -> Check:
    left = access.expires - time.time()
    if left > 0:
        return Check("token", access.state == store.OK, f"good for {left / 60:.0f} minutes" + (
            "" if access.state == store.OK else f", but marked {access.state}: {access.error.get('text', '')}"))
    return Check("token", False, f"ended {-left / 60:.0f} minutes ago", "lanmail-tokend renews it; does it run?")


def _rights(app: App, token: Secret) -> Iterator[Check]:
    """What the token says it is for, where it can be read."""
    claims = _claims(token)
    roles = claims.get("roles")
    if app.grant == "client_credentials" and "microsoft" in app.token_url and isinstance(roles, list):
        lost = [_ROLES[use] for use in app.use if use in _ROLES and _ROLES[use] not in roles]
        yield Check("permissions", not lost, f"missing: {' '.join(lost)}" if lost else " ".join(map(str, roles)),
                    "add them to the app (Office 365 Exchange Online, application permissions) and grant admin consent"
                    if lost else "")


def _token(where: Paths, app: App, wish: Wish) -> Secret:
    try:
        access = Store(where).access(app.name, wish.address)
    except keys.Unusable:
        return NONE
    return access.secret if access is not None else NONE


def _claims(token: Secret) -> dict[str, Any]:
    """What a token that is a JWT says; nobody promises that it is one, so this is for hints only."""
    try:
        body = token.reveal().split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def _powershell(app: App, wish: Wish, token: Secret, found: list[Check]) -> list[str]:
    """What an administrator of Microsoft 365 types, filled in."""
    if not any(host in app.token_url for host in ("microsoftonline", "chinacloudapi")):
        return []
    box = _quoted(wish.user)
    lines = []
    if app.grant == "client_credentials":
        oid = _claims(token).get("oid")
        known = isinstance(oid, str) and _GUID.fullmatch(oid)
        principal = _quoted(oid) if known and isinstance(oid, str) else "$id"
        if not known:
            lines.append("# the Object ID of the app under Enterprise applications (not that of App registrations)")
            lines.append("$id = Read-Host 'Object ID'")
        lines += [f"New-ServicePrincipal -AppId {_quoted(app.client_id)} -ObjectId {principal} -DisplayName 'lanmail'",
                  f"Add-MailboxPermission -Identity {box} -User {principal} -AccessRights FullAccess"]
        if "smtp" in app.use:
            lines.append(f"Add-RecipientPermission -Identity {box} -Trustee {principal} -AccessRights SendAs")
    if any("5.7.139" in one.text for one in found):
        lines.append(f"Set-CASMailbox -Identity {box} -SmtpClientAuthenticationDisabled $false")
    if any("authenticated but not connected" in one.text.lower() for one in found):
        lines.append(f"Set-CASMailbox -Identity {box} -ImapEnabled $true -PopEnabled $true")
    return ["Connect-ExchangeOnline", *lines] if lines else []


def _quoted(text: str) -> str:
    """A string for PowerShell, which takes typographic quotes for quotes, too."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"
