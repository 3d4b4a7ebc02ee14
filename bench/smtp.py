"""SMTP to Maildir, end to end, against Postfix: mails per second until the last one lies in the Maildir, CPU per mail.

    python -m bench.smtp [--rounds 5] [--dir DIR] [--workers 1 --workers 2] [--quick]

The load comes from Postfix's smtp-source. The servers take turns within each round, at ordinary priority, so that noise
of the machine hits all of them; the numbers are medians of the rounds, and only their ratios mean anything.
"""

import argparse
import contextlib
import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import peers


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass
class Result:
    """The rounds of one server with one load."""

    rates: list[float] = dataclasses.field(default_factory=list)
    accepted: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)  # ms per mail
    each: list[list[float]] = dataclasses.field(default_factory=list)  # the same for each program


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
    cpu, begun = server.cpu_each(), time.perf_counter()
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
    result.each.append([(now - then) * 1000 / load.count for now, then in zip(server.cpu_each(), cpu, strict=True)])
    result.cpu.append(sum(result.each[-1]))
    for file in (maildir / "new").iterdir():
        file.unlink()


def row(load: Load, workers: int, ours: Result, theirs: Result) -> str:
    """A line of the table."""
    ratios = sorted(mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True))
    ratio = statistics.median(ours.rates) / statistics.median(theirs.rates)
    cpu = statistics.median(ours.cpu) / max(0.001, statistics.median(theirs.cpu))
    each = " + ".join(f"{statistics.median(column):.2f}" for column in zip(*ours.each, strict=True))
    verdict = "goal" if ratio >= load.goal else "ok" if ratio >= load.bound else "BELOW"
    name = load.name if workers == 1 else f"{load.name}, {workers} workers"
    return (f"| {name} | {statistics.median(ours.rates):.0f} | {statistics.median(theirs.rates):.0f} "
            f"| **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {load.bound} / {load.goal} {verdict} "
            f"| {statistics.median(ours.cpu):.2f} ({each}) | {statistics.median(theirs.cpu):.2f} | **{cpu:.2f}** |")


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/tmp", help="where the servers keep their mail; not a tmpfs")
    parser.add_argument("--workers", type=int, action="append", help="of smtpd; several times: one beside the other")
    parser.add_argument("--quick", action="store_true", help="a fifth of the mails")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        postfix = peers.postfix(base / "postfix")
        stack.callback(postfix.stop)
        ours = {}
        for workers in options.workers or [1]:
            settings = {"smtpd.workers": str(workers)}
            ours[workers] = peers.lanmail(base / f"lanmail{workers}", "smtpd", "deliver", settings=settings)
            stack.callback(ours[workers].stop)
        print_memory("idle", postfix, ours)
        print("| SMTP → Maildir | lanmail/s | Postfix/s | ratio (rounds) | promise / goal "
              "| CPU ms (smtpd + deliver) | Postfix | ratio |")
        print("|---|---|---|---|---|---|---|---|")
        for load in LOADS:
            if options.quick:
                load = dataclasses.replace(load, count=load.count // 5)
            for line in compare(load, options.rounds, postfix, ours):
                print(line, flush=True)
        print()
        print_memory("after", postfix, ours)


def compare(load: Load, rounds: int, postfix: peers.Server, ours: dict[int, peers.Server]) -> list[str]:
    """Rounds of one load, the servers in turns; the lines of the table."""
    theirs, results = Result(), {workers: Result() for workers in ours}
    turns = [(postfix, theirs), *((server, results[workers]) for workers, server in ours.items())]
    for server, _ in turns:
        once(server, load, Result())  # warm up: processes, caches
    for number in range(rounds):
        for server, result in turns if number % 2 else reversed(turns):
            once(server, load, result)
    return [row(load, workers, result, theirs) for workers, result in results.items()]


def print_memory(when: str, postfix: peers.Server, ours: dict[int, peers.Server]) -> None:
    """PSS of all processes."""
    told = [f"{server.memory():.0f} lanmail ({workers} workers)" for workers, server in ours.items()]
    print(f"Memory {when} (PSS, MiB): {postfix.memory():.0f} Postfix, {', '.join(told)}\n")


if __name__ == "__main__":
    main()
