"""What an import or export did, folder by folder."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lanmail import printable
from lanmail.cli import command, values
from lanmail.cli.mailbox.progress import Progress

_SHOWN = 10


@dataclass(slots=True)
class Count:
    """One folder: where from, where to, and how many messages were copied, were there already, or could not be had."""

    source: str
    target: str
    copied: int = 0
    there: int = 0
    failed: int = 0
    octets: int = 0


def tell(counts: Iterable[Count], problems: list[str], line: Progress, *, dry_run: bool, as_json: bool) -> None:
    """The table, or JSON, and what went wrong."""
    line.clear()
    found = [one for one in counts if one.copied or one.there or one.failed]
    if as_json:
        command.print_json({"folders": [_data(one) for one in found], "problems": problems, "dry_run": dry_run})
        return
    rows = [[printable.line(one.source, "·"), one.target, str(one.copied), str(one.there), str(one.failed),
             values.size(one.octets)] for one in found]
    head = ["FOLDER", "INTO", "WOULD COPY" if dry_run else "COPIED", "THERE", "FAILED", "SIZE"]
    command.print_table(head, rows, "no mail found", right=(2, 3, 4, 5))
    for text in problems[:_SHOWN]:
        line.say(f"lanmail: {printable.line(text, '·')}", err=True)
    if len(problems) > _SHOWN:
        line.say(f"lanmail: … and {len(problems) - _SHOWN} more problems", err=True)


def _data(one: Count) -> dict[str, Any]:
    return dataclasses.asdict(one)
