"""`lanmail oauth app`: who we are at a provider."""

import asyncio
import contextlib
import os
import re
import sys
import tomllib
from typing import Any, get_origin

import click

from lanmail.cli import command
from lanmail.cli.oauth import finding
from lanmail.errors import ConfigError, MailError
from lanmail.oauth import apps, registry, store, uses
from lanmail.oauth.apps import App
from lanmail.paths import Paths
from lanmail.secret import Secret


@click.group("app", cls=command.Group, short_help="Apps: who we are at a provider.")
def app_() -> None:
    """Apps: who we are at a provider, made at its developers' page. One file each, conf/apps/NAME.toml."""


@app_.command("list")
@click.option("--presets", is_flag=True, help="List the providers that are known already.")
@command.json_option
@command.rooted
def list_(where: Paths, presets: bool, as_json: bool) -> None:
    """List the apps, and how many addresses each has tokens for."""
    rows = _presets(where) if presets else [_told(where, name) for name in apps.names(where)]
    if as_json:
        command.print_json(rows)
    elif presets:
        command.print_table(["preset", "provider", "note"],
                            [[row["preset"], row["title"], row["hint"]] for row in rows], "no presets")
    else:
        command.print_table(
            ["app", "provider", "grant", "for", "addresses", "secret ends"],
            [[row["app"], row["problem"] or row["title"], row["grant"], " ".join(row["use"]), str(row["addresses"]),
              row["secret_expires"]] for row in rows],
            f"no apps yet; make one: {command.typed()} oauth app add NAME --preset PRESET", right=[4])


def _presets(where: Paths) -> list[dict[str, str]]:
    rows = []
    for name in apps.presets(where):
        data = apps.preset(name, where) or {}
        rows.append({"preset": name, "title": str(data.get("title", name)), "hint": str(data.get("hint", ""))})
    return rows


def _told(where: Paths, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"app": name, "title": "", "grant": "", "use": [], "secret_expires": "", "problem": None,
                           "addresses": sum(1 for _ in store.Store(where).all(name))}
    try:
        app = apps.load(where, name)
    except ConfigError as error:
        return row | {"problem": error.problems[0].text}
    return row | {"title": app.title or app.preset or "custom", "grant": app.grant, "use": list(app.use),
                  "secret_expires": app.client_secret_expires}


@app_.command()
@click.argument("name")
@click.option("--preset", default="", help="The provider, as `lanmail oauth app list --presets` names it.")
@click.option("--metadata", metavar="URL", default="", help="A provider that describes itself at this URL (RFC 8414).")
@click.option("--client-id", required=True, help="The app's id (Microsoft: Application (client) ID).")
@click.option("--secret-stdin", is_flag=True, help="Read the app's secret from standard input instead of asking.")
@click.option("--public", is_flag=True, help="The app has no secret.")
@click.option("--secret-expires", metavar="DAY", default="", help="The day on which the secret ends, like 2027-05-31.")
@click.option("--tenant", default="", help="Microsoft: the directory's id or domain, for an app of one organization.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Any other key of the app, repeatable.")
@command.rooted
def add(where: Paths, name: str, preset: str, metadata: str, client_id: str, secret_stdin: bool, public: bool,
        secret_expires: str, tenant: str, settings: tuple[str, ...]) -> None:
    """Make an app from a PRESET, from a provider's --metadata, or from three URLs given with --set.

    \b
    lanmail oauth app add azure --preset microsoft-business --client-id ID --public
    lanmail oauth app add google --preset google --client-id ID
    lanmail oauth app add other --metadata https://id.example/.well-known/openid-configuration --client-id ID

    The secret is asked for and kept in a file of its own, conf/secrets/oauth-NAME.
    """
    command.settings_of(where)
    path = apps.file_of(where, name)
    if path.exists():
        change = f"{command.typed()} oauth app edit {name} KEY=VALUE"
        command.fail(f"there is an app {name!r} already; change it with {change}", os.EX_CANTCREAT)
    given: dict[str, Any] = {"preset": preset} if preset else {}
    command.become_owner_of(where.conf)
    if metadata:
        given |= _described(metadata)
    given |= {key: value for key, value in (("client_id", client_id), ("tenant", tenant),
                                            ("client_secret_expires", secret_expires)) if value}
    given |= dict(_pair(setting) for setting in settings)
    keyless = public or given.keys() & {"client_secret", "private_key", "service_account"}
    secret = "" if keyless else _secret(stdin=secret_stdin)
    try:
        made = registry.create(where, name, given, Secret(secret))
    except registry.Refused as error:
        command.fail(str(error), os.EX_CANTCREAT)
    click.echo(f"made {path}")
    for line in _remarks(made, secret):
        click.echo(line)
    click.echo(f"next: {command.typed()} oauth login ADDRESS --app {name}")


def _described(url: str) -> dict[str, Any]:
    """The keys that a provider's own description gives."""
    try:
        return registry.described(url)
    except MailError as error:
        command.fail(error.text, os.EX_UNAVAILABLE)
    except registry.Refused as error:
        command.fail(str(error), os.EX_DATAERR)


def _secret(*, stdin: bool) -> str:
    """The app's secret, from where nobody sees it."""
    if stdin:
        text = sys.stdin.readline()
    else:
        text = click.prompt("secret of the app (empty: it has none)", hide_input=True, default="", show_default=False)
    text = text.strip()
    if not text and stdin:
        command.fail("standard input holds no secret", os.EX_DATAERR)
    return str(text)


def _remarks(app: App, secret: str) -> list[str]:
    lines = [f"note: {app.hint}"] if app.hint and app.needs_person else []
    if registry.looks_like_its_id(Secret(secret)):
        lines.append("warning: this secret looks like its id; the provider shows the secret itself (Value) only once, "
                     "right after it was made")
    if secret and not app.client_secret_expires and "microsoftonline" in app.token_url:
        lines.append(f"note: a secret of Microsoft ends after 24 months at most; say when, to be told in time: "
                     f"{command.typed()} oauth app edit {app.name} client_secret_expires=YYYY-MM-DD")
    if app.needs_person:
        lines.append(f"redirect URI to register there: {app.redirect_uri or 'http://localhost'}")
    return lines


@app_.command()
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1)
@click.option("--secret", "new_secret", is_flag=True, help="Ask for a new secret.")
@click.option("--secret-stdin", is_flag=True, help="Read a new secret from standard input.")
@command.rooted
def edit(where: Paths, name: str, settings: tuple[str, ...], new_secret: bool, secret_stdin: bool) -> None:
    """Change an app: client_secret_expires=2027-05-31, use=imap,smtp, tenant=firma.example.

    KEY= without a value takes the key away, so that the preset's counts again. Tokens stay; a change of client_id or of
    scopes needs a new log-in.
    """
    path = apps.file_of(where, name)
    before = finding.app_of(where, name)
    if not settings and not new_secret and not secret_stdin:
        command.fail("say what to change: KEY=VALUE, or --secret", os.EX_USAGE)
    command.become_owner_of(where.conf)
    changes = dict(_pair(setting) for setting in settings)
    secret = _secret(stdin=secret_stdin) if new_secret or secret_stdin else ""
    after = registry.change(where, name, changes, Secret(secret))
    if secret:
        for line in _remarks(before.model_copy(update={"hint": ""}), secret)[:1]:
            click.echo(line)
    click.echo(f"changed {path}")
    if (before.client_id, before.scope()) != (after.client_id, after.scope()):
        for _, address in store.Store(where).all(name):
            click.echo(f"needs a new log-in: {command.typed()} oauth login {address} --app {name}")


def _pair(setting: str) -> tuple[str, Any]:
    """KEY=VALUE as key and value, read as what the key takes; nothing behind = is None."""
    key, equals, text = setting.partition("=")
    if not equals:
        command.fail(f"{setting!r} is not KEY=VALUE", os.EX_USAGE)
    top = key.partition(".")[0]
    if top not in App.model_fields or top == "name":
        command.fail(f"an app has no key {key!r}; there are {', '.join(sorted(App.model_fields.keys() - {'name'}))}",
                     os.EX_USAGE)
    if key == "client_secret" and not re.match(r"file:|credential:|$", text):
        command.fail("a secret is not given on the command line; use --secret", os.EX_USAGE)
    return key, _value(key, text) if text else None


def _value(key: str, text: str) -> Any:
    """Text as what the key takes: TOML, a list with commas or blanks, or plain text."""
    top, _, inner = key.partition(".")
    kind = App.model_fields[top].annotation
    parsed: Any = None
    with contextlib.suppress(tomllib.TOMLDecodeError):
        parsed = tomllib.loads(f"value = {text}\n")["value"]
    if get_origin(kind) is list or (inner and top in ("scopes", "app_scopes")):
        return parsed if isinstance(parsed, list) else [part for part in re.split(r"[,\s]+", text) if part]
    if kind in (bool, int) or (get_origin(kind) is dict and not inner):
        return text if parsed is None else parsed
    return text


@app_.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Even while addresses have tokens by it.")
@command.rooted
def remove(where: Paths, name: str, force: bool) -> None:
    """Remove an app. Whoever has tokens by it is listed first; --force removes it all the same.

    Their tokens are no longer renewed: each address needs a log-in with another app.
    """
    path = apps.file_of(where, name)
    if not path.exists():
        command.fail(f"there is no app {name!r}", os.EX_DATAERR)
    users, settings = registry.users(where, uses.of(where, command.settings_of(where)), name)
    for user in [*users, *(one for one in settings if one not in users)]:
        click.echo(f"used by {user}")
    if (users or settings) and not force:
        command.fail(f"app {name} is in use; give those another app first, or remove it all the same with --force",
                     os.EX_DATAERR)
    command.become_owner_of(where.conf)
    registry.remove(where, name)
    command.become_owner_of(where.state)
    for address in users:
        asyncio.run(registry.mark_removed(where, name, address))
    click.echo(f"app {name} removed" + (f"; {len(users)} addresses need a log-in with another one" if users else ""))
