"""httpd: what holds for every request."""

import re
from pathlib import Path

import pytest

from lanmail import config, httpd, settings
from lanmail.web import guard
from tests import webserver


async def test_health(tmp_path: Path) -> None:
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        answer = await web.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "trouble": []})
        (web.paths.spool / "queue/new").rmdir()
        answer = await web.get("/healthz")
        assert (answer.status_code, answer.json()["trouble"]) == (503, ["spool/queue is missing"])


async def test_every_answer_forbids_what_is_foreign(tmp_path: Path) -> None:
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        for path in ("/healthz", "/nothing", "/oauth2/start/unknown", "/oauth2/callback"):
            answer = await web.get(path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
            assert "server" not in answer.headers


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:6080", 200), ("localhost", 200), ("mail.office.lan", 200), ("MAIL.office.lan:80", 200),
    ("[::1]:1", 200),
    ("web.firma.example", 200), ("extra.firma.example", 200), ("evil.example", 421), ("", 421),
    ("mail.office.lan.evil.example", 421), ("a@mail.office.lan:b", 421), ("mail.office.lan:99999", 421),
])
async def test_only_under_our_names(tmp_path: Path, host: str, status: int) -> None:
    keys = 'public_url = "https://web.firma.example"\nhosts = ["extra.firma.example"]'
    async with webserver.serving(webserver.lay_out(tmp_path, httpd=keys)) as web:
        assert (await web.get("/healthz", headers={"Host": host})).status_code == status


async def test_without_tls_only_for_those_who_may(tmp_path: Path) -> None:
    where = webserver.lay_out(tmp_path, '[auth]\ncleartext_networks = ["192.0.2.0/24"]')
    async with webserver.serving(where) as web:
        answer = await web.get("/oauth2/start/x?a=b", headers={"Host": "mail.office.lan"})
        assert answer.status_code == 308
        assert answer.headers["Location"] == "https://mail.office.lan:6443/oauth2/start/x?a=b"


@pytest.mark.parametrize(("trusted", "headers", "status"), [
    ("127.0.0.1", {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}, 200),
    ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", "X-Forwarded-Proto": "http"}, 308),
    ("127.0.0.1", {"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}, 200),
    ("198.51.100.1", {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}, 308),
])
async def test_behind_a_proxy(tmp_path: Path, trusted: str, headers: dict[str, str], status: int) -> None:
    """Who a proxy names counts only from a proxy that we trust, and only the last it names."""
    where = webserver.lay_out(tmp_path, '[auth]\ncleartext_networks = ["192.0.2.0/24"]',
                              httpd=f'trusted_proxies = ["{trusted}"]')
    async with webserver.serving(where) as web:
        assert (await web.get("/healthz", headers=headers)).status_code == status


async def test_bodies_end_somewhere(tmp_path: Path) -> None:
    async with webserver.serving(webserver.lay_out(tmp_path, httpd='max_body = "1KB"')) as web:
        assert (await web.post("/healthz", data=b"x" * 1025)).status_code == 413
        assert (await web.post("/healthz", data=iter([b"x" * 600] * 3))).status_code in (405, 413)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await web.post("/oauth2/token", data=iter([b"x" * 600] * 3), headers=form)
        assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
        assert (await web.post("/healthz", headers={"Content-Length": "x"})).status_code == 400
        assert (await web.get("/healthz")).status_code == 200


async def test_a_page_in_the_readers_language(tmp_path: Path) -> None:
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        german = await web.get("/oauth2/start/unknown", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.8"})
        english = await web.get("/oauth2/start/unknown", headers={"Accept-Language": "fr, de;q=0.5"})
        assert (german.status_code, english.status_code) == (410, 410)
        languages = [re.findall(r'<html lang="(..)"', one.text) for one in (german, english)]
        assert languages == [["de"], ["en"]]


def test_off_unless_switched_on(tmp_path: Path) -> None:
    off = settings.Settings(server=settings.Server(domain="office.lan"))
    assert httpd.listeners(off) == []
    on = config.load(webserver.lay_out(tmp_path, httpd="port = 0"))
    assert [(one.name, one.port, one.tls) for one in httpd.listeners(on)] == [("https", 6443, True)]
    assert guard.is_ours("mail.office.lan", on)
