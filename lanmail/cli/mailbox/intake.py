"""Messages from elsewhere into the folders of an account: into tmp/ piece by piece, then in batches into place.

A batch is put down in the journal, given UIDs, flushed, and then marked as done: a kill at any moment leaves each
message once or not at all, and the next run brings the rest.
"""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lanmail import atomic, maildir, message
from lanmail.cli.mailbox.journal import Journal, prefix_of
from lanmail.folders import changes, folder, keywords, subscriptions, uidlist
from lanmail.messagefile import Draft, able

_MESSAGES = 200
_OCTETS = 32 << 20
_HEADER = 64 << 10
_FLUSHERS = 8
Identity = tuple[bytes, int]  # Message-ID, or what stands for it, and size on the wire


@dataclass(slots=True)
class Target:
    """One folder that messages go to. `others`: what it has that did not come from where the keys with a prefix come
    from, by identity; so far as somebody asked. `kept`: the UIDs that what comes in gets, all of it at once."""

    name: str
    folder: folder.Folder
    batch: list[tuple[Draft, changes.Source]] = field(default_factory=list)
    records: list[tuple[str, str, str]] = field(default_factory=list)
    others: dict[str, dict[Identity, list[str]]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    kept: uidlist.UidList | None = None


class Intake:
    """The folders of one account, and what came into them."""

    def __init__(self, root: str, journal: Journal, *, dry_run: bool = False, again: bool = False) -> None:
        self.root = root
        self.dry_run = dry_run
        self.problems: list[str] = []
        self._again = again
        self._journal = journal
        self._targets: dict[str, Target] = {}
        self._everywhere: set[Identity] | None = None
        self._waiting = self._octets = 0
        self._pool = ThreadPoolExecutor(_FLUSHERS)

    def target(self, name: str) -> Target:
        """A folder, made and subscribed to when it is not there."""
        found = self._targets.get(name)
        if found is None:
            path = maildir.path_of(self.root, name)
            if not self.dry_run and not maildir.exists(self.root, name):
                maildir.create(self.root, name)
                subscriptions.add(self.root, name)
            found = self._targets[name] = Target(name, folder.Folder(path, self.root))
        return found

    # what is there already

    def key(self, target: Target, key: str) -> str:
        """The key of a message, made different for each of several that have the same content."""
        target.seen[key] += 1
        return key if target.seen[key] == 1 else f"{key}#{target.seen[key]}"

    def knows(self, target: Target, key: str) -> bool:
        """Whether an earlier run brought this message."""
        return not self._again and self._journal.knows(target.name, key)

    def finds(self, target: Target, key: str, identity: Identity | None) -> bool:
        """Whether a message that came another way is this one; then it counts as brought from now on."""
        if self._again or identity is None:
            return False
        bases = self._others(target, prefix_of(key)).get(identity)
        if not bases:
            return False
        self._journal.note(target.name, key, bases.pop(0))
        return True

    def has_others(self, target: Target, prefix: str) -> bool:
        """Whether asking for identities can find anything."""
        return not self._again and bool(self._others(target, prefix))

    def _others(self, target: Target, prefix: str) -> dict[Identity, list[str]]:
        if prefix not in target.others:
            target.others[prefix] = self._read_others(target, prefix)
        return target.others[prefix]

    def is_anywhere(self, identity: Identity | None) -> bool:
        """Whether any folder of the account has this message; from then on one has it."""
        if self._everywhere is None:
            names = maildir.folders(self.root) if os.path.isdir(self.root) else []
            self._everywhere = {one for name in names for one in self._read(self.target(name), lambda _base: True)}
        if identity is None or identity in self._everywhere:
            return identity is not None
        self._everywhere.add(identity)
        return False

    def _read_others(self, target: Target, prefix: str) -> dict[Identity, list[str]]:
        if self.dry_run and not maildir.exists(self.root, target.name):
            return {}
        return self._read(target, lambda base: not self._journal.brought(base, prefix))

    def _read(self, target: Target, wanted: Callable[[str], bool]) -> dict[Identity, list[str]]:
        """The base names of a folder's messages by identity."""
        found: dict[Identity, list[str]] = {}
        own = target.folder
        entries = [entry for entry in own.sync().entries if wanted(entry.base)]
        own.fill_sizes(entries)
        for entry in entries:
            with contextlib.suppress(OSError):
                descriptor = own.open(entry)
                try:
                    identity = identity_of(os.read(descriptor, _HEADER), entry.wire_size or 0)
                finally:
                    os.close(descriptor)
                found.setdefault(identity, []).append(entry.base)
        return found

    def keep_uids(self, target: Target, uidvalidity: int, uids: dict[str, int], uidnext: int) -> bool:
        """Let messages with these base names get these UIDs; only where no client ever saw another one.

        They come into place together, with `placed`: a mail that was delivered in between would get a UID above those
        that are still to come, and who saw it must never be shown lower ones.
        """
        if self.dry_run:
            return True
        there = _list_of(target)
        if there is not None and there.uidvalidity == uidvalidity and uids.items() <= there.uids.items():
            return True  # an earlier run did this
        if not _is_untouched(target, there):
            return False
        guid = there.guid if there else os.urandom(16).hex()
        ordered = dict(sorted(uids.items(), key=lambda pair: pair[1]))
        target.kept = uidlist.UidList(uidvalidity, uidnext, guid, uids=ordered)
        return True

    def placed(self, target: Target) -> None:
        """All messages that keep their UIDs have come: put them in place."""
        if target.kept is not None:
            with able(target.folder.path):
                self._put(target)
            target.kept = None

    # coming in

    def draft(self, target: Target) -> Draft:
        return Draft(target.folder.path)

    def add(self, target: Target, draft: Draft, key: str, flags: Sequence[str], date: float | None,
            base: str = "") -> None:
        """A finished message; it is in place at the latest after `flush`."""
        draft.finish(date)
        sizes = draft.size, draft.wire_size
        name = base or maildir.name_for(*sizes)
        target.batch.append((draft, changes.Source(draft.path, clean(flags), sizes, name=name)))
        target.records.append((target.name, key, name))
        if target.kept is not None:
            if len(target.batch) % _MESSAGES == 0:
                self._settle(target.batch[-_MESSAGES:])
            return
        self._waiting += 1
        self._octets += draft.size
        if self._waiting >= _MESSAGES or self._octets >= _OCTETS:
            self.flush()

    def flush(self) -> None:
        """Put all that waits in place, durably."""
        for target in self._targets.values():
            if target.batch and target.kept is None:
                with able(target.folder.path):
                    self._put(target)
        self._waiting = self._octets = 0

    def _settle(self, batch: Sequence[tuple[Draft, changes.Source]]) -> None:
        with able(batch[0][0].path):
            list(self._pool.map(Draft.settle, [draft for draft, _ in batch]))

    def _put(self, target: Target) -> None:
        batch, records = target.batch, target.records
        target.batch, target.records = [], []
        try:
            self._journal.write(records)
            self._adopt(target, [source for _, source in batch])
            list(self._pool.map(Draft.flush, [draft for draft, _ in batch]))
            changes.secure(target.folder, ())
            if target.kept is not None:  # flushed before their renames, not after
                atomic.sync_dir(f"{target.folder.path}/cur")
            target.folder.flush()
            self._journal.commit()
        finally:
            for draft, _ in batch:
                draft.drop()

    def _adopt(self, target: Target, sources: list[changes.Source]) -> None:
        """Give the messages their names and UIDs."""
        with contextlib.ExitStack() as held:
            if target.kept is not None:
                held.enter_context(target.folder.locked(flush=False))
                if _is_untouched(target, _list_of(target)):
                    uidlist.replace(f"{target.folder.path}/{uidlist.NAME}", target.kept)
                else:
                    self.problems.append(f"{target.name}: other mail came meanwhile, so UIDs could not be kept there")
            try:
                changes.adopt(target.folder, sources)
            except keywords.TooMany:
                self.problems.append(f"{target.name}: a folder has at most {keywords.MAX_KEYWORDS} keywords; "
                                     "some messages came without theirs")
                changes.adopt(target.folder, [_without_keywords(source) for source in sources])

    def close(self) -> None:
        """Let go of what is not in place."""
        for target in self._targets.values():
            for draft, _ in target.batch:
                draft.drop()
        self._pool.shutdown()


def _list_of(target: Target) -> uidlist.UidList | None:
    try:
        return uidlist.read(f"{target.folder.path}/{uidlist.NAME}")[0]
    except (FileNotFoundError, uidlist.Corrupt):
        return None


def _is_untouched(target: Target, there: uidlist.UidList | None) -> bool:
    """Whether no message ever had a UID in a folder with this list, and none waits for one."""
    return not maildir.files_in(target.folder.path) and (there is None or there.uidnext == 1)


def clean(flags: Sequence[str]) -> tuple[str, ...]:
    """Flags that a folder can keep: ours, and keywords that are atoms (RFC 9051 §9, flag-keyword)."""
    kept = []
    for flag in flags:
        if flag.lower() in maildir.LETTERS:
            kept.append(maildir.FLAGS[maildir.LETTERS[flag.lower()]])
        elif not flag.startswith("\\") and 0 < len(flag) <= 100 and not set(flag) & set('(){ %*"\\]') \
                and flag.isascii() and flag.isprintable():
            kept.append(flag)
    return tuple(dict.fromkeys(kept))


def _without_keywords(source: changes.Source) -> changes.Source:
    return changes.Source(source.path, tuple(flag for flag in source.flags if flag.startswith("\\")), source.sizes,
                          name=source.name)


def identity_of(header: bytes, wire_size: int) -> Identity:
    """By what two copies of one message are known: its Message-ID, else what its sender wrote, and its size."""
    named = message.field(header[:message.header_end(header)], b"message-id")
    if named:
        return named, wire_size
    fields = [message.field(header, name) or b"" for name in (b"date", b"from", b"to", b"subject")]
    return hashlib.sha256(b"\n".join(fields)).digest(), wire_size
