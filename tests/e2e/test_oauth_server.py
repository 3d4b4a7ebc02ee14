"""Real clients at our own OAuth2 server: a browser's log-in, then curl, msmtp, mpop and others by token."""

import imaplib
import json
import os
import re
import signal
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e import oauth
from tests.e2e.oauth import House
from tests.e2e.office import DOMAIN, HOST, mail, need, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    need("curl", "msmtp", "mpop")
    with oauth.running(tmp_path_factory.mktemp("oauth")) as made:
        yield made


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("initial", [[], ["--sasl-ir"]])
def test_curl(house: House, mechanism: str, initial: list[str]) -> None:
    token = house.token()["access_token"]
    log_in = ["curl", "-sS", "--cacert", house.ca, "--user", "meier:", "--oauth2-bearer", token, *initial,
              "--login-options", f"AUTH={mechanism}"]
    assert "first" in house.run(*log_in, f"imaps://{HOST}:{house.port(993)}/INBOX;MAILINDEX=1").stdout
    assert "first" in house.run(*log_in, f"pop3s://{HOST}:{house.port(995)}/1").stdout
    before = len(house.inbox("schmidt"))
    house.run(*log_in, f"smtps://{HOST}:{house.port(465)}", "--mail-from", f"meier@{DOMAIN}", "--mail-rcpt",
              f"schmidt@{DOMAIN}", "-T", "-", stdin=mail("by token"))
    until(lambda: len(house.inbox("schmidt")) == before + 1, what="the mail")


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_msmtp_and_mpop(house: House, mechanism: str) -> None:
    token = house.token()["access_token"]
    (house.home / "token").write_text(token + "\n")
    before = len(house.inbox("schmidt"))
    house.run("msmtp", "--host", HOST, "--port", str(house.port(465)), "--tls=on", "--tls-starttls=off",
              f"--tls-trust-file={house.ca}", f"--auth={mechanism}", "--user=meier", f"--from=meier@{DOMAIN}",
              f"--passwordeval=cat {house.home}/token", f"schmidt@{DOMAIN}", stdin=mail("msmtp"))
    until(lambda: len(house.inbox("schmidt")) == before + 1, what="the mail")
    config = house.home / f"mpop-{mechanism}"
    config.write_text(f"""account default
host {HOST}
port {house.port(995)}
tls on
tls_starttls off
tls_trust_file {house.ca}
auth {mechanism}
user meier
passwordeval cat {house.home}/token
keep on
uidls_file {house.home}/uidls-{mechanism}
delivery mbox {house.home}/mbox-{mechanism}
""")
    config.chmod(0o600)
    house.run("mpop", "-C", config)
    assert "first" in (house.home / f"mbox-{mechanism}").read_text()


def refused(house: House, user: str, token: str, port: int, scheme: str) -> str:
    done = house.run("curl", "-sS", "--cacert", house.ca, "--user", f"{user}:", "--oauth2-bearer", token,
                     f"{scheme}://{HOST}:{house.port(port)}/", check=False)
    assert done.returncode == 67, done.stdout + done.stderr
    return done.stderr


def test_a_token_opens_only_what_it_was_granted_for(house: House) -> None:
    token = house.token("IMAP.AccessAsUser.All")["access_token"]
    refused(house, "meier", token, 995, "pop3s")
    refused(house, "schmidt", token, 993, "imaps")
    refused(house, "meier", token + "x", 993, "imaps")
    with imaplib.IMAP4_SSL(HOST, house.port(993), ssl_context=ssl.create_default_context(cafile=house.ca)) as imap:
        assert imap.authenticate("XOAUTH2", lambda _: f"user=meier\x01auth=Bearer {token}\x01\x01".encode())[0] == "OK"


def test_disconnecting_ends_it(house: House) -> None:
    token = house.token()
    session = house.session("IMAP.AccessAsUser.All")
    newer = session.refresh_token(house.at("/oauth2/token"), refresh_token=token["refresh_token"])
    consent = json.loads(house.lanmail("client", "connected", "meier", "--json"))[0]["id"]
    assert "ended" in house.lanmail("client", "disconnect", consent)
    refused(house, "meier", newer["access_token"], 993, "imaps")
    with pytest.raises(Exception, match="invalid_grant"):
        session.refresh_token(house.at("/oauth2/token"), refresh_token=newer["refresh_token"])


def test_mail_goes_on_while_httpd_is_down(house: House) -> None:
    """Tokens are files: who has one gets in without it."""
    token = house.token()["access_token"]
    pid = int(re.findall(r"httpd ready pid=(\d+)", house.log())[-1])
    os.kill(pid, signal.SIGSTOP)
    try:
        log_in = ["curl", "-sS", "--cacert", house.ca, "--user", "meier:", "--oauth2-bearer", token]
        assert "first" in house.run(*log_in, f"imaps://{HOST}:{house.port(993)}/INBOX;MAILINDEX=1").stdout
    finally:
        os.kill(pid, signal.SIGCONT)


def test_neither_token_nor_secret_is_logged(house: House) -> None:
    token = house.token()
    text = house.log()
    for secret in (token["access_token"], token["refresh_token"], house.client["client_secret"]):
        assert secret not in text
    assert "code=" not in text
