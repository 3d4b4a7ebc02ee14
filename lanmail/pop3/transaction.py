"""The TRANSACTION state of a POP3 session, and the UPDATE state that ends it (RFC 1939 §5–§7).

RETR is the hot path: open, read what the page cache has, convert, one write. What is not in memory, and what is larger
than a slice, is read by a thread while the loop serves others.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from lanmail import atomic, log
from lanmail.folders.snapshot import Entry
from lanmail.pop3 import maildrop, retrieval

if TYPE_CHECKING:
    from lanmail.pop3.session import Session

_TOP_SLICE = 16 * 1024


class Transaction:
    """The commands of a logged-in session, `commands` by name."""

    def __init__(self, session: "Session", account: str, drop: maildrop.Maildrop) -> None:
        self._session = session
        self._account = account
        self._drop = drop
        self._root = drop.folder.path
        self._octets = 0
        self._tops = 0
        self._left = False
        self.commands: dict[bytes, Callable[[bytes], None]] = {
            b"STAT": self._stat, b"LIST": self._list, b"UIDL": self._uidl, b"RETR": self._retr, b"TOP": self._top,
            b"DELE": self._dele, b"RSET": self._rset, b"NOOP": self._noop, b"QUIT": self._quit,
        }
        for verb in (b"USER", b"PASS", b"AUTH", b"STLS", b"UTF8"):
            self.commands[verb] = self._too_late

    # --- numbers ----------------------------------------------------------------------------------------------

    def _index(self, argument: bytes) -> int | None:
        """The index for a message number; None (and told) when there is no such message."""
        number = argument.strip(b" ")
        if number.isdigit() and len(number) < 10:
            index = int(number) - 1
            if 0 <= index < len(self._drop.entries):
                if index not in self._drop.deleted:
                    self._session.right()
                    return index
                self._session.wrong(b"-ERR Message is deleted\r\n")
                return None
        self._session.wrong(b"-ERR No such message\r\n" if number else b"-ERR A message number is needed\r\n")
        return None

    def _stat(self, _argument: bytes) -> None:
        self._session.send(b"+OK %d %d\r\n" % (self._drop.count, self._drop.octets))

    def _list(self, argument: bytes) -> None:
        drop = self._drop
        if argument.strip(b" "):
            index = self._index(argument)
            if index is not None:
                self._session.send(b"+OK %d %d\r\n" % (index + 1, drop.sizes[index]))
            return
        self._session.send(b"+OK %d messages (%d octets)\r\n" % (drop.count, drop.octets), drop.list_text(), b".\r\n")

    def _uidl(self, argument: bytes) -> None:
        if argument.strip(b" "):
            index = self._index(argument)
            if index is not None:
                self._session.send(b"+OK %d %b\r\n" % (index + 1, self._drop.uidl(index)))
            return
        self._session.send(b"+OK\r\n", self._drop.uidl_text(), b".\r\n")

    def _noop(self, _argument: bytes) -> None:
        self._session.send(b"+OK\r\n")

    def _too_late(self, _argument: bytes) -> None:
        self._session.wrong(b"-ERR Logged in already\r\n")

    # --- messages ---------------------------------------------------------------------------------------------

    def _open(self, entry: Entry) -> int:
        return atomic.open_regular(f"{self._root}/{entry.path}")

    def _retr(self, argument: bytes) -> None:
        index = self._index(argument)
        if index is None:
            return
        try:
            descriptor = self._open(self._drop.entries[index])
        except OSError:  # renamed by an IMAP session, gone, or made unreadable: see in a thread
            self._session.work(self._retr_slowly(index, None))
            return
        size = os.fstat(descriptor).st_size
        data = retrieval.read_now(descriptor, size) if size <= retrieval.SLICE else None
        if data is None:
            self._session.work(self._retr_slowly(index, descriptor))
            return
        os.close(descriptor)
        self._retrieved(index, size)
        self._session.send(b"+OK %d octets\r\n" % self._drop.sizes[index], retrieval.stuff(data), b".\r\n")

    def _retrieved(self, index: int, size: int) -> None:
        self._drop.retrieved.add(index)
        self._octets += size

    async def _retr_slowly(self, index: int, descriptor: int | None) -> None:
        descriptor = await self._find(index, descriptor)
        if descriptor is None:
            return
        try:
            size = os.fstat(descriptor).st_size
            self._retrieved(index, size)
            self._session.send(b"+OK %d octets\r\n" % self._drop.sizes[index])
            await self._stream(descriptor, size)
        finally:
            os.close(descriptor)

    async def _find(self, index: int, descriptor: int | None) -> int | None:
        """The descriptor of a message that was not where it should be; None, and told, when it cannot be had."""
        if descriptor is not None:
            return descriptor
        drop, session = self._drop, self._session
        try:
            return await session.service.in_thread(drop.folder.open, drop.entries[index])
        except FileNotFoundError:
            session.send(b"-ERR Message is no longer there\r\n")
        except OSError as error:
            log.message_unreadable(account=self._account, file=drop.entries[index].path, error=str(error))
            session.send(b"-ERR [SYS/TEMP] Message cannot be read\r\n")
        return None

    async def _stream(self, descriptor: int, size: int) -> None:
        """Send the first `size` octets of a file, a slice at a time, and the end of the answer."""
        session, stuffer, offset = self._session, retrieval.Stuffer(), 0
        while offset < size:
            wanted = min(retrieval.SLICE, size - offset)
            data = retrieval.read_now(descriptor, wanted, offset)
            if data is None:
                data = await session.service.in_thread(retrieval.read_slice, descriptor, wanted, offset)
            if not data:
                break
            offset += len(data)
            session.send(stuffer.feed(data))
            await session.drained()
        session.send(stuffer.end(), b".\r\n")

    def _top(self, argument: bytes) -> None:
        number, _, lines = argument.strip(b" ").partition(b" ")
        lines = lines.strip(b" ")
        if not (lines.isdigit() and len(lines) < 20):  # 2147483647 and the like mean all of them
            self._session.wrong(b"-ERR TOP needs a message number and a number of lines\r\n")
            return
        index = self._index(number)
        if index is None:
            return
        self._tops += 1
        try:
            descriptor = self._open(self._drop.entries[index])
        except OSError:
            self._session.work(self._top_slowly(index, None, int(lines)))
            return
        found = _top_now(descriptor, int(lines))
        if found is None:
            self._session.work(self._top_slowly(index, descriptor, int(lines)))
            return
        os.close(descriptor)
        self._session.send(b"+OK\r\n", retrieval.stuff(found), b".\r\n")

    async def _top_slowly(self, index: int, descriptor: int | None, lines: int) -> None:
        descriptor = await self._find(index, descriptor)
        if descriptor is None:
            return
        try:
            end = os.fstat(descriptor).st_size
            if lines < end:
                end = await self._session.service.in_thread(retrieval.top_end, descriptor, lines)
            self._session.send(b"+OK\r\n")
            await self._stream(descriptor, end)
        finally:
            os.close(descriptor)

    def _dele(self, argument: bytes) -> None:
        index = self._index(argument)
        if index is not None:
            self._drop.deleted.add(index)
            self._session.send(b"+OK Marked as deleted\r\n")

    def _rset(self, _argument: bytes) -> None:
        self._drop.deleted.clear()
        self._session.send(b"+OK\r\n")

    # --- the end ----------------------------------------------------------------------------------------------

    def _quit(self, _argument: bytes) -> None:
        mark = self._session.limits.mark_seen
        if not self._drop.has_changes(mark_seen=mark):
            self.leave()
            self._session.send(b"+OK Bye\r\n")
            self._session.close()
            return
        self._session.work(self._update(mark))

    async def _update(self, mark: bool) -> None:
        try:
            await self._session.service.in_thread(self._drop.update, mark)
        except OSError as error:
            log.folder_unusable(account=self._account, folder="INBOX", error=str(error))
            self._session.send(b"-ERR [SYS/TEMP] Some deleted messages were not removed\r\n")
        else:
            self.leave(deleted=len(self._drop.deleted))
            self._session.send(b"+OK Bye\r\n")
        self._session.close()

    def leave(self, deleted: int = 0) -> None:
        """The session ends: unlock before the client hears of it, for it may come back at once; log, once."""
        if not self._left:
            self._left = True
            self._session.unlock()
            log.pop3_done(account=self._account, client=self._session.client, retrieved=len(self._drop.retrieved),
                          octets=self._octets, tops=self._tops, deleted=deleted)


def _top_now(descriptor: int, lines: int) -> bytes | None:
    """What TOP wants, when that is in memory already and not too much."""
    size = os.fstat(descriptor).st_size
    if lines >= size:  # all of it, for no line is shorter than an octet; fetchmail asks so instead of RETR
        return retrieval.read_now(descriptor, size) if size <= retrieval.SLICE else None
    data = retrieval.read_now(descriptor, min(size, _TOP_SLICE))
    if data is None:
        return None
    return retrieval.top(data, lines) or (data if len(data) == size else None)
