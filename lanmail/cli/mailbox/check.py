"""`lanmail mailbox check` and `repair`: what is wrong with Maildirs, and the mending of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from lanmail import maildir, printable
from lanmail.cli import command
from lanmail.cli.mailbox import caches, contents, home, layout, leftovers, progress, records, rights
from lanmail.cli.mailbox.damage import Damage
from lanmail.paths import Paths

_COLOURS = {"note": "blue", "warn": "yellow", "fail": "red"}
_SHOWN = 3


def _arguments(function: command.Function) -> command.Function:
    for decorator in (
        click.option("--quick", is_flag=True, help="Look at names and sizes only; do not read the messages."),
        click.option("--all", "everybody", is_flag=True, help="All Maildirs."),
        click.argument("folder", required=False),
        click.argument("account", required=False),
    ):
        function = decorator(function)
    return function


@click.command(short_help="Tell all that is wrong with Maildirs.")
@_arguments
@command.json_option
@command.rooted
def check(where: Paths, account: str | None, folder: str | None, everybody: bool, quick: bool, as_json: bool) -> None:
    """Tell all that is wrong with a Maildir: what it is, what it means, and what `repair` would do.

    Reads every message unless --quick is given. Changes nothing. Exit code 65 when something is wrong, else 0;
    notes, of things that harm nobody, do not count.
    """
    found: dict[str, list[Damage]] = {}
    homes = _chosen(where, account, folder, everybody)
    with progress.shown(_messages(homes)) as line:
        for root in homes:
            found[root.name] = list(examine(where, root, folder, line, deep=not quick))
            if not as_json:
                _tell(root.name, found[root.name], line)
    if as_json:
        command.print_json([{"account": name, **one.data()} for name, all_ in found.items() for one in all_])
    if any(one.level != "note" for all_ in found.values() for one in all_):
        click.get_current_context().exit(os.EX_DATAERR)


@click.command(short_help="Mend what is wrong with Maildirs, as far as that is safe.")
@_arguments
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@command.rooted
def repair(
    where: Paths, account: str | None, folder: str | None, everybody: bool, quick: bool, dry_run: bool
) -> None:
    """Mend what `check` finds, as far as that is safe; the programs may run meanwhile.

    UIDs stay wherever they can be known. No message is ever deleted: what does not belong into a folder goes to
    lanmail-aside/ in the Maildir, with a text beside it. Exit code 65 when something is left to do by hand, else 0.
    """
    left = 0
    homes = _chosen(where, account, folder, everybody)
    with progress.shown(_messages(homes)) as line:
        for root in homes:
            left += _mend_home(where, root, folder, line, deep=not quick, dry_run=dry_run)
    if left:
        click.get_current_context().exit(os.EX_DATAERR)


def _chosen(where: Paths, account: str | None, folder: str | None, everybody: bool) -> list[Path]:
    if everybody == (account is not None):
        raise click.UsageError("name an account, or use --all")
    if account is None:
        return [root for root, _ in home.all_of(where) if home.is_home(root)]
    root = home.of(where, account)
    if not home.is_home(root):
        command.fail(f"{root.name} has no Maildir yet; the first mail or log-in makes it", os.EX_NOINPUT)
    return [root]


def _messages(homes: list[Path]) -> int:
    return sum(len(maildir.files_in(path)) for root in homes for _, path in layout.folders(str(root)))


def examine(
    where: Paths, root: Path, folder: str | None, line: progress.Progress, *, deep: bool
) -> Iterator[Damage]:
    """All that is wrong with one Maildir, or one folder of it."""
    owner = where.maildirs.stat()
    if folder is None:
        yield from layout.of_account(str(root), owner)
        yield from caches.of_account(str(root), where.indexes / f"{root.name}.sqlite")
    wanted = None if folder is None else _folder(str(root), folder)
    for name, path in layout.folders(str(root)):
        if wanted in (None, name):
            line.what = f"{root.name} {name}"
            yield from layout.of_folder(str(root), name, path, owner)
            yield from leftovers.of_folder(str(root), name, path)
            yield from records.of_folder(str(root), name, path)
            yield from caches.of_folder(str(root), name, path)
            yield from contents.of_folder(str(root), name, path, owner, line, deep=deep)


def _folder(root: str, name: str) -> str:
    """The folder that was typed: one that cannot be used, too, which is why somebody looks at it."""
    return name if name in dict(layout.folders(root)) else home.folder(Path(root), name)


def _tell(account: str, found: list[Damage], line: progress.Progress) -> None:
    if not found:
        line.say(f"{click.style('ok  ', fg='green')}  {account}")
    for one in found:
        _show(account, one, line)


def _show(account: str, one: Damage, line: progress.Progress) -> None:
    place = f"{account} {one.folder}".strip()
    line.say(f"{click.style(one.level.ljust(4), fg=_COLOURS[one.level])}  {place}: {one.text}")
    line.say(f"      {one.meaning}")
    for file in one.files[:_SHOWN]:
        line.say(f"      {printable.line(file, '·')}")
    if len(one.files) > _SHOWN:
        line.say(f"      … and {len(one.files) - _SHOWN} more")
    line.say(f"      → {f'repair: {one.remedy}' if one.remedy else 'a person has to look'}")


def _mend_home(where: Paths, root: Path, folder: str | None, line: progress.Progress, *, deep: bool,
               dry_run: bool) -> int:
    """Mend one Maildir; how many things are left to do."""
    left = 0
    # directories and names first: what hides behind them is only seen afterwards
    for one in examine(where, root, folder, line, deep=deep):
        place = f"{root.name} {one.folder}".strip()
        if one.mend is None or dry_run:
            left += one.level != "note"
            if one.mend is None:
                if one.level != "note":
                    _show(root.name, one, line)
            else:
                line.say(f"would  {place}: {one.text}: {one.remedy}")
            continue
        try:
            _mend(where, one)
        except OSError as error:
            left += 1
            line.say(f"lanmail: {place}: {one.text}: {error.strerror or error}{_advice(one)}", err=True)
        else:
            line.say(f"mended {place}: {one.text}: {one.remedy}")
    if not left:
        line.say(f"{click.style('ok  ', fg='green')}   {root.name}")
    return left


def _mend(where: Paths, one: Damage) -> None:
    assert one.mend is not None
    if one.privileged:
        one.mend()
        return
    with rights.of_owner(where.maildirs):
        one.mend()


def _advice(one: Damage) -> str:
    return "; run this as root" if one.privileged and os.geteuid() != 0 else ""
