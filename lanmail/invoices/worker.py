"""The child that examines: a line of JSON and so many octets in, a line of JSON and the XML of invoices out, and again.

    worker.py MEMORY SECONDS      octets of memory and seconds of CPU time for one examination

An examination that goes beyond ends the child, and another is started. It ends when its parent closes the pipe; signals
that are meant for the parent (Ctrl-C, the end of a service) leave it alone, for they say nothing of a document.
"""

import contextlib
import json
import logging
import resource
import signal
import sys
from dataclasses import asdict

from lanmail.invoices.verdict import Result, Wish, undecided

MAX_XML = 60 << 20  # of all invoices of a mail, when they are to be handed over


def main() -> None:
    """Until the parent closes its end."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _give_way()
    logging.disable()  # pypdf tells of what is odd in a PDF; it is not for us to judge
    from lanmail.invoices import examination  # behind the limits

    while head := sys.stdin.buffer.readline():
        asked = json.loads(head)
        data = sys.stdin.buffer.read(asked["size"])
        if len(data) < asked["size"]:
            return  # the parent died
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, resource.RLIM_INFINITY))
        try:
            result = examination.examine(data, Wish(**asked["wish"]))
        except MemoryError:
            result = Result(undecided("it takes too much memory"))
        except Exception as error:  # whatever a document makes of our code, it is not decided by it
            result = Result(undecided(f"{type(error).__name__}: {error}"[:300]))
        del data
        _answer(result, asked["xml"])
        del result


def _give_way() -> None:
    """The first to be killed when the machine has no memory left."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")


def _answer(result: Result, xml: bool) -> None:
    if xml and sum(len(content) for _, content in result.invoices) > MAX_XML:
        result = Result(undecided("too-large"))
    given = [(one, content if xml else b"") for one, content in result.invoices]
    line = {"verdict": asdict(result.verdict), "invoices": [[asdict(one), len(content)] for one, content in given]}
    out = sys.stdout.buffer
    out.write(json.dumps(line).encode() + b"\n")
    out.writelines(content for _, content in given)
    out.flush()


if __name__ == "__main__":
    main()
