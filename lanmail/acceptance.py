"""What a message must be like to be taken, whichever way it is handed in, and the lines that it gets on top.

smtpd looks at each message that comes over the wire, httpd at each that comes by its API: hops, author, size of the
header, room on the disk. Who may send to whom is in `policy`.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from email.utils import make_msgid
from pathlib import Path

from lanmail import envelope, log, received, settings
from lanmail.errors import MailError, Permanent, Temporary

_field = re.compile(rb"[!-9;-~]+[ \t]*:").match


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


def opening(header: bytes, head: envelope.Envelope, trace: str, entry_id: str,
            rules: Rules) -> tuple[bytes, str | None]:
    """The lines before the message, envelope and all, and its Message-ID. Raises MailError when it is not taken.

    `trace` is received.session_part; the header section is in LF form.
    """
    folded = b"\n" + header.lower()
    if folded.count(b"\nreceived:") >= rules.max_hops:
        raise Permanent("Too many hops: this mail is in a loop", 554, "5.4.6")
    rules.check_header(header)
    msgid, at = None, folded.find(b"\nmessage-id:")
    if at >= 0:
        value = header[at + 11 : at + 400].partition(b"\n")[0]
        msgid = value.strip().decode("utf-8", "replace")[:256]
    now = time.time()
    only = head.recipients[0].address if len(head.recipients) == 1 else None
    lines = envelope.encode(head) + received.lines(head.sender, trace, entry_id, only, now)
    if rules.complete:
        if b"\ndate:" not in folded and b"\nresent-date:" not in folded:
            lines += f"Date: {received.date(int(now))}\n".encode()
        if at < 0:
            msgid = make_msgid(domain=rules.hostname)
            lines += f"Message-ID: {msgid}\n".encode()
    if not _field(header):
        lines += b"\n"  # text without a header: it must not become part of ours
    return lines, msgid


def header_length(text: bytes | bytearray, start: int = 0) -> int:
    """Octets of the header section before the empty line; -1 when that has not come."""
    if text[:1] == b"\n":
        return 0
    end = text.find(b"\n\n", start)
    return end + 1 if end >= 0 else -1


def header_too_large(rules: Rules) -> Permanent:
    """The answer to a message with too much header."""
    return Permanent(f"Header section larger than {rules.max_header} octets", 552, "5.3.4")


def bare_line_ends() -> Permanent:
    """The answer with bare_lf = "reject"."""
    return Permanent("Line ends must be CRLF: bare CR or LF in the message", 550, "5.6.11")


def explain(entry_id: str, error: BaseException) -> MailError:
    """What a client is told about an error of the disk; the mail stays his."""
    if isinstance(error, OSError):
        log.spool_failed(id=entry_id, error=str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE):
            return no_room()
        return Temporary("Cannot store the mail now", 451, "4.3.0")
    log.crashed(error=repr(error), id=entry_id)
    return Temporary("Internal error, try again later")


def check_room(free: int, entries: int, size: int, smtpd: settings.Smtpd) -> None:
    """Raise Temporary when a mail of `size` octets should come later."""
    if free - size < smtpd.min_free:
        raise no_room()
    if entries >= smtpd.max_backlog:
        raise Temporary("Too many mails are waiting here, try again later", 451, "4.3.2")


def no_room() -> Temporary:
    """The answer of a full disk."""
    return Temporary("Insufficient system storage", 452, "4.3.1")


def waiting(queue: Path) -> int:
    """How many mails deliver has not taken yet."""
    with os.scandir(queue / "new") as entries:
        return sum(1 for _ in entries)


def free_space(directory: Path) -> int:
    """Bytes an ordinary process may still write there; 0 when nobody can say."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0
    # a tmpfs or btrfs without inode limit reports 0 of 0 free inodes
    return 0 if status.f_files and not status.f_favail else status.f_bavail * status.f_frsize
