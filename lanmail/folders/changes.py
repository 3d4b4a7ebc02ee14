"""What a session does to the messages of a folder: flags, \\Recent, expunge, copy, append.

    store(folder, uids, mode, flags) -> Snapshot           mode "+", "-", "="; flags: "\\Seen" or a keyword
    store_steps(folder, uids, [(mode, flags), …], modseq=None) -> (Snapshot, set of UIDs)      those changed since stay
    take_recent(folder) -> (Snapshot, frozenset of UIDs)   new/ → cur/: \\Recent for the session that asked first
    expunge(folder, uids) -> Snapshot                      what is gone already is no error
    copy(folder, sources) -> (Snapshot, list of UIDs)      new names in `folder` for messages, in the order given
    move(source, target, entries) -> (Snapshot, list of UIDs)       the same, and they are gone from `source`
    adopt(folder, sources) -> (Snapshot, list of UIDs)     the same for files in tmp/, which are renamed; then secure()
    append(folder, data, flags, date=None) -> (Snapshot, UID)       a whole message in LF form
    Source(path, flags, sizes, base)                       a message file to copy: one of another folder, or in tmp/

All block and are thread-safe. They raise OSError, and `store`, `copy`, `append` keywords.TooMany. Renames are done
under the folder's dotlock, as Dovecot does them. A file somebody else renamed meanwhile is found again by its base
name; an unknown flag letter stays. `copy` makes hard links (a copy where links cannot be made) and is all or nothing.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, maildir, spool
from lanmail.folders import dotlock, keywords, objectids
from lanmail.folders.folder import Folder
from lanmail.folders.numbering import Numbering
from lanmail.folders.snapshot import Entry, Sizes, Snapshot

Steps = Sequence[tuple[str, Sequence[str]]]
FEW = 20  # messages that a session takes in without leaving the event loop


@dataclass(frozen=True, slots=True)
class Source:
    """A complete message file, its flags for the copy, and its sizes when known."""

    path: str
    flags: tuple[str, ...] = ()
    sizes: Sizes = (None, None)
    base: str = ""  # base name of the message that it is a copy of
    name: str = ""  # base name that it must get


def store(folder: Folder, uids: Iterable[int], mode: str, flags: Sequence[str]) -> Snapshot:
    """Add, remove or replace the flags of messages; UIDs that are gone are passed over."""
    return store_steps(folder, uids, [(mode, flags)])[0]


def store_steps(folder: Folder, uids: Iterable[int], steps: Steps,
                modseq: int | None = None) -> tuple[Snapshot, set[int]]:
    """Several such changes as one; messages whose mod-sequence is above `modseq` stay as they are, and are returned."""
    wanted, kept = set(uids), set[int]()
    with folder.locked():
        if modseq is not None:
            kept = {entry.uid for entry in _among(folder.sync(), wanted) if entry.modseq > modseq}
        for mode, flags in steps:
            kept |= _store(folder, wanted - kept, mode, flags, modseq)
            modseq = None
        return folder.sync(), kept


def _store(folder: Folder, wanted: set[int], mode: str, flags: Sequence[str], modseq: int | None) -> set[int]:
    """One step; returns the UIDs of messages that somebody else changed in the very moment."""
    kept = set[int]()
    table = folder.allot(flags) if mode != "-" else folder.sync().keywords
    for _ in range(3):
        entries = _among(folder.sync(), wanted)
        if modseq is not None:
            kept |= {entry.uid for entry in entries if entry.modseq > modseq}
            entries = [entry for entry in entries if entry.uid not in kept]
        wanted = _rename_all(folder, table, entries, mode, flags)
        _set_further(folder, table, [entry for entry in entries if entry.uid not in wanted], mode, flags)
        if not wanted:
            break
        folder.distrust()
    return kept


def _rename_all(folder: Folder, table: keywords.Table, entries: list[Entry], mode: str,
                flags: Sequence[str]) -> set[int]:
    """Give the files their new letters; returns the UIDs of those that were not where we thought."""
    wanted = _new_names(table, entries, mode, flags)
    lost = set[int]()
    done: list[tuple[Entry, str]] = []
    taken = folder.taken({name for _, name in wanted})
    try:
        with _inside(folder, "cur") as directory:
            for pair in wanted:
                entry, name = pair
                try:
                    if taken and name in taken:
                        lost.add(entry.uid)
                    elif _put(directory, entry.name if entry.sub == "cur" else f"../{entry.path}", name):
                        done.append(pair)
                except FileNotFoundError:
                    lost.add(entry.uid)
    finally:
        folder.renamed([pair for pair in done if pair[0].sub == "cur"])
        folder.moved([(entry.path, f"cur/{name}") for entry, name in done if entry.sub != "cur"])
    return lost


def _new_names(table: keywords.Table, entries: list[Entry], mode: str, flags: Sequence[str]) -> list[tuple[Entry, str]]:
    """Those whose letters change, each with its new name; there are few different sets of letters."""
    mark = maildir.INFO
    before = [entry.name.partition(mark)[2] for entry in entries]
    infos = {}
    for old in set(before):
        letters = _letters(table, old, mode, flags)
        infos[old] = maildir.with_letters(mark + old, letters) if letters or old else ""
    return [(entry, entry.base + info) for entry, old in zip(entries, before, strict=True)
            if (info := infos[old]) and entry.name != entry.base + info]


@contextlib.contextmanager
def _inside(folder: Folder, sub: str = "") -> Iterator[int]:
    """The folder's directory to name files from: the way there is not searched for again with each of them."""
    directory = os.open(f"{folder.path}/{sub}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield directory
    finally:
        os.close(directory)


def _among(snapshot: Snapshot, uids: set[int]) -> list[Entry]:
    """The entries with these UIDs; a few of many are not searched for one by one."""
    if len(uids) * 20 < len(snapshot):
        return [entry for uid in sorted(uids) if (entry := snapshot.find(uid))]
    return [entry for entry in snapshot.entries if entry.uid in uids]


def _letters(table: keywords.Table, before: str, mode: str, flags: Sequence[str]) -> str:
    given = {maildir.LETTERS[flag.lower()] for flag in flags if flag.lower() in maildir.LETTERS}
    given |= set(table.letters(flags))
    old = set(before.partition(",")[0])
    if mode == "+":
        return "".join(old | given)
    if mode == "-":
        return "".join(old - given)
    return "".join(given | (old - maildir.FLAGS.keys() - table.by_letter.keys()))


def _put(directory: int, path: str, name: str) -> bool:
    """Rename a file within cur/; False when another program's name leaves no room for letters. OSError."""
    try:
        os.rename(path, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # the other messages must not suffer
            raise
        return False
    return True


def _set_further(folder: Folder, table: keywords.Table, entries: list[Entry], mode: str, flags: Sequence[str]) -> None:
    given = set(table.further(flags))
    if not given and (mode != "=" or not table.further_of):
        return
    changes: dict[str, set[str]] = {}
    for entry in entries:
        old = set(table.further_of.get(entry.base, ()))
        wanted = old | given if mode == "+" else old - given if mode == "-" else given
        if wanted != old:
            changes[entry.base] = wanted
    keywords.assign(folder.path, table, changes)
    folder.renumber(entry.uid for entry in entries if entry.base in changes)


def take_recent(folder: Folder) -> tuple[Snapshot, frozenset[int]]:
    """Move everything from new/ to cur/; the UIDs, and those of messages that were stored in cur/ and no session was
    told of, are \\Recent for the caller and for nobody else, in whichever process.

    New UIDs are not flushed: that would keep the news from whoever waits for it. `folder.flush()` later does it.
    """
    numbers = folder.number()
    snapshot = folder.glance()
    if snapshot is not None and not folder.arrived() and not _unclaimed(snapshot, numbers):
        return snapshot, frozenset()
    taken: set[int] = set()
    moved: list[tuple[str, str]] = []
    with folder.locked(flush=False):
        snapshot = folder.sync()
        try:
            with _inside(folder, "cur") as directory:
                for entry in folder.arrived():
                    name = entry.name if maildir.INFO in entry.name else maildir.with_letters(entry.name, "")
                    with contextlib.suppress(FileNotFoundError):
                        if not folder.taken({name}) and _put(directory, f"../{entry.path}", name):
                            taken.add(entry.uid)
                            moved.append((entry.path, f"cur/{name}"))
        finally:
            folder.moved(moved)
        if unclaimed := _unclaimed(snapshot, numbers):
            taken.update(unclaimed)
            numbers.claim(unclaimed[-1])
        return folder.sync() if moved else snapshot, frozenset(taken)


def _unclaimed(snapshot: Snapshot, numbers: Numbering) -> list[int]:
    return [entry.uid for entry in snapshot.entries[snapshot.position(numbers.claimed + 1) :]]


def expunge(folder: Folder, uids: Iterable[int]) -> Snapshot:
    """Remove messages for good."""
    wanted = set(uids)
    with folder.locked():
        for _ in range(3):
            lost = False
            removed: list[tuple[str, str]] = []
            try:
                with _inside(folder) as directory:
                    for entry in _among(folder.sync(), wanted):
                        try:
                            os.unlink(path := entry.path, dir_fd=directory)
                            removed.append((path, ""))
                        except FileNotFoundError:
                            lost = True
            finally:
                folder.moved(removed)
            if not lost:
                break
            folder.distrust()
        return folder.sync()


def copy(folder: Folder, sources: Sequence[Source]) -> tuple[Snapshot, list[int]]:
    """Give messages a name in this folder; all of them or, when one cannot be had, none. The sources stay."""
    made: list[str] = []
    with folder.locked():
        table = folder.allot(dict.fromkeys(flag for source in sources for flag in source.flags))
        names, further = _names_for(table, sources)
        try:
            for source, name in zip(sources, names, strict=True):
                made.append(f"{folder.path}/cur/{name}")
                _link(source.path, made[-1], folder.path)
            atomic.sync_dir(f"{folder.path}/cur")
            keywords.assign(folder.path, table, further)
        except BaseException:
            for path in made:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            folder.distrust()
            raise
        return _taken_in(folder, names)


def adopt(folder: Folder, sources: Sequence[Source]) -> tuple[Snapshot, list[int]]:
    """Give messages in tmp/ their names and UIDs; all of them or none. Nothing is flushed: see `secure`."""
    with folder.locked(flush=False):
        table = folder.allot(dict.fromkeys(flag for source in sources for flag in source.flags))
        names, further = _names_for(table, sources)
        keywords.assign(folder.path, table, further)
        _rename_in(folder, sources, names)
        return _taken_in(folder, names)


def adopt_at_once(folder: Folder, sources: Sequence[Source]) -> tuple[Snapshot, list[int]] | None:
    """`adopt` for an event loop: None, with nothing done, where it would have to wait, to look or to write much."""
    if len(sources) > FEW or not all(flag.startswith("\\") for source in sources for flag in source.flags):
        return None
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(folder.locked(flush=False, patience=0.0))
        except dotlock.Busy:
            return None
        if not folder.calm(len(sources)):
            return None
        names, _ = _names_for(keywords.Table(), sources)
        _rename_in(folder, sources, names)
        snapshot = folder.made(names)
        return snapshot, [entry.uid for entry in snapshot.entries[-len(names) :]]


def _rename_in(folder: Folder, sources: Sequence[Source], names: Sequence[str]) -> None:
    """Files of tmp/ get these names in cur/; all of them or none."""
    done: list[tuple[str, str]] = []
    try:
        for source, name in zip(sources, names, strict=True):
            os.rename(source.path, f"{folder.path}/cur/{name}")
            done.append((source.path, f"{folder.path}/cur/{name}"))
    except BaseException:
        for old, new in reversed(done):
            with contextlib.suppress(OSError):
                os.rename(new, old)
        folder.distrust()
        raise


def secure(folder: Folder, descriptors: Sequence[int]) -> None:
    """Make adopted messages survive a power cut; the descriptors are theirs.

    The order matters: after the rename, because then one fsync commits both (where the file system does that).
    """
    for descriptor in descriptors:
        os.fsync(descriptor)
    if not spool.one_fsync(Path(folder.path)):
        atomic.sync_dir(f"{folder.path}/cur")


Filter = Callable[[tuple[str, ...]], tuple[str, ...]]


def all_flags(flags: tuple[str, ...]) -> tuple[str, ...]:
    """A copy has the flags of its original."""
    return flags


def move(
    source: Folder, target: Folder, entries: Sequence[Entry], lasting: Filter = all_flags
) -> tuple[Snapshot, list[int]]:
    """Take messages from one folder into another; all of them or, when one cannot be had, none.

    One rename for each: whoever is killed in the middle leaves every message once, here or there, never twice. The
    caller holds the locks of both folders, taken in an order that no other caller turns round.
    """
    snapshot = source.sync()
    sources = [Source(f"{source.path}/{entry.path}", lasting(snapshot.flags(entry)), entry.sizes, entry.base)
               for entry in entries]
    table = target.allot(dict.fromkeys(flag for one in sources for flag in one.flags))
    names, further = _names_for(table, sources)
    keywords.assign(target.path, table, further)  # first: a keyword without its message harms nobody
    done: list[tuple[str, str]] = []
    try:
        for one, name in zip(sources, names, strict=True):
            os.rename(one.path, f"{target.path}/cur/{name}")
            done.append((one.path, f"{target.path}/cur/{name}"))
        atomic.sync_dir(f"{target.path}/cur")
    except BaseException:
        for old, new in reversed(done):
            with contextlib.suppress(OSError):
                os.rename(new, old)
        source.distrust()
        target.distrust()
        raise
    source.moved([(entry.path, "") for entry in entries])
    source.sync()
    return _taken_in(target, names)


def _names_for(table: keywords.Table, sources: Sequence[Source]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """New names in cur/ with the letters of their flags; by base name, the keywords that have no letter."""
    names, further = [], {}
    for source in sources:
        mark = objectids.mark(source.base) if source.base else ""
        base = source.name or maildir.name_for(*_sizes(source)) + mark
        names.append(maildir.with_letters(base, _letters_for(table, source.flags)))
        if more := table.further(source.flags):
            further[base] = more
    return names, further


def _taken_in(folder: Folder, names: Sequence[str]) -> tuple[Snapshot, list[int]]:
    folder.moved([("", f"cur/{name}") for name in names])
    return _uids_of(folder, [maildir.base_of(name) for name in names])


def _letters_for(table: keywords.Table, flags: Iterable[str]) -> str:
    known = maildir.LETTERS
    system = {known[flag.lower()] for flag in flags if flag.lower() in known}
    return "".join(sorted(system | set(table.letters(flags))))


def _sizes(source: Source) -> tuple[int, int]:
    size, wire_size = source.sizes
    if size is None or wire_size is None:
        with open(atomic.open_regular(source.path), "rb") as stream:
            data = stream.read()
        size, wire_size = len(data), len(data) + data.count(b"\n") - data.count(b"\r\n")
    return size, wire_size


def _link(source: str, target: str, directory: str) -> None:
    """A hard link; where that cannot be (other file system, too many links), a durable copy."""
    try:
        os.link(source, target, follow_symlinks=False)
        return
    except FileNotFoundError:
        raise
    except OSError:
        pass
    temporary = os.path.join(directory, "tmp", maildir.base_of(os.path.basename(target)))
    with open(atomic.open_regular(source), "rb") as old, open(temporary, "xb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        status = os.fstat(old.fileno())
        new.flush()
        os.utime(new.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))
        os.fsync(new.fileno())
    os.rename(temporary, target)


def append(folder: Folder, data: bytes, flags: Sequence[str] = (), date: float | None = None) -> tuple[Snapshot, int]:
    """Store a message (LF form); it is on disk, with its UID, when this returns."""
    temporary, base = maildir.write(folder.path, data, date=date)
    try:
        # Into cur/ also without a flag: new/ would make it \\Recent, and a mail one wrote oneself is not new.
        snapshot, uids = copy(folder, [Source(temporary, tuple(flags), maildir.sizes_of(base))])
    finally:
        os.unlink(temporary)
    return snapshot, uids[0]


def _uids_of(folder: Folder, bases: Sequence[str]) -> tuple[Snapshot, list[int]]:
    snapshot = folder.sync(order=bases)
    found = [folder.entry_of(base) for base in bases]
    if None in found:
        raise OSError(f"{folder.path} could not be read after a message was stored")
    return snapshot, [entry.uid for entry in found if entry]
