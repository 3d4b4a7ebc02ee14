"""`lanmail up` with stand-ins for the programs: they note what happens to them and fail when told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanmail import config, programs

HERE = Path(__file__).resolve().parent.parent
UP = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(HERE)!r})
from lanmail import paths
from lanmail.cli import up
sys.exit(up.run(paths.of_root(sys.argv[1])))
"""
STAND_IN = f"""#!{sys.executable}
import os, signal, socket, sys, time
name = os.path.basename(sys.argv[0]).removeprefix("lanmail-")
root = sys.argv[sys.argv.index("--root") + 1]
def note(word):
    with open(root + "/notes", "a") as notes:
        notes.write(f"{{name}} {{word}}\\n")
def stop(number, frame):
    note("stop")
    time.sleep(0.05)
    note("gone")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, lambda number, frame: note("reload"))
note(f"start {{os.getpid()}}")
if os.path.exists(f"{{root}}/fail-{{name}}"):
    sys.exit(int(open(f"{{root}}/fail-{{name}}").read()))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
    out.sendto(b"STATUS=x\\nREADY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
"""


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


class Office:
    """A root, the stand-ins, and `up` on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "conf").mkdir()
        (root / "conf/lanmail.toml").write_text(config.sample())
        config.edit(root / "conf/lanmail.toml", {"httpd.enabled": True})
        (root / "bin").mkdir()
        for name, text in [("lanmail", UP), *((f"lanmail-{program.name}", STAND_IN) for program in programs.DAEMONS)]:
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)
        self.process: subprocess.Popen[str] | None = None

    def up(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen([self.root / "bin/lanmail", self.root], text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self.process

    def ready(self) -> subprocess.Popen[str]:
        process = self.up()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def notes(self) -> list[str]:
        return (self.root / "notes").read_text().splitlines() if (self.root / "notes").exists() else []

    def pids(self) -> dict[str, int]:
        """The last process id of each."""
        return {line.split()[0]: int(line.split()[2]) for line in self.notes() if " start " in line}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    if office.process is not None:
        office.process.kill()
        office.process.communicate()
        until(lambda: not any(map(alive, office.pids().values())))


def test_ready_then_stops_listeners_before_deliver(office: Office) -> None:
    process = office.ready()
    assert set(office.pids()) == {program.name for program in programs.DAEMONS}
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "", "")
    stops = [line for line in office.notes() if line.endswith((" stop", " gone"))]
    last = sorted(f"{one.name} {word}" for one in programs.DAEMONS if not one.listens for word in ("gone", "stop"))
    assert sorted(stops[-len(last):]) == last
    listeners = {f"{one.name} gone" for one in programs.DAEMONS if one.listens}
    assert {line for line in stops[:-len(last)] if line.endswith("gone")} == listeners


def test_starts_again_what_dies(office: Office) -> None:
    process = office.ready()
    first = office.pids()
    os.kill(first["pop3d"], signal.SIGKILL)
    until(lambda: office.pids()["pop3d"] != first["pop3d"])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "program-died program=pop3d" in err
    assert "SIGKILL" in err
    assert {name: pid for name, pid in office.pids().items() if name != "pop3d"} == {
        name: pid for name, pid in first.items() if name != "pop3d"}


@pytest.mark.parametrize(("status", "words"), [(69, "port_offset"), (78, "config check"), (3, "exit status 3")])
def test_leaves_nothing_running_when_one_does_not_start(office: Office, status: int, words: str) -> None:
    (office.root / "fail-imapd").write_text(str(status))
    process = office.up()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (status, "")
    assert words in err
    assert "imapd" in err
    assert not any(map(alive, office.pids().values()))


def test_config_error_starts_nothing(office: Office) -> None:
    (office.root / "conf/lanmail.toml").write_text('[server]\ndomain = "office.lan"\n[smtpd]\nmaxsize = "1MB"\n')
    process = office.up()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (os.EX_CONFIG, "")
    assert "lanmail.toml:4" in err
    assert "max_size" in err
    assert not office.notes()


def test_children_die_with_a_killed_parent(office: Office) -> None:
    process = office.ready()
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, office.pids().values())))


def test_second_up_refuses(office: Office) -> None:
    office.ready()
    second = subprocess.run([office.root / "bin/lanmail", office.root], capture_output=True, text=True, timeout=30,
                            stdin=subprocess.DEVNULL, check=False)
    assert (second.returncode, second.stdout) == (os.EX_UNAVAILABLE, "")
    assert "already running" in second.stderr
    assert sum(" start " in line for line in office.notes()) == len(programs.DAEMONS)


def test_reload_reaches_all(office: Office) -> None:
    process = office.ready()
    process.send_signal(signal.SIGHUP)
    until(lambda: sum(line.endswith(" reload") for line in office.notes()) == len(programs.DAEMONS))
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_same_signal_twice_at_once_is_one_wish(office: Office, number: signal.Signals) -> None:
    """make and timeout(1) signal both the group and the process."""
    process = office.ready()
    for _ in range(3):
        process.send_signal(number)
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert "killed" not in process.stderr.read()
