"""What an administrator does on the pages, a script does by the API: three accounts, a group, an external mailbox with
consent at its provider, an autoresponder with a look at its answer first; then a mail is handed in, and watched. The
servers and the provider (oidc-provider, Dovecot) are real."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lanmail import config
from lanmail.logins import apikeys
from tests.e2e.office import Office, until
from tests.e2e.provider import Provider
from tests.e2e.submission import Sink
from tests.e2e.test_oauth_consent import add
from tests.oidc import Oidc

pytestmark = pytest.mark.slow
EVA = "eva@firma.example"
FAR = "From: kunde@far.example\nTo: eva@firma.example\nSubject: Angebot\nMessage-ID: <1@far.example>\n\nGuten Tag\n"
MAIL = "From: Anna <anna@office.lan>\nTo: {0}@office.lan\nSubject: Hallo {0}\nMessage-ID: <{0}@script>\n\nhello\n"


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
    """One account, and programs that run."""
    root = tmp_path / "office"
    root.mkdir()
    made = Office(root)
    config.edit(made.where.config_file, {("httpd", "enabled"): True})
    made.account("chef")
    add(made, *provider, "own", "public")
    made.start()
    yield made
    assert made.stop() == 0


class Script:
    """A caller with a key."""

    def __init__(self, house: Office) -> None:
        self.url = f"http://127.0.0.1:{house.port(6080)}/api/v1/"
        self.session = requests.Session()
        self.session.trust_env = False
        key = apikeys.add(house.where.conf / "api.toml", "script", "admin", [])
        self.session.headers["Authorization"] = f"Bearer {key}"

    def call(self, method: str, **given: Any) -> Any:
        answer = self.session.post(self.url + method, json=given, timeout=120).json()
        assert answer["ok"], answer
        return answer["result"]


def test_a_script_sets_an_office_up(house: Office, provider: tuple[Oidc, Provider]) -> None:
    oidc, dovecot = provider
    script = Script(house)
    for name in ("anna", "bert", "eva"):
        script.call("account.create", name=name, password=f"geheim {name} 9")
    assert script.call("account.list")["total"] == 4
    script.call("group.create", name="verkauf", settings={"members": ["eva", "chef"]})

    script.call("external.create", account="eva", address=EVA, name="firma", settings={"app": "own"}, test=False)
    begun = script.call("external.authorize", account="eva", name="firma")
    assert begun["way"] == "paste"
    back = oidc.browse(begun["link"], EVA)
    answered = script.call("external.answer", account="eva", name="firma", answer=back)
    assert answered["consent"]["state"] == "ok", answered
    dovecot.put(EVA, "1.a.b", FAR)
    script.call("external.fetch_now", account="eva", name="firma")

    away = {"enabled": True, "subject": "I am away", "text": "Dear [FROMNAME], I am back on Monday."}
    script.call("account.autoresponder", name="bert", settings=away)
    shown = script.call("account.autoresponder_test", name="bert", sender="anna@office.lan", sender_name="Anna")
    assert "Dear Anna, I am back on Monday." in str(shown)

    for name in ("bert", "verkauf"):
        mail = base64.b64encode(MAIL.format(name).encode()).decode()
        made = script.call("message.submit", **{"from": "anna@office.lan", "to": [f"{name}@office.lan"], "data": mail})
        assert made["id"]
    # others may come before: a visit before the consent fails, and Eva is told of it by a mail
    for name, words in (("bert", b"Subject: Hallo bert"), ("chef", b"Subject: Hallo verkauf"),
                        ("anna", b"I am back on Monday"), ("eva", b"Subject: Angebot")):
        until(lambda name=name, words=words: any(words in one.read_bytes() for one in house.inbox(name)),
              what=f"{words} for {name}")
    # its line is logged right after it came
    until(lambda: "delivered" in str(script.call("message.trace", id=made["id"])), what="the mail's history")
    assert script.call("server.status")["spools"] is not None
