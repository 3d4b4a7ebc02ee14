"""A message that a command or a page puts into a Maildir: into tmp/ piece by piece, then into its place by others."""

import contextlib
import os
from collections.abc import Iterator

from lanmail import atomic, maildir, spool


class Unable(Exception):
    """The account cannot take mail now. The run must end: what its journal announced did not all come."""


@contextlib.contextmanager
def able(where: str) -> Iterator[None]:
    """What the disk says is Unable."""
    try:
        yield
    except OSError as error:
        raise Unable(f"{where}: {error.strerror or error}") from error


class Draft:
    """A message being written to tmp/, its line ends made LF."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/{maildir.SUBDIRS[0]}/{spool.new_id()}"
        self.size = self.lines = 0
        self._held = b""
        with able(directory):
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)

    def write(self, data: bytes) -> None:
        """More of the message, with CRLF, LF or both."""
        if self._held:
            data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        self._put((data[:-1] if self._held else data).replace(b"\r\n", b"\n"))

    def _put(self, data: bytes) -> None:
        with able(self.path):
            atomic.write_all(self._descriptor, data)
        self.size += len(data)
        self.lines += data.count(b"\n")

    @property
    def wire_size(self) -> int:
        return self.size + self.lines

    def finish(self, date: float | None) -> None:
        """All is written."""
        self._put(self._held)
        self._held = b""
        if date is not None:
            with contextlib.suppress(OverflowError, OSError):
                os.utime(self._descriptor, (date, date))

    def flush(self) -> None:
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def settle(self) -> None:
        """Flush and close it; it waits in tmp/ for what else belongs to it."""
        self.flush()
        os.close(self._descriptor)
        self._descriptor = -1

    def drop(self) -> None:
        """Close it, and remove it if it is still in tmp/."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with contextlib.suppress(OSError):
            os.unlink(self.path)
