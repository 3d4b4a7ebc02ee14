"""A provider with OAuth2, from the first log-in to its end: oidc-provider, Dovecot, and a running lanmail."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e import office
from tests.e2e.office import BIN, Office
from tests.e2e.provider import Provider
from tests.e2e.submission import Sink
from tests.oidc import SECRET, Oidc

pytestmark = pytest.mark.slow
EVA = "eva@firma.example"
MAIL = "From: kunde@far.example\nTo: eva@firma.example\nSubject: {}\nMessage-ID: <{}@far.example>\n\nGuten Tag\n"


@pytest.fixture(scope="module")
def oidc() -> Iterator[Oidc]:
    with Oidc(life=3600) as found:
        yield found


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def dovecot(oidc: Oidc, sink: Sink) -> Iterator[Provider]:
    made = Provider(oidc.port, sink.port)
    yield made
    made.stop()


@pytest.fixture
def house(new_office: Callable[..., Office], oidc: Oidc, dovecot: Provider) -> Office:
    made = new_office()
    made.account("eva")
    add(made, oidc, dovecot, "own", "public")
    return made


def add(house: Office, oidc: Oidc, dovecot: Provider, name: str, client: str, *more: str, stdin: str = "") -> None:
    """An app by the provider's own description."""
    keys = [*dovecot.servers, "scopes.common=openid,offline_access,email", "scopes.imap=mail", "scopes.pop3=mail",
            "scopes.smtp=mail", *more]
    secret = ["--secret-stdin"] if stdin else ["--public"]
    house.lanmail("oauth", "app", "add", name, "--metadata", f"{oidc.url}/.well-known/openid-configuration",
                  "--client-id", client, *secret, *(word for key in keys for word in ("--set", key)), stdin=stdin)


class Login:
    """`lanmail oauth login` under way: what it printed so far, and its end."""

    def __init__(self, house: Office, *arguments: str, stdin: bool = False) -> None:
        self._process = subprocess.Popen(
            [BIN / "lanmail", "oauth", "login", *arguments, "--root", house.root], text=True,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = ""

    def until(self, pattern: str) -> str:
        """What is printed that looks so."""
        assert self._process.stdout is not None
        while not (found := re.search(pattern, self.said)):
            line = self._process.stdout.readline()
            assert line, self.said
            self.said += line
        return found[0]

    def end(self, text: str | None = None) -> int:
        try:
            self.said += self._process.communicate(text, timeout=60)[0]
        finally:
            self._process.kill()
        return self._process.returncode


def by_link(house: Office, oidc: Oidc, who: str = EVA, *options: str) -> Login:
    """Log in as somebody, with a browser."""
    login = Login(house, EVA, "--link", *options)
    back = oidc.browse(login.until(rf"{oidc.url}/auth\S+"), who)
    page = requests.get(back, headers={"Accept-Language": "de"}, timeout=60)
    login.code = login.end()  # type: ignore[attr-defined]
    login.page = page.text  # type: ignore[attr-defined]
    return login


def status(house: Office) -> list[dict[str, object]]:
    done = house.run(BIN / "lanmail", "oauth", "status", "--json", "--root", house.root, check=False)
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_from_the_first_login_to_its_end(house: Office, oidc: Oidc, dovecot: Provider, sink: Sink) -> None:
    login = by_link(house, oidc)
    assert login.code == 0, login.said  # type: ignore[attr-defined]
    assert "Die Anmeldung ist erfolgt" in login.page  # type: ignore[attr-defined]
    assert [f"{name} localhost:{port}: ok" in login.said for name, port in (
        ("IMAP", dovecot.imap), ("POP3", dovecot.pop3), ("SMTP", dovecot.smtp))] == [True] * 3
    # mail comes in, both ways, and goes out
    account = house.where.accounts / "eva.toml"
    log_in = f'host = "localhost"\nauth = "oauth2"\napp = "own"\nuser = "{EVA}"\n'
    text = account.read_text().replace("\n[outgoing]\n", f"\n[outgoing]\n{log_in}port = {dovecot.smtp}\n", 1)
    text += f'\n[sources.imap]\ninterface = "standard"\n{log_in}port = {dovecot.imap}\nevery = "10s"\n'
    text += f'\n[sources.pop]\ninterface = "standard"\nprotocol = "pop3"\n{log_in}port = {dovecot.pop3}\n'
    account.write_text(text)
    dovecot.put(EVA, "1.a.b", MAIL.format("Angebot", 1))
    house.lanmail("config", "check")
    house.start()
    inbox = house.where.maildirs / "eva" / "new"
    office.until(lambda: len(list(inbox.iterdir())) == 2, what="mail by IMAP and by POP3")
    assert all(b"Subject: Angebot" in one.read_bytes() for one in inbox.iterdir())
    house.run(BIN / "lanmail-sendmail", "-f", "eva", "kunde@far.example", "--root", house.root,
              stdin="Subject: Antwort\n\nja\n")
    office.until(lambda: any(b"Subject: Antwort" in one for one in sink.mails()), what="mail to the outside")
    assert "ok " in house.lanmail("oauth", "doctor", EVA)
    # the provider takes the grant back: readers learn it, somebody is told, a new log-in mends it
    oidc.revoke(EVA)
    office.until(lambda: _expire(house) or status(house)[0]["state"] == "needs_consent", what="the end of the log-in")
    office.until(lambda: any(b"lanmail oauth login" in one.read_bytes() for one in inbox.iterdir()), what="a notice")
    asked = len(oidc.log())
    login = by_link(house, oidc)
    assert login.code == 0, login.said  # type: ignore[attr-defined]
    assert len(oidc.log()) == asked + 1, "only the code was handed in"
    dovecot.put(EVA, "2.a.b", MAIL.format("Nachtrag", 2))
    office.until(lambda: any(b"Nachtrag" in one.read_bytes() for one in inbox.iterdir()), what="mail again")
    # and its end
    token = house.lanmail("oauth", "token", EVA).strip()
    house.lanmail("oauth", "revoke", EVA)
    assert status(house) == []
    gone = house.run(BIN / "lanmail", "oauth", "token", EVA, "--app", "own", "--root", house.root, check=False)
    assert (gone.returncode, gone.stdout) == (69, "")
    assert token not in house.log() + (house.root / "stderr").read_text()


def _expire(house: Office) -> None:
    """Ask for a fresh token, as a program does that was refused; tokend works on one address once a second."""
    request = house.where.state / "tokens" / "request"
    (request / f"own,{EVA},mail,now").touch()
    time.sleep(0.3)


def test_by_a_code_on_another_device(house: Office, oidc: Oidc) -> None:
    login = Login(house, EVA, "--device")
    page = login.until(rf"{oidc.url}/device\S+")
    confirmed = _type_code(oidc, page)
    assert "successful" in confirmed
    assert login.end() == 0, login.said
    assert [row["state"] for row in status(house)] == ["ok"]


def _type_code(oidc: Oidc, page: str) -> str:
    """Follow the page with the code in it, log in, agree."""
    with requests.Session() as browser:
        answer = browser.get(page, timeout=10)
        for _ in range(6):
            action = re.search(r'action="([^"]+)"', answer.text)
            if not action:
                break
            fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
            if "user_code" in page and "xsrf" in fields:
                fields |= {"user_code": page.partition("user_code=")[2], "confirm": "yes"}
            url = requests.compat.urljoin(answer.url, action[1])  # type: ignore[attr-defined]
            answer = browser.post(url, data=fields | {"login": EVA, "password": "x"}, timeout=10)
        return answer.text


def test_by_an_answer_that_is_pasted(house: Office, oidc: Oidc) -> None:
    login = Login(house, EVA, "--paste", stdin=True)
    back = oidc.browse(login.until(rf"{oidc.url}/auth\S+"), EVA)
    assert login.end(f"{back}\n") == 0, login.said
    assert "is logged in" in login.said


def test_a_mailed_link_that_somebody_else_follows_first(house: Office, oidc: Oidc) -> None:
    """The wrong person changes nothing; the right one may still use the next link."""
    assert by_link(house, oidc).code == 0  # type: ignore[attr-defined]
    before = status(house)
    login = by_link(house, oidc, "max@firma.example")
    assert login.code == 65  # type: ignore[attr-defined]
    assert "max@firma.example logged in" in login.said
    assert "hat nicht geklappt" in login.page  # type: ignore[attr-defined]
    assert status(house) == before


def test_an_app_with_a_secret_and_its_end_at_the_provider(house: Office, oidc: Oidc, dovecot: Provider) -> None:
    add(house, oidc, dovecot, "confidential", "secret", "redirect_uri=http://localhost/callback", stdin=f"{SECRET}\n")
    login = by_link(house, oidc, EVA, "--app", "confidential")
    assert login.code == 0, login.said  # type: ignore[attr-defined]
    token = house.lanmail("oauth", "token", EVA).strip()
    curl = ["curl", "-s", f"imap://localhost:{dovecot.imap}/", "--oauth2-bearer", token, "-u", f"{EVA}:",
            "--login-options", "AUTH=XOAUTH2", "-X", "STATUS INBOX (MESSAGES)"]
    assert "MESSAGES" in house.run(*curl).stdout
    assert "taken back" in house.lanmail("oauth", "revoke", EVA)
    assert house.run(*curl, check=False).returncode == 67, "the token is worth nothing any more"


def test_moving_to_another_server(house: Office, oidc: Oidc, new_office: Callable[..., Office], tmp_path: Path) -> None:
    assert by_link(house, oidc).code == 0  # type: ignore[attr-defined]
    file = tmp_path / "moved"
    house.lanmail("oauth", "export", str(file), "--passphrase-stdin", stdin="ein ganzer Satz\n")
    other = new_office()
    other.account("eva")
    other.lanmail("oauth", "import", str(file), "--passphrase-stdin", stdin="ein ganzer Satz\n")
    other.start()
    office.until(lambda: status(other)[0]["tokens"] and status(other)[0]["level"] == 0, what="a fresh token")
    assert "ok" in other.lanmail("oauth", "test", EVA)
    assert status(house)[0]["state"] == "paused"
