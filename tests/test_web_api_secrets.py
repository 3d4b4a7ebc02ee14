"""Secrets in settings: written, replaced, taken away with their key, and as before when the call is refused."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config, secret
from lanmail.web.api import frame, secrets
from lanmail.web.house import House
from tests import webserver


class _Given(frame.Params):
    name: str
    settings: dict[str, Any]


def _set(call: frame.Call, given: _Given) -> dict[str, Any]:
    """Change an account as methods do."""
    settings = secrets.stored(call, given.name, given.settings)
    changes = {(section, key): value for section, keys in settings.items() for key, value in keys.items()}
    config.edit(call.house.paths.accounts / f"{given.name}.toml", changes)
    return settings


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    where = webserver.lay_out(tmp_path)
    made = House(where, lambda: config.load(where))
    yield made
    made.close()


def change(house: House, rights: str = "admin", **outgoing: Any) -> Any:
    loop = asyncio.new_event_loop()
    loop.close()
    frame.METHODS["test.set"] = frame.Method("test.set", _Given, "self", False, _set, "")
    try:
        call = frame.Call(house, frame.Caller("x", rights), "127.0.0.1", loop)
        return frame.carry_out(call, "test.set", {"name": "meier", "settings": {"outgoing": outgoing}})
    finally:
        del frame.METHODS["test.set"]


FILE = "meier.outgoing.password"


def held(house: House) -> list[str]:
    directory = house.paths.secrets
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_from_first_to_last(house: House) -> None:
    made = change(house, password={"secret": "geheim"}, user="x")
    assert made == {"outgoing": {"password": f"file:secrets/{FILE}", "user": "x"}}
    account = config.load_account(house.paths.accounts / "meier.toml")
    assert secret.read(account.outgoing.password, house.paths.conf).reveal() == "geheim"
    assert (house.paths.secrets / FILE).stat().st_mode & 0o777 == 0o600
    change(house, password={"secret": "anders"})
    assert (house.paths.secrets / FILE).read_text() == "anders\n"
    change(house, user="y")
    assert held(house) == [FILE]
    change(house, password=f"file:secrets/{FILE}")
    assert held(house) == [FILE]
    change(house, password=None)
    assert held(house) == []


def test_another_place_takes_the_file_away(house: House) -> None:
    change(house, password={"secret": "geheim"})
    change(house, password="credential:provider")
    assert held(house) == []


def test_a_refused_call_leaves_all_as_it_was(house: House) -> None:
    with pytest.raises(frame.Refused):
        change(house, password={"secret": "geheim"}, port="x")
    assert held(house) == []
    change(house, password={"secret": "geheim"})
    with pytest.raises(frame.Refused):
        change(house, password={"secret": "anders"}, port="x")
    assert (house.paths.secrets / FILE).read_text() == "geheim\n"
    with pytest.raises(frame.Refused):
        change(house, password=None, port="x")
    assert held(house) == [FILE]


@pytest.mark.parametrize("text", ["", "\n", "a\0b", 5, None, ["x"], {"secret": "x"}, "x" * 20_000])
def test_what_is_no_secret(house: House, text: Any) -> None:
    with pytest.raises(frame.Refused) as caught:
        change(house, password={"secret": text})
    assert (caught.value.code, caught.value.field) == ("invalid_field", "settings.outgoing.password")
    assert held(house) == []


@pytest.mark.parametrize("place", ["file:secrets/other", "credential:x", " FILE:/etc/shadow", ["file:x"],
                                   "file:secrets/meier.outgoing.proxy_password"])
def test_an_account_does_not_name_places(house: House, place: Any) -> None:
    with pytest.raises(frame.Refused) as caught:
        change(house, "account:meier", password=place)
    assert caught.value.code == "forbidden"
    change(house, "account:meier", password={"secret": "geheim"})
    change(house, "account:meier", password=f"file:secrets/{FILE}")
    assert held(house) == [FILE]


def test_the_record_has_names_only(house: House) -> None:
    change(house, password={"secret": "geheim"})
    noted = "".join(path.read_text() for path in (house.paths.state / "audit").iterdir())
    assert "outgoing.password" in noted
    assert "geheim" not in noted
