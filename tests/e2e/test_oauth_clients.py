"""Mail programs that people use, at our OAuth2 server: each reads or sends by a token of ours."""

import ast
import base64
import contextlib
import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.e2e import oauth
from tests.e2e.oauth import House
from tests.e2e.office import DOMAIN, HOST, need, until
from tests.e2e.terminal import on_a_terminal

pytestmark = pytest.mark.slow
SCRIPT = Path("/usr/share/doc/mutt/examples/mutt_oauth2.py")
PLUGIN = "/usr/lib/*/sasl2/libkdexoauth2.so"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with oauth.running(tmp_path_factory.mktemp("oauth")) as made:
        yield made


@pytest.fixture(scope="module")
def token(house: House) -> Path:
    """A command that prints an access token, as programs want it."""
    path = house.home / "token"
    path.write_text(f"#!/bin/sh\necho {house.token()['access_token']}\n")
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt(house: House, token: Path, program: str, mechanism: str) -> None:
    """Copies INBOX into a local Maildir; then sends."""
    need(program)
    box, rc = house.root / f"{program}-{mechanism}", house.home / f"{program}rc-{mechanism}"
    rc.write_text(
        f"set imap_user=meier imap_authenticators={mechanism} imap_oauth_refresh_command='{token}'\n"
        f"set smtp_url='smtp://meier@{HOST}:{house.port(587)}/' smtp_authenticators={mechanism}\n"
        f"set smtp_oauth_refresh_command='{token}' from='meier@{DOMAIN}' use_from=yes copy=no record=''\n"
        f"set ssl_ca_certificates_file='{house.ca}' certificate_file='{house.home}/certs' ssl_force_tls=yes\n"
        f"set folder='{house.home}' mbox_type=Maildir header_cache='' confirmappend=no confirmcreate=no\n"
        "set delete=no quit=yes move=no wait_key=no sleep_time=0 mark_old=no\n")
    push = f'push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{box}<enter><quit>"'
    screen = on_a_terminal(house, program, "-n", "-F", str(rc), "-e", push, "-f",
                           f"imaps://{HOST}:{house.port(993)}/INBOX")
    assert any(b"Subject: first" in path.read_bytes() for path in box.glob("*/*")), screen
    before = len(house.inbox("schmidt"))
    house.run(program, "-n", "-F", rc, "-s", "by token", "--", f"schmidt@{DOMAIN}", stdin="hello\n",
              EMAIL=f"meier@{DOMAIN}")
    until(lambda: len(house.inbox("schmidt")) == before + 1, what="the mail")


def test_mbsync(house: House, token: Path) -> None:
    need("mbsync")
    if not list(Path("/").glob(PLUGIN[1:])):
        pytest.skip("not installed: libsasl2-modules-kdexoauth2")
    box, rc = house.root / "mbsync", house.home / "mbsyncrc"
    box.mkdir()
    rc.write_text(f"""IMAPAccount office
Host localhost
Port {house.port(993)}
User meier
PassCmd {token}
AuthMechs XOAUTH2
SSLType IMAPS
CertificateFile {house.ca}

IMAPStore far
Account office

MaildirStore near
Inbox {box}/INBOX

Channel all
Far :far:
Near :near:
Create Near
SyncState {box}/state
""")
    house.run("mbsync", "-c", rc, "-a")
    assert len([path for path in (box / "INBOX").glob("[nc]*/*") if b"Subject: first" in path.read_bytes()]) == 1


def test_offlineimap(house: House, token: Path) -> None:
    """By a command: with a refresh token in its settings it would show the same one each time, which we take for theft.
    """
    need("offlineimap")
    box, rc = house.root / "offlineimap", house.home / "offlineimaprc"
    rc.write_text(f"""[general]
accounts = office
metadata = {house.home}/offlineimap
[Account office]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {box}
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {house.port(993)}
remoteuser = meier
ssl = yes
sslcacertfile = {house.ca}
auth_mechanisms = XOAUTH2
oauth2_access_token_eval = __import__("subprocess").check_output(["{token}"], text=True).strip()
folderfilter = lambda name: name == 'INBOX'
""")
    house.run("offlineimap", "-c", rc, "-o", "-u", "basic")
    assert len([path for path in box.rglob("*/*") if path.is_file() and b"Subject: first" in path.read_bytes()]) == 1


def test_getmail(house: House, token: Path) -> None:
    """By IMAP: Debian's getmail has no tokens for POP3."""
    need("getmail")
    box = house.root / "getmail"
    for name in ("tmp", "new", "cur", "state"):
        (box / name).mkdir(parents=True)
    rc = box / "rc"
    rc.write_text(f"""[retriever]
type = SimpleIMAPSSLRetriever
server = {HOST}
port = {house.port(993)}
username = meier
use_xoauth2 = True
password_command = ("{token}",)
ca_certs = {house.ca}
[destination]
type = MDA_external
path = /bin/sh
allow_root_commands = true
arguments = ('-c', 'cat > $(mktemp {box}/new/XXXXXX)')
[options]
delete = false
""")
    house.run("getmail", "--getmaildir", box / "state", "--rcfile", rc)
    assert [b"Subject: first" in path.read_bytes() for path in (box / "new").iterdir()] == [True]


@pytest.mark.parametrize("mechanism", ["oauth2_login", "oauthbearer_login"])
def test_imapclient(house: House, mechanism: str) -> None:
    library = pytest.importorskip("imapclient")
    client = library.IMAPClient("localhost", house.port(993), ssl_context=ssl.create_default_context(cafile=house.ca))
    with client:
        with pytest.raises(library.exceptions.LoginError):
            getattr(client, mechanism)("meier", "no.token.of.ours")
        getattr(client, mechanism)("meier", house.token()["access_token"])
        client.select_folder("INBOX", readonly=True)
        assert len(client.search(["SUBJECT", "first"])) == 1


class Script:
    """mutt_oauth2.py as Debian ships it, with this server entered as the file itself says, and no GPG."""

    def __init__(self, house: House, client: dict[str, str]) -> None:
        if not SCRIPT.exists():
            pytest.skip(f"not installed: {SCRIPT}")
        self.house, self.path = house, house.home / f"mutt_oauth2-{client['client_id']}.py"
        entry = {"authorize_endpoint": house.at("/oauth2/auth"), "token_endpoint": house.at("/oauth2/token"),
                 "devicecode_endpoint": house.at("/oauth2/device_authorization"),
                 "redirect_uri": "http://localhost/",
                 "imap_endpoint": HOST, "pop_endpoint": HOST, "smtp_endpoint": HOST,
                 "sasl_method": "OAUTHBEARER", "scope": "offline_access IMAP.AccessAsUser.All SMTP.Send",
                 "client_id": client["client_id"], "client_secret": client["client_secret"] or ""}
        text = SCRIPT.read_text()
        head, _, rest = text.partition("registrations = {\n")
        head = head.replace("['gpg', '--encrypt', '--recipient', 'YOUR_GPG_IDENTITY']", "['cat']")
        self.path.write_text(f"{head.replace(repr(['gpg', '--decrypt']), repr(['cat']))}registrations = {{\n"
                             f"    'lanmail': {entry!r},\n{rest}")
        ast.parse(self.path.read_text())
        self.store = self.path.with_suffix(".tokens")

    def authorize(self, flow: str) -> "subprocess.Popen[str]":
        """Started; what it is asked for is answered."""
        said = subprocess.Popen(
            ["python3", "-u", self.path, self.store, "--authorize"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.house.home), "SSL_CERT_FILE": str(self.house.ca)})
        assert said.stdin is not None
        said.stdin.write(f"lanmail\n{flow}\nmeier\n")
        said.stdin.flush()
        return said

    def shows(self, said: "subprocess.Popen[str]", text: str) -> str:
        """The line in which it shows something to its user."""
        assert said.stdout is not None
        while text not in (line := said.stdout.readline()):
            assert line, "it ended"
        return line

    def fresh(self) -> str:
        """A token as mutt asks for it, after the stored one has expired."""
        known = self.store.read_text()
        self.store.write_text(known.replace('"access_token_expiration": "20', '"access_token_expiration": "19'))
        return self.house.run("python3", self.path, self.store, SSL_CERT_FILE=str(self.house.ca)).stdout.strip()


def opens(house: House, access: str) -> bool:
    done = house.run("curl", "-sS", "--cacert", house.ca, "--user", "meier:", "--oauth2-bearer", access,
                     f"imaps://{HOST}:{house.port(993)}/INBOX;MAILINDEX=1")
    return "first" in done.stdout


def test_mutt_oauth2_by_a_code_on_another_screen(house: House) -> None:
    """RFC 8628 by somebody else's program; it knows no secret when it begins, so its client is one without."""
    script = Script(house, json.loads(house.lanmail("client", "add", "meier", "mutt", "--public", "--json")))
    with script.authorize("devicecode") as said:
        line = script.shows(said, "type the code")
        house.type_code(line.split()[-1].lower())
        out, _ = said.communicate(timeout=60)
    assert said.returncode == 0, out
    assert opens(house, out.split()[-1])
    assert opens(house, script.fresh())


def test_mutt_oauth2_by_a_browser(house: House) -> None:
    script = Script(house, house.client)
    with script.authorize("localhostauthcode") as said:
        there = next(word for word in script.shows(said, "/oauth2/auth?").split() if "/oauth2/auth?" in word)
        back = house.log_in(there[there.index("https://"):])
        assert set(parse_qs(urlsplit(back).query)) == {"code", "iss"}
        knock(back)
        out, _ = said.communicate(timeout=60)
    assert said.returncode == 0, out
    assert opens(house, out.split()[-1])
    assert opens(house, script.fresh())


def knock(there: str) -> None:
    """What the browser does with the answer; the script may not listen yet."""
    for _ in range(200):
        try:
            requests.get(there, timeout=20, proxies={"http": ""})
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nobody listens")


def test_open_sessions_end_with_the_consent(house: House) -> None:
    """IMAP, POP3 and SMTP, in the programs themselves and in their own time."""
    def consents() -> set[str]:
        return {one["id"] for one in json.loads(house.lanmail("client", "connected", "meier", "--json"))}

    before = consents()
    access = house.token()["access_token"]
    (consent,) = consents() - before
    said = base64.b64encode(f"user=meier\x01auth=Bearer {access}\x01\x01".encode()).decode()
    trust = ssl.create_default_context(cafile=house.ca)
    with contextlib.ExitStack() as open_ones:
        lines = []
        for port, words in ((993, f"a AUTHENTICATE XOAUTH2 {said}"), (995, f"AUTH XOAUTH2 {said}"),
                            (465, f"EHLO x\r\nAUTH XOAUTH2 {said}")):
            plain = open_ones.enter_context(socket.create_connection((HOST, house.port(port)), 60))
            one = open_ones.enter_context(trust.wrap_socket(plain, server_hostname=HOST))
            lines.append(open_ones.enter_context(one.makefile("rwb")))
            lines[-1].readline()
            for word in words.split("\r\n"):
                lines[-1].write(word.encode() + b"\r\n")
                lines[-1].flush()
                while not re.match(rb"a OK|\+OK|235|250 ", answer := lines[-1].readline()):
                    assert answer
        imap, pop, smtp = lines
        began = time.monotonic()
        house.lanmail("client", "disconnect", consent)
        assert imap.readline() == b"* BYE Your log-in has ended, log in again.\r\n"
        assert pop.readline() == b""
        assert smtp.readline().startswith(b"421 4.7.0")
        assert time.monotonic() - began < 60
