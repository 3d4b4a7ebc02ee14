"""smimefiles.py, its methods and its page: a certificate is looked at before it is kept, and goes with the account."""

import base64
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from lanmail import config, smime
from lanmail.administration import enrolment, smimefiles
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.browsing import Browser
from tests.test_smime import Authority

TAB = "/admin/accounts/meier/outgoing"
LOCK = serialization.BestAvailableEncryption(b"geheim")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path)
    async with webserver.serving(where) as made:
        made.key = apikeys.add(where.conf / "api.toml", "admin", "admin", [])  # type: ignore[attr-defined]
        yield made


def packed(authority: Authority, kind: str = "ec", *, end: int = 30) -> bytes:
    certificate, key = authority.issue("meier@office.lan", kind, end=end, start=-9)
    return pkcs12.serialize_key_and_certificates(b"me", key, certificate, [authority.certificate], LOCK)


def pem(authority: Authority, *, encrypted: bool = False, key: bool = True) -> bytes:
    certificate, private = authority.issue("meier@office.lan", "ec")
    found = [certificate.public_bytes(serialization.Encoding.PEM)]
    if key:
        found.append(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           LOCK if encrypted else serialization.NoEncryption()))
    return b"".join(found)


async def call(web: webserver.Web, method: str, **given: Any) -> Any:
    answer = await web.post(f"/api/v1/outgoing.{method}", json={"name": "meier", **given},
                            headers={"Authorization": f"Bearer {web.key}"})  # type: ignore[attr-defined]
    said = answer.json()
    return said["result"] if said["ok"] else (said["error"]["code"], said["error"].get("field"))


def kept(web: webserver.Web) -> list[Path]:
    return sorted(web.paths.secrets.glob("smime-*")) if web.paths.secrets.is_dir() else []


async def test_it_signs_from_now_on_and_goes_again(web: webserver.Web, authority: Authority) -> None:
    assert (await call(web, "certificate"))["certificate"] is None
    found = await call(web, "set_certificate", data=base64.b64encode(packed(authority)).decode(), password="geheim")
    assert found["certificate"]["addresses"] == ["meier@office.lan"]
    assert (found["sign"], found["own"], found["certificate"]["good"], found["certificate"]["chain"]) == (
        True, True, True, 1)
    file, = kept(web)
    assert file.stat().st_mode & 0o777 == 0o600
    account = config.load_account(web.paths.accounts / "meier.toml")
    signer = smime.own(account.outgoing.smime, web.paths.conf)
    assert smime.addresses(signer.certificate) == {"meier@office.lan"}
    assert b"geheim" not in b"".join(one.read_bytes() for one in web.paths.conf.rglob("*") if one.is_file())
    await call(web, "set_certificate", data=base64.b64encode(packed(authority, "rsa")).decode(), password="geheim")
    assert len(kept(web)) == 1
    assert kept(web) != [file]
    found = await call(web, "remove_certificate")
    assert (found["sign"], found["own"], found["certificate"], kept(web)) == (False, False, None, [])


async def test_two_accounts_may_have_one(web: webserver.Web, authority: Authority) -> None:
    data = base64.b64encode(pem(authority)).decode()
    for name in ("meier", "chef"):
        await call(web, "set_certificate", name=name, data=data)
    assert len(kept(web)) == 1
    await call(web, "remove_certificate", name="chef")
    assert len(kept(web)) == 1
    enrolment.remove(web.paths, "meier", delete_mail=False)
    assert kept(web) == []


async def test_what_cannot_sign_is_refused_and_changes_nothing(web: webserver.Web, authority: Authority) -> None:
    before = (web.paths.accounts / "meier.toml").read_text()
    for data, password, field in (
            (b"", "", "data"), (b"no certificate", "", "password"), (packed(authority), "", "password"),
            (packed(authority), "wrong", "password"), (packed(authority, end=-2), "geheim", "data"),
            (pem(authority, encrypted=True), "", "password"), (pem(authority, key=False), "", "data"),
            (b"-----BEGIN CERTIFICATE-----\nAA==\n", "", "data")):
        given = base64.b64encode(data).decode()
        assert await call(web, "set_certificate", data=given, password=password) == ("invalid_field", field), data[:40]
    assert await call(web, "set_certificate", data="§") == ("invalid_field", "data")
    assert (kept(web), (web.paths.accounts / "meier.toml").read_text()) == ([], before)


def test_weak_and_large(authority: Authority) -> None:
    key = rsa.generate_private_key(65537, 1024)
    certificate = authority._make(authority.name, key.public_key(), "x@office.lan", -1, 9)
    data = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    now = datetime.datetime.now(datetime.UTC)
    for given, kind in ((data, "certificate-weak"), (b"x" * (smimefiles.LIMIT + 1), "certificate-large")):
        with pytest.raises(smimefiles.Refused) as caught:
            smimefiles.accept(given, "", now)
        assert caught.value.kind == kind


async def test_accounts_keep_their_hands_off(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "meier", "account:meier", [])
    for method in ("certificate", "set_certificate", "remove_certificate"):
        answer = await web.post(f"/api/v1/outgoing.{method}", json={"name": "meier", "data": "AA=="},
                                headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code in (400, 403)
        assert answer.json()["error"]["code"] in ("forbidden", "unknown_field")


async def test_on_the_page(web: webserver.Web, authority: Authority) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    for password, said in (("falsch", "Das Passwort stimmt nicht"), ("geheim", "")):
        token = (await browser.go(TAB)).tree.xpath('//form[@enctype]//input[@name="form"]/@value')[0]
        page = await browser.post(f"{TAB}/certificate", {"form": token, "password": password, "sign": "yes"},
                                  headers={"Origin": web.url}, files={"file": ("me.p12", packed(authority))})
        assert (page.status, said in page.words) == (400 if said else 200, True)
    assert "meier@office.lan" in page.words
    assert "Gilt bis" in page.words
    page = await browser.send(page, f"{TAB}/certificate/remove")
    assert "entfernt" in page.note
    assert kept(web) == []
