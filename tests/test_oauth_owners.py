"""oauth/owners.py: what becomes of log-ins at providers when an account ends or gets another name."""

from pathlib import Path

import pytest

from lanmail import config, paths
from lanmail.administration import enrolment, renaming
from lanmail.oauth import owners, store
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from lanmail.sources import register

EVA = "eva@firma.example"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text(config.sample())
    for name in ("meier", "chef"):
        (found.accounts / f"{name}.toml").write_text("disabled = false\n")
        (found.maildirs / name).mkdir(parents=True)
    kept = Store(found)
    kept.prepare()
    kept.save(store.Record("test", EVA, account="meier", refresh=Secret("refresh")))
    kept.publish(store.Access("test", EVA, secret=Secret("access")))
    return found


def record(where: paths.Paths) -> store.Record | None:
    return Store(where).read("test", EVA)


def test_a_removed_account_takes_its_log_ins_and_passwords_with_it(where: paths.Paths) -> None:
    (where.secrets / "shared").write_text("x")
    (where.secrets / "shared").chmod(0o600)
    own = register.store_password(where, "meier", "gmx", Secret("geheim"))
    file = where.accounts / "meier.toml"
    for name, text in {"gmx": own, "other": "file:secrets/shared"}.items():
        config.edit(file, {("sources", name, "password"): text})
    enrolment.remove(where, "meier", delete_mail=False)
    assert record(where) is None
    assert Store(where).access("test", EVA) is None
    assert not (where.conf / own.removeprefix("file:")).exists()
    assert (where.secrets / "shared").exists()


def test_what_others_use_stays_and_is_nobodys(where: paths.Paths) -> None:
    (where.accounts / "chef.toml").write_text(
        f'[sources.x]\ninterface = "standard"\nhost = "x.example"\nauth = "oauth2"\napp = "test"\nuser = "{EVA}"\n')
    enrolment.remove(where, "meier", delete_mail=False)
    found = record(where)
    assert found is not None
    assert (found.account, found.refresh.reveal()) == ("", "refresh")


def test_a_broken_file_of_settings_costs_no_log_in(where: paths.Paths) -> None:
    where.config_file.write_text("what = \n")
    assert owners.end(where, "meier") == []
    found = record(where)
    assert found is not None
    assert found.account == ""


def test_another_name(where: paths.Paths) -> None:
    assert owners.move(where, "meier", "weber") == [EVA]
    found = record(where)
    assert found is not None
    assert (found.account, found.refresh.reveal()) == ("weber", "refresh")
    assert owners.move(where, "meier", "weber") == []


def test_an_account_with_another_name_keeps_its_log_ins(where: paths.Paths) -> None:
    renaming.rename(where, config.load(where), "meier", "weber")
    found = record(where)
    assert found is not None
    assert found.account == "weber"
