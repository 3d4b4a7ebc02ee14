"""The frame of all programs, tried on a small one: options, workers, signals, systemd, exit codes."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests import ports

CHECKOUT = Path(__file__).parents[1]
TOY = '''
    """toy - a program for trying the frame"""
    import asyncio, os
    from lanmail import daemon, sockets

    async def serve(context):
        answered = asyncio.Event()
        async def answer(reader, writer):
            line = await reader.readline()
            if line == b"slow\\n":
                (context.paths.root / "heard").touch()
                await context.stopping.wait()
                await asyncio.sleep(0.1)
            writer.write(f"{os.getpid()} {context.settings.server.domain}\\n".encode())
            await writer.drain()
            writer.close()
            answered.set()
        servers = [await asyncio.start_server(answer, sock=bound.socket) for bound in context.bound]
        if (context.paths.root / "crash").exists():
            raise ValueError("a bug")
        if (context.paths.root / "refuse").exists():
            raise daemon.Refused("somebody else is at it", os.EX_TEMPFAIL)
        context.ready()
        await context.stopping.wait()
        if (context.paths.root / "heard").exists():
            await answered.wait()
        for server in servers:
            server.close()

    async def once(context):
        print("once", context.settings.server.domain)
        return 0

    def listeners(settings):
        return [sockets.Listener("pop3", "pop3", ("127.0.0.1",), settings.server.port(settings.pop3d.port))]

    daemon.program("pop3d", __doc__, serve, listeners=listeners, once=once)()
'''


@pytest.fixture
def toy(tmp_path):
    """Start the toy with given options; everything started is ended by its pid."""
    (tmp_path / "toy.py").write_text(textwrap.dedent(TOY))
    port = ports.free()
    (tmp_path / "conf").mkdir()
    settings = f'[server]\ndomain = "office.lan"\n[pop3d]\nport = {port}\nworkers = 1\n'
    (tmp_path / "conf" / "lanmail.toml").write_text(settings)
    started = []

    class Toy:
        root = tmp_path
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

        def start(self, *options: str) -> subprocess.Popen[str]:
            environment = dict(os.environ, PYTHONPATH=str(CHECKOUT), NOTIFY_SOCKET=str(tmp_path / "notify"))
            command = [sys.executable, str(tmp_path / "toy.py"), "--root", str(tmp_path), *options]
            one = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            started.append(one)
            return one

        def await_notice(self, wanted: str) -> None:
            while wanted not in self.notified.recv(1000).decode():
                pass

        def ask(self, line: bytes = b"x\n") -> list[str]:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
                one.sendall(line)
                return one.makefile().readline().split()

    toy = Toy()
    toy.notified.bind(str(tmp_path / "notify"))
    toy.notified.settimeout(90)
    yield toy
    toy.notified.close()
    for one in started:
        one.terminate()
        one.communicate(timeout=120)


def edit(toy, old, new):
    path = toy.root / "conf" / "lanmail.toml"
    path.write_text(path.read_text().replace(old, new))


def test_life_of_a_program(toy):
    process = toy.start()
    toy.await_notice("READY=1")
    assert toy.ask() == [str(process.pid), "office.lan"]

    edit(toy, "office.lan", "neu.lan")
    process.send_signal(signal.SIGHUP)
    toy.await_notice("RELOADING=1")
    toy.await_notice("READY=1")
    assert toy.ask()[1] == "neu.lan"

    edit(toy, "domain", "domian")
    process.send_signal(signal.SIGHUP)
    toy.await_notice("READY=1")
    assert toy.ask()[1] == "neu.lan", "a broken file keeps the last good settings"

    process.send_signal(signal.SIGTERM)
    toy.await_notice("STOPPING=1")
    assert process.wait(60) == 0
    assert "domian" in process.stderr.read()


def test_what_is_on_the_wire_is_finished(toy):
    process = toy.start()
    toy.await_notice("READY=1")
    with socket.create_connection(("127.0.0.1", int(toy_port(toy))), timeout=30) as one:
        one.sendall(b"slow\n")
        while not (toy.root / "heard").exists():  # the line must have reached the program before it is told to stop
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert one.makefile().readline().split()[1] == "office.lan"
    assert process.wait(60) == 0


def toy_port(toy):
    return (toy.root / "conf" / "lanmail.toml").read_text().split("port = ")[1].split("\n")[0]


def test_workers(toy):
    edit(toy, "workers = 1", "workers = 2")
    process = toy.start()
    toy.await_notice("READY=1")
    victim = int(toy.ask()[0])
    assert victim != process.pid
    os.kill(victim, signal.SIGKILL)
    assert int(toy.ask()[0]) != victim, "the other worker goes on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("flag", "workers", "code"),
    [("crash", 1, os.EX_SOFTWARE), ("refuse", 1, os.EX_TEMPFAIL), ("refuse", 2, os.EX_TEMPFAIL)],
)
def test_exit_codes(toy, flag, code, workers):
    edit(toy, "workers = 1", f"workers = {workers}")
    (toy.root / flag).touch()
    process = toy.start()
    assert process.wait(20) == code
    assert ("a bug" if flag == "crash" else "somebody else") in process.stderr.read()


def test_options(toy):
    assert toy.start("--check").communicate(timeout=120)[0].endswith("lanmail.toml: ok\n")
    assert toy.start("--once").communicate(timeout=120)[0] == "once office.lan\n"
    assert "toy - a program for trying the frame" in toy.start("--help").communicate(timeout=120)[0]
    assert toy.start("--nonsense").wait(20) == os.EX_USAGE


def test_broken_config_binds_nothing(toy):
    edit(toy, "domain", "domian")
    process = toy.start()
    assert process.wait(20) == os.EX_CONFIG
    error = process.stderr.read()
    assert "lanmail.toml:2" in error
    assert "did you mean 'domain'" in error


def test_a_port_in_use(toy):
    toy.start()
    toy.await_notice("READY=1")
    second = toy.start()
    assert second.wait(20) == os.EX_UNAVAILABLE
    assert "Another program has this port" in second.stderr.read()


def test_each_worker_gives_signs_of_life(toy):
    from lanmail.monitoring import counterfile

    edit(toy, "workers = 1", "workers = 2")
    process = toy.start()
    toy.await_notice("READY=1")
    found = counterfile.slots(toy.root / "state")
    assert [(one.program, one.number, one.alive) for one in found] == [("pop3d", 0, True), ("pop3d", 1, True)]
    assert all(one.pid != process.pid and one.beat >= one.started > 0 for one in found)
    process.terminate()
    process.wait(20)
    assert [(one.alive, one.ended > 0) for one in counterfile.slots(toy.root / "state")] == [(False, True)] * 2
