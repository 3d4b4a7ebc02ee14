"""`lanmail oauth`: log-ins at providers (OAuth2), one file per group of commands."""

import click

from lanmail.cli import command
from lanmail.cli.oauth import app, doctor, leaving, login, moving, status, using


@click.group("oauth", cls=command.Group, short_help="Log in at providers by OAuth2, and look after the tokens.")
def oauth_() -> None:
    """Log-ins at providers by OAuth2, for fetching and sending mail.

    An app is made once for each provider, and each address logs in once. lanmail-tokend renews the tokens, and tells by
    mail when somebody has to log in again.
    """


for subcommand in (app.app_, login.login, status.status, using.test, doctor.doctor, leaving.signout, leaving.revoke,
                   using.token, moving.export_, moving.import_, moving.rotate_key):
    oauth_.add_command(subcommand)
