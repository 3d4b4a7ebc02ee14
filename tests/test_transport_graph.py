"""transports/graph.py: who stands in the header gets the mail, and nobody else."""

import base64
import json
import os
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from lanmail import address, envelope, paths, tokens, transports
from lanmail.errors import Permanent
from lanmail.outgoing import Outgoing
from lanmail.transports import graph
from tests.httppeer import Peer
from tests.relayroot import Root

TEXT = ("From: meier@firma.example\nTo: \"Doe, J.\" <x@far.example>, y@near.example (Y)\nCC: Team: z@far.example;\n"
        "Bcc: hidden@far.example\nSubject: Gr\u00fc\u00dfe\n\nbody\n").encode()
TAKEN = b"HTTP/1.1 202 Accepted\r\nrequest-id: 4711\r\nContent-Length: 0\r\n\r\n"


def job(*to: str, text: bytes = TEXT, **values: object) -> transports.Job:
    way = Outgoing.model_validate({"transport": "graph", "graph": values})
    recipients = [envelope.Recipient(address.parse(one)) for one in to]
    return transports.Job("1", "1", None, recipients, (), transports.Message.of_bytes(text), way, "meier")


def header(data: bytes) -> list[bytes]:
    return data[: data.index(b"\n\n")].split(b"\n")


def test_the_header_names_all() -> None:
    made = graph.with_recipients(job("x@far.example", "y@near.example", "z@far.example"))
    assert made == TEXT.replace(b"Bcc: hidden@far.example\n", b"")


def test_who_stands_nowhere_is_added_as_bcc() -> None:
    made = graph.with_recipients(job("x@far.example", "y@near.example", "z@far.example", "a@b.example", "c@d.example"))
    assert header(made)[-2:] == [b"Bcc: a@b.example,", b"\tc@d.example"]
    assert b"hidden" not in made


def test_who_must_not_get_it_stops_the_mail() -> None:
    with pytest.raises(Permanent, match=r"to z@far\.example, too"):
        graph.with_recipients(job("x@far.example", "y@near.example"))


@pytest.mark.parametrize(("to", "expected"), [
    (("y@near.example",), [b"To: y@near.example (Y)"]),
    (("x@far.example",), [b'To: "Doe, J." <x@far.example>']),
    (("z@far.example",), [b"CC: Team: z@far.example;"]),
    (("q@far.example",), [b"Bcc: q@far.example"]),
])
def test_or_is_taken_out(to: tuple[str, ...], expected: list[bytes]) -> None:
    made = graph.with_recipients(job(*to, allow_partial=True))
    lines = [line for line in header(made) if not line.startswith((b"From", b"Subject"))]
    assert lines == expected


def office(base: Path, port: int, more: str = "") -> Root:
    root = Root(base, f'transport = "graph"\nuser = "meier@firma.example"\napp = "azure"\nauth = "oauth2"\n'
                      f'graph.url = "http://127.0.0.1:{port}/v1.0"\n{more}')
    give_token(root.paths, "geheim-1", "graph")
    return root


def give_token(where: paths.Paths, word: str, resource: str = tokens.MAIL) -> None:
    """What tokend writes."""
    key, expires = Fernet.generate_key(), time.time() + 3600
    where.secrets.mkdir(parents=True, exist_ok=True)
    (where.secrets / tokens.KEYS).write_bytes(key)
    (where.secrets / tokens.KEYS).chmod(0o600)
    name, mailbox = "azure", "meier@firma.example"
    plain = json.dumps({"app": name, "address": mailbox, "expires": expires, "token": word}).encode()
    path = tokens.file_of(where, name, mailbox, resource)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"state": "ok", "expires": expires, "fingerprint": "f1",
                                "token": Fernet(key).encrypt(plain).decode()}))


async def test_sent(tmp_path: Path) -> None:
    async with Peer(TAKEN) as peer:
        root = office(tmp_path, peer.port, "max_recipients = 1")
        root.put("x@far.example", "y@near.example", "z@far.example", "bcc@far.example", message=TEXT)
        assert await root.once() == os.EX_OK
    ((head, body),) = peer.requests
    assert head.startswith(b"POST /v1.0/me/sendMail HTTP/1.1\r\n")
    assert b"bearer geheim-1\r\n" in head.lower()
    assert b"content-type: text/plain\r\n" in head.lower()
    mail = base64.b64decode(body, validate=True)
    assert b"\r\nBcc: bcc@far.example\r\n\r\nbody\r\n" in mail
    log = "".join(one.read_text() for one in root.paths.log.glob("*.log"))
    assert "HTTP 202 Accepted 4711" in log
    assert "geheim" not in log


async def test_another_mailbox(tmp_path: Path) -> None:
    async with Peer(TAKEN) as peer:
        root = office(tmp_path, peer.port, 'graph.mailbox = "info/../x@firma.example"')
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
    assert peer.requests[0][0].startswith(b"POST /v1.0/users/info%2F..%2Fx@firma.example/sendMail ")


def refusal(status: int, code: str) -> bytes:
    body = json.dumps({"error": {"code": code, "message": "what\x1b it says"}}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize(("status", "code", "bounces"), [
    (400, "ErrorInvalidRecipients", True), (413, "x", True), (400, "ErrorMessageSizeExceeded", True),
    (400, "other", False), (401, "InvalidAuthenticationToken", False), (403, "ErrorAccessDenied", False),
    (429, "TooManyRequests", False), (500, "x", False), (503, "x", False), (200, "x", False), (302, "x", False),
])
async def test_refused(tmp_path: Path, status: int, code: str, bounces: bool) -> None:
    async with Peer(refusal(status, code)) as peer:
        root = office(tmp_path, peer.port)
        entry_id = root.put("x@far.example")
        assert await root.once() == (os.EX_OK if bounces else os.EX_TEMPFAIL)
    assert (root.waiting() == [entry_id]) is not bounces
    assert len(root.queued()) == bounces
    asked = list((root.paths.state / "tokens/request").glob("*rejected-f1")) if status == 401 else [1]
    assert len(asked) == 1


async def test_no_token_in_clear(tmp_path: Path) -> None:
    root = office(tmp_path, 1, "")
    root.configure('transport = "graph"\nuser = "meier@firma.example"\napp = "azure"\n'
                   'graph.url = "http://graph.example/v1.0"\n')
    root.put("x@far.example")
    assert await root.once() == os.EX_TEMPFAIL
    assert "a password or token goes by https only" in "".join(one.read_text() for one in root.paths.log.glob("*.log"))


async def test_probe(tmp_path: Path) -> None:
    async with Peer(lambda _head: refusal(403, "ErrorAccessDenied")) as peer:
        root = office(tmp_path, peer.port)
        house, said = transports.House(root.paths, lambda: root.context().settings), list[str]()
        await graph.Transport(house).probe(root.context().settings.outgoing, None, said.append)
    assert said[-1] == "the token is taken: HTTP 403"
