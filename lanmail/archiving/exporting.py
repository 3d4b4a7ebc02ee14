"""What goes with messages that leave the archive for an auditor: names, and the journal lines that prove them."""

import json
from collections.abc import Container, Iterator
from typing import Any

from lanmail.archiving import journal, store
from lanmail.paths import Paths


def name_of(data: dict[str, Any]) -> str:
    """Of the file of a mail line, octet by octet that of the archive: YYYY-MM/NUMBER-ID.eml."""
    form = "" if data["form"] == store.ACCEPTED else f"-{data['form']}"
    return f"{str(data['file'])[:7]}/{data['seq']:08}-{data['id']}{form}.eml"


def lines(where: Paths, chosen: Container[int], ends: list[journal.Line]) -> Iterator[bytes]:
    """The lines of these numbers as they stand in the journal; its last one is put into `ends`."""
    path, last = journal.path(where), None
    with open(path, "rb") as source:
        for one in journal.lines(path):
            last = one
            if one.seq in chosen:
                source.seek(one.offset)
                yield source.read(one.place.offset - one.offset)
    if last is not None:
        ends.append(last)


def end(last: journal.Line, number: int) -> bytes:
    """The end of the journal, to which all its lines are chained, as JSON."""
    facts = {"exported": number, "head": f"{last.seq}:{last.place.hash}", "time": last.data["time"]}
    return json.dumps(facts, indent=1).encode() + b"\n"
