"""The queue on pages: what waits and why, in words; doing something with it; whose mail it is."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from lanmail import address, envelope, spool
from lanmail.administration import audit
from lanmail.logins import apikeys
from lanmail.web import reasons
from lanmail.web.api import queue as api_queue
from lanmail.web.pages import queue as pages_queue
from tests import browsing, webserver
from tests.browsing import Browser

EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    async with webserver.serving(browsing.lay_out(tmp_path)) as made:
        yield made


def put(web: webserver.Web, to: str = "x@far.example", *, subject: str = "Angebot", account: str = "meier",
        error: str = "", where: str = "outbound", group: str = "") -> str:
    """An entry, deferred when an error is given; its id."""
    one = spool.Spool(web.paths.spool / where, state=web.paths.state / where, hold=web.paths.hold)
    one.ensure()
    facts = (("account", account), *((("group", group),) if group else ()))
    head = envelope.Envelope(address.parse(f"{account}@office.lan"), [envelope.Recipient(address.parse(to))],
                             origin=envelope.Origin("submission", facts))
    name = one.put(head, f"Subject: {subject}\nX-Odd: {EVIL}\n\nbody\n".encode())
    entry_id = spool.parse_name(name).id
    if error:
        os.rename(one.path / "new" / name, one.path / "cur" / name)
        one.save_state(entry_id, {"tries": 2, "next": 4102444800.0, "error": error, "recipients": {
            to: {"status": "deferred", "answer": error, "remote": "mx.far.example", "at": 1700000000.0}}})
    return entry_id


async def entered(web: webserver.Web, name: str, language: str = "en") -> Browser:
    browser = Browser(web, language)
    await browser.login(name)
    return browser


def lies(web: webserver.Web, where: str) -> list[str]:
    return sorted(spool.parse_name(path.name).id for path in (web.paths.spool / where).rglob("*")
                  if path.is_file() and path.suffix != ".why")


async def test_what_waits_and_why(web: webserver.Web) -> None:
    entry_id = put(web, subject="Angebot", error="451 4.2.2 <x@far.example>: over quota")
    browser = await entered(web, "chef")
    page = await browser.go("/admin/queue")
    assert page.title == "Queue"
    for words in ("Angebot", "meier@office.lan", "x@far.example", "tried again later", "The mailbox is full."):
        assert words in page.words
    page = await browser.go(next(one for one in page.links() if one.endswith(entry_id)))
    assert page.title == "Angebot"
    for words in ("over quota", "mx.far.example", "2100-01-01", "X-Odd: " + EVIL, "The mailbox is full."):
        assert words in page.words
    assert "<svg" not in page.text


async def test_in_german(web: webserver.Web) -> None:
    entry_id = put(web, error="451 4.2.2 <x@far.example>: over quota")
    browser = await entered(web, "chef", "de")
    page = await browser.go("/admin/queue")
    assert page.title == "Warteschlange"
    assert "Das Postfach ist voll." in page.words
    assert "wird später wieder versucht" in (await browser.go(f"/admin/queue/{entry_id}")).words
    assert (await browser.go("/my/queue")).title == "Postausgang"


async def test_one_is_tried_held_released_and_removed(web: webserver.Web) -> None:
    entry_id = put(web, error="451 4.4.1 later")
    browser = await entered(web, "chef")
    here = f"/admin/queue/{entry_id}"
    page = await browser.send(await browser.go(here), "/admin/queue", fills={"do": "retry"})
    assert page.note == "1 will be tried now."
    assert [path.name for path in (web.paths.outbound / "new").iterdir()] != []
    page = await browser.send(await browser.go(here), "/admin/queue", fills={"do": "hold"})
    assert (page.note, lies(web, "hold")) == ("1 held.", [entry_id])
    assert "held on the page by chef" in (await browser.go(here)).words
    page = await browser.send(await browser.go(here), "/admin/queue", fills={"do": "release"})
    assert (page.note, lies(web, "outbound")) == ("1 released.", [entry_id])
    page = await browser.send(await browser.go(here), "/admin/queue", fills={"do": "delete"})
    assert (page.title, lies(web, "outbound")) == ("Remove?", [entry_id])
    page = await browser.send(page, "/admin/queue")
    assert (page.note, lies(web, "outbound")) == ("1 removed.", [])
    assert " by=chef " in next(audit.last(web.paths, 1))
    page = await browser.go(here)
    assert (page.status, page.title) == (404, "Not in the queue")


async def test_several_at_once(web: webserver.Web) -> None:
    ids = [put(web, f"x{number}@far.example", error="451 4.4.1 later") for number in range(3)]
    browser = await entered(web, "chef")
    page = await browser.send(await browser.go("/admin/queue"), "/admin/queue", fills={"id": ids[:2], "do": "hold"})
    assert (page.note, lies(web, "hold")) == ("2 held.", sorted(ids[:2]))
    page = await browser.send(await browser.go("/admin/queue"), "/admin/queue", fills={"id": ids, "do": "release"})
    assert page.note.startswith("2 released. Not possible: ")
    page = await browser.send(await browser.go("/admin/queue"), "/admin/queue", fills={"do": "retry"})
    assert page.note == "Tick the mails first."


async def test_all_that_the_filter_shows(web: webserver.Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_queue, "PAGE", 2)
    far = [put(web, f"x{number}@far.example") for number in range(3)]
    near = put(web, "y@near.example")
    browser = await entered(web, "chef")
    page = await browser.go("/admin/queue?domain=far.example&state=waiting")
    assert "1–2 of 3" in page.words
    await browser.send(page, "/admin/queue", fills={"everything": "yes", "do": "hold"})
    assert (lies(web, "hold"), lies(web, "outbound")) == (sorted(far), [near])


async def test_people_see_and_cancel_their_own_only(web: webserver.Web) -> None:
    mine, other = put(web, subject="Meine"), put(web, subject="Fremde", account="chef")
    browser = await entered(web, "meier")
    page = await browser.go("/my/queue")
    assert "Meine" in page.words
    assert "Fremde" not in page.words
    assert (await browser.go(f"/my/queue/{other}")).status == 404
    page = await browser.go(f"/my/queue/{mine}")
    assert [button.text_content() for button in page.tree.find(".//main").iter("button")] == ["Cancel …"]
    for do in ("hold", "retry", "release", "nonsense"):
        await browser.send(page, "/my/queue", fills={"do": do})
    page = await browser.send(page, "/my/queue", fills={"id": [mine, other]})
    assert "Fremde" not in page.words
    page = await browser.send(page, "/my/queue", fills={"id": [mine, other]})
    assert page.note.startswith("1 cancelled. Not possible: ")
    assert lies(web, "outbound") == [other]
    page = await browser.post("/my/queue", {"form": await browser.token(), "do": "delete", "everything": "yes",
                                            "account": "chef", "sure": "yes"})
    assert lies(web, "outbound") == [other]
    assert (await browser.go("/admin/queue")).status == 403


async def test_who_is_in_a_group_is_not_told_to_its_senders(web: webserver.Web) -> None:
    entry_id = put(web, "secret@far.example", group="board", error="550 5.1.1 <secret@far.example> unknown")
    browser = await entered(web, "meier")
    for path in ("/my/queue", f"/my/queue/{entry_id}"):
        page = await browser.go(path)
        assert "(board)" in page.words
        assert "secret" not in page.text
    assert "secret@far.example" in (await (await entered(web, "chef")).go(f"/admin/queue/{entry_id}")).words


async def test_what_a_mail_says_is_text(web: webserver.Web) -> None:
    entry_id = put(web, subject=EVIL, error=f"451 4.0.0 {EVIL}")
    browser = await entered(web, "chef")
    for path in ("/admin/queue", f"/admin/queue/{entry_id}", "/my/queue", f"/admin/queue?account={EVIL}",
                 f"/admin/queue/{EVIL}", f"/admin/queue?state={EVIL}&spool={EVIL}"):
        page = await browser.go(path)
        assert "<svg" not in page.text, path
    page = await browser.send(await browser.go(f"/admin/queue/{entry_id}"), "/admin/queue", fills={"do": "delete"})
    assert EVIL in page.words
    assert "<svg" not in page.text


async def test_files_of_any_name(web: webserver.Web) -> None:
    """Dropped files are called as their programs please."""
    (web.paths.pickup / "a?b#c&d%2e.eml").write_text("To: x@far.example\n\n")
    Path(os.fsdecode(bytes(web.paths.pickup) + b"/\xff\xfe<b>.eml")).write_text("no mail")
    browser = await entered(web, "chef")
    page = await browser.go("/admin/queue")
    assert page.status == 200
    links = [one for one in page.links() if one.startswith("/admin/queue/")]
    assert sorted([(await browser.go(one)).status for one in links]) == [200, 404]


async def test_nothing_waits(web: webserver.Web) -> None:
    browser = await entered(web, "chef")
    assert "Nothing is waiting" in (await browser.go("/admin/queue")).words
    assert "Nothing fits." in (await browser.go("/admin/queue?domain=x.example")).words
    assert (await browser.go("/admin/queue?offset=-5")).status == 200


def test_all_states_and_spools_have_words() -> None:
    for key, words in (("state", pages_queue.STATES), ("spool", pages_queue.SPOOLS)):
        known = get_args(get_args(api_queue.Which.model_fields[key].annotation)[0])
        assert set(words) == set(known)


@pytest.mark.parametrize(("said", "words"), [
    ("550 5.1.1 <x@far.example>: no such user", "does not exist"), ("452 4.2.2 later", "mailbox is full"),
    ("451 4.7.1 Greylisted, come back", "second try"), ("[Errno 111] Connection refused", "cannot be reached"),
    ("mail loop: 51 Received lines", "circle"), ("550 5.7.26 SPF", "by its rules"),
    ("451 4.4.3 DNS: MX of far.example: timeout", "in time"),
])
def test_reasons_in_words(said: str, words: str) -> None:
    found = reasons.plain(said)
    assert found is not None
    assert words in found[0]
    assert found[1] != found[0]


@pytest.mark.parametrize("said", [None, "", "hm", "9.9.9", "5.9.9 x", json.dumps({"a": 1})])
def test_what_is_not_known_gets_no_words(said: str | None) -> None:
    assert reasons.plain(said) is None


async def test_a_key_that_only_reads_sees_what_waits_and_not_what_it_says(web: webserver.Web) -> None:
    entry_id = put(web, subject="Angebot")
    found = {}
    for rights in ("admin", "read", "account:meier"):
        key = apikeys.add(web.paths.conf / "api.toml", rights.partition(":")[0], rights, [])
        headers = {"Authorization": f"Bearer {key}"}
        one = (await web.post("/api/v1/queue.get", json={"id": entry_id}, headers=headers)).json()["result"]
        listed = (await web.post("/api/v1/queue.list", json={}, headers=headers)).json()["result"]["entries"][0]
        found[rights] = (one["recipients"], one["subject"], listed["subject"], "X-Odd" in one["header"])
    full = (["x@far.example"], "Angebot", "Angebot", True)
    assert found == {"admin": full, "account:meier": full, "read": (["x@far.example"], "", "", False)}
