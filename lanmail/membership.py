"""Who is in a group in the end: over aliases and groups in groups, each once, in any ring.

Only names are looked up here. `lead` says where an address leads (accounts.Directory.resolve).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lanmail import names
from lanmail.address import Address
from lanmail.groups import Group

if TYPE_CHECKING:
    from lanmail.accounts import Resolution


@dataclass(slots=True)
class Membership:
    """All members of one group, in the order in which they are written down."""

    accounts: dict[str, None]
    external: dict[Address, None]
    groups: dict[str, None]  # the group itself and those within it
    rings: list[str]  # "a → b → a": where the way came back and was broken
    unknown: list[str]  # named as members, but nobody has the name
    everyone: bool = False  # and all people of the office

    def has_outside(self, address: Address) -> bool:
        """Whether an address elsewhere is a member; local parts are compared without case."""
        wanted = str(address).lower()
        return any(str(one).lower() == wanted for one in self.external)


def address_of(target: str, domain: str) -> Address:
    """A name or address as it is written in a configuration file; a bare name counts in `domain`."""
    local, given = names.alias_target(target)
    return Address(local, given or domain)


def find(name: str, groups: Mapping[str, Group], lead: "Callable[[Address], Resolution]", domain: str) -> Membership:
    """The members of `name`; none when there is no such group. Temporary when a name cannot be looked up now."""
    found = Membership({}, {}, {name: None}, [], [])
    way = {name: _members(groups.get(name), found)}  # from the group to where we are: group → what is left of it
    while way:
        inside = next(reversed(way))
        target = next(way[inside], None)
        if target is None:
            del way[inside]
            continue
        led = lead(address_of(target, domain))
        found.accounts.update(dict.fromkeys(led.accounts))
        found.external.update(dict.fromkeys(led.external))
        if not (led.accounts or led.external or led.groups) and target not in found.unknown:
            found.unknown.append(target)
        for group in led.groups:
            if group in way:
                ring = list(way)[list(way).index(group):]
                found.rings.append(" → ".join([*ring, group]))
            elif group not in found.groups:
                found.groups[group] = None
                way[group] = _members(groups.get(group), found)
    return found


def _members(group: Group | None, found: Membership) -> Iterator[str]:
    if group is None:  # the file has changed just now
        return iter(())
    if group.name == names.EVERYONE:
        found.everyone = True
    return iter(group.members)
