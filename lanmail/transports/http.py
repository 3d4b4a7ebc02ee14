"""Transport http: each mail is posted to a program on a web server, as a file in a multipart form (RFC 7578).

The file is called ID.eml, always the same for the same mail, so that the program can tell a second try. Exactly the
status 200 means that it has the mail (unless PHP itself says with it that the form was too large to be read); after
any other the mail is posted again later. The envelope goes along only when the settings name fields for it.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from lanmail import secret
from lanmail.clients import httpclient, smtptext, tlsclient, tunnel
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result, Unreachable, sent

# The program or the way to it is in trouble, not this mail.
_NOBODY = frozenset({401, 404, 407, 429, 502, 503, 504})
PHP_UPLOAD = 2 << 20  # what PHP takes unless its settings say otherwise


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def send(self, job: Job) -> list[Result]:
        """Post one message. Unreachable, Temporary."""
        way = job.way
        form = await asyncio.get_running_loop().run_in_executor(None, _form, job)
        answer = await self._ask(way, form)
        if answer.status == 200 and not _too_large_for_php(answer):
            return sent(job, _said(answer), way.http.url)
        raise _refused(answer, job.message.size)

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None]) -> None:
        """See whether somebody answers at the URL; a HEAD sends no mail, so its status proves little."""
        say(f"asking {way.http.url or '(no url)'}" + (f" through {way.proxy}" if way.proxy else ""))
        answer = await self._ask(way, httpclient.Request("HEAD", way.http.url))
        say(f"it answers: {answer.status} {answer.reason}")
        if answer.status in _NOBODY or 300 <= answer.status < 400:
            raise _refused(answer, 0)
        say("whether it takes mail shows when one is sent")

    async def _ask(self, way: Outgoing, request: httpclient.Request) -> httpclient.Answer:
        if not way.http.url:
            raise Unreachable("no way out is configured: outgoing.http.url names no program", 451, "4.3.5")
        conf = self._house.paths.conf
        request = httpclient.Request(request.method, request.url, (*self._headers(way), *request.headers),
                                     request.body, request.length)
        try:
            return await httpclient.send(request, tlsclient.wish(way, conf), tunnel.of(way, conf), way.http.timeout)
        except Temporary as error:
            raise Unreachable(error.text, error.code, error.dsn) from error

    def _headers(self, way: Outgoing) -> tuple[tuple[str, str], ...]:
        hidden = {**way.http.secret_headers,
                  **({"Authorization": way.http.authorization} if way.http.authorization else {})}
        parts = urlsplit(way.http.url)
        if hidden and parts.scheme == "http" and parts.hostname not in httpclient.LOCAL:
            raise Unreachable(f"{parts.scheme}://{parts.netloc}: secret headers go by https only", 451, "4.3.5")
        conf = self._house.paths.conf
        return (*way.http.headers.items(), *((name, secret.read(text, conf).reveal()) for name, text in hidden.items()))

    async def close(self) -> None:
        """Nothing is kept open."""


def _form(job: Job) -> httpclient.Request:
    """The mail as the answer to an HTML form."""
    way, border = job.way.http, f"lanmail-{secrets.token_hex(16)}"
    fields = b""
    if way.sender_field:
        fields += _field(border, way.sender_field, str(job.sender or ""))
    if way.recipients_field:
        fields += b"".join(_field(border, way.recipients_field, str(one.address)) for one in job.recipients)
    head = fields + _part(border, way.variable, f"{job.part}.eml") + b"Content-Type: message/rfc822\r\n\r\n"
    tail = f"\r\n--{border}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        yield from smtptext.plain(job.message)
        yield tail

    length = len(head) + sum(map(len, smtptext.plain(job.message))) + len(tail)
    headers = (("Content-Type", f"multipart/form-data; boundary={border}"),)
    return httpclient.Request("POST", way.url, headers, body(), length)


def _field(border: str, name: str, value: str) -> bytes:
    return _part(border, name) + b"\r\n" + value.encode() + b"\r\n"


def _part(border: str, name: str, file: str = "") -> bytes:
    quoted = name.replace("\r", "").replace("\n", "").replace('"', "%22")  # as browsers do it
    more = f'; filename="{file}"' if file else ""
    return f'--{border}\r\nContent-Disposition: form-data; name="{quoted}"{more}\r\n'.encode()


def _too_large_for_php(answer: httpclient.Answer) -> bool:
    """PHP may say so with status 200: then the program it called has seen an empty form."""
    return re.search(rb"POST Content-Length of \d+ bytes exceeds the limit", answer.body) is not None


def _said(answer: httpclient.Answer) -> str:
    return f"HTTP {answer.status} {answer.reason} {answer.excerpt()}".strip()


def _refused(answer: httpclient.Answer, size: int) -> Temporary:
    text = _said(answer)
    if 300 <= answer.status < 400:
        place = answer.headers.get("location", "")[:200]
        text += f"; it wants the mail elsewhere, at {place!a}: put that into http.url"
        return Unreachable(text, 451, "4.3.5")
    if answer.status in _NOBODY:
        return Unreachable(text, 451, "4.3.0")
    if size > PHP_UPLOAD:
        text += (f"; the mail has {size / (1 << 20):.1f} MB, perhaps too many for it "
                 "(PHP: upload_max_filesize and post_max_size)")
    return Temporary(text, 451, "4.3.0")
