"""clamd, the daemon of ClamAV: the message is streamed to it, and it names what it found (INSTREAM, clamd(8))."""

import re
import socket
import struct

from lanmail.filters import ACCEPT, REJECT, Broken, Deadline, Question, Verdict
from lanmail.filters.options import Filtering

_PIECE = 1 << 17


def ask(question: Question, options: Filtering) -> Verdict:
    """Whether something was found in it. Broken."""
    deadline = Deadline(options.timeout)
    try:
        with connect(options.clamd, deadline) as one:
            said = _scan(one, question, deadline)
    except TimeoutError as error:
        raise Broken(f"{options.clamd}: it gives no answer in time") from error
    except OSError as error:
        raise Broken(f"{options.clamd}: {error.strerror or error}") from error
    if said == "stream: OK":
        return Verdict(ACCEPT)
    found = re.fullmatch(r"stream: (.{1,200}) FOUND", said)
    if found:
        return Verdict(REJECT, f"malware was found in it: {found[1]}")
    raise Broken(f"{options.clamd} says {said[:200]!r}")


def connect(place: str, deadline: Deadline) -> socket.socket:
    """To a socket of this machine, or HOST:PORT. OSError."""
    if place.startswith("/"):
        one = socket.socket(socket.AF_UNIX)
        try:
            one.settimeout(deadline.left())
            one.connect(place)
        except BaseException:
            one.close()
            raise
        return one
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), deadline.left())


def _scan(one: socket.socket, question: Question, deadline: Deadline) -> str:
    try:
        one.sendall(b"zINSTREAM\0")
        for piece in question.pieces(_PIECE):
            one.settimeout(deadline.left())
            one.sendall(struct.pack(">I", len(piece)) + piece)
        one.sendall(b"\0\0\0\0")
    except (BrokenPipeError, ConnectionResetError):
        pass  # it knows enough, and says what
    answer = b""
    while b"\0" not in answer and len(answer) < 4096:
        one.settimeout(deadline.left())
        more = one.recv(4096)
        if not more:
            break
        answer += more
    text = answer.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
