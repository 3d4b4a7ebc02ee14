"""As somebody new to it goes through the pages: three accounts, a group, an external mailbox with consent at its
provider, an autoresponder with a look at its answer first; then a mail goes through, and is watched. The servers and
the provider (oidc-provider, Dovecot) are real."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import config
from tests.browser import tabs
from tests.e2e.office import Office
from tests.e2e.provider import Provider
from tests.e2e.submission import Sink
from tests.e2e.test_oauth_consent import add
from tests.oidc import SECRET, Oidc

pytestmark = pytest.mark.slow
EVA = "eva@firma.example"
FAR = "From: kunde@far.example\nTo: eva@firma.example\nSubject: Angebot\nMessage-ID: <1@far.example>\n\nGuten Tag\n"
MAIL = ("From: Anna <anna@office.lan>\r\nTo: {0}@office.lan\r\nSubject: Hallo {0}\r\n"
        "Message-ID: <{0}@walk>\r\n\r\nhello\r\n")


@pytest.fixture
def provider() -> Iterator[tuple[Oidc, Provider]]:
    """Where Eva has another mailbox."""
    with Oidc(life=3600) as oidc:
        sink = Sink()
        dovecot = Provider(oidc.port, sink.port)
        yield oidc, dovecot
        dovecot.stop()
        sink.stop()


@pytest.fixture
def house(tmp_path: Path, provider: tuple[Oidc, Provider]) -> Iterator[Office]:
    """What is there after the installation: one account, of the administrator."""
    root = tmp_path / "office"
    root.mkdir()
    made = Office(root)
    port = made.port(6080)
    config.edit(made.where.config_file, {("httpd", "enabled"): True})
    made.account("chef")
    config.edit(made.where.accounts / "chef.toml", {("administrator",): True})
    add(made, *provider, "own", "secret", f"redirect_uri=http://localhost:{port}/oauth2/callback", stdin=f"{SECRET}\n")
    made.start()
    yield made
    assert made.stop() == 0


def text(tab: tabs.Tab) -> str:
    """What stands on the page."""
    return tab.page.inner_text("main")


def accounts(tab: tabs.Tab, house: Office) -> None:
    """Three, one with a password that is made."""
    for name in ("anna", "bert", "eva"):
        tab.page.click("nav.wide >> text=Accounts")
        tab.page.click("main a[href='/admin/accounts/-/add']")
        tab.page.fill("#f-name", name)
        if name != "bert":
            house.passwords[name] = f"geheim {name} 9"
            tab.page.fill("#f-password", house.passwords[name])
        tab.page.click("main button >> text=Make the account")
        if name == "bert":
            house.passwords[name] = tab.page.inner_text("dd code >> nth=1")
        assert name in text(tab)
    tab.page.click("nav.wide >> text=Accounts")
    assert all(name in text(tab) for name in ("anna", "bert", "chef", "eva"))


def group(tab: tabs.Tab) -> None:
    """A group of two."""
    tab.page.click("nav.wide >> text=Groups")
    tab.page.click("main a[href='/admin/new-group']")
    tab.page.fill("#f-name", "verkauf")
    tab.page.fill("#f-members", "eva\nchef")
    tab.page.click("main button >> text=Add the group")
    assert "verkauf@office.lan" in text(tab)


def consent(tab: tabs.Tab) -> None:
    """Eva adds her other mailbox, and agrees at its provider."""
    tab.page.click("nav.wide >> text=External mailboxes")
    tab.page.click("main a.button >> text=Add a mailbox")
    tab.page.fill("#address", EVA)
    tab.page.select_option("#app", "own")
    tab.page.click("main button >> text=Try and add")
    assert "Log in for" in tab.page.inner_text("h1"), text(tab)
    tab.page.click("main button >> text=Go on to the log-in")
    tab.page.click("a[href$='/go']")  # a page says once more what it is for
    tab.page.fill("input[name=login]", EVA)
    tab.page.fill("input[name=password]", "any")
    tab.page.click("button[type=submit]")
    tab.page.click("button[type=submit]")
    tab.page.wait_for_url(f"{tab.url}/**")


def autoresponder(tab: tabs.Tab) -> None:
    """Bert is away, and looks at the answer before he saves it."""
    tab.page.click("nav.wide >> text=Autoresponder")
    tab.page.check("[name='autoresponder.enabled']")
    tab.page.fill("[name='autoresponder.subject']", "I am away")
    tab.page.fill("[name='autoresponder.text']", "Dear [FROMNAME], I am back on Monday.")
    tab.page.uncheck("[name='autoresponder.only_if_addressed']")
    tab.page.fill("#sender_name", "Anna")
    tab.page.fill("#sender", "anna@office.lan")
    tab.page.click("button >> text=Show the answer")
    assert "Dear Anna, I am back on Monday." in tab.page.inner_text("section"), text(tab)
    tab.page.click("main button[value=save]")
    assert "on" in tab.page.inner_text(".badge >> nth=0")


def send(house: Office) -> None:
    """Anna's mail program."""
    with smtplib.SMTP("127.0.0.1", house.port(587)) as client:
        client.login("anna", house.passwords["anna"])
        for name in ("bert", "verkauf"):
            client.sendmail("anna@office.lan", [f"{name}@office.lan"], MAIL.format(name))


def test_a_new_user(house: Office, provider: tuple[Oidc, Provider]) -> None:
    _, dovecot = provider
    with tabs.running() as chrome:
        def seat(name: str) -> tabs.Tab:
            made = tabs.Tab(chrome, f"http://localhost:{house.port(6080)}", language="en-GB")
            made.login(name, house.passwords[name])
            return made

        chef = seat("chef")
        accounts(chef, house)
        group(chef)
        eva = seat("eva")
        consent(eva)
        dovecot.put(EVA, "1.a.b", FAR)
        bert = seat("bert")
        autoresponder(bert)
        send(house)
        assert b"Subject: Hallo bert" in house.arrived("bert")[0]
        assert b"Subject: Hallo verkauf" in house.arrived("chef")[0]
        assert b"I am back on Monday" in house.arrived("anna")[0]
        chef.page.click("nav.wide >> text=Trace a mail")
        chef.page.fill("#q", "bert@walk")
        chef.page.click("button >> text=Trace >> nth=-1")
        assert re.search("bert", text(chef)), text(chef)
        eva.go("/my/sources")
        if eva.page.locator("button >> text=Fetch now").count():
            eva.page.click("button >> text=Fetch now")
        assert any(b"Subject: Angebot" in one for one in house.arrived("eva", 2))
        eva.go("/my/sources")
        assert "fetched" in text(eva)
        assert [one for tab in (chef, eva, bert) for one in tab.wrong if tab.url in one] == []
