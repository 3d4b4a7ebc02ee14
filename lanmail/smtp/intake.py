"""One message on its way from the wire into the spool.

The header section is held until it is complete, because the trace lines come before it and because hop count and
author are looked at; after that the text goes to a spool draft as it comes. All disk work is done in threads: at most
one piece is being written while the next is being received, and `backlog` tells the session when to stop reading. So
a message costs at most max_header plus about half a megabyte of memory, however large it is.

Whatever goes wrong is kept in `refusal` until the message has ended: RFC 5321 has no reply in the middle of DATA.
"""

import errno
import re
import time
from collections.abc import Callable
from email.utils import make_msgid

from lanmail import envelope, log, settings, spool
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.smtp import disk, received

CHUNK = 128 << 10  # written in one piece
HIGH_WATER = 256 << 10  # no more is read while this much waits for the disk

_field = re.compile(rb"[!-9;-~]+[ \t]*:").match

Ended = Callable[[MailError | None], None]


class Rules:
    """What holds for the messages of a client."""

    def __init__(self, wishes: settings.Settings, complete: bool, check_header: Callable[[bytes], None]) -> None:
        self.settings = wishes
        self.max_size = wishes.smtpd.max_size
        self.max_header = wishes.smtpd.max_header
        self.max_hops = wishes.deliver.max_hops
        self.refuse_bare = wishes.smtpd.bare_lf == "reject"
        self.hostname = wishes.server.hostname
        self.complete = complete  # a mail program's mail: add Date and Message-ID when missing (RFC 6409 §8)
        self.check_header = check_header  # raises MailError


class Intake:
    """Takes the text of one message (LF form) and puts it into the queue."""

    def __init__(self, queue: spool.Spool, pool: disk.Pool, head: envelope.Envelope, trace: str, rules: Rules,
                 more: Callable[[], None], max_size: int | None = None) -> None:
        self.draft = queue.create()
        self.refusal: MailError | None = None
        self.size = 0  # octets as on the wire, told by the reader
        self.msgid: str | None = None
        self._pool, self._head, self._trace, self._rules, self._more = pool, head, trace, rules, more
        self._max_size = rules.max_size if max_size is None else max_size
        self._header: bytearray | None = bytearray()
        self._waiting: list[bytes] = []  # for the draft, while its thread writes
        self._waiting_size = 0
        self._writing = False
        self._ended: Ended | None = None
        self._given_up = False

    @property
    def id(self) -> str:
        """The id of the mail."""
        return self.draft.id

    @property
    def backlog(self) -> bool:
        """True when nothing more should be read before `more` is called."""
        return self._waiting_size >= HIGH_WATER

    def write(self, text: bytes, size: int) -> None:
        """The next piece; `size` is that of the whole message so far, in octets on the wire."""
        self.size = size
        if self.refusal is not None:
            return
        if size > self._max_size:
            self.refuse(Permanent(f"Message larger than {self._max_size} octets", 552, "5.3.4"))
            return
        if self._header is not None:
            self._collect_header(text)
        else:
            self._add(text)

    def refuse(self, error: MailError) -> None:
        """The message will not be taken: let go of what there is of it, and say so at its end."""
        if self.refusal is None:
            self.refusal = error
            self._header = None
            self._drop()

    def end(self, bare: bool, ended: Ended) -> None:
        """The message is complete. `ended(None)` is called once it is durable, `ended(error)` when it was refused."""
        if self._header is not None:
            self._header_complete(bytes(self._header), b"")
        if bare and self._rules.refuse_bare:
            self.refuse(Permanent("Line ends must be CRLF: bare CR or LF in the message", 550, "5.6.11"))
        if self.refusal is not None:
            ended(self.refusal)
            return
        self._ended = ended
        if not self._writing:
            self._commit()

    def give_up(self) -> None:
        """The client has gone: nothing was promised, nothing is kept."""
        if self._ended is None:  # a message that has ended is queued, heard or not
            self._given_up = True
            self._drop()

    def _collect_header(self, text: bytes) -> None:
        header = self._header
        assert header is not None
        if not header and 0 <= (end := _header_length(text)) <= self._rules.max_header:
            self._header_complete(text[:end], text)  # most mails come with all of it in the first piece
            return
        known = max(0, len(header) - 1)
        header += text
        end = _header_length(header, known)
        if max(end, 0 if end >= 0 else len(header)) > self._rules.max_header:
            self.refuse(Permanent(f"Header section larger than {self._rules.max_header} octets", 552, "5.3.4"))
        elif end >= 0:
            self._header_complete(bytes(header[:end]), bytes(header))

    def _header_complete(self, header: bytes, text: bytes) -> None:
        """`text` is what came so far, header and all (or nothing but the header, when the message ended in it)."""
        self._header = None
        folded = b"\n" + header.lower()
        try:
            if folded.count(b"\nreceived:") >= self._rules.max_hops:
                raise Permanent("Too many hops: this mail is in a loop", 554, "5.4.6")
            self._rules.check_header(header)
        except MailError as error:
            self.refuse(error)
            return
        self._add(self._first_lines(header, folded))
        self._add(text or header)

    def _first_lines(self, header: bytes, folded: bytes) -> bytes:
        at = folded.find(b"\nmessage-id:")
        if at >= 0:
            value = header[at + 11 : at + 400].partition(b"\n")[0]
            self.msgid = value.strip().decode("utf-8", "replace")[:256]
        head, now = self._head, time.time()
        only = head.recipients[0].address if len(head.recipients) == 1 else None
        lines = envelope.encode(head) + received.lines(head.sender, self._trace, self.id, only, now)
        if self._rules.complete:
            if b"\ndate:" not in folded and b"\nresent-date:" not in folded:
                lines += f"Date: {received.date(int(now))}\n".encode()
            if at < 0:
                self.msgid = make_msgid(domain=self._rules.hostname)
                lines += f"Message-ID: {self.msgid}\n".encode()
        if not _field(header):
            lines += b"\n"  # text without a header: it must not become part of ours
        return lines

    def _add(self, text: bytes) -> None:
        if self._writing:
            self._waiting.append(text)
            self._waiting_size += len(text)
            return
        self.draft.write(text)
        if self.draft.buffered >= CHUNK and self._ended is None:
            self._writing = True
            self._pool.run(self.draft.flush, self._flushed)

    def _flushed(self, _result: object, error: BaseException | None) -> None:
        self._writing = False
        if error is not None:
            self.refuse(self._explain(error))
        if self.refusal is not None or self._given_up:
            self._drop()
            if self._ended is not None:
                self._ended(self.refusal)
        else:
            self._catch_up()
        self._more()

    def _catch_up(self) -> None:
        """Hand the draft what came while its thread was writing."""
        for text in self._waiting:
            self.draft.write(text)
        self._waiting.clear()
        self._waiting_size = 0
        if self._ended is not None:
            self._commit()
        elif self.draft.buffered >= CHUNK:
            self._writing = True
            self._pool.run(self.draft.flush, self._flushed)

    def _commit(self) -> None:
        self._pool.run(self.draft.commit, self._committed)

    def _committed(self, _result: object, error: BaseException | None) -> None:
        assert self._ended is not None
        self._ended(None if error is None else self._explain(error))

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_size = 0
        self._header = None
        if not self._writing:  # else _flushed comes back here
            self._pool.run(self.draft.abort, _nothing)

    def _explain(self, error: BaseException) -> MailError:
        """What the client is told about an error of the disk; the mail stays his."""
        if isinstance(error, OSError):
            log.spool_failed(id=self.id, error=str(error))
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE):
                return Temporary("Insufficient system storage", 452, "4.3.1")
            return Temporary("Cannot store the mail now", 451, "4.3.0")
        log.crashed(error=repr(error), id=self.id)
        return Temporary("Internal error, try again later")


def _header_length(text: bytes | bytearray, start: int = 0) -> int:
    """Octets of the header section before the empty line; -1 when that has not come."""
    if text[:1] == b"\n":
        return 0
    end = text.find(b"\n\n", start)
    return end + 1 if end >= 0 else -1


def _nothing(_result: object, _error: BaseException | None) -> None:
    """An aborted draft has nothing to say."""
