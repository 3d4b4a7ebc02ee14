"""Several callers change the same things at once: no change is lost, with and without if_version, and beside the
`lanmail` command, which takes the same lock. `make crash` lets them go on for longer."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lanmail import conffile, config
from lanmail.administration import audit
from lanmail.logins import apikeys
from lanmail.web.api import frame
from tests import browsing, webserver
from tests.crash import rounds

pytestmark = pytest.mark.slow
TIMES = 500 if rounds.SHARE >= 1 else 25


@pytest.fixture
async def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[webserver.Web]:
    monkeypatch.setattr(frame, "_BURST", 1e9)
    monkeypatch.setattr(frame, "_RATE", 1e9)
    where = browsing.lay_out(tmp_path)
    key = apikeys.add(where.conf / "api.toml", "test", "admin", [])
    async with webserver.serving(where) as one:
        one.session.headers["Authorization"] = f"Bearer {key}"
        yield one


def result(web: webserver.Web, method: str, session: requests.Session, **given: Any) -> dict[str, Any] | None:
    """What a method says; None for a conflict."""
    answer = session.post(f"{web.url}/api/v1/{method}", json=given, timeout=60, headers=dict(web.session.headers))
    said = answer.json()
    assert said["ok"] or said["error"]["code"] == "conflict", said
    return said.get("result")


def append(web: webserver.Web, who: str, times: int) -> int:
    """Add addresses to a list by reading it, and writing it if nobody else was faster; how often somebody was."""
    conflicts, session = 0, requests.Session()
    for number in range(times):
        while True:
            known = result(web, "account.get", session, name="meier")
            assert known is not None
            to = [*known["settings"]["forward"]["to"], f"{who}{number}@far.example"]
            if result(web, "account.modify", session, name="meier", settings={"forward": {"to": to}},
                      if_version=known["version"]) is not None:
                break
            conflicts += 1
    return conflicts


async def test_with_if_version_nothing_is_lost(web: webserver.Web) -> None:
    times = min(TIMES, 100)  # the list that is written grows with each
    conflicts = await asyncio.gather(*(asyncio.to_thread(append, web, who, times) for who in "ab"))
    found = config.load_account(web.paths.accounts / "meier.toml").forward.to
    assert sorted(found) == sorted(f"{who}{number}@far.example" for who in "ab" for number in range(times))
    assert sum(conflicts) > 0, "they never met: nothing was tried"


@pytest.mark.parametrize(("method", "given", "change"), [
    ("account.get", {"name": "meier"}, ("accounts/meier.toml", 'full_name = "other"\n')),
    ("account.forwarding", {"name": "meier"}, ("accounts/meier.toml", 'full_name = "other"\n')),
    ("group.get", {"name": "verkauf"}, ("groups.toml", '[verkauf]\nmembers = ["chef"]\n')),
])
async def test_a_version_is_that_of_what_was_shown(web: webserver.Web, monkeypatch: pytest.MonkeyPatch, method: str,
                                                   given: dict[str, Any], change: tuple[str, str]) -> None:
    """Somebody writes between the look at the settings and that at the version: his change was lost by it."""
    web.paths.groups.write_text('[verkauf]\nmembers = ["meier"]\n')
    path = web.paths.conf / change[0]
    true, looked = conffile.read_text, []

    def read(which: Path) -> str:
        text = true(which)
        if which == path and not looked:
            looked.append(conffile._version(text))
            which.write_text(change[1])
        return text

    session = requests.Session()
    with monkeypatch.context() as patch:
        patch.setattr(conffile, "read_text", read)
        shown = await asyncio.to_thread(result, web, method, session, **given)
    assert shown is not None
    assert [shown["version"]] == looked
    assert shown["version"] != conffile.version(path)


def keep_setting(web: webserver.Web, section: str, key: str, times: int) -> None:
    """Each value is there until this writer sets the next."""
    session = requests.Session()
    for number in range(times):
        said = result(web, "account.modify", session, name="meier", settings={section: {key: f"{key} {number}"}})
        assert said is not None
        assert said["settings"][section][key] == f"{key} {number}"


async def test_without_if_version_settings_do_not_disturb_each_other(web: webserver.Web) -> None:
    await asyncio.gather(asyncio.to_thread(keep_setting, web, "autoresponder", "subject", TIMES),
                         asyncio.to_thread(keep_setting, web, "autoresponder", "text", TIMES))
    found = config.load_account(web.paths.accounts / "meier.toml").autoresponder
    assert (found.subject, found.text) == (f"subject {TIMES - 1}", f"text {TIMES - 1}")


async def test_beside_the_command(web: webserver.Web) -> None:
    """Another process edits the same file; its key and ours stay."""
    code = ("import sys, pathlib; from lanmail import config; path = pathlib.Path(sys.argv[1])\n"
            "for number in range(int(sys.argv[2])): config.edit(path, {'full_name': f'name {number}'})")
    path = web.paths.accounts / "meier.toml"
    other = subprocess.Popen([sys.executable, "-c", code, path, str(TIMES)])
    try:
        await asyncio.to_thread(keep_setting, web, "autoresponder", "subject", TIMES)
    finally:
        assert await asyncio.to_thread(other.wait, 60) == 0
    found = config.load_account(path)
    assert (found.full_name, found.autoresponder.subject) == (f"name {TIMES - 1}", f"subject {TIMES - 1}")


@pytest.mark.parametrize("kind", ["account", "group"])
async def test_one_of_two_makes_it(web: webserver.Web, kind: str) -> None:
    """The same name at the same moment: one is told that it exists, and nothing is mixed."""
    given = {"account": {"password": "ein gutes Passwort"}, "group": {"settings": {"members": ["meier"]}}}[kind]

    def make(name: str) -> list[str]:
        answer = requests.post(f"{web.url}/api/v1/{kind}.create", json={"name": name, **given}, timeout=60,
                               headers=dict(web.session.headers))
        return [answer.json().get("error", {}).get("code", "done")]

    for number in range(4):
        said = await asyncio.gather(*(asyncio.to_thread(make, f"neu{number}") for _ in range(4)))
        assert sorted(said) == [["done"], *[["exists"]] * 3], said


async def test_each_change_is_noted_once(web: webserver.Web) -> None:
    await asyncio.gather(*(asyncio.to_thread(keep_setting, web, "autoresponder", key, 20)
                           for key in ("subject", "text")))
    noted = [line.rpartition("keys=autoresponder.")[2] for line in audit.last(web.paths, 1000)]
    assert sorted(noted) == ["subject"] * 20 + ["text"] * 20
