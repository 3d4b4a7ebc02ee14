"""E-invoices: how long a warm examiner takes for a mail with one; the examination alone against the factur-x library.

    python -m bench.einvoice [--corpus DIR] [--rounds 5]

The examiner gets whole mails with the document attached in base64, and answers over a pipe. The ratios are those of the
examination alone: it and factur-x (its newest release, installed into a virtual environment that is thrown away) get
the document from memory, each in its own process; factur-x without a schema and with. All take turns in each round.
Without a corpus the documents are those of the tests.
"""

import argparse
import base64
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from lanmail.invoices import examination
from lanmail.invoices.examiner import Examiner
from lanmail.invoices.verdict import Wish
from tests import invoices

BOUNDS = {"xml": 5.0, "pdf": 30.0}  # ms, promised
CORPUS = Path(__file__).resolve().parent.parent.parent / "shared/corpus/einvoice-dev"
_PEER = """
import json, logging, pathlib, sys, time
import facturx
from lxml import etree
logging.disable()
def plain(data):
    if data.startswith(b"%PDF"):
        return facturx.get_xml_from_pdf(data, check_xsd=False)
    root = etree.fromstring(data)
    return facturx.get_level(root) if facturx.get_flavor(root) else None
def checked(data):
    if data.startswith(b"%PDF"):
        return facturx.get_xml_from_pdf(data, check_xsd=True)
    return facturx.xml_check_xsd(data)
work = {"plain": plain, "checked": checked}
print("ready", flush=True)
for line in sys.stdin:
    how, name = json.loads(line)
    data = pathlib.Path(name).read_bytes()
    begun = time.perf_counter()
    try:
        work[how](data)
    except Exception:
        pass
    print(time.perf_counter() - begun, flush=True)
"""


class Peer:
    """factur-x in a process of its own."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory / "venv", with_pip=True)
        python = directory / "venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "factur-x"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shown = [python, "-c", "from importlib.metadata import version; print(version('factur-x'))"]
        self.version = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()
        self.process = subprocess.Popen([python, "-c", _PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def take(self, how: str, path: Path) -> float:
        """Seconds for one document."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([how, str(path)]) + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def documents(corpus: Path, directory: Path) -> dict[str, list[Path]]:
    """XML documents and hybrid PDFs, e-invoices all of them."""
    if corpus.is_dir():
        expected = json.loads((corpus / "expected.json").read_text())
        good = [corpus / name for name, answer in expected.items()
                if name.startswith("files/") and not answer["ambiguous"] and answer["kind"] != "not-einvoice"]
    else:
        good = [directory / "invoice.xml", directory / "invoice.pdf"]
        good[0].write_bytes(invoices.ubl())
        good[1].write_bytes(invoices.hybrid(("factur-x.xml", invoices.cii())))
    return {kind: [path for path in good if path.suffix == f".{kind}"] for kind in BOUNDS}


def mail(path: Path) -> bytes:
    """A message with a document attached."""
    head = f"Content-Type: application/octet-stream; name={path.suffix}\nContent-Transfer-Encoding: base64"
    return invoices.mail(invoices.TEXT, (head, base64.encodebytes(path.read_bytes())))


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.einvoice")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    logging.disable()  # pypdf tells of what is odd in a PDF
    with tempfile.TemporaryDirectory() as name, Examiner() as examiner:
        directory = Path(name)
        try:
            peer = Peer(directory)
        except (subprocess.CalledProcessError, OSError) as error:
            peer = None
            print(f"factur-x cannot be installed here ({error}), so it is left out\n")
        for one in (invoices.cii(), invoices.hybrid(("factur-x.xml", invoices.cii()))):
            examiner.examine(one)  # warm
        head = ("documents", "a mail, ms", "largest", "promised", "alone, ms", "factur-x, ms", "ratio",
                "with schema, ms", "ratio")
        print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
        for kind, paths in documents(asked.corpus, directory).items():
            _line(kind, paths, examiner, peer, asked.rounds)
        if peer is not None:
            print(f"\nfactur-x {peer.version}, Python {sys.version.split()[0]}")
            peer.close()


def _line(kind: str, paths: list[Path], examiner: Examiner, peer: Peer | None, rounds: int) -> None:
    mails = {path: mail(path) for path in paths}
    ours: list[float] = []
    bare: list[float] = []
    theirs: dict[str, list[float]] = {"plain": [], "checked": []}
    for _ in range(rounds):
        for path, data in mails.items():
            begun = time.perf_counter()
            found = examiner.examine(data, Wish(every=True)).verdict
            ours.append(time.perf_counter() - begun)
            assert found.is_einvoice, path
            document = path.read_bytes()
            begun = time.perf_counter()
            examination.examine(document)
            bare.append(time.perf_counter() - begun)
            for how, times in theirs.items():
                if peer is not None:
                    times.append(peer.take(how, path))
    median = statistics.median(ours) * 1000
    alone = statistics.median(bare) * 1000
    cells = [f"{len(paths)} {kind}", f"{median:.1f}", f"{max(ours) * 1000:.0f}", f"{BOUNDS[kind]:.0f}", f"{alone:.1f}"]
    for times in theirs.values():
        other = statistics.median(times) * 1000 if times else 0.0
        cells += [f"{other:.1f}", f"{other / alone:.1f}"] if times else ["-", "-"]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
