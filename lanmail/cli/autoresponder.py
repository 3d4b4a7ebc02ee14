"""`lanmail autoresponder`: who answers mail by himself, what he says, and why a mail is answered or not."""

import email
import email.policy
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from lanmail import address, conffile, config, envelope, names, period, printable
from lanmail.accounts import Directory
from lanmail.autoanswer import letter, memory, trial
from lanmail.cli import command, values
from lanmail.cli.account import existing
from lanmail.conffile import Key
from lanmail.errors import ConfigError
from lanmail.paths import Paths
from lanmail.settings import Account, Settings


@click.group(cls=command.Group, short_help="Answer mail automatically; see why a mail is answered or not.")
def autoresponder() -> None:
    """Autoresponders: an account answers mail by itself, and may forward all mail meanwhile.

    The settings stand in the section [autoresponder] of conf/accounts/NAME.toml, which may be edited by hand as well;
    changes count at once. People switch their own one by mail, too: LMS Autoresponder on, LMS Autoresponder off.
    """


@autoresponder.command(short_help="Show all autoresponders, or one with all its settings.")
@click.argument("name", required=False)
@command.json_option
@command.rooted
def show(where: Paths, name: str | None, as_json: bool) -> None:
    """Show whose autoresponder is on, or all that is set for one account, and whom it answered last."""
    loaded = command.settings_of(where)
    if name is None:
        _list(where, loaded, as_json)
        return
    account = _account(where, loaded, name)
    answers = memory.of(where, account.name).answers()
    shown = {"account": account.name, "state": _state(account), **account.autoresponder.model_dump(mode="json")}
    last = answers[:-11:-1]
    if as_json:
        command.print_json({**shown, "answers": len(answers),
                            "last": [{"to": one.to, "at": one.at, "id": one.id} for one in last]})
        return
    text = shown.pop("text")
    for key, value in shown.items():
        click.echo(f"{key.replace('_', ' '):<18} {values.words(value)}")
    click.echo(f"{'answers':<18} {len(answers)} remembered" + ("; the last ones:" if last else ""))
    for one in last:
        click.echo(f"  {_clock(one.at)}  {printable.line(one.to)}  ({printable.line(one.id)})")
    click.echo(f"\n{_printable(text)}" if text else "\nno text: nothing is answered")


def _list(where: Paths, loaded: Settings, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    for path in config.account_files(where):
        try:
            account = config.load_account(path, loaded.account_defaults)
        except ConfigError as error:
            click.echo(f"lanmail: {error}", err=True)
            continue
        own = account.autoresponder
        if own.enabled:
            found.append({"account": account.name, "state": _state(account), "from": own.from_, "until": own.until,
                          "subject": own.subject, "forward": own.forward, "keep": own.keep})
    if as_json:
        command.print_json(found)
        return
    rows = [[one["account"], one["state"], one["from"] or "-", one["until"] or "-",
             one["subject"] or "Re: …", ", ".join(one["forward"]) or "-"] for one in found]
    command.print_table(["ACCOUNT", "STATE", "FROM", "UNTIL", "SUBJECT", "FORWARD"], rows,
                        "no autoresponder is on; switch one on: lanmail autoresponder on NAME --text TEXT")


def _state(account: Account) -> str:
    own, now = account.autoresponder, time.time()
    if not own.enabled:
        return "off"
    if now < own.period.begin:
        return "not yet"
    return "on" if own.active(now) else "over"


@autoresponder.command(short_help="Switch an autoresponder on, or change it.")
@click.argument("name")
@click.option("--text", help="What the answer says; placeholders like [SUBJECT], [FROMNAME], [UNTIL] are filled in.")
@click.option("--text-file", type=click.File(encoding="utf-8"), help="The same from a file; - is standard input.")
@click.option("--subject", help="Its subject; empty: Re: and the subject of the mail.")
@click.option("--from", "begin", metavar="WHEN", help='From then on: "2026-12-24" or "2026-12-24 12:00".')
@click.option("--until", metavar="WHEN", help="Up to and with then.")
@click.option("--forward", metavar="TARGETS", multiple=True, help="Send all mail there meanwhile; empty: nowhere.")
@click.option("--keep/--no-keep", default=None, help="Whether a copy of forwarded mail stays here.")
@click.option("--once-per", metavar="TIME", help="Answer one sender once in this time, like 1d; 0s: each mail.")
@command.rooted
def on(where: Paths, name: str, text: str | None, text_file: TextIO | None, subject: str | None, begin: str | None,
       until: str | None, forward: tuple[str, ...], keep: bool | None, once_per: str | None) -> None:
    """Switch an autoresponder on, or change it. What is not given stays as it is, but for the period.

    Without --from and --until it is on permanently, whatever period there was.
    """
    loaded = command.settings_of(where)
    account, moments = _account(where, loaded, name), _moments(begin, until)
    if text_file is not None:
        text = _read(text_file)
    targets = [part.strip() for one in forward for part in one.split(";") if part.strip()]
    _check_targets(where, loaded, account, targets)
    if not (text if text is not None else account.autoresponder.text) and not (
            targets if forward else account.autoresponder.forward):
        command.fail("what shall the answer say? Give --text or --text-file (or --forward alone)", os.EX_USAGE)
    given: dict[str, Any] = {"text": text, "subject": subject, "keep": keep, "once_per": once_per,
                             "forward": targets if forward else None, "enabled": True}
    section: dict[str | Key, Any] = {f"autoresponder.{key}": value for key, value in given.items() if value is not None}
    section |= {f"autoresponder.{key}": moment or conffile.Default('""') for key, moment in moments.items()}
    config.edit(existing(where, name), section)
    _say(_account(where, loaded, name), text)


def _moments(begin: str | None, until: str | None) -> dict[str, str]:
    try:
        found = {"from": period.moment(begin or ""), "until": period.moment(until or "")}
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    between = period.of(found["from"], found["until"])
    if between.begin >= between.end:
        command.fail(f"--until {until} lies before --from {begin}", os.EX_DATAERR)
    return found


def _say(account: Account, text: str | None) -> None:
    own = account.autoresponder
    when = " ".join(filter(None, [f"from {own.from_}" if own.from_ else "", f"until {own.until}" if own.until else ""]))
    click.echo(f"autoresponder of {account.name} is on {when or 'permanently'}")
    if own.forward:
        click.echo(f"mail goes on to {', '.join(own.forward)}; {'a' if own.keep else 'no'} copy stays")
    if not own.text:
        click.echo("it has no text: nothing is answered")
    if own.period.end < time.time():
        click.echo(f"warning: {own.until} is over, so it does nothing", err=True)
    if "[UNTIL]" in own.text + own.subject and not own.until:
        click.echo("warning: nothing stands for [UNTIL], for there is no --until", err=True)
    unknown = letter.unknown(text or "") + letter.unknown(own.subject)
    if unknown:
        click.echo(f"warning: {', '.join(unknown)} will be left as it is; there are "
                   f"{' '.join(f'[{one}]' for one in letter.PLACEHOLDERS)}", err=True)


def _read(file: TextIO) -> str:
    try:
        return file.read(1 << 20)
    except UnicodeDecodeError:
        command.fail(f"{file.name} is not UTF-8", os.EX_DATAERR)


def _check_targets(where: Paths, loaded: Settings, account: Account, targets: Iterable[str]) -> None:
    directory = Directory(where, lambda: loaded)
    for target in targets:
        try:
            local, domain = names.alias_target(target)
        except ValueError as error:
            command.fail(str(error), os.EX_DATAERR)
        if not directory.reaches(local, domain):
            command.fail(f"there is no account, alias or group '{target}'", os.EX_NOUSER)
        if account.deny_internet and not directory.is_local(domain):
            command.fail(f"{account.name} may not send to the internet (deny_internet), so not to {target}",
                         os.EX_DATAERR)


@autoresponder.command(short_help="Switch an autoresponder off.")
@click.argument("name")
@command.rooted
def off(where: Paths, name: str) -> None:
    """Switch an autoresponder off. Its text stays for the next time; mail is no longer forwarded because of it."""
    path = existing(where, name)
    was = _account(where, command.settings_of(where), name).autoresponder.enabled
    if was:
        config.edit(path, {"autoresponder.enabled": False})
    click.echo(f"autoresponder of {path.stem} {'is off' if was else 'was off already'}")


@autoresponder.command(short_help="Forget who was answered.")
@click.argument("name")
@click.argument("sender", metavar="[ADDRESS]", required=False)
@command.rooted
def forget(where: Paths, name: str, sender: str | None) -> None:
    """Forget who was answered, or only one sender, so that the next mail is answered again."""
    path = existing(where, name)
    try:
        to = address.parse(sender) if sender else None
    except ValueError as error:
        command.fail(f"{sender}: {error}", os.EX_DATAERR)
    command.become_owner_of(where.state)
    gone = memory.of(where, path.stem).forget(to)
    click.echo(f"{gone} answer(s) of {path.stem} forgotten")


@autoresponder.command(short_help="Say what would happen to a mail, and why.")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
@click.option("--from", "sender", metavar="ADDRESS", help="Envelope sender; <> is none; else Return-Path, else From.")
@click.option("--to", "recipient", metavar="ADDRESS", help="Envelope recipient; else the account's address.")
@click.option("--origin", type=click.Choice(trial.ORIGINS), help="How it came in; else what FILE says, else mx.")
@click.option("--spam", is_flag=True, help="As if the mail counted as spam.")
@click.option("--now", metavar="WHEN", help='As if it were then: "2026-12-24 12:00".')
@command.json_option
@command.rooted
def test(where: Paths, name: str, file: str, sender: str | None, recipient: str | None, origin: str | None,
         spam: bool, now: str | None, as_json: bool) -> int:
    """Say what would happen to a mail that comes now: each guard's verdict, and the answer. Nothing is changed.

    FILE is a message, or a file of a Maildir or spool with its envelope; - is standard input. Exit code 1: no answer.
    """
    loaded = command.settings_of(where)
    account = _account(where, loaded, name)
    with click.open_file(file, "rb") as opened:
        data = opened.read(trial.MOST)
    case = trial.Case(data, sender, recipient, origin, spam, _moment(now))
    try:
        found = trial.run(where, loaded, account, case)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    if as_json:
        command.print_json(trial.data(found))
    else:
        click.echo("\n".join(_lines(found, case.now)))
    return os.EX_OK if found.answer else 1


def _lines(found: trial.Trial, now: float) -> Iterator[str]:
    origin = found.head.origin
    yield (f"from {_path(found.head)} to <{found.head.recipients[0].address}>, came by "
           f"{origin.kind if origin else '?'}, at {_clock(now)}")
    yield "\nIt is not to answer:"
    for one in found.verdicts:
        yield f"  {'yes' if one.why else '-':<4} {one.minds}" + (f": {printable.line(one.why)}" if one.why else "")
    if found.targets:
        yield f"\nforwarded to {', '.join(found.targets)}; {'a' if found.keep else 'no'} copy stays"
    if found.answer is None:
        yield f"\nno answer: {printable.line(found.why)}"
        return
    head, data = found.answer
    yield f"\nanswered, MAIL FROM {_path(head)}, RCPT TO <{head.recipients[0].address}>:\n"
    read = email.message_from_bytes(data, policy=email.policy.default)
    for name in ("From", "To", "Subject", "In-Reply-To", "Auto-Submitted"):
        if name in read:
            yield f"{name}: {printable.line(str(read[name]))}"
    yield f"\n{_printable(read.get_content())}"


def _path(head: envelope.Envelope) -> str:
    return f"<{head.sender or ''}>"


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _printable(text: str) -> str:
    return "\n".join(printable.line(line) for line in text.rstrip("\n").split("\n"))


def _moment(text: str | None) -> float:
    try:
        return trial.moment(text or "")
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)


def _account(where: Paths, loaded: Settings, name: str) -> Account:
    path: Path = existing(where, name)
    return config.load_account(path, loaded.account_defaults)
