"""Dovecot as a resource server of ours: it asks us about each token (RFC 7662) and lets in whose it is."""

import base64
import imaplib
import json
import poplib
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e import oauth
from tests.e2e.oauth import House
from tests.e2e.office import HOST
from tests.oidc.mailserver import MailServer

pytestmark = pytest.mark.slow
# What the howto says.
ASKING = """
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
scope = IMAP.AccessAsUser.All
force_introspection = yes
tls_ca_cert_file = {{base}}/office.pem
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with oauth.running(tmp_path_factory.mktemp("oauth")) as made:
        yield made


@pytest.fixture(scope="module")
def dovecot(house: House) -> Iterator[MailServer]:
    asks = json.loads(house.lanmail("client", "add-server", "Dovecot", "--json"))
    url = house.at("/oauth2/introspect").replace("://", f"://{asks['client_id']}:{asks['client_secret']}@")
    one = MailServer(ASKING.format(url=url), 1, files={"office.pem": house.ca.read_bytes()})
    for name in ("meier", "schmidt"):
        one.put(name, f"Subject: at Dovecot for {name}\n\nhello\n".encode())
    yield one
    one.stop()


def trusting(dovecot: MailServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=dovecot.base / "ca.pem")


def said(user: str, token: str) -> bytes:
    return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


def by_imap(dovecot: MailServer, user: str, token: str, mechanism: str = "XOAUTH2") -> str:
    """The mail that is there."""
    with imaplib.IMAP4(HOST, dovecot.imap, timeout=30) as imap:
        imap.starttls(trusting(dovecot))
        words = said(user, token) if mechanism == "XOAUTH2" else f"n,a={user},\x01auth=Bearer {token}\x01\x01".encode()
        imap.authenticate(mechanism, lambda data: b"\x01" if data else words)
        imap.select("INBOX", readonly=True)
        return str(imap.fetch("1", "(BODY[])")[1])


def by_pop3(dovecot: MailServer, user: str, token: str) -> str:
    pop = poplib.POP3(HOST, dovecot.pop3, timeout=30)
    try:
        pop.stls(trusting(dovecot))
        pop._shortcmd("AUTH XOAUTH2")  # poplib has no command for it
        pop._shortcmd(base64.b64encode(said(user, token)).decode())
        return str(pop.retr(1)[1])
    finally:
        pop.close()


def refused(dovecot: MailServer, user: str, token: str) -> None:
    for log_in in (by_imap, by_pop3):
        with pytest.raises((imaplib.IMAP4.error, poplib.error_proto)):
            log_in(dovecot, user, token)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_imap(house: House, dovecot: MailServer, mechanism: str) -> None:
    assert "for meier" in by_imap(dovecot, "meier", house.token()["access_token"], mechanism)


def test_pop3(house: House, dovecot: MailServer) -> None:
    assert "for meier" in by_pop3(dovecot, "meier", house.token()["access_token"])


def test_who_is_refused(house: House, dovecot: MailServer) -> None:
    """Another user than the token's, no token of ours, a refresh token, one that was revoked."""
    token = house.token()
    refused(dovecot, "schmidt", token["access_token"])
    refused(dovecot, "meier", "x" * 43)
    house.browser().post(house.at("/oauth2/revoke"), data={"token": token["refresh_token"], **{
        key: house.client[key] for key in ("client_id", "client_secret")}}).raise_for_status()
    refused(dovecot, "meier", token["access_token"])


def test_a_refresh_token_opens_nothing_nor_one_for_other_things(house: House, dovecot: MailServer) -> None:
    refused(dovecot, "meier", house.token()["refresh_token"])
    refused(dovecot, "meier", house.token("SMTP.Send")["access_token"])


def test_an_account_that_is_disabled(house: House, dovecot: MailServer) -> None:
    token = house.token()["access_token"]
    house.lanmail("account", "set", "meier", "disabled=true")
    try:
        refused(dovecot, "meier", token)
    finally:
        house.lanmail("account", "set", "meier", "disabled=false")
    assert "for meier" in by_imap(dovecot, "meier", token)
