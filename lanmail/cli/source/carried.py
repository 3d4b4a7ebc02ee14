"""What was read from another program's set-up: mailboxes with the keys they get here, and what is lost on the way."""

from dataclasses import dataclass, field
from typing import Any

from lanmail import incoming, secret
from lanmail.secret import Secret


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that does not come along, or means something else here."""

    line: int
    text: str


@dataclass(slots=True)
class Mailbox:
    """One mailbox that the other program fetches; `keys` are those of [sources.NAME] but for the password."""

    line: int
    keys: dict[str, Any]
    password: Secret = secret.NONE
    local: tuple[str, ...] = ()  # who gets the mail there; "*" is whoever the header names
    remarks: list[Remark] = field(default_factory=list)

    def remark(self, text: str, line: int = 0) -> None:
        """Note what the reader of the report must know."""
        self.remarks.append(Remark(line or self.line, text))

    def put_port(self, port: int) -> None:
        """Name the port where ours would be another one: without a port, `auto` means TLS at once."""
        implicit = self.keys["tls"] == "implicit"
        usual = incoming.PORTS[self.keys["protocol"], implicit]
        if port not in (0, usual) or self.keys["tls"] == "auto":
            self.keys["port"] = port or usual

    @property
    def place(self) -> str:
        """What people call it."""
        return f"{self.keys.get('user', '?')} at {self.keys.get('host', '?')}"


class Unreadable(ValueError):
    """The set-up cannot be understood; the text says where."""
