"""`lanmail mailbox acl` as people type it."""

from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config, maildir
from lanmail.folders import acl
from tests.mailboxes import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def file_of(place: Place, folder: str = "INBOX", account: str = "meier") -> Path:
    return Path(maildir.path_of(place.root(account), folder), acl.NAME)


def test_set_and_remove(place: Place) -> None:
    maildir.create(place.root(), "Projekte.2026")
    assert "meier shares nothing" in place.call("acl", "meier")
    assert "Projekte.2026  schulz  lrs" in place.call("acl", "meier", "Projekte.2026", "--set", "schulz", "lrs")
    place.call("acl", "meier", "projekte.2026", "--set", "group:sales", "lr", code=66)
    place.call("acl", "meier", "Projekte.2026", "--set", "-group:sales", "w")
    place.call("acl", "meier", "inbox", "--set", "anyone", "lr")
    assert file_of(place, "Projekte.2026").read_text() == "user=schulz lrs\n-group=sales w\n"
    assert place.json("acl", "meier") == [
        {"folder": "INBOX", "who": "anyone", "rights": "lr", "from": "dovecot-acl"},
        {"folder": "Projekte.2026", "who": "schulz", "rights": "lrs", "from": "dovecot-acl"},
        {"folder": "Projekte.2026", "who": "-group:sales", "rights": "w", "from": "dovecot-acl"},
    ]
    assert (place.paths.state / "shares").read_text() == "meier\tINBOX\nmeier\tProjekte.2026\n"
    place.call("acl", "meier", "Projekte.2026", "--remove", "schulz")
    place.call("acl", "meier", "Projekte.2026", "--remove", "-group:sales")
    assert not file_of(place, "Projekte.2026").exists()


def test_members_of_a_team(place: Place) -> None:
    (place.paths.accounts / "info.toml").write_text('shared = true\nmembers = ["meier", "group:sales=lr"]\n')
    place.root("info")
    assert [line.split() for line in place.call("acl", "info", "INBOX").splitlines()[1:]] == [
        ["INBOX", "meier", "lrwstipekx", "members"], ["INBOX", "group:sales", "lr", "members"]]
    place.call("acl", "info", "INBOX", "--set", "meier", "")
    assert [line.split() for line in place.call("acl", "info", "INBOX").splitlines()[1:]] == [
        ["INBOX", "meier", "none", "dovecot-acl"], ["INBOX", "group:sales", "lr", "members"]]
    place.call("acl", "info", "INBOX", "--remove", "meier")
    assert "dovecot-acl" not in place.call("acl", "info", "INBOX")


@pytest.mark.parametrize(("arguments", "code"), [
    (("nobody",), 67), (("meier", "Nichts"), 66), (("meier", "--set", "x", "lr"), 64),
    (("meier", "INBOX", "--set", "x", "z"), 65),
    (("meier", "INBOX", "--set", "", "lr"), 65), (("meier", "INBOX", "--set", "x", "lr", "--remove", "x"), 64),
])
def test_what_cannot_be_done(place: Place, arguments: tuple[str, ...], code: int) -> None:
    place.root()
    place.call("acl", *arguments, code=code)
    assert not file_of(place).exists()


def test_a_broken_file_is_told(place: Place) -> None:
    place.root()
    file_of(place).write_text("anyone lr\nnonsense\n")
    assert "dovecot-acl, line 2: " in place.call("acl", "meier")
    assert "line 2" in place.call("acl", "meier", "INBOX", "--set", "schulz", "lr", code=65)


def test_a_team_mailbox_is_made_in_one_go(place: Place) -> None:
    runner = click.testing.CliRunner()
    words = ["account", "add", "info", "--team", "meier, group:sales=lr", "--root", str(place.base)]
    result = runner.invoke(admin.cli, words)
    assert result.exit_code == 0, result.output
    assert "password" not in result.output
    made = config.load_account(place.paths.accounts / "info.toml")
    assert (made.shared, made.members, made.password) == (True, ["meier", "group:sales=lr"], "")
    assert "team of meier, group:sales=lr" in runner.invoke(
        admin.cli, ["account", "list", "--root", str(place.base)]).output
    words[3:5] = ["--team", "a b"]
    assert runner.invoke(admin.cli, [*words[:2], "other", *words[3:]]).exit_code == 65
