"""`lanmail route test` as people type it."""

import asyncio
import json
import os
from pathlib import Path

import click.testing
import pytest

from lanmail import admin
from tests.dnsstub import Stub
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer


async def route(root: Root, *words: str, code: int = 0) -> str:
    def run() -> click.testing.Result:
        return click.testing.CliRunner().invoke(admin.cli, ["route", "test", *words, "--root", str(root.paths.root)])

    done = await asyncio.get_running_loop().run_in_executor(None, run)
    assert done.exit_code == code, done.output
    return done.output


async def test_connects_but_sends_nothing(tmp_path: Path) -> None:
    async with Peer("PIPELINING", "AUTH PLAIN", script={"AUTH": "235 ok"}) as peer:
        root = Root(tmp_path, smarthost(peer.port, 'user = "me"\npassword = "file:secrets/p"\nmax_recipients = 5'))
        root.paths.secrets.mkdir(parents=True)
        (root.paths.secrets / "p").write_text("geheim")
        (root.paths.secrets / "p").chmod(0o600)
        said = await route(root, "x@far.example")
        found = json.loads(await route(root, "x@far.example", "--json"))
    assert not peer.taken
    assert not [line for line in peer.lines if "MAIL" in line]
    for words in ("transport     smtp", f"connecting to 127.0.0.1:{peer.port}", "logged in as me",
                  "ok: the mail would go out", "at most 5 a mail"):
        assert words in said
    assert "geheim" not in said
    assert found["problem"] is None
    assert found["destination"] == f"smtp:127.0.0.1:{peer.port}:me"


async def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    async with Peer("PIPELINING", "AUTH PLAIN", script={"AUTH": "535 5.7.8 no"}) as peer:
        root = Root(tmp_path, smarthost(peer.port, 'user = "me"\npassword = "file:secrets/p"\n'))
        root.paths.secrets.mkdir(parents=True)
        (root.paths.secrets / "p").write_text("geheim")
        (root.paths.secrets / "p").chmod(0o600)
        assert "535 5.7.8 no" in await route(root, "x@far.example", code=1)
    assert "no connection" in await route(root, "x@far.example", code=1)
    assert json.loads(await route(root, "x@far.example", "--dry", "--json"))["transport"] == "smtp"
    root.configure("")
    assert "no way out is configured" in await route(root, "x@far.example", code=1)


async def test_addresses_of_ours(tmp_path: Path) -> None:
    root = Root(tmp_path, "")
    assert "accounts      meier" in await route(root, "meier@office.lan")
    assert "nobody has this name" in await route(root, "none@office.lan", code=1)
    await route(root, "x y", code=os.EX_USAGE)
    await route(root, "x@far.example", "--account", "none", code=os.EX_NOUSER)


async def test_an_account_with_a_way_of_its_own(tmp_path: Path) -> None:
    root = Root(tmp_path, 'host = "default.example"')
    root.account("meier", f'[outgoing]\ntransport = "folder"\nfolder.path = "{tmp_path}"\n')
    said = await route(root, "x@far.example", "--account", "meier")
    assert "settings of   meier" in said
    assert "made, flushed and removed again" in said
    assert "smtp:default.example:587" in await route(root, "x@far.example", "--account", "chef", "--dry")
    root.account("chef", "deny_internet = true")
    assert "521 5.7.1 User <x@far.example> not local" in await route(root, "x@far.example", "--account", "chef", code=1)


@pytest.mark.parametrize(("records", "words", "code"), [
    ({("far.example", "MX"): ["10 mx.far.example."], ("mx.far.example", "A"): ["127.0.0.1"]}, "connected to mx.far", 0),
    ({("far.example", "MX"): ["0 ."]}, "null MX", 1),
])
async def test_straight(tmp_path: Path, records: dict, words: str, code: int) -> None:
    async with Peer("PIPELINING") as peer, Stub(records) as stub:
        root = Root(tmp_path, f'transport = "mx"\nport = {peer.port}\n',
                    settings=f'[relay]\nresolver = "{stub.address}"\n')
        assert words in await route(root, "x@far.example", code=code)
