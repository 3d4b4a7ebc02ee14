"""One message on its way from the wire into the spool.

The header section is held until it is complete, because the trace lines come before it and because hop count and
author are looked at; after that the text goes to a spool draft as it comes. All disk work is done in threads: at most
one piece is being written while the next is being received, and `backlog` tells the session when to stop reading. So
a message costs at most max_header plus about half a megabyte of memory, however large it is.

Whatever goes wrong is kept in `refusal` until the message has ended: RFC 5321 has no reply in the middle of DATA.
"""

from collections.abc import Callable

from lanmail import acceptance, envelope, policy, spool
from lanmail.errors import MailError
from lanmail.smtp import disk

CHUNK = 128 << 10  # written in one piece
HIGH_WATER = 256 << 10  # no more is read while this much waits for the disk

Ended = Callable[[MailError | None], None]


class Intake:
    """Takes the text of one message (LF form) and puts it into the queue."""

    def __init__(self, queue: spool.Spool, pool: disk.Pool, head: envelope.Envelope, trace: str,
                 rules: acceptance.Rules, more: Callable[[], None], max_size: int | None = None) -> None:
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
            self.refuse(policy.too_large(self._max_size))
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
            self.refuse(acceptance.bare_line_ends())
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
        if not header and 0 <= (end := acceptance.header_length(text)) <= self._rules.max_header:
            self._header_complete(text[:end], text)  # most mails come with all of it in the first piece
            return
        known = max(0, len(header) - 1)
        header += text
        end = acceptance.header_length(header, known)
        if max(end, 0 if end >= 0 else len(header)) > self._rules.max_header:
            self.refuse(acceptance.header_too_large(self._rules))
        elif end >= 0:
            self._header_complete(bytes(header[:end]), bytes(header))

    def _header_complete(self, header: bytes, text: bytes) -> None:
        """`text` is what came so far, header and all (or nothing but the header, when the message ended in it)."""
        self._header = None
        try:
            lines, self.msgid = acceptance.opening(header, self._head, self._trace, self.id, self._rules)
        except MailError as error:
            self.refuse(error)
            return
        self._add(lines)
        self._add(text or header)

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
            self.refuse(acceptance.explain(self.id, error))
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
        self._ended(None if error is None else acceptance.explain(self.id, error))

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_size = 0
        self._header = None
        if not self._writing:  # else _flushed comes back here
            self._pool.run(self.draft.abort, _nothing)


def _nothing(_result: object, _error: BaseException | None) -> None:
    """An aborted draft has nothing to say."""
