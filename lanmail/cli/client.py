"""`lanmail client`: mail programs that log in to us by OAuth2."""

import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from lanmail import atomic, clientconfig
from lanmail.cli import command
from lanmail.cli.account import existing, read_password
from lanmail.logins import endpoints, grants, mailprograms
from lanmail.logins.grants import INTROSPECT, SCOPES, Client, Register
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Mail programs that log in by OAuth2.")
def client() -> None:
    """Clients: mail programs that log in to this server by OAuth2, each for one account.

    httpd.enabled must be true. A client has an id and mostly a secret, which stand in the mail program beside the
    addresses that `lanmail client urls` shows. Its scope says what it may be used for.
    """


@client.command()
@click.argument("account")
@click.argument("name")
@click.option("--service", "services", multiple=True, type=click.Choice(list(SCOPES)), help="Only this; repeatable.")
@click.option("--redirect", "redirects", multiple=True, metavar="URI", help="Where it may send people back to, besides "
              "addresses on its own machine; repeatable.")
@click.option("--public", is_flag=True, help="Without a secret: it must use PKCE.")
@command.json_option
@command.rooted
def add(where: Paths, account: str, name: str, services: tuple[str, ...], redirects: tuple[str, ...], public: bool,
        as_json: bool) -> None:
    """Register a mail program for ACCOUNT; NAME is what its owner sees when logging in.

    The id and the secret are made; the secret is shown this once.
    """
    owner = existing(where, account).stem
    try:
        made, secret = mailprograms.add(Register(where.state), owner, name, services, public=public,
                                        redirects=redirects)
    except mailprograms.Refused as refused:
        command.fail(str(refused), os.EX_DATAERR)
    _show_new(where, made, secret, as_json)


@client.command("add-server")
@click.argument("name")
@command.json_option
@command.rooted
def add_server(where: Paths, name: str, as_json: bool) -> None:
    """Register a server that may ask whether a token is good (RFC 7662), such as a Dovecot."""
    try:
        made, secret = mailprograms.add_server(Register(where.state), name)
    except mailprograms.Refused as refused:
        command.fail(str(refused), os.EX_DATAERR)
    _show_new(where, made, secret, as_json)


def _show_new(where: Paths, made: Client, secret: str, as_json: bool) -> None:
    settings = command.settings_of(where)
    if as_json:
        command.print_json(_known(made) | {"client_secret": secret or None, **endpoints.urls(settings)})
        return
    click.echo(f"client id:     {made.id}")
    click.echo(f"client secret: {secret}   (shown this once)" if secret else "client secret: none; it must use PKCE")
    if not settings.httpd.enabled:
        click.echo("nobody can log in yet: lanmail config set httpd.enabled true", err=True)


@client.command("list")
@click.argument("account", required=False)
@command.json_option
@command.rooted
def list_(where: Paths, account: str | None, as_json: bool) -> None:
    """List all clients, or those of one account."""
    register = Register(where.state)
    found = register.clients(existing(where, account).stem if account else None)
    if as_json:
        command.print_json([_known(one) for one in found])
        return
    used = {one.client: one.used for one in reversed(register.consents())}
    rows = [[one.id, one.account or "-", one.name, ", ".join(_services(one)), _day(used.get(one.id)),
             "disabled" if one.disabled else ""] for one in found]
    command.print_table(["ID", "ACCOUNT", "NAME", "MAY", "LAST USED", ""], rows,
                        "no clients; make one: lanmail client add ACCOUNT NAME")


def _known(one: Client) -> dict[str, Any]:
    known = asdict(one) | {"secret": bool(one.secret)}
    known["client_id"] = known.pop("id")
    return known


def _services(one: Client) -> list[str]:
    return ["ask about tokens"] if INTROSPECT in one.scopes else mailprograms.services(one)


def _day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "never"


def _existing(where: Paths, client_id: str) -> Client:
    found = Register(where.state).client(client_id)
    if found is None:
        command.fail(f"there is no client '{client_id}'; see: lanmail client list", os.EX_NOUSER)
    return found


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--service", "services", multiple=True, type=click.Choice(list(SCOPES)), help="What it may be used for.")
@click.option("--disable/--enable", default=None, help="Let nobody in by it, for now.")
@command.rooted
def change(where: Paths, client_id: str, services: tuple[str, ...], disable: bool | None) -> None:
    """Change what a client may be used for; its id and secret stay. Tokens that it has lose what it may no longer."""
    found = _existing(where, client_id)
    if services:
        try:
            found = mailprograms.limit(found, services)
        except mailprograms.Refused as refused:
            command.fail(str(refused), os.EX_DATAERR)
    if disable is not None:
        found = replace(found, disabled=disable)
    Register(where.state).save_client(found)
    click.echo(f"{found.name}: {', '.join(_services(found))}{', disabled' if found.disabled else ''}")


@client.command()
@click.argument("client_id", metavar="ID")
@command.rooted
def remove(where: Paths, client_id: str) -> None:
    """Remove a client; its tokens are void at once."""
    found = _existing(where, client_id)
    Register(where.state).remove_client(found.id)
    click.echo(f"client {found.name} removed")


@client.command()
@command.json_option
@command.rooted
def urls(where: Paths, as_json: bool) -> None:
    """Show the addresses and scopes that a mail program asks for."""
    settings = command.settings_of(where)
    found = {"issuer": endpoints.base(settings), **endpoints.urls(settings),
             "scope": " ".join([*SCOPES.values(), grants.OFFLINE])}
    if as_json:
        command.print_json(found)
        return
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):<30} {value}")


@client.command()
@click.argument("account", required=False)
@command.json_option
@command.rooted
def connected(where: Paths, account: str | None, as_json: bool) -> None:
    """List which clients are logged in, for all accounts or one, and when they last were here."""
    register = Register(where.state)
    names = {one.id: one.name for one in register.clients()}
    found = register.consents(existing(where, account).stem if account else None)
    if as_json:
        command.print_json([asdict(one) | {"name": names.get(one.client)} for one in found])
        return
    rows = [[one.id, one.account, names.get(one.client, "?"), _day(one.created), _day(one.used)] for one in found]
    command.print_table(["CONSENT", "ACCOUNT", "CLIENT", "SINCE", "LAST USED"], rows, "nobody is logged in by OAuth2")


@client.command()
@click.argument("consent", metavar="CONSENT")
@command.rooted
def disconnect(where: Paths, consent: str) -> None:
    """End a log-in that `lanmail client connected` lists: its tokens are void, its owner has to log in again."""
    register = Register(where.state)
    if consent not in [one.id for one in register.consents()]:
        command.fail(f"there is no log-in '{consent}'; see: lanmail client connected", os.EX_NOUSER)
    register.end(consent)
    click.echo("ended")


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.xpi",
              help="Where the add-on is written.")
@click.option("--secret-stdin", is_flag=True, help="Read the client's secret from standard input.")
@command.rooted
def addon(where: Paths, client_id: str, output: Path, secret_stdin: bool) -> None:
    """Write an add-on by which Thunderbird (140 or newer) logs in here by OAuth2, as this client.

    A client with a secret needs it in the add-on, and only its hash is known here: so keep the file to the client's
    owner. `lanmail client add --public` makes a client that has none.
    """
    found, settings = _existing(where, client_id), command.settings_of(where)
    if INTROSPECT in found.scopes:
        command.fail("this client is a server that asks about tokens; it is no mail program", os.EX_DATAERR)
    if found.secret and not secret_stdin:
        command.fail("this client has a secret: give it by --secret-stdin, or make one without: lanmail client add "
                     f"{found.account} NAME --public", os.EX_USAGE)
    secret = read_password() if found.secret else ""
    if secret and not found.has_secret(secret):
        command.fail("this is not the secret of this client", os.EX_DATAERR)
    try:
        atomic.write(output, clientconfig.addon(settings, found, secret), mode=0o600 if secret else 0o644)
    except OSError as error:
        command.fail(f"{output}: {error.strerror}", os.EX_CANTCREAT)
    click.echo(f"{output}: install it in Thunderbird, Settings > Add-ons > Install Add-on From File")
    if not settings.httpd.enabled:
        click.echo("nobody can log in yet: lanmail config set httpd.enabled true", err=True)


@client.command()
@command.rooted
def autoconfig(where: Paths) -> None:
    """Print the XML by which Thunderbird and others set themselves up, for a web server other than ours.

    It belongs at https://autoconfig.DOMAIN/mail/config-v1.1.xml, as text/xml.
    """
    click.echo(clientconfig.autoconfig(command.settings_of(where)).decode(), nl=False)
