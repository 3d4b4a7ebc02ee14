"""`lanmail mailbox acl`: who may do what in the folders of an account."""

import os
from collections.abc import Iterator
from typing import Any

import click

from lanmail import maildir
from lanmail.cli import command
from lanmail.cli.mailbox import home
from lanmail.folders import acl
from lanmail.folders.shares import Shares
from lanmail.paths import Paths
from lanmail.settings import Account

_BY_MEMBERSHIP = "members"


@click.command("acl", short_help="Show or change who may do what in the folders of an account.")
@click.argument("account")
@click.argument("folder", required=False)
@click.option("--set", "given", nargs=2, metavar="WHO RIGHTS", help="Give WHO these rights in FOLDER, and no others.")
@click.option("--remove", metavar="WHO", help="Take the line of WHO away from FOLDER.")
@command.json_option
@command.rooted
def show(where: Paths, account: str, folder: str | None, given: tuple[str, str] | None, remove: str | None,
         as_json: bool) -> None:
    """Show who may do what in the folders of ACCOUNT, or in one; or change it.

    WHO is an account, group:NAME, anyone or owner; with - in front it is what they must not do. RIGHTS are letters: l
    see the folder, r read, s mark as read, w other flags, t mark as deleted, i put mail in, e expunge, k make folders
    below, x remove the folder, a change rights (RFC 4314); "" is none. Changes count at once.
    """
    loaded = command.settings_of(where)
    root, shares = home.of(where, account), Shares(where, lambda: loaded)
    if given or remove:
        if folder is None or (given and remove):
            command.fail("name one folder, and either --set or --remove", os.EX_USAGE)
        command.become_owner_of(where.maildirs)
        _change(shares, root.name, home.folder(root, folder), given, remove)
    if not root.is_dir():
        command.fail(f"{root.name} has no Maildir yet; the first mail or log-in makes it", os.EX_NOINPUT)
    folders = [home.folder(root, folder)] if folder else maildir.folders(str(root))
    owner = shares.account(root.name)
    found = [line for one in folders for line in _lines(str(root), one, owner)]
    if as_json:
        command.print_json(found)
        return
    rows = [[line["folder"], line["who"], line["rights"] or "none", line["from"]] for line in found]
    command.print_table(["FOLDER", "WHO", "RIGHTS", "FROM"], rows, f"{root.name} shares nothing")


def _change(shares: Shares, owner: str, folder: str, given: tuple[str, str] | None, remove: str | None) -> None:
    try:
        if given:
            shares.grant(owner, folder, _who(given[0]), acl.letters(given[1]))
        elif remove:
            acl.change(maildir.path_of(shares.root(owner), folder), _who(remove), acl.NONE)
            shares.renew(owner)
    except ValueError as error:  # acl.Broken, too
        command.fail(str(error), os.EX_DATAERR)


def _who(text: str) -> acl.Entry:
    sign, bare = ("-", text[1:]) if text.startswith("-") else ("", text)
    return acl.identifier(sign + ("$" + bare.removeprefix("group:") if bare.startswith("group:") else bare))


def _lines(root: str, folder: str, owner: Account | None) -> Iterator[dict[str, Any]]:
    """What stands in the folder's file, then the members of a team mailbox of whom it says nothing."""
    try:
        own = acl.read(maildir.path_of(root, folder)) or ()
    except acl.Broken as error:
        yield {"folder": folder, "who": "nobody but the owner", "rights": "", "from": f"{acl.NAME}, {error}"}
        return
    for entry in own:
        yield _line(folder, entry, acl.NAME)
    named = {entry.key for entry in own}
    for entry in acl.members(owner) if owner is not None and owner.shared else ():
        if entry.key not in named:
            yield _line(folder, entry, _BY_MEMBERSHIP)


def _line(folder: str, entry: acl.Entry, source: str) -> dict[str, Any]:
    who = f"{entry.kind}:{entry.name}" if entry.kind.startswith("group") else entry.name or entry.kind
    return {"folder": folder, "who": ("-" if entry.negative else "") + who, "rights": acl.ordered(entry.rights),
            "from": source}
