"""`lanmail group`: addresses whose mail goes to several people."""

import contextlib
import os
from collections.abc import Iterator

import click

from lanmail import accounts, address, conffile, config, envelope, groups, names, posting, schema
from lanmail.accounts import Directory
from lanmail.administration import grouping, naming, renaming
from lanmail.cli import command, values
from lanmail.errors import MailError
from lanmail.groups import Group
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Addresses whose mail goes to several people.")
def group() -> None:
    """Groups: NAME@ reaches all members, which are accounts, aliases, other groups or addresses elsewhere.

    They stand in conf/groups.toml, which may be edited by hand as well; changes count at once. The group `everyone`
    has all people of the office as members.
    """


@group.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all groups."""
    found = groups.load(where.groups)
    if as_json:
        command.print_json([{"name": name} | one.model_dump(mode="json") for name, one in found.items()])
        return
    rows = [[name, _members_in_words(one), posting.sentence(one), one.owner or "postmaster"]
            for name, one in sorted(found.items())]
    command.print_table(["GROUP", "MEMBERS", "WHO MAY WRITE", "OWNER"], rows,
                        "no groups; make one: lanmail group add NAME MEMBER...")


def _members_in_words(one: Group) -> str:
    everyone = ["all people"] if one.name == names.EVERYONE else []
    return ", ".join([*everyone, *one.members]) or "nobody"


@group.command()
@click.argument("name")
@command.json_option
@command.rooted
def show(where: Paths, name: str, as_json: bool) -> None:
    """Show one group: its addresses and settings, and who is in it in the end."""
    directory = _directory(where)
    one = _existing(where, name)
    shown = {"name": one.name, "addresses": grouping.addresses(command.settings_of(where), one),
             **one.model_dump(mode="json"), **grouping.reached(directory, one)}
    if as_json:
        command.print_json(shown)
        return
    for key, value in shown.items():
        click.echo(f"{key.replace('_', ' '):<16} {values.words(value)}")


@group.command()
@click.argument("name")
@click.argument("members", metavar="[MEMBER...]", nargs=-1)
@click.option("--may-post", metavar="WHO", help="anyone, local, members, or accounts, groups and addresses.")
@command.rooted
def add(where: Paths, name: str, members: tuple[str, ...], may_post: str | None) -> None:
    """Make a group; `everyone` needs no members."""
    directory = _directory(where)
    folded = name.lower()
    if not members and folded != names.EVERYONE and not names.group_problem(name):
        command.fail(f"who is in it? lanmail group add {folded} MEMBER...", os.EX_USAGE)
    with _told():
        wanted = grouping.reachable(directory, map(grouping.parsed, members))
        grouping.create(where, directory, name, {"members": wanted})
    if may_post is not None:
        values.change(Group, where.groups, "may_post", [may_post], (folded,))
    one = groups.load(where.groups)[folded]
    click.echo(f"group {folded} made: {one.address_in(directory.domain)} reaches {_members_in_words(one)}")
    click.echo(f"{posting.sentence(one)} may write to it")
    _warn(where)


@group.command("set", short_help="Change settings of a group.")
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@command.rooted
def set_(where: Paths, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of a group: may_post=members, subject_tag="[Sales]", reply_to=group, owner=meier.

    KEY= without a value takes the setting away, so that the default counts again.
    """
    one = _existing(where, name)
    written = groups.written(conffile.read(where.groups), name) or one.name
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            command.fail(f"'{setting}' is not KEY=VALUE", os.EX_USAGE)
        value = values.change(Group, where.groups, key, [text] if text else [], (written,))
        click.echo(f"{one.name}: {key} = {schema.toml(value)}" if text else f"{one.name}: {key} has its default")
    _warn(where)


@group.command("add-member")
@click.argument("name")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@command.rooted
def add_member(where: Paths, name: str, members: tuple[str, ...]) -> None:
    """Add members to a group."""
    with _told():
        one = grouping.add_members(where, _directory(where), name, members)
    click.echo(f"group {one.name}: {', '.join(one.members)}")
    _warn(where)


@group.command("remove-member")
@click.argument("name")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@command.rooted
def remove_member(where: Paths, name: str, members: tuple[str, ...]) -> None:
    """Take members out of a group."""
    command.settings_of(where)
    with _told():
        one = grouping.remove_members(where, name, members)
    click.echo(f"group {one.name}: {', '.join(one.members) or 'nobody'}")


@group.command()
@click.argument("name")
@command.rooted
def remove(where: Paths, name: str) -> None:
    """Remove a group."""
    command.settings_of(where)
    with _told():
        gone = grouping.remove(where, name)
    click.echo(f"group {gone} removed")
    for line in naming.left(where, gone):
        click.echo(line)


@group.command()
@click.argument("name")
@click.argument("new", metavar="NEW-NAME")
@click.option("--no-alias", is_flag=True, help="Mail to the old name is refused from then on.")
@command.rooted
def rename(where: Paths, name: str, new: str, no_alias: bool) -> None:
    """Give a group another name: what names it in groups, aliases, forwards, team mailboxes and folders follows.

    The old name becomes an alias, so that mail to it still arrives.
    """
    loaded = command.settings_of(where)
    with _told():
        told = renaming.rename_group(where, loaded, name, new, alias=not no_alias)
    one = _existing(where, new)
    click.echo(f"group {name.lower()} is {one.name} now: {', '.join(grouping.addresses(loaded, one))}")
    for line in told:
        click.echo(f"  {line}")
    _warn(where)


@group.command()
@click.argument("recipient", metavar="ADDRESS")
@click.option("--account", "name", metavar="NAME", help="As if this account, logged in, wrote to it.")
@click.option("--sender", metavar="ADDRESS", help="As if a mail of this sender came from outside.")
@command.json_option
@command.rooted
def test(where: Paths, recipient: str, name: str | None, sender: str | None, as_json: bool) -> None:
    """Say who would get a mail to ADDRESS, and who may write to it; nothing is sent.

    With --account or --sender, say what would become of a mail from there: exit code 1 when it is refused.
    """
    directory = _directory(where)
    found = directory.resolve(_address(directory, recipient))
    if not found.groups:
        command.fail(f"'{recipient}' leads to no group{grouping.guess(recipient, directory.groups())}", os.EX_NOUSER)
    origin, author = _writer(directory, name, sender)
    told = []
    for one in filter(None, map(directory.group, found.groups)):
        verdict = _verdict(directory, one, origin, author) if origin is not None else None
        told.append({"group": one.name, **grouping.reached(directory, one), "who_may_write": posting.sentence(one),
                     **({"a_mail_from_there": verdict} if verdict else {})})
    if as_json:
        command.print_json(told)
    for entry in [] if as_json else told:
        for key, value in entry.items():
            click.echo(f"{key.replace('_', ' '):<18} {values.words(value)}")
    if any(str(entry.get("a_mail_from_there", "")).startswith("5") for entry in told):
        raise SystemExit(1)


def _writer(directory: Directory, name: str | None,
            sender: str | None) -> tuple[envelope.Origin | None, address.Address | None]:
    """How the mail would have come in, and its sender."""
    if name is not None:
        if directory.account(name) is None:
            command.fail(f"there is no account '{name}'{grouping.guess(name, directory.names())}", os.EX_NOUSER)
        origin = envelope.Origin("submission", (("account", name.lower()),))
        return origin, address.Address(name.lower(), directory.domain)
    if sender is not None:
        return envelope.Origin("mx"), _address(directory, sender) if sender not in ("", "<>") else None
    return None, None


def _verdict(directory: Directory, one: Group, origin: envelope.Origin, sender: address.Address | None) -> str:
    try:
        return f"goes to the {posting.readers(directory, one, origin, sender)}"
    except MailError as error:
        return str(error)


def _directory(where: Paths) -> Directory:
    loaded = command.settings_of(where)
    return accounts.Directory(where, lambda: loaded)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Ends with 67 when nobody has a name, with 65 for what cannot be done else."""
    try:
        yield
    except grouping.Refused as refused:
        command.fail(str(refused), os.EX_NOUSER if isinstance(refused, grouping.Unknown) else os.EX_DATAERR)


def _existing(where: Paths, name: str) -> Group:
    """A group there is; ends with 67 when there is none."""
    command.settings_of(where)  # tells what is wrong with the configuration as a whole
    with _told():
        return grouping.find(where, name)


def _address(directory: Directory, text: str) -> address.Address:
    try:
        return address.parse(text if "@" in text else f"{text}@{directory.domain}")
    except ValueError as error:
        command.fail(f"'{text}' is not an address: {error}", os.EX_DATAERR)


def _warn(where: Paths) -> None:
    """What `lanmail config check` would say about groups."""
    for problem in config.check(where):
        if problem.file == str(where.groups):
            click.echo(f"warning: {problem.text}", err=True)
