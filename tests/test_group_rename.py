"""Another name for a group: everything that names it follows, mail to both names arrives all the time."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lanmail import admin, conffile, config
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.administration import grouping, renaming
from lanmail.errors import ConfigError
from lanmail.folders import acl
from lanmail.logins import apikeys
from lanmail.paths import Paths
from lanmail.settings import Settings
from tests import browsing, webserver
from tests.browsing import Browser

GROUPS = """# ours
[sales]  # of Eva
members = ["meier", "eva@far.example"]
may_post = ["local", "sales"]
[all]
members = ["Sales", "sales@office.lan", "sales@far.example", "salesx"]
may_post = ["sales"]
owner = "sales-owner"
"""


@pytest.fixture
def where(tmp_path: Path) -> Paths:
    made = browsing.lay_out(tmp_path, drin='groups = ["sales", "other"]\n[forward]\nto = ["sales", "meier"]\n',
                            team='shared = true\nmembers = ["group:sales=lr", "meier"]\n')
    made.groups.write_text(GROUPS)
    made.aliases.write_text('verkauf = "sales"\n')
    folder = made.maildirs / "meier/.Akten"
    folder.mkdir(parents=True)
    (folder / acl.NAME).write_text("# ours\ngroup=sales lr\n-group=sales t\nuser=sales lr\n")
    return made


def settings(where: Paths) -> Settings:
    return config.load(where)


def data(path: Path) -> dict[str, Any]:
    return conffile.read(path).data


def test_what_names_it_follows(where: Paths) -> None:
    told = renaming.rename_group(where, settings(where), "Sales", "Vertrieb")
    found = data(where.groups)
    assert found == {"vertrieb": {"members": ["meier", "eva@far.example"], "may_post": ["local", "vertrieb"]},
                     "all": {"members": ["vertrieb", "vertrieb@office.lan", "sales@far.example", "salesx"],
                             "may_post": ["vertrieb"], "owner": "vertrieb-owner"}}
    assert where.groups.read_text().startswith("# ours")
    assert data(where.aliases) == {"verkauf": "vertrieb", "sales": ["vertrieb"]}
    drin = config.load_account(where.accounts / "drin.toml")
    assert (drin.groups, drin.forward.to) == (["vertrieb", "other"], ["vertrieb", "meier"])
    assert config.load_account(where.accounts / "team.toml").members == ["group:vertrieb=lr", "meier"]
    assert (where.maildirs / "meier/.Akten" / acl.NAME).read_text() == (
        "# ours\ngroup=vertrieb lr\n-group=vertrieb t\nuser=sales lr\n")
    assert "alias sales leads to vertrieb" in told
    assert not (where.state / "renaming-group").exists()
    config.load(where)
    directory = Directory(where, lambda: settings(where))
    for name in ("sales", "vertrieb", "verkauf"):
        assert directory.resolve(Address(name, "office.lan")).groups == ("vertrieb",), name


def test_without_an_alias(where: Paths) -> None:
    renaming.rename_group(where, settings(where), "sales", "vertrieb", alias=False)
    directory = Directory(where, lambda: settings(where))
    assert directory.resolve(Address("sales", "office.lan")).kind == "unknown"


@pytest.mark.parametrize(("old", "new", "kind"), [
    ("none", "x", grouping.Unknown), ("sales", "meier", grouping.Taken), ("sales", "all", grouping.Taken),
    ("sales", "verkauf", grouping.Taken), ("sales", "ä b", grouping.Refused), ("sales", "../x", grouping.Refused),
    ("sales", "postmaster", grouping.Refused), ("sales", "everyone", grouping.Refused),
])
def test_names_that_cannot_be(where: Paths, old: str, new: str, kind: type[grouping.Refused]) -> None:
    with pytest.raises(kind):
        renaming.rename_group(where, settings(where), old, new)
    assert where.groups.read_text() == GROUPS


@pytest.mark.parametrize("step", ["copy_group", "rename_in_conf", "rename_in_folders"])
def test_killed_at_any_step(where: Paths, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Mail to the old name arrives, and the same call goes on with it."""
    real = getattr(renaming._OfGroup, step)

    def killed(self: renaming._OfGroup) -> Any:
        list(real(self) or ())
        raise KeyboardInterrupt

    loaded = settings(where)
    with monkeypatch.context() as patch:
        patch.setattr(renaming._OfGroup, step, killed)
        with pytest.raises(KeyboardInterrupt):
            renaming.rename_group(where, loaded, "sales", "vertrieb")
    assert Directory(where, lambda: loaded).resolve(Address("sales", "office.lan")).groups
    config.load(where)
    with pytest.raises(grouping.Refused, match="lanmail group rename sales vertrieb"):
        renaming.rename_group(where, loaded, "all", "alle")
    renaming.rename_group(where, loaded, "sales", "vertrieb")
    assert set(data(where.groups)) == {"vertrieb", "all"}
    assert Directory(where, lambda: loaded).resolve(Address("sales", "office.lan")).groups == ("vertrieb",)


def test_killed_between_the_alias_and_the_end_of_the_old_group(where: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of one name are no mistake of anybody's then: programs start, and the same command goes on."""
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(renaming.grouping, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            renaming.rename_group(where, settings(where), "sales", "vertrieb")
    config.load(where)
    run = CliRunner()
    done = run.invoke(admin.cli, ["group", "rename", "sales", "vertrieb", "--root", str(where.root)])
    assert done.exit_code == 0, done.output
    config.load(where)
    assert set(data(where.groups)) == {"vertrieb", "all"}
    config.edit(where.groups, {("sales", "members"): ["meier"]})
    with pytest.raises(ConfigError, match="an alias has this name, too"):
        config.load(where)


def test_by_command(where: Paths) -> None:
    run = CliRunner()
    done = run.invoke(admin.cli, ["group", "rename", "sales", "vertrieb", "--root", str(where.root)])
    assert (done.exit_code, "vertrieb@office.lan" in done.output) == (0, True), done.output
    assert run.invoke(admin.cli, ["group", "rename", "none", "x", "--root", str(where.root)]).exit_code == 67


async def test_by_api_and_page(where: Paths) -> None:
    async with webserver.serving(where) as web:
        key = apikeys.add(where.conf / "api.toml", "admin", "admin", [])
        answer = await web.post("/api/v1/group.rename", json={"name": "sales", "new_name": "meier"},
                                headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["error"]["field"]) == (409, "new_name")
        browser = Browser(web, "de")
        await browser.login("chef")
        page = await browser.go("/admin/groups/sales/rename")
        page = await browser.send(page, "/admin/groups/sales/rename", new_name="ä")
        assert (page.status, page.problems[0][:17]) == (400, "Ein Name hat nur ")
        page = await browser.send(page, "/admin/groups/sales/rename", new_name="vertrieb")
        assert page.note.startswith("Umbenannt")
        assert page.title == "Gruppe vertrieb"
