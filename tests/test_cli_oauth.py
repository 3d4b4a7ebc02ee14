"""`lanmail oauth` as people type it: apps, logging in, status, the end of a log-in."""

import asyncio
import json
import re
import stat
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click.testing
import pytest

from lanmail import admin, config, paths
from lanmail.oauth import apps, consent, health, pending, store
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from tests.provider import Mailserver, Provider, granted, id_token
from tests.test_consent import tokens

Run = Callable[..., click.testing.Result]
EVA = "eva@firma.example"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text(config.sample())
    (found.accounts / "eva.toml").write_text('full_name = "Eva"\npostmaster = true\n')
    return found


@pytest.fixture
def run(where: paths.Paths) -> Run:
    def lanmail(*arguments: str, code: int = 0, text: str | None = None) -> click.testing.Result:
        command = ["oauth", *arguments, "--root", str(where.root)]
        result = click.testing.CliRunner().invoke(admin.cli, command, input=text)
        assert result.exit_code == code, result.output
        return result

    return lanmail


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(token=[granted()], revoke=[(200, b"")]) as found:
        yield found


@pytest.fixture
def mail() -> Iterator[Mailserver]:
    with Mailserver() as found:
        found.good = {EVA: "access-1"}
        yield found


def make(where: paths.Paths, provider: Provider, name: str = "test", **more: Any) -> apps.App:
    """An app in conf/."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in provider.settings(**more).items()
             if not isinstance(value, dict)]
    for key, value in provider.settings(**more).items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{inner} = {json.dumps(said)}" for inner, said in value.items())]
    (where.conf / "apps").mkdir(exist_ok=True)
    (where.conf / "apps" / f"{name}.toml").write_text("\n".join(lines) + "\n")
    return apps.load(where, name)


def signed_in(where: paths.Paths, app: apps.App, address: str = EVA, **more: Any) -> store.Record:
    return asyncio.run(consent.adopt(where, app, pending.Wish(app.name, address, "eva"), tokens(**more)))


def test_an_app_of_a_known_provider(run: Run, where: paths.Paths) -> None:
    said = run("app", "add", "google", "--preset", "google", "--client-id", "4711", "--secret-stdin",
               text="GOCSPX-geheim\n").stdout
    assert "geheim" not in said
    secret = where.secrets / "oauth-google"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("GOCSPX-geheim\n", 0o600)
    assert (where.conf / "apps/google.toml").read_text() == (
        'preset = "google"\nclient_id = "4711"\nclient_secret = "file:secrets/oauth-google"\n')
    assert "http://localhost" in said
    (row,) = json.loads(run("app", "list", "--json").stdout)
    assert (row["app"], row["title"], row["addresses"], row["problem"]) == ("google", "Google", 0, None)
    assert "google" in run("app", "list").stdout
    run("app", "add", "google", "--preset", "google", "--client-id", "1", "--public", code=73)


def test_presets_are_listed(run: Run) -> None:
    names = [row["preset"] for row in json.loads(run("app", "list", "--presets", "--json").stdout)]
    assert {"google", "microsoft-business", "microsoft-personal"} <= set(names)


def test_an_app_of_a_provider_that_describes_itself(run: Run, where: paths.Paths, provider: Provider) -> None:
    told = {"issuer": provider.url, "authorization_endpoint": f"{provider.url}/authorize",
            "token_endpoint": f"{provider.url}/token", "revocation_endpoint": f"{provider.url}/revoke",
            "authorization_response_iss_parameter_supported": True}
    provider.script["/meta"] = [(200, told)]
    run("app", "add", "other", "--metadata", f"{provider.url}/meta", "--client-id", "x", "--public",
        "--set", "scopes.imap=mail,offline_access", "--set", "use=imap", "--set", "timeout=5")
    app = apps.load(where, "other")
    assert (app.issuer, app.token_url) == (provider.url, f"{provider.url}/token")
    assert app.revoke_url == f"{provider.url}/revoke"
    assert (app.scopes, app.use, app.timeout) == ({"imap": ["mail", "offline_access"]}, ["imap"], 5)
    provider.script["/meta"] = [(200, told | {"authorization_response_iss_parameter_supported": False})]
    run("app", "add", "older", "--metadata", f"{provider.url}/meta", "--client-id", "x", "--public",
        "--set", "scopes.imap=mail")
    assert apps.load(where, "older").issuer == ""
    provider.script["/meta"] = [(404, b"<h1>nothing</h1>")]
    assert "no description" in run("app", "add", "third", "--metadata", f"{provider.url}/meta", "--client-id", "x",
                                   "--public", code=65).stderr


def test_what_cannot_be_an_app_leaves_nothing_behind(run: Run, where: paths.Paths) -> None:
    run("app", "add", "bad", "--preset", "no-such", "--client-id", "x", "--public", code=78)
    run("app", "add", "bad", "--preset", "google", "--client-id", "x", "--set", "nonsense=1", "--public", code=64)
    said = run("app", "add", "bad", "--preset", "google", "--client-id", "x", "--set", "client_secret=geheim", code=64)
    assert "geheim" not in said.output
    run("app", "add", "../../etc/x", "--preset", "google", "--client-id", "x", "--public", code=78)
    assert apps.names(where) == []
    assert not list(where.secrets.glob("oauth-*")) if where.secrets.exists() else True


def test_the_id_of_a_secret_is_noticed(run: Run) -> None:
    said = run("app", "add", "azure", "--preset", "microsoft-business", "--client-id", "x", "--secret-stdin",
               text="0a1b2c3d-0000-4000-8000-123456789abc\n").stdout
    assert "looks like its id" in said
    assert "client_secret_expires" in said


def test_an_app_is_changed(run: Run, where: paths.Paths, provider: Provider) -> None:
    make(where, provider)
    signed_in(where, apps.load(where, "test"))
    assert "needs a new log-in" not in run("app", "edit", "test", "client_secret_expires=2027-05-31").stdout
    assert f"oauth login {EVA}" in run("app", "edit", "test", "use=imap").stdout
    run("app", "edit", "test", "client_secret_expires=", "timeout=9")
    app = apps.load(where, "test")
    assert (app.client_secret_expires, app.use, app.timeout) == ("", ["imap"], 9)
    before = (where.conf / "apps/test.toml").read_text()
    run("app", "edit", "test", "timeout=many", code=78)
    assert (where.conf / "apps/test.toml").read_text() == before
    run("app", "edit", "test", "--secret-stdin", text="neu\n")
    assert apps.load(where, "test").client_secret == "file:secrets/oauth-test"
    run("app", "edit", "nobody", "use=imap", code=65)


def test_an_app_in_use_is_removed_only_by_force(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider))
    with (where.accounts / "eva.toml").open("a") as file:
        file.write(f'[outgoing]\nhost = "smtp.example"\nauth = "oauth2"\napp = "test"\nuser = "{EVA}"\n')
    said = run("app", "remove", "test", code=65)
    assert f"used by {EVA}\n" in said.stdout
    assert "[outgoing] of eva" in said.stdout
    assert apps.names(where) == ["test"]
    run("app", "remove", "test", "--force")
    assert apps.names(where) == []
    record, access = Store(where).read("test", EVA), Store(where).access("test", EVA)
    assert record is not None
    assert access is not None
    assert (record.state, access.state) == ("needs_consent", "needs_consent")
    assert record.refresh == Secret("refresh-1"), "the bytes stay until somebody consents anew"


def answer_of(text: str, **more: str) -> str:
    """What a browser would come back with, for the link that was printed."""
    found = re.search(r"[?&]state=([\w-]+)", text)
    assert found
    return f"http://localhost/?code=the-code&state={found[1]}" + "".join(f"&{k}={v}" for k, v in more.items())


class Browser(threading.Thread):
    """Follows the link that a command prints, as soon as it has printed it."""

    def __init__(self, where: paths.Paths, query: str) -> None:
        super().__init__(daemon=True)
        self.where, self.query, self.page = where, query, ""

    def run(self) -> None:
        folder, limit = pending.Folder(self.where), time.monotonic() + 30
        while time.monotonic() < limit:
            asked = next((one.asked for one in folder.list() if one.asked is not None), None)
            if asked is not None:
                url = f"{asked.redirect}/?state={asked.state}&{self.query}"
                with urllib.request.urlopen(url, timeout=30) as answer:
                    self.page = answer.read().decode()
                return
            time.sleep(0.02)


def test_logging_in_by_a_link(run: Run, where: paths.Paths, provider: Provider, mail: Mailserver) -> None:
    make(where, provider, servers={"smtp": f"localhost:{mail.port}"})
    provider.script["/token"] = [granted(id_token=id_token(email=EVA))]
    browser = Browser(where, "code=the-code")
    Store(where).prepare()
    browser.start()
    said = run("login", "Eva@firma.example", "--account", "eva", "--link").stdout
    browser.join(5)
    assert "You are logged in" in browser.page
    assert f"SMTP localhost:{mail.port}: ok" in said
    assert "ssh -L" in said
    assert "access-1" not in said
    (row,) = json.loads(run("status", "--json").stdout)
    assert (row["address"], row["account"], row["state"], row["level"]) == (EVA, "eva", "ok", 0)
    assert mail.tried == [(EVA, "access-1")]


def test_a_declined_login(run: Run, where: paths.Paths, provider: Provider) -> None:
    make(where, provider)
    Store(where).prepare()
    browser = Browser(where, "error=access_denied&error_description=Not+today")
    browser.start()
    assert "access_denied: Not today" in run("login", EVA, "--link", code=77).stderr
    browser.join(5)
    assert "Not today" in browser.page
    assert not list(Store(where).all())
    assert not list(pending.Folder(where).list())


def test_nobody_comes(run: Run, where: paths.Paths, provider: Provider) -> None:
    make(where, provider)
    assert "within 0 seconds" in run("login", EVA, "--link", "--timeout", "0", code=75).stderr
    assert not list(pending.Folder(where).list())


def test_pasting_the_address_line(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider)
    Store(where).prepare()
    asked = consent.ask(where, app, pending.Wish("test", EVA))
    said = run("login", EVA, "--paste", text=f"nonsense?\n?code=1&state=other\n{answer_of(asked.url)}\n")
    assert "copy the whole address line" in said.stderr
    assert "finished already, or that is too old" in said.stderr
    assert "no mail server is known" in said.stdout
    assert provider.requests[0][1]["code_verifier"] == asked.verifier
    assert Store(where).read("test", EVA) is not None


def test_mail_that_waited_for_the_login_is_fetched_at_once(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider)
    keys = f'interface = "standard"\nhost = "127.0.0.1"\nport = 9\nauth = "oauth2"\napp = "test"\nuser = "{EVA}"\n'
    with (where.accounts / "eva.toml").open("a") as file:
        file.write(f'[sources.mine]\n{keys}[sources.other]\n{keys.replace(EVA, "max@firma.example")}')
    Store(where).prepare()
    asked = consent.ask(where, app, pending.Wish("test", EVA))
    said = run("login", EVA, "--paste", "--no-test", text=answer_of(asked.url) + "\n").stdout
    assert "trying" not in said
    assert [one.name for one in (where.state / "fetched" / "request").iterdir()] == ["eva,mine"]


def test_a_link_by_mail(run: Run, where: paths.Paths, provider: Provider) -> None:
    make(where, provider)
    said = run("login", EVA, "--mail").stdout
    (entry,) = (where.queue / "new").iterdir()
    text = entry.read_text()
    assert "X-Sender: <>" in text
    assert "X-Receiver: <eva@" in text
    assert "Auto-Submitted: auto-generated" in text
    assert f"oauth login {EVA} --app test --paste" in text
    assert f"oauth login {EVA} --app test --paste" in said
    run("login", EVA, "--paste", text=answer_of(text) + "\n")
    assert Store(where).read("test", EVA) is not None


def test_logging_in_with_a_code_or_else_by_a_link(run: Run, where: paths.Paths, provider: Provider,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    make(where, provider, device_url=f"{provider.url}/device")
    code = {"device_code": "d", "user_code": "WXYZ", "verification_uri": "https://id.example/dev", "interval": 1}
    provider.script["/device"] = [(200, code)]
    monkeypatch.setenv("SSH_CONNECTION", "::1 1 ::1 22")
    monkeypatch.setattr("lanmail.oauth.device.pause", lambda _seconds: asyncio.sleep(0))
    said = run("login", EVA).stdout
    assert "WXYZ" in said
    assert "https://id.example/dev" in said
    provider.script["/device"] = [(400, {"error": "unauthorized_client"})]
    browser = Browser(where, "code=the-code")
    browser.start()
    said = run("login", EVA, "--device").stdout
    browser.join(5)
    assert "no log-in by a code: HTTP 400 unauthorized_client" in said
    assert "You are logged in" in browser.page


def test_the_wrong_person_and_a_refused_token_change_nothing(run: Run, where: paths.Paths, provider: Provider,
                                                             mail: Mailserver) -> None:
    app = make(where, provider, servers={"smtp": f"localhost:{mail.port}"})
    signed_in(where, app, access=Secret("old"))
    for answer, words in ((granted(id_token=id_token(email="max@firma.example")), "--as max@firma.example"),
                          (granted(access_token="unknown"), "no mail server takes the token")):
        provider.script["/token"] = [answer]
        asked = consent.ask(where, app, pending.Wish("test", EVA))
        said = run("login", EVA, "--paste", text=answer_of(asked.url) + "\n", code=65)
        assert words in said.stderr
        assert "nothing was changed" in said.stderr
    access = Store(where).access("test", EVA)
    assert access is not None
    assert access.secret == Secret("old")


def test_which_app_is_meant(run: Run, where: paths.Paths, provider: Provider) -> None:
    assert "there is none yet" in run("login", EVA, code=64).stderr
    make(where, provider, "one")
    make(where, provider, "two")
    assert "one, two" in run("login", EVA, code=64).stderr
    assert "no account 'nobody'" in run("login", EVA, "--app", "one", "--account", "nobody", code=67).stderr
    with (where.accounts / "eva.toml").open("a") as file:
        file.write('[sources.a]\ninterface = "standard"\nhost = "imap.example"\nauth = "oauth2"\napp = "two"\n'
                   f'user = "{EVA}"\n')
    said = run("login", EVA, "--timeout", "0", "--link", code=75)
    assert "log in as eva@firma.example" in said.stdout


def test_status_says_how_bad_it_is(run: Run, where: paths.Paths, provider: Provider) -> None:
    app, kept = make(where, provider), Store(where)
    assert "no tokens yet" in run("status").stdout
    record = signed_in(where, app)
    assert run("status").stdout.count(EVA) == 1
    record.failing, record.error = time.time(), {"text": "HTTP 503: busy"}
    kept.save(record)
    assert "HTTP 503: busy" in run("status", code=1).stdout
    signed_in(where, app, expires=time.time() - 400)
    assert "does lanmail-tokend run?" in run("status", code=2).stdout
    record = signed_in(where, app)
    record.state, record.why = store.NEEDS_CONSENT, "the password was changed"
    kept.save(record)
    kept.mark(record, store.NEEDS_CONSENT)
    said = run("status", code=2).stdout
    assert "the password was changed" in said
    assert f"oauth login {EVA} --app test" in said
    signed_in(where, app)
    run("app", "edit", "test", f"client_secret_expires={date.today() + timedelta(days=10)}")
    assert "in 10 days" in run("status", code=1).stdout
    run("app", "edit", "test", "client_secret_expires=2020-01-01")
    run("status", code=2)
    assert "nobody has logged in" in run("status", "max@firma.example", code=2).stdout


def test_status_of_what_is_damaged(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider)
    signed_in(where, app)
    signed_in(where, app, "max@firma.example")
    (where.state / "oauth/refresh/test/eva@firma.example.json").write_text("{")
    rows = {row["address"]: row for row in json.loads(run("status", "--json", code=2).stdout)}
    assert rows[EVA]["level"] == health.BROKEN
    assert rows["max@firma.example"]["level"] == health.OK


def test_signing_out(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider, end_session_url="https://id.example/logout")
    signed_in(where, app)
    consent.ask(where, app, pending.Wish("test", EVA))
    assert "https://id.example/logout" in run("signout", EVA).stdout
    assert not list(Store(where).all())
    assert Store(where).access("test", EVA) is None
    assert not list(pending.Folder(where).list())
    assert not provider.requests
    run("signout", EVA, code=67)


def test_revoking(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider, revoke_url=f"{provider.url}/revoke")
    signed_in(where, app)
    signed_in(where, app, "max@firma.example")
    run("revoke", EVA, "max@firma.example")
    assert provider.requests[0] == ("/revoke", {"token": "refresh-1", "token_type_hint": "refresh_token",
                                                "client_id": "us"})
    assert not list(Store(where).all())


@pytest.mark.parametrize("answer", [(400, {"error": "invalid_token"}), (503, b"<h1>busy</h1>")])
def test_a_provider_that_does_not_take_it_back(run: Run, where: paths.Paths, provider: Provider,
                                               answer: tuple[int, Any]) -> None:
    """The error is shown, and the tokens here are deleted nevertheless."""
    provider.script["/revoke"] = [answer]
    signed_in(where, make(where, provider, revoke_url=f"{provider.url}/revoke", consent_page="https://id.example/apps"))
    said = run("revoke", EVA, code=3)
    assert f"HTTP {answer[0]}" in said.stderr
    assert "https://id.example/apps" in said.stderr
    assert not list(Store(where).all())
    assert Store(where).access("test", EVA) is None


def test_a_provider_that_cannot_be_asked(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider))
    assert "has no revoke_url" in run("revoke", EVA, code=69).stderr
    assert len(list(Store(where).all())) == 1, "not offered, so nothing is deleted"
    make(where, provider, revoke_url="http://127.0.0.1:9/revoke")
    assert "no connection" in run("revoke", EVA, code=3).stderr
    assert not list(Store(where).all())


def test_the_token_for_other_programs(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider))
    assert run("token", EVA).stdout == "access-1\n"
    record = Store(where).read("test", EVA)
    assert record is not None
    Store(where).mark(record, store.NEEDS_CONSENT)
    said = run("token", EVA, code=69)
    assert said.stdout == ""
    assert "has to log in" in said.stderr


def test_trying_the_token(run: Run, where: paths.Paths, provider: Provider, mail: Mailserver) -> None:
    signed_in(where, make(where, provider))
    run("test", EVA, code=78)
    make(where, provider, servers={"smtp": f"localhost:{mail.port}"})
    assert f"SMTP localhost:{mail.port}: ok" in run("test", EVA).stdout
    mail.good = {}
    (row,) = json.loads(run("test", EVA, "--json", code=1).stdout)
    assert (row["protocol"], row["verdict"]) == ("smtp", "refused")
