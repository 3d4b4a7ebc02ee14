"""An SMTP client for mail that lies in files: one connection, many mails (RFC 5321 and its extensions).

`connect` reaches a server as far as it may be trusted: TLS as wished for, logged in. `Client.send` sends one message
and tells what became of each recipient. With PIPELINING a mail costs two round trips, with CHUNKING a small one one.

Invariants: no password and no mail goes out before TLS is what was asked for. A recipient counts as sent only after the
answer to the last octet. Memory does not grow with the mail nor with what a server says (smtpwire).
"""

import asyncio
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from lanmail import address, eightbit, envelope
from lanmail.clients import smtplogin, smtptext, smtpwire, tlsclient, tunnel
from lanmail.clients.smtpwire import Broken, Reply
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.transports import Job, Message, Result, Split, Unreachable

SMALL = 64 << 10  # bytes of a message that goes along with its envelope (BDAT)
BLOCK_TIMEOUT = 180.0  # seconds for one piece of a message (RFC 5321 §4.5.3.2.5)
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Target:
    """A server and how to reach it. `address` is where to connect when `host` is only its name."""

    host: str
    port: int
    helo: str
    tls: str = "auto"  # none, auto, starttls, implicit
    wish: tlsclient.Wish = tlsclient.DEFAULT
    via: tunnel.Proxy | None = None
    credentials: smtplogin.Credentials | None = None
    mechanism: str = ""
    address: str = ""
    must_have_tls: str = ""  # why this server may not be used without TLS, although tls = auto

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for each kind of waiting."""

    connect: float = 30.0
    answer: float = 300.0
    data: float = 600.0


class TlsFailed(Unreachable):
    """The handshake did not come about, or the certificate is not the right one."""


async def connect(target: Target, patience: Patience) -> "Client":
    """A connection that is ready for mail. Unreachable."""
    client: Client | None = None
    try:
        made = await tunnel.connect(target.address or target.host, target.port, target.via, patience.connect)
        client = Client(target, patience)
        try:
            await asyncio.get_running_loop().create_connection(lambda: client.wire, sock=made)
        except BaseException:
            tunnel.close(made)
            raise
        await client.begin()
    except Broken as error:
        raise Unreachable(f"{target}: {error}", 451, "4.4.2") from error
    except Unreachable:
        _abort(client)
        raise
    except Temporary as error:
        _abort(client)
        raise Unreachable(error.text, error.code, error.dsn) from error
    except OSError as error:
        _abort(client)
        raise Unreachable(f"{target}: {error.strerror or error}", 451, "4.4.1") from error
    except BaseException:
        _abort(client)
        raise
    return client


def _abort(client: "Client | None") -> None:
    if client is not None:
        client.wire.fail("given up")


class Client:
    """One connection. After `Broken`, or with `usable` False, it is of no more use."""

    def __init__(self, target: Target, patience: Patience) -> None:
        self.target, self.patience = target, patience
        self.wire = smtpwire.Wire()
        self.features: dict[str, str] = {}
        self.tls: ssl.SSLObject | None = None
        self.offered_tls = False
        self.mails = 0
        self.answered = False  # the server said something about the mail at hand
        self._reset = False  # a transaction is open at the server

    @property
    def usable(self) -> bool:
        return self.wire.broken is None

    # reaching the server

    async def begin(self) -> None:
        """Greeting, EHLO, TLS, log-in. Unreachable, Broken."""
        target = self.target
        if target.tls == "implicit":
            await self._handshake()
        greeting = await self.wire.reply(self.patience.answer)
        if greeting.code != 220:
            raise _unreachable(target, greeting, "3.2")
        await self._hello()
        self.offered_tls = "STARTTLS" in self.features
        if target.tls in ("auto", "starttls") and self.tls is None:
            await self._starttls()
        if target.credentials is not None:
            offered = set(self.features.get("AUTH", "").upper().split())
            safe = self.tls is not None or target.tls == "none" or target.host in LOCAL_HOSTS
            name = smtplogin.choose(offered, target.credentials, safe=safe, only=target.mechanism)
            await smtplogin.login(self.wire, name, target.credentials, target.host, target.port, self.patience.answer)

    async def _starttls(self) -> None:
        target = self.target
        if not self.offered_tls:
            if target.tls == "starttls":
                raise TlsFailed(f"{target} does not offer STARTTLS", 454, "4.7.4")
            if target.must_have_tls:
                raise TlsFailed(f"{target} does not offer STARTTLS; {target.must_have_tls}", 454, "4.7.4")
            return
        self.wire.send(b"STARTTLS\r\n")
        reply = await self.wire.reply(self.patience.answer)
        if reply.code != 220:
            raise TlsFailed(f"{target} offers STARTTLS, but says {reply.code} {reply.text}", 454, "4.7.4")
        await self._handshake()
        await self._hello()  # RFC 3207 §4.2: what was said before counts no more

    async def _handshake(self) -> None:
        target = self.target
        try:
            self.tls = await self.wire.start_tls(tlsclient.context(target.wish), target.host, self.patience.connect)
            tlsclient.check(target.wish, self.tls)
        except (OSError, Temporary) as error:
            why = error.text if isinstance(error, Temporary) else tlsclient.reason(error)
            raise TlsFailed(f"{target}: {why}", 454, "4.7.5") from error

    async def _hello(self) -> None:
        self.wire.send(f"EHLO {self.target.helo}\r\n".encode("ascii", "replace"))
        reply = await self.wire.reply(self.patience.answer)
        self.features = {}
        if reply.ok:
            for line in reply.lines[1:]:
                word, _, rest = line.replace("=", " ", 1).partition(" ")  # AUTH=LOGIN of old servers
                if _KEYWORD.fullmatch(word):
                    key = word.upper()
                    self.features[key] = f"{self.features[key]} {rest}" if key in self.features else rest
            return
        if reply.code in (500, 501, 502, 503, 504, 550):
            self.wire.send(f"HELO {self.target.helo}\r\n".encode("ascii", "replace"))
            reply = await self.wire.reply(self.patience.answer)
        if not reply.ok:
            raise _unreachable(self.target, reply, "5.0")

    # one mail

    async def send(self, job: Job) -> list[Result]:
        """Send a message. Temporary and Permanent for all recipients; Broken before anything was decided."""
        self.answered = False
        text = job.message if job.message.size > SMALL else Message.of_bytes(job.message.read())
        ascii_only = False  # 8BITMIME says that there may be 8-bit octets: not worth reading a large mail twice
        if "8BITMIME" not in self.features or text.size <= SMALL:
            ascii_only = smtptext.is_ascii(text)
        if not ascii_only and "8BITMIME" not in self.features:
            text = Message.of_bytes(eightbit.to_seven(text.read()))
        size = text.size + text.size // 40
        limit = self.features.get("SIZE", "").strip()
        if limit.isdigit() and 0 < int(limit) < size:  # the guess would not do, the mail may
            size = sum(map(len, smtptext.plain(text))) if text.size <= int(limit) else text.size
            if int(limit) < size:
                raise Permanent(f"{self.target.host} takes no mail above {limit} octets; this one has {size}",
                                552, "5.3.4")
        results: list[Result] = []
        mail, usable, utf8 = self._mail_from(job, size, ascii_only, results)
        waiting = usable
        while waiting:
            waiting = await self._transaction(mail, waiting, text, utf8, results)
        return results

    def _mail_from(self, job: Job, size: int, ascii_only: bool, results: list[Result]) -> tuple[
            str, list[envelope.Recipient], bool]:
        """MAIL FROM, the recipients that this server can be told, and whether it can be told UTF-8."""
        features, asked = self.features, dict(job.params)
        offers = "SMTPUTF8" in features
        wanted = not all(one.address.is_ascii for one in job.recipients) or (
            job.sender is not None and not job.sender.is_ascii) or (
            "SMTPUTF8" in asked and not job.message.header.isascii())
        utf8 = wanted and offers
        if wanted and not offers and "SMTPUTF8" in asked and not job.message.header.isascii():
            raise Permanent(f"{self.target.host} takes no internationalized mail (SMTPUTF8)", 550, "5.6.7")
        sender = _path(job.sender, utf8)
        if sender is None:
            raise Permanent(f"{self.target.host} takes no internationalized sender (SMTPUTF8)", 550, "5.6.7")
        words = [f"MAIL FROM:<{sender}>"]
        if "SIZE" in features:
            words.append(f"SIZE={size}")
        if not ascii_only and "8BITMIME" in features:
            words.append("BODY=8BITMIME")
        if utf8:
            words.append("SMTPUTF8")
        if "DSN" in features:
            words += [f"{key}={asked[key]}" for key in ("RET", "ENVID") if asked.get(key)]
        usable = []
        for one in job.recipients:
            if _path(one.address, utf8) is None:
                refusal = Permanent(f"{self.target.host} takes no internationalized address (SMTPUTF8)", 553, "5.6.7")
                results.append(Result(one, refusal, self.target.host))
            else:
                usable.append(one)
        return " ".join(words) + "\r\n", usable, utf8

    def _rcpt_to(self, one: envelope.Recipient, utf8: bool) -> str:
        line = f"RCPT TO:<{_path(one.address, utf8)}>"
        if one.params and "DSN" in self.features:
            line += "".join(f" {key}={value}" for key, value in one.params if key in ("NOTIFY", "ORCPT"))
        return line + "\r\n"

    async def _transaction(self, mail: str, recipients: list[envelope.Recipient], text: Message, utf8: bool,
                           results: list[Result]) -> list[envelope.Recipient]:
        """One MAIL with its RCPTs and text; the recipients for which there was no room in it."""
        rcpts = [self._rcpt_to(one, utf8) for one in recipients]
        begin = [f"RSET\r\n{mail}" if self._reset else mail, *rcpts]
        resets, self._reset = int(self._reset), True
        chunked, together = "CHUNKING" in self.features, "PIPELINING" in self.features
        content = b"".join(smtptext.plain(text)) if chunked and together and text.size <= SMALL else None
        last = [] if chunked and content is None else ["DATA\r\n"]
        if content is not None:
            last = [f"BDAT {len(content)} LAST\r\n"]
        replies = await self._ask([*begin, *last], together, resets, content)
        for reply in replies[:resets]:
            self._gone(reply)
        answer, rest = replies[resets], replies[resets + 1 :]
        if not answer.ok:
            if together and rest and rest[-1].code == 354:
                self.wire.fail("the server wants a mail that it refused")
            self._gone(answer)
            if answer.code == 421:
                raise Unreachable(f"{self.target.host}: {answer.text}", 421, "4.3.2")
            raise answer.error("1.0")
        accepted, later = self._sort(recipients, rest, results)
        final = rest[len(recipients)] if len(rest) > len(recipients) else None
        if not accepted:
            if final is not None and final.code == 354:
                self.wire.fail("the server wants a mail without recipients")
            return later
        if content is None and chunked:
            final = await self._chunks(text)
        elif content is None and final is not None and final.code == 354:
            final = await self._data(text)
        elif content is None and final is not None and final.ok:  # it has nothing of the text yet
            self.wire.fail("the server takes DATA for a whole mail")
            final = Reply(451, (f"4.5.0 said {final.code} to DATA",))
        assert final is not None
        self._finish(accepted, final, results)
        return later

    async def _ask(self, lines: list[str], together: bool, resets: int, content: bytes | None) -> list[Reply]:
        """The replies to the commands, sent in one go or one by one. Broken."""
        if not together:
            return await self._one_by_one(lines, resets)
        wire, seconds = self.wire, self.patience.answer
        data = "".join(lines).encode()
        wire.send(data + content if content is not None else data, len(lines) + resets)
        try:
            replies = await wire.gather(len(lines) + resets - (content is not None), seconds)
        except Broken:
            self.answered = bool(wire.take())
            raise
        self.answered = True
        return replies if content is None else [*replies, await self._last(replies[resets + 1 :])]

    async def _one_by_one(self, lines: list[str], resets: int) -> list[Reply]:
        """For a server without PIPELINING: what follows a refusal is not said."""
        wire, seconds = self.wire, self.patience.answer
        replies: list[Reply] = []
        if resets:
            wire.send(b"RSET\r\n")
            replies.append(await wire.reply(seconds))
        for number, line in enumerate(lines):
            if number == len(lines) - 1 and line == "DATA\r\n" and not any(one.ok for one in replies[resets + 1 :]):
                break
            wire.send(line.removeprefix("RSET\r\n").encode())
            replies.append(await wire.reply(seconds))
            self.answered = True
            if number == 0 and not replies[-1].ok:
                break
        return replies

    async def _last(self, answers: Iterable[Reply]) -> Reply:
        """The answer to the last octet of the text."""
        try:
            return await self.wire.reply(self.patience.data)
        except Broken as error:
            return self._lost(error, any(one.ok for one in answers))

    def _lost(self, error: Broken, handed_over: bool = True) -> Reply:
        if handed_over:
            return Reply(451, (f"4.4.2 {error}, after the last octet of the mail; it may arrive twice",))
        return Reply(451, (f"4.4.2 {error}",))

    async def _data(self, text: Message) -> Reply:
        """The text after 354, and what the server says to it."""
        wire = self.wire
        wire.expect(1)  # a server that had enough may say so before the end
        complete = False
        try:
            pending = b""
            for piece in smtptext.dotted(text):
                if pending:
                    wire.send(pending, 0)
                    await wire.drain(BLOCK_TIMEOUT)
                    early = wire.take()
                    if early:
                        wire.fail("the server answered before the end of the mail")
                        return early[0] if not early[0].ok else Reply(451, ("4.5.0 answered before the end",))
                pending = piece
            complete = True
            wire.send(pending + b".\r\n", 0)
            return await wire.reply(self.patience.data)
        except Broken as error:
            early = wire.take()
            return early[0] if early and not early[0].ok else self._lost(error, complete)

    async def _chunks(self, text: Message) -> Reply:
        """The text in BDAT commands (RFC 3030), written without waiting for the single answers."""
        wire, count, complete = self.wire, 0, False
        try:
            pieces = smtptext.plain(text)
            piece = next(pieces, b"")
            while True:
                following = next(pieces, None)
                complete = following is None
                wire.send(f"BDAT {len(piece)}{' LAST' if complete else ''}\r\n".encode() + piece)
                count += 1
                if following is None:
                    break
                await wire.drain(BLOCK_TIMEOUT)
                early = wire.take()
                count -= len(early)
                bad = next((one for one in early if not one.ok), None)
                if bad is not None:
                    wire.fail("the server refused a part of the mail")
                    return bad
                piece = following
            replies = await wire.gather(count, self.patience.data)
            return next((one for one in replies if not one.ok), replies[-1])
        except Broken as error:
            bad = next((one for one in wire.take() if not one.ok), None)
            return bad or self._lost(error, complete)

    def _sort(self, recipients: list[envelope.Recipient], replies: list[Reply], results: list[Result]) -> tuple[
            list[envelope.Recipient], list[envelope.Recipient]]:
        """Who was accepted, and who is for the next transaction; the refused ones get their results."""
        accepted, later, full = [], [], False
        for one, reply in zip(recipients, replies, strict=False):
            if reply.ok:
                accepted.append(one)
            elif reply.wants_split and len(recipients) > 1:
                results.append(Result(one, Split(reply.text, 451, "4.3.0"), self.target.host))
            elif accepted and reply.code in (452, 552) and (full or _too_many(reply)):
                later.append(one)  # RFC 5321 §4.5.3.1.10
                full = True
            else:
                self._gone(reply)
                results.append(Result(one, reply.error("1.1" if reply.code == 550 else "1.0"), self.target.host))
        return accepted, later

    def _finish(self, accepted: list[envelope.Recipient], final: Reply, results: list[Result]) -> None:
        self._gone(final)
        answer: MailError
        if final.ok:
            self._reset = False
            self.mails += 1
            answer = final.error("0.0")
        elif final.wants_split and len(accepted) > 1:
            answer = Split(final.text, 451, "4.3.0")
        else:
            answer = final.error("6.0" if final.code == 554 else "3.0")
        reports = "DSN" in self.features
        results.extend(Result(one, answer, self.target.host, reports) for one in accepted)

    def _gone(self, reply: Reply) -> None:
        """421: the server closes (RFC 5321 §3.8)."""
        if reply.code == 421:
            self.wire.fail(f"the server said 421 {reply.text}")

    def close(self) -> None:
        """QUIT."""
        self.wire.close()


def _too_many(reply: Reply) -> bool:
    text = reply.text.lower()
    return text.startswith(("4.5.3", "5.5.3")) or "too many" in text


def _unreachable(target: Target, reply: Reply, dsn: str) -> Unreachable:
    error = reply.error(dsn, code=reply.code if 400 <= reply.code < 600 else 451)
    return Unreachable(f"{target.host} said: {error}", 451, f"4.{error.dsn.partition('.')[2]}")


def _path(one: address.Address | None, utf8: bool) -> str | None:
    """An address as it goes over the wire; None when that needs SMTPUTF8 and there is none."""
    if one is None:
        return ""
    return str(one) if utf8 else one.in_ascii
