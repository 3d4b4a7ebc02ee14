"""`lanmail source import`: fetchmail's and getmail's configurations, the first beside fetchmail itself."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click.testing
import pytest

from lanmail import admin, config
from lanmail.cli.source import carried, fetchmail, fetchmailrc, getmail
from tests.relayroot import Root

ODD = r"""# a comment, "with a quote
set daemon 300
set postmaster "chef"
set no bouncemail
defaults proto pop3 timeout 60
poll pop.a.example via "pop3.provider.example" with proto imap port 993
  user "joe\t1" there with password 'a"b c' is meier here options ssl keep folder "INBOX", "a b" limit 50000
  user anna pass keep is "anna", sslproto 'TLS1.2+' no keep
skip pop.b.example: proto APOP service pop3s localdomains firma.example b.example aka x.example
  envelope 2 "Delivered-To" qvirtual "v-"
  user multi password "x\x41\101\0101" to "a@b"=meier joe * here smtphost localhost mda "/bin/x %T"
poll pop.c.example user me here is joe there password pp   # the end
poll d.example protocol IMAP user "joe@d.example" there pass 4711 to joe ann here folder "A","B" C ssl
poll e.example proto imap user me you here is joe there pass p no sslcertck
poll f.example proto pop3 interval 3 user "q\"uote" password abc#def is x here, and wants fetchall
poll g.example user 'and' pass "with" smtphost a/25,b/26 antispam 571,550 fetchlimit 7 is "keep" here
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def dumped(path: Path) -> list[dict[str, Any]]:
    """What fetchmail understands: a row for each mailbox."""
    done = subprocess.run(["fetchmail", "--configdump", "-f", str(path)], capture_output=True, text=True, check=True)
    names: dict[str, Any] = {}
    exec(done.stdout, names)  # it prints Python
    return [
        {"host": server["via"] or server["pollname"], "active": bool(server["active"]),
         "proto": server["protocol"].lower(), "service": server["service"], "remote": user["remote"],
         "password": user["password"],
         "local": ["=".join(one) if isinstance(one, tuple) else one for one in user["localnames"]],
         "keep": bool(user["keep"]), "ssl": bool(user["ssl"]), "folder": user["mailboxes"], "limit": user["limit"],
         "sslproto": user["sslproto"], "sslcertck": bool(user["sslcertck"]), "idle": bool(user["idle"]),
         "fetchlimit": user["fetchlimit"], "timeout": server["timeout"], "interval": server["interval"],
         "localdomains": server["localdomains"], "aka": server["aka"], "mda": user["mda"]}
        for server in names["fetchmailrc"]["servers"] for user in server["users"]]


def understood(text: str) -> list[dict[str, Any]]:
    """The same by our reading."""
    rows = []
    for poll in fetchmailrc.parse(text).polls:
        for user in poll.users:
            given = {**poll.given, **user.given}
            rows.append({
                "host": given.get("via", poll.name), "active": poll.active, "proto": given.get("proto", "auto").lower(),
                "service": given.get("service"), "remote": user.remote, "password": given["password"],
                "local": user.local, "keep": bool(given.get("keep")), "ssl": bool(given.get("ssl")),
                "folder": given.get("folder", []), "limit": given.get("limit", 0), "sslproto": given.get("sslproto"),
                "sslcertck": given.get("sslcertck", True), "idle": bool(given.get("idle")),
                "fetchlimit": given.get("fetchlimit", 0), "timeout": given.get("timeout", 300),
                "interval": given.get("interval", 0), "localdomains": given.get("localdomains", []),
                "aka": given.get("aka", []), "mda": given.get("mda")})
    return rows


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="not installed: fetchmail")
def test_reads_what_fetchmail_reads(tmp_path: Path) -> None:
    ours = understood(ODD)
    assert ours == dumped(write(tmp_path / "rc", ODD))
    assert len(ours) == 8


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="not installed: fetchmail")
@pytest.mark.parametrize("text", [
    "set nobouncemail\npoll a.example proto imap user u pass p keep is x here nokeep nofetchall",
    "poll a.example proto imap nodns user u is x nokeep pass p norewrite folder A noidle",
    "set nospambounce defaults proto pop3 nouidl nocheckalias noenvelope\n"
    "poll a.example user u pass p is x nomimedecode",
])
def test_reads_no_and_its_word_in_one_as_old_files_have_it(tmp_path: Path, text: str) -> None:
    assert understood(text) == dumped(write(tmp_path / "rc", text))


@pytest.mark.skipif(shutil.which("fetchmail") is None, reason="not installed: fetchmail")
@pytest.mark.parametrize("text", [
    "poll a.example user joe pass #x\n is x", "poll a.example is x keep is", "keep", "set daemon often", "poll",
    "poll a.example proto pop3 nonsense", "poll a.example user joe limit many",
    "poll a.example user joe pass x timeout 3", "poll a.example user joe is a here here",
])
def test_refuses_what_fetchmail_refuses(tmp_path: Path, text: str) -> None:
    done = subprocess.run(["fetchmail", "--configdump", "-f", str(write(tmp_path / "rc", text))], capture_output=True,
                          check=False)
    assert done.returncode
    with pytest.raises(carried.Unreadable, match=r"line \d|the file ends"):
        fetchmailrc.parse(text)


def test_fetchmail_words_become_keys() -> None:
    found, general = fetchmail.mailboxes(ODD)
    joe, anna, multi, _, _, me, odd, last = found
    assert joe.keys == {
        "interface": "standard", "host": "pop3.provider.example", "user": "joe\t1", "protocol": "imap",
        "tls": "implicit", "delete": False, "max_size": 50001, "folders": ["INBOX", "a b"], "timeout": "60s",
        "every": "5m"}
    assert (joe.local, joe.password.reveal()) == (("meier",), 'a"b c')
    assert anna.keys["tls"] == "starttls"
    assert anna.keys["tls_min"] == "TLSv1.2"
    assert anna.keys["delete"] is True
    assert multi.keys["multidrop"] is True
    assert (multi.keys["headers"], multi.keys["prefix"]) == (["Delivered-To", "To"], "v-")
    assert multi.keys["interface"] == "disabled"
    assert me.keys["tls_verify"] is False
    assert odd.keys["every"] == "15m"
    assert last.keys["mails_per_pass"] == 7
    [idle], _ = fetchmail.mailboxes("poll a.example proto imap user joe pass x is joe idle sslproto ''")
    assert (idle.keys["push"], idle.keys["tls"]) == (True, "none")
    texts = {(one.line, one.text.split(" ", 1)[0]) for one in multi.remarks}
    assert {(11, "'mda'"), (11, "'smtphost'"), (9, "'aka'")} <= texts
    assert any("alias" in one.text and "a@b=meier" in one.text for one in multi.remarks)
    assert general[0].startswith("line 3: 'set postmaster'")


def test_folders_of_fetchmail_are_called_as_people_read_them() -> None:
    """It says the name to the server as it stands, so files have it in modified UTF-7 (RFC 3501 §5.1.3)."""
    words = 'poll a.example proto imap user joe pass x folder INBOX.Gel&APY-scht "A&-B" A&B Entw\u00fcrfe Sent/2025'
    [found], _ = fetchmail.mailboxes(words)
    assert found.keys["folders"] == ["INBOX/Gel\u00f6scht", "A&B", "A&B", "Entw\u00fcrfe", "Sent/2025"]


GETMAIL = """\
[retriever]
type = {type}
server = pop.firma.example
port = {port}
username = office
password = ge;h=eim %s
{more}
[destination]
type = Maildir
path = ~/Maildir/
user = meier

[filter-1]
type = Filter_external
path = /usr/bin/spamc

[options]
read_all = false
delete_after = 14
max_message_size = 1000000
max_messages_per_session = 50
"""


def test_getmail_sections_become_keys() -> None:
    [found], general = getmail.mailboxes(GETMAIL.format(type="SimplePOP3SSLRetriever", port=995, more=""))
    assert found.keys == {
        "interface": "standard", "protocol": "pop3", "host": "pop.firma.example", "user": "office", "tls": "implicit",
        "delete": False, "delete_after": "14d", "max_size": 1000001, "mails_per_pass": 50}
    assert (found.password.reveal(), found.local) == ("ge;h=eim %s", ("meier",))
    assert general == ["line 13: [filter-1] is not carried over: mail is not changed on the way in"]
    more = 'mailboxes = ("INBOX", "Büro")\nuse_xoauth2 = true\nmove_on_delete = Done\n'
    [found], _ = getmail.mailboxes(GETMAIL.format(type="SimpleIMAPRetriever", port=1143, more=more))
    assert found.keys["folders"] == ["INBOX", "Büro"]
    assert (found.keys["port"], found.keys["tls"], found.keys["auth"]) == (1143, "none", "oauth2")
    assert any(one.line == 9 and "move_on_delete" in one.text for one in found.remarks)
    [found], _ = getmail.mailboxes(GETMAIL.format(type="MultidropPOP3Retriever", port=110,
                                                  more="envelope_recipient = delivered-to:2"))
    assert (found.keys["multidrop"], found.keys["headers"], found.local) == (True, ["Delivered-To"], ("*",))


@pytest.mark.parametrize("text", ["", "[retriever]\ntype = NoRetriever\n", "key = value\n", "[retriever]\na\nb\n",
                                  "[retriever]\ntype = SimplePOP3Retriever\nport = pop3\n"])
def test_what_getmail_would_not_take_is_said(text: str) -> None:
    with pytest.raises(carried.Unreadable):
        getmail.mailboxes(text)


def run(root: Root, *words: str, code: int = 0) -> str:
    done = click.testing.CliRunner().invoke(admin.cli, ["source", *words, "--root", str(root.paths.root)])
    assert done.exit_code == code, done.output
    return done.output


def test_import_makes_sources_and_hides_passwords(tmp_path: Path) -> None:
    root = Root(tmp_path / "root", "")
    rc = write(tmp_path / "rc", ODD)
    assert "4 sources would be made" in run(root, "import", "--from-fetchmailrc", str(rc), "--dry-run", code=65)
    assert not root.paths.secrets.exists()
    said = run(root, "import", "--from-fetchmailrc", str(rc), code=65)
    assert "no account here is called so; name one with --account" in said
    assert "line 11: 'mda'" in said
    meier = config.load_account(root.paths.accounts / "meier.toml")
    assert meier.sources["provider"].user == "joe\t1"
    assert meier.sources["provider"].max_size == 50001
    stored = root.paths.conf / meier.sources["provider"].password.removeprefix("file:")
    assert stored.read_text() == 'a"b c\n'
    assert stored.stat().st_mode & 0o777 == 0o600
    assert config.load_account(root.paths.accounts / "chef.toml").sources["b"].multidrop
    assert not [path for path in root.paths.accounts.iterdir() if "abc#def" in path.read_text()]
    again = run(root, "import", "--from-fetchmailrc", str(rc), code=65)
    assert "is there already: meier/provider" in again
    assert "0 sources made" in again


def test_import_into_one_account(tmp_path: Path) -> None:
    root = Root(tmp_path / "root", "")
    rc = write(tmp_path / "rc", ODD)
    get = write(tmp_path / "getmailrc", GETMAIL.format(type="SimplePOP3Retriever", port=110, more=""))
    found = json.loads(run(root, "import", "--from-fetchmailrc", str(rc), "--from-getmailrc", str(get), "--account",
                           "meier", "--json"))
    made = [one["source"] for file in found["files"] for one in file["mailboxes"]]
    assert made == ["meier/provider", "meier/provider-2", "meier/b", "meier/c", "meier/d", "meier/e", "meier/f",
                    "meier/g", "meier/firma"]
    assert "4711" not in json.dumps(found)
    assert set(config.load_account(root.paths.accounts / "meier.toml").sources) == {
        name.partition("/")[2] for name in made}
    assert "there is no account 'nobody'" in run(root, "import", "--from-getmailrc", str(get), "--account", "nobody",
                                                 code=67)
    assert "name a file" in run(root, "import", code=64)
    assert "No such file" in run(root, "import", "--from-getmailrc", str(tmp_path / "none"), code=66)
