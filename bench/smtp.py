"""SMTP to Maildir, end to end, against Postfix: mails per second until the last one lies in the Maildir, CPU per mail.

    python -m bench.smtp [--rounds 5] [--dir DIR] [--workers 1] [--quick]

The load comes from Postfix's smtp-source. The servers take turns within each round, at ordinary priority, so that noise
of the machine hits all of them; the numbers are medians of the rounds, and only their ratios mean anything.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers


@dataclass(frozen=True)
class Load:
    """One way to send mail."""

    name: str
    sessions: int
    count: int
    size: int
    keep: bool  # connections are used for more than one mail
    bound: float  # the ratio that is promised
    goal: float

    def command(self, port: int) -> list[str]:
        """Its smtp-source."""
        reuse = ["-d"] if self.keep else []
        return ["smtp-source", "-s", str(self.sessions), "-m", str(self.count), "-l", str(self.size), *reuse,
                "-f", "sender@far.example", "-t", f"u1@{peers.DOMAIN}", f"127.0.0.1:{port}"]


LOADS = (
    Load("5 KB, 1 session", 1, 500, 5120, keep=True, bound=1.0, goal=1.3),
    Load("5 KB, 10 sessions", 10, 2000, 5120, keep=True, bound=1.5, goal=2.5),
    Load("5 KB, 50 sessions", 50, 2000, 5120, keep=True, bound=1.5, goal=2.5),
    Load("5 KB, new connections", 10, 1200, 5120, keep=False, bound=1.3, goal=2.0),
    Load("1 MB, 10 sessions", 10, 120, 1 << 20, keep=True, bound=1.2, goal=2.0),
)


@dataclass
class Result:
    """The rounds of one server with one load."""

    rates: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # ms per mail


def entries(folder: Path) -> int:
    """Files in new/ (0 before the first mail)."""
    try:
        with os.scandir(folder / "new") as found:
            return sum(1 for _ in found)
    except FileNotFoundError:
        return 0


def once(server: peers.Server, load: Load, result: Result) -> None:
    """Send, wait for the last mail, note rate and CPU, clear the Maildir."""
    maildir = server.maildir("u1")
    before = entries(maildir)
    cpu, begun = server.cpu(), time.perf_counter()
    subprocess.run(load.command(server.ports["smtp"]), check=True, stdout=subprocess.DEVNULL)
    accepted = time.perf_counter() - begun
    while entries(maildir) < before + load.count:
        if time.perf_counter() - begun > 300:
            raise SystemExit(f"{server.name}: {entries(maildir) - before} of {load.count} mails arrived")
        time.sleep(0.005)
    taken = time.perf_counter() - begun
    time.sleep(0.05)  # what is done after the last rename belongs to it as well
    result.rates.append(load.count / taken)
    result.accepted.append(load.count / accepted)
    result.cpu.append((server.cpu() - cpu) * 1000 / load.count)
    for file in (maildir / "new").iterdir():
        file.unlink()


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


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/tmp", help="where the servers keep their mail; not a tmpfs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a fifth of the mails")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        servers = [peers.postfix(base / "postfix")]
        stack.callback(servers[0].stop)
        servers.append(peers.lanmail(base / "lanmail", "deliver", "smtpd",
                                     settings={"smtpd.workers": str(options.workers)}))
        stack.callback(servers[1].stop)
        idle = {server.name: server.memory() for server in servers}
        print("| SMTP → Maildir | lanmail/s | Postfix/s | ratio (rounds) | promise / goal | CPU ms | Postfix | ratio |")
        print("|---|---|---|---|---|---|---|---|")
        for load in LOADS:
            if options.quick:
                load = Load(load.name, load.sessions, load.count // 5, load.size, load.keep, load.bound, load.goal)
            results = {server.name: Result() for server in servers}
            for server in servers:
                once(server, load, Result())  # warm up: processes, caches
            for number in range(options.rounds):
                for server in servers if number % 2 else reversed(servers):
                    once(server, load, results[server.name])
            print(row(load, results), flush=True)
        busy = {server.name: server.memory() for server in servers}
        told = ", ".join(f"{name} {idle[name]:.0f} idle, {busy[name]:.0f} after" for name in idle)
        print(f"\nMemory (PSS, MiB): {told}")


if __name__ == "__main__":
    main()
