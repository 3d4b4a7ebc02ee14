"""Mails per second through deliver, by what the settings of the account do with them.

    python -m bench.rules [--mails 1000] [--rounds 3] [--dir DIR]

The queue is full when deliver starts (`--once`), each mail is of another sender and to one of ten accounts; the numbers
are medians of the rounds, in which the settings take turns. What deliver needs to start and to end is taken off, as
measured with an empty queue. "Of a core" is what one would do if it had nothing to wait for. There is no peer for this
table: Sieve's vacation answers a sender once, and keeps no journal.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import mails
from lanmail import address, envelope, paths, spool

BIN = Path(__file__).resolve().parent.parent / "bin" / "lanmail-deliver"
ACCOUNTS = 10
GOAL = 500.0  # mails per second of a core, with autoresponder and archive
RESPONDER = '[autoresponder]\nenabled = true\ntext = "Grüße, [FROMNAME]. Ich bin weg.\\n"\n'
CASES = {
    "none": "",
    "forward": '[forward]\nto = ["other"]\nkeep = true\n',
    "archive": "archive = true\n",
    "autoresponder": RESPONDER,
    "autoresponder and archive": "archive = true\n" + RESPONDER,
}


def fill(where: paths.Paths, settings: str, count: int) -> None:
    """conf/ and a full queue."""
    where.accounts.mkdir(parents=True, exist_ok=True)
    where.config_file.write_text('[server]\ndomain = "lan.test"\n')
    for name in ("other", *(f"u{number}" for number in range(ACCOUNTS))):
        (where.accounts / f"{name}.toml").write_text("postmaster = true\n" if name == "other" else
                                                     settings or "disabled = false\n")
    queue = spool.queue(where)
    queue.ensure()
    for number in range(count):
        head = envelope.Envelope(address.parse(f"a{number}@far.test"),
                                 [envelope.Recipient(address.parse(f"u{number % ACCOUNTS}@lan.test"))],
                                 origin=envelope.Origin("mx", (("client", "192.0.2.1"),)))
        data = envelope.encode(head) + mails.message(number)
        (queue.new / f"{spool.new_id()},S={len(data)},W={len(data) + data.count(10)}").write_bytes(data)
    queue.close()


def run(base: Path) -> tuple[float, float]:
    """Seconds, and seconds of CPU, until deliver has emptied its queue."""
    os.sync()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([BIN, "--root", base, "--once"], check=True)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(base: Path, settings: str, count: int) -> tuple[float, float]:
    """Mails per second, and per second of CPU."""
    where = paths.of_root(base)
    fill(where, settings, 0)
    idle = run(base)
    fill(where, settings, count)
    busy = run(base)
    delivered = sum(len(os.listdir(where.maildirs / f"u{number}" / "new")) for number in range(ACCOUNTS))
    answers = len(os.listdir(where.outbound / "new"))
    assert (delivered, answers) == (count, count if RESPONDER in settings else 0), (delivered, answers)
    return count / (busy[0] - idle[0]), count / (busy[1] - idle[1])


def main(arguments: list[str]) -> None:
    """The table."""
    parser = argparse.ArgumentParser(prog="bench.rules")
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None)
    given = parser.parse_args(arguments)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(given.rounds):
        for name, settings in CASES.items():
            base = Path(tempfile.mkdtemp(prefix="lanmail-rules", dir=given.dir))
            try:
                found[name].append(measure(base, settings, given.mails))
            finally:
                shutil.rmtree(base)
    print("| settings of the account | mails/s | mails/s of a core |\n|---|---|---|")
    for name, rounds in found.items():
        print(f"| {name} | {statistics.median(one[0] for one in rounds):.0f} | "
              f"{statistics.median(one[1] for one in rounds):.0f} |")
    print(f"\nThe goal is {GOAL:.0f} mails/s of a core with autoresponder and archive.")


if __name__ == "__main__":
    main(sys.argv[1:])
