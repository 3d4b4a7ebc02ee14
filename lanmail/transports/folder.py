"""Transport folder: each mail becomes a file in a directory, for other software to pick up.

The file is called ID.eml (ID-N.eml for the N-th part of a split mail) and appears whole: it is written under a name
that starts with a dot, flushed to disk, and renamed. It starts with X-Sender and X-Receiver lines, the form of
spool/pickup and of the IIS and Exchange pickup directories, unless `envelope` is off. A second try of the same mail
replaces the file of the first, so whoever has not yet taken it gets it once.

Whatever goes wrong (no directory, no space, no permission) means: not sent, to be tried again.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lanmail import atomic, envelope
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result, Unreachable, sent

MODE = 0o660  # the software that takes the files is of our group


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._pool = ThreadPoolExecutor(4, "folder")  # a directory on a network may keep a thread waiting

    async def send(self, job: Job) -> list[Result]:
        """Put one message into the directory. Unreachable when it takes no files, Temporary."""
        directory = _directory(job.way)
        await asyncio.get_running_loop().run_in_executor(self._pool, _put, directory, job)
        return sent(job, f"stored as {directory / _name(job)}", str(directory))

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None]) -> None:
        """See whether files can be made there, and leave none."""
        directory = _directory(way)
        say(f"making a file in {directory}")
        await asyncio.get_running_loop().run_in_executor(self._pool, _try, directory)
        say("made, flushed and removed again")

    async def close(self) -> None:
        """Nothing is kept open."""
        self._pool.shutdown(wait=False)


def _directory(way: Outgoing) -> Path:
    if not way.folder.path:
        raise Unreachable("no way out is configured: outgoing.folder.path names no directory", 451, "4.3.5")
    return Path(way.folder.path)


def _name(job: Job) -> str:
    return f"{job.part}.eml"


def _put(directory: Path, job: Job) -> None:
    temporary = directory / f".{job.part}.tmp"
    try:
        with _writing(temporary) as descriptor:
            if job.way.folder.envelope:
                head = envelope.Envelope(job.sender, job.recipients, job.params)
                atomic.write_all(descriptor, envelope.encode(head))
            for piece in job.message.chunks():
                atomic.write_all(descriptor, piece)
            os.fsync(descriptor)
        os.rename(temporary, directory / _name(job))
        atomic.sync_dir(directory)
    except OSError as error:
        _clear(temporary)
        raise _trouble(directory, error) from error
    except BaseException:
        _clear(temporary)
        raise


def _try(directory: Path) -> None:
    temporary = directory / ".lanmail-probe.tmp"
    try:
        with _writing(temporary) as descriptor:
            os.fsync(descriptor)
    except OSError as error:
        raise _trouble(directory, error) from error
    finally:
        _clear(temporary)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[int]:
    _clear(path)  # of a try that was cut short
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _trouble(directory: Path, error: OSError) -> Temporary:
    """The directory is in trouble, not this mail: nothing else need be tried there for a while."""
    what = "is not there" if isinstance(error, FileNotFoundError) else f"takes no file: {error.strerror or error}"
    return Unreachable(f"the directory {directory} {what}", 451, "4.3.0")
