"""lanmail: set up, look after and run the mail server.

The subcommands are in lanmail/cli/, one file per noun; here they are only put together.
"""

import click

import lanmail
from lanmail.cli import (
    account,
    alias,
    certificate,
    command,
    config,
    demo,
    dkim,
    doctor,
    init,
    mailbox,
    oauth,
    queue,
    route,
    smime,
    source,
    trace,
    up,
    webspace,
)

EPILOG = """First steps:

\b
lanmail init --root DIR --domain office.lan
lanmail account add meier --root DIR
lanmail up --root DIR
"""


@click.group(cls=command.Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lanmail.__version__, prog_name="lanmail")
def cli() -> None:
    """Set up, look after and run the mail server."""


for subcommand in (
    init.init,
    up.up,
    demo.demo,
    account.account,
    alias.alias,
    config.config,
    certificate.certificate,
    route.route,
    dkim.dkim_,
    smime.smime_,
    webspace.webspace_,
    oauth.oauth_,
    mailbox.mailbox,
    source.source,
    doctor.doctor,
    queue.queue,
    trace.trace,
):
    cli.add_command(subcommand)


def main() -> None:
    """The console entry."""
    cli(prog_name="lanmail")
