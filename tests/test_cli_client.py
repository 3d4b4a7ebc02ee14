"""`lanmail client` in this process: what it makes, shows, changes and refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lanmail import admin
from lanmail.logins import grants
from lanmail.logins.grants import OFFLINE, SCOPES, Register
from tests.mailroot import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path)
    (made.paths.accounts / "meier.toml").write_text("")
    return made


def client(root: Root, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(admin.cli, ["client", *arguments, "--root", str(root.paths.root)],
                              env={"LANMAIL_ROOT": None})
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def added(root: Root, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client(root, "add", "meier", "x", "--json", *arguments))
    return found


def granted(root: Root, client_id: str) -> grants.Issued:
    register = Register(root.paths.state)
    known = register.client(client_id)
    assert known is not None
    return register.grant(client_id, "meier", [*known.scopes, OFFLINE], grants.time.time())


def test_any_number_of_clients_with_ids_and_secrets_of_their_own(root: Root) -> None:
    made = [added(root) for _ in range(3)]
    assert len({one["client_id"] for one in made}) == len({one["client_secret"] for one in made}) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", one["client_id"]) for one in made)
    assert all(re.fullmatch(r"[\w-]{43}", one["client_secret"]) for one in made)
    listed = client(root, "list", "meier")
    assert all(one["client_id"] in listed for one in made)
    assert not any(one["client_secret"] in client(root, "list", "--json") for one in made)


def test_the_urls_to_copy(root: Root) -> None:
    found = json.loads(client(root, "urls", "--json"))
    assert found["scope"] == "IMAP.AccessAsUser.All POP.AccessAsUser.All SMTP.Send offline_access"
    for name in ("authorization", "token", "revocation", "introspection", "end_session", "device_authorization"):
        assert found[f"{name}_endpoint"].startswith(found["issuer"] + "/oauth2/")
        assert found[f"{name}_endpoint"] in client(root, "urls")


@pytest.mark.parametrize(("change", "services"), [
    (("--service", "smtp"), {"smtp"}), (("--disable",), set()),
    (("--service", "imap", "--service", "pop3"), {"imap", "pop3"}),
])
def test_a_change_counts_for_the_tokens_that_are_there(root: Root, change: tuple[str, ...], services: set[str]) -> None:
    made = added(root)
    token = granted(root, made["client_id"]).access
    client(root, "change", made["client_id"], *change)
    assert {one for one in SCOPES if grants.verify_token(root.paths.state, token, service=one)} == services
    known = Register(root.paths.state).client(made["client_id"])
    assert known is not None
    assert known.has_secret(made["client_secret"]), "id and secret stay"


def test_disconnecting_one_log_in_leaves_the_other(root: Root) -> None:
    made = added(root)
    one, other = (granted(root, made["client_id"]) for _ in range(2))
    assert one.consent in client(root, "connected", "meier")
    client(root, "disconnect", one.consent)
    good = [grants.verify_token(root.paths.state, token.access, service="imap") for token in (one, other)]
    assert good == [None, "meier"]
    client(root, "remove", made["client_id"])
    assert grants.verify_token(root.paths.state, other.access, service="imap") is None
    assert "nobody" in client(root, "connected")


@pytest.mark.parametrize(("arguments", "code"), [
    (("add", "nobody", "x"), 67), (("add", "meier", "x", "--redirect", "http://web.example/"), 65),
    (("add", "meier", "x", "--service", "ftp"), 64), (("change", "0" * 32, "--disable"), 67),
    (("change", "../../x", "--disable"), 67), (("remove", "x"), 67), (("disconnect", "x"), 67),
])
def test_what_is_refused(root: Root, arguments: tuple[str, ...], code: int) -> None:
    client(root, *arguments, code=code)
    assert Register(root.paths.state).clients() == []


def test_a_server_that_asks_has_no_services(root: Root) -> None:
    made = json.loads(client(root, "add-server", "Dovecot", "--json"))
    assert made["scopes"] == ["introspect"]
    client(root, "change", made["client_id"], "--service", "imap", code=65)
    client(root, "addon", made["client_id"], "--output", str(root.paths.root / "x.xpi"), code=65)
