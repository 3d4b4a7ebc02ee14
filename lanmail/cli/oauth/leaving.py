"""`lanmail oauth signout` and `revoke`: the end of a log-in."""

import asyncio
import os

import click

from lanmail.cli import command
from lanmail.cli.oauth import finding
from lanmail.errors import ConfigError
from lanmail.oauth import apps, ending
from lanmail.oauth.apps import App
from lanmail.paths import Paths

PROVIDER_SAID_NO = 3


@click.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--app", "app_name", default="", help="Only the tokens by this app.")
@command.rooted
def signout(where: Paths, addresses: tuple[str, ...], app_name: str) -> None:
    """Delete the tokens of addresses here.

    The provider still lists the app among those that may read the mail; `lanmail oauth revoke` takes that back, too.
    """
    todo = [(name, address) for address in addresses for name in finding.signed_in(where, address, app_name)]
    command.become_owner_of(where.state)
    for name, address in todo:
        asyncio.run(ending.sign_out(where, name, address))
        click.echo(f"{address}: signed out of app {name}; its tokens are deleted")
        app = _app(where, name)
        if app is not None and app.end_session_url:
            click.echo(f"  the browser's own session at {app.title or name} ends here: {app.end_session_url}")


@click.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--app", "app_name", default="", help="Only the grant to this app.")
@command.rooted
def revoke(where: Paths, addresses: tuple[str, ...], app_name: str) -> None:
    """Take the grant back at the provider, and delete the tokens here.

    When the provider answers with an error it is shown, the tokens here are deleted all the same, and the exit code is
    3. Providers without a URL for this have a page where people do it themselves; then nothing is deleted.
    """
    todo = [(name, address) for address in addresses for name in finding.signed_in(where, address, app_name)]
    ready = [(_revocable(where, name), address) for name, address in todo]
    command.become_owner_of(where.state)
    failed = False
    for app, address in ready:
        problem = asyncio.run(ending.revoke(where, app, address))
        if problem:
            failed = True
            click.echo(f"{address}: {app.title or app.name} did not take it back: {problem}", err=True)
            if app.consent_page:
                click.echo(f"  by hand: {app.consent_page}", err=True)
            click.echo(f"{address}: the tokens here are deleted nevertheless")
        else:
            click.echo(f"{address}: taken back at {app.title or app.name}; its tokens are deleted")
    if failed:
        click.get_current_context().exit(PROVIDER_SAID_NO)


def _revocable(where: Paths, name: str) -> App:
    app = finding.app_of(where, name)
    if not app.revoke_url:
        by_hand = f"; people take it back themselves at {app.consent_page}" if app.consent_page else ""
        here = f"to delete the tokens here: {command.typed()} oauth signout"
        command.fail(f"app {name} has no revoke_url{by_hand}; {here}", os.EX_UNAVAILABLE)
    return app


def _app(where: Paths, name: str) -> App | None:
    try:
        return apps.load(where, name)
    except ConfigError:
        return None
