"""lanmail: set up, look after and run the mail server.

The subcommands are in lanmail/cli/, one file per noun; here they are only put together.
"""

import difflib
import importlib

import click

import lanmail
from lanmail.cli import command

# In the order in which a new user needs them. Only the module of the one that is called is loaded: all of them together
# take as long to load as everything else.
SUBCOMMANDS = (
    "init", "up", "demo",
    "account", "alias", "group", "forward", "autoresponder", "einvoice", "sms",
    "config", "certificate",
    "route", "dkim", "smime", "webspace",
    "oauth", "client", "api", "source",
    "mailbox", "archive",
    "filter", "status", "doctor", "queue", "trace",
)

EPILOG = """First steps:

\b
lanmail init --root DIR --domain office.lan
lanmail account add meier --root DIR
lanmail up --root DIR
"""


class Subcommands(command.Group):
    """The subcommands of cli/, loaded when they are asked for. A name's function has it, or it and an underscore."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"lanmail.cli.{name}")
        functions = (getattr(module, spelling, None) for spelling in (name, f"{name}_"))
        return next(one for one in functions if isinstance(one, click.Command))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A misspelt name gets a guess."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = difflib.get_close_matches(args[0], SUBCOMMANDS, 1)
            if not meant:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{meant[0]}'?", ctx) from error


@click.group(cls=Subcommands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lanmail.__version__, prog_name="lanmail")
def cli() -> None:
    """Set up, look after and run the mail server."""


def main() -> None:
    """The console entry."""
    cli(prog_name="lanmail")
