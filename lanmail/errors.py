"""The three exceptions of the house.

`Temporary` and `Permanent` carry what an SMTP peer is told: a reply code, an enhanced status code (RFC 3463) and
a text. Whatever nobody classified counts as temporary: a bug of ours delays mail, it never bounces or loses it.
`ConfigError` carries everything that is wrong in the configuration at once, each with its file and line.
"""

from dataclasses import dataclass


class MailError(Exception):
    """An SMTP answer: `code` (three digits), `dsn` (enhanced status code, RFC 3463), `text` (one line)."""

    def __init__(self, code: int, dsn: str, text: str) -> None:
        super().__init__(code, dsn, text)
        self.code = code
        self.dsn = dsn
        self.text = text

    def __str__(self) -> str:
        return f"{self.code} {self.dsn} {self.text}"


class Temporary(MailError):
    """Try again later; the mail stays with whoever has it."""

    def __init__(self, text: str, code: int = 451, dsn: str = "4.3.0") -> None:
        super().__init__(code, dsn, text)


class Permanent(MailError):
    """Never try again; whoever must know is told."""

    def __init__(self, text: str, code: int = 554, dsn: str = "5.0.0") -> None:
        super().__init__(code, dsn, text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one configuration file; `line` counts from 1, None when no line can be named.

    `kind` and `values` say the same for those who word it in another language: the rule that is broken ("units.size",
    "literal_error", "group-in-itself"), and what it is about.
    """

    file: str
    line: int | None
    text: str
    kind: str = ""
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` lists all reasons."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
