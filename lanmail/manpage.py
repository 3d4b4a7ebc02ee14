"""The command line of a program: its docstring is its --help, word for word, and its man page (docs/build.py)."""

import os

import click


class Command(click.Command):
    """A command whose --help is the docstring of its program, word for word; wrong options end with 64, not 2."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            error.show()
            raise SystemExit(os.EX_USAGE) from error

    def format_help_text(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write((self.help or "").strip("\n") + "\n")
