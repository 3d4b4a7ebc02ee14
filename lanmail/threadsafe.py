"""accounts.Directory for several threads: one question at a time."""

import threading
from collections.abc import Callable, Iterator

from lanmail import accounts, membership
from lanmail.address import Address
from lanmail.groups import Group
from lanmail.paths import Paths
from lanmail.settings import Account, Settings


class Directory(accounts.Directory):
    """Who has a mailbox here and where an address leads."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        super().__init__(paths, settings)
        self._turn = threading.RLock()

    def account(self, name: str, *, fresh: bool = True) -> Account | None:
        with self._turn:
            return super().account(name, fresh=fresh)

    def names(self) -> tuple[str, ...]:
        with self._turn:
            return super().names()

    def resolve(self, addr: Address) -> accounts.Resolution:
        with self._turn:
            return super().resolve(addr)

    def reaches(self, local: str, domain: str = "") -> bool:
        with self._turn:
            return super().reaches(local, domain)

    def may_send_as(self, account_name: str, addr: Address | None) -> bool:
        with self._turn:
            return super().may_send_as(account_name, addr)

    def postmaster(self) -> str | None:
        with self._turn:
            return super().postmaster()

    def group(self, name: str) -> Group | None:
        with self._turn:
            return super().group(name)

    def groups(self) -> tuple[str, ...]:
        with self._turn:
            return super().groups()

    def holds(self, name: str, account: Account) -> bool:
        with self._turn:
            return super().holds(name, account)

    def valid_name(self, name: str) -> str | None:
        with self._turn:
            return super().valid_name(name)

    def members(self, name: str) -> membership.Membership:
        with self._turn:
            return super().members(name)

    def people(self) -> Iterator[str]:
        with self._turn:
            return iter(list(super().people()))
