"""An office that fetches mail, in a temporary directory: for the tests of fetchmail and its sources."""

import asyncio
import re
import time
from pathlib import Path

import uvloop

from lanmail import config, daemon, fetchmail, log, paths, spool
from lanmail.sources import status

DOMAIN = "office.lan"


class Root:
    """conf/ with the account meier, who has sources. `incoming` are lines of that section."""

    def __init__(self, base: Path, incoming: str = "", *, settings: str = "") -> None:
        self.paths = paths.of_root(base)
        self.paths.accounts.mkdir(parents=True)
        self.paths.secrets.mkdir(mode=0o700)
        self.configure(incoming, settings)
        self.queue = spool.queue(self.paths)
        self.queue.ensure()
        self._sources: dict[tuple[str, str], dict[str, object]] = {}

    def configure(self, incoming: str, settings: str = "") -> None:
        self.paths.config_file.write_text(
            f'[server]\ndomain = "{DOMAIN}"\n{settings}\n[incoming]\ninterface = "standard"\n{incoming}\n')

    def secret(self, name: str, text: str) -> str:
        """A password's file; how settings name it."""
        file = self.paths.secrets / name
        file.write_text(text)
        file.chmod(0o600)
        return f"file:secrets/{name}"

    def source(self, name: str, account: str = "meier", **keys: object) -> None:
        """Set up a source, or change some of its keys; None takes one away."""
        known = self._sources.setdefault((account, name), {})
        known |= keys
        lines = []
        for (owner, label), table in self._sources.items():
            if owner == account:
                lines += [f"[sources.{label}]", *(f"{key} = {_toml(value)}" for key, value in table.items()
                                                   if value is not None)]
        (self.paths.accounts / f"{account}.toml").write_text("\n".join(lines) + "\n")

    def context(self) -> daemon.Context:
        return daemon.Context("fetchmail", self.paths, config.load(self.paths), [], stopping=asyncio.Event())

    def once(self) -> int:
        """fetchmail --once, in this process; its exit code."""
        log.setup("fetchmail", self.paths.log)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(asyncio.wait_for(fetchmail.once(self.context()), 60))

    def status(self, name: str = "x", account: str = "meier") -> status.Status:
        return status.load(self.paths, account, name)

    def entries(self) -> list[bytes]:
        """All mails in spool/queue, in the order in which they came."""
        return [(self.queue.new / name).read_bytes() for name in self.queue.names()]

    def mails(self) -> list[bytes]:
        """Those that were fetched, from the header on, without what we put there."""
        fetched = [one for one in self.entries() if b"\nX-Origin: fetch " in one[:2000]]
        return [re.split(rb" [+-]\d{4}\n", one, maxsplit=1)[-1] for one in fetched]

    def notices(self) -> list[bytes]:
        """Those that tell the account something."""
        return [one for one in self.entries() if b"source=notice" in one[:2000]]

    def log(self) -> str:
        return "".join(path.read_text() for path in self.paths.log.glob("*.log"))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str | Path) else str(value)


def message(number: int, size: int = 200, date: float | None = None) -> bytes:
    """A mail of about this size, with LF line ends, as a server has it on its disk."""
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(date or 1763794800))
    head = (f"Return-Path: <far@far.example>\nReceived: from a by b with ESMTP id {number};\n\tSat, 22 Nov 2025 "
            f"07:00:00 -0000\nFrom: Far <far@far.example>\nTo: meier@office.lan\nSubject: mail {number}\nDate: {when}\n"
            f"Message-ID: <{number}@far.example>\n\n").encode()
    line = b".a line that begins with a dot, and goes on for a while\n"
    return head + line * max(1, (size - len(head)) // len(line))
