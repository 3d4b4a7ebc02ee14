"""Transport webspace: the mail goes as a file to a web space, and a call makes our script there send it.

The file is in the form of spool/pickup, envelope first; its hash stands in the call, so what is sent is what was put
there. What the script sent it notes before it answers: a call whose answer was lost is made again and tells as much.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from lanmail import address, envelope, printable, webspace
from lanmail.clients import smtptext
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result

_TAKEN = re.compile(r"[!-,.-;=?A-~][!-;=?A-~]*@[!-;=?A-~]+")  # as lanmail_is_address has it


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def send(self, job: Job) -> list[Result]:
        """Send one message. Unreachable, Temporary."""
        way = job.way
        name = webspace.name_of(webspace.key_of(way.webspace, self._house.paths.conf), job.part)
        sender, recipients, refused = _in_ascii(job)
        if not recipients:
            return refused
        head = envelope.encode(envelope.Envelope(sender, recipients))
        data = head + b"".join(smtptext.plain(job.message)).replace(b"\r\n", b"\n")
        async with webspace.files(way, self._house) as there:
            await there.put(f"{webspace.SPOOL}/{name}.eml", data)
        said = await webspace.call(way, self._house, "send", name, hashlib.sha256(data).hexdigest())
        return [*refused, *_results(job, recipients, said)]

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None]) -> None:
        """Put a file there and see that the script finds it; send nothing."""
        section = way.webspace
        name = webspace.name_of(webspace.key_of(section, self._house.paths.conf), "probe")
        data = b"a file of lanmail, to see that it arrives\n"
        say(f"logging in at {section.upload}://{section.host or '(no host)'} as {section.user or '(nobody)'}")
        async with webspace.files(way, self._house) as there:
            say(f"putting a file into {section.directory or '(the first directory)'}/{webspace.SPOOL}")
            await there.put(f"{webspace.SPOOL}/{name}.eml", data)
        say(f"calling {webspace.url_of(section)}")
        said = await webspace.call(way, self._house, "ping", name)
        await webspace.call(way, self._house, "delete", name)
        if said.get("file") != hashlib.sha256(data).hexdigest():
            raise Temporary("the script does not see the file: webspace.url and webspace.directory are not the same "
                            "place; correct one of them", 451, "4.3.5")
        how = "an SMTP server" if said.get("mode") == "smtp" else "mail()"
        say(f"PHP {said.get('php')} answers, and sends by {how}")

    async def close(self) -> None:
        """Nothing is kept open."""


def _in_ascii(job: Job) -> tuple[address.Address | None, list[envelope.Recipient], list[Result]]:
    """The envelope as PHP can pass it on, and who cannot be told: PHP drops octets beyond ASCII from a command."""
    refusal = Permanent("a web space takes no internationalized and no quoted address", 553, "5.6.7")
    sender = _plain(job.sender) if job.sender is not None else ""
    if sender is None:
        raise refusal
    able = [one for one in job.recipients if _plain(one.address) is not None]
    refused = [Result(one, refusal, webspace.url_of(job.way.webspace)) for one in job.recipients if one not in able]
    plain = [envelope.Recipient(address.parse(_plain(one.address) or ""), one.params) for one in able]
    return (address.parse(sender) if sender else None), plain, refused


def _plain(one: address.Address) -> str | None:
    """The address as lanmail.php takes it, None for one that it does not."""
    text = one.in_ascii
    return text if text is not None and _TAKEN.fullmatch(text) else None


def _results(job: Job, asked: list[envelope.Recipient], said: dict[str, Any]) -> list[Result]:
    sent, failed = said.get("sent"), said.get("failed")
    done = {str(one) for one in sent} if isinstance(sent, list) else set()
    answers = failed if isinstance(failed, dict) else {}
    remote = webspace.url_of(job.way.webspace)
    found = []
    names = {str(one.address) for one in asked}
    for one in job.recipients:
        name = _plain(one.address)
        if name is None or name not in names:
            continue
        if name in done:
            found.append(Result(one, MailError(250, "2.0.0", "sent by the web space"), remote))
        elif name in answers:
            found.append(Result(one, _answer(str(answers[name])), remote))
    return found


def _answer(text: str) -> MailError:
    """`550 5.1.1 nobody` as an error; what is no such line is temporary."""
    words = printable.line(text)[:300].split(" ", 2)
    code = int(words[0]) if words and len(words[0]) == 3 and words[0].isdigit() else 451
    has_dsn = len(words) > 1 and words[1][:2] in ("4.", "5.") and words[1][:1] == str(code)[:1]
    rest = " ".join(words[2:] if has_dsn else words[1:]) or "refused"
    if 500 <= code < 600:
        return Permanent(rest, code, words[1] if has_dsn else "5.0.0")
    return Temporary(rest, code if 400 <= code < 500 else 451, words[1] if has_dsn else "4.0.0")
