"""The whole loop with tokens: a provider, its mail server, tokend, relay and fetchmail, each in its usual clothes."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lanmail import address, config, daemon, envelope, fetchmail, log, relay, spool
from lanmail.oauth import store
from tests.e2e.submission import Sink
from tests.oidc import Oidc, mailserver
from tests.oidc.mailserver import MailServer
from tests.oidc.test_refreshing import grant, office
from tests.relayroot import until
from tests.tokenroot import ADDRESS, Root, Running

pytestmark = pytest.mark.slow
MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
MAIL = b"From: x@far.example\nSubject: hi\n\nbody\n"


@pytest.fixture
def oidc() -> Iterator[Oidc]:
    with Oidc(life=600) as one:
        yield one


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    yield one
    one.stop()


@pytest.fixture
def server(oidc: Oidc, sink: Sink) -> Iterator[MailServer]:
    one = MailServer(mailserver.asking(oidc), sink.port)
    yield one
    one.stop()


def login(server: MailServer, port: int, mechanism: str = "") -> str:
    return (f'host = "127.0.0.1"\nport = {port}\ntls = "starttls"\ntls_ca = "{server.base}/ca.pem"\n'
            f'auth = "oauth2"\napp = "own"\nuser = "{ADDRESS}"\nmechanism = "{mechanism}"\n')


async def once(program: ModuleType, root: Root) -> int:
    name = program.__name__.rpartition(".")[2]
    log.setup(name, root.paths.log)
    context = daemon.Context(name, root.paths, config.load(root.paths), [], stopping=asyncio.Event())
    return await asyncio.wait_for(program.once(context), 60)


def forget(root: Root) -> None:
    """Let relay try its mail now."""
    for path in (root.paths.state / "outbound").glob("*.json"):
        path.unlink()


async def sent(root: Root) -> None:
    """relay sends what there is; a server under load may hang up first."""
    for _ in range(5):
        if await once(relay, root) == os.EX_OK:
            return
        forget(root)
    raise AssertionError(root.logged())


def sends(tmp_path: Path, oidc: Oidc, way: str) -> Root:
    """An office whose way out this is, with one mail that waits."""
    root = office(tmp_path / "root", oidc)
    root.paths.config_file.write_text(f'[server]\ndomain = "office.lan"\n[tokend]\nspread = "0s"\n[outgoing]\n{way}')
    outbound = spool.outbound(root.paths)
    outbound.ensure()
    spool.queue(root.paths).ensure()
    head = envelope.Envelope(address.parse("meier@office.lan"), [envelope.Recipient(address.parse("x@far.example"))],
                             origin=envelope.Origin("submission", (("account", "meier"),)))
    outbound.put(head, b"Return-Path: <meier@office.lan>\n" + MAIL)
    return root


def fetches(tmp_path: Path, oidc: Oidc, way: str) -> Root:
    """An office that fetches from there."""
    root = office(tmp_path / "root", oidc)
    (root.paths.accounts / "meier.toml").write_text(f'[sources.x]\ninterface = "standard"\n{way}')
    spool.queue(root.paths).ensure()
    return root


def fetched(root: Root) -> list[bytes]:
    return [one for one in ((root.paths.queue / "new" / name).read_bytes()
                            for name in os.listdir(root.paths.queue / "new")) if b"\nX-Origin: fetch " in one[:2000]]


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_mail_goes_out(tmp_path, oidc, sink, server, mechanism):
    root = sends(tmp_path, oidc, login(server, server.submission, mechanism))
    grant(root, oidc)  # its access token has ended: tokend has to be asked
    async with Running(root):
        await sent(root)
    (mail,) = sink.mails()
    assert b"Subject: hi" in mail
    assert len(oidc.refreshes()) == 1


async def test_mail_waits_for_a_new_consent(tmp_path, oidc, sink, server):
    root = sends(tmp_path, oidc, login(server, server.submission))
    grant(root, oidc, left=500)
    oidc.revoke(ADDRESS)
    async with Running(root):
        for _ in range(5):  # the server refuses the token, and the provider a new one
            assert await once(relay, root) == os.EX_TEMPFAIL
            with contextlib.suppress(AssertionError):
                await until(lambda: root.record().state == store.NEEDS_CONSENT)
                break
            forget(root)
        assert root.record().state == store.NEEDS_CONSENT
        assert sink.mails() == []
        asked = len(oidc.log())
        forget(root)
        assert await once(relay, root) == os.EX_TEMPFAIL
        assert len(oidc.log()) == asked, "no network without hope"
        got = oidc.consent(ADDRESS)
        root.store.save(store.Record("own", ADDRESS, account="meier", generation=9, granted=time.time(),
                                     refresh=store.Secret(got["refresh_token"])))
        forget(root)
        for _ in range(100):
            if root.access().state == store.OK:
                break
            (root.paths.state / "tokens" / "request" / f"own,{ADDRESS},mail,expired").touch()
            await asyncio.sleep(0.1)
        await sent(root)
    assert len(sink.mails()) == 1


@pytest.mark.parametrize(("protocol", "mechanism"), list(itertools.product(("imap", "pop3"), MECHANISMS)))
async def test_mail_is_fetched(tmp_path, oidc, server, protocol, mechanism):
    server.put("meier", MAIL, MAIL.replace(b"hi", b"ho"))
    root = fetches(tmp_path, oidc, f'protocol = "{protocol}"\n{login(server, getattr(server, protocol), mechanism)}')
    grant(root, oidc)
    async with Running(root):
        assert await once(fetchmail, root) == os.EX_OK, root.logged()
    assert sorted(b"ho" in one for one in fetched(root)) == [False, True]
    assert len(oidc.refreshes()) == 1
