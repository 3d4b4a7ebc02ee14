"""`lanmail doctor` and `lanmail certificate`, on an installation and on machines with something wrong."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click.testing
import pytest

from lanmail import accounts, admin, certificates, config, paths, spool
from lanmail.cli import finding, installation, machine

Run = Callable[..., click.testing.Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One installation with certificates; tests get copies."""
    root = tmp_path_factory.mktemp("made")
    arguments = ["init", "--root", str(root), "--domain", "office.lan", "--port-offset", "20000"]
    assert click.testing.CliRunner().invoke(admin.cli, arguments).exit_code == 0
    return root


@pytest.fixture
def where(made: Path, tmp_path: Path) -> paths.Paths:
    shutil.copytree(made, tmp_path / "root", symlinks=True)
    return paths.of_root(tmp_path / "root")


@pytest.fixture
def run(where: paths.Paths) -> Run:
    def lanmail(*arguments: str, code: int = 0) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(admin.cli, [*arguments, "--root", str(where.root)])
        assert result.exit_code == code, result.output
        return result

    return lanmail


def levels(found: Iterator[finding.Finding]) -> dict[str, str]:
    return {item.check: item.level for item in found}


def only(found: Iterator[finding.Finding], level: str) -> finding.Finding:
    matching = [item for item in found if item.level == level]
    assert len(matching) == 1, matching
    return matching[0]


def test_a_good_installation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_listeners", lambda _port: [])
    monkeypatch.setattr(machine, "_bind", lambda _host, _port: None)
    assert run("account", "add", "meier").exit_code == 0
    listed = json.loads(run("doctor", "--json").stdout)
    about = {entry["check"]: entry for entry in listed if entry["check"] not in ("kernel", "clock", "disk")}
    for check in ("configuration", "accounts", "directories", "certificate", "queue", "file system", "ports"):
        assert about[check]["level"] == "ok", about[check]
    assert "postmaster is meier" in about["accounts"]["text"]
    said = run("doctor").stdout
    assert said.startswith("ok    configuration  ")
    assert "ok    " not in run("doctor", "--quiet").stdout


def test_findings_come_with_advice(run: Run, where: paths.Paths) -> None:
    where.queue.joinpath("tmp").rmdir()
    said = run("doctor", code=os.EX_UNAVAILABLE).stdout
    assert f"fail  directories    {where.queue / 'tmp'} does not exist\n" in said
    assert "→ lanmail init makes what is missing" in said
    where.config_file.write_text("[server]\n")
    found = json.loads(run("doctor", "--json", code=os.EX_UNAVAILABLE).stdout)
    assert [entry["check"] for entry in found] == ["configuration"]


def test_accounts_without_postmaster(where: paths.Paths) -> None:
    loaded = config.load(where)
    assert only(installation.accounts(where, loaded), "warn").advice == "lanmail account add NAME"
    (where.accounts / "meier.toml").write_text("# x\n")
    assert "none is postmaster" in only(installation.accounts(where, loaded), "warn").text


def test_directories_open_to_everybody(where: paths.Paths) -> None:
    where.pickup.joinpath("new").chmod(0o777)
    assert "everybody can write" in only(installation.directories(where), "fail").text


def test_pages_that_nobody_may_use(where: paths.Paths) -> None:
    loaded = config.load(where)
    assert list(installation.pages(where, loaded)) == []
    served = loaded.model_copy(update={"httpd": loaded.httpd.model_copy(update={"enabled": True})})
    assert "administrator=true" in only(installation.pages(where, served), "warn").advice
    (where.accounts / "meier.toml").write_text("administrator = true\n")
    (where.accounts / "broken.toml").write_text("administrator =\n")
    assert "meier" in only(installation.pages(where, served), "ok").text


def test_accounts_that_deliver_cannot_change(where: paths.Paths) -> None:
    loaded = config.load(where)
    assert list(installation.commands(where, loaded)) == []
    if os.geteuid():
        pytest.skip("needs root, to give directories away")
    for path, owner in ((where.queue, 1234), (where.accounts, 0)):
        os.chown(path, owner, 1234)
    where.accounts.chmod(0o2750)
    found = only(installation.commands(where, loaded), "warn")
    assert f"chmod 2770 {where.accounts}" in found.advice
    where.accounts.chmod(0o2770)
    assert list(installation.commands(where, loaded)) == []
    os.chown(where.accounts, 0, 0)
    assert only(installation.commands(where, loaded), "warn").advice.startswith("chgrp 1234 ")
    off = loaded.model_copy(update={"deliver": loaded.deliver.model_copy(update={"mail_commands": False})})
    assert list(installation.commands(where, off)) == []
    web = off.model_copy(update={"httpd": off.httpd.model_copy(update={"enabled": True})})
    os.chown(where.secrets, 0, 1234)
    where.secrets.chmod(0o2750)
    told = [one.advice for one in installation.commands(where, web)]
    assert any(f"chmod 2770 {where.secrets}" in advice for advice in told)


def test_certificate(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = config.load(where)
    assert levels(installation.certificate(where, loaded)) == {"certificate": "ok"}
    config.edit(where.config_file, {"server.hostname": "post.office.lan"})
    assert (
        "not for server.hostname post.office.lan"
        in only(installation.certificate(where, config.load(where)), "warn").text
    )
    monkeypatch.setattr(certificates, "SERVER_DAYS", 20)
    assert certificates.renew(where, days=10_000)
    assert "days" in only(installation.certificate(where, loaded), "warn").text
    monkeypatch.setattr(certificates, "SERVER_DAYS", 2)
    monkeypatch.setattr(certificates, "_BACKDATED", certificates.datetime.timedelta(days=9))
    assert certificates.renew(where, days=10_000)
    assert "ended on" in only(installation.certificate(where, loaded), "fail").text
    (where.tls / "server.pem").write_text("nonsense\n")
    assert only(installation.certificate(where, loaded), "fail").advice


def test_certificate_command(run: Run, where: paths.Paths) -> None:
    server, authority = json.loads(run("certificate", "show", "--json").stdout)
    assert "mail.office.lan" in server["names"]
    assert authority["sha256"] != server["sha256"]
    assert server["sha256"] in run("certificate", "show").stdout
    key = (where.tls / "server.key").read_bytes()
    assert "is good until" in run("certificate", "renew").stdout
    assert json.loads(run("certificate", "show", "--json").stdout)[0]["sha256"] != server["sha256"]
    assert (where.tls / "server.key").read_bytes() == key
    (where.tls / "ca.key").unlink()
    assert "not signed by our own" in run("certificate", "renew", code=os.EX_UNAVAILABLE).stderr


def test_waiting_mail(where: paths.Paths) -> None:
    loaded = config.load(where)
    assert levels(installation.waiting(where, loaded)) == {"queue": "ok"}
    entry = where.queue / "new" / "1.x"
    entry.write_text("x")
    assert levels(installation.waiting(where, loaded)) == {"queue": "ok"}
    os.utime(entry, (time.time() - 900, time.time() - 900))
    assert "the oldest for 15 minutes" in only(installation.waiting(where, loaded), "warn").text
    (where.hold / "new" / "1.y").write_text("x")
    (where.hold / "new" / "1.y.why").write_text("x")
    assert levels(installation.waiting(where, loaded))["hold"] == "warn"
    small = loaded.model_copy(update={"smtpd": loaded.smtpd.model_copy(update={"max_backlog": 0})})
    assert levels(installation.waiting(where, small))["queue"] == "fail"


def test_ports_in_use_are_told_with_who_has_them(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        loaded = config.load(where)
        server = loaded.server.model_copy(update={"port_offset": 0, "listen": ["127.0.0.1"]})
        off = {name: 0 for name, _ in loaded.ports()}
        smtpd = loaded.smtpd.model_copy(
            update={
                "mx_port": port,
                **{name.split(".")[1]: 0 for name in off if name.startswith("smtpd") and "mx" not in name},
            }
        )
        none = {
            name: getattr(loaded, name).model_copy(update={"port": 0, "tls_port": 0}) for name in ("pop3d", "imapd")
        }
        loaded = loaded.model_copy(update={"server": server, "smtpd": smtpd, **none})
        found = only(machine.ports(where, loaded), "fail")
        assert found.text.startswith(f"{port} (smtpd.mx_port) is in use by ")
        assert "python" in found.text or "pytest" in found.text
        monkeypatch.setattr(machine, "_listeners", lambda _port: [("lanmail-smtpd", str(where.root))])
        assert "lanmail listens on" in only(machine.ports(where, loaded), "ok").text
        monkeypatch.setattr(machine, "_listeners", lambda _port: [("lanmail-smtpd", "/another/root")])
        assert levels(machine.ports(where, loaded)) == {"ports": "fail"}
    monkeypatch.setattr(machine, "_listeners", lambda _port: [])
    assert "free for lanmail" in only(machine.ports(where, loaded), "ok").text
    server = server.model_copy(update={"listen": ["192.0.2.7"]})
    assert (
        "no address 192.0.2.7" in only(machine.ports(where, loaded.model_copy(update={"server": server})), "fail").text
    )


def test_disk(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = config.load(where)
    usage = shutil.disk_usage(where.var)._replace(total=1 << 40, free=1 << 39)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: usage)
    assert levels(machine.disk(where, loaded))["disk"] == "ok"
    usage = usage._replace(free=500 << 20)
    assert levels(machine.disk(where, loaded))["disk"] == "warn"
    usage = usage._replace(free=50 << 20)
    assert "mail is refused below 100MB" in only(machine.disk(where, loaded), "fail").text


def test_file_system(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, expected in {"ext4": ["ok"], "ext2": ["warn"], "nfs4": ["warn", "warn"], "tmpfs": ["ok", "fail"]}.items():
        spool.one_fsync.cache_clear()
        monkeypatch.setattr(spool, "file_system", lambda _path, kind=kind: kind)
        assert [item.level for item in machine.file_system(where)] == expected
    spool.one_fsync.cache_clear()
    monkeypatch.undo()


def test_kernel_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "fs/protected_symlinks": 1,
        "fs/protected_fifos": 0,
        "fs/inotify/max_user_watches": 100,
    }.items():
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    monkeypatch.setattr(machine, "PROC", tmp_path)
    assert [item.text for item in machine.sysctls()] == [
        "fs.protected_fifos is 0",
        "fs.inotify.max_user_watches is 100",
    ]


def test_clock(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_synchronized", lambda: True)
    assert levels(machine.clock(where)) == {"clock": "ok"}
    monkeypatch.setattr(machine, "_synchronized", lambda: False)
    assert levels(machine.clock(where)) == {"clock": "warn"}
    future = where.log / "2099-01-01.log"
    future.write_text("")
    os.utime(future, (time.time() + 3600, time.time() + 3600))
    assert levels(machine.clock(where)) == {"clock": "fail"}


def test_descriptors(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (1024, 1024))
    assert levels(machine.descriptors(config.load(where))) == {"open files": "warn"}


def test_running_up_is_seen(where: paths.Paths) -> None:
    assert list(installation.running(where)) == []
    fcntl = installation.fcntl
    descriptor = os.open(where.run / "up.lock", os.O_RDWR | os.O_CREAT, 0o640)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert levels(installation.running(where)) == {"running": "ok"}
    os.close(descriptor)
    assert accounts.Directory(where, lambda: config.load(where)).names() == ()
