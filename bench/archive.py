"""The archive's index: how fast mail comes in, how large it gets, how long a query takes; beside grep and notmuch.

    python -m bench archive -- [--mails 100000] [--dir DIR]

The mails are made on the fly, German office mail with a vocabulary of 40,000 words, frequent as words are (Zipf), two
in ten with an attachment. notmuch gets the same files if it is installed. Everything is removed at the end.
"""

import argparse
import base64
import functools
import hashlib
import itertools
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lanmail import paths
from lanmail.archiving import finding, following, index, journal, query

ACCOUNTS = [f"u{number}" for number in range(20)]
NAMES = ["Müller", "Schmidt", "Weiß", "Meier", "Krüger", "Hofmann", "Schäfer", "Koch", "Bauer", "Richter", "Wolf"]
ROOTS = [
    "Vertrag", "Rechnung", "Lieferung", "Termin", "Prüfung", "Anfrage", "Büro", "Schlüssel", "Straße", "Größe",
    "Änderung", "Projekt", "Kunde", "Zahlung", "Urlaub", "Lager", "Server", "Netz", "Wartung", "Entwurf", "Angebot",
    "Preis", "Haus", "Bau", "Plan", "Werk", "Maschine", "Teil", "Satz", "Stand", "Bericht", "Sitzung", "Auftrag",
    "Konto", "Steuer", "Brief", "Post", "Karte", "Liste", "Zahl", "Nummer", "Datei", "Akte", "Frist", "Antrag",
    "Bescheid",
]
ENDINGS = ("", "", "", "s", "en", "e", "er", "ung", "ungen", "lich", "liche")
SMALL = [
    "der", "die", "und", "in", "zu", "den", "das", "nicht", "von", "sie", "ist", "des", "sich", "mit", "dem", "dass",
    "er", "es", "ein", "ich", "auf", "so", "eine", "auch", "als", "an",
]
START = 1_735_689_600  # 2025-01-01
QUERIES = ("Vertragsprüfung", "Lieferungen", "der", "Rechnung Zahlung", '"und die"', "from:Müller", "subject:Angebot",
           "filename:rechnung", "after:2026-03 Termin", "account:u7 direction:out Preis", "-Vertrag Server",
           "Rech*", "to:u3@office.lan", "has:attachment larger:5KB", "Urlaubsplan Haus -Lager", "", "on:2025-06-15")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench archive")
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--dir", help="where the archive is made")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="bench-archive-", dir=options.dir))
    try:
        _measure(paths.of_root(base), options.mails)
    finally:
        shutil.rmtree(base)


def _measure(where: paths.Paths, count: int) -> None:
    octets, text = _make(where, count)
    began, cpu = time.monotonic(), time.process_time()
    following.fill(where)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    size = index.size(index.path(where))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} mails, {octets / 1e6:.0f} MB, {text / 1e6:.0f} MB of text; SQLite, {os.cpu_count()} cores\n")
    print("| | measured | to be |\n|---|---|---|")
    print(f"| mails indexed/s | {count / wall:.0f} ({count / cpu:.0f} of CPU time) | ≥ 1000 |")
    print(f"| index : text | {size / text:.2f} ({size / 1e6:.0f} MB) | ≤ 2 |")
    with index.Reader(index.path(where)) as reader:
        _print_queries(reader, finding.EVERYTHING, "all")
        _print_queries(reader, finding.visible_to("u7"), "one account")
        (seconds, _), found = _timed(lambda: list(finding.scan(reader, query.parse("prüfung", time.time()),
                                                               finding.EVERYTHING)))
        print(f"| --substring prüfung: {found} mails, ms | {seconds * 1000:.0f} | |")
    print(f"| memory, MiB | {memory:.0f} | |")
    for name, made in (("grep", _grep), ("notmuch", _notmuch)):
        if shutil.which(name) is None:
            print(f"| {name} | not installed | |")
        else:
            made(where)


def _print_queries(reader: index.Reader, scope: finding.Scope, who: str) -> None:
    for relevance in (False, True):
        times: dict[str, tuple[float, float]] = {}
        for text in QUERIES:
            search = functools.partial(finding.search, reader, query.parse(text, time.time()), scope,
                                       relevance=relevance)
            rounds = [_timed(search)[0] for _ in range(5)]
            times[text] = (statistics.median(wall for wall, _ in rounds), min(cpu for _, cpu in rounds))
        worst = max(times, key=lambda text: times[text])
        order = "by relevance" if relevance else "the newest first"
        for at, what in enumerate(("ms", "ms of CPU time")):
            each = [pair[at] * 1000 for pair in times.values()]
            print(f"| query, {who}, {order}, {what}: median, slowest | {statistics.median(each):.1f}, {max(each):.1f} "
                  f"(`{worst or 'everything'}`) | {'≤ 50' if not at else ''} |")


def _timed(work: Callable[[], list[finding.Found]]) -> tuple[tuple[float, float], int]:
    """Seconds on the clock and of CPU time, and how many were found."""
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    return (time.perf_counter() - began, time.process_time() - cpu), len(found)


def _grep(where: paths.Paths) -> None:
    began = time.perf_counter()
    done = subprocess.run(["grep", "-rlai", "--", "Vertragsprüfung", str(where.archive)], capture_output=True,
                          check=False)
    print(f"| grep -rlai Vertragsprüfung: {len(done.stdout.splitlines())} files, ms | "
          f"{(time.perf_counter() - began) * 1000:.0f} | |")


def _notmuch(where: paths.Paths) -> None:
    """`notmuch new` over the same files, and a count of one word."""
    environment = {**os.environ, "NOTMUCH_CONFIG": str(where.root / "notmuch-config")}
    (where.root / "notmuch-config").write_text(
        f"[database]\npath={where.archive}\n[user]\nname=x\n[new]\nignore=journal.jsonl\n")
    began = time.perf_counter()
    subprocess.run(["notmuch", "new", "--quiet"], env=environment, check=True)
    wall = time.perf_counter() - began
    count = sum(1 for _ in where.archive.glob("*/cur/*"))
    size = sum(path.stat().st_size for path in (where.archive / ".notmuch").rglob("*") if path.is_file())
    print(f"| notmuch: mails/s, index MB | {count / wall:.0f}, {size / 1e6:.0f} | |")
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(["notmuch", "search", "--limit=50", "Lieferungen"], env=environment, check=True,
                       capture_output=True)
        times.append(time.perf_counter() - began)
    print(f"| notmuch search Lieferungen, ms (a process each time) | {statistics.median(times) * 1000:.0f} | |")


# the mails


def _vocabulary() -> tuple[list[str], list[float]]:
    dice = random.Random(1)
    compounds = [f"{one}{link}{two.lower()}{end}" for one, two in itertools.product(ROOTS, ROOTS)
                 for link in ("s", "") for end in dice.sample(ENDINGS, 9)]
    dice.shuffle(compounds)
    words = list(dict.fromkeys([*SMALL, *ROOTS, *compounds]))[:40_000]
    return words, list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))


def _make(where: paths.Paths, count: int) -> tuple[int, int]:
    """Fill an archive; octets of its files, and of the text in them."""
    words, weights = _vocabulary()
    octets = text = 0
    book = journal.Journal(where)
    bodies = []
    for number in range(count):
        arrived = START + number * 63_072_000 // count
        entry, length = _entry(number, arrived, words, weights)
        text += length
        octets += len(entry)
        bodies.append(_put(where, number, arrived, entry))
        if len(bodies) == 2000 or number == count - 1:
            book.append(bodies)
            bodies = []
    book.close()
    return octets, text


def _people(number: int) -> Iterator[tuple[str, str]]:
    dice = random.Random(number)
    while True:
        account = dice.choice(ACCOUNTS)
        yield account, f"{dice.choice(NAMES)} <{account}@office.lan>"


def _entry(number: int, arrived: int, words: list[str], weights: list[float]) -> tuple[bytes, int]:
    dice = random.Random(number)
    people = _people(number)
    (sender, author), (receiver, to) = next(people), next(people)
    subject = " ".join(dice.choices(words, cum_weights=weights, k=5))
    body = dice.choices(words, cum_weights=weights, k=min(3000, int(dice.lognormvariate(5, 0.8)) + 10))
    text = "\n".join(" ".join(body[start : start + 11]) for start in range(0, len(body), 11))
    head = (f"X-Sender: <{sender}@office.lan>\nX-Receiver: <{receiver}@office.lan>\n"
            f"Return-Path: <{sender}@office.lan>\nFrom: {author}\nTo: {to}\nSubject: {subject}\n"
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime(arrived))}\n"
            f"Message-ID: <{number}@office.lan>\n")
    kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    if number % 5:
        whole = f"{head}{kind}{text}\n"
    else:
        data = base64.encodebytes(dice.randbytes(3000)).decode()
        whole = (f"{head}Content-Type: multipart/mixed; boundary=b\n\n--b\n{kind}{text}\n--b\n"
                 f"Content-Type: application/pdf\nContent-Disposition: attachment; filename=Rechnung-{number}.pdf\n"
                 f"Content-Transfer-Encoding: base64\n\n{data}\n--b--\n")
    return whole.encode(), len(f"{author}{to}{subject}{text}".encode())


def _put(where: paths.Paths, number: int, arrived: int, entry: bytes) -> dict[str, object]:
    """A file of the store without a flush, and what the journal says of it."""
    month, digest = time.strftime("%Y-%m", time.gmtime(arrived)), hashlib.sha256(entry).hexdigest()
    people = _people(number)
    sender, receiver = next(people)[0], next(people)[0]
    file = f"{month}/cur/{arrived}.M{number:06}P1Q1.bench,S={len(entry)},H={digest[:32]}:2,S"
    path = where.archive / file
    if number % 500 == 0 or not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(entry)
    return {"kind": journal.MAIL, "id": f"{arrived}.M{number:06}P1Q1.bench", "form": "accepted", "file": file,
            "sha256": digest, "size": len(entry), "arrived": journal.stamp(arrived), "direction": "both",
            "submitter": sender, "receivers": [receiver], "how": "submission", "sender": f"{sender}@office.lan",
            "recipients": [f"{receiver}@office.lan"], "message_id": f"<{number}@office.lan>"}


if __name__ == "__main__":
    main()
