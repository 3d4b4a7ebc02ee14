"""Files that other programs drop into spool/pickup or its new/: which to take, when, and safely.

A file is taken when it was closed or renamed in, or when it stayed unchanged for `pickup_wait`; names that say "not
ready" are left alone, and so is everything that is no plain file (told once). Taking is a rename to pickup/cur/ID:
from then on it is ours, has its id, and nobody who knows the old name changes it. Then it is converted
(lanmail/pickup.py) into a durable entry of the queue under that id, and removed. The queue does not touch the id
before the removal, so that a kill at any step doubles nothing.
"""

import asyncio
import os
import re
import stat
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from lanmail import atomic, envelope, log, pickup, spool, watch
from lanmail.delivery import desk, progress
from lanmail.delivery.office import Office

ROOT = ""  # the place of files that lie in pickup/ itself
UNFINISHED = (".tmp", ".part", ".filepart", "~")
_CHUNK = 1 << 18
_OWN = frozenset({"tmp", "new", "cur"})

Place = tuple[str, str]  # (ROOT or "new", file name)


class Changed(Exception):
    """Somebody wrote to the file while it was read."""


@dataclass(slots=True)
class Waiting:
    """A file nobody saw complete: its last looks, and since when it has them."""

    stamp: tuple[int, int, int]
    since: float


class Drops:
    """The pickup directories. Methods run in the loop's thread, `_convert` in a thread of the desk's pool."""

    def __init__(self, office: Office, table: desk.Desk, say: Callable[[str], None] | None) -> None:
        self.office, self.desk, self.say = office, table, say
        self.spool = office.pickup
        self.loop = asyncio.get_running_loop()
        self.root = os.open(self.spool.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.ready: deque[tuple[str, str]] = deque()  # (claimed id, its old name)
        self.closed: dict[Place, None] = {}  # to be claimed
        self.waiting: dict[Place, Waiting] = {}
        self.told: set[tuple[Place, int]] = set()
        self.tries: dict[str, int] = {}
        self.working = 0
        self.more = False  # the last sweep saw more names than it kept
        self._timer: asyncio.TimerHandle | None = None
        self._planned = False

    def close(self) -> None:
        os.close(self.root)

    def idle(self) -> bool:
        """Nothing to take and nothing being converted; what may still be written waits by itself."""
        return not (self.ready or self.closed or self.working)

    # what is there

    def recover(self) -> None:
        """What an earlier life had claimed: converted already, or to be converted now."""
        claimed = self.spool.names(spool.CUR)
        if claimed:
            queue = self.office.queue
            known = {spool.parse_name(name).id for place in (spool.NEW, spool.CUR) for name in queue.names(place)}
            for name in claimed:
                if name in known:
                    os.unlink(name, dir_fd=self.spool.fd(spool.CUR))
                else:
                    self.desk.reserved.add(name)
                    self.ready.append((name, name))
        self.sweep()

    def arrived(self, place: str) -> watch.Callback:
        """The callback for the events of one of the two directories."""

        def callback(events: list[watch.Event] | None) -> None:
            if events is None:
                self.sweep()
                return
            for mask, name in events:
                if mask & watch.ISDIR or self._is_not_ready(name):
                    continue
                if mask & watch.ARRIVALS:
                    self.waiting.pop((place, name), None)
                    self.closed[(place, name)] = None
                else:
                    self._wait((place, name))
            self.plan()

        return callback

    def sweep(self) -> None:
        """Look for files whose arrival nobody told (started later, linked in, network file systems)."""
        present: set[tuple[Place, int]] = set()
        self.more = False
        for place, descriptor in ((ROOT, self.root), ("new", self.spool.fd(spool.NEW))):
            with os.scandir(descriptor) as entries:
                for one in entries:
                    if self._is_not_ready(one.name) or (place == ROOT and one.name in _OWN):
                        continue
                    key = (place, one.name)
                    present.add((key, one.inode()))
                    if len(self.closed) + len(self.waiting) >= desk.BACKLOG:
                        self.more = True
                    elif key not in self.closed:
                        self._wait(key)
        self.told &= present
        self.plan()

    def _is_not_ready(self, name: str) -> bool:
        return name.startswith(".") or name.lower().endswith(UNFINISHED)

    def _wait(self, key: Place) -> None:
        """Look at a file that may still be written; take it when it has been quiet long enough."""
        try:
            found = os.stat(key[1], dir_fd=self._fd(key[0]), follow_symlinks=False)
        except FileNotFoundError:
            self.waiting.pop(key, None)
            return
        if not stat.S_ISREG(found.st_mode):
            self.waiting.pop(key, None)
            self._leave(key, found, "not a regular file")
            return
        now, stamp = time.monotonic(), (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self.waiting.get(key)
        if known is None or known.stamp != stamp:
            # the time of the last change of the inode cannot be set by anybody; the clock may have been, though
            quiet = time.time() - found.st_ctime
            known = self.waiting[key] = Waiting(stamp, now - (quiet if 0 < quiet < 86400 * 366 else 0))
        if now - known.since >= self.office.settings().deliver.pickup_wait and not self._is_open(key):
            del self.waiting[key]
            self.closed[key] = None
        elif self._timer is None:
            self._timer = self.loop.call_later(0.5, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        for key in list(self.waiting):
            self._wait(key)
        self.plan()

    def _is_open(self, key: Place) -> bool:
        try:
            return spool.is_open(key[1], self._fd(key[0]))
        except OSError:
            return False  # not ours to open: what is wrong with it is said when it is read

    def _fd(self, place: str) -> int:
        return self.spool.fd(spool.NEW) if place else self.root

    def _leave(self, key: Place, found: os.stat_result, why: str) -> None:
        if (key, found.st_ino) not in self.told:
            self.told.add((key, found.st_ino))
            log.left_alone(file=f"spool/pickup/{key[0]}{'/' if key[0] else ''}{key[1]}", why=why)

    # taking

    def plan(self) -> None:
        """See to it that a turn comes."""
        if not self._planned and (self.closed or self.ready):
            self._planned = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._planned = False
        while not self.desk.stopped and self.working < 2 * desk.THREADS:
            if self.ready:
                self._start(*self.ready.popleft())
            elif self.closed:
                key = next(iter(self.closed))
                del self.closed[key]
                self._take(key)
            else:
                break
        if self.more and not self.closed:
            self.sweep()

    def _take(self, key: Place) -> None:
        """Claim one file; the rename makes it ours."""
        place, name = key
        try:
            found = os.stat(name, dir_fd=self._fd(place), follow_symlinks=False)
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(found.st_mode):
                self._leave(key, found, "not a regular file")
                return
            wait = self.office.settings().deliver.pickup_wait
            if not found.st_size and 0 <= time.time() - found.st_ctime < wait:
                self._wait(key)  # some programs make a file, close it, and come back to fill it
                return
            if self._is_open(key):
                return  # closed by one and still open by another; its next close will tell, or the sweep
            entry_id = spool.new_id()
            os.rename(name, entry_id, src_dir_fd=self._fd(place), dst_dir_fd=self.spool.fd(spool.CUR))
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(key, found, f"cannot be taken: {error.strerror}")
            return
        self.desk.reserved.add(entry_id)
        self.ready.append((entry_id, name))

    def _start(self, entry_id: str, name: str) -> None:
        self.working += 1
        future = self.desk.pool.submit(self._convert, entry_id, name)
        future.add_done_callback(lambda done: self.loop.call_soon_threadsafe(self._ended, entry_id, name, done))

    def _ended(self, entry_id: str, name: str, done: "Future[str | None]") -> None:
        self.working -= 1
        error = done.exception()
        if error is None:
            self.tries.pop(entry_id, None)
            self.desk.release(entry_id, done.result())
        elif isinstance(error, FileNotFoundError):
            self.desk.release(entry_id, None)
        else:
            if not isinstance(error, OSError | Changed):
                log.crashed(error=repr(error), where="".join(traceback.format_exception(error)), id=entry_id)
            tries = self.tries[entry_id] = self.tries.get(entry_id, 0) + 1
            delay = float(progress.DELAYS[min(tries, len(progress.DELAYS)) - 1])
            log.deferred(id=entry_id, reason=f"pickup of {name}: {error}", retry_in=delay, tries=tries)
            self.loop.call_later(delay, self._back, entry_id, name)
        self.plan()

    def _back(self, entry_id: str, name: str) -> None:
        self.ready.append((entry_id, name))
        self.plan()

    # converting, in a thread

    def _convert(self, entry_id: str, name: str) -> str | None:
        """Make the claimed file an entry of the queue and remove it; None when it went to hold. OSError, Changed."""
        try:
            descriptor = atomic.open_regular(entry_id, dir_fd=self.spool.fd(spool.CUR))
        except PermissionError:
            self._hold(entry_id, name, "it cannot be read: its mode or owner does not let us")
            return None
        except atomic.NotRegular:
            self._hold(entry_id, name, "it is no regular file")
            return None
        try:
            return self._read(descriptor, entry_id, name)
        except pickup.Unusable as error:
            self._hold(entry_id, name, str(error))
            return None
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, entry_id: str, name: str) -> str:
        settings, before = self.office.settings(), os.fstat(descriptor)
        if not before.st_size:
            raise pickup.Unusable("it is empty")
        if before.st_size > settings.smtpd.max_size:
            raise pickup.Unusable(f"it has {before.st_size} bytes, and smtpd.max_size is {settings.smtpd.max_size}")
        if before.st_nlink > 1 and before.st_uid == os.geteuid():
            raise pickup.Unusable("it is another name of a file of ours")  # a link to a secret, or to others' mail
        server = settings.server
        header = pickup.read(os.pread(descriptor, pickup.MAX_HEADER, 0), server.domain)
        hops = sum(field == b"received" for field, _ in header.fields)
        if hops > settings.deliver.max_hops and not name.startswith("released-"):
            raise pickup.Unusable(f"mail loop: {hops} Received lines, at most {settings.deliver.max_hops} are allowed")
        origin = envelope.Origin("pickup", (("source", _printable(name)), ("uid", str(before.st_uid))))
        handed = pickup.accept(header, domain=server.domain, hostname=server.hostname, entry_id=entry_id, origin=origin)
        lines = envelope.encode(handed.envelope)
        if len(lines) > envelope.LIMIT:
            raise pickup.Unusable(f"too many recipients: {len(handed.envelope.recipients)}")
        draft = self.office.queue.create(entry_id)
        try:
            draft.write(lines)
            draft.write(handed.header)
            for chunk in pickup.body_chunks(_chunks(descriptor, handed.body_at)):
                draft.write(chunk)
                draft.flush()
            after = os.fstat(descriptor)
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise Changed("somebody is still writing to it")
            final = draft.commit()
        except BaseException:
            draft.abort()
            raise
        os.unlink(entry_id, dir_fd=self.spool.fd(spool.CUR))
        head = handed.envelope
        log.accepted(
            id=entry_id, origin="pickup", source=name, sender=str(head.sender or ""), size=draft.size,
            recipients=log.some([one.address for one in head.recipients]), msgid=handed.message_id,
        )
        if self.say:
            self.say(f"{entry_id}: {name} taken from pickup, {len(head.recipients)} recipients")
        return final

    def _hold(self, entry_id: str, name: str, why: str) -> None:
        text = f"{why}\n\nIt was dropped into spool/pickup as {_printable(name)}."
        self.spool.hold(entry_id, text, spool.CUR)
        log.held(id=entry_id, why=f"{_printable(name)}: {why}")


def _chunks(descriptor: int, offset: int) -> Iterator[bytes]:
    while data := os.pread(descriptor, _CHUNK, offset):
        offset += len(data)
        yield data


def _printable(name: str) -> str:
    """A file name that can stand in an envelope line and on a terminal."""
    return re.sub(r"[^!-~]", "_", name)[:100]
