"""Visits to an IMAP server for tests: a source of the account meier, and what came of it in spool/queue."""

from pathlib import Path
from typing import Any

from lanmail import paths, settings, spool
from lanmail.incoming import Source
from lanmail.sources import Outcome, imap
from lanmail.sources.visit import Visit


class Office:
    """An installation with one source; `visit` makes a visit with the driver that is kept, like fetchmail does."""

    def __init__(self, root: Path, port: int, **source: Any) -> None:
        self.paths = paths.of_root(root)
        self.house = settings.Settings.model_validate({"server": {"domain": "office.lan"}})
        (self.paths.conf / "secrets").mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.paths.conf / "secrets/eva").write_text("geheim\n")
        (self.paths.conf / "secrets/eva").chmod(0o600)
        self.queue = spool.queue(self.paths)
        self.queue.ensure()
        self.given = {"interface": "standard", "host": "127.0.0.1", "port": port, "tls": "none", "user": "eva",
                      "password": "file:secrets/eva", "timeout": "30s"}
        self.said: list[str] = []
        self.set(**source)

    def set(self, **source: Any) -> None:
        """New settings; as in fetchmail, a new driver."""
        self.given |= source
        self.source = Source.model_validate(self.given)
        self.driver = imap.Driver()

    def visit(self) -> Visit:
        return Visit(self.paths, self.house, "meier", "gmx", self.source, self.queue, self.said.append)

    async def fetch(self) -> Outcome:
        return await self.driver.fetch(self.visit())

    def mails(self) -> list[bytes]:
        """What is in the queue: the messages without envelope and the line that we add."""
        found = []
        for name in self.queue.names():
            head, mark, rest = (self.queue.new / name).read_bytes().partition(b"Received: from ")
            if not mark:  # a notice of our own
                continue
            found.append(head.partition(b"X-Origin:")[2].partition(b"\n")[2] + rest.partition(b"\n\tfor ")[2].split(
                b"\n", 2)[2])
        return found

    def subjects(self) -> list[str]:
        return sorted(line[9:].decode() for mail in self.mails() for line in mail.split(b"\n\n")[0].split(b"\n")
                      if line.startswith(b"Subject: "))
