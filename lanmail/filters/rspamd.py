"""rspamd: the message is posted to its normal worker, which answers with an action and header fields (/checkv2).

reject rejects; add header and rewrite subject make it spam; soft reject asks again later; greylist, which only means
something while the mail is handed in, and no action accept it. Fields of milter.add_headers are put on the mail.
"""

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

from lanmail.filters import ACCEPT, DEFER, REJECT, TAG, Broken, Deadline, Kind, Question, Verdict, clamd, header_lines
from lanmail.filters.options import Filtering

_LIMIT = 1 << 20
_KINDS: dict[str, Kind] = {"reject": REJECT, "add header": TAG, "rewrite subject": TAG, "soft reject": DEFER}


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of this machine, with one deadline for everything."""

    def __init__(self, place: str, deadline: Deadline) -> None:
        parts = urlsplit(place)
        super().__init__("localhost" if place.startswith("/") else parts.netloc, timeout=deadline.left())
        self._path, self._deadline = place, deadline

    def connect(self) -> None:
        if self._path.startswith("/"):
            self.sock = clamd.connect(self._path, self._deadline)
        else:
            super().connect()


def ask(question: Question, options: Filtering) -> Verdict:
    """What it thinks of the message. Broken."""
    deadline = Deadline(options.timeout)
    one = _Connection(options.rspamd, deadline)
    try:
        one.putrequest("POST", "/checkv2")
        for name, value in _headers(question):
            one.putheader(name, value.encode("utf-8", "replace"))
        one.endheaders()
        for piece in question.pieces():
            _within(one.sock, deadline)
            one.send(piece)
        _within(one.sock, deadline)
        answer = one.getresponse()
        body = b""
        while len(body) < _LIMIT and (data := answer.read(1 << 16)):
            _within(one.sock, deadline)
            body += data
    except TimeoutError as error:
        raise Broken(f"{options.rspamd}: it gives no answer in time") from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"{options.rspamd}: {getattr(error, 'strerror', None) or repr(error)}") from error
    finally:
        one.close()
    if answer.status != 200:
        raise Broken(f"{options.rspamd} says HTTP {answer.status}")
    return understood(body)


def _within(one: socket.socket | None, deadline: Deadline) -> None:
    left = deadline.left()
    if one is not None:  # http.client lets go of it when the answer is the last
        one.settimeout(left)


def _headers(question: Question) -> list[tuple[str, str]]:
    known = [("From", question.sender), ("Queue-Id", question.id), ("IP", question.client),
             ("User", question.submitter), *(("Rcpt", one) for one in question.recipients)]
    return [("Content-Length", str(question.size)), *((name, value) for name, value in known if value)]


def understood(body: bytes) -> Verdict:
    """The verdict in an answer. Broken."""
    try:
        found = json.loads(body)
        action, score, wanted = str(found["action"]), float(found["score"]), float(found["required_score"])
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(f"its answer cannot be understood: {error!r}") from error
    kind = _KINDS.get(action, ACCEPT)
    lines = "X-Spam-Flag: YES\n" if kind == TAG else ""
    lines += f"X-Spam-Score: {score:.1f} / {wanted:.1f}\nX-Spam-Action: {action}\n"
    more, _ = header_lines(lines + "".join(_added(found)))
    return Verdict(kind, f"spam, {score:.1f} of {wanted:.1f} points" if kind == REJECT else action, more)


def _added(found: dict[str, Any]) -> list[str]:
    """milter.add_headers: name → text, {"value": text}, or a list of these."""
    milter = found.get("milter")
    added = milter.get("add_headers") if isinstance(milter, dict) else None
    lines = []
    for name, values in added.items() if isinstance(added, dict) else ():
        for one in values if isinstance(values, list) else [values]:
            text = one.get("value") if isinstance(one, dict) else one
            if isinstance(text, str):
                lines.append(f"{name}: {' '.join(text.split())}\n")
    return lines
