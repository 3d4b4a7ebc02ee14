"""Which folder of ours a folder of another server or program becomes.

Names from elsewhere are never paths: each level becomes text that a folder's name may have, and `maildir.path_of`
looks at the whole again.
"""

import fnmatch
import os
from collections.abc import Iterable

from lanmail import maildir, mutf7

_LONGEST = 200  # octets of the encoded name


class Naming:
    """For the account whose Maildir is `root`; `into`: a folder that all others go below ("" for none)."""

    def __init__(self, root: str, into: str = "") -> None:
        self._special = maildir.specials(root, maildir.folders(root)) if os.path.isdir(root) else {}
        self._into = into

    def of(self, levels: tuple[str, ...], special: str | None = None) -> str:
        """The folder for the levels of a name elsewhere; `special` is its RFC 6154 attribute there, when known."""
        plain = [_level(level) for level in levels]
        if plain and plain[0].upper() == "INBOX":
            plain = plain[1:]
        if plain and plain[0].upper() == "INBOX":
            plain[0] += "_"  # INBOX has no folders below it here
        if self._into:
            plain = [*self._into.split("."), *plain] if self._into != "INBOX" else plain
        elif special in maildir.SPECIAL or special == "\\Archive":
            plain = self._mine(special or "").split(".")
        elif plain:
            known = maildir.use_of(plain[0])
            if known and (len(plain) > 1 or special is None):
                plain[:1] = self._mine(known, plain[0]).split(".")
        if not plain:
            return "INBOX"
        name = ".".join(plain[:maildir.MAX_LEVELS])
        while (excess := len(mutf7.encode(name)) - _LONGEST) > 0:
            name = name[:-max(1, excess // 4)].rstrip(".")
        maildir.path_of("", name)
        return name

    def _mine(self, attribute: str, name: str = "") -> str:
        """Our folder with this use, made under its usual name when there is none yet."""
        return self._special.get(attribute) or maildir.SPECIAL.get(attribute) or name or "Archive"


def _level(text: str) -> str:
    """One level: no separator of ours, no slash, nothing that is not printed."""
    safe = "".join("_" if c in "./\\" or not c.isprintable() else c for c in text)
    safe = safe.encode("utf-8", "replace").decode().strip()
    return safe or "_"


def matches(levels: tuple[str, ...], patterns: Iterable[str]) -> bool:
    """Whether a folder is one that was named: `Sent`, `Projekte/*`, without case; levels are separated by a slash."""
    name = "/".join(levels).casefold()
    return any(fnmatch.fnmatchcase(name, pattern.casefold()) or name.startswith(pattern.casefold().rstrip("/") + "/")
               for pattern in patterns)
