"""Where an export goes: a directory, a .zip or a .tar (also .tar.gz), all with the rights of who typed the command.

Nothing that is there is overwritten. An archive gets its name when it is complete.
"""

import contextlib
import os
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

from lanmail import atomic
from lanmail.cli.mailbox import rights

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class Output(Protocol):
    """Files below one place; names are paths with slashes that never lead out of it."""

    def open(self, name: str, date: float) -> contextlib.AbstractContextManager[BinaryIO]:
        """A new file; complete when the context ends."""

    def directory(self, name: str) -> None:
        """A directory, which may stay empty."""


class Directory:
    """A directory, new or empty."""

    def __init__(self, path: str) -> None:
        self._path = path
        with rights.of_caller():
            os.makedirs(path, mode=0o700, exist_ok=True)
            if os.listdir(path):
                raise FileExistsError(17, "is not empty; name a new directory", path)

    @contextlib.contextmanager
    def open(self, name: str, date: float) -> Iterator[BinaryIO]:
        path = f"{self._path}/{name}"
        with rights.of_caller():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o600)
        with open(descriptor, "wb", buffering=1 << 18) as stream:
            yield stream
            stream.flush()
            with rights.of_caller(), contextlib.suppress(OverflowError):
                os.utime(descriptor, (date, date))

    def directory(self, name: str) -> None:
        with rights.of_caller():
            os.makedirs(f"{self._path}/{name}", mode=0o700, exist_ok=True)


class Zip:
    """A .zip; it keeps times in steps of two seconds, and none before 1980."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    @contextlib.contextmanager
    def open(self, name: str, date: float) -> Iterator[BinaryIO]:
        when = time.localtime(min(max(date, 315_619_200.0), 4_354_732_800.0))
        info = zipfile.ZipInfo(name, when[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as stream:
            yield cast(BinaryIO, stream)

    def directory(self, name: str) -> None:
        self._archive.writestr(zipfile.ZipInfo(name + "/"), b"")


class Tar:
    """A .tar, plain or by gzip."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    @contextlib.contextmanager
    def open(self, name: str, date: float) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as stream:  # tar says the size first
            yield stream
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = stream.tell(), int(date), 0o600
            stream.seek(0)
            self._archive.addfile(info, stream)

    def directory(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o700, int(time.time())
        self._archive.addfile(info)


@contextlib.contextmanager
def to(path: str) -> Iterator[Output]:
    """The output that a path names. FileExistsError, OSError."""
    if not path.lower().endswith(ARCHIVES):
        yield Directory(path)
        return
    with new_file(path) as stream:
        if path.lower().endswith(".zip"):
            with zipfile.ZipFile(stream, "w") as archive:
                yield Zip(archive)
        else:
            packed = path.lower().endswith("gz")
            with tarfile.open(fileobj=stream, mode="w:gz" if packed else "w") as tar:
                yield Tar(tar)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete. FileExistsError."""
    unfinished = path + ".partial"
    with rights.of_caller():
        if os.path.lexists(path):
            raise FileExistsError(17, "is there already; name a new one", path)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | atomic.SAFE, 0o600)
    try:
        with open(descriptor, "w+b", buffering=1 << 18) as stream:
            yield stream
        with rights.of_caller():
            os.link(unfinished, path)
    finally:
        with rights.of_caller(), contextlib.suppress(OSError):
            os.unlink(unfinished)
