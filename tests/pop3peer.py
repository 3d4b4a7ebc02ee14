"""A POP3 server for tests that does what its script says: what Dovecot never does.

    async with Peer(mails, "UIDL", "PIPELINING", script={"RETR": "hang"}) as peer: …

`script` maps a verb (CONNECT, CAPA, USER, PASS, AUTH, +, STAT, UIDL, LIST, RETR, DELE, QUIT, …) to an answer, or to a
function from the line to one. None means the usual one, "close" closes, "hang" says nothing more. "+" is a line that
answers a challenge.
"""

import asyncio
import ssl
from collections.abc import Callable

Answer = str | bytes | None


class Peer:
    """One server; `lines` is all that was said to it."""

    def __init__(self, mails: list[bytes] | None = None, *features: str,
                 script: "dict[str, Answer | Callable[[str], Answer]] | None" = None, tls: ssl.SSLContext | None = None,
                 hello: str = "+OK ready") -> None:
        self.mails = dict(enumerate(mails or [], 1))
        self.features, self.script, self.tls, self.hello = features, script or {}, tls, hello
        self.lines: list[str] = []
        self.deleted: set[int] = set()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Peer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        marked: set[int] = set()
        line = "CONNECT"
        try:
            while True:
                verb = line.split(" ")[0].upper()
                found = self.script.get(verb, self.script.get("+") if verb not in KNOWN else None)
                answer = found(line) if callable(found) else found
                if answer == "hang":
                    await asyncio.sleep(3600)
                if answer == "close":
                    return
                said = self._usual(line, marked) if answer is None else answer
                data = said.encode() if isinstance(said, str) else said
                writer.write(data if isinstance(said, bytes) else data + b"\r\n")
                await writer.drain()
                if verb == "STLS" and said[:1] in ("+", b"+") and self.tls is not None:
                    await writer.start_tls(self.tls)
                if verb == "QUIT":
                    self.deleted |= marked
                    return
                line = (await reader.readuntil(b"\r\n")).decode().removesuffix("\r\n")
                self.lines.append(line)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass  # cancelled only by us, at the end
        finally:
            writer.close()

    def _usual(self, line: str, marked: set[int]) -> str | bytes:
        verb, *words = line.split(" ")
        there = {number: mail for number, mail in self.mails.items() if number not in self.deleted}
        there = dict(enumerate(there.values(), 1))
        number = int(words[0]) if words and words[0].isdigit() else 0
        match verb.upper():
            case "CONNECT":
                return self.hello
            case "CAPA":
                return "\r\n".join(["+OK", *self.features, "."])
            case "STAT":
                return f"+OK {len(there)} {sum(map(len, there.values()))}"
            case "UIDL" if "UIDL" in self.features:
                names = [f"{at} id{abs(hash(mail))}" for at, mail in there.items()]
                return "\r\n".join(["+OK", *names, "."])
            case "LIST":
                return "\r\n".join(["+OK", *(f"{at} {len(mail)}" for at, mail in there.items()), "."])
            case "RETR":
                stuffed = b"\r\n" + there[number].replace(b"\r\n.", b"\r\n..")
                return b"+OK" + stuffed + b".\r\n"
            case "DELE":
                marked.add(number)
                return "+OK"
            case "STLS" if self.tls is None:
                return "-ERR no TLS here"
            case "STLS" | "USER" | "PASS" | "QUIT" | "APOP":
                return "+OK"
        return "-ERR what?"


KNOWN = frozenset({"CONNECT", "CAPA", "STLS", "USER", "PASS", "APOP", "AUTH", "STAT", "UIDL", "LIST", "RETR", "TOP",
                   "DELE", "QUIT"})
