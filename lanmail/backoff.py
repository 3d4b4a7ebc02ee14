"""Who has to wait before the next password is looked at, and how long.

Three counts, because each alone either lets guessing through or locks the wrong one out:

* one address with one user: the plain case of guessing. Nobody else is touched by it.
* one address with whatever users: a list of names tried with one password each. Somebody who has logged in well from
  that address before is not touched, so a guessing PC behind the office's router does not lock the office out.
* one user from many addresses: a botnet. Only *addresses* are counted, so no single one can make trouble for the
  user elsewhere, and it only ever delays, a short time, an address that the user has not logged in from before.

A wrong password that was already tried counts once: a telephone with last year's password in it is not guessing, and
its owner's PC behind the same router must not suffer. Waiting doubles with every further failure and is forgotten
after `forget` seconds of quiet. All tables are bounded: the least recently used entry goes.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# An address, and a user seen from everywhere, is allowed this many times the failures of one user at one address.
_MANY = 4
# What a user under attack from many addresses waits at most, at an address that is new to us.
_CROWD_MAX = 8.0
_REMEMBERED = 8
_KEEP = 4096

_V = TypeVar("_V")


class _Table(OrderedDict[str, _V], Generic[_V]):
    """The `_KEEP` most recently used entries."""

    def use(self, key: str, make: Callable[[], _V]) -> _V:
        found = self.get(key)
        if found is None:
            found = self[key] = make()
            if len(self) > _KEEP:
                self.popitem(last=False)
        else:
            self.move_to_end(key)
        return found


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0
    tried: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Backoff:
    """The counts of one process. `free` failures cost nothing, then the wait is `first` seconds and doubles up to
    `longest`. `clock` is monotonic seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        free: int = 5,
        first: float = 2.0,
        longest: float = 30.0,
        forget: float = 900.0,
    ) -> None:
        self.free = free
        self.first = first
        self.longest = longest
        self.forget = forget
        self._clock = clock
        self._pairs: _Table[_Count] = _Table()
        self._places: _Table[_Count] = _Table()
        self._crowds: _Table[OrderedDict[str, float]] = _Table()
        # Apart from _pairs, so that a flood of invented names cannot push the good ones out.
        self._known: _Table[bool] = _Table()

    def wait(self, place: str, user: str) -> float:
        """Seconds until a password of `user` from `place` may be looked at; 0.0 for now."""
        now = self._clock()
        wait = self._left(self._pairs, f"{place} {user}", now)
        if self.known(place, user):
            return wait
        return max(wait, self._left(self._places, place, now))

    def crowd(self, place: str, user: str) -> float:
        """Seconds to hold up a log-in of a user who is being tried from many addresses, at an unknown one."""
        failing = self._crowds.get(user)
        if failing is None or self.known(place, user):
            return 0.0
        now = self._clock()
        recent = sum(1 for name, last in failing.items() if now - last < self.forget and name != place)
        over = recent - _MANY * self.free
        return min(self._delay(over), _CROWD_MAX)

    def known(self, place: str, user: str) -> bool:
        """Whether that user has logged in well from there."""
        return f"{place} {user}" in self._known

    def tried(self, place: str, user: str, proof: bytes) -> bool:
        """Whether this very password was refused here before. `proof` stands for user, stored hash and password."""
        count = self._pairs.get(f"{place} {user}")
        return count is not None and proof in count.tried

    def failed(self, place: str, user: str, proof: bytes) -> None:
        """A wrong password. Call it at once, before anything is awaited."""
        now = self._clock()
        pair = self._pairs.use(f"{place} {user}", _Count)
        pair.tried[proof] = None
        if len(pair.tried) > _REMEMBERED:
            pair.tried.popitem(last=False)
        self._count(pair, self.free, now)
        self._count(self._places.use(place, _Count), _MANY * self.free, now)
        crowd: OrderedDict[str, float] = self._crowds.use(user, OrderedDict)
        crowd[place] = now
        crowd.move_to_end(place)
        if len(crowd) > 2 * _MANY * self.free:
            crowd.popitem(last=False)

    def succeeded(self, place: str, user: str) -> None:
        """The right password: the user is known at that address from now on, and starts from zero there."""
        self._known.use(f"{place} {user}", bool)
        pair = self._pairs.get(f"{place} {user}")
        if pair is not None:
            pair.failures, pair.until = 0, 0.0

    def _left(self, table: _Table[_Count], key: str, now: float) -> float:
        count = table.get(key)
        return max(0.0, count.until - now) if count is not None else 0.0

    def _count(self, count: _Count, free: int, now: float) -> None:
        if now - count.last >= self.forget:
            count.failures = 0
        count.failures += 1
        count.last = now
        count.until = now + self._delay(count.failures - free)

    def _delay(self, over: int) -> float:
        return min(self.first * 2.0 ** min(over, 30), self.longest) if over >= 0 else 0.0


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
