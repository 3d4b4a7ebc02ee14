"""Who logged in when and from where: state/logins/ACCOUNT/SERVICE, for people who look whether it was always they.

    1763794800 192.168.1.20        when (seconds since 1970), and the client's address; the newest first, a line each

One client of a service stands there once, and is noted again at most every QUIET seconds by each process, so that a
program that looks for mail every minute costs nothing. Nothing is synced: what a power cut takes is a line here. Two
who write at once may lose one of theirs. Blocks.
"""

import contextlib
import ipaddress
import os
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, names

QUIET = 600.0
MOST = 8  # clients of a service
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Login:
    """One client that was let in."""

    service: str
    client: str
    at: float


class Book:
    """The log-ins of one installation, as one process notes them; for several threads."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._noted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._turn = threading.Lock()

    def due(self, account: str, service: str, client: str) -> bool:
        """Whether `note` has something to do. Does not block."""
        at = self._noted.get((account, service, client))
        return at is None or time.monotonic() - at > QUIET

    def note(self, account: str, service: str, client: str) -> None:
        """Somebody came in. What cannot be written is not noted: nobody stays outside because of it."""
        with self._turn:
            if not self.due(account, service, client):
                return
            self._noted[account, service, client] = time.monotonic()
            self._noted.move_to_end((account, service, client))
            if len(self._noted) > _REMEMBERED:
                self._noted.popitem(last=False)
            with contextlib.suppress(OSError, ValueError):
                ipaddress.ip_address(client)
                directory = directory_of(self._state, account)
                before = [one for one in _read(directory / service, service) if one.client != client]
                kept = [Login(service, client, time.time()), *before][:MOST]
                directory.mkdir(mode=0o750, parents=True, exist_ok=True)
                text = "".join(f"{one.at:.0f} {one.client}\n" for one in kept)
                atomic.write(directory / service, text, durable=False)


def directory_of(state: Path, account: str) -> Path:
    """Where the log-ins of an account stand; only for the name of an account."""
    if problem := names.account_problem(account):
        raise ValueError(problem)
    return state / "logins" / account


def of(state: Path, account: str) -> list[Login]:
    """The last ones of an account, the newest first."""
    directory = directory_of(state, account)
    try:
        services = [name for name in os.listdir(directory) if name.isalnum()]
    except OSError:
        return []
    return sorted((one for name in services for one in _read(directory / name, name)), key=lambda one: -one.at)


def forget(state: Path, account: str) -> None:
    """Who comes under this name has logged in nowhere."""
    shutil.rmtree(directory_of(state, account), ignore_errors=True)


def _read(path: Path, service: str) -> list[Login]:
    try:
        lines = atomic.read(path, 4096).decode("ascii", "replace").splitlines()
    except OSError:
        return []
    return [one for line in lines if (one := _parsed(service, line)) is not None]


def _parsed(service: str, line: str) -> Login | None:
    at, _, client = line.partition(" ")
    try:
        return Login(service, str(ipaddress.ip_address(client)), float(int(at)))
    except ValueError:
        return None
