"""`lanmail mailbox index`: make the full-text indexes of accounts, or tell how far they are."""

import datetime
import os
import time
from pathlib import Path
from typing import Any

import click

from lanmail.cli import command, values
from lanmail.cli.mailbox import home, progress
from lanmail.paths import Paths
from lanmail.textindex import indexes

_LOOK = 0.2


@click.command(short_help="Make the full-text indexes of accounts, or tell how far they are.")
@click.argument("accounts", metavar="[ACCOUNT]...", nargs=-1)
@click.option("--rebuild", is_flag=True, help="Begin anew instead of adding what is missing.")
@click.option("--status", is_flag=True, help="Only tell how far the indexes are.")
@command.json_option
@command.rooted
def index(where: Paths, accounts: tuple[str, ...], rebuild: bool, status: bool, as_json: bool) -> int:
    """Bring the full-text index of each ACCOUNT up to date, or of all that have mail.

    imapd does so by itself when somebody searches message texts; this is for after a move from another server, so that
    nobody waits. An index is never needed to find something, and may be made anew at any time.
    """
    roots = [home.of(where, name) for name in accounts] or [root for root, _ in home.all_of(where)]
    roots = [root for root in roots if home.is_home(root)]
    command.become_owner_of(where.maildirs)
    own = indexes.Indexes(where.indexes)
    failed = [] if status else [root.name for root in roots if not _fill(own, root, rebuild)]
    found = [_state(own, root.name) for root in roots]
    if as_json:
        command.print_json(found)
    else:
        rows = [[one["account"], str(one["indexed"]), str(one["messages"] or "-"), values.size(one["size"]),
                 _moment(one["written"]), one["state"]] for one in found]
        command.print_table(["ACCOUNT", "INDEXED", "OF", "SIZE", "WRITTEN", "STATE"], rows, "nobody has mail yet",
                            right=(1, 2, 3))
    return os.EX_TEMPFAIL if failed else os.EX_OK


def _fill(own: indexes.Indexes, root: Path, rebuild: bool) -> bool:
    """Have one index filled, and show how it goes."""
    with progress.shown() as line:
        line.what = root.name
        while (process := own.start(indexes.Job(str(root), anew=rebuild))) is None:
            line.what = f"waiting for the index of {own.filling() or 'somebody'}"
            line.look()
            time.sleep(_LOOK)
        line.what = root.name
        try:
            while (code := process.ended(_LOOK)) is None:
                _show(line, own.progress(root.name))
        except BaseException:
            process.stop()
            raise
        if code:
            line.say(f"lanmail: the index of {root.name} could not be made", err=True)
        return not code


def _show(line: progress.Progress, now: indexes.Progress | None) -> None:
    if now is not None and not now.finished:
        line.total, line.octets = now.total, now.octets
        line.step(max(0, now.done - line.done), worked=bool(line.done))


def _state(own: indexes.Indexes, account: str) -> dict[str, Any]:
    """What --json tells of an index."""
    now, size = own.progress(account), own.size(account)
    if own.filling() == account:
        state = "being made"
    elif now is None or not size:
        state, now = "none", None
    else:
        state = "complete" if now.finished else "in part"
    return {"account": account, "state": state, "indexed": now.done if now else 0,
            "messages": now.total if now else None, "size": size, "seconds": now.seconds if now else None,
            "written": own.written(account)}


def _moment(seconds: float | None) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}" if seconds else "-"
