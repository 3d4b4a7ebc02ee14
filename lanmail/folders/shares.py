"""Which folders of others somebody may see: team mailboxes, and folders that people share.

`state/shares` is the index, so that nobody walks through all Maildirs to list a few folders: a line `ACCOUNT<TAB>*`
for each team mailbox, `ACCOUNT<TAB>FOLDER` for each other folder whose `dovecot-acl` names somebody. It only says
where to look; what somebody may do is read from the folder each time. It may be deleted, and is made again from the
accounts and the Maildirs; every REBUILD seconds somebody looks whether it is still true (`stale`, `rebuild`), and who
changes a folder by IMAP or by `lanmail` says so at once (`renew`).

Blocking, but for `rights`, which is a stat of a small file. Thread-safe.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lanmail import accounts, atomic, log, maildir, mutf7, stamps
from lanmail.errors import Temporary
from lanmail.folders import acl
from lanmail.paths import Paths
from lanmail.settings import Account, Settings

REBUILD = 30.0
TEAM = "*"
_LIMIT = 16 << 20
_TOLD = 1000
_SHUT: acl.Entries = (acl.Entry("anyone"),)  # what counts for a file that cannot be used


class Shares:
    """The shared folders of one installation; `settings` returns the current settings."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        self._paths = paths
        self._maildirs = str(paths.maildirs)
        self._index = str(paths.state / "shares")
        self._directory = accounts.Directory(paths, settings)
        self._guard = threading.RLock()
        self.directory = str(paths.state)  # where the index lies
        self._stamp: tuple[int, ...] = ()
        self._lines: tuple[tuple[str, str], ...] = ()
        self._told: set[tuple[str, str, str]] = set()

    # accounts

    def account(self, name: str) -> Account | None:
        """The account as its file says now; None when there is none, or none that can be used."""
        with self._guard:
            try:
                return self._directory.account(name)
            except Temporary:
                return None

    def root(self, owner: str) -> str:
        """The Maildir of an account."""
        return f"{self._maildirs}/{owner}"

    # rights

    def rights(self, name: str, owner: str, folder: str) -> frozenset[str]:
        """What the account `name` may do in the folder of `owner`, which need not exist."""
        if name == owner:
            return acl.allowed(self._entries(owner, folder), acl.Who(name, owner=True))
        mine, theirs = self.account(name), self.account(owner)
        if mine is None or theirs is None:
            return acl.NONE
        return acl.allowed(self.entries(theirs, folder), self._directory.who(mine))

    def entries(self, owner: Account, folder: str) -> acl.Entries:
        """All that gives or takes rights in a folder: its file, and the members of the team mailbox."""
        own = self._entries(owner.name, folder)
        if own is _SHUT or not owner.shared:
            return own
        named = {entry.key for entry in own}
        return (*own, *(entry for entry in acl.members(owner) if entry.key not in named))

    def _entries(self, owner: str, folder: str) -> acl.Entries:
        path = maildir.path_of(self.root(owner), folder)
        try:
            return acl.read(path) or ()
        except (acl.Broken, OSError) as error:
            # nobody gets in by a line that nobody understands; the owner does
            self._tell(owner, folder, f"{acl.NAME}: {error}")
            return _SHUT

    def _tell(self, owner: str, folder: str, error: str) -> None:
        """Log a trouble, not each time that somebody looks."""
        if (owner, folder, error) not in self._told:
            if len(self._told) > _TOLD:
                self._told.clear()
            self._told.add((owner, folder, error))
            log.folder_unusable(account=owner, folder=folder, error=error)

    def grant(self, owner: str, folder: str, whose: acl.Entry, rights: frozenset[str], mode: str = "=") -> None:
        """Change what an identifier may do in a folder. acl.Broken, OSError."""
        owned = whose.key in (("owner", "", False), ("user", owner, False))
        before = acl.ALL if owned else self._as_member(owner, whose)
        self._change(owner, folder, whose, rights, mode, before, keep=bool(before))

    def revoke(self, owner: str, folder: str, whose: acl.Entry) -> None:
        """Take the line of an identifier away; for a member of a team mailbox, write down that he has no rights."""
        before = self._as_member(owner, whose)
        self._change(owner, folder, whose, acl.NONE, "=", before, keep=bool(before))

    def _as_member(self, owner: str, whose: acl.Entry) -> frozenset[str]:
        account = self.account(owner)
        team = acl.members(account) if account is not None and account.shared else ()
        return next((entry.rights for entry in team if entry.key == whose.key), acl.NONE)

    def _change(self, owner: str, folder: str, whose: acl.Entry, rights: frozenset[str], mode: str,
                before: frozenset[str], *, keep: bool) -> None:
        directory = maildir.path_of(self.root(owner), folder)
        acl.change(directory, whose, rights, mode, before=before, keep=keep)
        self.renew(owner)

    # the index

    def visible(self, name: str) -> list[tuple[str, str, frozenset[str]]]:
        """The folders of others that an account may see: (owner, folder, rights)."""
        found = []
        for owner, folder in self._candidates():
            if owner != name:
                rights = self.rights(name, owner, folder)
                if "l" in rights:
                    found.append((owner, folder, rights))
        return found

    def invited(self, name: str, owner: str, folder: str) -> bool:
        """Whether a visible folder is shared with this account in particular, not just with everybody."""
        mine, theirs = self.account(name), self.account(owner)
        if mine is None or theirs is None:
            return False
        who = self._directory.who(mine)
        return any(entry.name and entry.matches(who) and not entry.negative for entry in self.entries(theirs, folder))

    def _candidates(self) -> Iterator[tuple[str, str]]:
        try:
            if self._age() is None:
                self.rebuild(wait=True)
            lines = self._load()
        except OSError as error:  # nobody loses his own folders because those of others cannot be found
            self._tell("", "", f"state/shares: {error}")
            return
        for owner, folder in lines:
            root = self.root(owner)
            try:
                if folder != TEAM:
                    if maildir.exists(root, folder):
                        yield owner, folder
                elif (account := self.account(owner)) is not None and account.shared:
                    yield from ((owner, one) for one in maildir.folders(root))
            except (OSError, ValueError):
                continue

    def _load(self) -> tuple[tuple[str, str], ...]:
        status = os.stat(self._index)
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        if stamp != self._stamp:
            text = atomic.read(self._index, _LIMIT).decode("utf-8", "surrogateescape")
            self._lines, self._stamp = tuple(_parse(text)), stamp
        return self._lines

    def stale(self) -> bool:
        """Whether it is time to look again."""
        age = self._age()
        return age is None or not 0 <= age < REBUILD

    def _age(self) -> float | None:
        """How old the index is in seconds; None when there is none, or accounts came or went since."""
        try:
            made = os.stat(self._index).st_mtime_ns
            listed = os.stat(self._paths.accounts).st_mtime_ns
        except OSError:
            return None
        return None if listed >= made else (time.time_ns() - made) / 1e9

    def rebuild(self, *, wait: bool = False) -> None:
        """Look through all accounts and Maildirs; one process does it, the others go on with what there is, or wait."""
        with self._locked(wait=wait) as held:
            if held and not (wait and self._age() is not None):
                self._look_at_all()

    def renew(self, *owners: str) -> None:
        """Look through the Maildirs of some accounts, whose folders just changed."""
        with self._locked(wait=True):
            if self._age() is None:
                self._look_at_all()
                return
            made = os.stat(self._index).st_mtime_ns  # the others were looked at then
            kept = [line for line in self._load() if line[0] not in owners]
            self._write([*kept, *(line for name in owners for line in self._shared_by(name))], made)

    def _look_at_all(self) -> None:
        """With the lock. What changes meanwhile, or just changed and may again, is looked at the next time."""
        made = time.time_ns() - int(stamps.RACY * 1e9)
        self._write([line for name in self._names() for line in self._shared_by(name)], made)

    def _names(self) -> tuple[str, ...]:
        with self._guard:
            return self._directory.names()

    def _shared_by(self, name: str) -> Iterator[tuple[str, str]]:
        account = self.account(name)
        if account is None:
            return
        root = self.root(name)
        if account.shared:
            try:
                maildir.prepare(root)  # what the first log-in makes for others
            except OSError as error:
                self._tell(name, "INBOX", str(error))
            yield name, TEAM
            return
        try:
            folders = maildir.folders(root)
        except OSError:
            return  # no Maildir yet
        for folder in folders:
            try:
                entries = acl.read(maildir.path_of(root, folder)) or ()
            except (acl.Broken, OSError):
                continue
            if any(entry.rights and not entry.negative and entry.kind != "owner" for entry in entries):
                yield name, folder

    def _write(self, lines: list[tuple[str, str]], made: int) -> None:
        text = "".join(f"{owner}\t{mutf7.encode(folder)}\n" for owner, folder in sorted(lines))
        atomic.write(self._index, text, mode=0o660)
        os.utime(self._index, ns=(made, made))

    @contextmanager
    def _locked(self, *, wait: bool = False) -> Iterator[bool]:
        self._paths.state.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(f"{self._index}.lock", os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o660)
        try:
            wanted = wait or not os.path.exists(self._index)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wanted else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def _parse(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        owner, tab, folder = line.partition("\t")
        if tab:
            try:
                yield owner, mutf7.decode(folder)
            except ValueError:
                continue
