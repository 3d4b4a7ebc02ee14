"""Transport graph: Microsoft Graph sendMail, for tenants that let nobody log in to SMTP.

The service reads the recipients from the header, not from an envelope. So whoever gets the mail and stands in no field
is added as Bcc, which the service takes out again; and a mail whose header names somebody who is not to get it this way
(a colleague who has it already) is refused, or, with graph.allow_partial, goes with those names taken out of To and Cc.

The mail goes as MIME in Base64; above about 3 MB the service takes none. 202 is sent, and puts a copy into Sent Items.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

from lanmail import address, message, printable, tokens
from lanmail.clients import httpclient, smtptext, tlsclient, tunnel
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result, Unreachable, sent

_field = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*").findall
# error codes of the service that no later try changes
_TOO_LARGE = frozenset({"ErrorMessageSizeExceeded", "RequestEntityTooLarge"})
_FOR_GOOD = frozenset({"ErrorInvalidRecipients", "ErrorSendAsDenied", "ErrorRecipientNotFound"})
# those that speak of the mailbox or the app, not of the mail
_NOBODY = frozenset({401, 403, 404, 429, 502, 503, 504})


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def send(self, job: Job) -> list[Result]:
        """Send one message. Unreachable, Temporary, Permanent."""
        data = with_recipients(job)
        body = base64.b64encode(data.replace(b"\n", b"\r\n"))
        way, place = job.way, _place(job.way)
        answer = await self._ask(way, "POST", f"{place}/sendMail", body)
        if answer.status == 202:
            request = printable.line(answer.headers.get("request-id", "")[:64])
            return sent(job, f"HTTP 202 {answer.reason} {request}".rstrip(), place)
        raise _refused(answer)

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None]) -> None:
        """Ask for the mailbox by the token; send nothing."""
        say(f"asking {_place(way)} with the token of {way.user} (app {way.app})")
        answer = await self._ask(way, "GET", _place(way), b"")
        # a token that may only send is told 403 here, and still good
        if answer.status not in (200, 403):
            raise _refused(answer)
        say(f"the token is taken: HTTP {answer.status}")

    async def _ask(self, way: Outgoing, method: str, url: str, body: bytes) -> httpclient.Answer:
        conf = self._house.paths.conf
        try:
            token = await tokens.access(self._house.paths, way.app, way.user, "graph")
            headers = (("Authorization", f"Bearer {token.secret.reveal()}"), ("Content-Type", "text/plain"))
            request = httpclient.Request(method, url, headers, (body,) if body else (), len(body))
            answer = await httpclient.send(request, tlsclient.wish(way, conf), tunnel.of(way, conf), way.graph.timeout)
        except Unreachable:
            raise
        except Temporary as error:
            raise Unreachable(error.text, error.code, error.dsn) from error
        if answer.status == 401:
            tokens.rejected(self._house.paths, token)
        return answer

    async def close(self) -> None:
        """Nothing is kept open."""


def _place(way: Outgoing) -> str:
    mailbox = f"users/{quote(way.graph.mailbox, safe='@')}" if way.graph.mailbox else "me"
    return f"{way.graph.url.rstrip('/')}/{mailbox}"


def with_recipients(job: Job) -> bytes:
    """The message (LF form) whose header names exactly the recipients of the job. Permanent."""
    data = b"".join(smtptext.plain(job.message)).replace(b"\r\n", b"\n")
    end = message.header_end(data)
    wanted = {one.address for one in job.recipients}
    named: set[address.Address] = set()
    others: set[address.Address] = set()
    out = []
    for field in _field(data[:end]):
        name = field.partition(b":")[0].rstrip(b" \t").lower()
        if name in (b"to", b"cc"):
            there = list(_mailboxes(field.partition(b":")[2]))
            others |= {one for one, _ in there} - wanted
            named |= {one for one, _ in there} & wanted
            if {one for one, _ in there} <= wanted:
                out.append(field)
            else:
                kept = [raw for one, raw in there if one in wanted]
                out += [field.partition(b":")[0] + b": " + b",\n\t".join(kept) + b"\n"] if kept else []
        elif name != b"bcc" and field != b"\n":
            out.append(field)
    if others and not job.way.graph.allow_partial:
        listed = ", ".join(sorted(map(str, others))[:5])
        raise Permanent(f"Microsoft Graph would send the mail to {listed}, too, who stand in its header but are not to "
                        "get it this way (graph.allow_partial takes them out)", 554, "5.6.0")
    hidden = sorted(map(str, wanted - named))
    out += [f"Bcc: {one}\n".encode() for one in [",\n\t".join(hidden)] if hidden]
    return b"".join(out) + b"\n" + data[end:]


def _mailboxes(value: bytes) -> Iterable[tuple[address.Address, bytes]]:
    """(address, as it is written) of each member of an address list."""
    text = b" ".join(value.split(b"\n")).decode("utf-8", "surrogateescape")
    depth, inside, current = 0, False, ""
    for piece in [*address.tokens(text), ","]:
        if depth or piece == "(":
            depth += (piece == "(") - (piece == ")")
            current += piece
        elif piece in (",", ";") and not inside:
            found = address.from_header(current.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), 1)
            if found:
                yield found[0], current.strip().encode("utf-8", "surrogateescape")
            current = ""
        elif piece == ":" and not inside:
            current = ""  # the name of a group
        else:
            inside = piece == "<" or (inside and piece != ">")
            current += piece


def _refused(answer: httpclient.Answer) -> MailError:
    code, text = "", answer.excerpt()
    try:
        error = json.loads(answer.body)["error"]
        code = str(error["code"])
        said = f"{code}: {error['message']}"
        text = printable.line(said)[:300]
    except (ValueError, KeyError, TypeError):
        pass
    text = f"HTTP {answer.status} {answer.reason} {text}".strip()
    if answer.status == 413 or code in _TOO_LARGE:
        return Permanent(f"{text}; Microsoft Graph takes mails up to 3 MB", 552, "5.3.4")
    if code in _FOR_GOOD:
        return Permanent(text, 554, "5.1.0")
    if answer.status in _NOBODY:
        return Unreachable(text, 451, "4.7.0" if answer.status in (401, 403) else "4.3.0")
    return Temporary(text, 451, "4.3.0")
