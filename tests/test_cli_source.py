"""`lanmail source` as people type it: what is listed, shown and changed without a server."""

import json
import time
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config
from lanmail.sources import place, status
from lanmail.sources.status import Status
from tests.relayroot import Root

GMX = """\
disabled = false

[sources.gmx]
interface = "standard"
host = "imap.gmx.net"
user = "meier@gmx.example"
password = "file:secrets/source-meier-gmx"
"""


def run(root: Root, *words: str, code: int = 0, given: str | None = None) -> str:
    done = click.testing.CliRunner().invoke(admin.cli, ["source", *words, "--root", str(root.paths.root)], input=given)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def office(tmp_path: Path) -> Root:
    root = Root(tmp_path, "")
    root.account("meier", GMX)
    root.account("chef", GMX.replace("sources.gmx", "sources.web") + '[sources.old]\nhost = "a.example"\n')
    root.paths.secrets.mkdir(mode=0o700)
    for name in ("gmx", "other"):
        (root.paths.secrets / f"source-meier-{name}").write_text("geheim\n")
        (root.paths.secrets / f"source-meier-{name}").chmod(0o600)
    return root


@pytest.mark.parametrize(("known", "word", "code"), [
    (Status(), "new", 0),
    (Status(tried=1.0, succeeded=1.0), "ok", 0),
    (Status(tried=1.0, succeeded=1.0, next=1.0), "late", 1),
    (Status(tried=1.0, failures=2, error="imap.gmx.net does not answer"), "failing", 1),
    (Status(tried=1.0, failures=2, refused=2, error="log-in as meier refused"), "refused", 2),
    (Status(tried=1.0, failures=5, refused=5, stopped=True, error="log-in as meier refused"), "stopped", 2),
])
def test_list_tells_how_it_goes_and_exits_so(office: Root, known: Status, word: str, code: int) -> None:
    status.save(office.paths, "meier", "gmx", known)
    lines = run(office, "list", code=code).splitlines()
    found = {line.split()[0]: line for line in lines}
    assert f" {word} " in f"{found['meier/gmx']} "
    assert known.error in found["meier/gmx"]
    assert " off " in found["chef/old"]
    told = json.loads(run(office, "list", "--account", "meier", "--json", code=code))
    assert [(one["source"], one["state"], one["level"], one["status"]["refused"]) for one in told] == [
        ("meier/gmx", word, code, known.refused)]


def test_list_of_what_is_not_complete(office: Root) -> None:
    office.account("meier", GMX.replace('user = "meier@gmx.example"', ""))
    assert "user is not set" in run(office, "list", code=2)
    for name in ("meier", "chef"):
        office.account(name)
    assert "no external mailboxes yet" in run(office, "list")


def test_what_a_server_said_moves_no_cursor(office: Root) -> None:
    status.save(office.paths, "meier", "gmx", Status(tried=1.0, failures=1, error="gone\x1b[2J\nfar"))
    assert "\x1b" not in run(office, "list", code=1) + run(office, "show", "gmx")


def test_show_tells_what_holds_and_from_where(office: Root) -> None:
    office.configure("", "")
    office.paths.config_file.write_text(office.paths.config_file.read_text() + "[incoming]\nevery = \"7m\"\n")
    directory = place.directory(office.paths, "meier", "gmx")
    status.save(office.paths, "meier", "gmx", Status(tried=time.time() - 90, succeeded=time.time() - 90, fetched=3))
    (directory / "box.uids").write_text("1 a\n1 b\n")
    said = run(office, "show", "meier/gmx")
    assert "every            7m   ([incoming])" in said
    assert "last success     1m ago" in said
    assert "remembered       2 mails" in said
    assert "tls_verify" not in said
    assert "tls_verify" in run(office, "show", "gmx", "--all")
    found = json.loads(run(office, "show", "GMX", "--json"))
    assert found["settings"]["host"] == {"value": "imap.gmx.net", "from": "source"}
    assert found["settings"]["every"]["from"] == "[incoming]"
    assert found["settings"]["delete"]["from"] == "default"


def test_names(office: Root) -> None:
    assert "there is no source 'nix'; there are: chef/old, chef/web, meier/gmx" in run(office, "show", "nix", code=67)
    assert "there is no source 'chef/gmx'" in run(office, "show", "chef/gmx", code=67)
    office.account("weber", GMX)
    assert "there are several: meier/gmx, weber/gmx" in run(office, "show", "gmx", code=67)


def test_set_changes_one_key_and_takes_it_away(office: Root) -> None:
    assert "meier/gmx: every = 900.0" in run(office, "set", "gmx", "every=15m", "folders=INBOX,Büro").replace(
        '"15m"', "900.0")
    source = config.load_account(office.paths.accounts / "meier.toml").sources["gmx"]
    assert (source.every, source.folders) == (900, ["INBOX", "Büro"])
    run(office, "set", "gmx", "every=")
    assert "every" not in (office.paths.accounts / "meier.toml").read_text()
    assert "there is no key 'evry'; did you mean 'every'?" in run(office, "set", "gmx", "evry=1m", code=64)
    assert "must be" in run(office, "set", "gmx", "port=many", code=65)
    assert "lanmail source passwd" in run(office, "set", "gmx", "password=geheim", code=64)
    assert "geheim" not in (office.paths.accounts / "meier.toml").read_text()
    assert "is not KEY=VALUE" in run(office, "set", "gmx", "delete", code=64)


def test_passwd_stores_it_and_asks_for_a_visit(office: Root) -> None:
    said = run(office, "passwd", "web", "--password-stdin", given="n€u\n")
    assert "n€u" not in said
    source = config.load_account(office.paths.accounts / "chef.toml").sources["web"]
    assert source.password.startswith("file:secrets/source-chef..web.")
    stored = office.paths.conf / source.password.removeprefix("file:")
    assert not (office.paths.secrets / "source-chef-web").exists()
    assert stored.read_text() == "n€u\n"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert place.requested(office.paths) == [("chef", "web")]
    assert "is empty" in run(office, "passwd", "web", "--password-stdin", given="\n", code=65)


def test_remove_takes_its_password_and_no_other(office: Root) -> None:
    assert "source chef/web removed" in run(office, "remove", "web")
    assert "source meier/gmx removed" in run(office, "remove", "gmx")
    assert not config.load_account(office.paths.accounts / "meier.toml").sources
    assert sorted(path.name for path in office.paths.secrets.iterdir()) == ["source-meier-other"]
    assert set(config.load_account(office.paths.accounts / "chef.toml").sources) == {"old"}


def test_forget_asks_first_and_puts_aside(office: Root) -> None:
    assert "nothing was fetched from meier/gmx yet" in run(office, "forget", "gmx", "--yes", code=69)
    directory = place.directory(office.paths, "meier", "gmx")
    status.save(office.paths, "meier", "gmx", Status())
    (directory / "box.uids").write_text("1 a\n1 b\n")
    assert "nothing was forgotten" in run(office, "forget", "gmx", given="n\n", code=77)
    assert (directory / "box.uids").exists()
    assert "2 mails forgotten" in run(office, "forget", "gmx", given="y\n")
    assert [path.name.rpartition(".")[0] for path in directory.glob("box*")] == ["box.uids.forgotten"]


def test_folders_restore_the_default(office: Root) -> None:
    run(office, "set", "gmx", "folders=*", "exclude=Spam")
    assert "left out: Spam" in run(office, "folders", "show", "gmx")
    assert "Kalender" in run(office, "folders", "restore-default", "gmx")
    found = json.loads(run(office, "folders", "show", "gmx", "--json"))
    assert found["folders"] == ["*"]
    assert {"Kalender", "Gelöscht", "Deleted Items"} <= set(found["exclude"])
    office.paths.config_file.write_text(office.paths.config_file.read_text() + '[incoming]\nexclude = ["Spam"]\n')
    assert "left out: Spam" in run(office, "folders", "show", "gmx")
    assert "Journal" in run(office, "folders", "restore-default", "--global")
    assert "Journal" in run(office, "folders", "show", "gmx")
    assert "name a source, or say --global" in run(office, "folders", "restore-default", code=64)
