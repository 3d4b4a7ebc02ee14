"""Which folder an account uses for what (RFC 6154), where clients have said so: the file `lanmail-special-use`.

    load(root) -> dict[str, str]               attribute ("\\Archive") → folder, which may be gone
    assign(root, name, attributes) -> None     raises Taken when another folder that exists is used for one of these
    renamed(root, pairs) -> None               folders have new names: (old, new), …
    removed(root, name) -> None                a folder is no more

A line for each: the attribute, a blank, the folder's name in UTF-8. Dotlock `lanmail-special-use.lock`. Blocking.
What a folder's name alone tells, and all of it together, is in maildir.specials.
"""

import os
from collections.abc import Callable, Iterable

from lanmail import atomic
from lanmail.folders import dotlock

NAME = "lanmail-special-use"
ATTRIBUTES = ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")
_LIMIT = 1 << 20


class Taken(Exception):
    """Another folder is used for that; str() is its name."""


def load(root: str) -> dict[str, str]:
    """What clients have said; empty without a file, and of a file that cannot be read."""
    try:
        lines = atomic.read(f"{root}/{NAME}", _LIMIT).decode("utf-8", "replace").split("\n")
    except OSError:
        return {}
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    return {attribute: name for attribute, name in found.items() if attribute in ATTRIBUTES}


def assign(root: str, name: str, attributes: Iterable[str], exists: Callable[[str], bool]) -> None:
    """From now on the folder is used for these; one that is used for them and does not exist loses them."""
    def change(found: dict[str, str]) -> dict[str, str]:
        for attribute in attributes:
            other = found.get(attribute, name)
            if other != name and exists(other):
                raise Taken(other)
            found[attribute] = name
        return found

    _change(root, change)


def renamed(root: str, pairs: Iterable[tuple[str, str]]) -> None:
    new = dict(pairs)
    _change(root, lambda found: {attribute: new.get(name, name) for attribute, name in found.items()})


def removed(root: str, name: str) -> None:
    _change(root, lambda found: {attribute: other for attribute, other in found.items() if other != name})


def _change(root: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    path = f"{root}/{NAME}"
    if not os.path.lexists(path) and not change({}):
        return
    with dotlock.held(path):
        found = load(root)
        changed = change(dict(found))
        if changed != found:
            lines = [f"{attribute} {name}\n" for attribute, name in sorted(changed.items())]
            atomic.write(path, "".join(lines), mode=0o660)
