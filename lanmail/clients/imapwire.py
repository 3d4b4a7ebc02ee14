"""IMAP's wire as a client sees it: commands out, responses in, all bounded (RFC 9051 §9).

    Wire.send(b"a1 NOOP")                            a command line
    await Wire.response(seconds, sink) -> Response   the next response, with its literals
    Response.tag, .kind, .number, .values, .code, .text

`values` are what a response carries: bytes for strings, Atom for atoms, None for NIL, lists for lists. The body of a
message (`BODY[]`) goes piece by piece to the sink and leaves `Stored` in its place: memory does not grow with a mail.
A server that sends what is no IMAP, or more than there can be, or nothing for too long, is Broken.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from lanmail import printable

MAX_LINE = 1 << 20
MAX_LITERAL = 1 << 20  # of everything but message bodies
MAX_RESPONSE = 8 << 20
MAX_BODY = 1 << 30
MAX_DEPTH = 60
_PIECE = 1 << 18
_LITERAL = re.compile(rb"(?:~?\{(\d{1,18})\+?\})\r?\n\Z")
_BODY = re.compile(rb"[ (](?:BODY\[\]|RFC822|BINARY\[\])(?:<0>)? ~?\Z", re.IGNORECASE)
_TOKEN = re.compile(
    rb' *(?:(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rb"|(?P<atom>[^ ()\"\[\]]*\[[^\]]{0,300}\][^ ()\"]*|[^ ()\"]+))")
_STATUS = ("OK", "NO", "BAD", "BYE", "PREAUTH")
_CODE = re.compile(r"\[([^\]]*)\] ?")

Sink = Callable[[bytes], Awaitable[None] | None]  # what it gives back is waited for before the next piece


class Broken(Exception):
    """The connection is gone, or what comes over it is no IMAP; the text says what happened."""


class Atom(bytes):
    """A value that stood there without quotes: a flag, a number, a keyword."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A literal of this size, which the sink got."""

    size: int


Value = bytes | Stored | None | list["Value"]


@dataclass(slots=True)
class Response:
    """One response. `tag` is "*", "+" or a command's; `kind` is its first word, in capitals."""

    tag: str
    kind: str
    number: int = 0
    values: list[Value] = field(default_factory=list)
    code: str = ""
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.kind == "OK"

    def pairs(self) -> dict[str, Value]:
        """A list of names and values, as FETCH and STATUS have it; names in capitals."""
        inner = self.values[0] if self.values and isinstance(self.values[0], list) else []
        return {bytes(name).decode("ascii", "replace").upper(): value
                for name, value in zip(inner[::2], inner[1::2], strict=False) if isinstance(name, bytes)}


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.Transport) -> None:
        self._reader, self._transport = reader, transport

    @classmethod
    async def open(cls, *, sock: object, context: ssl.SSLContext | None, host: str, seconds: float) -> "Wire":
        """On a connected socket; with a context TLS comes first. OSError (ssl.SSLError), TimeoutError."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        more = {} if context is None else {
            "ssl": context, "server_hostname": host, "ssl_handshake_timeout": seconds}
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock, **more)  # type: ignore[call-overload]
        return cls(reader, transport)

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """The handshake after STARTTLS was answered. Broken, OSError (ssl.SSLError), TimeoutError."""
        if self._there:
            # RFC 9051 §11.2: what came in clear behind the OK was put there by somebody on the way
            raise Broken("the server sent something in clear behind STARTTLS")
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await loop.start_tls(self._transport, protocol, context, server_hostname=host,
                                         ssl_handshake_timeout=seconds)
        if transport is None:
            raise Broken("the server closed the connection")
        protocol.connection_made(transport)
        self._reader, self._transport = reader, transport

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What tells of the connection's TLS; None in clear."""
        found: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return found

    def send(self, line: bytes) -> None:
        """A line, to which CRLF is added."""
        self._transport.write(line + b"\r\n")

    def close(self) -> None:
        self._transport.abort()

    async def response(self, seconds: float, sink: Sink | None = None) -> Response:
        """The next response; each piece of it comes within `seconds`. Broken."""
        texts: list[bytes] = []
        literals: list[bytes | Stored] = []
        total = 0
        while True:
            line = await self._within(seconds, self._line(), ready=b"\n" in self._there)
            found = _LITERAL.search(line)
            total += len(line)
            if found is None:
                texts.append(line.rstrip(b"\r\n"))
                break
            texts.append(line[:found.start()])
            size = int(found[1])
            if sink is not None and _BODY.search(texts[-1]):
                await self._body(size, sink, seconds)
                literals.append(Stored(size))
            else:
                total += size
                if size > MAX_LITERAL or total > MAX_RESPONSE:
                    raise Broken(f"the server announces {size} octets where no message stands")
                literals.append(await self._within(seconds, self._reader.readexactly(size)))
            if total > MAX_RESPONSE:
                raise Broken("the server's answer does not end")
        return parse(texts, literals)

    async def _line(self) -> bytes:
        return await self._reader.readuntil(b"\n")

    async def _body(self, size: int, sink: Sink, seconds: float) -> None:
        if size > MAX_BODY:
            raise Broken(f"the server announces a message of {size} octets")
        while size:
            piece = await self._within(seconds, self._reader.read(min(size, _PIECE)), ready=bool(self._there))
            if not piece:
                raise Broken("the server closed the connection in the middle of a message")
            size -= len(piece)
            if (taken := sink(piece)) is not None:
                await taken

    @property
    def _there(self) -> bytearray:
        """What has come and was not read yet."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined]
        return buffer

    async def _within(self, seconds: float, what: Coroutine[None, None, bytes], *, ready: bool = False) -> bytes:
        try:
            if ready:  # a timer costs more than to read what is there
                return await what
            async with asyncio.timeout(seconds):
                return await what
        except TimeoutError:
            raise Broken(f"the server says nothing for {seconds:.0f} s") from None
        except asyncio.LimitOverrunError:
            raise Broken("the server sends a line without end") from None
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the server closed it"
            raise Broken(f"the connection was lost: {reason}") from None


def parse(texts: list[bytes], literals: list[bytes | Stored]) -> Response:
    """A response from its text and the literals in it: one stands between each text and the next. Broken."""
    tag, _, rest = texts[0].partition(b" ")
    name = tag.decode("ascii", "replace")
    if name == "+":
        return Response(name, "+", text=_plain(rest))
    word, _, after = rest.partition(b" ")
    number = None
    if word.isdigit() and len(word) < 11:
        number = int(word)
        word, _, after = after.partition(b" ")
    kind = word.decode("ascii", "replace").upper()
    if kind in _STATUS and number is None:
        text = _plain(after)
        code = _CODE.match(text)
        return Response(name, kind, code=code[1] if code else "", text=text[code.end():] if code else text)
    if name != "*" or not kind:
        raise Broken(f"the server does not speak IMAP: {_plain(texts[0][:60])!r}")
    return Response(name, kind, number or 0, _values([after, *texts[1:]], literals))


def _values(texts: list[bytes], literals: list[bytes | Stored]) -> list[Value]:
    result: list[Value] = []
    stack = [result]
    for at, text in enumerate(texts):
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                if not text[position:].strip(b" "):
                    break
                raise Broken(f"the server sends what cannot be read: {_plain(text[position:position + 60])!r}")
            position = found.end()
            if found["open"]:
                stack[-1].append([])
                inner = stack[-1][-1]
                assert isinstance(inner, list)
                stack.append(inner)
                if len(stack) > MAX_DEPTH:
                    raise Broken("the server nests lists without end")
            elif found["close"]:
                if len(stack) == 1:
                    raise Broken("the server closes a list that is not open")
                stack.pop()
            elif found["quoted"] is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", found["quoted"]))
            else:
                atom = found["atom"]
                stack[-1].append(None if atom.upper() == b"NIL" else Atom(atom))
        if at < len(literals):
            stack[-1].append(literals[at])
    if len(stack) > 1:
        raise Broken("the server does not close a list")
    return result


def number(value: Value) -> int:
    """A number; 0 for anything else."""
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) < 19 else 0


def quoted(text: str) -> bytes | None:
    """A string as it stands in a command; None when only a literal can carry it."""
    if text.isascii() and text.isprintable():
        return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    return None


def _plain(raw: bytes) -> str:
    """What a server says goes to terminals and logs: no control characters."""
    return printable.line(raw.decode("utf-8", "replace")[:4000])
