"""Fetching from a POP3 or IMAP server into a Maildir: mails per second, and the CPU each of them costs the fetcher.

    python -m bench pull [-- --rounds 3 --mails 1000 --mailboxes 200 --rows pop3,imap,idle --slow --dir DIR]

The server is Dovecot on this machine; everybody fetches the same mailbox of 5 KB messages in clear and leaves it there.
lanmail's way is the whole one: fetchmail puts the mails into spool/queue, deliver from there into the Maildir; both
are running, as they always do, and its time begins with the wish (`lanmail source fetch`). The peers take turns with
it within each round; what counts is the ratio of one run.

Then many mailboxes with push: how long until a mail that another server got is in the local Maildir.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import dovecot, mails, peers, pullers
from lanmail import paths
from lanmail.sources import place, status

SIZE = 5 << 10
DELAY, RSS = 1.0, 150.0  # seconds in the median, MiB
PATIENCE = 120


@dataclass
class Result:
    """The rounds of one fetcher."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # ms per mail


def fill(server: dovecot.Dovecot, user: str, count: int) -> None:
    """A mailbox with so many messages of 5 KB, seen before."""
    maildir = server.maildir(user)
    for sub in ("tmp", "new", "cur"):
        (maildir / sub).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (maildir / "cur" / f"{1_700_000_000 + number}.M1P1Q{number}.bench:2,S").write_bytes(message(number))
    for path in (maildir, *maildir.rglob("*")):
        shutil.chown(path, dovecot.USER, dovecot.USER)


def message(number: int) -> bytes:
    """5 KB of plain text; each is another one."""
    dice = random.Random(number)
    subject = " ".join(dice.choices(mails.WORDS[:8], k=4))
    head = (f"Return-Path: <anna@far.example>\nFrom: Anna <anna@far.example>\nTo: u0@{peers.DOMAIN}\n"
            f"Date: Mon, 03 Nov 2025 10:00:00 +0100\nSubject: {subject}\nMessage-ID: <{number}@far.example>\n"
            "Content-Type: text/plain; charset=utf-8\n\n").encode()
    lines = []
    size = len(head)
    while size < SIZE:
        lines.append(" ".join(dice.choices(mails.WORDS, k=9)).encode()[:76] + b"\n")
        size += len(lines[-1]) + 1
    return head + b"".join(lines)


class Ours:
    """lanmail with fetchmail and deliver; each run gets an account of its own, which was never fetched into."""

    def __init__(self, base: Path, server: dovecot.Dovecot) -> None:
        self.there = server
        self.paths = paths.of_root(base)
        self.running = peers.lanmail(base, "deliver", "fetchmail")
        self._secret()
        self._used = 0

    def _secret(self) -> None:
        self.paths.secrets.mkdir(mode=0o700, exist_ok=True)
        file = self.paths.secrets / "there"
        file.write_text(peers.SECRET + "\n")
        file.chmod(0o600)

    def add(self, account: str, sources: str) -> None:
        """Write sources into an account's file, at once."""
        file = self.paths.accounts / f"{account}.toml"
        fresh = file.with_name(f".{account}.new")
        fresh.write_text(f"{file.read_text()}\n{sources}")
        fresh.rename(file)

    def source(self, name: str, protocol: str, user: str, more: str = "") -> str:
        return (f'[sources.{name}]\ninterface = "standard"\nprotocol = "{protocol}"\nhost = "127.0.0.1"\ntls = "none"\n'
                f'port = {self.there.ports[protocol]}\nuser = "{user}"\npassword = "file:secrets/there"\n'
                f'mails_per_pass = 100000\n{more}')

    def once(self, protocol: str, count: int, result: Result) -> None:
        """Fetch the mailbox of u0 into the next account."""
        account, self._used = f"u{self._used}", self._used + 1
        new = self.running.maildir(account) / "new"
        cpu, begun = self.running.cpu(), time.perf_counter()
        self.add(account, self.source("there", protocol, "u0"))
        place.request(self.paths, account, "there")
        while not new.is_dir() or len(os.listdir(new)) < count:
            if time.perf_counter() > begun + PATIENCE:
                known = status.load(self.paths, account, "there")
                raise SystemExit(f"only {len(os.listdir(new))} mails came: {known}")
            time.sleep(0.01)
        result.rates.append(count / (time.perf_counter() - begun))
        time.sleep(0.2)  # what is done after the last mail belongs to it as well
        result.cpu.append((self.running.cpu() - cpu) * 1000 / count)


def once(tool: pullers.Tool, job: pullers.Job, count: int, result: Result) -> None:
    """Run a peer."""
    for sub in ("tmp", "new", "cur"):
        (job.maildir / sub).mkdir(parents=True)
        (job.maildir / sub).chmod(0o700)
    command = tool.command(job)
    cpu, begun = _children(), time.perf_counter()
    done = subprocess.run(["timeout", str(PATIENCE), *command], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False)
    taken = time.perf_counter() - begun
    came = sum(len(os.listdir(job.maildir / sub)) for sub in ("new", "cur"))
    if came < count:
        print(f"({tool.name} gave up with {came} of {count} mails, exit code {done.returncode}: not counted: "
              f"{done.stderr.decode(errors='replace')[-300:].strip()})")
        return
    result.rates.append(count / taken)
    result.cpu.append((_children() - cpu) * 1000 / count)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(protocol: str, count: int, tool: pullers.Tool, ours: Result, theirs: Result) -> str:
    """A line of the table."""
    bound, goal = tool.bounds[protocol]
    if not theirs.rates:
        return f"| {protocol.upper()}, {count} × 5 KB, {tool.name} | | no run came to its end | | | | | |"
    ratios = sorted(mine / other for mine, other in zip(ours.rates, theirs.rates, strict=False))
    ratio = statistics.median(ours.rates) / statistics.median(theirs.rates)
    cpu = statistics.median(ours.cpu) / max(0.001, statistics.median(theirs.cpu))
    verdict = "goal" if ratio >= goal else "ok" if ratio >= bound else "BELOW"
    return (f"| {protocol.upper()}, {count} × 5 KB, {tool.name} | {statistics.median(ours.rates):.0f} "
            f"| {statistics.median(theirs.rates):.0f} | **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"| {bound} / {goal} {verdict} | {statistics.median(ours.cpu):.2f} | {statistics.median(theirs.cpu):.2f} "
            f"| **{cpu:.2f}** |")


def compare(base: Path, ours: Ours, protocol: str, count: int, rounds: int, tools: list[pullers.Tool]) -> None:
    """The rows of one protocol."""
    results = {tool.name: Result() for tool in tools}
    mine = Result()
    for number in range(rounds):
        taking_turns: list[pullers.Tool | None] = [None, *tools]
        for tool in taking_turns if number % 2 else reversed(taking_turns):
            if tool is None:
                ours.once(protocol, count, mine)
                continue
            work = base / f"{tool.program}-{protocol}-{number}"
            work.mkdir()
            job = pullers.Job(work, protocol, ours.there.ports[protocol], "u0", peers.SECRET)
            once(tool, job, count, results[tool.name])
            shutil.rmtree(work)
    for tool in tools:
        print(row(protocol, count, tool, mine, results[tool.name]), flush=True)


def idle(ours: Ours, count: int, tries: int) -> None:
    """Many mailboxes with push; a mail comes into one after the other."""
    users = [f"m{number}" for number in range(count)]
    passwd = ours.there.base / "passwd"
    passwd.write_text(passwd.read_text() + "".join(f"{user}:{{PLAIN}}{peers.SECRET}\n" for user in users))
    with (ours.there.base / "dovecot.conf").open("a") as file:
        file.write("mailbox_idle_check_interval = 1s\n")  # for mailboxes that the kernel grants no more inotify
    os.kill(ours.there.pids[0], signal.SIGHUP)
    for user in users:
        fill(ours.there, user, 0)
    owners = {user: f"u{number % peers.USERS}" for number, user in enumerate(users)}
    tables: dict[str, list[str]] = {}
    for user, account in owners.items():
        tables.setdefault(account, []).append(ours.source(user, "imap", user, 'push = true\nevery = "1h"\n'))
    begun = time.perf_counter()
    for account, texts in tables.items():
        ours.add(account, "\n".join(texts))
    waiting = set(users)
    while waiting:
        waiting = {user for user in waiting if not status.load(ours.paths, owners[user], user).succeeded}
        if time.perf_counter() > begun + PATIENCE:
            raise SystemExit(f"{len(waiting)} mailboxes were never fetched, like {sorted(waiting)[0]}")
        time.sleep(0.2)
    ready = time.perf_counter() - begun
    time.sleep(3)  # the last ones begin to wait
    delays = sorted(_delay(ours, user, owners[user]) for user in random.Random(1).sample(users, min(tries, count)))
    pid = ours.running.pids[1]
    rss = _rss(pid)
    median = statistics.median(delays)
    print(f"\n{count} mailboxes with push, after {ready:.1f} s all wait: new mail is in the local Maildir after "
          f"{median:.2f} s in the median ({delays[0]:.2f}-{delays[-1]:.2f}; {'ok' if median <= DELAY else 'BELOW'}); "
          f"lanmail-fetchmail has {rss:.0f} MiB RSS ({'ok' if rss <= RSS else 'BELOW'})")


def _delay(ours: Ours, user: str, account: str) -> float:
    """Seconds from a mail's arrival there to its being here."""
    there, here = ours.there.maildir(user), ours.running.maildir(account) / "new"
    before = len(os.listdir(here)) if here.is_dir() else 0
    draft = there / "tmp" / f"{time.time():.6f}.M2P1.bench"
    draft.write_bytes(message(1))
    shutil.chown(draft, dovecot.USER, dovecot.USER)
    begun = time.perf_counter()
    draft.rename(there / "new" / draft.name)
    while not here.is_dir() or len(os.listdir(here)) <= before:
        if time.perf_counter() > begun + PATIENCE:
            raise SystemExit(f"the mail for {user} did not come: {status.load(ours.paths, account, user)}")
        time.sleep(0.005)
    return time.perf_counter() - begun


def _rss(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS:"))


def main(arguments: list[str] | None = None) -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--mailboxes", type=int, default=200, help="with push")
    parser.add_argument("--rows", default="pop3,imap,idle")
    parser.add_argument("--peers", default=",".join(tool.name for tool in pullers.TOOLS))
    parser.add_argument("--dir", default="/var/tmp", help="where the Maildirs are; not a tmpfs")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="lanmail-bench-", dir=options.dir))
    base.chmod(0o755)
    rows = options.rows.split(",")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        server = dovecot.start(base / "dovecot")
        stack.callback(server.stop)
        fill(server, "u0", options.mails)
        ours = Ours(base / "lanmail", server)
        stack.callback(ours.running.stop)
        wanted = [tool for tool in pullers.TOOLS if tool.there and tool.name in options.peers.split(",")]
        missing = [tool.name for tool in pullers.TOOLS if not tool.there]
        print("| fetching | lanmail/s | peer/s | ratio (rounds) | promise / goal | CPU ms | peer | ratio |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for protocol in ("pop3", "imap"):
            if protocol in rows:
                compare(base, ours, protocol, options.mails, options.rounds,
                        [tool for tool in wanted if protocol in tool.bounds])
        if missing:
            print(f"\nnot measured, for they are not installed: {', '.join(missing)}")
        if "idle" in rows:
            idle(ours, options.mailboxes, 50)


if __name__ == "__main__":
    main()
