"""The child that examines: a length and so many octets in, a line of JSON out, again and again.

Memory and CPU time are limited for each examination; one that goes beyond ends the child, and another is started.
"""

import json
import logging
import os
import resource
import sys
from dataclasses import asdict

MEMORY = 1 << 30
SECONDS = 20
LENGTH = 8  # octets, big endian


def main() -> None:
    """Until the parent closes its end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    logging.disable()  # pypdf tells of what is odd in a PDF; it is not for us to judge
    from lanmail.invoices import examination
    from lanmail.invoices.verdict import undecided

    while head := sys.stdin.buffer.read(LENGTH):
        data = sys.stdin.buffer.read(int.from_bytes(head, "big"))
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            found = examination.examine(data)
        except MemoryError:
            found = undecided("it takes too much memory")
        except Exception as error:  # whatever a document makes of our code, it is not decided by it
            found = undecided(f"{type(error).__name__}: {error}"[:300])
        del data
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
