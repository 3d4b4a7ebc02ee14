"""What every program has in common: options, settings, sockets, workers, signals, systemd, exit codes.

A program is one coroutine, `serve(context)`: it starts its servers on `context.bound`, calls `context.ready()`, waits
for `context.stopping`, finishes what is on the wire and returns. Everything around it is here.

Signals: SIGTERM and SIGINT stop in good order, SIGHUP reads the settings again (a broken file keeps the old ones), as
they are when somebody asks all programs for it (asking.py).
Exit codes are those of sysexits(3): 64 usage, 69 cannot listen, 70 our bug, 75 try again, 77 no permission, 78 config.
With `workers` above one the listening sockets are opened once and inherited; a worker that dies is started again.
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NoReturn

import click
import uvloop

import lanmail
from lanmail import config, log, manpage, paths, settings, sockets
from lanmail.administration import asking
from lanmail.errors import ConfigError
from lanmail.monitoring import counterfile

DRAIN = 25.0  # seconds that a stopping program has for what is on the wire; systemd and `lanmail up` give 30
_BEAT = 5.0
_PR_SET_PDEATHSIG = 1
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Refused(Exception):
    """The program cannot run now; the text says why, `code` is the exit code (sysexits(3))."""

    def __init__(self, text: str, code: int = os.EX_UNAVAILABLE) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Context:
    """What a program is given: where things lie, the settings of the moment, its sockets, and the wish to stop."""

    name: str
    paths: paths.Paths
    settings: settings.Settings
    bound: list[sockets.Bound]
    trace: bool = False
    worker: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _on_ready: Callable[[], None] = lambda: None
    _callbacks: list[Callable[[], None]] = field(default_factory=list)

    def ready(self) -> None:
        """Everything listens; systemd, `lanmail up` and the log are told."""
        log.ready(pid=os.getpid())
        self._on_ready()

    def on_reload(self, callback: Callable[[], None]) -> None:
        """Call `callback` after new settings came into force."""
        self._callbacks.append(callback)

    def reload(self) -> None:
        """Read the settings again; what is broken keeps the last good ones in force."""
        notify("RELOADING=1")
        try:
            self.settings = config.load(self.paths)
        except ConfigError as error:
            for problem in error.problems:
                log.reload_failed(error=str(problem))
        else:
            for callback in self._callbacks:
                callback()
            log.reloaded()
        notify("READY=1")

    async def until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that ends by an error only, until the program is told to stop; then it is cancelled."""
        working = asyncio.create_task(work)
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        working.cancel()
        stop.cancel()

    def say(self, text: str) -> None:
        """With --trace: one line of explanation on stderr."""
        if self.trace:
            print(text, file=sys.stderr, flush=True)


Serve = Callable[[Context], Awaitable[None]]
Listeners = Callable[[settings.Settings], list[sockets.Listener]]
Once = Callable[[Context], Awaitable[int]]


def program(
    name: str, doc: str, serve: Serve, *, listeners: Listeners | None = None, once: Once | None = None
) -> click.Command:
    """The command line of one program. `once` does the work at hand and returns the exit code (--once)."""

    def run(root: str | None, check: bool, once_flag: bool, trace: bool) -> None:
        where = paths.find(root)
        loaded = _load(where)
        if check:
            click.echo(f"{where.config_file}: ok")
            return
        _Runner(name, where, loaded, serve, listeners, once if once_flag else None, trace).run()

    options: list[click.Parameter] = [
        click.Option(["--root", "--config"], metavar="DIR", help="Where conf/, spool/, maildirs/ and state/ lie; "
                     "else LANMAIL_ROOT, else /etc/lanmail and /var/lib/lanmail."),
        click.Option(["--check"], is_flag=True, help="Read the configuration, say what is wrong with it, and end."),
        click.Option(["--trace"], is_flag=True, help="Explain on stderr what is done and why."),
        click.Option(["--once"], is_flag=True, help="Do what is there to be done, and end.", hidden=once is None),
    ]

    def callback(root: str | None, check: bool, trace: bool, once: bool) -> None:
        run(root, check, once, trace)

    command = manpage.Command(f"lanmail-{name}", callback=callback, params=options, help=doc,
                      context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
    return click.version_option(lanmail.__version__, prog_name=f"lanmail-{name}")(command)


def _load(where: paths.Paths) -> settings.Settings:
    if not where.config_file.exists():
        fail(f"{where.config_file} is not there. Make one with: lanmail init --root DIR --domain office.lan "
             "(or say where it is with --root or LANMAIL_ROOT)", os.EX_CONFIG)
    try:
        return config.load(where)
    except ConfigError as error:
        fail(str(error), os.EX_CONFIG)


def fail(text: str, code: int) -> NoReturn:
    """Say why on stderr and end with a code of sysexits(3)."""
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _collect_less() -> None:
    """Python's default looks for garbage after each 700 new objects; a folder of 100,000 messages is half a million."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # so that taking up 10,000 messages is not interrupted


class _Runner:
    """One start of one program: bind, fork the workers or run in place, report to systemd, end."""

    def __init__(self, name: str, where: paths.Paths, loaded: settings.Settings, serve: Serve,
                 listeners: Listeners | None, once: Once | None, trace: bool) -> None:
        self.name, self.where, self.loaded, self.serve, self.once, self.trace = name, where, loaded, serve, once, trace
        self.wishes = listeners(loaded) if listeners and not once else []
        own: Any = getattr(loaded, name, None)
        self.workers = 1 if once else max(1, int(getattr(own, "workers", 1)))

    def run(self) -> None:
        os.umask(self.loaded.server.umask)
        sockets.raise_limit()
        section = self.loaded.log
        log.setup(self.name, self.where.log, level=_LEVELS.get(str(section.level), logging.INFO),
                  keep_days=section.keep_days)
        try:
            bound = sockets.open_all(self.wishes)
        except sockets.CannotListen as error:
            fail(str(error), os.EX_UNAVAILABLE)
        if self.wishes and not bound:
            fail(f"lanmail-{self.name}: every port is switched off (port = 0); nothing to do", os.EX_CONFIG)
        log.started(version=lanmail.__version__, pid=os.getpid(), listen=" ".join(str(one) for one in bound) or None)
        if self.workers == 1:
            code = self._worker(bound, 0, lambda: notify("READY=1", f"STATUS=pid {os.getpid()}"))
        else:
            code = _Supervisor(self, bound).run()
        notify("STOPPING=1")
        log.stopped(pid=os.getpid())
        if code:
            raise SystemExit(code)

    def _worker(self, bound: list[sockets.Bound], index: int, on_ready: Callable[[], None]) -> int:
        try:
            _collect_less()
            with (counterfile.Keeper(self.name, index, self.where.state) as keeper,
                  asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner):
                return runner.run(self._main(bound, index, on_ready, keeper))
        except Refused as error:
            log.event("refused", level=logging.ERROR, reason=str(error))
            return error.code
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:  # the one place: whatever nobody classified ends the program, and it is restarted
            log.crashed(error=repr(error), where=traceback.format_exc())
            return os.EX_SOFTWARE

    async def _main(self, bound: list[sockets.Bound], index: int, on_ready: Callable[[], None],
                    keeper: counterfile.Keeper) -> int:
        context = Context(self.name, self.where, self.loaded, bound, self.trace, index, _on_ready=on_ready)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, context.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, context.reload)
        if self.once:
            return await self.once(context)
        watchdog = asyncio.create_task(_watchdog())
        beating = asyncio.create_task(_beat(keeper))
        heeding = asyncio.create_task(asking.heed(self.where, context.reload))
        work = asyncio.ensure_future(self.serve(context))
        stop = asyncio.create_task(context.stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.wait({work}, timeout=DRAIN)
            if work.done():
                work.result()
            else:
                log.event("drain-timeout", level=logging.WARNING, seconds=int(DRAIN))
        finally:
            for task in (watchdog, beating, heeding, stop, work):
                task.cancel()
        return os.EX_OK


class _Supervisor:
    """The parent of several workers: it owns the sockets, restarts a worker that died, passes signals on."""

    def __init__(self, runner: _Runner, bound: list[sockets.Bound]) -> None:
        self.runner, self.bound = runner, bound
        self.children: dict[int, int] = {}  # pid → worker
        self.stopping = False
        self.code = os.EX_OK

    def run(self) -> int:
        blocked = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        ready_read, self.ready_write = os.pipe()
        for index in range(self.runner.workers):
            self._start(index, blocked)
        self._await_ready(ready_read, blocked)
        while self.children:
            info = signal.sigtimedwait(blocked, _watchdog_period() or 3600)
            notify("WATCHDOG=1")
            if info is not None and info.si_signo == signal.SIGCHLD:
                self._reap(blocked)
            elif info is not None:
                self._pass_on(info.si_signo)
        return self.code

    def _start(self, index: int, blocked: set[signal.Signals]) -> None:
        pid = os.fork()
        if pid:
            self.children[pid] = index
            return
        code = os.EX_SOFTWARE
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # no worker outlives its parent
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
            code = self.runner._worker(self.bound, index, lambda: self._tell_ready())
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _tell_ready(self) -> None:
        try:
            os.write(self.ready_write, b"r")
        except OSError:
            pass  # a worker started again later: nobody reads any more

    def _await_ready(self, ready_read: int, blocked: set[signal.Signals]) -> None:
        os.set_blocking(ready_read, False)
        count = 0
        while count < self.runner.workers and self.children and not self.stopping:
            info = signal.sigtimedwait(blocked, 0.02)
            if info is not None:
                self._reap(blocked) if info.si_signo == signal.SIGCHLD else self._pass_on(info.si_signo)
            try:
                count += len(os.read(ready_read, 64))
            except BlockingIOError:
                continue
        os.close(ready_read)
        if count >= self.runner.workers:
            notify("READY=1", f"STATUS={count} workers")

    def _reap(self, blocked: set[signal.Signals]) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            index = self.children.pop(pid, -1)
            code = os.waitstatus_to_exitcode(status)
            if self.stopping or index < 0:
                continue
            if code in (os.EX_CONFIG, os.EX_USAGE, os.EX_TEMPFAIL, os.EX_NOPERM):
                self.code = code  # starting it again cannot help
                self._pass_on(signal.SIGTERM)
                continue
            log.worker_died(worker=index, pid=pid, status=code, again_in=1.0)
            time.sleep(1.0)
            self._start(index, blocked)

    def _pass_on(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopping, number = True, signal.SIGTERM
        for pid in self.children:
            os.kill(pid, number)


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception nobody awaited: logged, the program lives on."""
    error = context.get("exception")
    where = "".join(traceback.format_exception(error)) if error else None
    log.crashed(error=repr(error) if error else str(context.get("message")), where=where)


def notify(*lines: str) -> None:
    """Tell the service manager (sd_notify(3)); nothing happens when nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        log.event("notify-failed", level=logging.WARNING, error=str(error))


def _watchdog_period() -> float:
    """Half of what systemd allows between two signs of life, 0 when it does not ask."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 2_000_000 if micros.isdigit() else 0.0


async def _watchdog() -> None:
    period = _watchdog_period()
    while period:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)


async def _beat(keeper: counterfile.Keeper) -> None:
    """The sign of life that others see: a loop that hangs gives none."""
    while True:
        keeper.beat()
        await asyncio.sleep(_BEAT)
