"""What earlier imports brought into an account: state/import/ACCOUNT, so that nothing comes twice and nothing is lost.

Lines of JSON: `[folder, key, base name]` before the messages of a batch are put in place, and `[]` once all of them
are. Who is killed in between leaves lines without that end: then the folder itself tells which of them came in, by
their base names; `[0]` says that the lines since the last end do not count, and those that do follow again.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from lanmail import atomic, maildir
from lanmail.folders import uidlist

Record = tuple[str, str, str]  # folder, key, base name


class Running(Exception):
    """Another import into this account is at work."""


class Journal:
    """The records of one account. Without a descriptor (a dry run) nothing is written."""

    def __init__(self, root: str, descriptor: int = -1) -> None:
        self._root = root
        self._descriptor = descriptor
        self._known: dict[tuple[str, str], str] = {}
        self._brought: dict[str, str] = {}

    def load(self, data: bytes) -> None:
        """Take what earlier runs wrote; a torn last line does not count."""
        open_: list[Record] = []
        for line in data.split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record in ([], [0]):
                self._add(open_ if record == [] else [])
                open_ = []
            elif isinstance(record, list) and len(record) == 3 and all(isinstance(one, str) for one in record):
                open_.append((record[0], record[1], record[2]))
        there: dict[str, set[str]] = {}
        for folder, _, _ in open_:
            if folder not in there:
                there[folder] = _bases_of(self._root, folder)
        came = [record for record in open_ if record[2] in there[record[0]]]
        if data and self._descriptor >= 0 and not data.endswith(b"\n[]\n"):
            atomic.write_all(self._descriptor, b"\n[0]\n")  # what did not come must not count with a later end
            self.write(came)
            self.commit()
        self._add(came)

    def _add(self, records: list[Record]) -> None:
        for folder, key, base in records:
            self._known[folder, key] = base
            self._brought[base] = prefix_of(key)

    def knows(self, folder: str, key: str) -> bool:
        return (folder, key) in self._known

    def brought(self, base: str, prefix: str) -> bool:
        """Whether a message with this base name came from the mailbox elsewhere whose keys begin so."""
        return self._brought.get(base) == prefix

    def write(self, records: list[Record]) -> None:
        """Say what is about to be put in place."""
        self._add(records)
        if self._descriptor >= 0:
            atomic.write_all(self._descriptor, "".join(json.dumps(record) + "\n" for record in records).encode())
            os.fdatasync(self._descriptor)

    def commit(self) -> None:
        """All that was written is in place and durable."""
        if self._descriptor >= 0:
            atomic.write_all(self._descriptor, b"[]\n")

    def note(self, folder: str, key: str, base: str) -> None:
        """A message that is there already, from elsewhere, is the one that was to come."""
        self.write([(folder, key, base)])
        self.commit()


def prefix_of(key: str) -> str:
    """Keys of messages of servers begin with what stands for the mailbox there: `PREFIX:UID`."""
    return key.rpartition(":")[0]


def _bases_of(root: str, folder: str) -> set[str]:
    """Base names of all messages that a folder has or had lately."""
    path = maildir.path_of(root, folder)
    found = set(maildir.files_in(path))
    with contextlib.suppress(OSError, uidlist.Corrupt):
        found.update(uidlist.read(f"{path}/{uidlist.NAME}")[0].uids)
    return found


@contextlib.contextmanager
def opened(state: Path, root: Path, *, dry_run: bool) -> Iterator[Journal]:
    """The journal of the account whose Maildir is `root`; Running when another import has it."""
    path = state / "import" / root.name
    if dry_run:
        made = Journal(str(root))
        with contextlib.suppress(FileNotFoundError):
            made.load(atomic.read(path, 4 << 30))
        yield made
        return
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | atomic.SAFE, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise Running(f"another import into {root.name} is at work") from None
        made = Journal(str(root), descriptor)
        made.load(atomic.read(path, 4 << 30))
        yield made
    finally:
        os.close(descriptor)
