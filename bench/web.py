"""Size and time of every page of the web interface, in an office of many accounts.

    python -m bench.web [--accounts 500] [--mails 500] [--rounds 10]

httpd runs as a process of its own, as in service; each page is asked for by somebody who is logged in, one request
after the other, on a connection that stays open. Sizes are those of the HTML, uncompressed; the style sheet comes once.
There is no peer for this table.
"""

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from lanmail import paths
from tests import ports
from tests.browser import office, sitemap
from tests.browsing import PASSWORD

BIN = Path(__file__).resolve().parent.parent / "bin" / "lanmail-httpd"
MOST, LONGEST = 100 << 10, 0.2  # octets and seconds that a page may have


@contextlib.contextmanager
def serving(where: paths.Paths, port: int) -> Iterator[str]:
    """A running httpd."""
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([BIN, "--root", where.conf.parent], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/healthz", timeout=5)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def fill(base: Path, port: int, accounts: int, mails: int) -> paths.Paths:
    """The office, with mail that waits."""
    where = office.lay_out(base, accounts=accounts, httpd=f"port = {port}\ntls_port = 0")
    for number in range(mails):
        office.wait(where, "chef" if number % 2 else "meier", f"x{number}@far.example")
    return where


def measure(session: requests.Session, address: str, rounds: int) -> tuple[int, float, float]:
    """Octets, median and longest seconds."""
    size, times = len(session.get(address, timeout=60).content), []
    for _ in range(rounds):
        began = time.perf_counter()
        session.get(address, timeout=60)
        times.append(time.perf_counter() - began)
    return size, statistics.median(times), max(times)


def main(arguments: list[str]) -> None:
    """The table."""
    parser = argparse.ArgumentParser(prog="bench.web")
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--mails", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    wish = parser.parse_args(arguments)
    port, above = ports.free(), []
    with tempfile.TemporaryDirectory() as base, requests.Session() as session:
        where = fill(Path(base), port, wish.accounts, wish.mails)
        with serving(where, port) as url:
            site = sitemap.look(url, "chef")
            session.trust_env = False
            session.post(f"{url}/login", data={"user": "chef", "password": PASSWORD}, timeout=60)
            print(f"{wish.accounts} accounts, {wish.mails} mails that wait\n")
            print("| page | KB | ms, median | longest |\n|---|---|---|---|")
            for way in sorted({"/static/lanmail.css": "/static/lanmail.css", "/login": "/login", **site.pages}.items()):
                size, middle, longest = measure(session, url + way[1], wish.rounds)
                print(f"| {way[0]} | {size / 1024:.1f} | {middle * 1000:.0f} | {longest * 1000:.0f} |", flush=True)
                if size > MOST or middle > LONGEST:
                    above.append(way[0])
    print(f"\nabove {MOST >> 10} KB or {LONGEST * 1000:.0f} ms: {', '.join(above) or 'none'}")


if __name__ == "__main__":
    main([])
