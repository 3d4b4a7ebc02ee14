"""`lanmail config` as people type it."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config, paths

Run = Callable[..., click.testing.Result]


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text(config.sample())
    return found


@pytest.fixture
def run(where: paths.Paths) -> Run:
    def lanmail(*arguments: str, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, ["config", *arguments, "--root", str(where.root)])
        assert result.exit_code == code, result.output
        return result

    return lanmail


def test_check(run: Run, where: paths.Paths) -> None:
    assert run("check").stdout == f"{where.config_file}: ok (0 accounts)\n"
    assert json.loads(run("check", "--json").stdout) == []
    where.config_file.write_text('[server]\ndomain = "office.lan"\nlisten = ["x"]\n[smptd]\n')
    said = run("check", code=os.EX_CONFIG).stderr.splitlines()
    assert said[0].startswith(f"{where.config_file}:3: server.listen[0]: 'x' is not an IP address")
    assert said[1] == f"{where.config_file}:4: unknown key 'smptd'; did you mean 'smtpd'?"
    listed = json.loads(run("check", "--json", code=os.EX_CONFIG).stdout)
    assert [entry["line"] for entry in listed] == [3, 4]


def test_show(run: Run) -> None:
    every = run("show").stdout.splitlines()
    assert 'smtpd.max_size = "50MB"' in every
    assert "smtpd.lan.port = 0" in every
    assert tomllib.loads("\n".join(every))["server"]["hostname"] == "mail.office.lan"
    assert run("show", "smtpd.max_size").stdout == "50MB\n"
    assert run("show", "server.listen").stdout == "127.0.0.1, ::1\n"
    assert json.loads(run("show", "server.listen", "--json").stdout) == ["127.0.0.1", "::1"]
    assert set(json.loads(run("show", "log", "--json").stdout)) == {"log.level", "log.keep_days"}
    assert run("show", "--changed").stdout == 'server.domain = "office.lan"\n'
    assert "did you mean 'smtpd.max_size'?" in run("show", "max_size", code=os.EX_USAGE).stderr


@pytest.mark.parametrize(
    ("key", "words", "value"),
    [
        ("smtpd.max_size", ["100MB"], "100MB"),
        ("smtpd.max_size", ["1000"], 1000),
        ("server.domain", ["firma.example"], "firma.example"),
        ("server.umask", ["007"], "007"),
        ("server.listen", ["0.0.0.0", "::"], ["0.0.0.0", "::"]),
        ("server.listen", ["0.0.0.0,::"], ["0.0.0.0", "::"]),
        ("server.listen", ['["0.0.0.0"]'], ["0.0.0.0"]),
        ("server.extra_domains", ["a.example"], ["a.example"]),
        ("httpd.enabled", ["true"], True),
        ("smtpd.bare_lf", ["reject"], "reject"),
        ("smtpd.bare_lf", ['"reject"'], "reject"),
        ("smtpd.lan.senders", ['{"10.0.0.1" = "a@b.example"}'], {"10.0.0.1": "a@b.example"}),
    ],
)
def test_set_and_unset(run: Run, where: paths.Paths, key: str, words: list[str], value: object) -> None:
    before = where.config_file.read_text()
    assert run("set", key, *words).stdout.startswith(f"{key} = ")
    text = where.config_file.read_text()
    found = tomllib.loads(text)
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert len(text.splitlines()) == len(before.splitlines()), "set in its place"
    assert sum(old != new for old, new in zip(before.splitlines(), text.splitlines(), strict=True)) == 1
    if key != "server.domain":
        run("unset", key)
        assert where.config_file.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["smtpd.max_siz", "5"], os.EX_USAGE, "did you mean 'smtpd.max_size'?"),
        (["max_size", "5"], os.EX_USAGE, "did you mean 'smtpd.max_size'?"),
        (["smtpd", "5"], os.EX_USAGE, "there is no key 'smtpd'"),
        (["smtpd.max_size", "many"], os.EX_DATAERR, "is not a size"),
        (["smtpd.mx_port", "587"], os.EX_DATAERR, "already used by"),
        (["log.keep_days", "soon"], os.EX_DATAERR, "must be a whole number"),
        (["httpd.enabled", "perhaps"], os.EX_DATAERR, "must be true or false"),
        (["smtpd.lan.port", "2500"], os.EX_DATAERR, "smtpd.lan.networks must name"),
        (["server.domain", "a\nb = 1"], os.EX_DATAERR, "is not a domain"),
        (["server.domain"], os.EX_USAGE, "VALUE"),
    ],
)
def test_set_refuses(run: Run, where: paths.Paths, arguments: list[str], code: int, reason: str) -> None:
    before = where.config_file.read_text()
    assert reason in run("set", *arguments, code=code).stderr
    assert where.config_file.read_text() == before


def test_set_in_a_broken_file_names_its_problem(run: Run, where: paths.Paths) -> None:
    where.config_file.write_text('[server]\ndomain = "office.lan"\n[log]\nlevel = "loud"\n')
    assert "lanmail.toml:4: log.level" in run("set", "smtpd.max_size", "5MB", code=os.EX_CONFIG).stderr
    run("set", "log.level", "info")
    assert config.load(where).log.level == "info"


def test_schema(run: Run) -> None:
    made = json.loads(run("schema").stdout)
    assert made["title"] == "conf/lanmail.toml"
    assert "postmaster" in json.loads(run("schema", "--account").stdout)["properties"]
