"""`lanmail status`: what runs, what waits, what is wrong; for people and for monitoring."""

import time

import click

from lanmail.accounts import Directory
from lanmail.cli import command, values
from lanmail.monitoring import condition, troubles
from lanmail.monitoring.condition import Condition, Running
from lanmail.paths import Paths

OK, WARNING, BROKEN = 0, 1, 2
_COLOURS = {"fail": "red", "warn": "yellow"}


@click.command(short_help="Show what runs, what waits, and what is wrong.")
@command.json_option
@command.rooted
def status(where: Paths, as_json: bool) -> int:
    """Show how everything is at this moment: programs, waiting mail, external mailboxes, and what is wrong.

    Exit code for monitoring: 0 when all is well, 1 when somebody should look, 2 when mail stands still or soon will.
    `lanmail doctor` looks deeper, at files, rights and the machine.
    """
    loaded = command.settings_of(where)
    seen = condition.Observer(where, lambda: loaded, Directory(where, lambda: loaded)).now()
    wrong = troubles.of(seen, loaded)
    if as_json:
        command.print_json(condition.described(seen) | {"troubles": troubles.described(wrong)})
    else:
        _print(seen)
        for one in wrong:
            click.echo(f"{click.style(one.level, fg=_COLOURS[one.level])}  {one.english}")
    return BROKEN if any(one.level == "fail" for one in wrong) else WARNING if wrong else OK


def _print(seen: Condition) -> None:
    command.print_table(["PROGRAM", "STATE", "SINCE", "LAST SIGN", "CLIENTS", "MEMORY"],
                        [_program(one, seen.at) for one in seen.programs], "", right=(4, 5))
    click.echo()
    rows = [[name, str(one.entries), values.size(one.octets), _span(one.oldest) if one.entries else "-"]
            for name, one in seen.spools.items()]
    command.print_table(["SPOOL", "MAILS", "SIZE", "OLDEST"], rows, "", right=(1, 2))
    words: dict[str, int] = {}
    for one in seen.mailboxes:
        words[one.health.word] = words.get(one.health.word, 0) + 1
    told = ", ".join(f"{many} {word}" for word, many in sorted(words.items())) or "none"
    until = time.strftime("%Y-%m-%d", time.localtime(seen.certificate)) if seen.certificate else "?"
    click.echo(f"\n{seen.accounts} accounts; external mailboxes: {told}; "
               f"disk: {values.size(seen.disk_free)} of {values.size(seen.disk_total)} free; certificate until {until}")


def _program(one: Running, now: float) -> list[str]:
    clients = str(int(one.gauge("connections"))) if one.slots and "connections" in one.slots[0].gauges else "-"
    return [one.name, one.state, time.strftime("%Y-%m-%d %H:%M", time.localtime(one.since)) if one.since else "-",
            f"{_span(now - one.beat)} ago" if one.beat else "-", clients,
            values.size(int(one.gauge("resident_bytes"))) if one.slots else "-"]


def _span(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(0, int(seconds))} s"
