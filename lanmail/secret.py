"""Passwords for other servers: conf/ names where they lie, never the password itself.

    file:secrets/gmx        a file below conf/, mode 0600
    credential:gmx          what systemd handed over (LoadCredential=)

`read` opens it anew at each use, so a changed password counts at once. A `Secret` shows itself as *** in logs, reprs
and tracebacks; only `reveal()` gives the text.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from lanmail import atomic
from lanmail.errors import Temporary

_REFERENCE = re.compile(r"file:[^\0\r\n]{1,200}|credential:[A-Za-z0-9_.-]{1,100}")
LIMIT = 64 << 10


class Secret:
    """A text that must not be seen by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the moment it is sent."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def reference(value: Any) -> str:
    """`file:…` or `credential:…`, or nothing. ValueError, which does not repeat what may be a password."""
    if value == "" or (isinstance(value, str) and _REFERENCE.fullmatch(value)):
        return str(value)
    raise ValueError('must say where the secret lies: "file:secrets/NAME" below conf/ or "credential:NAME"; '
                     "a secret itself does not belong here")


NONE = Secret("")

Reference = Annotated[
    str, BeforeValidator(reference), WithJsonSchema({"type": "string", "pattern": "^(file:.+|credential:.+)?$"})
]


def read(where: str, conf: Path) -> Secret:
    """The secret a reference names, without the line end of its file. Temporary when it cannot be read now."""
    kind, _, name = where.partition(":")
    if kind == "credential":
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise Temporary(f"{where} is not there: no credentials were handed over", 451, "4.3.5")
        path = Path(directory) / name
    else:
        path = conf / name
    try:
        text = atomic.read(path, LIMIT).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Temporary(f"the secret {where} cannot be read: {reason}", 451, "4.3.5") from error
    return Secret(text.rstrip("\r\n"))
