"""Mails on their way from elsewhere into spool/queue, committed in batches: one wait for the disk for many mails.

`Batch.commit` first makes all its mails durable in tmp/, writes down what it is about to do, renames them into new/,
syncs the directory, and then appends their UIDs to the log of the mailbox, durably. Only what `commit` returned may be
deleted on the server. A kill between these steps neither loses nor doubles a mail (uidlog.py).

A mail's digest is that of all its octets but a few header lines that servers change at will.

A message is stored as it came, octet by octet, but for its line ends (LF on our disks) and one Received line, which
stands behind the Return-Path that the other server may have put first. That path is the envelope sender.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from email.utils import formatdate
from functools import lru_cache

from lanmail import address, envelope, log, message, spool
from lanmail.address import Address
from lanmail.mime import sentdates
from lanmail.sources.uidlog import Seen, UidLog

MAILS = 50
OCTETS = 8 << 20
DRAIN = 256 << 10  # collected octets of one mail from which on they are written to tmp/
HEADER = 128 << 10  # as much of a header is looked at
_RETURN_PATH = re.compile(rb"Return-Path:[ \t]*(<[^>\n]*>|[^ \t\n]*)[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)

_VOLATILE = re.compile(rb"^(?:X-)?(?:Status|UIDL|Keywords):[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)

# ext4 and XFS put fsyncs that come at the same time into one journal commit: fifty take as long as three one by one
SYNCING = 8
_SYNCING = ThreadPoolExecutor(SYNCING, "sync")

Again = Callable[[str], bool]  # from a digest: whether this mail was fetched before
Recipients = Callable[[bytes], Sequence[Address]]  # from the header (LF form); none: the mail is not kept


class Mail:
    """One mail on its way in."""

    def __init__(self, draft: spool.Draft, begin: "Callable[[bytes], tuple[envelope.Envelope, bytes] | None]") -> None:
        self.head: envelope.Envelope | None = None  # None: it is for nobody
        self.date = 0
        self.draft = draft
        self._begin = begin
        self._hash = hashlib.blake2b(digest_size=16)
        self._start: bytes | None = b""  # the header, until it is complete
        self._cr = False

    def write(self, piece: bytes) -> None:
        """Collect octets in wire form; line ends become LF."""
        if self._cr:
            piece, self._cr = b"\r" + piece, False
        if piece[-1:] == b"\r":
            piece, self._cr = piece[:-1], True
        text = piece.replace(b"\r\n", b"\n")
        if self._start is None:
            self._rest(text)
            return
        self._start = self._start + text if self._start else text
        if b"\n\n" in self._start or self._start[:1] == b"\n" or len(self._start) > HEADER:
            self._header_done()

    @property
    def is_heavy(self) -> bool:
        """So much was collected that `drain` has something to do."""
        return self.draft.buffered > DRAIN

    async def drain(self) -> None:
        """Write what was collected to the disk, when it is much. OSError."""
        if self.is_heavy:
            await asyncio.to_thread(self.draft.flush)

    def finish(self) -> str:
        """It is complete; its digest."""
        if self._start is not None:
            self._header_done()
        if self._cr:
            self._rest(b"\r")
        return self._hash.hexdigest()

    def abort(self) -> None:
        """Forget it."""
        self.draft.abort()

    def _rest(self, text: bytes) -> None:
        self._hash.update(text)
        if self.head is not None:
            self.draft.write(text)

    def _header_done(self) -> None:
        start, self._start = self._start or b"", None
        end = message.header_end(start)
        header = start[:end]
        self._hash.update(_VOLATILE.sub(b"", header) + start[end:])
        self.date = date(header)
        begun = self._begin(start)
        if begun is not None:
            self.head, text = begun
            self.draft.write(text)


class Batch:
    """Mails of one visit to one mailbox."""

    def __init__(self, queue: spool.Spool, box: UidLog, source: str, recipients: Recipients, received: str,
                 marks: envelope.Params = (), again: Again | None = None) -> None:
        self._queue, self._box, self._source = queue, box, source
        self._recipients, self._received, self._again = recipients, received, again
        self._origin = envelope.Origin("fetch", (("source", source), *marks))
        self._mails: list[tuple[Seen, Mail]] = []
        self._unwanted: list[Seen] = []
        self._open: set[Mail] = set()
        self._octets = 0
        self.fetched = self.octets = 0  # what is in the queue

    @property
    def full(self) -> bool:
        """It is time to commit."""
        return len(self._mails) + len(self._unwanted) >= MAILS or self._octets >= OCTETS

    def begin(self) -> Mail:
        """A mail that is about to come."""
        mail = Mail(self._queue.create(), self._envelope)
        self._open.add(mail)
        return mail

    def add(self, mail: Mail, uid: str = "") -> None:
        """The mail is complete. Without a UID its digest is one."""
        self._open.discard(mail)
        digest = mail.finish()
        seen = Seen(uid or digest, 0, digest, mail.date)
        if mail.head is None or (self._again is not None and self._again(digest)):
            mail.abort()
            self._unwanted.append(seen)
        else:
            self._mails.append((seen, mail))
            self._octets += mail.draft.size

    async def commit(self) -> list[str]:
        """Make all of them durable in the queue, then remember them; their UIDs. OSError: none of them is promised."""
        mails, unwanted = self._mails, self._unwanted
        self._mails, self._unwanted, self._octets = [], [], 0
        if not mails and not unwanted:
            return []
        await asyncio.shield(asyncio.to_thread(self._commit, mails, unwanted))
        with log.batch():
            for _, mail in mails:
                assert mail.head is not None
                log.accepted(
                    id=mail.draft.id, origin="fetch", source=self._source, sender=str(mail.head.sender or ""),
                    recipients=log.some([one.address for one in mail.head.recipients]), size=mail.draft.size)
                self.octets += mail.draft.size
        self.fetched += len(mails)
        return [seen.uid for seen, _ in mails] + [seen.uid for seen in unwanted]

    async def abort(self) -> None:
        """Forget whatever was not committed."""
        left = [mail for _, mail in self._mails] + list(self._open)
        self._mails, self._open = [], set()
        if left:
            await asyncio.to_thread(_abort, left)

    def _commit(self, mails: list[tuple[Seen, Mail]], unwanted: list[Seen]) -> None:
        """The order of the steps is the promise: mails, their directory, UIDs."""
        try:
            names = _sealed([mail.draft for _, mail in mails])
            if mails:
                self._box.promise([(seen, mail.draft.id) for seen, mail in mails])
        except BaseException:
            self._forget(mails)
            raise
        tmp, new = self._queue.fd(spool.TMP), self._queue.fd(spool.NEW)
        done: list[Seen] = []
        try:
            for name, (seen, mail) in zip(names, mails, strict=True):
                os.rename(mail.draft.id, name, src_dir_fd=tmp, dst_dir_fd=new)
                done.append(seen)
            done += unwanted
        finally:
            try:
                os.fsync(new)
            finally:
                for _, mail in mails[:len(done)]:
                    mail.draft.close()
            self._box.add(done)
            self._box.settle()
            if len(done) < len(mails):
                self._forget(mails[len(done):])

    def _forget(self, mails: list[tuple[Seen, Mail]]) -> None:
        """Mails that are not in the queue. The promise goes first: without its file a mail counts as arrived."""
        self._box.settle()
        for _, mail in mails:
            mail.abort()
            with contextlib.suppress(OSError):  # sealed ones lie in tmp/ under their id
                os.unlink(mail.draft.id, dir_fd=self._queue.fd(spool.TMP))

    def _envelope(self, start: bytes) -> tuple[envelope.Envelope, bytes] | None:
        """The envelope of a mail, and the beginning of its entry in the spool."""
        to = self._recipients(start[:message.header_end(start)])
        if not to:
            return None
        path, end = sender(start)
        head, lines = _head(path, tuple(to), self._origin)
        whom = f"\n\tfor <{to[0]}>" if len(to) == 1 else ""
        received = f"Received: {self._received}{whom};\n\t{_date_line(int(time.time()))}\n".encode()
        return head, b"".join((lines, start[:end], received, start[end:]))


def _sealed(drafts: list[spool.Draft]) -> list[str]:
    """Make all of them durable in tmp/; their names. OSError, when all have come to an end."""
    if len(drafts) == 1:
        return [drafts[0].seal(close=False)]
    names, left = [""] * len(drafts), iter(enumerate(drafts))

    def work() -> None:
        for number, draft in left:  # whoever is done takes the next one: a hand-over for each would cost more
            names[number] = draft.seal(close=False)

    begun = [_SYNCING.submit(work) for _ in range(min(SYNCING, len(drafts)))]
    wait(begun)
    for one in begun:
        one.result()
    return names


def date(header: bytes) -> int:
    """The Date of a mail in seconds since 1970; 0 where it has none that counts."""
    return max(0, int(sentdates.of_header(header) or 0))


def _abort(mails: list[Mail]) -> None:
    for mail in mails:
        mail.abort()


def sender(start: bytes) -> tuple[Address | None, int]:
    """The envelope sender that the other server wrote on top of a message (RFC 5321 §4.4), and where its line ends.

    None and 0 where there is no such line, or nothing that can be read.
    """
    found = _RETURN_PATH.match(start)
    return (_path_of(found[1]), found.end()) if found else (None, 0)


@lru_cache(maxsize=1000)  # the same people write to the same mailbox
def _head(path: Address | None, to: tuple[Address, ...], origin: envelope.Origin) -> tuple[envelope.Envelope, bytes]:
    """An envelope, which nobody changes, and its lines."""
    head = envelope.Envelope(path, [envelope.Recipient(one) for one in to], origin=origin)
    return head, envelope.encode(head)


@lru_cache(maxsize=1000)
def _path_of(raw: bytes) -> Address | None:
    """The address of a Return-Path, None for the null path and for what cannot be read."""
    try:
        text = raw.decode()
        path, _ = address.parse_path(text if text.startswith("<") else f"<{text}>", allow_null=True)
        return path and address.parse(str(path))
    except ValueError:
        return None


@lru_cache(maxsize=4)
def _date_line(second: int) -> str:
    return formatdate(second, localtime=True)
