"""Ways to send a mail, each a module with a class `Transport`; what relay and they expect of each other.

relay does everything that has to do with time and with people: which way a mail goes, splitting, retries, back-off,
rates, bounces, the log. A transport only sends: it gets a `Job`, which is one message for some recipients, and says
what became of each recipient.

    class Transport:
        def __init__(self, house: transports.House) -> None: ...
        async def send(self, job: transports.Job) -> list[transports.Result]: ...
        async def probe(self, way, account, say) -> None: ...    # reach the server and log in, but send nothing
        async def close(self) -> None: ...

There is one object for each transport and process; `send` runs several times at once. It may keep connections.

What `send` may do
    return      one Result per recipient of the job, in any order. A recipient without one counts as temporary.
    raise       errors.Permanent or errors.Temporary for all recipients of the job;
                Unreachable when it is the destination that is in trouble, not this mail (no connection, no DNS, no
                log-in, a wrong certificate): the destination gets a back-off and the mail's tries are not counted;
                Split when the recipients must go in separate mails (Gmail's 451-4.3.0 Multiple destination domains).
    anything else that is raised is a bug, is logged, and counts as Temporary.
    be cancelled at any await, when relay stops.

A Result with code 2xx says that the other side has the mail for good: only then is it removed here. When the connection
is lost after the last octet and before the answer, that is `Temporary` (it may arrive twice, but it is never lost).

The message of a job has LF line ends and is already what must go out: without envelope lines and Return-Path, and what
rewriting.py does is done. A transport never parses and serialises it again. Large messages are not read into memory:
use `chunks()` or `open()`; both may block for a read from disk and no longer. The settings of the way out are in
`job.way`; passwords in them are references, read at each use: `secret.read(job.way.http.authorization, paths.conf)`.
"""

import importlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from lanmail import address, envelope, message
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.outgoing import Outgoing
from lanmail.paths import Paths
from lanmail.settings import Settings

NAMES = ("smtp", "mx", "folder", "http", "webspace", "graph")  # modules of this package; imported when first used

CHUNK = 256 << 10
MAX_HEADER = 1 << 20
FIRST_HEADER = 1 << 14


class Unreachable(Temporary):
    """The destination is in trouble, not this mail: try nothing there for a while."""


class Split(Temporary):
    """The server wants a mail for each domain, or for each recipient: it is to be sent again like that at once."""


class Message:
    """What is sent: a part of an open file, or bytes. LF line ends."""

    def __init__(self, descriptor: int, offset: int, size: int, data: bytes | None = None) -> None:
        self._fd, self._offset, self._data = descriptor, offset, data
        self.size = size  # bytes in LF form
        self._header: bytes | None = None

    @classmethod
    def of_bytes(cls, data: bytes) -> "Message":
        """A message in memory."""
        start = _after_return_path(data)
        return cls(-1, 0, len(data) - start, data[start:] if start else data)

    @classmethod
    def of_file(cls, descriptor: int, offset: int) -> "Message":
        """The message in an open spool entry, from `offset` on; the descriptor stays the caller's."""
        offset += _after_return_path(os.pread(descriptor, 8192, offset))
        return cls(descriptor, offset, os.fstat(descriptor).st_size - offset)

    @property
    def header(self) -> bytes:
        """The header section, at most 1 MB of it."""
        if self._header is None:
            step = FIRST_HEADER  # most headers are short, and most messages with a long body have one
            start = self._pread(step, 0)
            while (end := message.header_end(start)) == len(start) == step and step < MAX_HEADER:
                step *= 8
                start = self._pread(step, 0)
            self._header = start[:end]
        return self._header

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The message in pieces of at most `size` bytes."""
        if self._data is not None and len(self._data) <= size:
            yield self._data
            return
        done = 0
        while piece := self._pread(size, done):
            yield piece
            done += len(piece)

    def read(self) -> bytes:
        """The whole message; only for what has to look at all of it at once."""
        return self._data if self._data is not None else b"".join(self.chunks())

    def open(self) -> BinaryIO:
        """A new binary stream of the message, from its start, for libraries that want one."""
        return cast(BinaryIO, io.BufferedReader(_Raw(self), CHUNK))

    def _pread(self, size: int, position: int) -> bytes:
        size = max(0, min(size, self.size - position))
        if self._data is not None:
            return self._data[position : position + size]
        return os.pread(self._fd, size, self._offset + position)


def _after_return_path(start: bytes) -> int:
    """Where the message goes on behind its Return-Path line: that line is written at delivery (RFC 5321 §4.4)."""
    if start[:12].lower() != b"return-path:":
        return 0
    end = start.find(b"\n") + 1
    while end and start[end : end + 1] in (b" ", b"\t"):
        end = start.find(b"\n", end) + 1
    return end


class _Raw(io.RawIOBase):
    """A Message as a raw stream with seek, for `Message.open`."""

    def __init__(self, text: Message) -> None:
        self._text, self._position = text, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._text.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._text._pread(len(buffer), self._position)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


@dataclass(slots=True)
class Job:
    """One message for some recipients, on one way out."""

    id: str  # of the spool entry, for the log
    part: str  # the same for all tries of this part: id, or id-N when the mail was split; for file names and the like
    sender: address.Address | None  # None is the null sender
    recipients: list[envelope.Recipient]
    params: envelope.Params  # of MAIL FROM: BODY, SMTPUTF8, RET, ENVID
    message: Message
    way: Outgoing  # the settings of this way out, account and default put together
    account: str | None  # whose mail it is
    domain: str | None = None  # transport mx: the domain that all recipients have
    ours: bool = False  # written in this office or by our programs, not passed on for somebody outside

    @property
    def wire_size(self) -> int:
        """About the size on the wire, for SIZE=; a little more than the file."""
        return self.message.size + self.message.size // 30


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient. `answer` is a MailError with code 2xx (sent), a Temporary or a Permanent."""

    recipient: envelope.Recipient
    answer: MailError
    remote: str | None = None  # who said it: a host name, a URL without secrets, a directory
    reports: bool = False  # the other side promised to report success by itself (DSN, RFC 3461)

    @property
    def sent(self) -> bool:
        return 200 <= self.answer.code < 300

    @property
    def failed(self) -> bool:
        return isinstance(self.answer, Permanent)


def sent(job: Job, text: str, remote: str | None = None) -> list[Result]:
    """All recipients of the job have the mail."""
    answer = MailError(250, "2.0.0", text)
    return [Result(one, answer, remote) for one in job.recipients]


@dataclass(slots=True)
class House:
    """What a transport may use: where things lie, and the settings of the moment."""

    paths: Paths
    settings: Callable[[], Settings]
    say: Callable[[str], None] = field(default=lambda _text: None)  # --trace


class Transport(Protocol):
    """A way to send; see the module's text."""

    async def send(self, job: Job) -> list[Result]:
        """Send one message. Temporary, Permanent, Unreachable, Split."""

    async def probe(self, way: Outgoing, account: str | None, say: Callable[[str], None]) -> None:
        """Reach the server and log in, telling each step; send nothing. MailError."""

    async def close(self) -> None:
        """Give connections back."""


def make(name: str, house: House) -> Transport:
    """The transport of this name; its module, and the libraries it needs, are imported now."""
    assert name in NAMES, name
    module = importlib.import_module(f"lanmail.transports.{name}")
    return cast(Transport, module.Transport(house))


def conf_file(house: House, name: str) -> Path:
    """A file that a setting names, relative to conf/."""
    return house.paths.conf / name
