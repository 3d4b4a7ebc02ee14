"""`lanmail account set` and `show` for what accounts say about their mail: sections, lists, texts, all or nothing."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, conffile, config, paths
from lanmail.cli import account as cli

Run = Callable[..., click.testing.Result]


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    made = paths.of_root(tmp_path)
    made.accounts.mkdir(parents=True)
    made.config_file.write_text(config.sample())
    return made


@pytest.fixture
def run(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("LANMAIL_ROOT", raising=False)

    def lanmail(*arguments: str, stdin: str | bytes | None = None, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, [*arguments, "--root", str(where.root)], input=stdin)
        assert result.exit_code == code, result.output
        return result

    lanmail("account", "add", "meier")
    return lanmail


def meier(where: paths.Paths) -> dict:
    return tomllib.loads((where.accounts / "meier.toml").read_text())


@pytest.mark.parametrize(("given", "section", "key", "stored"), [
    ("forward.to=eva@example.org", "forward", "to", ["eva@example.org"]),
    ("forward.to=eva@example.org;schmidt ; x@y.example;", "forward", "to",
     ["eva@example.org", "schmidt", "x@y.example"]),
    ("forward.to=eva@example.org,schmidt", "forward", "to", ["eva@example.org", "schmidt"]),
    ('forward.to=["eva@example.org"]', "forward", "to", ["eva@example.org"]),
    ("forward.keep=true", "forward", "keep", True),
    ("forward.keep=YES", "forward", "keep", True),
    ("forward.keep=off", "forward", "keep", False),
    ("autoresponder.enabled=yes", "autoresponder", "enabled", True),
    ("autoresponder.subject=Away: [SUBJECT]", "autoresponder", "subject", "Away: [SUBJECT]"),
    ("autoresponder.subject=@office", "autoresponder", "subject", "@office"),
    ("autoresponder.subject=-", "autoresponder", "subject", "-"),
    ("autoresponder.subject=2026", "autoresponder", "subject", "2026"),
    ("autoresponder.from=2026-12-24", "autoresponder", "from", "2026-12-24"),
    ("autoresponder.until=2026-12-24 18:00", "autoresponder", "until", "2026-12-24 18:00"),
    ("autoresponder.once_per=1d", "autoresponder", "once_per", "1d"),
    ("autoresponder.forward=chef;x@example.org", "autoresponder", "forward", ["chef", "x@example.org"]),
    ("autoresponder.text=I am away.", "autoresponder", "text", "I am away."),
    ("einvoice.enabled=true", "einvoice", "enabled", True),
    ("einvoice.forward=buch@example.org", "einvoice", "forward", ["buch@example.org"]),
    ("sms.to=00491791234567", "sms", "to", "00491791234567"),
    ("sms.to=+491791234567", "sms", "to", "+491791234567"),
])
def test_a_key_of_a_section(run: Run, where: paths.Paths, given: str, section: str, key: str, stored: object) -> None:
    path = where.accounts / "meier.toml"
    before = path.read_text()
    assert run("account", "set", "meier", given).stdout.startswith(f"meier: {section}.{key} = ")
    assert meier(where)[section] == {key: stored}
    assert len(path.read_text().splitlines()) == len(before.splitlines()), "set in its place, comments kept"
    assert run("account", "set", "meier", f"{section}.{key}=").stdout == f"meier: {section}.{key} has its default\n"
    assert path.read_text() == before


@pytest.mark.parametrize(("data", "stored"), [
    (b"Gr\xc3\xbc\xc3\x9fe\r\n\r\n-- \r\nEva\r\n", "Grüße\n\n-- \nEva\n"), (b"\xef\xbb\xbfone line", "one line")])
def test_a_text_from_a_file_or_standard_input(run: Run, where: paths.Paths, data: bytes, stored: str) -> None:
    (where.root / "away.txt").write_bytes(data)
    run("account", "set", "meier", f"autoresponder.text=@{where.root}/away.txt")
    assert meier(where)["autoresponder"]["text"] == stored
    run("account", "set", "meier", "autoresponder.text=")
    run("account", "set", "meier", "autoresponder.text=-", stdin=data)
    assert meier(where)["autoresponder"]["text"] == stored


def test_a_text_that_cannot_be_read(run: Run, where: paths.Paths) -> None:
    before = meier(where)
    assert "No such file" in run("account", "set", "meier", "autoresponder.text=@/nowhere", code=os.EX_NOINPUT).stderr
    run("account", "set", "meier", f"autoresponder.text=@{where.root}", code=os.EX_NOINPUT)
    said = run("account", "set", "meier", "autoresponder.text=-", stdin=b"\xff\xfe", code=os.EX_DATAERR).stderr
    assert "standard input is not UTF-8" in said
    run("account", "set", "meier", "autoresponder.text=-", stdin="x" * 70_000, code=os.EX_DATAERR)
    assert meier(where) == before


def test_all_settings_or_none(run: Run, where: paths.Paths) -> None:
    before = (where.accounts / "meier.toml").read_text()
    run("account", "set", "meier", "autoresponder.enabled=true", "forward.to=a b", code=os.EX_DATAERR)
    run("account", "set", "meier", "autoresponder.enabled=true", "autoresponder.untill=x", code=os.EX_USAGE)
    run("account", "set", "meier", "postmaster=true", "forward.keep=perhaps", code=os.EX_DATAERR)
    assert (where.accounts / "meier.toml").read_text() == before
    run("account", "set", "meier", "autoresponder.from=2026-12-01", "autoresponder.until=2026-12-05")
    said = run("account", "set", "meier", "autoresponder.from=2026-12-20", code=os.EX_DATAERR).stderr
    assert "until" in said
    run("account", "set", "meier", "autoresponder.from=2026-12-20", "autoresponder.until=2026-12-31")
    assert meier(where)["autoresponder"] == {"from": "2026-12-20", "until": "2026-12-31"}


@pytest.mark.parametrize(("wrong", "guess"), [
    ("forwrad.to=x", "forward.to"), ("keep=true", "keep"), ("autoresponder.subjekt=x", "autoresponder.subject"),
    ("enabled=true", "enabled"), ("sent_copies=true", "sent_copy"), ("forward=x", ""),
])
def test_unknown_keys_are_guessed(run: Run, wrong: str, guess: str) -> None:
    said = run("account", "set", "meier", wrong, code=os.EX_USAGE).stderr
    assert f"there is no key '{wrong.partition('=')[0]}'" in said
    assert not guess or guess in said.partition("did you mean")[2]


def test_a_file_that_is_broken_already_says_so(run: Run, where: paths.Paths) -> None:
    (where.accounts / "meier.toml").write_text("disabled = 1\n")
    said = run("account", "set", "meier", "forward.keep=true", code=os.EX_CONFIG).stderr
    assert "meier.toml:1: disabled: must be true or false" in said


def test_show_tells_sections_readably(run: Run, where: paths.Paths) -> None:
    run("account", "set", "meier", "forward.to=eva@example.org;schmidt", "forward.keep=yes", "sent_copy=yes")
    run("account", "set", "meier", "autoresponder.text=-", "autoresponder.from=2026-12-24", stdin="away\n\nEva\n")
    lines = run("account", "show", "meier").stdout.splitlines()
    assert "sent copy          yes" in lines
    at = lines.index("[forward]")
    assert lines[at:at + 3] == ["[forward]", "to                 eva@example.org, schmidt", "keep               yes"]
    at = lines.index("[autoresponder]")
    assert lines[at + 1:at + 5] == ["from               2026-12-24", "text               away", " " * 19,
                                    " " * 19 + "Eva"]
    assert not any("{" in line or "[sms]" in line for line in lines)
    shown = json.loads(run("account", "show", "meier", "--json").stdout)
    assert shown["forward"] == {"to": ["eva@example.org", "schmidt"], "keep": True}
    assert shown["autoresponder"]["from"] == "2026-12-24"


def test_postmaster_moves_with_other_settings(run: Run, where: paths.Paths) -> None:
    run("account", "add", "schmidt")
    said = run("account", "set", "schmidt", "full_name=Schmidt", "postmaster=yes").stdout
    assert said.endswith("schmidt is now postmaster and gets mail to postmaster and abuse; meier no longer is\n")
    assert meier(where)["postmaster"] is False
    assert config.load_account(where.accounts / "schmidt.toml").postmaster
    said = run("account", "set", "schmidt", "postmaster=no").stdout
    assert "nobody is postmaster now" in said


def test_killed_while_the_postmaster_moves_there_is_one_still(run: Run, where: paths.Paths,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    run("account", "add", "schmidt")
    edit, done = config.edit, []

    def killed(path: Path, changes: dict) -> None:
        if done:
            raise KeyboardInterrupt
        edit(path, changes)
        done.append(path.stem)
    monkeypatch.setattr(config, "edit", killed)
    with pytest.raises(KeyboardInterrupt):
        cli.make_postmaster(where, "schmidt")
    monkeypatch.undo()
    assert done == ["schmidt"]
    (problem,) = config.check(where)
    assert "only one account can be postmaster, now there are meier, schmidt" in problem.text
    assert "meier no longer is" in run("account", "set", "schmidt", "postmaster=true").stdout
    assert config.check(where) == []


def test_two_postmasters_written_by_hand_are_told(run: Run, where: paths.Paths) -> None:
    run("account", "add", "schmidt")
    conffile.edit(where.accounts / "schmidt.toml", {("postmaster",): True}, lambda _document: None)
    assert "only one account can be postmaster" in run("config", "check", code=os.EX_CONFIG).output
    assert "only one account can be postmaster" in run("doctor", code=os.EX_UNAVAILABLE).output
