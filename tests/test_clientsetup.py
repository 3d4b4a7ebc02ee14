"""Mail clients that know only an address: what they are told, and what strangers are not."""

import io
import json
import plistlib
import stat
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape

import click.testing
import pytest
from lxml import etree

from lanmail import address, admin, clientconfig, config, passwords, paths
from lanmail.logins import grants
from tests import webserver
from tests.test_web_authorize import CHALLENGE, Office

OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
SCHEMA = OUTLOOK.strip("{}")
EVERYWHERE = ["meier@office.lan", "nobody@office.lan", "MEIER@OFFICE.LAN", "a.b+c@shop.example",
              '"<a>&b]]>"@office.lan']
NOWHERE = ["meier@elsewhere.example", "meier", "@office.lan", "", "meier@office.lan.evil.example",
           "meier@office.lan<x/>", "a\x00b@office.lan", "a\ufffeb@office.lan", "x" * 5000 + "@office.lan",
           "meier@office.lan, eva@elsewhere.example", "meier@office.lan\r\nX: y"]
AUTOCONFIG = ["/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"]


def laid_out(root: Path, settings: str = "", *, httpd: str = "") -> paths.Paths:
    return webserver.lay_out(root, f'extra_domains = ["shop.example"]\n{settings}', httpd=httpd)


def request(wanted: str, schema: str = SCHEMA, before: str = "") -> bytes:
    """What Outlook sends."""
    space = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
    return (f'<?xml version="1.0" encoding="utf-8"?>{before}<Autodiscover xmlns="{space}"><Request>'
            f"<EMailAddress>{wanted}</EMailAddress><AcceptableResponseSchema>{schema}</AcceptableResponseSchema>"
            "</Request></Autodiscover>").encode()


@pytest.mark.parametrize("path", AUTOCONFIG)
async def test_thunderbird(tmp_path: Path, path: str) -> None:
    async with webserver.serving(laid_out(tmp_path)) as web:
        answer = await web.get(path, params={"emailaddress": "meier@office.lan"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
        root = etree.fromstring(answer.content)
        assert [one.text for one in root.findall("emailProvider/domain")] == ["office.lan", "shop.example"]
        found = [(one.get("type"), one.findtext("hostname"), one.findtext("port"), one.findtext("socketType"),
                  one.findtext("authentication"), one.findtext("username")) for one in root[0] if one.get("type")]
        rest = ("password-cleartext", "%EMAILADDRESS%")
        assert found == [(kind, "mail.office.lan", port, tls, *rest) for kind, port, tls in [
            ("imap", "993", "SSL"), ("imap", "143", "STARTTLS"), ("pop3", "995", "SSL"), ("pop3", "110", "STARTTLS"),
            ("smtp", "465", "SSL"), ("smtp", "587", "STARTTLS")]]
        assert root.findtext("oAuth2/authURL") == "https://mail.office.lan:6443/oauth2/auth"
        same = [await web.get(path, params={"emailaddress": one}) for one in EVERYWHERE]
        assert {one.content for one in [*same, await web.get(path)]} == {answer.content}
        others = [await web.get(path, params={"emailaddress": one}) for one in NOWHERE]
        assert {(one.status_code, one.text) for one in others} == {(404, others[0].text)}


def test_only_what_is_on(tmp_path: Path) -> None:
    off = ("port_offset = 10000\n[pop3d]\nport = 0\ntls_port = 0\n[imapd]\ntls_port = 0\n"
           "[smtpd]\nsubmissions_port = 0")
    where = laid_out(tmp_path, off)
    where.config_file.write_text(where.config_file.read_text().replace("enabled = true", ""))
    settings = config.load(where)
    assert clientconfig.servers(settings) == [
        clientconfig.Server("imap", "mail.office.lan", 10143, False),
        clientconfig.Server("smtp", "mail.office.lan", 10587, False)]
    assert b"OAuth2" not in clientconfig.autoconfig(settings)
    assert b"oAuth2" not in clientconfig.autoconfig(settings)


@pytest.mark.parametrize("path", ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"])
async def test_outlook(tmp_path: Path, path: str) -> None:
    async with webserver.serving(laid_out(tmp_path)) as web:
        for wanted in EVERYWHERE:
            answer = await web.post(path, data=request(escape(wanted)))
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
            account = etree.fromstring(answer.content).find(f"{OUTLOOK}Response/{OUTLOOK}Account")
            assert account is not None
            assert [account.findtext(OUTLOOK + name) for name in ("AccountType", "Action")] == ["email", "settings"]
            told = [[one.findtext(OUTLOOK + name) for name in ("Type", "Server", "Port", "SSL", "Encryption")]
                    for one in account.findall(OUTLOOK + "Protocol")]
            assert sorted(told) == [[kind, "mail.office.lan", port, "on", "SSL"] for kind, port in
                                    [("IMAP", "993"), ("POP3", "995"), ("SMTP", "465")]]
            names = {one.text for one in account.iter(OUTLOOK + "LoginName")}
            assert names == {str(address.parse(wanted))}


async def test_outlook_gets_no_more(tmp_path: Path) -> None:
    """No DTD, nothing large, no other form of the answer, no other domain."""
    bomb = '<!DOCTYPE a [<!ENTITY b "meier@office.lan">]>'
    outside = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'
    async with webserver.serving(laid_out(tmp_path)) as web:
        for body, status, word in [
                (request("&b;", before=bomb), 400, "DOCTYPE"), (request("&b;", before=outside), 400, "DOCTYPE"),
                (b"", 400, "no XML"), (b"\xff\x00<", 400, "no XML"), (b"<a/>", 400, "no address"),
                (request("x" * 20_000), 400, "too large"), (request("meier@elsewhere.example"), 404, "knows nothing"),
                (request("meier@office.lan", SCHEMA.replace("outlook", "mobilesync")), 404, "knows nothing"),
                (b"<a>" * 5000, 400, "no XML")]:
            answer = await web.post("/autodiscover/autodiscover.xml", data=body)
            assert (answer.status_code, word in answer.text) == (status, True), (body[:80], answer.text)


async def test_apple(tmp_path: Path) -> None:
    async with webserver.serving(laid_out(tmp_path)) as web:
        seen = set()
        for wanted in EVERYWHERE:
            answer = await web.get("/setup/mail.mobileconfig", params={"address": wanted})
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-apple-aspen-config")
            profile: dict[str, Any] = plistlib.loads(answer.content)
            mail, owner = profile["PayloadContent"][0], str(address.parse(wanted))
            assert {owner} == {mail[key] for key in ("EmailAddress", "IncomingMailServerUsername",
                                                     "OutgoingMailServerUsername")}
            assert (mail["EmailAccountType"], mail["IncomingMailServerPortNumber"], mail["IncomingMailServerUseSSL"],
                    mail["OutgoingMailServerHostName"], mail["OutgoingMailServerPortNumber"]) == (
                        "EmailTypeIMAP", 993, True, "mail.office.lan", 465)
            assert "IncomingPassword" not in mail
            seen.add(profile["PayloadUUID"])
        assert len(seen) == len(EVERYWHERE) - 1  # MEIER's profile takes the place of meier's
        for wanted in NOWHERE:
            answer = await web.get("/setup/x.mobileconfig", params={"address": wanted})
            assert (answer.status_code, "<x/>" in answer.text) == (404, False)


async def test_nothing_to_set_up(tmp_path: Path) -> None:
    where = laid_out(tmp_path, "[smtpd]\nsubmissions_port = 0\nsubmission_port = 0")
    async with webserver.serving(where) as web:
        answer = await web.get("/setup/mail.mobileconfig", params={"address": "meier@office.lan"})
        assert (answer.status_code, "send by" in answer.text) == (404, True)


async def test_the_page(tmp_path: Path) -> None:
    async with webserver.serving(laid_out(tmp_path)) as web:
        english, german = [(await web.get("/setup", headers={"Accept-Language": one})).text for one in ("en", "de")]
        assert "By hand" in english
        assert "Von Hand" in german
        assert "<code>mail.office.lan</code>, Port 993, SSL/TLS" in german


@pytest.mark.parametrize(("host", "status"), [
    ("autoconfig.office.lan", 200), ("AutoDiscover.shop.example:443", 200), ("autoconfig.elsewhere.example", 421),
    ("www.office.lan", 421), ("autoconfig.autoconfig.office.lan", 421), ("autoconfig.", 421), ("autoconfig", 421)])
async def test_under_the_names_that_clients_look_for(tmp_path: Path, host: str, status: int) -> None:
    async with webserver.serving(laid_out(tmp_path)) as web:
        assert (await web.get(AUTOCONFIG[0], headers={"Host": host})).status_code == status


def lanmail(where: paths.Paths, *arguments: str, code: int = 0, text: str | None = None) -> str:
    result = click.testing.CliRunner().invoke(admin.cli, ["client", *arguments, "--root", str(where.root)], input=text)
    assert result.exit_code == code, result.output
    return result.output


def manifest(packed: Path) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(packed.read_bytes())) as archive:
        assert (archive.namelist(), archive.testzip()) == (["manifest.json"], None)
        found: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return found


async def test_thunderbird_with_its_addon_is_let_in(tmp_path: Path) -> None:
    """All that the add-on says, used as Thunderbird uses it."""
    where = laid_out(tmp_path)
    (where.accounts / "meier.toml").write_text(f'password = "{passwords.hash("geheim wörtlich")}"\n')
    register = grants.Register(where.state)
    client, _ = register.add_client("meier", 'Thun"der', list(grants.SCOPES.values()), public=True)
    lanmail(where, "addon", client.id, "--output", str(tmp_path / "a.xpi"))
    found = manifest(tmp_path / "a.xpi")
    known = found["oauth_provider"]
    assert found["browser_specific_settings"]["gecko"]["strict_min_version"] == "140.0"
    assert (known["issuer"], known["hostnames"], "clientSecret" in known) == (
        "mail.office.lan", ["mail.office.lan"], False)
    async with webserver.serving(where) as web:
        office = Office(where, web.port)
        answer = await office.log_in({
            "client_id": known["clientId"], "scope": known["scopes"], "redirect_uri": known["redirectionEndpoint"],
            "response_type": "code", "code_challenge": CHALLENGE, "code_challenge_method": "S256"})
        there = answer.headers["Location"]
        assert there.startswith(known["redirectionEndpoint"])
        path = urlsplit(known["tokenEndpoint"]).path
        answer = await office.post(path, data=urlencode({
            "grant_type": "authorization_code", "client_id": known["clientId"], "code_verifier": "v" * 64,
            "redirect_uri": known["redirectionEndpoint"], "code": parse_qs(urlsplit(there).query)["code"][0]}),
            headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert grants.verify_token(where.state, answer.json()["access_token"], service="smtp") == "meier"
        office.session.close()


def test_an_addon_with_a_secret(tmp_path: Path) -> None:
    where, there = laid_out(tmp_path), tmp_path / "a.xpi"
    register = grants.Register(where.state)
    client, secret = register.add_client("meier", "Thunderbird", [grants.SCOPES["imap"]])
    asking, _ = register.add_client("", "Dovecot", [grants.INTROSPECT])
    output = ("--output", str(there))
    assert "--secret-stdin" in lanmail(where, "addon", client.id, *output, code=64)
    assert "not the secret" in lanmail(where, "addon", client.id, *output, "--secret-stdin", code=65, text="no\n")
    assert "no mail program" in lanmail(where, "addon", asking.id, *output, code=65)
    assert not there.exists()
    lanmail(where, "addon", client.id, *output, "--secret-stdin", text=f"{secret}\n")
    known = manifest(there)["oauth_provider"]
    assert (known["clientSecret"], known["scopes"]) == (secret, "IMAP.AccessAsUser.All offline_access")
    assert stat.S_IMODE(there.stat().st_mode) == 0o600


def test_the_xml_for_another_web_server(tmp_path: Path) -> None:
    where = laid_out(tmp_path)
    assert lanmail(where, "autoconfig").encode() == clientconfig.autoconfig(config.load(where))
