"""`lanmail source add`: a mailbox elsewhere becomes a source of an account."""

import os
from typing import Any

import click
from pydantic import ValidationError

from lanmail import incoming, units
from lanmail.cli import account as accounts
from lanmail.cli import command
from lanmail.cli.source import changing, places, testing, writing
from lanmail.incoming import Incoming, Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.settings import Settings
from lanmail.sources import place as state
from lanmail.sources import providers, register
from lanmail.sources.providers import Provider


@click.command(short_help="Fetch a mailbox elsewhere into an account.")
@click.argument("account")
@click.argument("mailbox", metavar="ADDRESS")
@click.option("--name", metavar="NAME", help="How to call it; else after its server, like gmx.")
@click.option("--protocol", type=click.Choice(["imap", "pop3"]), default="imap", show_default=True)
@click.option("--provider", metavar="NAME", help="At a provider that the address does not tell, like ionos; see list.")
@click.option("--host", metavar="HOST", help="The server, where no provider is known.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port, if not the usual one.")
@click.option("--tls", type=click.Choice(["implicit", "starttls", "auto", "none"]), help="How TLS begins.")
@click.option("--tls-ca", metavar="FILE", help="Certificates to trust in place of the system's.")
@click.option("--tls-fingerprint", metavar="SHA256", help="The server's certificate, and no other.")
@click.option("--user", metavar="USER", help="The user name there, if it is not the address.")
@click.option("--app", metavar="APP", help="Log in with OAuth2, by the tokens of this app.")
@click.option("--delete", is_flag=True, help="Delete mail on the server as soon as it is here.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--no-test", is_flag=True, help="Do not log in there first.")
@command.rooted
def add(where: Paths, account: str, mailbox: str, name: str | None, protocol: str, provider: str | None,
        host: str | None, port: int | None, tls: str | None, tls_ca: str | None, tls_fingerprint: str | None,
        user: str | None, app: str | None, delete: bool, password_stdin: bool, no_test: bool) -> None:
    """Fetch the mail of the mailbox ADDRESS into ACCOUNT.

    Servers of well-known providers are found by the address, or by the MX record of its domain; else name --host. The
    password is asked for, and tried before anything is stored. Mail stays on the server unless --delete is given.
    """
    loaded = command.settings_of(where)
    file = accounts.existing(where, account)
    known = _provider(loaded, mailbox, provider, host)
    server = host or (known and getattr(known, protocol)) or ""
    if not server:
        _nobody(mailbox, protocol, known, loaded)
    taken = {place.name for place in places.all_of(where, loaded, file.stem)}
    chosen = _name(name, server, known, taken)
    given: dict[str, Any] = {
        "interface": "office365" if known is not None and known.app else "standard", "protocol": protocol,
        "host": server, "port": port, "tls": tls, "tls_ca": tls_ca and os.path.abspath(tls_ca),
        "tls_fingerprint": tls_fingerprint and [tls_fingerprint], "user": user or mailbox, "delete": delete or None}
    if app:
        given |= {"auth": "oauth2", "app": app}
    if known is not None:
        click.echo(f"{mailbox} is a mailbox at {known.title}: {server} by {protocol.upper()}")
    _advise(known, app)
    password = Secret("") if app else changing.read_password(password_stdin)
    keys = {key: value for key, value in given.items() if value is not None}
    if not no_test:
        _try(where, loaded, file.stem, chosen, keys, password)
    writing.make(where, file.stem, chosen, keys, password)
    state.request(where, file.stem, chosen)
    click.echo(f"source {file.stem}/{chosen} made in {file}; mail is fetched every "
               f"{_every(loaded.incoming)}, for the first time as soon as lanmail-fetchmail sees it")


def _provider(loaded: Settings, mailbox: str, named: str | None, host: str | None) -> Provider | None:
    try:
        return providers.find(loaded, mailbox, named or "", host or "")
    except KeyError:
        command.fail(f"no provider '{named}' is known; known are {', '.join(providers.known())}", os.EX_USAGE)


def _nobody(mailbox: str, protocol: str, known: Provider | None, loaded: Settings) -> None:
    """No server is known: fine where [incoming] names one."""
    if known is not None:
        command.fail(f"{known.title} offers no {protocol.upper()}; take --protocol imap", os.EX_USAGE)
    if not loaded.incoming.host:
        command.fail(f"it is not known which server has {mailbox}; name it with --host, or the provider "
                     "with --provider", os.EX_USAGE)


def _name(wished: str | None, server: str, known: Provider | None, taken: set[str]) -> str:
    if wished is None:
        return register.free(known.name, taken) if known is not None else register.name_for(server, taken)
    try:
        chosen = incoming.name(wished)
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)
    if chosen in taken:
        command.fail(f"there is a source '{chosen}' already; lanmail source set changes it", os.EX_DATAERR)
    return chosen


def _advise(known: Provider | None, app: str | None) -> None:
    """What must be done at the provider first; ends where it cannot work."""
    if known is None or app:
        return
    if known.app:
        command.fail(f"{known.advice} Name the app whose tokens are used with --app", os.EX_USAGE)
    if known.advice:
        click.echo(known.advice)


def _try(where: Paths, loaded: Settings, account: str, name: str, keys: dict[str, Any], password: Secret) -> None:
    """Log in before anything is stored; ends with what is wrong."""
    given = {**keys, **({"password": "file:not-stored-yet"} if password else {})}
    try:
        source = incoming.of(loaded.incoming, Source.model_validate(given))
    except ValidationError as error:
        problem = error.errors()[0]
        command.fail(f"{'.'.join(map(str, problem['loc'][:1]))}: {problem['msg']}", os.EX_DATAERR)
    try:
        found = testing.look(where, loaded, account, name, source, lambda text: click.echo(f"  {text}"), password)
    except testing.Failed as failed:
        command.fail(failed.told("nothing was stored; --no-test stores it all the same"), failed.code)
    testing.tell(found)


def _every(default: Incoming) -> str:
    return units.format_duration(default.every)
