"""The files that one try makes: complete in tmp/, put in place later, all or none.

    prepare(…)     a file in tmp/ of some spool, and its line for the journal (progress.Handing)
    sealed(…)      a copy that is only there to be linked into Maildirs
    hand_over(…)   what the journal names goes into new/
    withdraw()     the journal was not written: nothing in tmp/ counts
"""

import contextlib
import os
from collections.abc import Iterator

from lanmail import atomic, entry, envelope, spool
from lanmail.delivery.office import Office
from lanmail.delivery.progress import Handing, Progress
from lanmail.rules.mail import UNCHANGED, Changes

_CHUNK = 1 << 18


class Copies:
    """Of one entry, whose open file is `fd`. Blocks; OSError."""

    def __init__(self, office: Office, one: entry.Entry, fd: int) -> None:
        self.office, self.entry, self.fd = office, one, fd
        self.header = b""
        self.ready: list[Handing] = []  # sealed in some tmp/, not yet in place

    def prepare(self, progress: Progress, target: str, head: envelope.Envelope, *, text: bytes | None = None,
                changes: Changes = UNCHANGED, entry_id: str | None = None) -> Handing:
        """A file complete in tmp/ of a spool: `text` is a whole message of ours, None a copy of the entry's."""
        if text is not None:
            entry_id = entry_id or spool.new_id()
        else:
            progress.copies += 1  # each file in a spool has an id of its own, also after a later try
            entry_id = f"{self.entry.id}-{progress.copies}"
        draft = self.office.spool_named(target).create(entry_id)
        draft.write(envelope.encode(head))
        if text is not None:
            draft.write(text)
        else:
            self._copy_message(draft, changes)
        handing = Handing(target, entry_id, draft.seal())
        self.ready.append(handing)
        progress.handing.append(handing)
        return handing

    @contextlib.contextmanager
    def sealed(self, entry_id: str, head: bytes, changes: Changes = UNCHANGED) -> Iterator[tuple[str, str]]:
        """A copy of the message in the queue's tmp/ for as long as it takes to link it: its name there, its final one.
        """
        owner = self.office.queue
        # not the plain id: a bounce that a journal still wants to rename into new/ has that name in tmp/
        temporary = f"{entry_id}.copy"
        draft = owner.create(temporary)
        draft.write(head)
        self._copy_message(draft, changes)
        final = entry_id + draft.seal().removeprefix(temporary)
        try:
            yield temporary, final
        finally:
            os.unlink(temporary, dir_fd=owner.fd(spool.TMP))

    def _copy_message(self, draft: spool.Draft, changes: Changes) -> None:
        """The message without its envelope lines; on error nothing of it is left."""
        try:
            offset = self.entry.offset
            if changes != UNCHANGED:
                draft.write(changes.apply(self.header))
                offset += len(self.header)
            while data := os.pread(self.fd, _CHUNK, offset):
                offset += len(data)
                draft.write(data)
                draft.flush()
        except BaseException:
            draft.abort()
            raise

    def hand_over(self, progress: Progress) -> list[str]:
        """Put in place what the journal names; names of what is new in the queue.

        A file that is not in tmp/ any more was put there before.
        """
        queued = []
        for one in progress.handing:
            owner = self.office.spool_named(one.spool)
            with contextlib.suppress(FileNotFoundError):
                os.rename(one.temporary, one.name, src_dir_fd=owner.fd(spool.TMP), dst_dir_fd=owner.fd(spool.NEW))
                if one.spool == "queue":
                    queued.append(one.name)
            if not owner.one_fsync:
                os.fsync(owner.fd(spool.NEW))
            if one.why is not None:
                atomic.write(owner.new / f"{one.name}.why", one.why + "\n")
        progress.handing.clear()
        self.ready.clear()
        return queued

    def withdraw(self) -> None:
        """The journal was not written: nothing in tmp/ counts."""
        for one in self.ready:
            with contextlib.suppress(OSError):
                os.unlink(one.temporary, dir_fd=self.office.spool_named(one.spool).fd(spool.TMP))
