"""Files that are either the old or the new one, and opens that a hostile file cannot turn against us.

Invariants: `write` never leaves a half-written file under its final name, not even after a power cut; what stands there
and is no file (a directory, FIFO, link of somebody else) is renamed, never removed.
`open_regular` never blocks (FIFO, device), never follows a link out of the tree, never returns anything but a
regular file: everything that other programs may have dropped is opened through it.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotRegular(OSError):
    """The name is there, but it is a link, FIFO, device, socket or directory."""


class TooLarge(OSError):
    """The file is larger than the caller allows."""


def write(path: str | os.PathLike[str], data: bytes | str, *, mode: int = 0o640, durable: bool = True) -> None:
    """Replace the file at `path` by `data`, durably: temporary file beside it, fsync, rename, fsync of the directory.

    What can be made again without harm need not be `durable`.

    Raises OSError; the old file is then untouched.
    """
    target = Path(path)
    raw = data.encode() if isinstance(data, str) else data
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            write_all(descriptor, raw)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        set_aside(target)
        os.rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_dir(target.parent)


def create(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o640) -> None:
    """A file that was not there, durably, by one fsync: only where that commits the rename, too (spool.one_fsync).

    A power cut may leave an empty or short one, so a reader must take that for none. OSError: it is not there.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        os.rename(temporary, target)
        os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def set_aside(path: str | os.PathLike[str], kind: Callable[[int], bool] = stat.S_ISREG) -> bool:
    """Rename what is no regular file to NAME.foreign.…, out of the way of one; True when there was such a thing.

    `kind` tells from its mode whether it is what belongs there.
    """
    try:
        if kind(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    name = os.fspath(path)
    os.rename(name, f"{name}.foreign.{os.urandom(6).hex()}")
    return True


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write the whole of `data`; write(2) may take less than it was given."""
    done = os.write(descriptor, data)
    if done == len(data):
        return
    view = memoryview(data)
    while done < len(view):
        done += os.write(descriptor, view[done:])


def sync_dir(path: str | os.PathLike[str]) -> None:
    """fsync a directory, so that names made or removed in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: str | bytes | os.PathLike[str], *, dir_fd: int | None = None, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor; NotRegular for anything else, OSError as open(2) has it."""
    return open_looked_at(path, dir_fd=dir_fd, flags=flags)[0]


def open_looked_at(
    path: str | bytes | os.PathLike[str], *, dir_fd: int | None = None, flags: int = os.O_RDONLY
) -> tuple[int, os.stat_result]:
    """The same, and what was seen of the file."""
    try:
        descriptor = os.open(path, flags | SAFE, dir_fd=dir_fd)
    except OSError as error:
        # ELOOP: a symbolic link; ENXIO: a FIFO without a reader or a socket; EISDIR: a directory opened to write
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NotRegular(error.errno, "not a regular file", os.fsdecode(path)) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "not a regular file", os.fsdecode(path))
    return descriptor, status


def read(path: str | bytes | os.PathLike[str], limit: int = 1 << 20, *, dir_fd: int | None = None) -> bytes:
    """The contents of a regular file of at most `limit` bytes; TooLarge past it, NotRegular, OSError."""
    descriptor = open_regular(path, dir_fd=dir_fd)
    try:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise TooLarge(errno.EFBIG, f"larger than {limit} bytes", os.fsdecode(path))
        data = os.read(descriptor, size + 1)
        while len(data) < size:  # a signal or a network file system may cut a read short
            more = os.read(descriptor, size + 1 - len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(descriptor)
