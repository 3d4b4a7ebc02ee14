"""`lanmail up`: all programs as children of one process in the foreground.

The programs say READY=1 to a socket of ours exactly as they would to systemd, so `ready` means that all of them
listen. Children get a session of their own, so that Ctrl-C reaches only us and the order of stopping is ours, and a
death signal, so that none outlives a parent that was killed.

Own code rather than a supervisor library (circus, honcho, supervisor): none of them waits for sd_notify, and waiting
for it is most of the job.
"""

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lanmail import config, errors, log, paths, programs
from lanmail.cli import command

START_TIMEOUT = 60.0     # a program that has not said READY by then is taken for hung
STOP_TIMEOUT = 40.0      # longer than the programs' own limit for finishing what is on the wire
IMPATIENCE = 1.0         # a second Ctrl-C after this many seconds kills
BACKOFF_FIRST = 0.5
BACKOFF_LONGEST = 30.0
HEALTHY = 60.0           # up for this long: the next death starts with the first back-off again
PR_SET_PDEATHSIG = 1


def runner(name: str) -> list[str]:
    """The runner or console script of a program: the one that lies beside ours."""
    script = f"lanmail-{name}"
    beside = Path(sys.argv[0]).absolute().with_name(script)
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(script)
    return [found] if found else [sys.executable, "-P", "-c", f"from lanmail.{name} import main; main()"]


def wanted(where: paths.Paths) -> list[programs.Program]:
    """All programs but httpd while it is switched off. With broken settings each says itself what is wrong."""
    try:
        served = config.load(where).httpd.enabled
    except errors.ConfigError:
        served = True
    return [one for one in programs.DAEMONS if served or one.name != "httpd"]


def _die_with_parent(parent: int) -> None:
    """Between fork and exec of a child: ask the kernel for SIGTERM when the parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:    # it died before we asked
        os._exit(os.EX_TEMPFAIL)


class Child:
    """One program: its process, whether it said READY, and the back-off until the next try."""

    def __init__(self, program: programs.Program, where: paths.Paths, notify_dir: Path) -> None:
        self.program = program
        self.where = where
        self.backoff = BACKOFF_FIRST
        self.ready = asyncio.Event()
        self.address = notify_dir / program.name
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.notify.bind(str(self.address))
        self.process: subprocess.Popen[bytes] | None = None
        self.ended: asyncio.Future[int] | None = None
        self.started = 0.0
        asyncio.get_running_loop().add_reader(self.notify, self._heard)

    def _heard(self) -> None:
        try:
            text = self.notify.recv(4096)
        except BlockingIOError:
            return
        if b"READY=1" in text.split(b"\n"):
            self.ready.set()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready.clear()
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LISTEN_", "WATCHDOG_"))}
        env["NOTIFY_SOCKET"] = str(self.address)
        arguments = runner(self.program.name)
        if self.where != paths.installed():
            arguments += ["--root", str(self.where.root)]
        parent = os.getpid()
        self.process = subprocess.Popen(    # noqa: S603 — our own programs, no shell
            arguments, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), env=env, start_new_session=True,
            preexec_fn=lambda: _die_with_parent(parent))    # safe: this process has one thread
        self.started = loop.time()
        self.ended = loop.create_future()
        pidfd = os.pidfd_open(self.process.pid)
        loop.add_reader(pidfd, self._exited, pidfd)

    def _exited(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        assert self.process is not None
        assert self.ended is not None
        self.ended.set_result(self.process.wait())

    def running(self) -> bool:
        return self.ended is not None and not self.ended.done()

    def kill(self, number: signal.Signals) -> None:
        if self.running():
            assert self.process is not None
            self.process.send_signal(number)

    async def gone(self) -> int:
        """The exit status, when there is one."""
        assert self.ended is not None
        return await asyncio.shield(self.ended)

    def next_backoff(self) -> float:
        """How long to wait before the next start: doubles, and begins anew after a long healthy life."""
        if asyncio.get_running_loop().time() - self.started > HEALTHY:
            self.backoff = BACKOFF_FIRST
        wait = self.backoff
        self.backoff = min(self.backoff * 2, BACKOFF_LONGEST)
        return wait


class Supervisor:
    """Starts, watches and stops the children."""

    def __init__(self, where: paths.Paths) -> None:
        self.where = where
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.asked = 0.0
        self.notify_dir = Path(tempfile.mkdtemp(prefix="lanmail-"))    # sun_path is short, a root may be long
        self.children = [Child(program, where, self.notify_dir) for program in wanted(where)]

    def signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        # On a terminal SIGHUP says that the terminal is gone; anywhere else it means reload, as for each program.
        if sys.stdin.isatty():
            loop.add_signal_handler(signal.SIGHUP, self._stop, signal.SIGHUP)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self, number: signal.Signals) -> None:
        """Stop in order; only a person who presses Ctrl-C once more, a while later, is in a hurry.

        make and timeout(1) send the same signal to the group and to each process: two at once mean one wish.
        """
        now = time.monotonic()
        if not self.stopping.is_set():
            self.asked = now
            self.stopping.set()
        elif number == signal.SIGINT and now - self.asked > IMPATIENCE:
            self.hurry.set()

    def _reload(self) -> None:
        for child in self.children:
            child.kill(signal.SIGHUP)

    async def start(self) -> int:
        """Start all and wait until all are ready; else the exit status to leave with."""
        for child in self.children:
            child.start()
        ready = asyncio.create_task(self._all_ready())
        events = [asyncio.create_task(child.gone()) for child in self.children]
        stop = asyncio.create_task(self.stopping.wait())
        first: list[asyncio.Future[Any]] = [ready, *events, stop]
        await asyncio.wait(first, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        try:
            if ready.done():
                return os.EX_OK
            for child, event in zip(self.children, events, strict=True):
                if event.done():
                    return self._did_not_start(child, event.result())
            if not self.stopping.is_set():
                slow = ", ".join(child.program.name for child in self.children if not child.ready.is_set())
                say(f"not ready after {START_TIMEOUT:.0f} s: {slow}")
                return os.EX_TEMPFAIL
            return os.EX_OK
        finally:
            for task in (ready, *events, stop):
                task.cancel()

    async def _all_ready(self) -> None:
        for child in self.children:
            await child.ready.wait()

    def _did_not_start(self, child: Child, status: int) -> int:
        """Say it in words; the program itself has just said the details on stderr."""
        name = child.program.name
        if status == os.EX_UNAVAILABLE:
            say(f"{name} could not have its port or its spool (see above). Is another server, or another lanmail, "
                f"running here? Stop it, or choose other ports: server.port_offset in {self.where.config_file}")
        elif status == os.EX_CONFIG:
            say(f"{name} refuses the configuration (see above); after mending: lanmail config check")
        else:
            say(f"{name} did not start: {how(status)}")
        return status if status > 0 else os.EX_SOFTWARE

    async def keep(self, child: Child) -> None:
        """Start a child again each time it dies."""
        while True:
            status = await child.gone()
            wait = child.next_backoff()
            log.program_died(program=child.program.name, how=how(status), again_in=wait)
            await asyncio.sleep(wait)
            child.start()

    async def stop(self) -> int:
        """Listeners first; deliver then files what they took. 0, or EX_SOFTWARE when one had to be killed."""
        clean = True
        for listens in (True, False):
            group = [child for child in self.children if child.program.listens is listens and child.running()]
            for child in group:
                child.kill(signal.SIGTERM)
            if group:
                clean &= await self._wait_for(group)
        return os.EX_OK if clean else os.EX_SOFTWARE

    async def _wait_for(self, group: list[Child]) -> bool:
        hurry = asyncio.create_task(self.hurry.wait())
        all_gone = asyncio.gather(*(child.gone() for child in group))
        first: list[asyncio.Future[Any]] = [all_gone, hurry]
        await asyncio.wait(first, timeout=STOP_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        late = [child for child in group if child.running()]
        for child in late:
            say(f"{child.program.name} does not stop: killed (mail it had not acknowledged stays with its sender)")
            child.kill(signal.SIGKILL)
        await all_gone
        return not late

    def close(self) -> None:
        for child in self.children:
            child.notify.close()
        shutil.rmtree(self.notify_dir, ignore_errors=True)


def say(text: str) -> None:
    """A line for the person who started us."""
    print(f"lanmail up: {text}", file=sys.stderr, flush=True)


def how(status: int) -> str:
    """An exit status in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


async def supervise(where: paths.Paths, on_ready: Callable[[], None]) -> int:
    """The whole life: start, `ready`, keep, stop. The exit status."""
    supervisor = Supervisor(where)
    supervisor.signals()
    keepers: list[asyncio.Task[None]] = []
    try:
        status = await supervisor.start()
        if status == os.EX_OK and not supervisor.stopping.is_set():
            print("ready", flush=True)
            on_ready()
            keepers = [asyncio.create_task(supervisor.keep(child)) for child in supervisor.children]
            await supervisor.stopping.wait()
        for keeper in keepers:
            keeper.cancel()
        return await supervisor.stop() or status
    finally:
        supervisor.close()


def alone(where: paths.Paths) -> int | None:
    """Hold the lock that says `up` runs on this root, for life; None when another one holds it."""
    where.run.mkdir(parents=True, exist_ok=True)
    fd = os.open(where.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def run(where: paths.Paths, on_ready: Callable[[], None] = lambda: None) -> int:
    """Check what can be checked once for all programs, then supervise them."""
    try:
        config.load(where)
    except errors.ConfigError as error:
        print(error, file=sys.stderr)
        say("the configuration has errors; nothing was started")
        return os.EX_CONFIG
    owner = where.var.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        say(f"warning: {where.var} belongs to user {owner}, and what root makes there is out of its reach; "
            "better: systemctl start lanmail.target, or run this as that user")
    lock = alone(where)
    if lock is None:
        say(f"already running on {where.root}")
        return os.EX_UNAVAILABLE
    log.setup("up", where.log)
    try:
        return asyncio.run(supervise(where, on_ready))
    finally:
        os.close(lock)


@click.command()
@command.rooted
def up(where: paths.Paths) -> None:
    """Start all programs in the foreground.

    Prints `ready` when all of them listen, starts one that dies again, reloads all on SIGHUP, and stops them in order
    on SIGTERM or Ctrl-C. A second Ctrl-C kills them: acknowledged mail is safe, but connections break.
    """
    sys.exit(run(where))
