"""`lanmail group`: addresses whose mail goes to several people."""

import contextlib
import difflib
import os
from typing import Any

import click

from lanmail import accounts, address, conffile, config, envelope, groups, names, posting, schema, units
from lanmail.accounts import Directory
from lanmail.cli import command, naming, values
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
    one = _existing(where, name)[0]
    loaded = command.settings_of(where)
    domains = [domain for domain in (loaded.server.domain, *loaded.server.extra_domains) if one.exists_in(domain)]
    shown = {"name": one.name, "addresses": [f"{one.name}@{domain}" for domain in domains],
             **one.model_dump(mode="json"), **_reached(directory, one)}
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
    reason = names.group_problem(name)
    if not reason:
        taken = {**dict.fromkeys(directory.names(), "an account"), **dict.fromkeys(directory.groups(), "a group"),
                 **{local: "an alias" for local, domain in config.load_aliases(where.aliases) if not domain}}
        reason = f"there is {taken[folded]} '{folded}' already" if folded in taken else None
    if reason:
        command.fail(reason, os.EX_DATAERR)
    if not members and folded != names.EVERYONE:
        command.fail(f"who is in it? lanmail group add {folded} MEMBER...", os.EX_USAGE)
    with contextlib.suppress(FileExistsError):
        config.create(where.groups, groups.TITLE)
    wanted = _checked(directory, members)
    config.edit(where.groups, {(folded, "members"): wanted})
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
    one, written = _existing(where, name)
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
    one, written = _existing(where, name)
    wanted = [*_as_written(where, written), *_checked(_directory(where), members, one.members)]
    config.edit(where.groups, {(written, "members"): wanted})
    click.echo(f"group {one.name}: {', '.join(wanted)}")
    _warn(where)


@group.command("remove-member")
@click.argument("name")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@command.rooted
def remove_member(where: Paths, name: str, members: tuple[str, ...]) -> None:
    """Take members out of a group."""
    one, written = _existing(where, name)
    unwanted = {_parsed(member).lower(): member for member in members}
    missing = [unwanted[key] for key in unwanted if key not in [member.lower() for member in one.members]]
    if missing:
        command.fail(f"{', '.join(missing)}: not a member of {one.name}; it has {', '.join(one.members) or 'none'}",
                     os.EX_NOUSER)
    left = [text for text in _as_written(where, written) if _parsed(text).lower() not in unwanted]
    config.edit(where.groups, {(written, "members"): left})
    click.echo(f"group {one.name}: {', '.join(left) or 'nobody'}")


@group.command()
@click.argument("name")
@command.rooted
def remove(where: Paths, name: str) -> None:
    """Remove a group."""
    one, written = _existing(where, name)
    config.edit(where.groups, {(written,): None})
    click.echo(f"group {one.name} removed")
    for line in naming.left(where, one.name):
        click.echo(line)


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
        command.fail(f"'{recipient}' leads to no group{_guess(recipient, directory.groups())}", os.EX_NOUSER)
    origin, author = _writer(directory, name, sender)
    told = []
    for one in filter(None, map(directory.group, found.groups)):
        verdict = _verdict(directory, one, origin, author) if origin is not None else None
        told.append({"group": one.name, **_reached(directory, one), "who_may_write": posting.sentence(one),
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
            command.fail(f"there is no account '{name}'{_guess(name, directory.names())}", os.EX_NOUSER)
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


def _reached(directory: Directory, one: Group) -> dict[str, Any]:
    """Who is in it in the end, and what an administrator should mend."""
    members = directory.members(one.name)
    here = dict(members.accounts) | (dict.fromkeys(directory.people()) if members.everyone else {})
    owner = directory.resolve(address.Address(f"{one.name}{groups.OWNER}", one.address_in(directory.domain).domain))
    found: dict[str, Any] = {
        "accounts": list(here), "outside": [str(each) for each in members.external],
        "groups_in_it": [name for name in members.groups if name != one.name],
        "owner_is": [*owner.accounts, *map(str, owner.external), *owner.groups],
    }
    if members.unknown:
        found["unknown"] = members.unknown
    if members.rings:
        found["in_a_ring"] = members.rings
    return found


def _directory(where: Paths) -> Directory:
    loaded = command.settings_of(where)
    return accounts.Directory(where, lambda: loaded)


def _existing(where: Paths, name: str) -> tuple[Group, str]:
    """A group there is, and how its table is spelled; ends with 67 when there is none."""
    command.settings_of(where)  # tells what is wrong with the configuration as a whole
    found = groups.load(where.groups)
    one = found.get(name.lower())
    if one is None:
        command.fail(f"there is no group '{name}'{_guess(name, found)}", os.EX_NOUSER)
    return one, groups.written(conffile.read(where.groups), name) or one.name


def _as_written(where: Paths, written: str) -> list[str]:
    return list(conffile.read(where.groups).data[written].get("members", []))


def _checked(directory: Directory, members: tuple[str, ...], present: list[str] | None = None) -> list[str]:
    """New members, as they will stand in the file."""
    known = [text.lower() for text in present or []]
    wanted = []
    for member in members:
        target = _parsed(member)
        local, domain = names.alias_target(target)
        if not directory.reaches(local, domain):
            candidates = [*directory.names(), *directory.groups()]
            command.fail(f"there is no account, alias or group '{member}'{_guess(local, candidates)}", os.EX_NOUSER)
        if target.lower() not in known:
            known.append(target.lower())
            wanted.append(target)
    return wanted


def _parsed(member: str) -> str:
    try:
        return units.forward_to(member)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)


def _address(directory: Directory, text: str) -> address.Address:
    try:
        return address.parse(text if "@" in text else f"{text}@{directory.domain}")
    except ValueError as error:
        command.fail(f"'{text}' is not an address: {error}", os.EX_DATAERR)


def _guess(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name.partition("@")[0].lower(), list(known), 1, 0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _warn(where: Paths) -> None:
    """What `lanmail config check` would say about groups."""
    for problem in config.check(where):
        if problem.file == str(where.groups):
            click.echo(f"warning: {problem.text}", err=True)
