"""Mail from a Dovecot elsewhere into a Maildir: mails per second, against mbsync (IMAP) and mpop (POP3).

    python -m bench.fetch [--rounds 5] [--count 1000] [--dir DIR]

Ours goes by way of fetchmail, spool/queue and deliver, and keeps on the server what it fetched; the time begins with
the source being written into the account's file. The peers write into a Maildir of their own, and are started for it.
They take turns within each round; the numbers are medians of the rounds, and only their ratios mean anything.
"""

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import dovecot, mails, peers

SIZE = 5120
BOUND, GOAL = 1.0, 1.5

_MBSYNC = """
IMAPStore far
Host 127.0.0.1
Port {port}
User u0
Pass {secret}
SSLType None
AuthMechs LOGIN

MaildirStore near
Inbox {maildir}
Path {work}/

Channel all
Far :far:
Near :near:
Sync Pull
Create Near
SyncState *
"""
_MPOP = """
account default
host 127.0.0.1
port {port}
user u0
password {secret}
auth user
tls off
keep on
uidls_file {maildir}.uidls
delivery maildir {maildir}
"""
_PEERS = {"imap": ("mbsync", _MBSYNC, ["-q", "-c", "{file}", "all"]), "pop3": ("mpop", _MPOP, ["-Q", "-C", "{file}"])}


@dataclass
class Result:
    """The rounds of one side."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # ms per mail


def fill(far: dovecot.Dovecot, count: int) -> None:
    """The mailbox that everybody fetches."""
    box = far.maildir("u0")
    for name in ("tmp", "cur", "new"):
        (box / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = b"Message-ID: <%d@lan.test>\n" % number + mails.plain(SIZE)
        (box / "new" / f"{number}.M1P1.bench,S={len(text)},W={len(text) + text.count(10)}").write_bytes(text)
    subprocess.run(["chown", "-R", "mail:", box.parent], check=True)


def ours(near: peers.Server, far: dovecot.Dovecot, protocol: str, user: str, count: int, result: Result) -> None:
    """A new source; until all its mails are in the Maildir."""
    file, box = near.base / f"conf/accounts/{user}.toml", near.maildir(user)
    before, cpu, begun = _mails(box), near.cpu(), time.perf_counter()
    with file.open("a") as lines:
        lines.write(f'\n[sources.{protocol}]\ninterface = "standard"\nprotocol = "{protocol}"\nhost = "127.0.0.1"\n'
                    f'port = {far.ports[protocol]}\ntls = "none"\nuser = "u0"\npassword = "file:secrets/far"\n')
    deadline = begun + 300
    while _mails(box) < before + count:
        if time.perf_counter() > deadline:
            raise SystemExit(f"{before + count - _mails(box)} mails did not arrive")
        time.sleep(0.005)
    result.rates.append(count / (time.perf_counter() - begun))
    time.sleep(0.2)  # what is done after the last mail belongs to it as well
    result.cpu.append((near.cpu() - cpu) * 1000 / count)


def theirs(base: Path, far: dovecot.Dovecot, protocol: str, count: int, result: Result) -> None:
    """The peer into an empty Maildir."""
    program, text, words = _PEERS[protocol]
    work = Path(tempfile.mkdtemp(dir=base))
    box, file = work / "box", work / "rc"
    if protocol == "pop3":
        for name in ("tmp", "cur", "new"):
            (box / name).mkdir(parents=True)
    file.touch(0o600)
    file.write_text(text.format(port=far.ports[protocol], secret=peers.SECRET, maildir=box, work=work))
    cpu, begun = _children(), time.perf_counter()
    done = subprocess.run([program, *(word.format(file=file) for word in words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{program}: {done.stderr[-500:]}")
    result.rates.append(count / (time.perf_counter() - begun))
    result.cpu.append((_children() - cpu) * 1000 / count)
    if _mails(box) != count:
        raise SystemExit(f"{program} fetched {_mails(box)} of {count}")
    shutil.rmtree(work)


def _mails(box: Path) -> int:
    return sum(len(os.listdir(box / name)) for name in ("new", "cur") if (box / name).exists())


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(protocol: str, mine: Result, other: Result) -> str:
    """A line of the table."""
    ratios = sorted(one / two for one, two in zip(mine.rates, other.rates, strict=True))
    ratio = statistics.median(mine.rates) / statistics.median(other.rates)
    verdict = "goal" if ratio >= GOAL else "ok" if ratio >= BOUND else "BELOW"
    return (f"| {protocol}, {_PEERS[protocol][0]} | {statistics.median(mine.rates):.0f} "
            f"| {statistics.median(other.rates):.0f} | **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"| {BOUND} / {GOAL} {verdict} | {statistics.median(mine.cpu):.2f} | {statistics.median(other.cpu):.2f} |")


def compare(base: Path, rounds: int, count: int) -> None:
    """The table."""
    with contextlib.ExitStack() as stack:
        far = dovecot.start(base / "far")
        stack.callback(far.stop)
        fill(far, count)
        near = peers.lanmail(base / "near", "fetchmail", "deliver")
        stack.callback(near.stop)
        secret = near.base / "conf/secrets/far"
        secret.parent.mkdir(mode=0o700, exist_ok=True)
        secret.touch(0o600)
        secret.write_text(peers.SECRET)
        time.sleep(1)
        print("| 5 KB by | lanmail/s | peer/s | ratio (rounds) | promise / goal | CPU ms | peer |")
        print("|---|---|---|---|---|---|---|")
        for protocol, (program, _, _) in _PEERS.items():
            if shutil.which(program) is None:
                print(f"| {protocol} | {program} is not installed |")
                continue
            mine, other = Result(), Result()
            theirs(base, far, protocol, count, Result())  # warm up: Dovecot's index, caches
            for number in range(rounds):
                turns = [lambda at=number, to=mine, by=protocol: ours(near, far, by, f"u{at}", count, to),
                         lambda to=other, by=protocol: theirs(base, far, by, count, to)]
                for turn in turns if number % 2 else reversed(turns):
                    turn()
            print(row(protocol, mine, other), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Compare both protocols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, peers.USERS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--dir", type=Path, help="where the servers work; default: the directory of temporary files")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.dir, ignore_cleanup_errors=True) as directory:
        try:
            compare(Path(directory), options.rounds, options.count)
        except peers.Missing as error:
            print(f"not measured: {error}")


if __name__ == "__main__":
    main()
