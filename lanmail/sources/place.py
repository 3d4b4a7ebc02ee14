"""Where the state of a source lies, and how "fetch now" is asked for.

    state/fetched/ACCOUNT/NAME/status.json    what came of the last visits (status.py)
    state/fetched/ACCOUNT/NAME/BOX.uids       what was fetched from a mailbox (uidlog.py)
    state/fetched/request/ACCOUNT,NAME        a wish to fetch now; fetchmail takes it away

Nothing from outside becomes part of a path unquoted.
"""

import hashlib
import os
from pathlib import Path
from urllib.parse import quote, unquote

from lanmail.paths import Paths

MAX_NAME = 200


def directory(paths: Paths, account: str, name: str) -> Path:
    """The directory of a source."""
    return paths.state / "fetched" / safe(account) / safe(name)


def requests(paths: Paths) -> Path:
    """The directory of wishes; no account is called so (a dot or comma is in no name of a directory beside it)."""
    return paths.state / "fetched" / "request"


def safe(text: str) -> str:
    """A text as the name of a file: quoted; a long one by its hash."""
    name = quote(text, safe="@").replace(".", "%2E")
    return name if len(name) <= MAX_NAME else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def request(paths: Paths, account: str, name: str) -> None:
    """Ask for a visit at once. OSError."""
    where = requests(paths)
    where.mkdir(mode=0o770, parents=True, exist_ok=True)
    label = _label(account, name)
    temporary = where / f".{label}.{os.getpid()}"
    temporary.touch(mode=0o640)
    temporary.rename(where / label)


def is_requested(paths: Paths, account: str, name: str) -> bool:
    """Whether a wish still lies there: nobody has taken it."""
    return (requests(paths) / _label(account, name)).exists()


def _label(account: str, name: str) -> str:
    return f"{quote(account, safe='')},{quote(name, safe='')}"


def requested(paths: Paths) -> list[tuple[str, str]]:
    """Take all wishes: (account, name)."""
    found = []
    try:
        listed = os.listdir(requests(paths))
    except FileNotFoundError:
        return []
    for label in sorted(listed):
        if not label.startswith("."):
            account, _, name = label.partition(",")
            found.append((unquote(account), unquote(name)))
            (requests(paths) / label).unlink(missing_ok=True)
    return found
