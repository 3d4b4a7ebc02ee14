"""Maildir and Maildir++: the names of files and folders, and how a message gets in.

Layout (Courier's and Dovecot's): the root of an account is its INBOX (`tmp/ new/ cur/`); the folder "A.B" is the
directory `.A.B` beside them, modified UTF-7, with an empty file `maildirfolder`. Parents need not exist.

    path_of(root, name) -> str              directory of a folder; ValueError with a sentence for an illegal name
    name_of(directory_name) -> str | None   the way back; None for what is no folder
    folders(root) -> list[str]              those that exist, INBOX first; a link is never a folder
    exists(root, name) / create(root, name) / delete(root, name) / rename(root, old, new)
    ensure(root) -> None                    INBOX alone
    prepare(root) -> None                   INBOX, Sent, Drafts, Trash, Junk made and subscribed (first log-in only)
    specials(root, names) -> dict[str, str] SPECIAL-USE attribute → folder, as clients said or by name in any case
    base_of(filename) / letters_of(filename) / with_letters(filename, letters)
    sizes_of(base) -> (size, wire_size)     from S= and W=; None where missing
    arrival(base) -> sortable               the order in which new messages get their UIDs
    list_names(directory) -> list[str]      regular files that can be messages, by d_type, without a stat
    put(directory, data, letters="", date=None) -> str        a message (LF form) durably into new/ or cur/

File names are `str` with surrogate escapes (os.fsdecode), also inside `dovecot-uidlist`. A message file is never
changed: only renamed, linked, removed.
"""

import contextlib
import os
import re
import shutil
import stat
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from itertools import compress, count
from operator import eq, itemgetter

from lanmail import atomic, mutf7, spool
from lanmail.folders import specialuse, subscriptions

SUBDIRS = ("tmp", "new", "cur")
SPECIAL = {"\\Sent": "Sent", "\\Drafts": "Drafts", "\\Trash": "Trash", "\\Junk": "Junk"}
# what other servers and clients call them (compared without case); the first that exists wins
_KNOWN_AS = {
    "\\Sent": ("sent", "sent items", "sent messages", "gesendet", "gesendete objekte"),
    "\\Drafts": ("drafts", "entwürfe"),
    "\\Trash": ("trash", "deleted items", "deleted messages", "papierkorb"),
    "\\Junk": ("junk", "spam", "junk e-mail"),
    "\\Archive": ("archive", "archiv"),
}
FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
LETTERS = {flag.lower(): letter for letter, flag in FLAGS.items()}
INFO = ":2,"
MAX_LEVELS = 16
TMP_AGE = 36 * 3600
SLICE = 1 << 20
_TRASHED = "..DOVECOT-TRASHED"
_MARKED = re.compile(r",([SW])=([0-9]{1,18})(?=,|\Z)")
_USUAL = re.compile(r",S=([0-9]{1,18}),W=([0-9]{1,18})\Z").search
_ARRIVAL = re.compile(r"([0-9]{1,18})(?:\.M([0-9]{1,18}))?", re.ASCII)
_SECONDS: Callable[[str], str] = itemgetter(slice(11))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS = bytes((*range(32), 127))
_ODD_START = re.compile("/[.:]").search
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f]")


# --- folders ---------------------------------------------------------------------------------------------------

def path_of(root: str, name: str) -> str:
    """The directory of the folder `name`; it need not exist."""
    if name.upper() == "INBOX":
        return root
    _check(name)
    encoded = mutf7.encode(name)
    if len(encoded) > 254:
        raise ValueError("the folder's name is too long")
    return f"{root}/.{encoded}"


def _check(name: str) -> None:
    levels = name.split(".")
    if not all(levels):
        raise ValueError("a folder's name has an empty level")
    if len(levels) > MAX_LEVELS:
        raise ValueError(f"folders nest at most {MAX_LEVELS} levels deep")
    if "/" in name or _CONTROL.search(name):
        raise ValueError("a folder's name has no slash and no control characters")
    if levels[0].upper() == "INBOX":
        raise ValueError("INBOX has no folders below it")


def name_of(directory_name: str) -> str | None:
    """The folder's name for the name of a directory in the root; None when it is no folder of ours."""
    if not directory_name.startswith(".") or directory_name.startswith(".."):
        return None
    try:
        name = mutf7.decode(directory_name[1:])
        return name if path_of("", name) == "/" + directory_name else None
    except ValueError:
        return None


def folders(root: str) -> list[str]:
    """All folders that exist, INBOX first, the others sorted."""
    with os.scandir(root) as entries:
        found = [name_of(entry.name) for entry in entries
                 if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    names = sorted(name for name in found if name and os.path.isdir(f"{path_of(root, name)}/cur"))
    return ["INBOX", *names]


def exists(root: str, name: str) -> bool:
    """True when the folder is there, as a directory of its own; ValueError for an illegal name."""
    path = path_of(root, name)
    return (path == root or _is_directory(path)) and _is_directory(f"{path}/cur")


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def create(root: str, name: str, uses: Collection[str] = ()) -> str:
    """Make the folder, to be used for what `uses` names (RFC 6154); returns its directory.

    FileExistsError, ValueError, specialuse.Taken, OSError.
    """
    path = path_of(root, name)
    if exists(root, name):
        raise FileExistsError(path)
    if uses:  # first: a name in that file without its folder means nothing
        specialuse.assign(root, name, uses, lambda other: exists(root, other))
    os.makedirs(path, mode=0o770, exist_ok=True)
    if path != root:
        # tells delivery programs that this is no root of its own (Courier, maildrop)
        os.close(os.open(f"{path}/maildirfolder", os.O_WRONLY | os.O_CREAT | atomic.SAFE, 0o660))
    for sub in SUBDIRS:  # cur/ last: with it the folder exists
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{path}/{sub}", 0o770)
    return path


def delete(root: str, name: str) -> None:
    """Remove the folder with everything in it; folders below it stay. FileNotFoundError, ValueError."""
    path = path_of(root, name)
    if path == root:
        raise ValueError("INBOX cannot be deleted")
    if not exists(root, name):
        raise FileNotFoundError(path)
    # First out of sight in one step: neither we nor Dovecot list names with two dots. The next delete removes what
    # is left, should we die here.
    os.rename(path, f"{root}/{_TRASHED}.{spool.new_id()}")
    specialuse.removed(root, name)
    with os.scandir(root) as entries:
        leftovers = [entry.path for entry in entries if entry.name.startswith(_TRASHED)]
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)


def rename(root: str, old: str, new: str, target: str = "") -> list[tuple[str, str]]:
    """Rename a folder (not INBOX) and all below it; returns pairs (old, new). FileExistsError, FileNotFoundError.

    `target` is the Maildir that it goes to, if that is another one.
    """
    target = target or root
    path_of(target, new)
    if "INBOX" in (old.upper(), new.upper()):
        raise ValueError("INBOX cannot be renamed")
    if target == root and (new + ".").startswith(old + "."):
        raise ValueError("a folder cannot be moved below itself")
    names = [name for name in folders(root) if name == old or name.startswith(old + ".")]
    if not names:
        raise FileNotFoundError(path_of(root, old))
    pairs = [(name, new + name[len(old):]) for name in names]
    for _, after in pairs:
        if exists(target, after):
            raise FileExistsError(path_of(target, after))
    for name, after in pairs:
        os.rename(path_of(root, name), path_of(target, after))
    if target == root:
        specialuse.renamed(root, pairs)
    return pairs


def ensure(root: str) -> None:
    """Make what is missing of the INBOX, and nothing else: all that a delivery needs. Several may do so at a time."""
    os.makedirs(root, mode=0o770, exist_ok=True)
    for sub in SUBDIRS:
        atomic.set_aside(f"{root}/{sub}", stat.S_ISDIR)
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{root}/{sub}", 0o770)


def prepare(root: str) -> None:
    """Make the INBOX and, in a new Maildir, the special folders, and subscribe to them. Cheap when all is done."""
    if all(_is_directory(f"{root}/{sub}") for sub in SUBDIRS) and subscriptions.exist(root):
        return
    ensure(root)
    if subscriptions.adopt(root):  # another server's Maildir: its folders are as its user wants them
        return
    there = specials(root, folders(root))
    for attribute, name in SPECIAL.items():
        if attribute not in there:
            with contextlib.suppress(FileExistsError):
                create(root, name)
    subscriptions.add(root, "INBOX", *specials(root, folders(root)).values())


def specials(root: str, names: list[str]) -> dict[str, str]:
    """Which folder is \\Sent, \\Drafts, \\Trash, \\Junk, \\Archive (RFC 6154), among `names`: all that there are."""
    there = set(names)
    found = {attribute: name for attribute, name in specialuse.load(root).items() if name in there}
    by_case = {name.casefold(): name for name in reversed(names) if name not in found.values()}
    for attribute, aliases in _KNOWN_AS.items():
        if attribute not in found and not by_case.keys().isdisjoint(aliases):
            found[attribute] = next(by_case[alias] for alias in aliases if alias in by_case)
    return found


def use_of(name: str) -> str | None:
    """What a folder of this name is usually for, in any case and in the languages we know."""
    return next((attribute for attribute, aliases in _KNOWN_AS.items() if name.casefold() in aliases), None)


# --- file names ------------------------------------------------------------------------------------------------

def base_of(filename: str) -> str:
    """The part of a file name that never changes."""
    return filename.partition(":")[0]


def letters_of(filename: str) -> str:
    """The flag letters of a file name as they stand there: D F P R S T, a-z for keywords, others kept."""
    return filename.partition(INFO)[2]


def with_letters(filename: str, letters: str) -> str:
    """The file name with these flag letters, in ASCII order; what follows a comma (Dovecot keeps it) stays."""
    base, _, old = filename.partition(INFO)
    _, comma, rest = old.partition(",")
    return f"{base_of(base)}{INFO}{''.join(sorted(set(letters.partition(',')[0])))}{comma}{rest}"


def sizes_of(base: str) -> tuple[int | None, int | None]:
    """Size on disk and size on the wire (CRLF) from S= and W= in the base name."""
    if both := _USUAL(base):
        return int(both[1]), int(both[2])
    if "=" not in base:
        return None, None
    found = {key: int(digits) for key, digits in _MARKED.findall(base)}
    return found.get("S"), found.get("W")


def measure(descriptor: int) -> tuple[int, int]:
    """Both sizes of a message, counted; the descriptor is closed."""
    size = extra = 0
    last = b""
    try:
        while data := os.read(descriptor, SLICE):
            size += len(data)
            extra += data.count(b"\n") - data.count(b"\r\n") - (last == b"\r" and data[:1] == b"\n")
            last = data[-1:]
    finally:
        os.close(descriptor)
    return size, size + extra


def arrival(base: str) -> tuple[int, int, str]:
    """What Dovecot sorts new messages by: the seconds at the start, the number after M, the name."""
    found = _ARRIVAL.match(base)
    return (int(found[1]), int(found[2] or 0), base) if found else (0, 0, base)


def by_arrival(bases: Iterable[str]) -> list[str]:
    """Sorted by `arrival`, and faster: names of our time begin with ten digits and a dot."""
    names = sorted(bases)
    seconds = list(map(_SECONDS, names))
    joined = "".join(seconds)
    if (len(joined) != 11 * len(names) or joined[10::11].strip(".") or not joined.isascii()
            or not joined.replace(".", "").encode().isdigit() or joined.count(".") != len(names)):
        return sorted(names, key=arrival)
    done = 0  # seconds of equal length compare as their digits do: only within a second more than that counts
    for index in compress(count(), map(eq, seconds, seconds[1:])):
        if index >= done:
            done = bisect_right(seconds, seconds[index], index)
            names[index:done] = sorted(names[index:done], key=arrival)
    return names


def list_names(directory: str, others: set[str] | None = None) -> list[str]:
    """The names in new/ or cur/ that can be messages: regular files, no dot in front, storable in a uidlist.

    What is no regular file is added to `others`.
    """
    note: Callable[[str], object] = set[str]().add if others is None else others.add
    if not _is_directory(directory):  # a link in its place would serve files from outside
        raise NotADirectoryError(directory)
    with os.scandir(directory) as entries:
        # two questions without an argument take less time than the one with it
        names = [entry.name for entry in entries if (not entry.is_symlink() and entry.is_file()) or note(entry.name)]
    # One look at all of them: of 100,000 names, looking at each takes longer than reading the directory.
    joined = "/" + "/".join(names)
    if _is_usable(joined) and not _ODD_START(joined):
        return names
    return [name for name in names if name[0] not in ".:" and not _UNUSABLE.search(name)]


def _is_usable(text: str) -> bool:
    """False when it can hold a control character."""
    if not text.isascii():
        return text.isprintable()
    return len(text.encode().translate(None, _CONTROLS)) == len(text)


# --- messages --------------------------------------------------------------------------------------------------

def name_for(size: int, wire_size: int, *, of: str = "") -> str:
    """A unique base name carrying both sizes: a new one, or that `of` a file which had others."""
    return f"{of.partition(',')[0] or spool.new_id()},S={size},W={wire_size}"


def put(directory: str, data: bytes, letters: str = "", *, date: float | None = None) -> str:
    """Store a message (LF form) durably: into cur/ when it has letters, else into new/; returns its name.

    `date` becomes the mtime, which is the INTERNALDATE. Raises OSError; nothing is left behind then.
    """
    temporary, name = write(directory, data, date=date)
    sub, final = ("cur", with_letters(name, letters)) if letters else ("new", name)
    try:
        os.rename(temporary, f"{directory}/{sub}/{final}")
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    atomic.sync_dir(f"{directory}/{sub}")
    return final


def write(directory: str, data: bytes, *, date: float | None = None) -> tuple[str, str]:
    """Write a message (LF form) to tmp/ and flush it; returns its path and the base name made for it."""
    name = name_for(len(data), len(data) + data.count(b"\n") - data.count(b"\r\n"))
    temporary = os.path.join(directory, "tmp", name)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)
    try:
        try:
            atomic.write_all(descriptor, data)
            if date is not None:
                os.utime(descriptor, (date, date))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary, name


def sweep(directory: str) -> None:
    """Remove what dead programs left in tmp/ more than 36 hours ago."""
    limit = time.time() - TMP_AGE
    with os.scandir(os.path.join(directory, "tmp")) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) < limit:
                    os.unlink(entry.path)


def files_in(path: str) -> dict[str, tuple[str, str]]:
    """Base name → (sub-directory, file name) of all messages; one that is moved while we look counts once."""
    found: dict[str, tuple[str, str]] = {}
    for sub in ("new", "cur"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.update({base_of(name): (sub, name) for name in list_names(f"{path}/{sub}")})
    return found
