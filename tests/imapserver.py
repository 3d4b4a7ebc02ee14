"""An IMAP server on a loopback port for tests, and a client that speaks it line by line."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lanmail import daemon, maildir, passwords, paths, settings
from lanmail.imap import worker

PASSWORD = "geheim"
HASH = passwords.hash(PASSWORD)
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Server:
    """The worker, its address and its folders."""

    def __init__(self, where: paths.Paths, own: worker.Worker, port: int) -> None:
        self.paths, self.worker, self.port = where, own, port
        self.clients: list[Client] = []

    def root(self, account: str = "meier") -> str:
        return str(self.paths.maildirs / account)

    def deliver(self, data: bytes, account: str = "meier") -> str:
        """What deliver does: a file in new/."""
        maildir.prepare(self.root(account))
        return maildir.put(self.root(account), data)

    async def client(self, login: str | None = "meier", select: str | None = None) -> "Client":
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24))
        self.clients.append(client)
        client.greeting = await client.line()
        if login is not None:
            await client.ok(f"LOGIN {login} {PASSWORD}")
        if select is not None:
            await client.ok(f"SELECT {select}")
        return client


class Client:
    """Commands get tags of their own; `command` returns all lines of the answer, literals inside."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""
        self._count = 0

    async def line(self) -> bytes:
        """One answer with its literals, without the last CRLF."""
        whole = b""
        while True:
            whole += await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 30)
            literal = LITERAL.search(whole, max(0, len(whole) - 24))
            if literal is None:
                return whole[:-2]
            whole += await asyncio.wait_for(self.reader.readexactly(int(literal.group(1))), 30)

    def send(self, data: bytes | str) -> None:
        self.writer.write(data if isinstance(data, bytes) else data.encode())

    async def until(self, tag: str) -> list[bytes]:
        """All answers up to the tagged one."""
        lines = [await self.line()]
        while not lines[-1].startswith(tag.encode() + b" "):
            lines.append(await self.line())
        return lines

    async def command(self, text: str | bytes) -> list[bytes]:
        self._count += 1
        tag = f"t{self._count}"
        self.send(tag.encode() + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return await self.until(tag)

    async def ok(self, text: str | bytes) -> list[bytes]:
        """A command that must succeed; its untagged answers without "* "."""
        lines = await self.command(text)
        assert lines[-1].split(b" ")[1] == b"OK", (text, lines)
        return [line.removeprefix(b"* ") for line in lines[:-1]]

    async def fails(self, text: str | bytes, kind: str = "NO") -> bytes:
        """A command that must not; the tagged answer behind NO or BAD."""
        lines = await self.command(text)
        assert lines[-1].split(b" ")[1] == kind.encode(), (text, lines)
        return lines[-1].split(b" ", 2)[2]

    async def append(self, message: bytes, mailbox: str = "INBOX", before: str = "") -> list[bytes]:
        return await self.ok(f"APPEND {mailbox} {before}{{{len(message)}+}}\r\n".encode() + message)

    async def closed(self) -> bool:
        """Whether the server hangs up now; what it still says is thrown away."""
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(), 30)
        return True

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def running(
    root: Path, *, accounts: tuple[str, ...] = ("meier", "schmidt"), **imapd: Any
) -> AsyncIterator[Server]:
    """A server with these accounts, all with the same password."""
    where = paths.of_root(root)
    where.accounts.mkdir(parents=True, exist_ok=True)
    where.maildirs.mkdir(parents=True, exist_ok=True)
    for name in accounts:
        (where.accounts / f"{name}.toml").write_text(f'password = "{HASH}"\n')
    loaded = settings.Settings.model_validate({"server": {"domain": "office.lan"}, "imapd": imapd})
    own = worker.Worker(daemon.Context("imapd", where, loaded, []))
    server = await asyncio.get_running_loop().create_server(own.greet, "127.0.0.1", 0)
    made = Server(where, own, server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()
        await own.close()
        await server.wait_closed()
        for client in made.clients:
            client.close()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()


def message(subject: str = "Angebot", body: str = "Guten Tag\n") -> bytes:
    """A small message in LF form."""
    return f"From: anna@example.org\nTo: meier@office.lan\nSubject: {subject}\n\n{body}".encode()
