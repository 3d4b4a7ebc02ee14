"""`lanmail mailbox quota`: how much mail each account has, and how much it may have."""

from pathlib import Path
from typing import Any

import click

from lanmail import config, maildir
from lanmail.cli import command, values
from lanmail.cli.mailbox import home
from lanmail.errors import ConfigError
from lanmail.folders import quota
from lanmail.folders.quota import Limits, Usage
from lanmail.paths import Paths


@click.command("quota", short_help="Tell how much mail accounts have, and how much they may have.")
@click.argument("account", required=False)
@command.json_option
@command.rooted
def quota_(where: Paths, account: str | None, as_json: bool) -> None:
    """Tell how much mail each account has and may have, or how much lies in each folder of ACCOUNT.

    Sizes are those on disk, which is what counts. Set a limit with: lanmail account set NAME quota=2GB
    """
    if account is None:
        _accounts(where, as_json)
    else:
        _folders(home.of(where, account), as_json)


def _accounts(where: Paths, as_json: bool) -> None:
    found = [(root.name, _usage(root), _limits(where, root.name)) for root, _ in home.all_of(where)]
    if as_json:
        command.print_json([{"account": name, **_data(usage), "limit_octets": limits.octets or None,
                             "limit_messages": limits.messages or None, "percent": _percent(limits, usage)}
                            for name, usage, limits in found])
        return
    rows = [[name, values.size(usage.octets), values.size(limits.octets) if limits.octets else "-",
             str(usage.messages), str(limits.messages or "-"),
             f"{limits.percent(usage)}%" if limits else "", _note(limits, usage)] for name, usage, limits in found]
    command.print_table(["ACCOUNT", "SIZE", "LIMIT", "MESSAGES", "LIMIT", "USED", "NOTES"], rows,
                        "no accounts yet; make one: lanmail account add NAME", right=(1, 2, 3, 4, 5))


def _folders(root: Path, as_json: bool) -> None:
    names = maildir.folders(str(root)) if root.is_dir() else []
    found = [(name, quota.inside(maildir.path_of(str(root), name))) for name in names]
    if as_json:
        command.print_json([{"folder": name, **_data(usage)} for name, usage in found])
        return
    # the largest first: that is where room can be made
    found.sort(key=lambda pair: -pair[1].octets)
    rows = [[name, values.size(usage.octets), str(usage.messages)] for name, usage in found]
    command.print_table(["FOLDER", "SIZE", "MESSAGES"], rows,
                        f"{root.name} has no Maildir yet; the first mail or log-in makes it", right=(1, 2))


def _usage(root: Path) -> Usage:
    return quota.Meter().of(str(root), exact=True) if root.is_dir() else Usage()


def _limits(where: Paths, name: str) -> Limits:
    path = where.accounts / f"{name}.toml"
    try:
        return Limits.of(config.load_account(path, command.settings_of(where).account_defaults))
    except ConfigError:
        return Limits(0, 0)  # no account, or a broken file, which `config check` tells


def _percent(limits: Limits, usage: Usage) -> int | None:
    return limits.percent(usage) if limits else None


def _data(usage: Usage) -> dict[str, Any]:
    return {"octets": usage.octets, "messages": usage.messages}


def _note(limits: Limits, usage: Usage) -> str:
    return "full: nothing more comes in" if limits and limits.full(usage) else ""
