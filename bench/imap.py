"""IMAP beside Dovecot 2.3: what a log-in, a mailbox of many messages, and many idle clients cost.

    python -m bench imap -- [--messages 10000] [--rounds 3] [--rows first,flags,…] [--dir DIR] [--workers 1]

In each round both servers get a new mailbox with the same files (hard links) and do one row after the other, taking
turns. The numbers are medians of the rounds; only ratios mean anything (ours divided by theirs: less is better).
Each row brings about what it needs, so that any of them can be run alone. `--rows list` names them.
"""

import argparse
import contextlib
import os
import resource
import shutil
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import dovecot, mails, peers
from bench.pop3 import spread
from lanmail import paths
from lanmail.textindex import indexes

SUMMARY = b"FETCH 1:* (ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)"
IDLE = 1000
FIRST_EXTRA = 10  # u0 … u9 are for the rounds, u10 … u19 for connections that need little mail


class Client:
    """Reads up to the tagged answer and no further; parses nothing."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket)
        self.socket.recv(8192)
        self.buffer = bytearray(1 << 18)

    def say(self, command: bytes) -> None:
        """Send a command and wait for its OK."""
        self.socket.sendall(b"T7Q3 " + command + b"\r\n")
        self.answer()

    def answer(self) -> None:
        tail, view, needle = b"\r\n", memoryview(self.buffer), b"\r\nT7Q3 "
        while True:
            size = self.socket.recv_into(view)
            if not size:
                raise ConnectionError(tail)
            # the tagged answer is short, and it is the last that comes
            tail = (tail + bytes(view[:size]) if size < 1000 else bytes(view[size - 1000 : size]))[-1000:]
            found = tail.rfind(needle)
            if found >= 0 and tail.endswith(b"\r\n"):
                if not tail.startswith(b"OK", found + len(needle)):
                    raise ConnectionError(tail[found:])
                return

    def append(self, folder: bytes, message: bytes) -> None:
        self.socket.sendall(b"T7Q3 APPEND %b {%d}\r\n" % (folder, len(message)))
        if not self.socket.recv(1000).startswith(b"+"):
            raise ConnectionError("APPEND refused")
        self.socket.sendall(message + b"\r\n")
        self.answer()

    def log_in(self, user: str) -> "Client":
        self.say(f"LOGIN {user} {peers.SECRET}".encode())
        return self

    def close(self) -> None:
        self.socket.close()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@dataclass
class Stage:
    """One server in one round, with a mailbox of its own that nobody has seen yet."""

    server: peers.Server
    user: str
    store: Path
    done: set[str] = field(default_factory=set)
    connection: Client | None = None

    def __post_init__(self) -> None:
        inbox = self.server.maildir(self.user)
        for sub in ("tmp", "new", "cur"):
            (inbox / sub).mkdir(parents=True, exist_ok=True)
        names = os.listdir(self.store)
        for name in names:
            os.link(self.store / name, inbox / "cur" / name)
        if self.server.name != "lanmail":
            for path in (inbox, *(inbox / sub for sub in ("tmp", "new", "cur"))):
                shutil.chown(path, dovecot.USER, dovecot.USER)

    def client(self, *, tls: bool = False) -> Client:
        """A new connection, logged in."""
        return Client(self.server.ports["imaps" if tls else "imap"], trusting() if tls else None).log_in(self.user)

    def inbox(self) -> Client:
        """The connection that has INBOX selected."""
        if self.connection is None:
            self.connection = self.client()
            self.connection.say(b"SELECT INBOX")
        return self.connection

    def once(self, name: str, command: bytes) -> None:
        """What another row does, too, without measuring it."""
        if name not in self.done:
            self.done.add(name)
            self.inbox().say(command)

    def timed(self, *commands: bytes, client: Client | None = None) -> float:
        """Milliseconds."""
        client = client or self.inbox()
        begun = time.perf_counter()
        for command in commands:
            client.say(command)
        return (time.perf_counter() - begun) * 1000

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


def log_in(stage: Stage) -> float:
    """CPU of the server for a log-in and what follows from it."""
    stage.client().close()
    cpu = stage.server.cpu()
    for _ in range(100):
        client = stage.client()
        client.say(b"LOGOUT")
        client.close()
    return (stage.server.cpu() - cpu) * 10


def first_select(stage: Stage) -> float:
    stage.connection = stage.client()
    return stage.timed(b"SELECT INBOX")


def later_select(stage: Stage) -> float:
    stage.inbox()
    taken = []
    for _ in range(5):
        client = stage.client()
        taken.append(stage.timed(b"SELECT INBOX", client=client))
        client.close()
    return statistics.median(taken)


def summary_cold(stage: Stage) -> float:
    stage.inbox()
    stage.done.add("summary")
    return stage.timed(SUMMARY)


def summary_warm(stage: Stage) -> float:
    stage.once("summary", SUMMARY)
    return stage.timed(SUMMARY)


def summary_new(stage: Stage) -> float:
    stage.once("summary", SUMMARY)
    client = stage.client()
    client.say(b"SELECT INBOX")
    taken = stage.timed(SUMMARY, client=client)
    client.close()
    return taken


def bodies_tls(stage: Stage) -> float:
    client = stage.client(tls=True)
    client.say(b"SELECT INBOX")
    taken = stage.timed(b"FETCH 1:* BODY.PEEK[]", client=client)
    client.close()
    return taken


def subjects(stage: Stage) -> float:
    stage.once("summary", SUMMARY)
    return stage.timed(b"SEARCH SUBJECT " + mails.RARE.encode())


BODY = b"SEARCH BODY " + mails.RARE.encode()


def body(stage: Stage) -> float:
    taken = stage.timed(BODY)
    stage.done.add("body")
    await_index(stage)  # or its making would disturb the other rows
    return taken


def indexed(stage: Stage) -> float:
    stage.once("body", BODY)
    await_index(stage)
    return stage.timed(BODY)


def await_index(stage: Stage) -> None:
    """The first search lets our server make an index in the background."""
    if stage.server.name == "lanmail":
        own = indexes.Indexes(paths.of_root(stage.server.base).indexes)
        deadline = time.monotonic() + 1000
        while time.monotonic() < deadline and not ((now := own.progress(stage.user)) and now.finished):
            time.sleep(0.1)
        while own.filling():
            time.sleep(0.1)


def copy(stage: Stage) -> float:
    stage.inbox().say(b"CREATE Kopie")
    stage.done.add("copy")
    return stage.timed(b"COPY 1:* Kopie")


def move(stage: Stage) -> float:
    if "copy" not in stage.done:
        copy(stage)
    client = stage.client()
    client.say(b"CREATE Ziel")
    client.say(b"SELECT Kopie")
    taken = stage.timed(b"MOVE 1:* Ziel", client=client)
    client.close()
    return taken


def expunge(stage: Stage) -> float:
    stage.inbox().say(rb"STORE 1:* +FLAGS.SILENT (\Deleted)")
    return stage.timed(b"EXPUNGE")


def appending(clients: int, each: int) -> Callable[[Stage], float]:
    """Messages stored by so many clients at once, each in a mailbox of its own; ms each."""
    message = mails.plain(5120).replace(b"\n", b"\r\n")

    def run(stage: Stage) -> float:
        port = stage.server.ports["imap"]

        def one(number: int) -> None:
            client = Client(port).log_in(f"u{FIRST_EXTRA + number}")
            for _ in range(each):
                client.append(b"INBOX", message)
            client.close()

        spread(lambda number: Client(port).log_in(f"u{FIRST_EXTRA + number}").close(), clients)
        begun = time.perf_counter()
        spread(one, clients)
        return (time.perf_counter() - begun) * 1000 / (clients * each)

    return run


def idle(*, tls: bool) -> Callable[[Stage], float]:
    """PSS with many connections in IDLE."""
    def run(stage: Stage) -> float:
        context = trusting() if tls else None
        clients = []
        try:
            for number in range(IDLE):
                client = Client(stage.server.ports["imaps" if tls else "imap"], context)
                client.buffer = bytearray(1 << 13)
                clients.append(client.log_in(f"u{FIRST_EXTRA + number % 10}"))
                client.say(b"SELECT INBOX")
                client.socket.sendall(b"T7Q3 IDLE\r\n")
            time.sleep(1)
            return stage.server.memory()
        finally:
            for client in clients:
                client.close()

    return run


def notice(stage: Stage) -> float:
    """From a new file to the untagged EXISTS: the median of some."""
    client = Client(stage.server.ports["imap"]).log_in("u19")
    client.say(b"SELECT INBOX")
    client.socket.sendall(b"T7Q3 IDLE\r\n")
    client.socket.recv(1000)
    maildir, taken = stage.server.maildir("u19"), []
    for number in range(15):
        time.sleep(0.1)
        name = f"{time.time_ns() // 10**9}.M{time.time_ns() % 10**9 // 1000}P{os.getpid()}Q{number}.bench"
        (maildir / "tmp" / name).write_bytes(mails.message(number))
        if stage.server.name != "lanmail":
            shutil.chown(maildir / "tmp" / name, dovecot.USER, dovecot.USER)
        begun = time.perf_counter()
        (maildir / "tmp" / name).rename(maildir / "new" / name)
        said = b""
        while b" EXISTS\r\n" not in said:
            said += client.socket.recv(4096)
        taken.append((time.perf_counter() - begun) * 1000)
    client.close()
    return statistics.median(taken)


def command(text: bytes) -> Callable[[Stage], float]:
    """A row that is one command in INBOX."""
    return lambda stage: stage.timed(text)


@dataclass(frozen=True)
class Row:
    """What is measured; `bar` and `goal` are for ours divided by theirs. Rows done `once` cost more than they vary."""

    key: str
    name: str
    unit: str
    bar: float
    goal: float
    run: Callable[[Stage], float]
    once: bool = False


ROWS = (
    Row("login", "log-in", "ms CPU", 0.3, 0.1, log_in),
    Row("first", "first SELECT, no cache", "ms", 1.2, 0.8, first_select),
    Row("later", "later SELECT", "ms", 1.0, 0.7, later_select),
    Row("flags", "FETCH 1:* (UID FLAGS)", "ms", 1.0, 0.7, command(b"FETCH 1:* (UID FLAGS)")),
    Row("cold", "FETCH ENVELOPE … BODYSTRUCTURE, cold", "ms", 1.2, 0.8, summary_cold),
    Row("warm", "the same, warm, same session", "ms", 0.7, 0.3, summary_warm),
    Row("new", "the same, warm, new session", "ms", 0.7, 0.3, summary_new),
    Row("bodies", "FETCH BODY.PEEK[]", "ms", 1.1, 0.9, command(b"FETCH 1:* BODY.PEEK[]")),
    Row("tls", "FETCH BODY.PEEK[], TLS", "ms", 1.0, 0.9, bodies_tls),
    Row("subject", "SEARCH SUBJECT", "ms", 1.0, 0.5, subjects),
    Row("body", "SEARCH BODY, no index", "ms", 1.2, 0.8, body),
    Row("indexed", "SEARCH BODY, with our index", "ms", 0.1, 0.02, indexed),
    Row("store", "STORE of all", "ms", 1.2, 0.8, command(rb"STORE 1:* +FLAGS.SILENT (\Flagged)")),
    Row("copy", "COPY of all", "ms", 1.2, 0.8, copy),
    Row("move", "MOVE of all", "ms", 1.2, 0.8, move),
    Row("expunge", "EXPUNGE of all", "ms", 1.2, 0.8, expunge),
    Row("append", "APPEND 5 KB, 1 client", "ms each", 1.0, 0.5, appending(1, 150)),
    Row("append10", "APPEND 5 KB, 10 clients", "ms each", 1.0, 0.5, appending(10, 30)),
    Row("exists", "new file → untagged EXISTS", "ms", 0.1, 0.01, notice),
    Row("idle", f"{IDLE:,} idle connections", "MiB PSS", 0.15, 0.08, idle(tls=False), once=True),
    Row("idletls", f"{IDLE:,} idle connections, TLS", "MiB PSS", 0.15, 0.08, idle(tls=True), once=True),
)


def line(row: Row, results: dict[str, list[float]]) -> str:
    """A line of the table."""
    ours, theirs = statistics.median(results["lanmail"]), statistics.median(results["dovecot"])
    ratios = sorted(mine / max(other, 0.001)
                    for mine, other in zip(results["lanmail"], results["dovecot"], strict=True))
    ratio = statistics.median(ratios)
    verdict = "goal" if ratio <= row.goal else "ok" if ratio <= row.bar else "ABOVE"
    return (f"| {row.name}, {row.unit} | {ours:.2f} | {theirs:.2f} "
            f"| **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {row.bar} / {row.goal} {verdict} |")


def fill(store: Path, messages: int) -> None:
    """The files of all mailboxes, with the names that any server of Maildirs would give them."""
    store.mkdir()
    for number in range(messages):
        data = mails.message(number)
        name = f"{1_700_000_000 + number}.M{number}P1.host,S={len(data)},W={len(data) + data.count(b'%c' % 10)}:2,"
        (store / (name + ("S" if number % 4 else ""))).write_bytes(data)
    shutil.chown(store, dovecot.USER, dovecot.USER)
    for path in store.iterdir():
        shutil.chown(path, dovecot.USER, dovecot.USER)


def run(servers: list[peers.Server], store: Path, rows: list[Row], rounds: int) -> None:
    """All rounds, then the table."""
    results: dict[str, dict[str, list[float]]] = {row.key: {one.name: [] for one in servers} for row in rows}
    for turn in range(rounds):
        stages = [Stage(server, f"u{turn}", store) for server in servers]
        for row in rows:
            if turn and row.once:
                continue
            for stage in stages if turn % 2 else reversed(stages):
                results[row.key][stage.server.name].append(row.run(stage))
        for stage in stages:
            stage.close()
    for row in rows:
        print(line(row, results[row.key]), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, FIRST_EXTRA + 1))
    parser.add_argument("--rows", default="")
    parser.add_argument("--dir", default="/var/tmp", help="where the servers keep their mail")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    wanted = options.rows.split(",") if options.rows else [row.key for row in ROWS]
    if unknown := set(wanted) - {row.key for row in ROWS}:
        raise SystemExit(f"not {', '.join(sorted(unknown))}; rows: {' '.join(row.key for row in ROWS)}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        settings = {"imapd.workers": str(options.workers), "imapd.max_connections": "5000",
                    "imapd.max_connections_per_user": "5000"}
        servers: list[peers.Server] = []
        for start in (lambda: dovecot.start(base / "dovecot"),
                      lambda: peers.lanmail(base / "lanmail", "imapd", settings=settings)):
            servers.append(start())
            stack.callback(servers[-1].stop)
        fill(base / "store", options.messages)
        print(f"| IMAP, {options.messages:,} messages | lanmail | Dovecot | ratio (rounds) | bar / goal |")
        print("|---|---|---|---|---|", flush=True)
        run(servers, base / "store", [row for row in ROWS if row.key in wanted], options.rounds)


if __name__ == "__main__":
    main()
