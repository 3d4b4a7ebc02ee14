"""How everything is, and what is wrong with it; and `lanmail status`, which tells people and monitoring."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lanmail import admin, certificates, config, paths, programs
from lanmail.accounts import Directory
from lanmail.monitoring import condition, troubles
from lanmail.monitoring.condition import Condition
from lanmail.sources import place
from tests import counting

SOURCE = '[sources.gmx]\ninterface = "standard"\nhost = "imap.gmx.net"\nuser = "e@gmx.net"\n'\
         'password = "file:secrets/x"\n'


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text('[server]\ndomain = "office.lan"\n[smtpd]\nmin_free = "1KB"\n')
    (found.accounts / "chef.toml").write_text("postmaster = true\n")
    certificates.make_ca(found, "office.lan")
    return found


@pytest.fixture
def everything_runs(where: paths.Paths) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for program in programs.DAEMONS:
            if program.name != "httpd":
                stack.enter_context(counting.living(where.state, program.name))
        yield


def look(where: paths.Paths) -> Condition:
    loaded = config.load(where)
    return condition.Observer(where, lambda: loaded, Directory(where, lambda: loaded)).now()


def wrong(where: paths.Paths) -> list[tuple[str, str]]:
    return [(one.level, one.about) for one in troubles.of(look(where), config.load(where)) if one.about != "disk"]


def put(where: paths.Paths, spool: str, ago: float, size: int = 100) -> None:
    directory = where.spool / spool / "new"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{int(time.time() - ago)}.M1P1Q{os.urandom(3).hex()}.host,S={size}").write_text("x")


@pytest.mark.usefixtures("everything_runs")
def test_all_is_well(where: paths.Paths) -> None:
    seen = look(where)
    assert {one.name: one.state for one in seen.programs} == {
        program.name: "off" if program.name == "httpd" else "running" for program in programs.DAEMONS}
    assert wrong(where) == []
    assert seen.accounts == 1
    assert seen.certificate is not None
    assert seen.certificate > time.time() + 86400


@pytest.mark.usefixtures("everything_runs")
def test_waiting_mail(where: paths.Paths) -> None:
    put(where, "queue", 10, 50)
    put(where, "queue", 1000, 70)
    put(where, "hold", 5)
    (where.hold / "new/x.why").write_text("because")
    (where.spool / "pickup").mkdir()
    (where.spool / "pickup/letter.eml").write_text("abc")
    put(where, "outbound", 5 * 3600)
    seen = look(where)
    queue = seen.spools["queue"]
    assert (queue.entries, queue.octets) == (2, 120)
    assert 999 < queue.oldest < 1010
    assert (seen.spools["pickup"].entries, seen.spools["pickup"].octets) == (1, 3)
    assert wrong(where) == [("warn", "queue"), ("warn", "outbound"), ("warn", "hold")]


def test_programs_that_do_not_run(where: paths.Paths) -> None:
    assert wrong(where) == [("fail", "deliver")]
    counting.ended(where.state, "deliver")
    counting.ended(where.state, "smtpd", killed=True)
    counting.ended(where.state, "relay", ago=2)
    with counting.living(where.state, "imapd", beat=100), counting.living(where.state, "pop3d", version="2"), \
            counting.living(where.state, "pop3d", number=1):
        seen = {one.name: one for one in look(where).programs}
        assert [seen[name].state for name in ("deliver", "smtpd", "relay", "imapd", "pop3d", "tokend")] == [
            "stopped", "killed", "stopped", "silent", "running", "never"]
        assert seen["pop3d"].gauge("connections") == 4
        assert wrong(where) == [("fail", "deliver"), ("fail", "smtpd"), ("fail", "imapd"), ("warn", "version")]


@pytest.mark.usefixtures("everything_runs")
def test_the_certificate(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    for left, expected in ((86400, [("warn", "certificate")]), (-1, [("fail", "certificate")])):
        with monkeypatch.context() as patch:
            patch.setattr(condition, "_certificate", lambda _path, end=time.time() + left: end)  # noqa: B008
            assert wrong(where) == expected
    (where.tls / "server.pem").write_text("nothing")
    assert wrong(where) == [("fail", "certificate")]


@pytest.mark.usefixtures("everything_runs")
def test_external_mailboxes(where: paths.Paths) -> None:
    (where.accounts / "chef.toml").write_text(SOURCE)
    off = SOURCE.replace("sources.gmx", "sources.off").replace('"standard"', '"disabled"')
    (where.accounts / "eva.toml").write_text(SOURCE + off)
    (where.accounts / "max.toml").write_text("broken")
    for account, known in (("chef", {"refused": 2, "error": "535 no"}), ("eva", {"succeeded": 5.0, "fetched": 7})):
        directory = place.directory(where, account, "gmx")
        directory.mkdir(parents=True)
        (directory / "status.json").write_text(json.dumps(known))
    assert [(one.account, one.name, one.health.word) for one in look(where).mailboxes] == [
        ("chef", "gmx", "refused"), ("eva", "gmx", "ok"), ("eva", "off", "off")]
    assert wrong(where) == [("fail", "max"), ("fail", "chef/gmx")]


def test_a_look_is_good_for_a_moment(where: paths.Paths) -> None:
    loaded = config.load(where)
    observer = condition.Observer(where, lambda: loaded, Directory(where, lambda: loaded))
    assert observer.now() is observer.now()
    assert observer.now(0) is not observer.now(0)


def test_every_trouble_is_said_in_both_languages(where: paths.Paths) -> None:
    put(where, "hold", 5)
    for one in troubles.of(look(where), config.load(where)):
        assert one.english != one.german
        assert one.english.endswith(".")
        assert one.german.endswith(".")


def ask(where: paths.Paths, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(admin.cli, ["status", "--root", str(where.root), *words])
    return done.exit_code, done.output


@pytest.mark.usefixtures("everything_runs")
def test_the_command(where: paths.Paths) -> None:
    code, text = ask(where)
    assert "smtpd      running" in text
    assert "1 accounts; external mailboxes: none" in text
    assert code in (0, 1), "the disk of this machine may be nearly full"
    put(where, "hold", 5)
    code, text = ask(where, "--json")
    told: dict[str, Any] = json.loads(text)
    assert code == 1
    assert [one["about"] for one in told["troubles"] if one["about"] != "disk"] == ["hold"]
    assert told["spools"]["hold"]["entries"] == 1
    assert {one["state"] for one in told["programs"]} == {"running", "off"}


def test_the_command_where_nothing_runs(where: paths.Paths) -> None:
    code, text = ask(where)
    assert code == 2
    assert "fail  lanmail-deliver never ran here." in text
