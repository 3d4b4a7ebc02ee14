"""The full-text indexes of the accounts, and the process that fills them: state/index/NAME.sqlite, NAME.json beside it.

    Indexes(where.indexes).path(account)            the index; there may be none
    .progress(account) -> Progress | None           how far it is, as its filler wrote it down
    .start(job) -> Process | None                   fills an index in a process of its own; None: another is at it
    .filling() -> str | None                        whose index is being filled by a living process
    .note(account, progress)                        what the filler does now and then

At most one process fills indexes at a time: the lock that says so is handed down to it, and goes when it ends. It ends
when whoever started it does, in whatever way, and a lookup in the meantime finds what was there at the last commit.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import lanmail
from lanmail import atomic
from lanmail.textindex import fulltext

FILLER = "lanmail.imap.indexing"
_LOCK = "lock"
_CODE = Path(lanmail.__file__).parent.parent


@dataclass(frozen=True)
class Job:
    """What to fill: the Maildir at `root`; `first` is the folder to begin with; `share` of one core in percent."""

    root: str
    first: str = "INBOX"
    share: int = 100
    anew: bool = False


@dataclass(frozen=True)
class Progress:
    """How far an index is: messages in it, messages that there are, octets read, seconds it took."""

    done: int
    total: int
    octets: int = 0
    seconds: float = 0.0
    finished: bool = False


class Process:
    """A running filler."""

    def __init__(self, root: str, child: "subprocess.Popen[bytes]") -> None:
        self.root, self.account, self._child = root, os.path.basename(root), child

    def ended(self, seconds: float = 0.0) -> int | None:
        """The exit code, waiting a while for it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._child.wait(seconds)
            self._close()
            return code
        return None

    def stop(self) -> None:
        """End it. What it did not commit is lost, and nothing else."""
        self._child.kill()
        self._child.wait()
        self._close()

    def _close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()


class Indexes:
    """All indexes of an installation."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, account: str) -> Path:
        return self.directory / f"{account}.sqlite"

    def size(self, account: str) -> int:
        """Octets of the index on disk."""
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += os.stat(f"{self.path(account)}{suffix}").st_size
        return total

    def written(self, account: str) -> int | None:
        """When the filler last wrote something down, in seconds since 1970."""
        try:
            return int(os.stat(self.directory / f"{account}.json").st_mtime)
        except OSError:
            return None

    def progress(self, account: str) -> Progress | None:
        """What the filler wrote down last; None when nobody ever filled the index."""
        try:
            return Progress(**json.loads(atomic.read(self.directory / f"{account}.json")))
        except (OSError, ValueError, TypeError):
            return None

    def note(self, account: str, progress: Progress) -> None:
        """Write down how far the index is. Nothing depends on it, so it is not synced."""
        target = self.directory / f"{account}.json"
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(progress)) + "\n")
        os.rename(temporary, target)

    def forget(self, account: str) -> None:
        """Remove what there is of the index: the mail it was made of is gone."""
        fulltext.remove(self.path(account))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.directory / f"{account}.json")

    def filling(self) -> str | None:
        """Whose index is being filled now."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self.directory / _LOCK, os.O_RDONLY | atomic.SAFE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return os.read(descriptor, 1000).decode(errors="replace").strip()
            finally:
                os.close(descriptor)
        return None

    def start(self, job: Job) -> Process | None:
        """Fill an index in a process of its own. None when one is at it already; OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, os.path.basename(job.root).encode(), 0)
            child = subprocess.Popen(  # noqa: S603 — our own program, no shell
                [sys.executable, "-P", "-m", FILLER, str(self.directory), json.dumps(asdict(job))], pass_fds=[lock],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(_CODE)})
        except BlockingIOError:
            return None
        finally:
            os.close(lock)
        return Process(job.root, child)
