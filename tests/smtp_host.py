"""A whole SMTP server inside the test's event loop, and a client that says exactly the octets it is told to."""

import asyncio
import functools
import ssl
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lanmail import config, daemon, passwords, paths, policy, sockets, tls
from lanmail.smtp import service

SECRET = "correct horse"
ACCOUNTS = {"alice": "", "bob": 'send_as = ["chef@office.lan"]\n', "carol": "", "boss": "postmaster = true\n"}


@cache
def _hash() -> str:
    return passwords.hash(SECRET)


def write_conf(root: Path, smtpd: str = "", more: str = "") -> paths.Paths:
    """A small office: four accounts, two aliases. `smtpd` are keys of [smtpd], `more` are further sections."""
    where = paths.find(str(root))
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(f'[server]\ndomain = "office.lan"\n[smtpd]\nmin_free = 0\n{smtpd}\n{more}\n')
    for name, keys in ACCOUNTS.items():
        (where.accounts / f"{name}.toml").write_text(f'password = "{_hash()}"\n{keys}')
    where.aliases.write_text('"info" = ["alice", "bob"]\n')
    return where


@dataclass
class Client:
    """A TCP connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self) -> str:
        """The next reply, its lines joined by LF; "" at the end of the connection."""
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 20)).decode()
            if not line:
                return "\n".join(lines)
            assert line.endswith("\r\n"), line
            lines.append(line[:-2])
            if line[3:4] != "-":
                return "\n".join(lines)

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, line: str) -> str:
        await self.raw(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.reply()

    async def ended(self) -> bool:
        """Whether the server closed the connection (after whatever it still said)."""
        try:
            await asyncio.wait_for(self.reader.read(), 20)
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)
        return True

    async def start_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await asyncio.wait_for(self.writer.start_tls(context), 20)

    async def login(self, user: str = "alice", password: str = SECRET) -> str:
        return await self.say("AUTH PLAIN " + plain(user, password))

    async def mail(self, sender: str, *recipients: str, text: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
        """A whole mail; the last reply."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"):
            answer = await self.say(line)
            if answer[:1] not in "23":
                return answer
        await self.raw(text + b".\r\n")
        return await self.reply()

    def close(self) -> None:
        self.writer.close()


def plain(user: str, password: str, authzid: str = "") -> str:
    import base64
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


@dataclass
class Host:
    """The server; one listener of each kind on a free port."""

    where: paths.Paths
    context: daemon.Context
    service: service.Service
    watching: asyncio.Task[None]
    ports: dict[str, int] = field(default_factory=dict)
    servers: list[asyncio.AbstractServer] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def connect(self, kind: str = policy.MX, hello: str = "EHLO client.example", **options: object) -> Client:
        """A client that has read the greeting and said hello ("" for neither)."""
        client = await self.open(kind, **options)
        if hello:
            greeting = await client.reply()
            assert greeting.startswith("220 "), greeting
            assert (await client.say(hello)).startswith("250")
        return client

    async def open(self, kind: str = policy.MX, **options: object) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[kind], limit=1 << 20, **options)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    def queued(self) -> list[bytes]:
        """What lies in the queue, oldest first."""
        return [(self.service.queue.new / name).read_bytes() for name in self.service.queue.names()]

    def message(self) -> bytes:
        """The only mail in the queue, from behind our Received on."""
        (entry,) = self.queued()
        head, found, rest = entry.partition(b"\nReceived: ")
        assert found, head
        lines = rest.split(b"\n")
        end = next(number for number, line in enumerate(lines) if number and not line.startswith((b" ", b"\t")))
        return b"\n".join(lines[end:])

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        for server in self.servers:
            server.close()
        await asyncio.wait_for(self.service.drain(), 30)
        self.watching.cancel()


async def start(root: Path, smtpd: str = "", more: str = "", certificate: Path | None = None) -> Host:
    """A server on loopback, with all kinds of listeners."""
    where = write_conf(root, smtpd, more)
    if certificate is not None:
        where.tls.symlink_to(certificate)
    context = daemon.Context("smtpd", where, config.load(where), [])
    here = service.Service(context)
    host = Host(where, context, here, asyncio.create_task(here.watch()))
    for kind in (policy.MX, policy.SUBMISSION, policy.SUBMISSIONS, policy.LAN, policy.LMTP):
        listener = sockets.Listener(kind, kind, ("127.0.0.1",), 0, kind == policy.SUBMISSIONS)
        server = await here.loop.create_server(functools.partial(here.session, listener), "127.0.0.1", 0)
        host.servers.append(server)
        host.ports[kind] = server.sockets[0].getsockname()[1]
    return host


def make_certificate(root: Path) -> Path:
    """A CA and certificate to be shared by all servers of a test run."""
    where = paths.find(str(root))
    tls.make_ca(where, "office.lan", ["mail.office.lan"], ["127.0.0.1"])
    return where.tls
