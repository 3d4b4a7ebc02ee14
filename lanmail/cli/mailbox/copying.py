"""From files into an account: what `lanmail mailbox import` does with sources that are on this machine."""

import datetime
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from lanmail.cli.mailbox import intake, naming, reading, rights, sources
from lanmail.cli.mailbox.count import Count
from lanmail.cli.mailbox.mail import Mail
from lanmail.cli.mailbox.progress import Progress

_HEADER = 64 << 10


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be copied. Folders are named as at the source, levels with slashes."""

    folders: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    since: datetime.date | None = None
    keep_uids: bool = False
    unique: bool = False  # nothing that any folder of the account has
    variant: str = "auto"

    def wants(self, levels: tuple[str, ...]) -> bool:
        """Whether a folder is one of those."""
        return (not self.folders or naming.matches(levels, self.folders)) \
            and not naming.matches(levels, self.excluded)

    def wants_date(self, date: float | None) -> bool:
        """Whether a message is young enough."""
        if self.since is None or date is None:
            return True
        return date >= datetime.datetime.combine(self.since, datetime.time(), datetime.UTC).timestamp()


@dataclass(slots=True)
class Copying:
    """One run; `counts` says what came of it."""

    account: intake.Intake
    naming: naming.Naming
    wishes: Wishes
    line: Progress
    counts: dict[tuple[str, str], Count] = field(default_factory=dict)

    def all_of(self, paths: Iterable[str]) -> None:
        """Everything that lies at these paths. ValueError, OSError when one of them is no source at all."""
        stores = [store for path in paths for store in sources.find(path) if self.wishes.wants(store.levels)]
        self.line.total_octets = sum(size_of(store) for store in stores)
        for store in stores:
            self._store(store)
        self.account.flush()

    def _store(self, store: sources.Store) -> None:
        name = self.naming.of(store.levels)
        count = self.count("/".join(store.levels) or os.path.basename(store.path), name)
        target = self.account.target(name)
        self.line.what = count.source
        keep = self.wishes.keep_uids and self._keep_uids(store, target)
        try:
            for mail in reading.mails(store, self.wishes.variant):
                if self.wishes.wants_date(mail.date):
                    self._mail(target, mail, count, keep=keep)
        except OSError as error:
            count.failed += 1
            self.account.problems.append(f"{store.path}: {error.strerror or error}")
        self.account.placed(target)

    def count(self, source: str, target: str) -> Count:
        return self.counts.setdefault((source, target), Count(source, target))

    def _keep_uids(self, store: sources.Store, target: intake.Target) -> bool:
        numbers = reading.uids_of(store.path) if store.kind == "maildir" else None
        if numbers is None:
            self.account.problems.append(f"{'/'.join(store.levels)}: there are no UIDs to keep")
            return False
        if not self.account.keep_uids(target, numbers.uidvalidity, numbers.uids, numbers.uidnext):
            self.account.problems.append(f"{target.name} is not new and empty, so UIDs cannot be kept there")
            return False
        return True

    def _mail(self, target: intake.Target, mail: Mail, count: Count, *, keep: bool) -> None:
        try:
            if self._brought(target, mail, count):
                return
            key, identity, size = self._known_as(target, mail)
            if self.account.knows(target, key) or self.account.finds(target, key, identity) or (
                    self.wishes.unique and self.account.is_anywhere(identity)):
                count.there += 1
                self.line.step(octets=size, worked=False)
                return
            if not self.account.dry_run:
                draft = self.account.draft(target)
                try:
                    for chunk in mail.chunks():
                        draft.write(chunk)
                except BaseException:
                    draft.drop()
                    raise
                self.account.add(target, draft, key, mail.flags, mail.date, mail.base if keep else "")
            count.copied += 1
            count.octets += size
            self.line.step(octets=size)
        except OSError as error:
            count.failed += 1
            self.account.problems.append(f"{mail.place}: {error.strerror or error}")

    def _brought(self, target: intake.Target, mail: Mail, count: Count) -> bool:
        """A message that has a name of its own need not be read to know that it is there."""
        if mail.key and self.account.knows(target, mail.key):
            count.there += 1
            self.line.step(worked=False)
            return True
        return False

    def _known_as(self, target: intake.Target, mail: Mail) -> tuple[str, intake.Identity, int]:
        """The key of a message, what else tells it, and its size; the same content several times has several keys."""
        digest, size, lines, head, last = hashlib.sha256(), 0, 0, b"", b""
        for chunk in mail.chunks():
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n") - chunk.count(b"\r\n") - (last == b"\r" and chunk[:1] == b"\n")
            last = chunk[-1:]
            if len(head) < _HEADER:
                head += chunk[:_HEADER]
        key = mail.key or self.account.key(target, digest.hexdigest()[:32])
        return key, intake.identity_of(head, size + lines), size


def size_of(store: sources.Store) -> int:
    """Octets of a store, for the progress."""
    if store.kind != "maildir":
        return _stat_size(store.path)
    total = 0
    for sub in ("new", "cur"):
        try:
            total += sum(entry.stat(follow_symlinks=False).st_size for entry in sources.listed(f"{store.path}/{sub}"))
        except OSError:
            continue
    return total


def _stat_size(path: str) -> int:
    try:
        with rights.of_caller():
            status = os.stat(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
