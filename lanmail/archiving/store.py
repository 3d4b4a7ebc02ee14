"""The store of the archive: one file for each message, in a Maildir for each month, that nobody changes any more.

    archive/2026-11/cur/1763759701.M123456P7Q1R00af.mail,S=5312,H=<32 hex digits>:2,S

The month (UTC) is that of the moment at which the mail came in. The name is the id of the mail, with "-sent" behind it
for the form that went out; S= are the octets of the file, H= the first 32 digits of its SHA-256; ":2,S" makes it a
message that was read, for mail programs that open the Maildir. The file has mode 0440.

A file is the entry as it was handed over: the envelope lines, then the message, LF line ends:

    X-Sender: <alice@firma.lan>
    X-Receiver: <bob@firma.lan>                      all recipients of the envelope, blind copies too
    X-Origin: archive id=1763759701.M1… form=accepted direction=both how=submission submitter=alice receivers=bob,carol
    Return-Path: <alice@firma.lan>                   from here on it is the message

`receivers` may stand there several times, each with some of the names (a value has 512 octets at most). `read` gives
both parts of a file that a journal line names. A message that was purged has no file; its line stays. The journal, not
the directory, is the list of what is there.
"""

import contextlib
import errno
import hashlib
import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lanmail import atomic, entry, envelope, message, spool
from lanmail.archiving import journal
from lanmail.paths import Paths

KIND = "archive"  # of the origin of an entry in spool/archive
ACCEPTED, SENT = "accepted", "sent"
MODE = 0o440
_CHUNK = 1 << 20
_VALUE = 500  # octets of a value in X-Origin; envelope.py allows 512
_LONGEST_ID = 998  # characters of a Message-ID: a line has no more (RFC 5322 §2.1.1)
_LONGEST_NAME = 180  # octets of an id: a file name has 255, and more stands in it
_ID = re.compile(r"[!-+\-0-9;-~][^/,:\x00-\x20\x7f]*")  # it becomes part of a file name
_FILE = re.compile(r"[0-9]{4}-[0-9]{2}/cur/[^/\0]{1,255}")


def spool_of(where: Paths) -> spool.Spool:
    """spool/archive: what is to be archived; owned by archived."""
    return spool.Spool(where.spool / "archive", state=where.state / "archive", hold=where.hold)


@dataclass(frozen=True, slots=True)
class Facts:
    """What X-Origin says of an entry for the archive."""

    id: str
    form: str
    submitter: str  # the archived account that handed it in, or ""
    receivers: tuple[str, ...]  # the archived accounts that it reached
    how: str

    @property
    def direction(self) -> str:
        """in, out or both."""
        if self.submitter and self.receivers:
            return "both"
        return "out" if self.submitter else "in"


def origin(facts: Facts) -> envelope.Origin:
    """The origin of an entry for spool/archive."""
    fields = [("id", quote(facts.id, safe="+=@")), ("form", facts.form), ("direction", facts.direction),
              ("how", facts.how)]
    if facts.submitter:
        fields.append(("submitter", facts.submitter))
    return envelope.Origin(KIND, (*fields, *(("receivers", value) for value in _values(facts.receivers))))


def _values(names: tuple[str, ...]) -> list[str]:
    """The names with commas between them, in as many values as they need."""
    found: list[str] = []
    for name in sorted(set(names)):
        if found and len(found[-1]) + len(name) < _VALUE:
            found[-1] += f",{name}"
        else:
            found.append(name)
    return found


def is_id(text: str) -> bool:
    """Whether a mail in the archive can have this id."""
    return bool(_ID.fullmatch(text)) and len(text.encode("utf-8", "replace")) <= _LONGEST_NAME


def facts(head: envelope.Envelope) -> Facts:
    """What the origin says. ValueError when it is none of an entry for the archive."""
    said = head.origin
    if said is None or said.kind != KIND:
        raise ValueError("it does not come from deliver or relay: X-Origin is not that of an entry for the archive")
    form, mail_id = said.get("form"), unquote(said.get("id") or "")
    if form not in (ACCEPTED, SENT) or not is_id(mail_id):
        raise ValueError("X-Origin names no id, or no form that there is")
    receivers = tuple(sorted({name for key, value in said.fields if key == "receivers" for name in value.split(",")}))
    return Facts(mail_id, form, said.get("submitter") or "", receivers, said.get("how") or "")


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry that is in the store. `new`: this put it there; `body` is what the journal is to say of it."""

    name: str  # in the spool
    body: dict[str, Any]
    new: bool


class Store:
    """The months, open to put files into."""

    def __init__(self, where: Paths) -> None:
        self.root = where.archive
        self._fds: dict[str, int] = {}
        self._unsettled: set[str] = set()  # months with names that are not durable yet

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def put(self, owner: spool.Spool, name: str) -> Stored:
        """Put the entry spool/archive/new/NAME into its month; it stays in the spool, too. `settle` makes it durable.

        entry.Unreadable, ValueError (not for us), FileNotFoundError, atomic.NotRegular, OSError.
        """
        one = entry.read(owner, spool.NEW, name)
        known = facts(one.head)
        descriptor = atomic.open_regular(name, dir_fd=owner.fd(spool.NEW))
        try:
            size, digest = digest_of(descriptor)
            arrived = replace(one, id=known.id).arrived()
            month = time.strftime("%Y-%m", time.gmtime(arrived))
            final = f"{known.id}{'' if known.form == ACCEPTED else '-' + known.form},S={size},H={digest[:32]}:2,S"
            new = self._link(descriptor, owner.fd(spool.NEW), name, month, final)
        finally:
            os.close(descriptor)
        body = {
            "kind": journal.MAIL, "id": known.id, "form": known.form, "file": f"{month}/cur/{final}", "sha256": digest,
            "size": size, "arrived": journal.stamp(arrived), "direction": known.direction,
            "submitter": known.submitter, "receivers": list(known.receivers), "how": known.how,
            "sender": "" if one.head.sender is None else str(one.head.sender),
            "recipients": [str(recipient.address) for recipient in one.head.recipients],
            "message_id": _message_id(entry.header(owner, one)),
        }
        return Stored(name, body, new)

    def _link(self, descriptor: int, spool_fd: int, name: str, month: str, final: str) -> bool:
        """The entry under its final name; False when that is there already."""
        target = self._month(month)
        try:
            try:
                os.fchmod(descriptor, MODE)
                os.link(name, final, src_dir_fd=spool_fd, dst_dir_fd=target, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                    raise
                self._copy(descriptor, month, final)  # the archive has a file system of its own
        except FileExistsError:
            return False
        self._unsettled.add(month)
        return True

    def _copy(self, descriptor: int, month: str, final: str) -> None:
        temporary = self.root / month / "tmp" / final
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        copy = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o600)
        try:
            offset = 0
            while block := os.pread(descriptor, _CHUNK, offset):
                atomic.write_all(copy, block)
                offset += len(block)
            os.fchmod(copy, MODE)
            os.fsync(copy)
            os.link(temporary, final, dst_dir_fd=self._month(month))
        finally:
            os.close(copy)
            temporary.unlink()

    def _month(self, month: str) -> int:
        """The descriptor of its cur/, made if need be."""
        if month not in self._fds:
            for place in ("tmp", "new", "cur"):
                (self.root / month / place).mkdir(mode=0o750, parents=True, exist_ok=True)
            for directory in (self.root / month, self.root):
                atomic.sync_dir(directory)
            self._fds[month] = os.open(self.root / month / "cur", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                                       | os.O_CLOEXEC)
        return self._fds[month]

    def settle(self) -> None:
        """Make the names durable of all that was put since. OSError."""
        for month in self._unsettled:
            os.fsync(self._fds[month])
        self._unsettled.clear()

    def is_sound(self, body: dict[str, Any]) -> bool:
        """Whether the file of a mail line is there and has its hash. OSError."""
        try:
            descriptor = open_file(self.root, body)
        except FileNotFoundError:
            return False
        try:
            return digest_of(descriptor)[1] == str(body["sha256"])
        finally:
            os.close(descriptor)


def digest_of(descriptor: int) -> tuple[int, str]:
    """The octets of an open file and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    while block := os.pread(descriptor, _CHUNK, size):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def open_file(root: Path, data: dict[str, Any]) -> int:
    """The file of a mail line, open to be read. FileNotFoundError, atomic.NotRegular, OSError.

    What a forged line names outside of the months counts as not there.
    """
    name = str(data.get("file"))
    if not is_name(name):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return atomic.open_regular(root / name)


def is_name(name: str) -> bool:
    """Whether a line may name a file like this: one in a month, and nothing elsewhere."""
    return _FILE.fullmatch(name) is not None


def read(root: Path, data: dict[str, Any]) -> tuple[envelope.Envelope, bytes]:
    """The envelope and the message (LF line ends) of a mail line. FileNotFoundError, ValueError, OSError."""
    with open(open_file(root, data), "rb") as stream:
        return split(stream.read())


def split(raw: bytes) -> tuple[envelope.Envelope, bytes]:
    """The envelope and the message of a whole file. ValueError."""
    head, offset = envelope.decode(raw)
    if head is None:
        raise ValueError("a file of the archive begins with its envelope lines, and this one does not")
    return head, raw[offset:]


def _message_id(header: bytes) -> str:
    value = (message.field(header, b"Message-ID") or b"").decode("utf-8", "replace")
    return "".join(one for one in value if one.isprintable())[:_LONGEST_ID]
