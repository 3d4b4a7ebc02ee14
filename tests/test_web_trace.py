"""What became of a mail, on a page: in words, with the log line beside it, and where it lies now."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import log, paths
from lanmail.logins import apikeys
from lanmail.monitoring import history
from lanmail.web import stories
from tests import browsing, webserver
from tests.test_web_api import Api
from tests.test_web_queue import EVIL, entered, put

LINES = """\
2026-11-22T09:00:00.000+01:00 smtpd accepted id=1.M1 origin=submission account=meier client=192.0.2.7 from=meier@office.lan to=kunde@far.example,chef@office.lan size=900 msgid=<a1@office.lan>
2026-11-22T09:00:00.100+01:00 deliver delivered id=1.M1 to=chef@office.lan account=chef folder=INBOX delay=0.100
2026-11-22T09:00:00.200+01:00 deliver outbound id=1.M1 to=kunde@far.example
2026-11-22T09:00:01.000+01:00 relay tried id=1.M1-1 to=kunde@far.example transport=smtp host=mx.far.example delay=1.0 tries=0 reply="451 4.7.1 Greylisted"
2026-11-22T09:00:01.100+01:00 relay deferred id=1.M1-1 reason="451 4.7.1 Greylisted" retry_in=300.000 tries=1
2026-11-22T09:05:01.000+01:00 relay sent id=1.M1-1 to=kunde@far.example transport=smtp host=mx.far.example delay=301.0 tries=1 dsn=2.0.0 reply="250 ok"
2026-11-22T10:00:00.000+01:00 smtpd rejected stage=rcpt client=203.0.113.9 from=spam@evil.example to=nobody@office.lan reply="550 5.1.1 <nobody@office.lan> has no mailbox here"
"""  # noqa: E501
LATER = """\
2026-11-23T08:00:00.000+01:00 smtpd accepted id=2.M2 origin=mx client=203.0.113.9 from=Kunde@Far.example to=meier@office.lan size=500 msgid=<b2@far.example>
2026-11-23T08:00:00.500+01:00 deliver x-ray id=2.M2 note="\\"><svg onload=alert(1)>\\u001b[31m"
"""  # noqa: E501


def lay_out(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    (root / "2026-11-22.log").write_text(LINES)
    (root / "2026-11-23.log").write_text(LATER)
    return root


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path)
    lay_out(where.log)
    async with webserver.serving(where) as made:
        yield made


async def test_the_life_of_a_mail_in_words(web: webserver.Web) -> None:
    browser = await entered(web, "chef")
    for wanted in ("1.M1", "<a1@office.lan>", "a1@office.lan"):
        page = await browser.go("/admin/trace", params={"q": wanted})
        for words in ("Handed in by meier: from meier@office.lan to kunde@far.example,chef@office.lan",
                      "Put into the mailbox of chef, folder INBOX", "Next try in 5 min", "asks for a second try",
                      "Sent to kunde@far.example: mx.far.example has taken it", "2026-11-22 09:05:01", "Nowhere here"):
            assert words in page.words, (wanted, words)
    assert "reply=451 4.7.1 Greylisted" in page.words


async def test_by_address_and_day(web: webserver.Web) -> None:
    browser = await entered(web, "chef")
    page = await browser.go("/admin/trace?address=KUNDE@far")
    assert page.words.index("2026-11-23 08:00:00") < page.words.index("2026-11-22 09:00:00")
    links = [one for one in page.links() if one.startswith("/admin/trace?q=")]
    assert links == ["/admin/trace?q=2.M2", "/admin/trace?q=1.M1"]
    page = await browser.go("/admin/trace?address=far.example&until=2026-11-22")
    assert "2026-11-23" not in page.words
    page = await browser.go("/admin/trace?address=far.example&since=2026-11-23")
    assert "2026-11-22 " not in page.words
    page = await browser.go("/admin/trace?address=evil.example")
    assert "has no mailbox here" in page.words
    assert "refused" in page.words
    assert "Nothing found" in (await browser.go("/admin/trace?address=none@no.example")).words


async def test_where_it_lies_now(web: webserver.Web) -> None:
    entry_id = put(web)
    browser = await entered(web, "chef")
    page = await browser.go(f"/admin/trace?q={entry_id}")
    assert "No log line names it" in page.words
    link = next(one for one in page.links() if one.startswith("/admin/queue/"))
    assert f"/admin/trace?q={entry_id}" in (await browser.go(link)).links()


@pytest.mark.parametrize(("query", "problem"), [
    ("q=9.none", "Nothing is known of this mail: no log line names it, and it lies nowhere."),
    ("q=x", "Write at least three characters."), ("address=a", "Write at least three characters."),
    ("q=%3C%3E%3C%3E", "Nothing is known of this mail: no log line names it, and it lies nowhere."),
    ("q=abc%00def", "Nothing is known of this mail: no log line names it, and it lies nowhere."),
    ("q=///", "Nothing is known of this mail: no log line names it, and it lies nowhere."),
])
async def test_what_is_not_found(web: webserver.Web, query: str, problem: str) -> None:
    page = await (await entered(web, "chef")).go(f"/admin/trace?{query}")
    assert (page.status, page.problems) == (200, [problem])


async def test_what_a_log_says_is_text(web: webserver.Web) -> None:
    browser = await entered(web, "chef", "de")
    page = await browser.go("/admin/trace?q=2.M2")
    assert page.title == "Mail verfolgen"
    assert "Kam von einem anderen Server (203.0.113.9)" in page.words
    assert EVIL in page.words
    for path in (f"?q={EVIL}", f"?address={EVIL}", f"?since={EVIL}&address=far.example", ""):
        page = await browser.go(f"/admin/trace{path}")
        assert "<svg" not in page.text
        assert "\x1b" not in page.text


async def test_for_administrators_only(web: webserver.Web) -> None:
    assert (await (await entered(web, "meier")).go("/admin/trace?q=1.M1")).status == 403
    api = Api(web.paths, web.port)
    api.keys = {name: apikeys.add(web.paths.conf / "api.toml", name, rights, []) for name, rights in (
        ("read", "read"), ("meier", "account:meier"))}
    assert await api.error("message.trace", "meier", id="1.M1") == (403, "forbidden")
    assert await api.error("message.find", "meier", address="meier@office.lan") == (403, "forbidden")
    found = await api.result("message.trace", "read", id="1.M1")
    assert [one["event"] for one in found["events"]] == [
        "accepted", "delivered", "outbound", "tried", "deferred", "sent"]
    found = await api.result("message.find", "read", address="far.example", limit=1)
    assert ([one["fields"]["id"] for one in found["found"]], found["more"]) == (["2.M2"], True)
    assert await api.error("message.find", "read", address="far.example", since="yesterday") == (400, "invalid_field")
    api.session.close()


def test_times_of_the_search(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    where.log.mkdir(parents=True, exist_ok=True)
    lay_out(where.log)

    def ids(**given: Any) -> list[str]:
        return [one.fields.get("id", "-") for one in history.find(where, "office.lan", **given)]

    assert ids() == ["2.M2", "-", "1.M1"]
    assert ids(since="2026-11-22T10") == ["2.M2", "-"]
    assert ids(until="2026-11-22T09:00") == ["1.M1"]
    assert [one.fields.get("id") for one in history.find(where, "office.lan", most=1)] == ["2.M2"]


def test_every_step_has_words_that_fill() -> None:
    for event, (english, german) in stories._SAID.items():
        assert stories.tell(event, {}) is not None, event
        assert english.count("{") == german.count("{"), event
    assert stories.tell("x-ray", {}) is None
    assert stories.tell("deferred", {"retry_in": "soon"}) == (
        "Could not be done yet: ?. Next try in soon", "Ging noch nicht: ?. Nächster Versuch in soon")
    known = {name.replace("_", "-") for name in vars(log)}
    assert {"bounced", "held", "returned"} <= known & set(stories._SAID)
