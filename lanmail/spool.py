"""Spools: Maildirs of self-describing entries, the only way by which mail passes from program to program.

An entry is one file; its state is the directory it stands in (ARCHITECTURE.md):

    tmp/   being written, nothing promised
    new/   complete and durable: the next program may take it
    cur/   taken by the one program that owns this spool

`Draft.commit` is the moment of the promise. On ext4, XFS and btrfs one fsync of the renamed file also commits the
rename, so the order is write, rename into new/, fsync, close; elsewhere fsync, rename, fsync of the directory. An
entry that is still open for writing is not committed yet: readers wait for its close (`is_open`).

File names are `ID,S=<bytes on disk>,W=<bytes with CRLF>`. The id never changes on the way from the first spool to
the Maildir; S tells a torn file from a whole one, and with W nobody has to open a file to know its size.
"""

import contextlib
import fcntl
import itertools
import json
import os
import random
import re
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lanmail import atomic, envelope, paths, wire

TMP, NEW, CUR = "tmp", "new", "cur"
MAX_NAME = 200  # bytes; longer ones leave no room for what is put beside an entry (.why, .json, temporary names)
STALE_TMP = 36 * 3600  # seconds; the age from which Maildir writers count a file in tmp/ as abandoned
_ONE_FSYNC = frozenset({"ext3", "ext4", "xfs", "btrfs", "tmpfs"})

_NAME = re.compile(r"(?P<id>[^,:/]+)(?:,S=(?P<size>\d{1,18})(?!\d))?(?:,W=(?P<wire>\d{1,18})(?!\d))?.*", re.DOTALL)
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Name:
    """What a file name says: the id kept for life, bytes on disk, bytes on the wire; None where it does not say."""

    id: str
    size: int | None
    wire_size: int | None


def parse_name(name: str) -> Name:
    """Read `ID,S=…,W=…`; whatever other programs named their file is an id as well."""
    match = _NAME.fullmatch(name)
    if not match:
        return Name(name, None, None)
    size, wire = match["size"], match["wire"]
    return Name(match["id"], int(size) if size else None, int(wire) if wire else None)


def new_id() -> str:
    """A name nobody used before: time, process, counter, a random part (clocks step back) and host (Maildir)."""
    now = time.time_ns() // 1000
    seconds, micros = divmod(now, 1_000_000)
    return f"{seconds}.M{micros:06d}P{os.getpid()}Q{next(_counter)}R{random.getrandbits(16):04x}.{_host()}"


@cache
def _host() -> str:
    """The host name as the Maildir convention has it; our ids also end at a comma."""
    name = socket.gethostname() or "localhost"
    return name.replace("/", r"\057").replace(":", r"\072").replace(",", r"\054")


@cache
def one_fsync(directory: Path) -> bool:
    """True where fsync of a renamed file also makes the rename durable (ext4, XFS, btrfs)."""
    return file_system(directory) in _ONE_FSYNC


def file_system(directory: Path) -> str:
    """The type of the file system that holds a directory, as the kernel names it."""
    best, kind = -1, ""
    real = os.path.realpath(directory)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields, _, rest = line.partition(" - ")
            point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[4])
            inside = point == "/" or real == point or real.startswith(point + "/")
            if inside and len(point) >= best:
                best, kind = len(point), rest.split(" ")[0]
    return kind


def is_open(name: str, directory: int) -> bool:
    """True while somebody has the file open for writing: a read lease is then refused (fcntl(2)).

    Whoever calls this ignores SIGIO, which comes when the file is opened for writing while we hold the lease.
    """
    descriptor = atomic.open_regular(name, dir_fd=directory)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no leases on this file system, or not our file: its size in the name must decide
    finally:
        os.close(descriptor)
    return False


class Draft:
    """An entry on its way in. Bytes are in LF form; nothing touches the disk before `flush` or `commit`.

    `flush` and `commit` block and belong in a thread; `write` only collects. After any error call `abort`.
    """

    def __init__(self, owner: "Spool", name: str) -> None:
        self.id = name
        self.size = 0  # bytes, written and collected
        self.lines = 0  # line feeds that the wire form gives a CR
        self.buffered = 0  # bytes collected and not yet written
        self._owner = owner
        self._chunks: list[bytes] = []
        self._fd = -1
        self._cr = False
        self._final: str | None = None

    @property
    def wire_size(self) -> int:
        """Bytes of the entry once every line ends in CRLF."""
        return self.size + self.lines

    def write(self, data: bytes) -> None:
        """Collect bytes in LF form (a CRLF in them is kept and counted as one line end)."""
        if not data:
            return
        self.size += len(data)
        self.lines += wire.lines(data)
        if b"\r" in data:
            self.lines -= data.count(b"\r\n")
        if self._cr and data[:1] == b"\n":
            self.lines -= 1
        self._cr = data.endswith(b"\r")
        self._chunks.append(data)
        self.buffered += len(data)

    def flush(self) -> None:
        """Write what was collected to tmp/. Blocks; raises OSError."""
        if self._fd < 0:
            self._fd = os.open(
                self.id, os.O_RDWR | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o640, dir_fd=self._owner.fd(TMP)
            )
        if self._chunks:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self.buffered = 0
            atomic.write_all(self._fd, data)

    def commit(self) -> str:
        """Make the entry durable in new/ and return its file name. Blocks; raises OSError, then nothing is promised."""
        try:
            self.flush()
            name = f"{self.id},S={self.size},W={self.wire_size}"
            tmp, new = self._owner.fd(TMP), self._owner.fd(NEW)
            if self._owner.one_fsync:
                # the order matters: the fsync of the inode under its new name commits the rename as well
                os.rename(self.id, name, src_dir_fd=tmp, dst_dir_fd=new)
                self._final = name
                os.fsync(self._fd)
            else:
                os.fsync(self._fd)
                os.rename(self.id, name, src_dir_fd=tmp, dst_dir_fd=new)
                self._final = name
                os.fsync(new)
        except BaseException:
            self.abort()
            raise
        # readers take an entry when its writer closes it: close(2) comes last
        os.close(self._fd)
        self._fd = -1
        return name

    def seal(self, *, close: bool = True) -> str:
        """Make the entry durable in tmp/ under its id; the name it is to have in new/. Blocks; raises OSError.

        For whoever has several things to put in place and renames or links them later, all or none. Who renames it
        without having closed it closes it then (`close`): readers take it at once.
        """
        try:
            self.flush()
            os.fsync(self._fd)
            if not self._owner.one_fsync:
                os.fsync(self._owner.fd(TMP))
        except BaseException:
            self.abort()
            raise
        if close:
            self.close()
        return f"{self.id},S={self.size},W={self.wire_size}"

    def close(self) -> None:
        """It is in its place."""
        descriptor, self._fd = self._fd, -1
        os.close(descriptor)

    def abort(self) -> None:
        """Forget the entry; never raises for a file that is gone."""
        self._chunks.clear()
        if self._fd < 0:
            return
        place, name = (NEW, self._final) if self._final else (TMP, self.id)
        try:
            os.unlink(name, dir_fd=self._owner.fd(place))
        except OSError:
            pass  # tmp/ is swept; in new/ the entry stays whole and unacknowledged, which is allowed
        os.close(self._fd)
        self._fd = -1


class Spool:
    """One spool directory; `state` is where per-entry progress lies, `hold` where entries for people to look at go."""

    def __init__(self, path: Path, *, state: Path, hold: Path) -> None:
        self.path = path
        self.tmp, self.new, self.cur = path / TMP, path / NEW, path / CUR
        self.state = state
        self.hold_path = hold
        self._fds: dict[str, int] = {}

    @property
    def one_fsync(self) -> bool:
        """True where the single fsync of `Draft.commit` suffices."""
        return one_fsync(self.path)

    def ensure(self) -> None:
        """Create the directories that are missing; hold's only when it is needed: who just queues may not see it."""
        for directory in (self.tmp, self.new, self.cur, self.state):
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)

    def fd(self, place: str) -> int:
        """An open descriptor of tmp/, new/ or cur/, kept for life: a directory swapped for a link is refused."""
        descriptor = self._fds.get(place)
        if descriptor is None:
            descriptor = os.open(self.path / place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._fds[place] = descriptor
        return descriptor

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def create(self, entry_id: str | None = None) -> Draft:
        """A new entry to be written; it exists for nobody before its commit.

        Who names the id himself may have been killed while writing it before: what that left in tmp/ goes.
        """
        if entry_id is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry_id, dir_fd=self.fd(TMP))
        return Draft(self, entry_id or new_id())

    def put(self, head: envelope.Envelope, message: bytes, entry_id: str | None = None) -> str:
        """Queue a whole message (LF form) under its envelope, durably; the file name. ValueError, OSError."""
        draft = self.create(entry_id)
        draft.write(envelope.encode(head))
        draft.write(message)
        return draft.commit()

    def names(self, place: str = NEW) -> list[str]:
        """File names in new/ or cur/, oldest first; dot files are nobody's business."""
        with os.scandir(self.fd(place)) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))

    def claim(self, name: str) -> None:
        """new/ → cur/: the owner takes the entry. FileNotFoundError when it is gone."""
        os.rename(name, name, src_dir_fd=self.fd(NEW), dst_dir_fd=self.fd(CUR))

    def release(self, name: str) -> None:
        """cur/ → new/: the owner gives the entry back."""
        os.rename(name, name, src_dir_fd=self.fd(CUR), dst_dir_fd=self.fd(NEW))

    def hold(self, name: str, why: str, place: str = NEW) -> Path:
        """Move an entry to the hold spool with a text beside it that says why; the path it has there."""
        (self.hold_path / NEW).mkdir(mode=0o750, parents=True, exist_ok=True)
        target = self.hold_path / NEW / name
        if os.path.lexists(target) or len(os.fsencode(name)) > MAX_NAME:
            short = os.fsdecode(os.fsencode(name)[: MAX_NAME - 7])
            target = target.with_name(f"{short}.{os.urandom(3).hex()}")
        os.rename(name, target, src_dir_fd=self.fd(place))
        atomic.write(target.with_name(target.name + ".why"), why.rstrip("\n") + "\n")
        return target

    def is_open(self, name: str, place: str = NEW) -> bool:
        """True while somebody still has the file open for writing."""
        return is_open(name, self.fd(place))

    def load_state(self, entry_id: str) -> dict[str, Any] | None:
        """The progress of a partly done entry, None when there is none; a damaged file counts as none."""
        try:
            # a text, not a Path: relay asks for each mail, and mostly there is none
            state = json.loads(atomic.read(f"{self.state}/{entry_id}.json", limit=16 << 20))
        except (FileNotFoundError, ValueError):
            return None
        return state if isinstance(state, dict) else None

    def save_state(self, entry_id: str, state: dict[str, Any]) -> None:
        """Replace the progress of an entry, durably. A first one costs one fsync where that commits its name, too."""
        path, text = self.state / f"{entry_id}.json", json.dumps(state, indent=1, ensure_ascii=False) + "\n"
        if self.one_fsync and one_fsync(self.state) and not os.path.lexists(path):
            atomic.create(path, text.encode())  # a torn one counts as none, which is what there was
        else:
            atomic.write(path, text)

    def drop_state(self, entry_id: str) -> None:
        """The entry is done: forget its progress."""
        (self.state / f"{entry_id}.json").unlink(missing_ok=True)

    def sweep_tmp(self, now: float) -> list[str]:
        """Remove what was abandoned in tmp/ (older than 36 h, never acknowledged); the names removed.

        Writers go on meanwhile: a file may be committed between two looks at it, and one that is still open is not
        abandoned, however late it is by our clock.
        """
        gone = []
        with os.scandir(self.fd(TMP)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    old = now - max(found.st_mtime, found.st_ctime) > STALE_TMP
                    if old and entry.is_file(follow_symlinks=False) and not self.is_open(entry.name, TMP):
                        os.unlink(entry.name, dir_fd=self.fd(TMP))
                        gone.append(entry.name)
        return gone


def queue(where: paths.Paths) -> Spool:
    """spool/queue: what came in; owned by deliver."""
    return Spool(where.queue, state=where.state / "queue", hold=where.hold)


def outbound(where: paths.Paths) -> Spool:
    """spool/outbound: what goes to the internet; owned by relay."""
    return Spool(where.outbound, state=where.state / "outbound", hold=where.hold)


def jobs(where: paths.Paths) -> Spool:
    """spool/jobs: what is to be done beside mail (jobs.py); owned by relay."""
    return Spool(where.jobs, state=where.state / "jobs", hold=where.hold)
