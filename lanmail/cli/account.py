"""`lanmail account`: who has a mailbox here."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from lanmail import config, passwords, schema, units
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.administration import enrolment, naming, renaming
from lanmail.cli import command, values
from lanmail.errors import ConfigError
from lanmail.paths import Paths
from lanmail.settings import Account

_YES = (["true"], ["yes"], ["on"])


@click.group(cls=command.Group, short_help="Add, change, list and remove accounts.")
def account() -> None:
    """Accounts: each is a mailbox, an address NAME@DOMAIN and a log-in.

    One file each, conf/accounts/NAME.toml, which may be edited by hand as well; changes count at once.
    """


@account.command()
@click.argument("name")
@click.option("--full-name", default="", help="The person's name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of making one.")
@click.option("--team", metavar="MEMBERS", help="Make a team mailbox without a log-in: meier,group:sales.")
@click.option("--postmaster", is_flag=True, help="Make this account the postmaster instead of the present one.")
@command.rooted
def add(where: Paths, name: str, full_name: str, password_stdin: bool, team: str | None, postmaster: bool) -> None:
    """Make an account and its Maildir.

    Without --password-stdin a password is made and printed, this one time. The first account becomes postmaster.
    """
    loaded = command.settings_of(where)
    password = ""
    given: dict[str, Any] = {}
    if team is not None:
        given = _team(team)
    elif (reason := Directory(where, lambda: loaded).valid_name(name)) is None:
        password = read_password() if password_stdin else passwords.generate()
    else:
        command.fail(reason, os.EX_DATAERR)
    if full_name:
        given["full_name"] = full_name
    try:
        name = enrolment.create(where, loaded, name, given, password)
    except enrolment.Refused as error:
        command.fail(str(error), os.EX_DATAERR)
    click.echo(f"account {name} made: {', '.join(enrolment.addresses(loaded, name))}")
    if password and not password_stdin:
        click.echo(f"password: {password}   (shown this once)")
    click.echo(f"mail in {where.maildirs / name}")
    if postmaster or (team is None and not enrolment.others(where, loaded, name)):
        click.echo(make_postmaster(where, name))
    elif Directory(where, lambda: loaded).postmaster() is None:
        click.echo(f"nobody is postmaster; make somebody: lanmail account set {name} postmaster=true")


def _team(members: str) -> dict[str, Any]:
    try:
        return {"shared": True, "members": [units.member(one.strip()) for one in members.split(",") if one.strip()]}
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)


@account.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all accounts."""
    loaded = command.settings_of(where)
    found: list[dict[str, Any]] = []
    for path in config.account_files(where):
        try:
            read = config.load_account(path, loaded.account_defaults)
        except ConfigError as error:
            found.append({"name": path.stem, "problem": str(error)})
        else:
            found.append({"name": path.stem} | read.model_dump(mode="json", exclude={"password", "scram"}))
    if as_json:
        command.print_json(found)
        return
    rows = [[entry["name"], entry.get("full_name", ""), _notes(entry)] for entry in found]
    command.print_table(["NAME", "FULL NAME", "NOTES"], rows, "no accounts yet; make one: lanmail account add NAME")


def _notes(entry: dict[str, Any]) -> str:
    if "problem" in entry:
        return f"broken: {entry['problem'].splitlines()[0]}"
    notes = [word for word in ("postmaster", "disabled") if entry[word]]
    if entry["shared"]:
        notes.append(f"team of {', '.join(entry['members']) or 'nobody'}")
    return ", ".join(notes)


@account.command()
@click.argument("name")
@command.json_option
@command.rooted
def show(where: Paths, name: str, as_json: bool) -> None:
    """Show one account: its addresses, settings and places."""
    loaded = command.settings_of(where)
    path = existing(where, name)
    read = config.load_account(path, loaded.account_defaults)
    aliases = config.load_aliases(where.aliases)
    directory = Directory(where, lambda: loaded)
    pointing = [
        f"{local}@{domain}" if domain else local
        for (local, domain), targets in aliases.items()
        if any(target.lower() == read.name for target, host in targets if not host)
    ]
    shown = read.model_dump(mode="json", by_alias=True, exclude={"password", "scram"}) | {
        "name": read.name,
        "password": "set" if read.password else "none (no log-in)",
        "addresses": enrolment.addresses(loaded, read.name),
        "aliases": sorted(pointing),
        "member_of": [one for one in directory.groups() if directory.holds(one, read)],
        "file": str(path),
        "maildir": str(where.maildirs / read.name),
    }
    if as_json:
        command.print_json(shown)
        return
    order = ["name", "full_name", "addresses", "aliases", "member_of"]
    for key in [*order, *(key for key in shown if key not in order and not isinstance(shown[key], dict))]:
        click.echo(f"{key.replace('_', ' '):<18} {values.words(shown[key])}")
    for line in values.sections(shown, Account(name=read.name).model_dump(mode="json", by_alias=True)):
        click.echo(line)


@account.command(short_help="Change the password.")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of making one.")
@command.rooted
def passwd(where: Paths, name: str, password_stdin: bool) -> None:
    """Change the password; without --password-stdin a new one is made and printed, this one time."""
    path = existing(where, name)
    password = read_password() if password_stdin else passwords.generate()
    if problem := enrolment.set_password(where, command.settings_of(where), path.stem, password):
        click.echo(f"no SCRAM with this password: {problem}", err=True)
    click.echo(f"password of {path.stem} changed")
    if not password_stdin:
        click.echo(f"password: {password}   (shown this once)")


@account.command("set", short_help="Change settings of an account.")
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@command.rooted
def set_(where: Paths, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of an account: full_name="Eva Meier", disabled=true, services=imap,smtp.

    Keys of sections are written with a dot: forward.to=eva@example.org, autoresponder.enabled=yes. Lists have commas or
    semicolons between their items; autoresponder.text=@FILE takes the text from a file, or from standard input (-).
    All settings count at once, or none if one is wrong.

    KEY= without a value takes the setting away, so that the default counts again. postmaster=true moves the
    postmaster from the account that has it.
    """
    path = existing(where, name)
    given: dict[str, list[str]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            command.fail(f"'{setting}' is not KEY=VALUE", os.EX_USAGE)
        if key in ("password", "scram"):
            command.fail("passwords are not given on the command line; use: lanmail account passwd", os.EX_USAGE)
        given[key] = [text] if text else []
    moved = given.pop("postmaster", None) if given.get("postmaster") in _YES else None
    for key, written in (values.changes(Account, path, given) if given else {}).items():
        has = f"{key} = {_short(schema.toml(written))}" if given[key] else f"{key} has its default"
        click.echo(f"{path.stem}: {has}")
    if moved:
        click.echo(make_postmaster(where, path.stem))
    elif "postmaster" in given and Directory(where, lambda: command.settings_of(where)).postmaster() is None:
        click.echo("nobody is postmaster now; make somebody: lanmail account set NAME postmaster=true")


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:99]}…"


@account.command(short_help="Give an account another name.")
@click.argument("name")
@click.argument("new", metavar="NEW-NAME")
@click.option("--no-alias", is_flag=True, help="Mail to the old name is refused from then on.")
@command.rooted
def rename(where: Paths, name: str, new: str, no_alias: bool) -> None:
    """Give an account another name: its mail, settings and rights move, and what names it names it anew.

    Groups, aliases, forwards, team mailboxes and API keys are changed. The old name becomes an alias, so that mail to
    it still arrives; mail programs have to log in with the new one. What was archived stays under the old name.
    """
    loaded = command.settings_of(where)
    try:
        told = renaming.rename(where, loaded, name.lower(), new, alias=not no_alias)
    except enrolment.Refused as error:
        command.fail(str(error), os.EX_DATAERR)
    click.echo(f"account {name.lower()} is {new.lower()} now: {', '.join(enrolment.addresses(loaded, new.lower()))}")
    for line in told:
        click.echo(f"  {line}")


@account.command(short_help="Remove an account, with its mail or without.")
@click.argument("name")
@click.option("--delete-mail", is_flag=True, help="Delete the Maildir, too.")
@click.option("--archive-mail", is_flag=True, help="Put its mail into the archive, then delete the Maildir.")
@click.option("--force", is_flag=True, help="Remove even the postmaster.")
@command.rooted
def remove(where: Paths, name: str, delete_mail: bool, archive_mail: bool, force: bool) -> None:
    """Remove an account; its mail stays unless --delete-mail or --archive-mail is given."""
    path = existing(where, name)
    if enrolment.is_postmaster(path) and not force:
        command.fail(
            f"{path.stem} is the postmaster, who gets undeliverable mail; first make another one: lanmail account set "
            "NAME postmaster=true (or remove it all the same with --force)",
            os.EX_DATAERR,
        )
    there = (where.maildirs / path.stem).is_dir()
    into = Address(path.stem, command.settings_of(where).server.domain) if archive_mail else None
    maildir = enrolment.remove(where, path.stem, delete_mail=delete_mail, archived_as=into)
    click.echo(f"account {path.stem} removed")
    for line in naming.left(where, path.stem):
        click.echo(line)
    if there:
        told = "mail on its way into the archive, and deleted" if archive_mail else "mail deleted"
        click.echo(f"{told}: {maildir}" if delete_mail or archive_mail else f"its mail stays in {maildir}")


def read_password() -> str:
    """One password from standard input: asked for twice on a terminal, else the first line."""
    if sys.stdin.isatty():
        password = str(click.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        try:
            password = sys.stdin.buffer.readline(4096).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            command.fail("the password on standard input is not UTF-8", os.EX_DATAERR)
    if not password:
        command.fail("the password is empty", os.EX_DATAERR)
    return password


def existing(where: Paths, name: str) -> Path:
    """The file of an account that exists; ends with 67 when there is none."""
    path = enrolment.find(where, name)
    if path is None:
        if not where.config_file.exists():
            command.settings_of(where)  # says that there is no configuration at all
        command.fail(f"there is no account '{name}'", os.EX_NOUSER)
    return path


def make_postmaster(where: Paths, name: str) -> str:
    """Move the postmaster; the sentence that tells it."""
    before = enrolment.make_postmaster(where, name)
    was = f"; {', '.join(before)} no longer is" if before else ""
    return f"{name} is now postmaster and gets mail to postmaster and abuse{was}"
