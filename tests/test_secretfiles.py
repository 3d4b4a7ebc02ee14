"""secretfiles.py: names that cannot lead elsewhere, files that go only when nothing names them any more."""

from pathlib import Path

import pytest

from lanmail import paths, secret, secretfiles


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    made = paths.of_root(tmp_path)
    made.accounts.mkdir(parents=True)
    return made


def held(where: paths.Paths) -> list[str]:
    return sorted(path.name for path in where.secrets.iterdir())


def test_what_is_written_can_be_read(where: paths.Paths) -> None:
    said = secretfiles.write(where, "meier", ("outgoing", "password"), "gehéim")
    assert said == "file:secrets/meier.outgoing.password"
    assert secret.read(said, where.conf).reveal() == "gehéim"
    assert (where.secrets / "meier.outgoing.password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("owner", ["../x", "a/b", "eva.meier", "Ü", "", "a" * 300, "a\0b", "\ud800", "A"])
def test_names_are_harmless_and_differ(owner: str) -> None:
    name = secretfiles.name_of(owner, ("sources", "../../etc", "password"))
    assert len(name) <= 255
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert name.count(".") == 3
    assert not name.startswith(".")
    assert secretfiles.name_of(owner) != secretfiles.name_of(owner.replace(".", "-") + "-")


def test_one_owner_is_not_the_beginning_of_another(where: paths.Paths) -> None:
    secretfiles.write(where, "eva.meier", ("outgoing", "password"), "1")
    secretfiles.write(where, "eva", ("sources", "a", "password"), "2")
    secretfiles.write(where, "eva", ("sources", "ab", "password"), "3")
    assert secretfiles.drop(where, "eva", ("sources", "a")) == ["eva.sources.a.password"]
    assert secretfiles.drop(where, "eva") == ["eva.sources.ab.password"]
    assert len(held(where)) == 1


def test_what_is_still_named_stays(where: paths.Paths) -> None:
    said = secretfiles.write(where, "meier", ("outgoing", "password"), "1")
    where.config_file.write_text(f'[outgoing]\npassword = "{said}"\n')
    assert secretfiles.drop(where, "meier") == []
    where.config_file.write_text(f'[outgoing]\npassword = "{said}x"\n')
    assert secretfiles.drop(where, "meier") == ["meier.outgoing.password"]


def test_nothing_there(where: paths.Paths) -> None:
    assert secretfiles.drop(where, "meier") == []
    assert secretfiles.move(where, "meier", "weber", ["file:secrets/meier.x"]) == {}
    assert secretfiles.content(where, "meier.x") is None


def test_another_owner(where: paths.Paths) -> None:
    secretfiles.write(where, "meier", ("outgoing", "password"), "1")
    secretfiles.put(where, "source-meier-gmx", b"2\n")
    secretfiles.write(where, "meier2", ("outgoing", "password"), "3")
    secretfiles.put(where, "source-meier-x-gmx", b"4\n")  # perhaps that of meier-x
    named = ["file:secrets/meier.outgoing.password", "file:secrets/source-meier-gmx", "file:secrets/meier2.x"]
    assert secretfiles.move(where, "meier", "eva.w", named) == {
        "file:secrets/meier.outgoing.password": secretfiles.reference("eva.w", ("outgoing", "password")),
        "file:secrets/source-meier-gmx": "file:secrets/source-eva.w-gmx"}
    assert secret.read("file:secrets/source-eva.w-gmx", where.conf).reveal() == "2"
    assert len(held(where)) == 6
