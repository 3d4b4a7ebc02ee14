"""/my/account: an account in one look, and nothing about anybody else."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import address, config, envelope, paths, spool
from lanmail.autoanswer import memory
from lanmail.logins import apikeys, grants, lastlogins
from lanmail.sources import status
from tests import browsing, webserver
from tests.browsing import Browser

EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, "extra_domains = [\"firma.example\"]")
    where.aliases.write_text('info = ["meier", "chef"]\n"eva@firma.example" = ["meier"]\nboss = ["chef"]\n')
    where.groups.write_text('[verkauf]\nmembers = ["meier"]\n[einkauf]\nmembers = ["chef"]\n')
    async with webserver.serving(where) as made:
        yield made


def put(where: paths.Paths, spool_name: str, account: str) -> None:
    one = spool.Spool(where.spool / spool_name, state=where.state / spool_name, hold=where.hold)
    one.ensure()
    to = [envelope.Recipient(address.parse("x@far.example"))]
    head = envelope.Envelope(address.parse(f"{account}@office.lan"), to,
                             origin=envelope.Origin("submission", (("account", account),)))
    one.put(head, b"Subject: x\n\n")


async def test_nothing_is_on(web: webserver.Web) -> None:
    page = await Browser(web).login()
    assert page.title == "My account"
    assert "meier@office.lan, meier@firma.example, eva@firma.example, info@office.lan, info@firma.example" in page.words
    assert "In the groupsverkauf" in page.words
    assert "0 B, 0 messages" in page.words
    assert "nothing waits" in page.words
    assert "None: no mailbox elsewhere is fetched." in page.words
    for text in ("boss", "einkauf", "chef"):
        assert text not in page.words


async def test_what_is_on_is_told(web: webserver.Web) -> None:
    where = web.paths
    (where.maildirs / "meier/new/1.M1P1Q1.host,S=2048,W=2100").write_bytes(b"x" * 2048)
    config.edit(where.accounts / "meier.toml", {
        "quota": "4KB", "forward.to": ["chef"], "autoresponder.enabled": True, "autoresponder.until": "2099-12-24",
        "archive": True, "deny_internet": True, "sms.to": "00491791234567", "sources.gmx.interface": "standard",
        "sources.gmx.host": "pop.gmx.example", "sources.gmx.user": "x@gmx.example"})
    for name, account in (("outbound", "meier"), ("hold", "meier"), ("outbound", "chef")):
        put(where, name, account)
    known = status.Status(succeeded=time.time() - 3600, error=f"no {EVIL}", failures=1)
    status.save(where, "meier", "gmx", known)
    memory.of(where, "meier").note(address.parse("x@far.example"), "1", "m", time.time(), memory.Limits(5))
    register = grants.Register(where.state)
    client, _ = register.add_client("meier", "x", [grants.SCOPES["imap"]])
    register.exchange(register.code(client, "meier", list(client.scopes), "http://localhost/"), client.id, time.time())
    for language, said in (("en", ("2.0 KB of 4.0 KB, 1 message ", "50 %", "on goes to chef; no copy stays",
                                   "on until 2099-12-24", "answers remembered: 1", "failed last fetched",
                                   "2 on the way, 1 held", "office only", "is kept")),
                           ("de", ("2.0 KB von 4.0 KB, 1 Nachricht ", "an geht an chef; keine Kopie bleibt",
                                   "an bis 2099-12-24", "gestört zuletzt abgeholt", "2 unterwegs, 1 angehalten"))):
        page = await Browser(web, language).login()
        for text in said:
            assert text in page.words, text
        assert "<svg" not in page.text
        assert page.tree.find(".//main//meter").get("value") == "50"


async def test_a_full_mailbox_is_told_first(web: webserver.Web) -> None:
    (web.paths.maildirs / "chef/cur/1.M1P1Q1.host,S=5000,W=5100:2,S").write_bytes(b"x" * 5000)
    config.edit(web.paths.accounts / "chef.toml", {"quota": "4KB"})
    browser = Browser(web, "de")
    await browser.login("chef")
    page = await browser.go("/my/account")
    assert page.problems[0].startswith("Ihr Postfach ist voll")


async def test_an_e_invoice_mailbox_does_not_forward(web: webserver.Web) -> None:
    config.edit(web.paths.accounts / "meier.toml", {"forward.to": ["chef"], "einvoice.enabled": True})
    page = await Browser(web).login()
    assert "Forwarding off" in page.words
    assert "attachments are examined" in page.words


async def test_where_one_was_logged_in(web: webserver.Web) -> None:
    lastlogins.Book(web.paths.state).note("meier", "imap", "192.0.2.7")
    lastlogins.Book(web.paths.state).note("chef", "imap", "192.0.2.8")
    browser = Browser(web)
    await browser.login()
    async with asyncio.timeout(30):
        while "these pages" not in (page := await browser.go("/my/account")).words:
            await asyncio.sleep(0.05)
    assert "read mail (IMAP) 192.0.2.7" in page.words
    assert "these pages 127.0.0.1" in page.words
    assert "192.0.2.8" not in page.words


async def test_each_asks_for_himself(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "key", "account:meier", [])
    read = apikeys.add(web.paths.conf / "api.toml", "read", "read", [])
    for who, name, wanted in ((key, "meier", 200), (key, "chef", 403), (read, "chef", 200), (read, "niemand", 404)):
        answer = await web.get(f"/api/v1/account.overview?name={name}", headers={"Authorization": f"Bearer {who}"})
        assert answer.status_code == wanted
