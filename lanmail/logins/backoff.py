"""Who has to wait before the next password is looked at, and how long.

Three counts, because each alone either lets guessing through or locks the wrong one out:

* one address with one user: the plain case of guessing. Nobody else is touched by it.
* one address with whatever users: a list of names tried with one password each. Somebody who has logged in well from
  that address before is not touched, so a guessing PC behind the office's router does not lock the office out.
* one user from many addresses: a botnet. Only *addresses* are counted, so no single one can make trouble for the
  user elsewhere, and it only ever delays, a short time, an address that the user has not logged in from before.

A wrong password that was already tried counts once: a telephone with last year's password in it is not guessing, and
its owner's PC behind the same router must not suffer. Waiting doubles with every further failure and is forgotten
after `forget` seconds of quiet. All tables are bounded: what was not used for the longest goes. All processes of all
programs share them (`tally`), but for the passwords that were tried, of which nothing is written down.
"""

import hashlib
import ipaddress
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lanmail.logins import tally

# An address, and a user seen from everywhere, is allowed this many times the failures of one user at one address.
_MANY = 4
# What a user under attack from many addresses waits at most, at an address that is new to us.
_CROWD_MAX = 8.0
_CROWD = 64  # addresses that are remembered of one user's
_REMEMBERED = 8
_KEEP = 4096
_KEEP_KNOWN = 16_384
_KEEP_CROWDS = 1024
_place = struct.Struct("<d8s")


class _Count(NamedTuple):
    """What is known of one address, or of one user at one address."""

    last: float = 0.0
    until: float = 0.0
    failures: int = 0


_count = struct.Struct("<ddq")


class Backoff:
    """The counts of all processes that were given the same file. `free` failures cost nothing, then the wait is `first`
    seconds and doubles up to `longest`. `clock` is monotonic seconds, the same in all processes."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        free: int = 5,
        first: float = 2.0,
        longest: float = 30.0,
        forget: float = 900.0,
        shared: tally.Tally | None = None,
    ) -> None:
        self.free = free
        self.first = first
        self.longest = longest
        self.forget = forget
        self._clock = clock
        self._shared = shared or tally.Tally(None, b"")
        self._pairs = self._shared.table(_KEEP, _count.size)
        self._places = self._shared.table(_KEEP, _count.size)
        # Apart from _pairs, so that a flood of invented names cannot push the good ones out.
        self._known = self._shared.table(_KEEP_KNOWN, 8)
        self._crowds = self._shared.table(_KEEP_CROWDS, 8 + _CROWD * _place.size)
        self._tried: OrderedDict[str, OrderedDict[bytes, None]] = OrderedDict()

    def wait(self, place: str, user: str) -> float:
        """Seconds until a password of `user` from `place` may be looked at; 0.0 for now."""
        now = self._clock()
        wait = self._read(self._pairs, f"{place} {user}", now).until - now
        if not self.known(place, user):
            wait = max(wait, self._read(self._places, place, now).until - now)
        return max(wait, 0.0)

    def crowd(self, place: str, user: str) -> float:
        """Seconds to hold up a log-in of a user who is being tried from many addresses, at an unknown one."""
        now = self._clock()
        failing = self._failing(user, now)
        if not failing or self.known(place, user):
            return 0.0
        recent = len(failing.keys() - {_short(place)})
        return min(self._delay(recent - min(_MANY * self.free, _CROWD - 8)), _CROWD_MAX)

    def known(self, place: str, user: str) -> bool:
        """Whether that user has logged in well from there."""
        return self._known.get(f"{place} {user}") is not None

    def tried(self, place: str, user: str, proof: bytes) -> bool:
        """Whether this very password was refused here before. `proof` stands for user, stored hash and password."""
        return proof in self._tried.get(f"{place} {user}", ())

    def failed(self, place: str, user: str, proof: bytes) -> None:
        """A wrong password. Call it at once, before anything is awaited."""
        now = self._clock()
        self._note(f"{place} {user}", proof)
        with self._shared.locked():
            self._add(self._pairs, f"{place} {user}", self.free, now)
            self._add(self._places, place, _MANY * self.free, now)
            failing = self._failing(user, now) | {_short(place): now}
            kept = sorted(failing.items(), key=lambda item: item[1])[-_CROWD:]
            self._crowds.put(user, struct.pack("<d", now) + b"".join([_place.pack(at, one) for one, at in kept]), now)

    def succeeded(self, place: str, user: str) -> None:
        """The right password: the user is known at that address from now on, and starts from zero there."""
        now = self._clock()
        with self._shared.locked():
            self._known.put(f"{place} {user}", struct.pack("<d", now), now)
            if self._read(self._pairs, f"{place} {user}", now).failures:
                self._pairs.put(f"{place} {user}", _count.pack(now, 0.0, 0), now)

    def _note(self, key: str, proof: bytes) -> None:
        tried = self._tried.setdefault(key, OrderedDict())
        tried[proof] = None
        self._tried.move_to_end(key)
        if len(tried) > _REMEMBERED:
            tried.popitem(last=False)
        if len(self._tried) > _KEEP:
            self._tried.popitem(last=False)

    def _failing(self, user: str, now: float) -> dict[bytes, float]:
        """Which addresses failed lately with this user, and when."""
        found = self._crowds.get(user)
        return dict(_recent(found, now, self.forget)) if found else {}

    def _read(self, table: tally.Table, key: str, now: float) -> _Count:
        """The count; one from before the last start of the machine (its clock began anew) is none."""
        found = table.get(key)
        count = _Count(*_count.unpack(found)) if found else _Count()
        return count if count.last <= now and count.until - now <= self.longest else _Count()

    def _add(self, table: tally.Table, key: str, free: int, now: float) -> None:
        count = self._read(table, key, now)
        failures = count.failures + 1 if now - count.last < self.forget else 1
        table.put(key, _count.pack(now, now + self._delay(failures - free), failures), now)

    def _delay(self, over: int) -> float:
        return min(self.first * 2.0 ** min(over, 30), self.longest) if over >= 0 else 0.0


def _recent(crowd: bytes, now: float, forget: float) -> Iterator[tuple[bytes, float]]:
    for at, one in _place.iter_unpack(crowd[8:]):
        if 0 <= now - at < forget and at:
            yield one, at


def _short(place: str) -> bytes:
    return hashlib.blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def place(client: str) -> str:
    """The network that one machine can be anywhere in: an IPv4 address, the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return "127.0.0.1"
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
