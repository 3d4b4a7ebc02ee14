"""The units as systemd itself judges them, and as the programs need them."""

import configparser
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lanmail import programs, settings

HERE = Path(__file__).resolve().parent.parent
UNITS = HERE / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
EXPOSURE = 20    # tenths: `systemd-analyze security` calls up to 2.0 OK, 0 is the best

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with our units as installed and what they name, for --root."""
    root = tmp_path_factory.mktemp("image")
    units = root / "usr/lib/systemd/system"
    shutil.copytree(UNITS, units)
    for name in ("sysinit", "basic", "shutdown", "sockets", "multi-user"):
        shutil.copy(f"/usr/lib/systemd/system/{name}.target", units)
    for service in SERVICES:
        for line in re.findall(r"^Exec\w+=(/\S+)", service.read_text(), re.M):
            program = root / line.lstrip("/")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
    (root / "bin").mkdir()
    shutil.copy("/bin/kill", root / "bin")
    return root


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@needs_systemd
def test_verify_finds_nothing(image: Path) -> None:
    units = [str(path) for path in sorted((image / "usr/lib/systemd/system").glob("lanmail*")) if path.is_file()
             and path.suffix in (".service", ".socket", ".target")]
    result = analyze("verify", f"--root={image}", "--man=no", "--recursive-errors=yes", *units)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("service", [path.name for path in SERVICES])
def test_sandbox_is_tight(image: Path, service: str) -> None:
    result = analyze("security", "--offline=yes", f"--root={image}", f"--threshold={EXPOSURE}", service)
    assert result.returncode == 0, result.stdout[-300:]
    assert "Overall exposure level" in result.stdout


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="systemd-tmpfiles wants root for --root")
def test_users_and_directories(image: Path) -> None:
    (image / "etc").mkdir(exist_ok=True)
    subprocess.run(["systemd-sysusers", f"--root={image}", UNITS / "lanmail.sysusers"], check=True)
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={image}", UNITS / "lanmail.tmpfiles"], check=True)
    uid = int(re.search(r"^lanmail:[^:]*:(\d+):", (image / "etc/passwd").read_text(), re.M)[1])
    spool = image / "var/lib/lanmail/spool"
    for path, mode, owner in ((spool / "queue/new", 0o750, uid), (spool / "pickup", 0o2770, uid),
                              (image / "etc/lanmail/accounts", 0o2770, 0), (image / "etc/lanmail/tls", 0o2750, 0),
                              (image / "etc/lanmail", 0o2770, 0), (image / "run/lanmail", 0o750, uid)):
        info = path.stat()
        assert (oct(info.st_mode & 0o7777), info.st_uid) == (oct(mode), owner), path


def test_one_service_per_program() -> None:
    assert [path.stem for path in SERVICES] == sorted(f"lanmail-{program.name}" for program in programs.DAEMONS)


def parsed(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str    # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def test_one_writable_tree_only() -> None:
    """Two ReadWritePaths= below /var/lib/lanmail would be two mounts, and delivery by rename would fail with EXDEV.

    Outside of it deliver writes the files of accounts, for commands by mail, and httpd what people write in conf/."""
    text = "".join(path.read_text() for path in UNITS.rglob("*") if path.suffix in (".service", ".conf"))
    paths = re.findall(r"^(?:ReadWritePaths|BindPaths|StateDirectory)=(.*)$", text, re.M)
    assert sorted(paths) == ["-/etc/lanmail", "-/etc/lanmail/accounts", "/var/lib/lanmail /run/lanmail"]
    assert parsed(UNITS / "lanmail-deliver.service")["Service"]["ReadWritePaths"] == "-/etc/lanmail/accounts"


@pytest.mark.parametrize("service", [path.name for path in SERVICES if path.stem != "lanmail-archived"])
def test_only_archived_writes_the_archive(service: str) -> None:
    """httpd shows people their archived mail, so it may read it; the others do not see it."""
    if service == "lanmail-httpd.service":
        assert parsed(UNITS / service)["Service"]["ReadOnlyPaths"] == "-/var/lib/lanmail/archive"
        return
    hidden = re.findall(r"^InaccessiblePaths=(.*)$", (UNITS / service).read_text(), re.M)
    assert "-/var/lib/lanmail/archive" in " ".join(hidden).split()


def test_sockets_belong_to_services() -> None:
    """Each .socket names its service, and the service starts with it (else it would try to bind a low port itself)."""
    for path in UNITS.glob("*.socket"):
        section = parsed(path)["Socket"]
        service = parsed(UNITS / section["Service"])["Unit"]
        assert path.stem == f"lanmail-{section['FileDescriptorName']}"
        assert path.name in service["Requires"].split()
        assert path.name in service["After"].split()


@pytest.mark.parametrize("name", [program.name for program in programs.DAEMONS if program.listens])
def test_every_listener_has_its_socket(name: str) -> None:
    """By name, for that is how a program finds the descriptor it was given, and on the standard port."""
    loaded = settings.Settings(server=settings.Server(domain="office.lan"))
    wanted = {one.name: str(one.port) for one in importlib.import_module(f"lanmail.{name}").listeners(loaded)}
    units = [parsed(path)["Socket"] for path in UNITS.glob("*.socket")]
    given = {unit["FileDescriptorName"]: unit["ListenStream"].rpartition(":")[2] for unit in units
             if unit["Service"] == f"lanmail-{name}.service"}
    assert given == wanted
