"""Mail in a Maildir is read with other people's clients, over POP3 and IMAP, with and without TLS."""

import re
from collections.abc import Iterable

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need, until, without_trace
from tests.e2e.terminal import on_a_terminal

pytestmark = pytest.mark.slow
SUBJECTS = ("eins", "zwei", "drei")


@pytest.fixture
def filled(office: Office, account: str) -> str:
    """An account with three mails."""
    for number, subject in enumerate(SUBJECTS, 1):
        office.put(account, mail(subject, ["first", ".", "..x", "last " * 30], to=f"{account}@{DOMAIN}"))
        office.arrived(account, number)
    return account


def curl(office: Office, account: str, url: str, *arguments: str) -> str:
    need("curl")
    return office.run("curl", "-sS", "--cacert", office.ca, "--user", f"{account}:{office.passwords[account]}", url,
                      *arguments).stdout.replace("\r\n", "\n")


def stored(office: Office, account: str) -> list[bytes]:
    return [path.read_bytes() for path in office.inbox(account)]


def bodies(messages: Iterable[bytes]) -> list[bytes]:
    """What follows the header, which some clients add lines to."""
    return [message.replace(b"\r\n", b"\n").partition(b"\n\n")[2] for message in messages]


def test_curl_pop3(office: Office, filled: str) -> None:
    at = f"pop3://{HOST}:{office.port(110)}/"
    listing = curl(office, filled, at).split()
    files = office.inbox(filled)
    assert listing[1::2] == [re.search(r",W=(\d+)", path.name)[1] for path in files]
    for number, content in enumerate(stored(office, filled), 1):
        assert curl(office, filled, f"{at}{number}").encode() == content
    uids = dict(line.split() for line in curl(office, filled, at, "-X", "UIDL").splitlines())
    assert sorted(uids) == ["1", "2", "3"]
    assert len(set(uids.values())) == 3


@pytest.mark.parametrize(("scheme", "port", "extra"), [("pop3s", 995, ()), ("pop3", 110, ("--ssl-reqd",)),
                                                       ("imaps", 993, ()), ("imap", 143, ("--ssl-reqd",))])
def test_curl_tls(office: Office, filled: str, scheme: str, port: int, extra: tuple[str, ...]) -> None:
    path = "2" if scheme.startswith("pop") else "INBOX;MAILINDEX=2"
    read = curl(office, filled, f"{scheme}://{HOST}:{office.port(port)}/{path}", *extra)
    assert read.encode() == stored(office, filled)[1]


def test_curl_imap(office: Office, filled: str) -> None:
    at = f"imap://{HOST}:{office.port(143)}/"
    for number, content in enumerate(stored(office, filled), 1):
        assert curl(office, filled, f"{at}INBOX;MAILINDEX={number}").encode() == content
    assert curl(office, filled, f"{at}INBOX", "-X", "SEARCH SUBJECT zwei") == "* SEARCH 2\n"
    folders = curl(office, filled, at)
    for name in ("INBOX", "Sent", "Drafts", "Trash", "Junk"):
        assert re.search(rf'"?{name}"?$', folders, re.M), folders


def test_curl_imap_append(office: Office, filled: str) -> None:
    upload = office.root / "append.eml"
    upload.write_bytes(mail("appended").replace(b"\n", b"\r\n"))
    curl(office, filled, f"imap://{HOST}:{office.port(143)}/Sent", "-T", str(upload))
    (path,) = (office.where.maildirs / filled / ".Sent/cur").iterdir()
    assert path.read_bytes() == mail("appended")
    assert path.name.endswith(":2,S")    # curl appends as \Seen


@pytest.mark.parametrize("protocol", ["POP3", "IMAP"])
@pytest.mark.parametrize("tls", [False, True])
def test_fetchmail(office: Office, filled: str, protocol: str, tls: bool) -> None:
    need("fetchmail")
    before = stored(office, filled)
    box = office.root / f"fetched-{filled}"
    port = {("POP3", False): 110, ("POP3", True): 995, ("IMAP", False): 143, ("IMAP", True): 993}[protocol, tls]
    rc = office.home / f"fetchmailrc-{filled}"
    secure = f"ssl sslcertck sslcertfile {office.ca} sslcommonname mail.{DOMAIN}" if tls else "sslproto ''"
    agent = f"sh -c 'cat >> {box}; echo -n ==== >> {box}'"
    rc.write_text(f"poll {HOST} port {office.port(port)} proto {protocol} user {filled} "
                  f"password \"{office.passwords[filled]}\" {secure} no rewrite mda \"{agent}\"\n")
    rc.chmod(0o600)
    done = office.run("fetchmail", "-f", rc, "--nosyslog", "--pidfile", office.home / f"pid-{filled}",
                      "--idfile", office.home / f"ids-{filled}", "--invisible")
    assert "3 messages" in done.stdout + done.stderr
    fetched = [without_trace(part) for part in box.read_bytes().split(b"====")[:-1]]
    assert fetched == [without_trace(one) for one in before]
    until(lambda: not office.inbox(filled), what="deletion on the server")


@pytest.mark.parametrize("kind", ["POP3", "POP3SSL", "IMAP", "IMAPSSL"])
def test_getmail(office: Office, filled: str, kind: str) -> None:
    need("getmail")
    box = office.root / f"getmail-{filled}"
    for name in ("tmp", "new", "cur", "state"):
        (box / name).mkdir(parents=True)
    port = {"POP3": 110, "POP3SSL": 995, "IMAP": 143, "IMAPSSL": 993}[kind]
    rc = box / "rc"
    trust = f"ca_certs = {office.ca}\n" if "SSL" in kind else ""
    rc.write_text(f"[retriever]\ntype = Simple{kind}Retriever\nserver = {HOST}\nport = {office.port(port)}\n"
                  f"username = {filled}\n"
                  f"password = {office.passwords[filled]}\n{trust}"
                  f"[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
                  f"arguments = ('-c', 'cat > $(mktemp {box}/new/XXXXXX)')\n"
                  "[options]\ndelete = true\ndelivered_to = false\nreceived = false\nread_all = true\n")
    before = sorted(bodies(stored(office, filled)))
    office.run("getmail", "--getmaildir", box / "state", "--rcfile", rc)
    assert sorted(bodies(path.read_bytes() for path in (box / "new").iterdir())) == before
    until(lambda: not office.inbox(filled), what="deletion on the server")


def test_mpop(office: Office, filled: str) -> None:
    need("mpop")
    box = office.root / f"mpop-{filled}"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    rc = office.home / f"mpop-{filled}"
    rc.write_text(f"account default\nhost {HOST}\nport {office.port(995)}\nuser {filled}\n"
                  f"password \"{office.passwords[filled]}\"\ntls on\ntls_starttls off\n"
                  f"tls_trust_file {office.ca}\ndelivery maildir {box}\nkeep on\n"
                  f"received_header off\nuidls_file {box}/uidls\n")
    rc.chmod(0o600)
    office.run("mpop", "-C", rc)
    first = sorted(path.read_bytes() for path in (box / "new").iterdir())
    assert first == sorted(stored(office, filled))
    office.put(filled, mail("vier", to=f"{filled}@{DOMAIN}"))
    office.arrived(filled, 4)
    office.run("mpop", "-C", rc)
    assert len(list((box / "new").iterdir())) == 4, "only the new one is fetched: UIDLs are stable"


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt(office: Office, filled: str, program: str) -> None:
    """Opens INBOX, copies everything into a local Maildir, marks one mail, quits."""
    need(program)
    box = office.root / f"{program}-{filled}"
    rc = office.home / f"{program}rc-{filled}"
    rc.write_text(
        f'set imap_user="{filled}" imap_pass="{office.passwords[filled]}" ssl_ca_certificates_file="{office.ca}"\n'
        f"set folder='{office.home}' mbox_type=Maildir header_cache='' confirmappend=no confirmcreate=no\n"
        "set delete=no quit=yes move=no\n"
        f"set wait_key=no sleep_time=0 certificate_file='{office.home}/certs' ssl_force_tls=yes mark_old=no\n"
        f'push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{box}<enter>'
        f'<untag-pattern>~A<enter><first-entry><flag-message><sync-mailbox><quit>"\n')
    screen = on_a_terminal(office, program, "-n", "-F", str(rc), "-f", f"imaps://{HOST}:{office.port(993)}/INBOX")
    copied = bodies(path.read_bytes() for path in box.glob("*/*"))
    assert sorted(copied) == sorted(bodies(stored(office, filled))), screen
    assert "F" in office.inbox(filled)[0].name.partition(":2,")[2]
