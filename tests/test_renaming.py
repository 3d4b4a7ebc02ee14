"""renaming.py: all that carries an account's name moves, mail arrives all the time, a kill at any step is mended."""

from pathlib import Path
from typing import Any

import pytest

from lanmail import config, secret, secretfiles
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.administration import enrolment, renaming
from lanmail.folders import acl
from lanmail.logins import apikeys, grants
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import place
from tests import webserver

MEIER = """# Eva
full_name = "Eva"  # married
postmaster = true
send_as = ["meier@office.lan", "x@far.example"]

[forward]
to = ["meier@elsewhere.example", "chef"]

[outgoing]
password = "file:secrets/meier.outgoing.password"

[sources.gmx]
interface = "standard"
host = "imap.gmx.example"
password = "file:secrets/source-meier-gmx"
fallback = "Meier"
"""
CHEF = """[forward]
to = ["Meier", "meier@office.lan", "meier@far.example", "meierx"]
[autoresponder]
forward = "meier; chef2"
[einvoice]
other_forward = ["meier"]
"""


@pytest.fixture
def where(tmp_path: Path) -> Paths:
    made = webserver.lay_out(tmp_path)
    (made.accounts / "meier.toml").write_text(MEIER)
    (made.accounts / "chef.toml").write_text(CHEF)
    (made.accounts / "team.toml").write_text('shared = true\nmembers = ["meier=lr", "group:meier"]\n')
    (made.accounts / "kaputt.toml").write_text("quota = 'x'\n")
    made.groups.write_text('[verkauf]\nmembers = ["Meier", "eva@far.example"]\nmay_post = ["meier"]\nowner = "meier"\n')
    made.aliases.write_text('info = "meier"  # all\n"ein@office.lan" = ["meier@office.lan", "chef"]\n')
    for folder in ("", "/.Akten"):
        for sub in ("tmp", "new", "cur"):
            (made.maildirs / f"meier{folder}" / sub).mkdir(parents=True)
    (made.maildirs / "meier/new/1.a.b").write_text("mail")
    (made.maildirs / "chef/.Akten").mkdir(parents=True)
    (made.maildirs / "chef/.Akten" / acl.NAME).write_text("# ours\nuser=meier lr\n-user=meier t\nuser=eva lr\n")
    secretfiles.write(made, "meier", ("outgoing", "password"), "1")
    secretfiles.put(made, "source-meier-gmx", b"2\n")
    for name in ("autoresponder/meier", "commands/meier.json", "sms/meier.json", "einvoice/meier", "import/meier"):
        (made.state / name).parent.mkdir(parents=True, exist_ok=True)
        (made.state / name).write_text("kept")
    uids = place.directory(made, "meier", "gmx") / "INBOX.uids"
    uids.parent.mkdir(parents=True)
    uids.write_text("uids")
    apikeys.add(made.conf / "api.toml", "script", "account:meier", [])
    grants.Register(made.state).add_client("meier", "Mutt", ["SMTP.Send"])
    return made


def settings(where: Paths) -> Settings:
    return config.load(where)


def data(path: Path) -> dict[str, Any]:
    return config.conffile.read(path).data


def test_all_that_carries_the_name(where: Paths) -> None:
    told = renaming.rename(where, settings(where), "meier", "Weber")
    assert not (where.accounts / "meier.toml").exists()
    text = (where.accounts / "weber.toml").read_text()
    assert text.startswith('# Eva\nfull_name = "Eva"  # married\n')
    account = config.load_account(where.accounts / "weber.toml")
    assert account.send_as == ["weber@office.lan", "x@far.example"]
    assert account.forward.to == ["meier@elsewhere.example", "chef"]
    assert account.sources["gmx"].fallback == "weber"
    assert secret.read(account.outgoing.password, where.conf).reveal() == "1"
    assert secret.read(account.sources["gmx"].password, where.conf).reveal() == "2"
    assert (where.maildirs / "weber/new/1.a.b").read_text() == "mail"
    assert (where.maildirs / "weber/.Akten/cur").is_dir()
    assert not (where.maildirs / "meier").exists()
    chef = config.load_account(where.accounts / "chef.toml")
    assert chef.forward.to == ["weber", "weber@office.lan", "meier@far.example", "meierx"]
    assert chef.autoresponder.forward == ["weber", "chef2"]
    assert chef.einvoice.other_forward == ["weber"]
    assert data(where.accounts / "team.toml")["members"] == ["weber=lr", "group:meier"]
    assert data(where.groups)["verkauf"] == {"members": ["weber", "eva@far.example"], "may_post": ["weber"],
                                             "owner": "weber"}
    assert data(where.aliases) == {"info": "weber", "ein@office.lan": ["weber@office.lan", "chef"], "meier": ["weber"]}
    assert '"weber"  # all' in where.aliases.read_text()
    assert (where.maildirs / "chef/.Akten" / acl.NAME).read_text() == (
        "# ours\nuser=weber lr\n-user=weber t\nuser=eva lr\n")
    for name in ("autoresponder/weber", "commands/weber.json", "sms/weber.json", "einvoice/weber", "import/weber"):
        assert (where.state / name).read_text() == "kept"
    assert (place.directory(where, "weber", "gmx") / "INBOX.uids").read_text() == "uids"
    assert apikeys.load(where.conf / "api.toml")["script"].rights == "account:weber"
    assert [one.account for one in grants.Register(where.state).clients()] == ["weber"]
    assert not (where.state / "renaming").exists()
    assert "account chef names it anew" in told
    assert "alias meier leads to weber" in told
    assert sorted(path.name for path in where.secrets.iterdir()) == ["source-weber-gmx", "weber.outgoing.password"]


def test_mail_to_the_old_name(where: Paths) -> None:
    renaming.rename(where, settings(where), "meier", "weber")
    directory = Directory(where, lambda: settings(where))
    assert directory.resolve(Address("meier", "office.lan")).accounts == ("weber",)
    (where.accounts / "kaputt.toml").unlink()
    assert [one.text for one in config.check(where) if "alias" in one.text and "weber" in one.text] == []
    renaming.rename(where, settings(where), "weber", "schmidt", alias=False)
    directory = Directory(where, lambda: settings(where))
    assert directory.resolve(Address("weber", "office.lan")).kind == "unknown"
    assert directory.resolve(Address("meier", "office.lan")).accounts == ("schmidt",)
    assert "weber" not in data(where.aliases)


@pytest.mark.parametrize(("old", "new", "why"), [
    ("niemand", "x", "there is no account"), ("meier", "chef", "already"), ("meier", "info", "alias already"),
    ("meier", "verkauf", "group already"), ("meier", "müller", "umlauts"), ("meier", "../x", "letters a to z"),
    ("meier", "postmaster", "reserved"), ("meier", "alt", "mail of a former account"), ("meier", "", "needed"),
])
def test_what_is_refused_changes_nothing(where: Paths, old: str, new: str, why: str) -> None:
    (where.maildirs / "alt").mkdir()
    before = {path: path.read_bytes() for path in where.root.rglob("*") if path.is_file() and ".lock" not in path.name}
    with pytest.raises(enrolment.Refused, match=why):
        renaming.rename(where, settings(where), old, new)
    after = {path: path.read_bytes() for path in where.root.rglob("*") if path.is_file() and ".lock" not in path.name}
    after.pop(where.state / "renaming.lock", None)
    assert after == before


STEPS = ["move_mail", "move_account", "move_memories", "rename_in_conf", "rename_keys", "rename_in_folders"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("late", [False, True])
def test_killed_at_any_step(where: Paths, monkeypatch: pytest.MonkeyPatch, step: str, late: bool) -> None:
    """The same call goes on with it, and what came in meanwhile under the old name is there."""
    real = getattr(renaming._Work, step)

    def killed(self: renaming._Work) -> Any:
        if late:
            list(real(self) or ())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(renaming._Work, step, killed)
        with pytest.raises(KeyboardInterrupt):
            renaming.rename(where, settings(where), "meier", "weber")
    directory = Directory(where, lambda: Settings.model_validate(data(where.config_file)))
    assert len(directory.resolve(Address("meier", "office.lan")).accounts) == 1
    for sub in ("tmp", "new", "cur"):
        (where.maildirs / "meier/.Neu" / sub).mkdir(parents=True, exist_ok=True)
        (where.maildirs / "meier" / sub).mkdir(parents=True, exist_ok=True)
    (where.maildirs / "meier/new/2.a.b").write_text("late")
    (where.maildirs / "meier/.Neu/cur/3.a.b").write_text("later")
    if step != "move_mail":
        with pytest.raises(enrolment.Refused, match=r"lanmail account rename meier weber|no account"):
            renaming.rename(where, Settings.model_validate(data(where.config_file)), "chef", "other")
    renaming.rename(where, Settings.model_validate(data(where.config_file)), "meier", "weber")
    assert (where.maildirs / "weber/new/2.a.b").read_text() == "late"
    assert (where.maildirs / "weber/.Neu/cur/3.a.b").read_text() == "later"
    assert (where.maildirs / "weber/new/1.a.b").exists()
    assert data(where.groups)["verkauf"]["owner"] == "weber"
    assert config.load_account(where.accounts / "weber.toml").outgoing.password == secretfiles.reference(
        "weber", ("outgoing", "password"))
    assert not (where.state / "renaming").exists()
