"""`lanmail oauth doctor`: the list of checks, and what it advises."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from lanmail import admin, config, paths
from lanmail.cli.oauth import doctor
from lanmail.oauth import appstate, store
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from tests.provider import Mailserver, Provider
from tests.test_cli_oauth import EVA, make, signed_in

Run = Callable[..., dict[str, Any]]
GUID = "0a1b2c3d-0000-4000-8000-123456789abc"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.secrets.mkdir()
    found.config_file.write_text(config.sample())
    return found


@pytest.fixture
def run(where: paths.Paths) -> Run:
    def look(code: int = 0) -> dict[str, Any]:
        command = ["oauth", "doctor", EVA, "--app", "test", "--json", "--root", str(where.root)]
        result = click.testing.CliRunner().invoke(admin.cli, command)
        assert result.exit_code == code, result.output
        said: dict[str, Any] = json.loads(result.stdout)
        said["by"] = {check["what"]: check for check in said["checks"]}
        return said

    return look


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(token=[(400, {"error": "invalid_request"})], meta=[(200, {})]) as found:
        yield found


def jwt(**claims: Any) -> Secret:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return Secret(f"e30.{body}.x")


def test_all_is_well(run: Run, where: paths.Paths, provider: Provider) -> None:
    with Mailserver() as mail:
        mail.good = {EVA: "access-1"}
        signed_in(where, make(where, provider, servers={"smtp": f"localhost:{mail.port}"},
                              metadata_url=f"{provider.url}/meta"))
        (where.accounts / "eva.toml").write_text(
            f'[outgoing]\nhost = "localhost"\nport = {mail.port}\nauth = "oauth2"\napp = "test"\nuser = "{EVA}"\n')
        said = run()
        assert {check["good"] for check in said["checks"]} == {True}
        assert said["by"]["settings"]["text"] == "used by [outgoing] of eva"
        assert said["by"][f"SMTP localhost:{mail.port}"]["good"]
        assert said["powershell"] == []
        assert len(mail.tried) == 1, "conf and the provider name the same server"
        command = ["oauth", "doctor", EVA, "--root", str(where.root)]
        text = click.testing.CliRunner().invoke(admin.cli, command).stdout
        assert all(line.startswith(("ok", "    ")) for line in text.splitlines())


def test_nobody_has_logged_in(run: Run, where: paths.Paths, provider: Provider) -> None:
    make(where, provider)
    said = run(code=1)
    assert "nobody has logged in" in said["by"]["log-in"]["text"]
    assert "oauth login" in said["by"]["log-in"]["advice"]
    assert said["by"]["settings"]["good"] is None


def test_the_provider_is_away_or_another(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider, metadata_url="http://127.0.0.1:9/"))
    assert "proxy" in run(code=1)["by"]["provider"]["advice"]
    make(where, provider, metadata_url=f"{provider.url}/nothing")
    assert run(code=1)["by"]["provider"]["advice"] == "is tenant right?"


def test_what_is_wrong_with_a_secret(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider, client_secret="file:secrets/s"))
    assert "cannot be read" in run(code=1)["by"]["secret"]["text"]
    secret = where.secrets / "s"
    secret.touch(mode=0o600)
    assert "is empty" in run(code=1)["by"]["secret"]["text"]
    secret.write_text(GUID + "\n")
    assert "looks like the secret's id" in run(code=1)["by"]["secret"]["text"]
    secret.write_text("real\n")
    assert run()["by"]["secret"]["text"] == "is there"
    make(where, provider, client_secret="file:secrets/s", client_secret_expires="2020-01-01")
    assert not run(code=1)["by"]["secret's end"]["good"]


def test_a_log_in_that_is_over(run: Run, where: paths.Paths, provider: Provider) -> None:
    kept = Store(where)
    app = make(where, provider)
    record = signed_in(where, app)
    record.state, record.why = store.NEEDS_CONSENT, "the password was changed"
    record.error, record.failing = {"text": "AADSTS50173"}, time.time()
    kept.save(record)
    said = run(code=1)["by"]
    assert "the password was changed" in said["log-in"]["text"]
    assert said["last error"]["text"] == "AADSTS50173"
    record = signed_in(where, app, scope="IMAP")
    assert run(code=1)["by"]["scopes"]["text"] == "not granted: SMTP"
    record = signed_in(where, app)
    record.testing = True
    kept.save(record)
    assert "publish" in run(code=1)["by"]["Testing"]["advice"]


def test_a_token_that_ended_is_not_tried(run: Run, where: paths.Paths, provider: Provider) -> None:
    with Mailserver() as mail:
        app = make(where, provider, servers={"smtp": f"localhost:{mail.port}"})
        signed_in(where, app, expires=time.time() - 600)
        assert "does it run?" in run(code=1)["by"]["token"]["advice"]
        assert mail.tried == [], "servers punish wrong log-ins"


def test_an_app_that_is_refused(run: Run, where: paths.Paths, provider: Provider) -> None:
    app = make(where, provider)
    signed_in(where, app)
    state = appstate.AppState("test")
    appstate.refused(state, appstate.stamp(where, app), {"text": "AADSTS7000222: expired"})
    appstate.save(where, state)
    assert "AADSTS7000222" in run(code=1)["by"]["app's standing"]["text"]
    command = ["oauth", "status", "--json", "--root", str(where.root)]
    (row,) = json.loads(click.testing.CliRunner().invoke(admin.cli, command).stdout)
    assert row["level"] == 2
    assert any("AADSTS7000222" in text for text in row["findings"])


def test_keys_that_are_gone(run: Run, where: paths.Paths, provider: Provider) -> None:
    signed_in(where, make(where, provider))
    for path in where.secrets.glob("*.keys"):
        path.unlink()
    assert "are not there" in run(code=1)["by"]["keys"]["text"]


MICROSOFT = "https://login.microsoftonline.com/firma.example/oauth2/v2.0/token"


def test_the_lines_for_an_app_without_a_person(run: Run, where: paths.Paths, provider: Provider,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled in with the app's id, the mailbox, and the object id that stands in the token."""
    app = make(where, provider, grant="client_credentials", client_secret="file:secrets/s", client_id="app-id",
               token_url=MICROSOFT, metadata_url=f"{provider.url}/meta")
    (where.secrets / "s").touch(mode=0o600)
    (where.secrets / "s").write_text("x")
    roles = ["IMAP.AccessAsApp"]
    signed_in(where, app, access=jwt(oid=GUID, roles=roles), scope="")
    said = run(code=1)
    assert said["powershell"] == [
        "Connect-ExchangeOnline",
        f"New-ServicePrincipal -AppId 'app-id' -ObjectId '{GUID}' -DisplayName 'lanmail'",
        f"Add-MailboxPermission -Identity '{EVA}' -User '{GUID}' -AccessRights FullAccess",
        f"Add-RecipientPermission -Identity '{EVA}' -Trustee '{GUID}' -AccessRights SendAs",
    ]
    assert said["by"]["permissions"]["text"] == "missing: SMTP.SendAsApp"
    signed_in(where, app, access=Secret("opaque"), scope="")
    lines = run()["powershell"]
    assert "$id = Read-Host 'Object ID'" in lines
    assert any(line.startswith("New-ServicePrincipal") and "-ObjectId $id" in line for line in lines)


def test_the_line_for_smtp_that_is_switched_off(run: Run, where: paths.Paths, provider: Provider) -> None:
    with Mailserver("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled") as mail:
        signed_in(where, make(where, provider, token_url=MICROSOFT, metadata_url=f"{provider.url}/meta",
                              servers={"smtp": f"localhost:{mail.port}"}))
        said = run(code=1)
    assert f"Set-CASMailbox -Identity '{EVA}' -SmtpClientAuthenticationDisabled $false" in said["powershell"]
    assert 'transport = "graph"' in said["by"][f"SMTP localhost:{mail.port}"]["advice"]


@pytest.mark.parametrize(("text", "quoted"), [
    ("a@b", "'a@b'"), ("o'neil@b", "'o''neil@b'"), ("o\u2019neil@b", "'o\u2019\u2019neil@b'"), ("$(x)`;", "'$(x)`;'"),
])
def test_nothing_in_an_address_is_run_by_powershell(text: str, quoted: str) -> None:
    assert doctor._quoted(text) == quoted
