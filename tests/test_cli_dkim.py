"""`lanmail dkim` as people type it."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config, paths
from tests.dnsstub import Stub

Run = Callable[..., click.testing.Result]


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text(config.sample())
    return found


@pytest.fixture
def run(where: paths.Paths) -> Run:
    def lanmail(*arguments: str, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, ["dkim", *arguments, "--root", str(where.root)])
        assert result.exit_code == code, result.output
        return result

    return lanmail


def test_genkey_makes_notes_and_prints(run: Run, where: paths.Paths) -> None:
    said = run("genkey", "firma.example", "--selector", "s1").stdout
    path = where.conf / "dkim/firma.example/s1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert 's1._domainkey.firma.example. IN TXT ( "v=DKIM1; k=rsa; p=MII' in said
    line = next(line for line in said.splitlines() if "IN TXT" in line)
    strings = line.split('"')[1::2]
    assert max(map(len, strings)) == 255
    assert len(strings) == 2
    (key,) = config.load(where).dkim.keys
    assert (key.domain, key.selector, key.key) == ("firma.example", "s1", "dkim/firma.example/s1.pem")
    run("genkey", "firma.example", "--selector", "s2", "--type", "ed25519")
    assert [one.selector for one in config.load(where).dkim.keys] == ["s1", "s2"]
    assert [row["algorithm"] for row in json.loads(run("list", "--json").stdout)] == ["rsa-sha256", "ed25519-sha256"]


def test_a_key_is_never_overwritten(run: Run, where: paths.Paths) -> None:
    run("genkey", "firma.example", "--selector", "s1", "--type", "ed25519")
    path = where.conf / "dkim/firma.example/s1.pem"
    before = path.read_bytes()
    assert "already" in run("genkey", "firma.example", "--selector", "s1", code=os.EX_CANTCREAT).stderr
    config.edit(where.config_file, {("dkim", "keys"): []})
    assert "exists already" in run("genkey", "firma.example", "--selector", "s1", code=os.EX_CANTCREAT).stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("domain", ["../../etc", "a/b", "", "x..y", "a b", "[192.0.2.1]"])
def test_no_path_is_made_of_a_domain(run: Run, where: paths.Paths, domain: str) -> None:
    run("genkey", domain, code=os.EX_USAGE)
    run("genkey", "firma.example", "--selector", domain or "/", code=os.EX_USAGE)
    assert not (where.conf / "dkim").exists()


def test_list_says_what_is_wrong_with_a_key(run: Run, where: paths.Paths) -> None:
    run("genkey", "firma.example", "--selector", "s1", "--type", "ed25519")
    (where.conf / "dkim/firma.example/s1.pem").write_text("broken")
    assert "cannot be used" in run("list").stdout


@pytest.fixture
def published(run: Run) -> str:
    """The record that should stand in DNS."""
    run("genkey", "firma.example", "--selector", "s1")
    return json.loads(run("list", "--json").stdout)[0]["record"]


@pytest.mark.parametrize(("change", "problem"), [
    (lambda text: [f'"{text[:200]}" "{text[200:]}"'], None),
    (lambda text: [f'"{text[:30]} {text[30:200]}" "{text[200:]}"'], None),
    (lambda text: [f'"{text[:200]}" "{text[200:-9]}AAAAAAAAA"'], "another key is published"),
    (lambda _text: ['"v=DKIM1; p="'], "revoked"),
    (lambda _text: ['"v=spf1 -all"'], "has no DKIM record"),
    (lambda text: [f'"{text[:200]}" "{text[200:]}"'] * 2 + ['"v=DKIM1; p=AAAA"'], "counts as none"),
    (None, "has no DKIM record"),
])
async def test_check(run: Run, where: paths.Paths, published: str, change: Callable[[str], list[str]] | None,
                     problem: str | None) -> None:
    records = {} if change is None else {("s1._domainkey.firma.example", "TXT"): change(published)}
    async with Stub(records) as stub:
        config.edit(where.config_file, {("relay", "resolver"): stub.address})
        done = await asyncio.get_running_loop().run_in_executor(
            None, lambda: run("check", "--json", code=1 if problem else 0))
    (row,) = json.loads(done.stdout)
    assert (problem in row["problem"]) if problem else row["problem"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")
def test_a_key_made_by_root_belongs_to_the_programs(run: Run, where: paths.Paths) -> None:
    """conf/ is root's, and relay, which is not root, signs with the key."""
    os.chown(where.var, 65534, 65534)
    run("genkey", "firma.example", "--selector", "s1")
    made = (where.conf / "dkim/firma.example/s1.pem").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (65534, 0o600)
