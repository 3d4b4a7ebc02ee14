"""An SMTP server for tests that does what its script says: refusals, silence, lost connections, lies.

Real servers (smtp-sink, Postfix, Dovecot) stand in for everything they can do; this is for what they will not.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

Answer = Callable[["Session", str], "str | bytes | None"]


@dataclass
class Taken:
    """A mail that was accepted."""

    sender: str
    recipients: list[str]
    text: bytes
    params: str = ""


@dataclass
class Session:
    """One connection."""

    peer: "Peer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    sender: str | None = None
    params: str = ""
    recipients: list[str] = field(default_factory=list)
    chunks: bytes = b""
    secure: bool = False

    async def say(self, text: "str | bytes") -> None:
        data = text.encode() if isinstance(text, str) else text
        self.writer.write(data if data.endswith(b"\n") else data + b"\r\n")
        await self.writer.drain()


class Peer:
    """`script` maps a verb (CONNECT, EHLO, MAIL, RCPT, DATA, ., …) to a function or an answer.

    An answer is text; None means the usual one; "close" closes, "hang" says nothing more.
    """

    def __init__(self, *features: str, script: "dict[str, Answer | str] | None" = None,
                 tls: ssl.SSLContext | None = None, implicit: bool = False, port: int = 0) -> None:
        self.features = list(features)
        self.script = script or {}
        self.tls, self.implicit = tls, implicit
        self.taken: list[Taken] = []
        self.lines: list[str] = []  # all that was said, with "TLS " before what came encrypted
        self.connections = 0
        self.sessions: list[Session] = []
        self.port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Peer":
        context = self.tls if self.implicit else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self.sessions:
            one.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session(self, reader, writer, self.connections, secure=self.implicit)
        self.sessions.append(session)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._session(session)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # streams of Python 3.11 do not expect that a handler is cancelled
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, session: Session, verb: str, line: str, usual: str) -> bool:
        """Say it; False when the connection ends."""
        wanted = self.script.get(verb)
        said = wanted(session, line) if callable(wanted) else wanted
        if said == "close":
            session.writer.transport.abort()
            return False
        if said == "hang":
            await asyncio.sleep(3600)
        await session.say(said if said is not None else usual)
        return True

    async def _session(self, session: Session) -> None:
        if not await self._answer(session, "CONNECT", "", "220 peer ESMTP"):
            return
        while raw := await session.reader.readline():
            line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            self.lines.append(("TLS " if session.secure else "") + line)
            verb = line.partition(" ")[0].upper()
            handler = getattr(self, f"_{verb.lower()}", None)
            if handler is None:
                if not await self._answer(session, verb, line, "502 5.5.1 what?"):
                    return
            elif not await handler(session, line):
                return

    async def _ehlo(self, session: Session, line: str) -> bool:
        features = [one for one in self.features if one != "STARTTLS" or not session.secure]
        lines = ["peer", *features]
        text = "\r\n".join(f"250{' ' if n == len(lines) - 1 else '-'}{one}" for n, one in enumerate(lines))
        return await self._answer(session, "EHLO", line, text)

    async def _helo(self, session: Session, line: str) -> bool:
        return await self._answer(session, "HELO", line, "250 peer")

    async def _starttls(self, session: Session, line: str) -> bool:
        if not await self._answer(session, "STARTTLS", line, "220 2.0.0 go"):
            return False
        if self.tls is None:
            return True
        await session.writer.start_tls(self.tls)
        session.secure = True
        return True

    async def _mail(self, session: Session, line: str) -> bool:
        found = re.match(r"MAIL FROM:<(.*?)>(.*)", line)
        assert found, line
        session.sender, session.params, session.recipients, session.chunks = found[1], found[2].strip(), [], b""
        return await self._answer(session, "MAIL", line, "250 2.1.0 ok")

    async def _rcpt(self, session: Session, line: str) -> bool:
        found = re.match(r"RCPT TO:<(.*?)>", line)
        assert found, line
        wanted = self.script.get("RCPT")
        said = wanted(session, line) if callable(wanted) else wanted
        if said is None:
            session.recipients.append(found[1])
        if said == "close":
            session.writer.transport.abort()
            return False
        await session.say(said or "250 2.1.5 ok")
        return True

    async def _rset(self, session: Session, line: str) -> bool:
        session.recipients, session.sender = [], None
        return await self._answer(session, "RSET", line, "250 2.0.0 ok")

    async def _data(self, session: Session, line: str) -> bool:
        usual = "354 go on" if session.recipients else "554 5.5.1 no valid recipients"
        wanted = self.script.get("DATA")
        said = wanted(session, line) if callable(wanted) else wanted
        if said is not None or not session.recipients:
            return await self._answer(session, "DATA", line, usual)
        await session.say(usual)
        text = b""
        while not text.endswith(b"\r\n.\r\n") and text != b".\r\n":
            text += await session.reader.readuntil(b"\n")
        text = text[:-3].replace(b"\r\n..", b"\r\n.")
        return await self._end(session, text[1:] if text.startswith(b"..") else text)

    async def _bdat(self, session: Session, line: str) -> bool:
        _, size, *last = line.split()
        session.chunks += await session.reader.readexactly(int(size))
        if not session.recipients:
            return await self._answer(session, "BDAT", line, "554 5.5.1 no valid recipients")
        if not last:
            return await self._answer(session, "BDAT", line, "250 2.0.0 chunk ok")
        return await self._end(session, session.chunks)

    async def _end(self, session: Session, text: bytes) -> bool:
        mail = Taken(session.sender or "", list(session.recipients), text, session.params)
        wanted = self.script.get(".")
        said = wanted(session, "") if callable(wanted) else wanted
        if said is None or said in ("close", "hang"):
            self.taken.append(mail)
        session.recipients = []
        if said == "close":
            session.writer.transport.abort()
            return False
        if said == "hang":
            await asyncio.sleep(3600)
        await session.say(said or "250 2.0.0 queued")
        return True

    async def _quit(self, session: Session, line: str) -> bool:
        await session.say("221 2.0.0 bye")
        return False
