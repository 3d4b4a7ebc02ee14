"""`lanmail oauth export`, `import`, `rotate-key`: on to another server, and under other keys."""

import asyncio
import base64
import functools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
from cryptography.fernet import Fernet

from lanmail import admin, config, paths
from lanmail.cli import command
from lanmail.errors import Permanent
from lanmail.oauth import apps, consent, exporting, keys, pending, rotation, store
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from tests.provider import Provider
from tests.test_cli_oauth import EVA, make, signed_in

MAX = "max@firma.example"
WORD = "vier zufaellige woerter reichen"


def root(directory: Path) -> paths.Paths:
    found = paths.of_root(directory)
    found.accounts.mkdir(parents=True)
    found.secrets.mkdir()
    found.config_file.write_text(config.sample())
    return found


@pytest.fixture
def old(tmp_path: Path) -> paths.Paths:
    return root(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> paths.Paths:
    return root(tmp_path / "new")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as found:
        yield found


def run(where: paths.Paths, *arguments: str, code: int = 0, text: str = f"{WORD}\n") -> click.testing.Result:
    command = ["oauth", *arguments, "--root", str(where.root)]
    result = click.testing.CliRunner().invoke(admin.cli, command, input=text)
    assert result.exit_code == code, result.output
    return result


def exported(old: paths.Paths, provider: Provider, tmp_path: Path, *options: str) -> Path:
    """Two log-ins by an app with a secret, in a file."""
    (old.secrets / "oauth-test").write_text("app-geheim\n")
    (old.secrets / "oauth-test").chmod(0o600)
    app = make(old, provider, client_secret="file:secrets/oauth-test")
    signed_in(old, app)
    signed_in(old, app, MAX, refresh=Secret("refresh-max"))
    run(old, "export", str(tmp_path / "moved"), "--passphrase-stdin", *options)
    return tmp_path / "moved"


def record(where: paths.Paths, address: str = EVA) -> store.Record:
    found = Store(where).read("test", address)
    assert found is not None
    return found


def test_moving(old: paths.Paths, new: paths.Paths, provider: Provider, tmp_path: Path) -> None:
    file = exported(old, provider, tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    for word in ("refresh-1", "refresh-max", "app-geheim", "access-1", EVA):
        assert word not in text
    # the old server lets go of it
    assert {record(old, one).state for one in (EVA, MAX)} == {store.PAUSED}
    assert Store(old).access("test", EVA).state == store.PAUSED  # type: ignore[union-attr]
    assert record(old).generation == 2, "a refresh that was under way brings nothing back"
    # the new one goes on
    said = run(new, "import", str(file), "--passphrase-stdin").stdout
    assert "1 apps, 2 log-ins" in said
    assert apps.load(new, "test").client_secret == "file:secrets/oauth-test"
    secret = new.secrets / "oauth-test"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("app-geheim\n", 0o600)
    for address, refresh in ((EVA, "refresh-1"), (MAX, "refresh-max")):
        moved = record(new, address)
        assert (moved.state, moved.refresh, moved.account, moved.why) == ("ok", Secret(refresh), "eva", "")
    wanted = sorted(one.name for one in (new.state / "tokens" / "request").iterdir())
    assert wanted == [f"test,{one},mail,import" for one in (EVA, MAX)]


def test_a_wrong_passphrase_and_other_files(new: paths.Paths, old: paths.Paths, provider: Provider,
                                            tmp_path: Path) -> None:
    file = exported(old, provider, tmp_path)
    said = run(new, "import", str(file), "--passphrase-stdin", text="x\n", code=65)
    assert "passphrase is not the one" in said.stderr
    other = tmp_path / "other"
    for text in ("", "{}", "[]", "nonsense", '{"scrypt": 1}', file.read_text().replace('"lanmail_oauth": 1', '"x": 1')):
        other.write_text(text)
        run(new, "import", str(other), "--passphrase-stdin", code=65)
    head = json.loads(file.read_text())
    for cost in ({"n": 1 << 30}, {"r": 4096}, {"p": 1000}, {"n": 2}):  # what would take all memory, or hide nothing
        other.write_text(json.dumps(head | {"scrypt": head["scrypt"] | cost}))
        assert "another version" in run(new, "import", str(other), "--passphrase-stdin", code=65).stderr
    assert not list(Store(new).all())
    assert apps.names(new) == []


def test_a_copy_pauses_nothing(old: paths.Paths, provider: Provider, tmp_path: Path) -> None:
    exported(old, provider, tmp_path, "--keep")
    assert record(old).state == store.OK
    assert record(old).generation == 1


def test_nothing_is_paused_when_the_file_cannot_be_written(old: paths.Paths, provider: Provider, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(old, make(old, provider))
    (tmp_path / "there").write_text("mine")
    run(old, "export", str(tmp_path / "there"), "--passphrase-stdin", code=73)
    assert (tmp_path / "there").read_text() == "mine"
    run(old, "export", str(tmp_path / "x"), "--passphrase-stdin", text="kurz\n", code=65)

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write", full)
    run(old, "export", str(tmp_path / "x"), "--passphrase-stdin", code=74)
    assert record(old).state == store.OK
    assert Store(old).access("test", EVA).state == store.OK  # type: ignore[union-attr]


def test_a_working_login_stays_unless_it_is_replaced(old: paths.Paths, new: paths.Paths, provider: Provider,
                                                     tmp_path: Path) -> None:
    file = exported(old, provider, tmp_path)
    app = make(new, provider, client_secret="file:secrets/oauth-test", client_id="us")
    (new.secrets / "oauth-test").write_text("app-geheim\n")
    (new.secrets / "oauth-test").chmod(0o600)
    signed_in(new, app, refresh=Secret("newer"))
    assert "logged in here already" in run(new, "import", str(file), "--passphrase-stdin").stdout
    assert record(new).refresh == Secret("newer")
    assert record(new, MAX).refresh == Secret("refresh-max")
    run(new, "import", str(file), "--passphrase-stdin", "--replace")
    assert (record(new).refresh, record(new).generation) == (Secret("refresh-1"), 2)


def test_another_app_of_that_name_stays_unless_it_is_replaced(old: paths.Paths, new: paths.Paths, provider: Provider,
                                                              tmp_path: Path) -> None:
    file = exported(old, provider, tmp_path)
    make(new, provider, client_id="somebody-else")
    assert "--replace" in run(new, "import", str(file), "--passphrase-stdin", code=65).stderr
    assert not (new.secrets / "oauth-test").exists(), "all or nothing"
    run(new, "import", str(file), "--passphrase-stdin", "--replace")
    assert apps.load(new, "test").client_id == "us"


def test_back_on_the_old_server(old: paths.Paths, provider: Provider, tmp_path: Path) -> None:
    file = exported(old, provider, tmp_path)
    run(old, "import", str(file), "--passphrase-stdin")
    assert (record(old).state, record(old).refresh) == (store.OK, Secret("refresh-1"))


def test_a_file_cannot_write_where_it_likes(new: paths.Paths, provider: Provider) -> None:
    """Whoever has the passphrase may give us apps, not files elsewhere in the system."""
    text = f'client_id = "x"\nauthorize_url = "{provider.url}/a"\ntoken_url = "{provider.url}/t"\n'
    for place in ("../../outside", "/tmp/outside", "secrets/../../outside", "lanmail.toml", "accounts/eva.toml"):
        parcel = exporting.Parcel(apps={"bad": f'{text}client_secret = "file:{place}"\n'}, files={place: b"x"})
        before = {path: path.read_bytes() for path in new.root.parent.rglob("*") if path.is_file()}
        exporting.unpack_apps(new, parcel, functools.partial(command.private_file, new), replace=True)
        after = {path: path.read_bytes() for path in new.root.parent.rglob("*") if path.is_file()}
        assert {path for path in after if after[path] != before.get(path)} <= {new.conf / "apps" / "bad.toml"}
        assert not os.path.lexists("/tmp/outside")


async def test_damaged_grants(new: paths.Paths, provider: Provider) -> None:
    make(new, provider)
    kept = Store(new)
    kept.prepare()
    for grant in ({}, {"app": "test"}, {"app": "test", "address": EVA}, {"app": "../x", "address": EVA, "refresh": "r"},
                  {"app": "gone", "address": EVA, "refresh": "r"}, {"app": "test", "address": 5, "refresh": "r"}):
        with pytest.raises(Permanent):
            await exporting.unpack_grant(kept, grant)
    assert not list(kept.all())


def cipher_of(path: Path) -> str:
    return str(json.loads(path.read_text())["token"])


def test_new_keys(old: paths.Paths, provider: Provider) -> None:
    app = make(old, provider)
    signed_in(old, app)
    asked = consent.ask(old, app, pending.Wish("test", EVA))
    before = {name: (old.secrets / name).read_bytes().split() for name in (keys.ACCESS, keys.REFRESH)}
    run(old, "rotate-key")
    for name, known in before.items():
        path = old.secrets / name
        assert path.read_bytes().split()[1:] == known
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    for path in (old.state / "oauth/refresh/test/eva@firma.example.json",
                 old.state / "tokens/test/eva@firma.example.json", *pending.Folder(old).directory.iterdir()):
        name = keys.ACCESS if "tokens" in path.parts else keys.REFRESH
        newest = (old.secrets / name).read_bytes().split()[0]
        assert Fernet(newest).decrypt(cipher_of(path)), path
    run(old, "rotate-key", "--drop-old")
    for name in before:
        assert len((old.secrets / name).read_bytes().split()) == 1
    assert record(old).refresh == Secret("refresh-1")
    assert run(old, "token", EVA).stdout == "access-1\n"
    assert pending.Folder(old).of_state(asked.state).asked == asked
    assert not [one for one in old.secrets.iterdir() if one.name.endswith(".tmp")]


def test_keys_that_somebody_else_hands_over_are_not_made_here(old: paths.Paths, provider: Provider) -> None:
    signed_in(old, make(old, provider))
    os.rename(old.secrets / keys.ACCESS, old.secrets / "elsewhere")
    with pytest.raises(keys.Unusable, match="is not there"):
        rotation.add_keys(old)


def test_the_passphrase_is_stretched() -> None:
    begun = os.times().user
    exporting.seal(exporting.Parcel(), WORD)
    assert os.times().user - begun > 0.02
    head: dict[str, Any] = json.loads(exporting.seal(exporting.Parcel(), WORD))
    assert head["scrypt"]["n"] * head["scrypt"]["r"] * 128 >= 64 << 20, "memory for each guess"
    assert len(base64.b64decode(head["scrypt"]["salt"])) == 16


def test_both_servers_at_once_is_what_pausing_prevents(old: paths.Paths, provider: Provider, tmp_path: Path) -> None:
    """A refresh that holds the lock while the export begins is waited for, and its newer token is what is packed."""
    app = make(old, provider)
    signed_in(old, app)
    kept = Store(old)
    order: list[str] = []
    locked = asyncio.Event()

    async def refresh() -> None:
        async with kept.lock("test", EVA):
            found = kept.read("test", EVA)
            assert found is not None
            locked.set()
            await asyncio.sleep(0.2)
            found.refresh = Secret("refresh-2")
            kept.save(found, generation=found.generation)
            order.append("refresh")

    async def both() -> list[store.Record]:
        under_way = asyncio.create_task(refresh())
        await locked.wait()
        taken = await exporting.take(kept)
        order.append("take")
        await under_way
        return taken

    (taken,) = asyncio.run(both())
    assert order == ["refresh", "take"]
    assert taken.refresh == Secret("refresh-2")
