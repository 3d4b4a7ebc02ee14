"""`lanmail init`, `account` and `alias` as people type them."""

import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config, passwords, paths

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lanmail ARGUMENTS... --root TMP`."""
    monkeypatch.delenv("LANMAIL_ROOT", raising=False)

    def lanmail(*arguments: str, stdin: str | bytes | None = None, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, [*arguments, "--root", str(tmp_path)], input=stdin)
        assert result.exit_code == code, result.output
        return result

    return lanmail


@pytest.fixture
def office(run: Run, tmp_path: Path) -> paths.Paths:
    """An installation without certificates, which are slow to make."""
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(config.sample())
    return where


def stored(where: paths.Paths, name: str) -> str:
    return config.load_account(where.accounts / f"{name}.toml").password


def test_init_makes_everything_and_never_overwrites(run: Run, tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    said = run("init", "--domain", "Office.lan", "--port-offset", "10000").stdout
    assert f"next: lanmail account add NAME --root {tmp_path}" in said
    made = config.load(where)
    assert (made.server.domain, made.server.port_offset) == ("office.lan", 10000)
    assert config.check(where) == []
    for spool in (where.queue, where.pickup, where.outbound, where.hold):
        assert {path.name for path in spool.iterdir()} == {"tmp", "new", "cur"}
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in (0o700, 0o750) if path.is_dir() else mode in (0o400, 0o600, 0o640, 0o644, 0o660), path
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in where.conf.rglob("*") if path.is_file()}
    where.pickup.joinpath("cur").rmdir()
    again = run("init", "--domain", "other.lan").stdout
    assert "has the domain office.lan, which stays" in again
    assert f"kept  {where.config_file}" in again
    assert where.pickup.joinpath("cur").is_dir(), "what is missing is added"
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in before} == before


def test_init_refuses_what_is_no_domain(run: Run, tmp_path: Path) -> None:
    assert "is not a domain" in run("init", "--domain", "my office", code=os.EX_USAGE).stderr
    assert "--domain" in run("init", code=os.EX_USAGE).stderr
    for wrong in (["--listen", "localhost"], ["--port-offset", "65000"], ["--port-offset", "-1"]):
        assert run("init", "--domain", "office.lan", *wrong, code=os.EX_USAGE).stderr.startswith("lanmail: s")
    assert list(tmp_path.iterdir()) == []


def test_init_keeps_a_broken_configuration(run: Run, office: paths.Paths) -> None:
    office.config_file.write_text("[server\n")
    assert "lanmail.toml:1: is not TOML" in run("init", "--domain", "a.example", code=os.EX_CONFIG).stderr
    assert office.config_file.read_text() == "[server\n"


def test_add_makes_a_password_and_shows_it_once(run: Run, office: paths.Paths) -> None:
    said = run("account", "add", "Meier", "--full-name", 'Eva "E" Meier').stdout
    password = next(line.split()[1] for line in said.splitlines() if line.startswith("password: "))
    assert passwords.verify(stored(office, "meier"), password)
    assert password not in (office.accounts / "meier.toml").read_text()
    assert "meier is now postmaster" in said, "the first one"
    assert "meier@office.lan" in said
    for name in ("tmp", "new", "cur"):
        assert stat.S_IMODE((office.maildirs / "meier" / name).stat().st_mode) == 0o700
    text = (office.accounts / "meier.toml").read_text()
    assert tomllib.loads(text)["full_name"] == 'Eva "E" Meier'
    assert '# services = ["smtp", "pop3", "imap"]' in text, "every other key stands there as a comment"
    assert stat.S_IMODE((office.accounts / "meier.toml").stat().st_mode) == 0o640
    assert "postmaster" not in run("account", "add", "schmidt").stdout


def test_password_from_standard_input_is_never_printed(run: Run, office: paths.Paths) -> None:
    result = run("account", "add", "meier", "--password-stdin", stdin="süß & geheim\r\nnext line\n")
    assert "geheim" not in result.output
    assert "password:" not in result.output
    assert passwords.verify(stored(office, "meier"), "süß & geheim")
    result = run("account", "passwd", "MEIER", "--password-stdin", stdin="other")
    assert "other" not in result.output
    assert passwords.verify(stored(office, "meier"), "other")
    said = run("account", "passwd", "meier").stdout
    assert passwords.verify(stored(office, "meier"), said.split("password: ")[1].split()[0])
    for wrong in ("", "\n", b"\xff\xfe\n"):
        before = stored(office, "meier")
        run("account", "passwd", "meier", "--password-stdin", stdin=wrong, code=os.EX_DATAERR)
        assert stored(office, "meier") == before
    for command in ("show", "list"):
        shown = run("account", command, *(["meier"] if command == "show" else []), "--json").stdout
        assert "argon2" not in shown


@pytest.mark.parametrize("name", ["müller", "a b", "../x", "a/b", "Postmaster", "-x", "", "x" * 65, "a\nb"])
def test_bad_names_make_no_file(office: paths.Paths, name: str) -> None:
    before = sorted(office.root.rglob("*"))
    arguments = ["--root", str(office.root), "account", "add", "--", name]
    result = click.testing.CliRunner().invoke(admin.cli, arguments)
    assert result.exit_code == os.EX_DATAERR
    assert "name" in result.stderr
    assert sorted(office.root.rglob("*")) == before


def test_names_are_unique_in_any_case_and_among_aliases(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    run("alias", "add", "info", "meier")
    assert "already" in run("account", "add", "MEIER", code=os.EX_DATAERR).stderr
    assert "alias" in run("account", "add", "Info", code=os.EX_DATAERR).stderr
    assert "already" in run("alias", "add", "Meier", "info", code=os.EX_DATAERR).stderr


def test_postmaster_is_exactly_one(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    said = run("account", "add", "schmidt", "--postmaster").stdout
    assert "schmidt is now postmaster and gets mail to postmaster and abuse; meier no longer is" in said
    assert "meier is now postmaster" in run("account", "set", "meier", "postmaster=true").stdout
    marked = [entry["name"] for entry in json.loads(run("account", "list", "--json").stdout) if entry["postmaster"]]
    assert marked == ["meier"]


def test_rename(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    run("alias", "add", "info", "meier")
    (office.maildirs / "meier/new/1.a").write_text("x")
    said = run("account", "rename", "Meier", "weber").stdout
    assert said.startswith("account meier is weber now: weber@office.lan\n")
    assert "aliases.toml names it anew" in said
    assert (office.maildirs / "weber/new/1.a").exists()
    assert "there is no account 'meier'" in run("account", "rename", "meier", "x", code=os.EX_DATAERR).stderr
    run("account", "rename", "weber", "schmidt", "--no-alias")
    assert "weber" not in office.aliases.read_text()


def test_remove_into_the_archive(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    run("account", "add", "schmidt")
    (office.maildirs / "schmidt/new/1.a").write_text("Subject: x\n\nx\n")
    said = run("account", "remove", "schmidt", "--archive-mail").stdout
    assert "mail on its way into the archive, and deleted" in said
    assert len(list((office.spool / "archive/new").iterdir())) == 1
    assert not (office.maildirs / "schmidt").exists()


def test_remove_keeps_the_mail(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    run("account", "add", "schmidt")
    run("alias", "add", "info", "schmidt")
    mail = office.maildirs / "schmidt" / "new" / "1.a"
    mail.write_text("x")
    assert "first make another one" in run("account", "remove", "meier", code=os.EX_DATAERR).stderr
    said = run("account", "remove", "Schmidt").stdout
    assert f"its mail stays in {office.maildirs / 'schmidt'}" in said
    assert "alias info still leads to schmidt" in said
    assert mail.exists()
    run("account", "remove", "schmidt", code=os.EX_NOUSER)
    run("alias", "remove", "info")
    run("account", "add", "schmidt")
    assert mail.exists()
    index = [office.indexes / f"schmidt.{kind}" for kind in ("sqlite", "sqlite-wal", "json")]
    index[0].parent.mkdir(parents=True, exist_ok=True)
    for path in index:
        path.write_bytes(b"words of his mail")
    assert "mail deleted" in run("account", "remove", "schmidt", "--delete-mail").stdout
    assert not any(path.exists() for path in index)
    assert not mail.parent.parent.exists()
    run("account", "remove", "meier", "--force")
    assert "no accounts yet" in run("account", "list").stdout


def test_set_changes_one_key_and_keeps_comments(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    path = office.accounts / "meier.toml"
    before = path.read_text()
    run("account", "set", "meier", "services=imap,smtp", "full_name=5", "disabled=true")
    changed = config.load_account(path)
    assert (changed.services, changed.full_name, changed.disabled) == (["imap", "smtp"], "5", True)
    run("account", "set", "meier", "services=", "full_name=", "disabled=")
    assert path.read_text() == before
    assert "did you mean 'disabled'" in run("account", "set", "meier", "disable=true", code=os.EX_USAGE).stderr
    assert "'smtp', 'pop3' or 'imap'" in run("account", "set", "meier", "services=pop", code=os.EX_DATAERR).stderr
    for wrong in ("password=x", "disabled", "name=x"):
        run("account", "set", "meier", wrong, code=os.EX_USAGE)
    assert path.read_text() == before


def test_list_and_show(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier", "--full-name", "Eva Meier")
    run("alias", "add", "info", "meier")
    (office.accounts / "broken.toml").write_text("disabled = 1\n")
    lines = run("account", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "FULL", "NAME", "NOTES"]
    assert "broken.toml:1: disabled: must be true or false" in lines[1]
    assert lines[2].split() == ["meier", "Eva", "Meier", "postmaster"]
    shown = json.loads(run("account", "show", "meier", "--json").stdout)
    assert shown["addresses"] == ["meier@office.lan"]
    assert shown["aliases"] == ["info"]
    assert shown["maildir"] == str(office.maildirs / "meier")
    assert "Eva Meier" in run("account", "show", "Meier").stdout
    assert "there is no account 'nobody'" in run("account", "show", "nobody", code=os.EX_NOUSER).stderr
    run("account", "show", "../lanmail", code=os.EX_NOUSER)
    run("account", "show", "broken", code=os.EX_CONFIG)


def test_aliases_grow_and_shrink(run: Run, office: paths.Paths) -> None:
    run("account", "add", "meier")
    run("alias", "add", "Info", "meier", "x@example.org")
    assert run("alias", "add", "info", "MEIER", "abuse").stdout == "alias Info: meier, x@example.org, abuse\n"
    listed = json.loads(run("alias", "list", "--json").stdout)
    assert listed == [{"name": "info", "targets": ["meier", "x@example.org", "abuse"]}]
    run("alias", "add", "sales@office.lan", "info")
    assert "sales@office.lan" in run("alias", "list").stdout
    run("alias", "remove", "info", "abuse", "meier")
    assert config.load_aliases(office.aliases)["info", ""] == (("x", "example.org"),)
    run("alias", "remove", "info", "meier", code=os.EX_NOUSER)
    run("alias", "remove", "INFO")
    run("alias", "remove", "info", code=os.EX_NOUSER)


@pytest.mark.parametrize(
    ("name", "target", "code", "reason"),
    [
        ("info", "nobody", os.EX_NOUSER, "no account, alias or group 'nobody'"),
        ("info", "info", os.EX_DATAERR, "to itself"),
        ("info", "a b", os.EX_DATAERR, "neither a local name nor a mail address"),
        ("info", "x@", os.EX_DATAERR, "domain"),
        ("a b", "meier", os.EX_DATAERR, "neither a local name nor a mail address"),
        ("postmaster", "meier", os.EX_DATAERR, "reserved"),
        ("x@elsewhere.example", "meier", os.EX_DATAERR, "not a local domain"),
        ("inf\no", "meier", os.EX_DATAERR, "neither"),
    ],
)
def test_bad_aliases(run: Run, office: paths.Paths, name: str, target: str, code: int, reason: str) -> None:
    run("account", "add", "meier")
    assert reason in run("alias", "add", name, target, code=code).stderr
    assert not office.aliases.exists()


def test_without_a_configuration_it_says_what_to_do(run: Run, tmp_path: Path) -> None:
    for arguments in (["account", "list"], ["account", "add", "x"], ["account", "show", "x"], ["config", "check"]):
        said = run(*arguments, code=os.EX_CONFIG).stderr
        assert f"lanmail.toml: does not exist; `lanmail init --root {tmp_path} --domain DOMAIN` makes it" in said


def test_root_in_every_place(office: paths.Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    invoke = click.testing.CliRunner().invoke
    root = ["--root", str(office.root)]
    for arguments in (
        [*root, "account", "list"],
        ["account", *root, "list"],
        ["account", "list", *root],
        ["--root", "/nonexistent", "account", "list", *root],
    ):
        assert invoke(admin.cli, arguments).exit_code == 0
    monkeypatch.setenv("LANMAIL_ROOT", str(office.root))
    assert invoke(admin.cli, ["account", "list"]).exit_code == 0
    monkeypatch.setenv("LANMAIL_ROOT", "/nonexistent")
    assert invoke(admin.cli, ["account", "list", *root]).exit_code == 0, "--root counts more than the environment"


def test_usage_errors_have_their_exit_code(run: Run) -> None:
    for arguments in (["account", "ad"], ["nonsense"], ["account", "add"], ["account", "add", "x", "--nonsense"]):
        assert "Error" in run(*arguments, code=os.EX_USAGE).stderr
