"""`lanmail group` as people type it."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config, groups, paths

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lanmail ARGUMENTS... --root TMP`."""
    monkeypatch.delenv("LANMAIL_ROOT", raising=False)

    def lanmail(*arguments: str, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, [*arguments, "--root", str(tmp_path)])
        assert result.exit_code == code, result.output
        return result

    return lanmail


@pytest.fixture
def office(tmp_path: Path) -> paths.Paths:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text('[server]\ndomain = "office.lan"\nextra_domains = ["firma.example"]\n')
    for name, text in (("meier", ""), ("schmidt", ""), ("chef", "postmaster = true\n")):
        (where.accounts / f"{name}.toml").write_text(text or "disabled = false\n")
        (where.accounts / f"{name}.toml").chmod(0o640)
    where.aliases.write_text('info = ["sales"]\n')
    return where


def test_groups_grow_and_shrink(run: Run, office: paths.Paths) -> None:
    assert "lanmail group add NAME" in run("group", "list").stdout
    said = run("group", "add", "Sales", "Meier", "eva@example.org").stdout
    assert said == ("group sales made: sales@office.lan reaches meier, eva@example.org\n"
                    "anybody may write to it\n")
    assert run("group", "add-member", "sales", "schmidt", "MEIER", "postmaster").stdout == (
        "group sales: meier, eva@example.org, schmidt, postmaster\n")
    assert run("group", "remove-member", "SALES", "Eva@Example.org", "meier").stdout == (
        "group sales: schmidt, postmaster\n")
    assert "x: not a member of sales; it has schmidt, postmaster" in run(
        "group", "remove-member", "sales", "schmidt", "x", code=67).output
    assert groups.load(office.groups)["sales"].members == ["schmidt", "postmaster"]
    assert run("group", "remove", "sales").stdout == "group sales removed\nwarning: alias info still leads to sales\n"
    assert groups.load(office.groups) == {}


def test_comments_and_spelling_stay(run: Run, office: paths.Paths) -> None:
    office.groups.write_text('# who sells\n[Sales]  # here\nmembers = ["Meier"]\n\n# the rest\n[support]\n')
    run("group", "add-member", "sales", "schmidt")
    run("group", "set", "sales", "may_post=members", 'subject_tag=[Sales]')
    text = office.groups.read_text()
    assert text == ('# who sells\n[Sales]  # here\nmembers = ["Meier", "schmidt"]\nmay_post = ["members"]\n'
                    'subject_tag = "[Sales]"\n\n# the rest\n[support]\n')
    run("group", "set", "sales", "may_post=", "subject_tag=")
    run("group", "add", "third", "meier")
    assert office.groups.read_text().startswith('# who sells\n[Sales]  # here\nmembers = ["Meier", "schmidt"]\n')
    assert config.check(office) == []


def test_a_new_file_begins_with_what_can_stand_in_it(run: Run, office: paths.Paths) -> None:
    run("group", "add", "everyone")
    assert office.groups.read_text().startswith(groups.TITLE)
    assert groups.load(office.groups)["everyone"].may_post == ["local"]


@pytest.mark.parametrize(("arguments", "code", "reason"), [
    (["add", "meier", "schmidt"], 65, "there is an account 'meier' already"),
    (["add", "INFO", "schmidt"], 65, "there is an alias 'info' already"),
    (["add", "postmaster", "schmidt"], 65, "'postmaster' is a reserved name"),
    (["add", "a/b", "schmidt"], 65, "'a/b': a name has letters"),
    (["add", "sales", "shmidt"], 67, "there is no account, alias or group 'shmidt'; did you mean 'schmidt'?"),
    (["add", "sales", "x@firma.example"], 67, "there is no account, alias or group 'x@firma.example'"),
    (["add", "sales", "a b"], 65, "'a b' is neither a local name nor a mail address"),
    (["add", "sales"], 64, "who is in it? lanmail group add sales MEMBER..."),
    (["set", "sales", "owner=meier"], 67, "there is no group 'sales'"),
    (["set", "team", "may_posts=local"], 64, "there is no key 'may_posts'; did you mean 'may_post'?"),
    (["set", "team", "reply_to=list"], 65, "team.reply_to: must be 'none', 'sender' or 'group', not 'list'"),
    (["set", "team", "owner"], 64, "'owner' is not KEY=VALUE"),
    (["set", "team", "name=x"], 64, "there is no key 'name'"),
    (["show", "taem"], 67, "there is no group 'taem'; did you mean 'team'?"),
    (["test", "taem"], 67, "'taem' leads to no group; did you mean 'team'?"),
    (["test", "a b@c"], 65, "'a b@c' is not an address"),
    (["test", "team", "--account", "maier"], 67, "there is no account 'maier'; did you mean 'meier'?"),
])
def test_what_is_wrong(run: Run, office: paths.Paths, arguments: list[str], code: int, reason: str) -> None:
    office.groups.write_text('[team]\nmembers = ["meier"]\n')
    assert reason in run("group", *arguments, code=code).output
    assert office.groups.read_text() == '[team]\nmembers = ["meier"]\n'


def test_what_check_would_say_is_told(run: Run, office: paths.Paths) -> None:
    office.groups.write_text('[team]\nmembers = ["meier"]\n')
    assert "warning: group 'team': owner: there is no account" in run("group", "set", "team", "owner=nobody").output
    assert "warning: group 'team': is a member of itself" in run("group", "add-member", "team", "team").output


def test_a_name_that_a_group_has_is_taken(run: Run, office: paths.Paths) -> None:
    office.groups.write_text('[team]\nmembers = ["meier"]\n')
    assert "'team' is a group already" in run("account", "add", "Team", code=65).output
    assert "there is a group 'team' already" in run("alias", "add", "team", "meier", code=65).output
    run("alias", "add", "crew", "team")
    assert "did you mean" not in run("group", "test", "crew").output


def test_test_says_who_gets_it_and_who_may_write(run: Run, office: paths.Paths) -> None:
    office.groups.write_text(
        '[team]\nmembers = ["meier", "inner", "gone", "eva@example.org"]\nmay_post = ["members", "boss@far.example"]\n'
        '[inner]\nmembers = ["everyone", "team"]\n[everyone]\n')
    found, = json.loads(run("group", "test", "Team@firma.example", "--json").stdout)
    assert found == {
        "group": "team", "accounts": ["meier", "chef", "schmidt"], "outside": ["eva@example.org"],
        "groups_in_it": ["inner", "everyone"], "owner_is": ["chef"], "unknown": ["gone"],
        "in_a_ring": ["team → inner → team"], "who_may_write": "its members, boss@far.example"}
    assert "goes to the members" in run("group", "test", "team", "--account", "meier").output
    assert "goes to the members" in run("group", "test", "team", "--sender", "boss@far.example").output
    assert "goes to the owner" in run("group", "test", "team", "--sender", "<>").output
    refused = run("group", "test", "team", "--sender", "meier@office.lan", code=1)
    assert "550 5.7.1 You may not write to the group team" in refused.output


def test_listed_and_shown(run: Run, office: paths.Paths) -> None:
    office.groups.write_text('[team]\nmembers = ["meier"]\ndomains = ["firma.example"]\n[everyone]\nowner = "meier"\n')
    assert run("group", "list").stdout.splitlines() == [
        "GROUP     MEMBERS     WHO MAY WRITE                   OWNER",
        "everyone  all people  who is logged in or in the LAN  meier",
        "team      meier       anybody                         postmaster"]
    listed = json.loads(run("group", "list", "--json").stdout)
    assert [one["name"] for one in listed] == ["team", "everyone"]
    shown = json.loads(run("group", "show", "team", "--json").stdout)
    assert shown["addresses"] == ["team@firma.example"]
    assert shown["accounts"] == ["meier"]
    assert "addresses        everyone@office.lan, everyone@firma.example" in run("group", "show", "everyone").stdout


def test_accounts_know_their_groups(run: Run, office: paths.Paths) -> None:
    office.groups.write_text('[team]\nmembers = ["meier"]\nowner = "meier"\nmay_post = ["meier"]\n')
    assert json.loads(run("account", "show", "meier", "--json").stdout)["member_of"] == ["team"]
    said = run("account", "remove", "meier").stdout
    for key in ("members", "may_post", "owner"):
        assert f"warning: group team still has meier in {key}\n" in said


def test_broken_files_are_told(run: Run, office: paths.Paths) -> None:
    office.groups.write_text("[team\n")
    for arguments in (["list"], ["add", "sales", "meier"], ["set", "team", "owner=meier"], ["test", "team"]):
        assert "groups.toml:1: is not TOML" in run("group", *arguments, code=78).output


def test_init_writes_a_sample(run: Run, tmp_path: Path) -> None:
    run("init", "--domain", "office.lan")
    where = paths.of_root(tmp_path)
    assert where.groups.read_text() == groups.TITLE
    assert groups.load(where.groups) == {}


def test_schema(run: Run, office: paths.Paths) -> None:
    made = json.loads(run("config", "schema", "--groups").stdout)
    assert "may_post" in made["additionalProperties"]["properties"]
    assert "name" not in made["additionalProperties"]["properties"]
