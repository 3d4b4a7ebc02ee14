"""Waking up when files appear: inotify, one descriptor for any number of directories.

`subscribe` names a directory and a callback; `attach` hangs the descriptor into an event loop. Each callback gets
all events of its directory that one read brought, as a list of (mask, name), in order. It gets None instead when
events may have been lost (the kernel's queue ran over, or the directory itself went away): then list the directory
again. Several subscriptions to one directory share one kernel watch.

Invariants: one system call and about a microsecond per event, no object per event but the tuple; a callback that
raises does not cost the others their events. An event is a hint, never a fact: by the time it is read the file
may be gone. Network file systems send none, so a slow sweep stays necessary.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable

# inotify(7)
CLOSE_WRITE = 0x0008
MOVED_FROM = 0x0040
MOVED_TO = 0x0080
CREATE = 0x0100
DELETE = 0x0200
DELETE_SELF = 0x0400
MOVE_SELF = 0x0800
ISDIR = 0x40000000
_Q_OVERFLOW = 0x4000
_IGNORED = 0x8000
_ONLYDIR = 0x01000000
_DONT_FOLLOW = 0x02000000
_MASK_ADD = 0x20000000

ARRIVALS = CLOSE_WRITE | MOVED_TO  # a file is complete, or was renamed in (perhaps while still open)
CHANGES = ARRIVALS | CREATE | DELETE | MOVED_FROM  # any change of a listing; link(2) shows as CREATE

_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len
_READ = 1 << 18

Event = tuple[int, str]
Callback = Callable[[list[Event] | None], None]

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int | bytes) -> int:
    result: int = getattr(_libc, function)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)
    return result


class Subscription:
    """One callback's interest in one directory; `close` ends it."""

    __slots__ = ("_watch", "callback", "descriptor", "mask")

    def __init__(self, watch: "Watch", descriptor: int, mask: int, callback: Callback) -> None:
        self._watch = watch
        self.descriptor = descriptor
        self.mask = mask
        self.callback = callback

    def close(self) -> None:
        """No further call of the callback. Closing twice does no harm."""
        self._watch._drop(self)


class Watch:
    """One inotify descriptor and its subscriptions. Raises OSError when the user's instances are used up."""

    def __init__(self) -> None:
        self._fd = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = memoryview(bytearray(_READ))
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def fileno(self) -> int:
        """The descriptor: readable when `dispatch` has something to do."""
        return self._fd

    def subscribe(self, directory: str | os.PathLike[str], callback: Callback, mask: int = ARRIVALS) -> Subscription:
        """Call back for events of `mask` in `directory`. OSError when it is no directory or the watches are used up."""
        flags = mask | DELETE_SELF | MOVE_SELF | _ONLYDIR | _DONT_FOLLOW | _MASK_ADD
        descriptor = _call("inotify_add_watch", self._fd, os.fsencode(directory), flags)
        subscription = Subscription(self, descriptor, mask, callback)
        self._subscriptions.setdefault(descriptor, []).append(subscription)
        return subscription

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Dispatch from now on whenever the kernel has events."""
        self._loop = loop
        loop.add_reader(self._fd, self.dispatch)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._subscriptions.clear()

    def dispatch(self) -> None:
        """Read what is there, up to a few thousand events, and call each subscription once. Never blocks."""
        try:
            size = os.readv(self._fd, [self._buffer])  # read(2) into fresh memory would be four system calls
        except BlockingIOError:
            return
        batches, lost = _parse(bytes(self._buffer[:size]))
        problems: list[Exception] = []
        if lost is None:  # the kernel dropped events of any directory
            for subscription in [one for many in self._subscriptions.values() for one in many]:
                _deliver(subscription, None, problems)
        else:
            for descriptor, events in batches.items():
                for subscription in tuple(self._subscriptions.get(descriptor, ())):
                    _deliver(subscription, None if descriptor in lost else events, problems)
            for descriptor in lost:
                for subscription in self._subscriptions.get(descriptor, ()):
                    subscription.descriptor = -1
        for descriptor in lost or ():
            self._subscriptions.pop(descriptor, None)
        if problems:
            raise problems[0]

    def _drop(self, subscription: Subscription) -> None:
        others = self._subscriptions.get(subscription.descriptor)
        if others is None or subscription not in others:
            return
        others.remove(subscription)
        if not others:
            del self._subscriptions[subscription.descriptor]
            with contextlib.suppress(OSError):  # the directory may be gone, and the watch with it
                _call("inotify_rm_watch", self._fd, subscription.descriptor)


def _parse(data: bytes) -> tuple[dict[int, list[Event]], set[int] | None]:
    """The events by watch descriptor, and the descriptors that are no more; None when the kernel's queue ran over."""
    batches: dict[int, list[Event]] = {}
    lost: set[int] = set()
    overflow = False
    offset, end, size = 0, len(data), _HEADER.size
    while offset < end:
        descriptor, mask, _, length = _HEADER.unpack_from(data, offset)
        offset += size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        if mask & _Q_OVERFLOW:
            overflow = True
            continue
        if mask & _IGNORED:
            lost.add(descriptor)
        events = batches.get(descriptor)
        if events is None:
            events = batches[descriptor] = []
        events.append((mask, os.fsdecode(name)))
    return batches, None if overflow else lost


def _deliver(subscription: Subscription, events: list[Event] | None, problems: list[Exception]) -> None:
    if events is not None:
        mask = subscription.mask | DELETE_SELF | MOVE_SELF
        events = [event for event in events if event[0] & mask]
        if not events:
            return
        if any(not name for _, name in events):  # an event of the directory itself: deleted or moved away
            events = None
    try:
        subscription.callback(events)
    except Exception as problem:
        problems.append(problem)
