"""httpd dies in the middle of a change: each file of conf/ is the old or the new one, never half, and goes on to be
changed. At each call that changes something, and a real httpd by SIGKILL while two callers write."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lanmail import config, paths
from lanmail.logins import apikeys
from lanmail.web import app
from lanmail.web.api import frame
from lanmail.web.house import House
from tests import browsing, mailroot, ports
from tests.crash import rounds
from tests.crash.rig import CHECKOUT

pytestmark = pytest.mark.slow
GROUP = '[verkauf]\nmembers = ["meier"]\n'
CHANGES: dict[str, dict[str, Any]] = {
    "account.modify": {"name": "meier", "settings": {"full_name": "Neu", "forward": {"to": ["x@far.example"]}}},
    "account.forwarding": {"name": "meier", "settings": {"to": ["x@far.example"]}},
    "account.autoresponder": {"name": "meier", "settings": {"subject": "Weg"}},
    "account.password": {"name": "meier", "password": "ein anderes Passwort"},
    "group.create": {"name": "einkauf", "settings": {"members": ["chef"]}},
    "group.modify": {"name": "verkauf", "settings": {"members": ["chef"]}},
    "group.add_member": {"name": "verkauf", "members": ["chef"]},
    "group.delete": {"name": "verkauf"},
    "config.set": {"settings": {"server": {"hostname": "mail.office.lan"}}},
    "alias.create": {"address": "info", "to": ["meier"]},
}
SEVERAL = {  # more than one file: every state in between must be sound, and the call can be made again
    "account.create": {"name": "neu", "password": "ein gutes Passwort"},
    "account.delete": {"name": "meier", "mail": "delete"},
}
assert app.PAGES  # the methods are in their table


def office(root: Path) -> House:
    where = browsing.lay_out(root)
    where.groups.write_text(GROUP)
    loaded = config.load(where)
    return House(where, lambda: loaded)


def change(house: House, name: str, given: dict[str, Any]) -> Any:
    call = frame.Call(house, frame.Caller("test", "admin"), "127.0.0.1", asyncio.new_event_loop())
    with contextlib.closing(call.loop):
        return frame.carry_out(call, name, given)


def state(where: paths.Paths) -> dict[str, str]:
    """What the files of conf/ say."""
    return {str(path.relative_to(where.conf)): path.read_text() for path in sorted(where.conf.rglob("*.toml"))}


def dies(house: House, step: int, name: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a process that makes this change is killed at that step."""
    pid = os.fork()
    if pid == 0:
        with mailroot.dying(step, monkeypatch):
            try:
                change(house, name, given)
            finally:
                os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def sound(where: paths.Paths) -> None:
    """Everything can be read, and no account is without its settings."""
    loaded = config.load(where)
    for path in config.account_files(where):
        config.load_account(path, loaded.account_defaults)


@pytest.mark.parametrize("name", [*CHANGES, *SEVERAL])
def test_at_each_step(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name not in frame.METHODS:
        pytest.skip("no such method")
    given = CHANGES.get(name) or SEVERAL[name]
    for step in range(200):
        house = office(tmp_path / str(step))
        before = state(house.paths)
        died = dies(house, step, name, given, monkeypatch)
        found = state(house.paths)
        sound(house.paths)
        with contextlib.suppress(frame.Refused):  # made already
            change(house, name, given)
        after = state(house.paths)
        sound(house.paths)
        if name in CHANGES and name != "account.password":  # a hash is another one each time
            assert found in (before, after), f"step {step}"
        if not died:
            assert step > 3, "nothing was killed"
            return
    raise AssertionError("it never ends")


class Httpd:
    """A real httpd."""

    def __init__(self, root: Path) -> None:
        self.port = ports.free()
        self.paths = browsing.lay_out(root, httpd=f"port = {self.port}\ntls_port = 0")
        self.key = apikeys.add(self.paths.conf / "api.toml", "test", "admin", [])
        self.url = f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, CHECKOUT / "bin" / "lanmail-httpd", "--root", self.paths.conf.parent]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            limit = time.monotonic() + 60
            while time.monotonic() < limit:
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"{self.url}/healthz", timeout=5)
                    break
                time.sleep(0.05)
            yield process
        finally:
            process.kill()
            process.wait()

    def write(self, key: str, numbers: Iterator[int], said: list[int]) -> None:
        """Set two settings to the same number in each call, until the server is gone; `said`: asked for, and done."""
        session = requests.Session()
        for number in numbers:
            said[0] = number
            pair = {"subject": f"{key} {number}", "text": f"{key} {number} " * 200}
            try:
                answer = session.post(f"{self.url}/api/v1/account.autoresponder", timeout=20,
                                      json={"name": key, "settings": pair},
                                      headers={"Authorization": f"Bearer {self.key}"})
            except requests.RequestException:
                return
            if answer.status_code == 200:
                said[1] = number
            else:
                assert answer.json()["error"]["code"] == "rate_limited", answer.text


def test_killed_while_two_write(tmp_path: Path) -> None:
    httpd = Httpd(tmp_path)
    rest = random.Random(4)
    counters = {name: iter(range(1, 1_000_000)) for name in ("meier", "chef")}
    done = {name: [0, 0] for name in counters}
    for _ in range(rounds.of(20) if rounds.SHARE >= 1 else 2):
        with httpd.running() as process:
            writers = [threading.Thread(target=httpd.write, args=(name, counters[name], done[name])) for name in done]
            for one in writers:
                one.start()
            before, limit = [told for _, told in done.values()], time.monotonic() + 60
            while any(told == old for (_, told), old in zip(done.values(), before, strict=True)):
                assert time.monotonic() < limit, "nothing is written"
                time.sleep(0.01)
            time.sleep(rest.uniform(0.2, 0.8))
            process.send_signal(signal.SIGKILL)
            for one in writers:
                one.join(30)
        for name, (asked, told) in done.items():
            found = config.load_account(httpd.paths.accounts / f"{name}.toml").autoresponder
            number = int(found.subject.split()[1])
            assert found.text.split()[1::2] == [str(number)] * 200, "half of a change"
            assert told <= number <= asked
            assert told > 0
