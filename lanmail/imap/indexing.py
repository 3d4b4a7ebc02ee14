"""Fills the full-text index of one account, in a process of its own that `indexes.start` starts.

It gives way to everything else: lowest priority, a share of one core, bounded memory. It ends when its standard input
does, that is with the program that started it. Folders are taken as any program takes them: new mail gets its UID.
"""

import contextlib
import ctypes
import json
import os
import platform
import resource
import select
import sqlite3
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lanmail import maildir
from lanmail.folders import folder, folderpool, snapshot
from lanmail.mime import source, textsearch
from lanmail.textindex import fulltext, indexes

STAMP = f"imap 1 {unicodedata.unidata_version}"  # with another folding the terms are others
LARGE = 32 << 20  # messages above are looked through at each search
MEMORY = 2 << 30
BATCH = 2.0  # seconds from commit to commit
PAUSE = 0.02
_FINISHED = 50  # messages that may come while an index is filled: the next search starts it again
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13


class Stopped(Exception):
    """Whoever wanted the index is gone."""


def name_of(path: str, root: str) -> str:
    """The name of a folder's collection in the index."""
    return "INBOX" if path == root else os.path.basename(path)


def version_of(found: snapshot.Snapshot) -> str:
    """What makes UIDs of a folder others."""
    return f"{found.guid} {found.uidvalidity}"


def texts_of(message: source.Source) -> dict[int, list[str]]:
    """The texts of a message by kind, as the index wants them."""
    bodies, heads = textsearch.texts(message)
    return {fulltext.BODY: bodies, fulltext.HEAD: heads}


class Filling:
    """One run over all folders of an account."""

    def __init__(self, of: indexes.Indexes, job: indexes.Job, *, attached: bool = False) -> None:
        self.attached = attached
        self.job = job
        self.account = os.path.basename(job.root)
        self.indexes = of
        self.total = self.done = self.octets = 0
        self.began = time.monotonic()
        self._committed = self._rested = time.monotonic()
        self._worked = time.process_time()

    def run(self) -> None:
        with fulltext.Writer(self.indexes.path(self.account), STAMP, anew=self.job.anew) as index:
            while self._round(index) > _FINISHED:
                pass
            index.finish()
        self._note(finished=True)

    def _round(self, index: fulltext.Writer) -> int:
        """Index what is not in the index; returns how many messages that were."""
        found = {name_of(path, self.job.root): (path, now) for path, now in self._folders()}
        index.arrange({name: (version_of(now), len(now)) for name, (_, now) in found.items()})
        missing = {}
        for name, (path, now) in found.items():
            part = index.begin(name, version_of(now))
            missing[name] = (path, now, now.entries[now.position(part.upto + 1) :])
        self.total = sum(len(now) for _, now in found.values())
        count = sum(len(entries) for _, _, entries in missing.values())
        self.done = self.total - count
        for name in sorted(missing, key=lambda name: name != self.job.first):
            path, now, entries = missing[name]
            if entries:
                index.begin(name, version_of(now))
                self._fill(index, folderpool.get(path, self.job.root), entries)
        return count

    def _folders(self) -> Iterator[tuple[str, snapshot.Snapshot]]:
        for name in maildir.folders(self.job.root):
            path = maildir.path_of(self.job.root, name)
            with contextlib.suppress(OSError):  # gone meanwhile, or of no use to anybody
                yield path, folderpool.get(path, self.job.root).sync()

    def _fill(self, index: fulltext.Writer, of: folder.Folder, entries: tuple[snapshot.Entry, ...]) -> None:
        for entry in entries:
            try:
                self._take(index, of, entry)
            except (OSError, MemoryError):
                index.skip(entry.uid)
            self.done += 1
            self._rest()
            if time.monotonic() > self._committed + BATCH:
                index.commit(entry.uid)
                self._note()
        index.commit(entries[-1].uid)

    def _take(self, index: fulltext.Writer, of: folder.Folder, entry: snapshot.Entry) -> None:
        descriptor = of.open(entry)
        try:
            size = os.fstat(descriptor).st_size
            # what is not all there yet may still grow
            if not size or size > LARGE or size < (maildir.sizes_of(entry.base)[0] or 0):
                index.skip(entry.uid)
                return
            index.add(entry.uid, texts_of(source.Source(fd=descriptor)))
            self.octets += size
        finally:
            os.close(descriptor)

    def _rest(self) -> None:
        """Keep to the share of a core; end when nobody holds the other end of our standard input any more."""
        worked = time.process_time() - self._worked
        if worked < PAUSE:
            return
        if self.attached and select.select([sys.stdin], [], [], 0)[0]:
            raise Stopped
        passed = time.monotonic() - self._rested
        time.sleep(max(0.0, worked * 100 / self.job.share - passed))
        self._worked, self._rested = time.process_time(), time.monotonic()

    def _note(self, *, finished: bool = False) -> None:
        self._committed = time.monotonic()
        with contextlib.suppress(OSError):
            self.indexes.note(self.account, indexes.Progress(
                self.done, self.total, self.octets, round(self._committed - self.began, 1), finished))


def give_way() -> None:
    """Lowest priority for the processor and the disk, bounded memory; as far as the system lets us."""
    with contextlib.suppress(OSError):
        os.nice(19)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> int:
    """The arguments are the directory of the indexes, and the job as JSON."""
    own, job = indexes.Indexes(Path(sys.argv[1])), indexes.Job(**json.loads(sys.argv[2]))
    give_way()
    os.umask(0o077)
    try:
        Filling(own, job, attached=True).run()
    except Stopped:
        return os.EX_OK
    except (sqlite3.OperationalError, OSError) as error:  # the disk is full, for instance
        print(f"lanmail: the index of {job.root}: {error}", file=sys.stderr)
        return os.EX_TEMPFAIL
    except (sqlite3.DatabaseError, fulltext.Damaged) as error:
        print(f"lanmail: the index of {job.root} is damaged and will be made anew: {error}", file=sys.stderr)
        fulltext.remove(own.path(os.path.basename(job.root)))
        return os.EX_TEMPFAIL
    return os.EX_OK


if __name__ == "__main__":
    raise SystemExit(main())
