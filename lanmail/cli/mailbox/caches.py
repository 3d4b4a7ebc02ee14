"""What can be wrong with the files that only make things fast: they are made anew wherever they are missing."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lanmail import atomic
from lanmail.cli.mailbox import aside
from lanmail.cli.mailbox.damage import Damage
from lanmail.folders import modseqs, summaries

_TOLD = {
    summaries.NAME: "what FETCH tells of messages is read from them each time, which is slow",
    modseqs.NAME: "changes cannot be told by number, so that clients compare all messages",
}
# records that are torn or wrong are passed over by who reads them, so only the beginning matters
_BEGIN = {summaries.NAME: b"lanmail-cache ", modseqs.NAME: b"lanmods1"}
_REMEDY = "put it aside; it is made anew by itself"


def of_folder(root: str, name: str, path: str) -> Iterator[Damage]:
    """The caches of one folder."""
    for file, meaning in _TOLD.items():
        whole = f"{path}/{file}"
        wrong = _wrong(whole, file)
        if wrong:
            yield Damage("warn", name, "cache-damaged", f"{file} {wrong}", meaning, _REMEDY,
                         (os.path.relpath(whole, root),), partial(_set_aside, root, whole))


def _wrong(whole: str, file: str) -> str:
    try:
        status = os.lstat(whole)
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        descriptor = atomic.open_regular(whole)
    except OSError:
        return ""  # missing, or told with the rights
    try:
        first = os.pread(descriptor, 64, 0)
    finally:
        os.close(descriptor)
    return "" if first.startswith(_BEGIN[file]) else "does not begin as it should"


def _set_aside(root: str, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        aside.put(root, path, "a damaged cache, which is made anew by itself")


def of_account(root: str, index: Path) -> Iterator[Damage]:
    """The full-text index."""
    try:
        if not stat.S_ISREG(index.lstat().st_mode):
            raise sqlite3.DatabaseError("it is no regular file")
        connection = sqlite3.connect(f"file:{quote(str(index))}?mode=ro", uri=True, timeout=5)
        try:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
        wrong = "" if said and said[0] == "ok" else str(said[0] if said else "")
    except FileNotFoundError:
        return
    except sqlite3.OperationalError:
        return  # it is being written, or cannot be read by us
    except sqlite3.DatabaseError as error:
        wrong = str(error)
    if wrong:
        yield Damage("warn", "", "index-damaged", f"the full-text index is damaged: {wrong}",
                     "searches in message texts read all messages, which is slow", _REMEDY, (str(index),),
                     partial(_set_aside, root, str(index)))
