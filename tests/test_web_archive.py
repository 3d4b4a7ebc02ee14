"""The archive over HTTP and on pages: who finds what, mail as harmless text, back into a mailbox."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.administration import audit
from lanmail.archiving import holders, store
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.archiveroot import NOW, Archive, mail
from tests.test_web_api import Api
from tests.test_web_queue import EVIL, entered

HTML = ('<html><body><p>Hallo Welt</p><script>alert(1)</script><img src="https://evil.example/x.png">'
        "<a href=javascript:alert(1)>da</a></body></html>")


class Office(Api):
    """httpd with an archive: meier wrote to weber and blindly to somebody; somebody wrote to weber."""

    first: str
    second: str
    archive: Archive


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Office]:
    where = browsing.lay_out(tmp_path, weber="")
    some = Archive(tmp_path)
    first = some.add(mail("Verträge", "Guten Tag\n\x1b[31mRechnungsprüfung", author="meier@office.lan",
                          to="weber@office.lan", more="Bcc: blind@far.example\n"), sender="meier@office.lan",
                     submitter="meier", receivers=("weber",), to=("weber@office.lan", "blind@far.example"))
    some.add(mail("Verträge (extern)"), mail_id=first, form=store.SENT, submitter="meier", receivers=(),
             to=("blind@far.example",), sender="meier@office.lan")
    second = some.add(mail(f"Preise {EVIL}", HTML, author=f'"{EVIL}" <x@far.example>',
                           more="Content-Type: text/html; charset=utf-8\n"), receivers=("weber",),
                      to=("weber@office.lan",))
    some.flush()
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"), ("weber", "account:weber"))}
    async with webserver.serving(where) as served:
        made = Office(where, served.port)
        made.keys, made.first, made.second, made.archive = keys, first, second, some
        yield made
        made.session.close()


async def subjects(web: Office, key: str, **given: object) -> list[str]:
    return [one["subject"] for one in (await web.result("archive.search", key, **given))["found"]]  # type: ignore[attr-defined]


async def test_who_finds_what(web: Office) -> None:
    assert await subjects(web, "admin") == [f"Preise {EVIL}", "Verträge"]
    assert await subjects(web, "admin", query="vertrag") == ["Verträge"]
    assert await subjects(web, "admin", account="meier") == ["Verträge"]
    assert await subjects(web, "meier") == ["Verträge"]
    assert await subjects(web, "weber") == [f"Preise {EVIL}", "Verträge"]
    assert await subjects(web, "admin", query="prüf") == []
    assert await subjects(web, "admin", query="prüf", substring=True) == ["Verträge"]
    assert await subjects(web, "admin", limit=1, offset=1) == ["Verträge"]
    assert await web.error("archive.search", "meier", account="weber") == (403, "forbidden")
    assert await web.error("archive.search", "read") == (403, "forbidden")
    assert await web.error("archive.get", "read", id=web.first) == (403, "forbidden")
    assert await web.error("archive.search", query="before:nonsense") == (400, "invalid_field")


async def test_new_mail_is_found_at_once(web: Office) -> None:
    web.archive.add(mail("Neu"), receivers=("weber",))
    web.archive.flush()
    assert (await subjects(web, "weber"))[0] == "Neu"


async def test_others_mail_is_not_there(web: Office) -> None:
    assert await web.error("archive.get", "meier", id=web.second) == (404, "not_found")
    assert await web.error("archive.restore", "meier", ids=[web.second]) == (404, "not_found")
    assert await web.error("archive.restore", "meier", ids=[web.first], to="weber") == (403, "forbidden")
    assert await web.error("archive.get", "meier", id=web.first, account="weber") == (403, "forbidden")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> float:
    """Accounts end or move a while after the first mails; when the next come."""
    left, moved = holders.left, holders.moved
    monkeypatch.setattr(holders, "left", lambda state, name, _now: left(state, name, NOW + 100))
    monkeypatch.setattr(holders, "moved", lambda state, name, new, _began, _now: moved(state, name, new, NOW + 90,
                                                                                     NOW + 100))
    return NOW + 200


async def test_who_gets_a_name_later_finds_nothing_of_the_one_before(web: Office, later: float) -> None:
    await web.result("account.delete", name="weber", mail="delete")
    await web.result("account.create", name="weber", password="geheim und lang")
    web.keys["weber"] = apikeys.add(web.paths.conf / "api.toml", "weber2", "account:weber", [])
    assert await subjects(web, "weber") == []
    assert await web.error("archive.get", "weber", id=web.second) == (404, "not_found")
    assert await web.error("archive.restore", "weber", ids=[web.second]) == (404, "not_found")
    web.archive.add(mail("Neu"), receivers=("weber",), arrived=later)
    web.archive.flush()
    assert await subjects(web, "weber") == ["Neu"]
    assert await subjects(web, "weber", query="vertrag") == []
    assert await subjects(web, "admin", account="weber") == ["Neu", f"Preise {EVIL}", "Verträge"]


async def test_a_renamed_account_keeps_what_it_had_and_its_old_name_begins_anew(web: Office, later: float) -> None:
    await web.result("account.modify", name="weber", new_name="krause")
    web.archive.add(mail("Neu"), receivers=("krause",), arrived=later)
    web.archive.add(mail("Fremd"), receivers=("weber", "meier"), arrived=later)
    web.archive.flush()
    mine = await web.result("archive.search", "weber")  # the key moved with it
    assert [(one["subject"], one["accounts"][0]["account"]) for one in mine["found"]] == [  # type: ignore[attr-defined]
        ("Neu", "krause"), (f"Preise {EVIL}", "weber"), ("Verträge", "weber")]
    assert await subjects(web, "weber", query="account:weber") == [f"Preise {EVIL}", "Verträge"]
    assert (await web.result("archive.get", "weber", id=web.second))["id"] == web.second
    await web.result("alias.delete", address="weber")  # by which mail under the old name still arrives
    await web.result("account.create", name="weber", password="geheim und lang")
    web.keys["new"] = apikeys.add(web.paths.conf / "api.toml", "new", "account:weber", [])
    assert await subjects(web, "new") == ["Fremd"]


async def test_blind_copies_are_the_senders_secret(web: Office) -> None:
    assert await subjects(web, "weber", query="to:blind") == []
    assert await subjects(web, "meier", query="to:blind") == ["Verträge"]
    for key, seen in (("meier", True), ("admin", True), ("weber", False)):
        known = await web.result("archive.get", key, id=web.first, raw=True)
        raw = base64.b64decode(str(known["data"]))
        assert (b"blind@far.example" in raw) is seen
        assert ("blind" in str({**known, "data": ""})) is seen
        assert raw.endswith("Guten Tag\n\x1b[31mRechnungsprüfung\n".encode())
        assert (known["envelope"] is not None) is seen
    assert await web.error("archive.get", "weber", id=web.first, form="sent") == (404, "not_found")
    assert (await web.result("archive.get", "meier", id=web.first, form="sent"))["form"] == "sent"
    await web.result("archive.restore", "weber", ids=[web.first])
    (path,) = (web.paths.maildirs / "weber/cur").glob("*") if list((web.paths.maildirs / "weber/cur").glob("*")) else (
        web.paths.maildirs / "weber/new").glob("*")
    assert b"blind" not in path.read_bytes()


async def test_restore(web: Office) -> None:
    done = await web.result("archive.restore", "meier", ids=[web.first], folder="Alt.2026")
    assert (done["restored"], done["there"], done["problems"]) == ([web.first], [], [])
    done = await web.result("archive.restore", "meier", ids=[web.first], folder="Alt.2026")
    assert (done["restored"], done["there"]) == ([], [web.first])
    assert "Alt.2026" in maildir.folders(str(web.paths.maildirs / "meier"))
    done = await web.result("archive.restore", ids=[web.second, web.first], to="Chef")
    assert done["restored"] == [web.second, web.first]
    for given, expected in (({"folder": "../x"}, 400), ({"folder": "a\0b"}, 400), ({"ids": []}, 400),
                            ({"to": "nobody"}, 404), ({"to": "../chef"}, 404), ({"to": ""}, 400)):
        status, _ = await web.error("archive.restore", **{"ids": [web.first], "to": "chef", **given})
        assert status == expected, given
    web.paths.full.mkdir(parents=True, exist_ok=True)
    (web.paths.full / "meier").touch()
    assert await web.error("archive.restore", "meier", ids=[web.first]) == (422, "refused_by_rule")


async def test_what_administrators_look_at_is_noted(web: Office) -> None:
    await web.result("archive.get", id=web.first)
    assert f"by=admin client=127.0.0.1 what=archive.get about={web.first}" in next(audit.last(web.paths, 1))
    before = len(list(audit.last(web.paths, 100)))
    await web.result("archive.get", "weber", id=web.first)
    assert len(list(audit.last(web.paths, 100))) == before, "one's own mail is one's own affair"


async def test_the_pages(web: Office) -> None:
    browser = await entered(web, "weber")
    page = await browser.go("/my/archive")
    assert page.title == "Archive"
    assert "Verträge" in page.words
    page = await browser.go("/my/archive?q=vertrag")
    assert f"Preise {EVIL}" not in page.words
    page = await browser.go(f"/my/archive/{web.first}")
    assert page.title == "Verträge"
    assert "·[31mRechnungsprüfung" in page.words
    assert "blind" not in page.text
    page = await browser.send(page, "/my/archive", folder="Alt", fills={"to": "chef"})
    assert page.note == "1 put into Alt."
    assert "Alt" in maildir.folders(str(web.paths.maildirs / "weber"))
    page = await browser.send(await browser.go("/my/archive"), "/my/archive", fills={"id": [web.first, web.second]},
                              folder="Alt")
    assert page.note == "1 put into Alt. 1 lie there already."
    page = await browser.send(page, "/my/archive", fills={"id": [web.first]}, folder="a/../b")
    assert page.note.startswith("Not possible: ")
    page = await (await entered(web, "meier", "de")).go(f"/my/archive/{web.second}")
    assert page.status == 404
    page = await (await entered(web, "meier", "de")).go("/my/archive?q=nichts")
    assert "Nichts gefunden." in page.words


async def test_for_the_administrator(web: Office) -> None:
    browser = await entered(web, "chef")
    page = await browser.go("/admin/archive")
    assert "Say what to look for." in page.words
    page = await browser.go("/admin/archive?account=meier&after=2026-01-01&attachment=")
    assert "Verträge" in page.words
    assert f"Preise {EVIL}" not in page.words
    page = await browser.go(f"/admin/archive/{web.first}")
    assert "blind@far.example" in page.words
    assert "Verträge (extern)" in (await browser.go(f"/admin/archive/{web.first}?form=sent")).words
    page = await browser.send(page, "/admin/archive", to="chef")
    assert page.note == "1 put into INBOX."
    assert (await (await entered(web, "meier")).go("/admin/archive?q=x")).status == 403
    assert (await browser.go("/admin/archive?q=before:never")).problems != []


async def test_a_mail_as_text(web: Office) -> None:
    browser = await entered(web, "weber")
    for path in ("/my/archive", f"/my/archive/{web.second}", f"/my/archive?q={EVIL}", f"/my/archive/{EVIL}"):
        page = await browser.go(path)
        assert "<svg" not in page.text
        assert "evil.example/x.png" not in page.text
        assert "<script" not in page.text.partition("<main")[2]
    page = await browser.go(f"/my/archive/{web.second}")
    assert EVIL in page.words
    assert "Hallo Welt" in page.words
    assert not [one for one in page.links() if one.startswith("javascript")]


async def test_saving(web: Office) -> None:
    browser = await entered(web, "weber")
    page = await browser.go(f"/my/archive/{web.second}/message.eml")
    assert page.headers["content-disposition"] == 'attachment; filename="Preise-svg-onload-alert-1.eml"'
    assert page.headers["content-type"] == "message/rfc822"
    assert page.headers["content-security-policy"] == "sandbox"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "\r\nSubject: Preise" in page.text
    assert "X-Receiver" not in page.text
    assert "blind" not in (await browser.go(f"/my/archive/{web.first}/message.eml")).text
    assert (await (await entered(web, "meier")).go(f"/my/archive/{web.second}/message.eml")).status == 404


async def test_a_damaged_file_is_told(web: Office) -> None:
    (path,) = web.paths.archive.glob(f"*/cur/{web.second},*")
    path.unlink()
    assert await web.error("archive.get", id=web.second) == (503, "busy")
    done = await web.result("archive.restore", ids=[web.second], to="chef")
    assert len(done["problems"]) == 1  # type: ignore[arg-type]


async def test_nothing_was_archived_yet(tmp_path: Path) -> None:
    where = browsing.lay_out(tmp_path)
    async with webserver.serving(where) as served:
        browser = await entered(served, "meier")
        assert "Your mail is not archived." in (await browser.go("/my/archive")).words
        assert (await browser.go("/my/archive/1.x")).status == 404
        assert "Nothing found." in (await (await entered(served, "chef")).go("/admin/archive?q=x")).words
