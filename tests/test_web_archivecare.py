"""The proof that the archive is as it was, and the export for an auditor, over HTTP and on pages."""

import asyncio
import base64
import io
import json
import zipfile
from typing import Any

import pytest

from lanmail.archiving import journal
from lanmail.web import checking
from lanmail.web.api import archivecare
from tests.test_web_archive import Office, web  # noqa: F401 — the fixture
from tests.test_web_queue import entered


async def checked(office: Office, **given: object) -> dict[str, Any]:
    """Start it, and wait for its end."""
    await office.result("archive.verify", start=True, **given)
    while True:
        found = await office.result("archive.verify", "read")
        if not found["running"]:
            return found
        await asyncio.sleep(0.02)


async def test_whether_all_is_as_it_was(web: Office) -> None:  # noqa: F811
    assert (await web.result("archive.verify", "read"))["report"] is None
    found = await checked(web)
    assert (found["report"]["sound"], found["report"]["messages"], found["report"]["more"]) == (True, 3, 0)
    (path,) = web.paths.archive.glob(f"*/cur/{web.second},*")
    path.unlink()
    report = (await checked(web))["report"]
    assert report["sound"] is False
    assert [one["kind"] for one in report["findings"]] == ["missing"]


async def test_a_line_that_was_kept(web: Office) -> None:  # noqa: F811
    last = list(journal.lines(journal.path(web.paths)))[-1]
    assert (await checked(web, head=f"{last.seq}:{last.place.hash}"))["report"]["sound"] is True
    assert (await checked(web, head=f"{last.seq}:{'0' * 64}"))["report"]["sound"] is False
    assert await web.error("archive.verify", start=True, head="3:x") == (400, "invalid_field")


async def test_who_may(web: Office, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    assert await web.error("archive.verify", "meier") == (403, "forbidden")
    assert await web.error("archive.verify", "read", start=True) == (403, "forbidden")
    for key in ("read", "meier"):
        assert await web.error("archive.export", key, query="x") == (403, "forbidden")
    monkeypatch.setattr(checking, "LARGEST", 10)
    assert await web.error("archive.verify", start=True) == (422, "refused_by_rule")
    assert await web.error("archive.export") == (422, "refused_by_rule")


async def test_an_interrupted_look(web: Office) -> None:  # noqa: F811
    (web.paths.state / "archive").mkdir(parents=True, exist_ok=True)
    (web.paths.state / "archive/check.json").write_text('{"began": 1.0, "done": 5, "total": 9}\n')
    page = await (await entered(web, "chef")).go("/admin/archive/check")
    assert "The last look was interrupted." in page.words
    (web.paths.state / "archive/check.json").write_text("{")
    assert "Nobody has looked here yet." in (await (await entered(web, "chef")).go("/admin/archive/check")).words


async def test_the_page(web: Office) -> None:  # noqa: F811
    browser = await entered(web, "chef")
    page = await browser.go("/admin/archive/check")
    page = await browser.send(page, "/admin/archive/check", head="x")
    assert (page.status, len(page.problems)) == (400, 1)
    page = await browser.send(page, "/admin/archive/check", head="")
    while "being looked through" in page.words:
        await asyncio.sleep(0.02)
        page = await browser.go("/admin/archive/check")
    assert "Everything is as it was archived." in page.words
    assert (await (await entered(web, "meier")).go("/admin/archive/check")).status == 403
    german = await (await entered(web, "chef", "de")).go("/admin/archive/check")
    assert german.title == "Ist das Archiv unverändert?"


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        assert json.loads(packed.read("head.json"))["exported"] == len(packed.namelist()) - 2
        assert packed.read("journal.jsonl").count(b"\n") == len(packed.namelist()) - 2
        return sorted(packed.namelist())


async def test_export(web: Office, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    found = await web.result("archive.export", query="vertrag")
    assert found["exported"] == 2
    assert [name.rpartition("-")[2] for name in names(base64.b64decode(str(found["data"])))][:2] == [
        f"{web.first}.eml", "sent.eml"]
    assert (await web.result("archive.export", ids=[web.second]))["exported"] == 1
    assert await web.error("archive.export", query="nichts") == (404, "not_found")
    assert await web.error("archive.export", query="before:x") == (400, "invalid_field")
    browser = await entered(web, "chef")
    page = await browser.go("/admin/archive?account=weber")
    link = next(one for one in page.links() if "export.zip" in one)
    answer = await asyncio.to_thread(browser.session.get, web.url + link, timeout=20)
    assert answer.headers["Content-Type"] == "application/zip"
    assert len(names(answer.content)) == 5
    monkeypatch.setattr(archivecare, "LARGEST", 10)
    assert await web.error("archive.export") == (413, "too_large")
