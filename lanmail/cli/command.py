"""What all subcommands of `lanmail` have in common: --root before or after, --json, exit codes, tables.

A subcommand is a function that gets the `Paths` first:

    @click.command()
    @command.rooted
    def show(where: Paths) -> None: ...

Exit codes are those of sysexits(3): 64 usage, 65 wrong input, 67 no such account, 69 not available, 73 cannot be
made, 74 input/output, 77 no permission, 78 configuration.
"""

import codecs
import contextlib
import functools
import json
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from lanmail import atomic, config, paths
from lanmail.errors import ConfigError, MailError
from lanmail.paths import Paths
from lanmail.settings import Settings

_ROOT = "lanmail.root"
_HELP = "Directory with conf/, maildirs/, spool/ and state/; else LANMAIL_ROOT, else the installed layout."

Function = TypeVar("Function", bound=Callable[..., Any])


class Failure(click.ClickException):
    """Ends the command with a sentence on stderr and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        setattr(self, "exit_code", code)  # noqa: B010 — click declares it for the class

    def show(self, file: Any = None) -> None:
        click.echo(f"lanmail: {self.message}", err=True)


def fail(text: str, code: int) -> NoReturn:
    """End with a sentence and an exit code."""
    raise Failure(text, code)


def _remember(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.meta[_ROOT] = value  # shared by all contexts of one command line; the innermost comes last and wins


def root_option(function: Function) -> Function:
    """Accept --root here; `root()` has the one that counts."""
    return click.option("--root", metavar="DIR", help=_HELP, expose_value=False, callback=_remember)(function)


def root() -> str | None:
    """The directory given by --root anywhere on the command line; None when there was none."""
    chosen: str | None = click.get_current_context().meta.get(_ROOT)
    return chosen


def rooted(function: Function) -> Callable[..., Any]:
    """Accept --root and call the function with the `Paths` of it as first argument."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return function(paths.find(root()), *arguments, **options)

    return root_option(wrapped)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Group(click.Group):
    """A group of subcommands: takes --root, too, and ends with exit codes of sysexits(3)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(click.Option(["--root"], metavar="DIR", help=_HELP, expose_value=False, callback=_remember))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a new user needs them, not of the alphabet."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        def run() -> Any:
            return super(Group, self).main(args, prog_name, complete_var, standalone_mode=False, **extra)

        return sys.exit(_guarded(run)) if standalone_mode else run()


def _guarded(run: Callable[[], Any]) -> int:
    """Run a command; the exit code of how it went."""
    try:
        code = run()
    except click.UsageError as error:
        error.show()
        return os.EX_USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("lanmail: stopped", err=True)
        return 130
    except ConfigError as error:
        click.echo(str(error), err=True)
        return os.EX_CONFIG
    except MailError as error:
        click.echo(f"lanmail: {error.text}", err=True)
        return os.EX_UNAVAILABLE
    except OSError as error:
        click.echo(f"lanmail: {error.filename or ''}: {error.strerror or error}".replace(" : ", " "), err=True)
        return os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_IOERR
    return code if isinstance(code, int) else os.EX_OK


def typed() -> str:
    """The command as it was typed, for hints that can be pasted: bin/lanmail in a checkout."""
    name = sys.argv[0]
    return name if os.path.basename(name) == "lanmail" and "/" in name else "lanmail"


def settings_of(where: Paths) -> Settings:
    """The settings of a root. Raises ConfigError, which ends the command with code 78."""
    return config.load(where)


def load_late() -> None:
    """Load the codecs that Python loads when they are first used; where root keeps it to himself, others could not."""
    for name in ("utf-16-be", "idna", "punycode", "latin-1", "cp1252", "utf-8-sig"):
        codecs.lookup(name)


def become_owner_of(directory: Path) -> None:
    """Root gives its rights up for those of the directory's owner: what it writes there, the programs can read."""
    if os.geteuid() == 0 and directory.exists():
        load_late()
        owner = directory.stat()
        with contextlib.suppress(KeyError):  # a number without a name has no groups beside its own
            os.setgroups(os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid))
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def private_file(where: Paths, path: Path, data: bytes | str) -> None:
    """Write a secret of the programs below conf/: only they read it, also when root makes it (conf/ is root's)."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(path, data, mode=0o600)
    if os.geteuid() == 0 and where.var.exists():
        owner = where.var.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def print_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, right: Sequence[int] = ()) -> None:
    """Print rows in columns as wide as they need to be (`right`: those of numbers), or `empty` when there are none."""
    if not rows:
        click.echo(empty)
        return
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = [cell.rjust(width) if column in right else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        click.echo("  ".join(cells).rstrip())
