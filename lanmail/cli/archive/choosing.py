"""Which mails a command means: ids, their beginnings, or what a search finds."""

import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from lanmail.archiving import finding, following, index, query
from lanmail.archiving.retention import Contents
from lanmail.cli import command
from lanmail.paths import Paths


def searched(where: Paths, text: str) -> set[str]:
    """The ids of what a query finds, after the index was brought up to date. Ends with 65 when it cannot be read."""
    try:
        asked = query.parse(text, time.time())
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    try:
        following.fill(where)
    except following.Busy:
        command.fail("the index is being written at this moment; try again in a minute", os.EX_TEMPFAIL)
    with index.Reader(index.path(where)) as reader:
        return {mail.id for mail in finding.search(reader, asked, finding.EVERYTHING, limit=sys.maxsize)}


def named(contents: Contents, texts: Iterable[str]) -> set[str]:
    """The ids that begin so, each of one mail only. Ends with 67 when there is none."""
    known = {str(data["id"]) for data in contents.mails.values()}
    found = set()
    for text in texts:
        fitting = {text} if text in known else {one for one in known if one.startswith(text)}
        if not fitting:
            command.fail(f"no mail in the archive has the id {text}", os.EX_NOINPUT)
        if len(fitting) > 1:
            command.fail(f"{text} is the beginning of {len(fitting)} ids; write more of it", os.EX_NOINPUT)
        found |= fitting
    return found


def of_ids(contents: Contents, ids: set[str]) -> dict[int, dict[str, Any]]:
    """The mail lines of these ids, all forms."""
    return {seq: data for seq, data in contents.mails.items() if data.get("id") in ids}
