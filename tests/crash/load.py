"""Mail on the wire, and a ledger of what exactly was answered to each."""

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.crash.rig import ACCOUNTS, DOMAIN

SENDER = "sender@elsewhere.example"
ACCEPTED, REFUSED, UNKNOWN, UNSENT = "accepted", "refused", "unknown", "unsent"


@dataclass
class Ledger:
    """What became of each mail: accepted (250), refused (an answer, and not 250), unknown (no answer), unsent."""

    fate: dict[str, str] = field(default_factory=dict)
    recipients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replies: list[str] = field(default_factory=list)
    accepted_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0

    def token(self, recipients: Sequence[str]) -> str:
        with self._lock:
            self._next += 1
            token = f"t{self._next:06d}"
            self.fate[token] = UNSENT
            self.recipients[token] = tuple(recipients)
            return token

    def note(self, token: str, fate: str, reply: str = "") -> None:
        with self._lock:
            self.fate[token] = fate
            if fate == ACCEPTED:
                self.accepted_at[token] = time.monotonic()
            elif reply:
                self.replies.append(reply)

    def tokens(self, fate: str) -> list[str]:
        return [token for token, one in self.fate.items() if one == fate]

    def __str__(self) -> str:
        counts = {fate: len(self.tokens(fate)) for fate in (ACCEPTED, REFUSED, UNKNOWN, UNSENT)}
        return f"{counts} {sorted(set(self.replies))[:5]}"


def message(token: str, size: int) -> bytes:
    """A mail that can be recognised and checked; lines with dots, no two bodies alike."""
    line = f"{token} .. The quick brown fox jumps over the lazy dog\n..\n.\n"
    body = (line * (size // len(line) + 1)).encode()
    check = hashlib.sha256(body).hexdigest()
    head = f"From: <{SENDER}>\nMessage-ID: <{token}@elsewhere.example>\nSubject: {token}\nX-Check: {check}\n\n"
    return head.encode() + body


class Client:
    """An SMTP client of a few lines, so that nothing is hidden: one connection, any number of mails."""

    def __init__(self, port: int, timeout: float = 30.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._buffer = b""
        try:
            self.reply()
            self.command("EHLO load.example")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def reply(self) -> str:
        """The last line of the next reply; ConnectionError when the server went away."""
        while True:
            line, found, rest = self._buffer.partition(b"\r\n")
            if found:
                self._buffer = rest
                if line[3:4] != b"-":
                    return line.decode()
                continue
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed by the server")
            self._buffer += data

    def command(self, line: str) -> str:
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def send(self, ledger: Ledger, recipients: Sequence[str], size: int = 2000) -> str:
        """Send one mail and write down what came of it; the last reply. Raises ConnectionError, TimeoutError."""
        token = ledger.token(recipients)
        commands = [f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{name}@{DOMAIN}>" for name in recipients), "DATA"]
        for line in commands:
            reply = self.command(line)
            if reply[0] not in "23":
                ledger.note(token, REFUSED, reply)
                if not reply.startswith("421"):
                    self.command("RSET")
                return reply
        text = message(token, size).replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..")
        self.socket.sendall(text)
        ledger.note(token, UNKNOWN)  # from the final dot on nobody knows, unless there is an answer
        self.socket.sendall(b".\r\n")
        reply = self.reply()
        ledger.note(token, ACCEPTED if reply.startswith("250") else REFUSED, reply)
        return reply

    def close(self) -> None:
        self.socket.close()


class Load:
    """Clients that send without a pause, through crashes and restarts, until `stop`."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        *,
        clients: int = 8,
        pause: float = 0.0,
        size: Callable[[random.Random], int] = lambda chance: chance.choice((300, 2000, 5000, 5000, 200_000)),
    ):
        self.port, self.ledger, self.pause, self.size = port, ledger, pause, size
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive(), "a client hangs: the server neither answered nor closed"

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stopping.is_set():
            try:
                with Client(self.port) as client:
                    self._send(client, chance)
            except OSError:  # ConnectionError and TimeoutError among them
                self._stopping.wait(0.02)

    def _send(self, client: Client, chance: random.Random) -> None:
        while not self._stopping.is_set():
            some = chance.sample(ACCOUNTS, chance.choice((1, 1, 1, 1, 3)))
            if client.send(self.ledger, some, self.size(chance)).startswith("421"):
                return
            time.sleep(self.pause)
