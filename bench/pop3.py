"""POP3 against Dovecot: messages fetched and log-ins per second, and the CPU each of them costs the server.

    python -m bench.pop3 [--rounds 5] [--dir DIR] [--workers 1] [--quick]

The servers take turns within each round, at ordinary priority, so that noise of the machine hits all of them; the
numbers are medians of the rounds, and only their ratios mean anything. Each connection is a process with a blocking
socket and a mailbox of its own; its reader only looks for the end of the answer, so that it costs little.

"fast" is what Dovecot's manual calls high performance mode: processes are used again, good log-ins remembered.
"""

import argparse
import contextlib
import os
import shutil
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import dovecot, peers

SMALL, LARGE = 5120, 1 << 20
CONNECTIONS = 10
LINE = b"x" * 70 + b".\n"


class Client:
    """A POP3 client as cheap as can be."""

    def __init__(self, port: int, tls: bool) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.rest = b""
        self.answer(b"\n")

    def answer(self, end: bytes) -> int:
        """Read up to and including `end`; how many octets that was."""
        data = bytearray(self.rest)
        start = 0
        while (found := data.find(end, start)) < 0:
            start = max(0, len(data) - len(end))
            more = self.socket.recv(1 << 18)
            if not more:
                raise ConnectionError(bytes(data[-200:]))
            data += more
        self.rest = bytes(data[found + len(end):])
        if data[:3] != b"+OK":
            raise ConnectionError(bytes(data[:200]))
        return found + len(end)

    def say(self, command: bytes, end: bytes = b"\n") -> int:
        self.socket.sendall(command + b"\r\n")
        return self.answer(end)

    def log_in(self, user: str) -> None:
        self.say(b"USER " + user.encode())
        self.say(b"PASS " + peers.SECRET.encode())

    def quit(self) -> None:
        self.say(b"QUIT")
        self.socket.close()


@dataclass(frozen=True)
class Load:
    """One thing to measure: `count` of it, spread over the connections. `rival` is the server to compare with."""

    name: str
    kind: str  # retr, pipelined, login
    connections: int
    count: int
    size: int = SMALL
    tls: bool = False
    rival: str = "dovecot"
    bound: float = 1.0
    goal: float = 1.5

    def run(self, port: int, number: int) -> None:
        """The part of one connection."""
        share = self.count // self.connections
        user = f"u{number + (10 if self.size == LARGE else 0)}"
        if self.kind == "login":
            for _ in range(share):
                client = Client(port, self.tls)
                client.log_in(user)
                client.say(b"STAT")
                client.quit()
            return
        client = Client(port, self.tls)
        client.log_in(user)
        if self.kind == "pipelined":
            for begin in range(1, share + 1, 50):
                numbers = range(begin, min(begin + 50, share + 1))
                client.socket.sendall(b"".join(b"RETR %d\r\n" % one for one in numbers))
                for _ in numbers:
                    client.answer(b"\r\n.\r\n")
        else:
            for one in range(1, share + 1):
                client.say(b"RETR %d" % one, b"\r\n.\r\n")
        client.quit()


LOADS = (
    Load("RETR 5 KB, 1 connection", "retr", 1, 300),
    Load("RETR 5 KB, 10 connections", "retr", 10, 3000),
    Load("RETR 5 KB, 10 connections, pipelined", "pipelined", 10, 3000),
    Load("RETR 5 KB, 10 connections, TLS", "retr", 10, 3000, tls=True),
    Load("RETR 1 MB, 10 connections", "retr", 10, 200, LARGE, bound=0.8, goal=0.8),
    Load("RETR 1 MB, 10 connections, TLS", "retr", 10, 100, LARGE, tls=True, goal=1.2),
    Load("log-in, STAT, QUIT", "login", 10, 400, bound=5.0, goal=5.0),
    Load("log-in, STAT, QUIT; Dovecot fast", "login", 10, 400, rival="dovecot-fast", goal=1.5),
    Load("log-in with TLS; Dovecot fast", "login", 10, 200, tls=True, rival="dovecot-fast"),
)


@dataclass
class Result:
    """The rounds of one server with one load."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # ms each


def spread(work: Callable[[int], None], connections: int) -> None:
    """Run `work` in that many processes at once."""
    children = []
    for number in range(connections):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(codes):
        raise SystemExit("a client failed")


def once(server: peers.Server, load: Load, result: Result) -> None:
    port = server.ports["pop3s" if load.tls else "pop3"]
    cpu, begun = server.cpu(), time.perf_counter()
    spread(lambda number: load.run(port, number), load.connections)
    taken = time.perf_counter() - begun
    result.rates.append(load.count / taken)
    result.cpu.append((server.cpu() - cpu) * 1000 / load.count)


def fill(server: peers.Server) -> None:
    """The same mail for all: u0 … u9 with small, u10 … u19 with large messages, all read before."""
    for number in range(peers.USERS):
        maildir = server.maildir(f"u{number}")
        for sub in ("tmp", "new", "cur"):
            (maildir / sub).mkdir(parents=True, exist_ok=True)
        size, count = (SMALL, 300) if number < 10 else (LARGE, 20)
        lines = (size - 40) // (len(LINE) + 1)
        data = b"Subject: x\n\n.\n" + LINE * lines
        wire = len(data) + lines + 3
        for message in range(count):
            name = f"{1_700_000_000 + message}.M{message}P1.host,S={len(data)},W={wire}:2,S"
            (maildir / "cur" / name).write_bytes(data)
    if server.name != "lanmail":
        for path in (server.base / "mail").rglob("*"):
            shutil.chown(path, dovecot.USER, dovecot.USER)


def row(load: Load, results: dict[str, Result]) -> str:
    """A line of the table."""
    ours, theirs = results["lanmail"], results[load.rival]
    ratios = sorted(mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True))
    ratio = statistics.median(ours.rates) / statistics.median(theirs.rates)
    cpu = statistics.median(ours.cpu) / max(0.001, statistics.median(theirs.cpu))
    verdict = "goal" if ratio >= load.goal else "ok" if ratio >= load.bound else "BELOW"
    return (f"| {load.name} | {statistics.median(ours.rates):.0f} | {statistics.median(theirs.rates):.0f} "
            f"| **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {load.bound} / {load.goal} {verdict} "
            f"| {statistics.median(ours.cpu):.3f} | {statistics.median(theirs.cpu):.3f} | **{cpu:.2f}** |")


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/tmp", help="where the servers keep their mail")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        servers = [dovecot.start(base / "dovecot")]
        stack.callback(servers[0].stop)
        servers.append(dovecot.start(base / "dovecot-fast", performance=True))
        stack.callback(servers[1].stop)
        servers.append(peers.lanmail(base / "lanmail", "pop3d", settings={"pop3d.workers": str(options.workers)}))
        stack.callback(servers[2].stop)
        idle = {server.name: server.memory() for server in servers}
        for server in servers:
            fill(server)
        print("| POP3 | lanmail/s | Dovecot/s | ratio (rounds) | promise / goal | CPU ms | Dovecot | ratio |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for load in LOADS:
            taking_part = [server for server in servers if server.name in ("lanmail", load.rival)]
            for server in taking_part:
                once(server, load, Result())  # warm: page cache, Dovecot's indexes, good log-ins
            results = {server.name: Result() for server in taking_part}
            for turn in range(2 if options.quick else options.rounds):
                for server in taking_part if turn % 2 else reversed(taking_part):
                    once(server, load, results[server.name])
            print(row(load, results), flush=True)
        print("\nIdle, PSS in MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in idle.items()))


if __name__ == "__main__":
    main()
