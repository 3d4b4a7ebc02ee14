"""Who has a mailbox here and where an address leads: accounts, aliases, groups, postmaster.

`Directory` is asked for every recipient, so it answers from memory. A file or directory is looked at again at most
every `FRESH` seconds; a name that is not found makes it look at once, so a new account counts immediately.

Invariants: no text from outside ever becomes part of a path, only names found by listing conf/accounts do. A broken
account file keeps its last good state; without one, only that account answers `Temporary`. When the list cannot be
read, who is not known is `Temporary` too. An account comes before its namesakes, an alias with a domain before all.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from lanmail import config, envelope, groups, log, membership, names
from lanmail.address import Address
from lanmail.errors import ConfigError, Temporary
from lanmail.folders import acl
from lanmail.groups import Group
from lanmail.paths import Paths
from lanmail.settings import Account, Settings
from lanmail.stamps import Watched

FRESH = 0.2
SEEK = 5.0  # between two looks through all accounts for one that can use SCRAM, and through all members of groups
MAX_CACHED = 10_000

Names = TypeVar("Names", config.Aliases, groups.Groups)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where an address leads. "local": to `accounts`, `groups` and `external`; all empty when nobody is postmaster.

    Members of groups are not among them: see Directory.members.
    """

    kind: Literal["local", "external", "unknown"]
    accounts: tuple[str, ...] = ()
    external: tuple[Address, ...] = ()
    groups: tuple[str, ...] = ()


UNKNOWN = Resolution("unknown")


def valid_name(name: str) -> str | None:
    """Why `name` cannot be an account's name, in a sentence; None when it can."""
    return names.account_problem(name)


class _Entry:
    """One account: its file, and what was last read from it."""

    __slots__ = ("account", "broken", "file", "path", "settings")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = Watched(path)
        self.account: Account | None = None
        self.settings: Settings | None = None
        self.broken: str | None = None


class Directory:
    """All accounts, aliases and groups of one installation; `settings` returns the current settings."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        self._paths = paths
        self._settings = settings
        self._entries: dict[str, _Entry] = {}
        self._folder = Watched(paths.accounts)
        self._aliases: config.Aliases = {}
        self._groups: groups.Groups = {}
        self._broken: dict[Path, str] = {}  # a file of names that cannot be read → why; what it said before counts
        self._unlisted = "not read yet"
        self._aliases_file = Watched(paths.aliases)
        self._groups_file = Watched(paths.groups)
        self._members: dict[str, membership.Membership] = {}
        self._held: dict[tuple[str, bool], frozenset[str]] = {}  # account, is it a person's → groups it is in
        self._members_at = -1e9
        self._resolved: dict[Address, Resolution] = {}
        self._resolved_at = -1e9
        self._resolved_for: Settings | None = None
        self._prover = ""
        self._prover_sought = -1e9
        self._postmaster: str | None = None
        self._postmaster_sought = -1e9

    # accounts

    def account(self, name: str, *, fresh: bool = True) -> Account | None:
        """The account, None when there is none; without `fresh` its file may have been looked at a moment ago.

        Raises Temporary when its file is broken and was so from the start.
        """
        now = time.monotonic()
        folded = name.lower() if name.isascii() else ""
        entry = self._entry(folded, now)
        if entry is None:
            return None
        settings = self._settings()
        if entry.file.changed(now, 0 if fresh else FRESH) or entry.settings is not settings:
            self._read(folded, entry, settings)
        if entry.account is None and entry.broken is not None:
            raise Temporary(f"account {folded} is misconfigured", 451, "4.3.5")
        return entry.account

    def names(self) -> tuple[str, ...]:
        """All account names, sorted."""
        self._look(time.monotonic(), fresh=True)
        return tuple(sorted(self._entries))

    def login_name(self, user: str) -> str | None:
        """The account that logs in as `user`: its name, that @ any local domain, an alias address of its own."""
        local, at, domain = user.rpartition("@")
        if at and not self.is_local(domain):
            return None
        name = local if at else user
        folded = name.lower() if name.isascii() else ""
        if self._entry(folded, time.monotonic()):
            return folded
        leads = (self._aliases.get((folded, domain.lower())) or self._aliases.get((folded, "")) or ()) if at else ()
        return self.login_name(leads[0][0]) if len(leads) == 1 and self.is_local(leads[0][1]) else None

    def folded_login(self, user: str) -> str:
        """The one form of everything that logs in as the same account would, be there one or not."""
        local, at, domain = user.rpartition("@")
        return (local if at and self.is_local(domain) else user).lower()

    def somebody_proves(self) -> bool:
        """Whether any account has a verifier for SCRAM."""
        now = time.monotonic()
        if not self._proves(self._prover) and now - self._prover_sought > SEEK:
            self._look(now)
            self._prover = next(filter(self._proves, sorted(self._entries)), "")
            self._prover_sought = now
        return bool(self._prover)

    def _proves(self, name: str) -> bool:
        try:
            account = self.account(name, fresh=False) if name else None
        except Temporary:
            return False
        return account is not None and bool(account.scram)

    def valid_name(self, name: str) -> str | None:
        """Why a new account cannot have this name: its form, or because it is taken; None when it can."""
        reason = names.account_problem(name)
        if reason:
            return reason
        self._look(time.monotonic(), fresh=True)
        folded = name.lower()
        if folded in self._entries:
            return f"there is an account '{folded}' already"
        if folded in self._groups:
            return f"'{folded}' is a group already"
        return f"'{folded}' is an alias already" if (folded, "") in self._aliases else None

    def _entry(self, folded: str, now: float) -> _Entry | None:
        self._look(now)
        entry = self._entries.get(folded)
        if entry is None and folded and not names.account_problem(folded):
            self._look(now, fresh=True)
            entry = self._entries.get(folded)
            if entry is None and self._unlisted:
                raise Temporary("accounts cannot be read at the moment", 451, "4.3.0")
        return entry

    def _look(self, now: float, *, fresh: bool = False) -> bool:
        """Follow changes of the accounts directory, of the aliases and groups; True when there were any."""
        changed = False
        if self._folder.changed(now, 0 if fresh else FRESH):
            changed = True
            self._list()
        if self._aliases_file.changed(now, 0 if fresh else FRESH):
            changed = True
            self._aliases = self._names_of(self._aliases_file, config.load_aliases, self._aliases)
        if self._groups_file.changed(now, 0 if fresh else FRESH):
            changed = True
            self._groups = self._names_of(self._groups_file, groups.load, self._groups)
        if changed:
            self._resolved.clear()
            self._forget_members()
            self._postmaster_sought = -1e9
        return changed

    def _list(self) -> None:
        try:
            files = list(config.account_files(self._paths))
            if not files:
                os.stat(self._paths.accounts)  # gone altogether is not the same as empty
        except OSError as error:
            # What is known stays known, and nobody is unknown for good because we had no descriptor to look with.
            if str(error) != self._unlisted:
                log.config_broken(error=str(error))
            self._unlisted = str(error)
            self._folder.again()
            return
        self._unlisted = ""
        found: dict[str, _Entry] = {}
        for path in files:
            # a file named Meier.toml is told by `lanmail config check`, and is no account
            if path.stem == path.stem.lower() and not names.account_problem(path.stem):
                found[path.stem] = self._entries.get(path.stem) or _Entry(path)
        self._entries = found

    def _read(self, name: str, entry: _Entry, settings: Settings) -> None:
        entry.settings = settings
        try:
            entry.account = config.load_account(entry.path, settings.account_defaults)
            entry.broken = None
        except ConfigError as error:
            if _gone(entry.path):
                self._entries.pop(name, None)
                entry.account, entry.broken = None, None
                return
            if isinstance(error.__cause__, OSError):
                entry.file.again()
            if str(error) != entry.broken:  # told once, not at each look
                log.config_broken(error=str(error))
            entry.broken = str(error)

    def _names_of(self, file: Watched, load: Callable[[Path], Names], before: Names) -> Names:
        """What a file of aliases or groups says; what it said before while it is broken."""
        path = Path(file.path)
        try:
            found = load(path)
        except ConfigError as error:
            if str(error) != self._broken.get(path):
                log.config_broken(error=str(error))
            self._broken[path] = str(error)
            if isinstance(error.__cause__, OSError):
                file.again()
            return before
        self._broken.pop(path, None)
        return found

    # addresses

    @property
    def domain(self) -> str:
        """The first of our domains: a name without one in a list of members means this."""
        return self._settings().server.domain

    @property
    def filtered(self) -> bool:
        """Whether the mail of all accounts is looked at."""
        options = self._settings().filter
        return bool(options.use or options.junk_headers)

    def is_local(self, domain: str) -> bool:
        """True for every domain whose addresses are ours, and for the missing one of a bare <postmaster>."""
        return not domain or domain.lower() in self._settings().server.local_domains

    def resolve(self, addr: Address) -> Resolution:
        """Where mail to `addr` goes. "unknown" means a local domain, but nobody there of this name."""
        now = time.monotonic()
        settings = self._settings()
        if now - self._resolved_at >= FRESH or settings is not self._resolved_for:
            self._resolved_at = now
            self._look(now)
            if settings is not self._resolved_for or len(self._resolved) > MAX_CACHED:
                self._resolved.clear()
                self._resolved_for = settings
        cached = self._resolved.get(addr)
        if cached is not None:
            return cached
        found = self._resolve(addr)
        if found.kind == "unknown" and self._look(now, fresh=True):
            found = self._resolve(addr)
        if found.kind == "unknown" and self._broken:
            raise Temporary(f"{min(self._broken).stem} are misconfigured", 451, "4.3.5")
        if self._unlisted and found.kind != "external" and (found.kind == "unknown" or not self._entries):
            raise Temporary("accounts cannot be read at the moment", 451, "4.3.0")
        return found

    def _resolve(self, addr: Address) -> Resolution:
        if not self.is_local(addr.domain):
            return Resolution("external", (), (addr,))
        accounts: dict[str, None] = {}
        external: dict[Address, None] = {}
        grouped: dict[str, None] = {}
        seen: set[tuple[str, str]] = set()
        waiting = [addr]
        to_postmaster = False
        while waiting:  # a work list, not recursion: a chain of aliases may be long
            current = waiting.pop(0)
            if not self.is_local(current.domain):
                external[current] = None
                continue
            match = self._match(current)
            if match is None or match in seen:
                continue
            seen.add(match)
            if match in self._aliases:
                waiting += [Address(local, domain or addr.domain) for local, domain in self._aliases[match]]
            elif match[0] in self._entries:
                accounts[match[0]] = None
            elif match[0] in self._groups:
                grouped[match[0]] = None
            elif owned := self._owned(match[0]):
                waiting.append(membership.address_of(owned.owner or names.POSTMASTER[0], addr.domain))
            else:
                to_postmaster = True
        if to_postmaster:
            postmaster = self.postmaster()
            accounts.update({postmaster: None} if postmaster else {})
        if not accounts and not external and not grouped and not to_postmaster:
            return UNKNOWN
        found = Resolution("local", tuple(accounts), tuple(external), tuple(grouped))
        if not to_postmaster:  # who that is can change without a file coming or going
            self._resolved[addr] = found
        return found

    def _match(self, addr: Address) -> tuple[str, str] | None:
        """What stands behind a local address: the key of an alias, or the name of an account, of a group or its owner,
        or postmaster, and ""."""
        folded = names.fold(addr.local)
        if folded is None:
            return None
        settings = self._settings()
        separator, primary = settings.deliver.sub_address_separator, settings.server.domain
        candidates = [folded]
        if separator and separator in folded:
            candidates.append(folded.split(separator, 1)[0])
        for local in candidates:
            if (local, addr.domain) in self._aliases:
                return (local, addr.domain)
            if local in self._entries or (local, "") in self._aliases or local in names.POSTMASTER:
                return (local, "")
            if (group := self._groups.get(local) or self._owned(local)) and group.exists_in(addr.domain or primary):
                return (local, "")
        return None

    def _owned(self, local: str) -> Group | None:
        """The group whose owner has this local part: sales of sales-owner."""
        return self._groups.get(local.removesuffix(groups.OWNER)) if local.endswith(groups.OWNER) else None

    def reaches(self, local: str, domain: str = "") -> bool:
        """Whether a target of an alias or group leads somewhere: to one of ours, or elsewhere."""
        if not self.is_local(domain):
            return True
        self._look(time.monotonic(), fresh=True)
        return self._match(Address(local, domain)) is not None

    def may_send_as(self, account_name: str, addr: Address | None) -> bool:
        """Whether the account may use `addr` as sender: the null sender, an address that leads to it, or a grant.

        The address of a team mailbox is its members', too, and that of a group, unless it says otherwise.
        """
        if addr is None:
            return True
        account = self.account(account_name, fresh=False)
        if account is None:
            return False
        if self.is_local(addr.domain):
            found = self.resolve(addr)
            if account.name in found.accounts or any(self._posts_for(account, name) for name in found.accounts):
                return True
            if any((group := self.group(name)) and group.send_as and self.holds(name, account)
                   for name in found.groups):
                return True
        return any(_granted(grant, addr) for grant in account.send_as)

    def _posts_for(self, account: Account, name: str) -> bool:
        """Whether the account is a member of a team mailbox and has the right p there (RFC 4314 §2.1)."""
        try:
            team = self.account(name, fresh=False)
        except Temporary:
            return False
        if team is None or not team.shared:
            return False
        return "p" in acl.allowed(acl.members(team), self.who(account))

    # groups

    def group(self, name: str) -> Group | None:
        """The group of this folded name; None when there is none."""
        self._look(time.monotonic())
        return self._groups.get(name)

    def groups(self) -> tuple[str, ...]:
        """The names of all groups, sorted."""
        self._look(time.monotonic(), fresh=True)
        return tuple(sorted(self._groups))

    def members(self, name: str) -> membership.Membership:
        """Who is in a group, over groups in it. Temporary when a name cannot be looked up now."""
        self._look_at_members(time.monotonic())
        found = self._members.get(name)
        if found is None:
            found = membership.find(name, self._groups, self.resolve, self.domain)
            self._members[name] = found
        return found

    def _look_at_members(self, now: float) -> None:
        self._look(now)
        if now - self._members_at >= SEEK:  # who is postmaster can change without a file coming or going
            self._forget_members()
            self._members_at = now

    def _forget_members(self) -> None:
        self._members.clear()
        self._held.clear()

    def holds(self, name: str, account: Account) -> bool:
        """Whether the account is a member of the group."""
        found = self.members(name)
        return account.name in found.accounts or (found.everyone and is_person(account))

    def people(self) -> Iterator[str]:
        """Who is in `everyone`. An account whose file is broken from the start counts as one."""
        for name in self.names():
            try:
                account = self.account(name, fresh=False)
            except Temporary:
                yield name
            else:
                if account is not None and is_person(account):
                    yield name

    def who(self, account: Account) -> acl.Who:
        """The account as access rights see it, with its groups. Groups that cannot be looked up now give none."""
        self._look_at_members(time.monotonic())
        key = account.name, is_person(account)
        if key not in self._held:
            mine = set()
            for name in self._groups:
                with contextlib.suppress(Temporary):
                    if self.holds(name, account):
                        mine.add(name)
            self._held[key] = frozenset(mine)
        return acl.Who(account.name, self._held[key].union(account.groups))

    # postmaster

    def postmaster(self) -> str | None:
        """The account that gets postmaster's mail; None when no account is marked."""
        now = time.monotonic()
        self._look(now)
        if self._postmaster and self._is_postmaster(self._postmaster):
            return self._postmaster
        if now - self._postmaster_sought < FRESH:
            return None
        self._postmaster = next((name for name in sorted(self._entries) if self._is_postmaster(name)), None)
        self._postmaster_sought = now if self._postmaster is None else -1e9
        return self._postmaster

    def _is_postmaster(self, name: str) -> bool:
        try:
            account = self.account(name, fresh=False)
        except Temporary:
            return False
        return account is not None and account.postmaster


def is_person(account: Account) -> bool:
    """Whether the account is somebody's own: a member of `everyone`."""
    return not (account.disabled or account.shared or account.einvoice.enabled)


_UNNAMED = frozenset({"pickup", "lan", "local"})  # handed in by our own without a log-in


def sender_of(directory: Directory, head: envelope.Envelope) -> str | None:
    """The account whose mail this is: who logged in for it, else whose address sends from our own network. Temporary.

    An address of several accounts is nobody's; and what comes from elsewhere proves nothing.
    """
    origin, sender = head.origin, head.sender
    if origin is None:
        return None
    named = origin.get("account")
    if named is not None or sender is None or origin.kind not in _UNNAMED or not directory.is_local(sender.domain):
        return named
    found = directory.resolve(sender)
    return found.accounts[0] if len(found.accounts) == 1 and not (found.external or found.groups) else None


def _gone(path: Path) -> bool:
    """True only when the file is known not to be there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _granted(grant: str, addr: Address) -> bool:
    if grant == "*":
        return True
    local, _, domain = grant.rpartition("@")
    return domain == addr.domain and (local == "*" or grant.lower() == str(addr).lower())
