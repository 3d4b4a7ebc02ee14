"""What can be wrong with the messages of a folder: no mail at all, torn, sizes in the name that lie, names that clash.

A message that is renamed or removed while we look is no damage. `deep` reads every message; without it only names and
what a stat tells are looked at.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from lanmail import atomic, maildir
from lanmail.cli.mailbox import aside, layout, renaming
from lanmail.cli.mailbox.damage import Damage, Level, many
from lanmail.cli.mailbox.progress import Progress
from lanmail.folders import folder, uidlist

_SLICE = 1 << 20
_SETTLED = 60.0  # seconds: until then an empty file may still be filled by who made it
_HEADER = re.compile(rb"\s*(?:>?From |[!-9;-~]{1,200}[ \t]*:)")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # gzip, bzip2, xz, zstd, lz4


@dataclass(slots=True)
class Found:
    """Messages with something wrong, by what it is; paths are those below the folder's directory."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        self.by_kind.setdefault(kind, []).append(path)

    def take(self, kind: str) -> list[str]:
        return self.by_kind.get(kind, [])


def of_folder(
    root: str, name: str, path: str, owner: os.stat_result, progress: Progress, *, deep: bool
) -> Iterator[Damage]:
    """Everything about the messages of one folder."""
    found = Found()
    places: dict[str, list[str]] = {}
    noted = _noted_sizes(path)
    for sub in ("new", "cur"):
        for entry in _names(f"{path}/{sub}"):
            progress.step()
            one = f"{sub}/{entry}"
            if entry.startswith("."):
                continue  # no server looks at it: editors, file managers and network file systems leave such
            with contextlib.suppress(FileNotFoundError):
                if _examine(path, one, owner, found, noted, deep=deep):
                    places.setdefault(maildir.base_of(entry), []).append(one)
    for paths in places.values():
        if len(paths) > 1 and _two_files(path, paths):
            found.by_kind.setdefault("same-name", []).extend(paths)
    yield from _told(root, name, path, owner, found)


def _names(directory: str) -> list[str]:
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(directory).st_mode):
            return sorted(os.listdir(directory))
    return []


def _noted_sizes(path: str) -> dict[str, tuple[int, int]]:
    """Sizes that the uidlist tells, by base name."""
    try:
        uids = uidlist.read(f"{path}/{uidlist.NAME}")[0]
    except (OSError, uidlist.Corrupt):
        return {}
    return {base: (uids.size(uid, "S"), uids.size(uid, "W")) for base, uid in uids.uids.items() if uid in uids.extras}


def _examine(path: str, one: str, owner: os.stat_result, found: Found, noted: dict[str, tuple[int, int]], *,
             deep: bool) -> bool:
    """Look at one file; False when no server takes it for a message."""
    status = os.lstat(f"{path}/{one}")
    if not stat.S_ISREG(status.st_mode):
        found.add("no-file", one)
        return False
    name = one[4:]
    if name.startswith(":") or re.search(r"[\x00-\x1f\x7f]", name):
        found.add("bad-name", one)
        return False
    if status.st_size > folder.MAX_SIZE:
        found.add("too-large", one)
        return False
    if status.st_uid != owner.st_uid or not status.st_mode & 0o400:
        found.add("wrong-rights", one)
    if not status.st_size:  # somebody may have stored an empty one, whose name then says so
        if maildir.sizes_of(name)[0] != 0 and abs(time.time() - status.st_mtime) > _SETTLED:
            found.add("empty", one)
        return True
    base = maildir.base_of(name)
    size, wire_size = maildir.sizes_of(base)
    listed_size, listed_wire = noted.get(base, (0, 0))
    measured = _read(f"{path}/{one}", one, found) if deep else (status.st_size, None)
    if measured is None:
        return True
    if size is not None and size > measured[0]:
        found.add("torn", one)
    elif _differs(size, measured[0]) or _differs(wire_size, measured[1]) or _differs(
            listed_size or None, measured[0]) or _differs(listed_wire or None, measured[1]):
        found.add("wrong-size", one)
    return True


def _differs(said: int | None, is_: int | None) -> bool:
    return said is not None and is_ is not None and said != is_


def _read(path: str, one: str, found: Found) -> tuple[int, int] | None:
    """Size on disk and on the wire; None when the content says that sizes mean nothing."""
    try:
        descriptor = atomic.open_regular(path)
    except PermissionError:
        return None  # told with the rights
    size = extra = 0
    last = first = b""
    zeros = True
    with open(descriptor, "rb", buffering=0) as stream:
        while data := stream.read(_SLICE):
            first = first or data[:1024]
            zeros = zeros and not data.strip(b"\0")
            size += len(data)
            extra += data.count(b"\n") - data.count(b"\r\n") - (last == b"\r" and data[:1] == b"\n")
            last = data[-1:]
    if zeros:
        found.add("zeros", one)
        return None
    if first.startswith(_PACKED):
        found.add("packed", one)
        return None
    if not _HEADER.match(first):
        found.add("no-mail", one)
    return size, size + extra


def _two_files(path: str, paths: list[str]) -> bool:
    """Whether these are several files now, and not one that moved while we looked, nor links to one."""
    inodes = set()
    for one in paths:
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(f"{path}/{one}")
            inodes.add((status.st_dev, status.st_ino))
    return len(inodes) > 1


def _told(root: str, name: str, path: str, owner: os.stat_result, found: Found) -> Iterator[Damage]:
    """What was found, in words, with what mends it."""
    def damage(level: Level, kind: str, one: str, more: str, meaning: str, remedy: str = "",
               mend: Callable[[], None] | None = None, *, privileged: bool = False) -> Iterator[Damage]:
        if paths := found.take(kind):
            yield Damage(level, name, kind, many(len(paths), one, more), meaning, remedy,
                         layout.below(root, path, tuple(paths)), mend, privileged)

    def away(kind: str, why: str) -> partial[None]:
        return partial(_set_aside, root, path, found.take(kind), why)

    yield from damage("warn", "no-file", "directory, link or device lies", "directories, links or devices lie",
                      "servers pass over them; they do not belong among messages", "put them aside",
                      away("no-file", "it is no regular file, so it can be no message"))
    yield from damage("fail", "bad-name", "message has a file name", "messages have file names",
                      "no server can keep such a name in its lists, so no client sees the mail",
                      "give names that can be",
                      partial(renaming.fresh, path, found.take("bad-name")))
    yield from damage("warn", "too-large", "file is larger than 1 GiB", "files are larger than 1 GiB",
                      "that is no mail, and nobody is shown it", "put it aside",
                      away("too-large", "it is larger than any mail"))
    yield from damage("fail", "wrong-rights", "message belongs to somebody else", "messages belong to somebody else",
                      "the programs cannot read or rename them", f"give them to the user {layout.user(owner)}",
                      partial(layout.give_back, [f"{path}/{one}" for one in found.take("wrong-rights")], owner),
                      privileged=True)
    yield from damage("fail", "empty", "message file is empty", "message files are empty",
                      "a crash or a full disk took the content; clients show an empty mail", "put them aside",
                      away("empty", "it is empty: a crash or a full disk took the content"))
    yield from damage("fail", "zeros", "message is nothing but NUL", "messages are nothing but NUL",
                      "a power cut took the content; clients show an empty mail", "put them aside",
                      away("zeros", "it is nothing but NUL octets: a power cut took the content"))
    yield from damage("fail", "torn", "message is shorter than its name says",
                      "messages are shorter than their names say",
                      "a crash or a full disk cut them; clients may wait for the rest",
                      "correct the names, so that what is left can be read (UIDs stay)",
                      partial(renaming.true_sizes, root, path, found.take("torn")))
    yield from damage("warn", "wrong-size", "message has a wrong size in its name or in the uidlist",
                      "messages have wrong sizes in their names or in the uidlist",
                      "clients and quotas count wrongly, and some clients refuse to show it",
                      "correct them (UIDs stay)",
                      partial(renaming.true_sizes, root, path, found.take("wrong-size")))
    yield from damage("fail", "same-name", "file has the unique name of another", "files share their unique names",
                      "only one of each is shown to clients", "give the others names of their own",
                      partial(_look, root, path))
    yield from damage("warn", "packed", "message is compressed", "messages are compressed",
                      "Dovecot's mail_compress wrote them; clients see nonsense. Move them out and import them again: "
                      "import unpacks")
    yield from damage("warn", "no-mail", "file does not begin as a mail does", "files do not begin as mails do",
                      "clients show them oddly; look at them")


def _set_aside(root: str, path: str, paths: list[str], why: str) -> None:
    for one in paths:
        with contextlib.suppress(FileNotFoundError):
            aside.put(root, f"{path}/{one}", why)


def _look(root: str, path: str) -> None:
    own = folder.Folder(path, root)
    with own.locked():
        own.sync()
