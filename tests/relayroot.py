"""An office that sends mail, in a temporary directory: for the tests of relay and its neighbours."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from lanmail import address, config, daemon, envelope, log, paths, relay, spool

DOMAIN = "office.lan"


class Root:
    """conf/ with accounts meier and chef (postmaster), and spools. `outgoing` are lines of that section."""

    def __init__(self, base: Path, outgoing: str = "", *, settings: str = "", postmaster: bool = True) -> None:
        self.paths = paths.of_root(base)
        self.paths.accounts.mkdir(parents=True)
        self.configure(outgoing, settings)
        self.account("meier")
        self.account("chef", f"postmaster = {str(postmaster).lower()}")
        self.outbound, self.queue = spool.outbound(self.paths), spool.queue(self.paths)
        self.outbound.ensure()
        self.queue.ensure()

    def configure(self, outgoing: str, settings: str = "") -> None:
        self.paths.config_file.write_text(f'[server]\ndomain = "{DOMAIN}"\n{settings}\n[outgoing]\n{outgoing}\n')

    def account(self, name: str, text: str = "disabled = false") -> None:
        (self.paths.accounts / f"{name}.toml").write_text(text + "\n")

    def put(self, *to: str, sender: str | None = "meier@office.lan", message: bytes | None = None,
            params: envelope.Params = (), rcpt: envelope.Params = (), origin: str = "submission", age: float = 0.0,
            **facts: str) -> str:
        """An entry of outbound; its id. `age`: seconds ago that it came in."""
        text = message if message is not None else b"From: meier@office.lan\nSubject: hi\n\nbody\n"
        if origin == "submission" and not facts:
            facts = {"account": "meier"}
        head = envelope.Envelope(
            address.parse(sender) if sender else None,
            [envelope.Recipient(address.parse(one), rcpt) for one in to], params,
            envelope.Origin(origin, tuple(facts.items())),
        )
        entry_id = spool.new_id()
        if age:
            entry_id = f"{int(time.time() - age)}.{entry_id.partition('.')[2]}"
        text = f"Return-Path: <{sender or ''}>\n".encode() + text
        return spool.parse_name(self.outbound.put(head, text, entry_id)).id

    def context(self) -> daemon.Context:
        return daemon.Context("relay", self.paths, config.load(self.paths), [], stopping=asyncio.Event())

    async def once(self) -> int:
        """relay --once, in this process; its exit code."""
        log.setup("relay", self.paths.log)
        return await asyncio.wait_for(relay.once(self.context()), 60)

    def waiting(self) -> list[str]:
        return [spool.parse_name(name).id for place in ("new", "cur")
                for name in os.listdir(self.paths.outbound / place)]

    def state(self, entry_id: str) -> dict[str, Any] | None:
        path = self.paths.state / "outbound" / f"{entry_id}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def due(self, entry_id: str) -> None:
        """Let the next try of an entry be now."""
        path = self.paths.state / "outbound" / f"{entry_id}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "next": 0}))

    def queued(self) -> list[tuple[envelope.Envelope, bytes]]:
        """What relay put into the queue: bounces."""
        found = []
        for name in sorted(os.listdir(self.paths.queue / "new")):
            data = (self.paths.queue / "new" / name).read_bytes()
            head, offset = envelope.decode(data)
            assert head is not None
            found.append((head, data[offset:]))
        return found

    def events(self, name: str) -> list[str]:
        """The lines of the log with this event."""
        lines = "".join(one.read_text() for one in sorted(self.paths.log.glob("*.log"))).splitlines()
        return [line for line in lines if line.split()[2] == name]

    def held(self) -> dict[str, str]:
        """id → why, of what is in hold."""
        new = self.paths.hold / "new"
        return {spool.parse_name(one.name.removesuffix(".why")).id: one.read_text() for one in new.glob("*.why")}


def smarthost(port: int, more: str = "") -> str:
    """[outgoing] for a peer on this machine."""
    return f'host = "127.0.0.1"\nport = {port}\ntls = "none"\n{more}'


class Running:
    """relay at work inside the test's own loop."""

    def __init__(self, root: Root) -> None:
        log.setup("relay", root.paths.log)
        self.relay = relay.Relay(root.context())
        self.desk = self.relay.desk

    async def __aenter__(self) -> "Running":
        self.relay.begin()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.relay.close()


async def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait for something that another task or thread does."""
    limit = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < limit, "it did not happen"
        await asyncio.sleep(0.005)
