"""`lanmail oauth test` and `token`: what is done with a token."""

import asyncio
import os

import click

from lanmail import tokens
from lanmail.cli import command
from lanmail.cli.oauth import finding, login
from lanmail.oauth import trial, uses
from lanmail.paths import Paths
from lanmail.secret import Secret


@click.command()
@click.argument("address")
@click.option("--app", "app_name", default="", help="The app; needed when there are several.")
@command.json_option
@command.rooted
def test(where: Paths, address: str, app_name: str, as_json: bool) -> None:
    """Log in at the mail servers with the token of ADDRESS: IMAP, POP3 and SMTP, whatever it is for.

    Nothing is read or sent. Exit code 1 when one of them does not let it in.
    """
    wish = finding.wish(where, address, app_name)
    app = finding.app_of(where, wish.app)
    servers = uses.servers(where, command.settings_of(where), app, wish)
    if not servers:
        command.fail(f"no mail server is known for {wish.address}: app {app.name} names none, and conf has none",
                     os.EX_CONFIG)
    token = _token(where, app.name, wish.address)
    if not as_json:
        click.echo("trying the token at " + ", ".join(map(str, servers)))
    results = asyncio.run(trial.attempt(servers, token))
    if as_json:
        command.print_json([{
            "protocol": one.server.protocol, "host": one.server.host, "port": one.server.port, "user": one.server.user,
            "verdict": one.verdict, "text": one.text, "advice": one.advice} for one in results])
    else:
        login.show(results)
    if any(one.verdict != "ok" for one in results):
        click.get_current_context().exit(1)


@click.command()
@click.argument("address")
@click.option("--app", "app_name", default="", help="The app; needed when there are several.")
@click.option("--resource", default=tokens.MAIL, show_default=True, help="What the token is for: mail, graph.")
@command.rooted
def token(where: Paths, address: str, app_name: str, resource: str) -> None:
    """Print the access token of ADDRESS, fresh, for other programs.

    \b
    msmtp, mpop   passwordeval "lanmail oauth token eva@firma.example"
    mbsync        PassCmd "lanmail oauth token eva@firma.example"

    Whoever sees it can read the mail for up to an hour, so it belongs into a pipe.
    """
    app = app_name or finding.wish(where, address).app
    click.echo(_token(where, app, address, resource).reveal())


def _token(where: Paths, app: str, address: str, resource: str = tokens.MAIL) -> Secret:
    command.become_owner_of(where.state)
    found = asyncio.run(tokens.access(where, app, address, resource=resource))
    return found.secret
