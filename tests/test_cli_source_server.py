"""`lanmail source add`, `test` and `fetch` against a real server, and what is said when something is wrong."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config
from lanmail.clients.resolver import Resolver
from lanmail.sources import explain, providers
from tests import ports
from tests.dnsstub import Stub
from tests.dovecot import PASSWORD, Dovecot
from tests.fetchroot import Root, message

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with Dovecot() as made:
        for number in range(3):
            made.add(message(number))
        yield made


@pytest.fixture
def office(tmp_path: Path) -> Root:
    root = Root(tmp_path)
    (root.paths.accounts / "meier.toml").write_text("disabled = false\n")
    return root


def run(root: Root, *words: str, code: int = 0, given: str | None = None) -> str:
    done = click.testing.CliRunner().invoke(admin.cli, ["source", *words, "--root", str(root.paths.root)], input=given)
    assert done.exit_code == code, done.output
    return done.output


def there(server: Dovecot, service: str = "imaps") -> list[str]:
    return ["--host", "127.0.0.1", "--port", str(server.port(service)), "--tls",
            "implicit" if service.endswith("s") else "none", "--protocol", service.rstrip("s")]


@contextlib.contextmanager
def fetching(root: Root) -> Iterator[None]:
    """lanmail-fetchmail, as it runs always."""
    code = "from lanmail import fetchmail; fetchmail.main()"
    with subprocess.Popen([sys.executable, "-c", code, "--root", str(root.paths.root)], cwd=HERE,
                          stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@pytest.mark.slow
@pytest.mark.parametrize("service", ["imaps", "pop3"])
def test_add_tries_the_log_in_and_then_mail_comes(office: Root, server: Dovecot, service: str) -> None:
    said = run(office, "add", "meier", "meier", *there(server, service), "--tls-ca", str(server.ca), "--name", "far",
               "--password-stdin", given=f"{PASSWORD}\n")
    assert "mails         3" in said
    assert ("SHA-256" in said) is (service == "imaps")
    assert "meier/far made" in said
    assert PASSWORD not in said
    assert config.load_account(office.paths.accounts / "meier.toml").sources["far"].interface == "standard"
    found = json.loads(run(office, "test", "far", "--json"))
    assert (found["problem"], found["messages"], found["login"] != "") == (None, 3, True)
    assert found["oldest"].startswith("Sat, 22 Nov 2025")
    with fetching(office):
        assert "meier/far: " in run(office, "fetch", "far")
        told = json.loads(run(office, "fetch", "--all", "--json"))
        assert [(one["source"], one["fetched"], one["problem"]) for one in told] == [("meier/far", 0, None)]
        assert "1 mails forgotten" not in run(office, "forget", "far", "--yes")
        again = json.loads(run(office, "fetch", "far", "--json"))
        assert again[0]["fetched"] == 3
    assert len(office.mails()) == 6
    assert " ok " in run(office, "list")


def test_nothing_is_stored_when_the_log_in_is_refused(office: Root, server: Dovecot) -> None:
    said = run(office, "add", "meier", "meier", *there(server, "imap"), "--password-stdin", given="falsch\n", code=77)
    assert "User name or password is wrong" in said
    assert "nothing was stored" in said
    assert not list(office.paths.secrets.iterdir())
    assert "sources" not in (office.paths.accounts / "meier.toml").read_text()
    run(office, "add", "meier", "meier", *there(server, "imap"), "--password-stdin", "--no-test", given="falsch\n")
    said = run(office, "test", "mailbox", code=77)
    assert "lanmail source passwd meier/mailbox" in said
    assert "falsch" not in said


def test_an_unknown_certificate_is_shown_and_can_be_pinned(office: Root, server: Dovecot) -> None:
    said = run(office, "add", "meier", "meier", *there(server), "--password-stdin", given=f"{PASSWORD}\n", code=69)
    assert "Nobody known vouches for the certificate" in said
    pin = said.split("it shows: ")[1].split("SHA-256 ")[1].split()[0]
    run(office, "add", "meier", "meier", *there(server), "--tls-fingerprint", pin, "--password-stdin",
        given=f"{PASSWORD}\n")
    assert "64 hex" in run(office, "add", "meier", "meier", *there(server), "--tls-fingerprint", "00", "--name", "b",
                           "--password-stdin", given="x\n", code=65)


def test_what_is_missing_is_said_before_a_password_is_asked_for(office: Root) -> None:
    assert "only OAuth2" in run(office, "add", "meier", "x@outlook.com", code=64)
    assert "name it with --host" in run(office, "add", "meier", "x", code=64)
    assert "no provider 'nix' is known" in run(office, "add", "meier", "x@a.example", "--provider", "nix", code=64)
    assert "offers no POP3" in run(office, "add", "meier", "x@icloud.com", "--protocol", "pop3", code=64)
    assert "there is no account 'nobody'" in run(office, "add", "nobody", "x@gmx.de", code=67)
    office.source("a", host="a.example", user="x")
    assert "password is not set" in run(office, "test", "a", code=78)
    assert "there is a source 'a' already" in run(office, "add", "meier", "x@gmx.de", "--name", "a", code=65)


def test_fetch_says_that_nobody_fetches(office: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanmail.cli.source.fetching.TAKEN", 0.2)
    office.source("a", host="127.0.0.1", port=ports.free(), user="x", password="file:secrets/x")
    assert "is lanmail-fetchmail running?" in run(office, "fetch", "a", code=69)
    assert "asked for meier/a" in run(office, "fetch", "a", "--no-wait")
    office.source("a", interface="disabled")
    assert "is switched off" in run(office, "fetch", "a", code=78)


@pytest.mark.slow
def test_fetch_tells_what_went_wrong(office: Root) -> None:
    office.source("a", host="127.0.0.1", port=ports.free(), user="x", password=office.secret("x", "y"), tls="none")
    with fetching(office):
        said = run(office, "fetch", "a", code=74)
    assert "Connection refused" in said
    assert "nothing listens on this port" in said
    assert "failing" in run(office, "list", code=1)


@pytest.mark.parametrize(("text", "host", "advice"), [
    ("the name nix.example cannot be resolved: Name or service not known", "nix.example", "no server of this name"),
    ("log-in as x refused: [ALERT] Application-specific password required", "imap.gmail.com", "app password"),
    ("log-in as x refused: LOGIN failed.", "outlook.office365.com", "only OAuth2"),
    ("log-in as x refused: authentication failed", "imap.gmx.net", "POP3/IMAP Abruf"),
    ("log-in as x refused: Your account is not enabled for IMAP use", "imap.gmail.com", "switched off for the mailbox"),
    ("log-in as x refused: BasicAuthBlocked", "imap.far.example", "takes no passwords from mail programs"),
    ("a: the server's certificate is not trusted: Hostname mismatch, it is not valid for 'a'", "a", "another name"),
    ("a: the server's certificate is not trusted: certificate has expired", "a", "has expired"),
    ("a: TLS handshake: wrong version number", "a", "does not speak TLS at once"),
    ("the connection is not encrypted, so the password is not sent", "a", "only goes out over TLS"),
    ("[IN-USE] mailbox is locked by another session", "a", "one reader at a time"),
])
def test_advice(text: str, host: str, advice: str) -> None:
    assert advice in " ".join(explain.advice(text, host))


def test_no_advice_for_what_nobody_knows() -> None:
    assert explain.advice("the moon is full", "a.example") == []


def test_every_provider_can_be_used() -> None:
    seen: set[str] = set()
    for one in providers.known().values():
        assert one.imap, one
        assert not seen & set(one.domains), one
        seen |= set(one.domains)
        assert providers.of_server(one.imap) is not None
    found = providers.of_address("GMX.de")
    assert found is not None
    assert (found.imap, found.pop3) == ("imap.gmx.net", "pop.gmx.net")
    assert providers.of_address("notgmx.de") is None


async def test_a_companys_domain_is_found_by_its_mx() -> None:
    records: dict[tuple[str, str], list[str] | str] = {
        ("firma.example", "MX"): ["10 mx00.ionos.de."],
        ("office.example", "MX"): ["0 office-example.mail.protection.outlook.com."],
        ("own.example", "MX"): ["10 mail.own.example."], ("mute.example", "MX"): "SERVFAIL"}
    async with Stub(records) as stub:
        resolver = Resolver(lambda: stub.address)
        names = {}
        for domain in ("firma", "office", "own", "mute", "none"):
            found = await providers.by_mx(f"{domain}.example", resolver)
            names[domain] = found.name if found is not None else None
    assert names == {"firma": "ionos", "office": "office365", "own": None, "mute": None, "none": None}
