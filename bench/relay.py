"""SMTP in, SMTP out: mails per second from smtp-source through the server to smtp-sink, its smarthost, against Postfix.

    python -m bench.relay [--rounds 5] [--dir DIR] [--quick] [--backlog 100000]

The servers take turns within each round, at ordinary priority; the numbers are medians of the rounds, and only their
ratios mean anything. Then relay is started with a backlog of entries: how long until the first one is delivered, and
how much memory it takes.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers
from lanmail import address, envelope, paths, spool

FIRST = 10.0  # seconds to the first delivery with the whole backlog waiting
RSS = 200.0  # MiB


@dataclass(frozen=True)
class Load:
    """One way to send mail."""

    name: str
    sessions: int
    count: int
    size: int
    bound: float  # the ratio that is promised
    goal: float


LOADS = (
    Load("5 KB, 10 sessions", 10, 2000, 5120, bound=1.5, goal=2.5),
    Load("5 KB, 1 session", 1, 500, 5120, bound=1.0, goal=1.5),
    Load("1 MB, 10 sessions", 10, 120, 1 << 20, bound=1.0, goal=1.5),
)


@dataclass
class Result:
    """The rounds of one server with one load."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # ms per mail


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Sink:
    """An smtp-sink that counts. (With -M it would exit before it answers the last mail, which then comes again.)"""

    def __init__(self) -> None:
        self.port = free_port()
        self.count = 0
        self._process = subprocess.Popen(["smtp-sink", "-c", "-u", "nobody", f"127.0.0.1:{self.port}", "256"],
                                         stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        peers.await_port(self.port)

    def _read(self) -> None:
        assert self._process.stdout is not None
        text = b""
        while piece := os.read(self._process.stdout.fileno(), 65536):
            text = (text + piece)[-200:]
            self.count = int((re.findall(rb"mesg=(\d+)[\r\n]", text) or [self.count])[-1])

    def wait(self, count: int) -> None:
        """Until that many mails came in all."""
        deadline = time.perf_counter() + 300
        while self.count < count:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{count - self.count} mails did not arrive")
            time.sleep(0.002)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def once(server: peers.Server, sink: Sink, load: Load, result: Result) -> None:
    """Send, wait until the sink has the last one, note rate and CPU."""
    before, cpu, begun = sink.count, server.cpu(), time.perf_counter()
    port = server.ports["lan" if server.name == "lanmail" else "smtp"]
    subprocess.run(["smtp-source", "-s", str(load.sessions), "-m", str(load.count), "-l", str(load.size), "-d",
                    "-f", f"u0@{peers.DOMAIN}", "-t", "b@example.test", f"127.0.0.1:{port}"],
                   check=True, stdout=subprocess.DEVNULL)
    sink.wait(before + load.count)
    taken = time.perf_counter() - begun
    time.sleep(0.1)  # what is done after the last answer belongs to it as well
    result.rates.append(load.count / taken)
    result.cpu.append((server.cpu() - cpu) * 1000 / load.count)


def row(load: Load, results: dict[str, Result]) -> str:
    """A line of the table."""
    ours, theirs = results["lanmail"], results["postfix"]
    ratios = sorted(mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True))
    ratio = statistics.median(ours.rates) / statistics.median(theirs.rates)
    cpu = statistics.median(ours.cpu) / max(0.001, statistics.median(theirs.cpu))
    verdict = "goal" if ratio >= load.goal else "ok" if ratio >= load.bound else "BELOW"
    return (f"| {load.name} | {statistics.median(ours.rates):.0f} | {statistics.median(theirs.rates):.0f} "
            f"| **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {load.bound} / {load.goal} {verdict} "
            f"| {statistics.median(ours.cpu):.2f} | {statistics.median(theirs.cpu):.2f} | **{cpu:.2f}** |")


def compare(base: Path, rounds: int, quick: bool) -> None:
    """The table against Postfix."""
    with contextlib.ExitStack() as stack:
        sinks = {"postfix": Sink(), "lanmail": Sink()}
        for sink in sinks.values():
            stack.callback(sink.stop)
        servers = [peers.postfix(base / "postfix", f"relayhost = [127.0.0.1]:{sinks['postfix'].port}\n")]
        stack.callback(servers[0].stop)
        servers.append(peers.lanmail(base / "lanmail", "relay", "deliver", "smtpd", settings={
            "smtpd.lan.networks": "127.0.0.0/8", "smtpd.lan.port": "2500", "outgoing.host": "127.0.0.1",
            "outgoing.port": str(sinks["lanmail"].port), "outgoing.tls": "none"}))
        stack.callback(servers[1].stop)
        print("| SMTP → relay → SMTP | lanmail/s | Postfix/s | ratio (rounds) | promise / goal | CPU ms | Postfix "
              "| ratio |")
        print("|---|---|---|---|---|---|---|---|")
        for load in LOADS:
            if quick:
                load = Load(load.name, load.sessions, load.count // 5, load.size, load.bound, load.goal)
            results = {server.name: Result() for server in servers}
            for server in servers:
                once(server, sinks[server.name], load, Result())  # warm up: processes, caches
            for number in range(rounds):
                for server in servers if number % 2 else reversed(servers):
                    once(server, sinks[server.name], load, results[server.name])
            print(row(load, results), flush=True)


def backlog(base: Path, count: int) -> None:
    """Start relay with many entries waiting."""
    where = paths.of_root(base)
    where.accounts.mkdir(parents=True)
    sink = Sink()
    where.config_file.write_text(f'[server]\ndomain = "{peers.DOMAIN}"\n'
                                 f'[outgoing]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n')
    out = spool.outbound(where)
    out.ensure()
    head = envelope.Envelope(address.parse(f"u0@{peers.DOMAIN}"), [envelope.Recipient(address.parse("b@example.test"))],
                             origin=envelope.Origin("lan"))
    text = envelope.encode(head) + b"Return-Path: <u0@lan.test>\nSubject: x\n\n" + (b"x" * 70 + b"\n") * 10
    for _ in range(count):
        (out.new / f"{spool.new_id()},S={len(text)}").write_bytes(text)
    begun = time.perf_counter()
    relay = subprocess.Popen([str(peers.HERE / "bin/lanmail-relay"), "--root", str(base)], stdin=subprocess.DEVNULL)
    try:
        first, worst = 0.0, 0.0
        while relay.poll() is None:
            done, taken = sink.count, time.perf_counter() - begun
            worst = max(worst, _rss(relay.pid))
            first = first or (taken if done else 0.0)
            if done >= count or taken > 600 or (first and taken > first + 60):
                break
            time.sleep(0.25 if first else 0.02)
        print(f"\n{count} entries waiting: first delivery after {first:.1f} s ({'ok' if first <= FIRST else 'BELOW'}), "
              f"{done} in {taken:.0f} s ({done / taken:.0f}/s), "
              f"RSS {worst:.0f} MiB ({'ok' if worst <= RSS else 'BELOW'})")
    finally:
        relay.terminate()
        relay.wait(40)
        sink.stop()


def _rss(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0.0)


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/tmp", help="where the servers keep their mail; not a tmpfs")
    parser.add_argument("--quick", action="store_true", help="a fifth of the mails")
    parser.add_argument("--backlog", type=int, default=100_000, help="entries that wait at the start; 0 leaves it out")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    try:
        compare(base, options.rounds, options.quick)
        if options.backlog:
            backlog(base / "backlog", options.backlog // (5 if options.quick else 1))
    except peers.Missing as missing:
        print(f"not measured: {missing}")
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
