"""What can be wrong with the directories of a Maildir: missing ones, rights, names, subscriptions."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from functools import partial

from lanmail import atomic, maildir, mutf7
from lanmail.cli.mailbox import aside
from lanmail.cli.mailbox.damage import Damage, many
from lanmail.folders import subscriptions

FOREIGN = ("Other Users.", "Shared.")  # folders of others, which are not in this Maildir


def folders(root: str) -> list[tuple[str, str]]:
    """(Name, directory) of what is a folder or once was one, INBOX first: also those whose cur/ is missing."""
    found = [("INBOX", root)]
    for name in sorted(os.listdir(root)):
        shown = maildir.name_of(name)
        path = f"{root}/{name}"
        if shown and stat.S_ISDIR(os.lstat(path).st_mode) and _was_folder(path):
            found.append((shown, path))
    return found


def _was_folder(path: str) -> bool:
    with contextlib.suppress(OSError):
        return any(name in (*maildir.SUBDIRS, "maildirfolder") or name.startswith("dovecot-")
                   for name in os.listdir(path))
    return True  # it cannot be read: that is told


def of_account(root: str, owner: os.stat_result) -> Iterator[Damage]:
    """What concerns the Maildir as a whole."""
    if os.lstat(root).st_mode & 0o007:
        yield Damage("warn", "", "others-may-look", "the Maildir is open to all users of this machine",
                     "whoever can log in on this machine may read the mail", "take the others' rights away", (".",),
                     partial(os.chmod, root, stat.S_IMODE(os.lstat(root).st_mode) & ~0o007), privileged=True)
    yield from _impossible_names(root)
    yield from _subscriptions(root)


def _impossible_names(root: str) -> Iterator[Damage]:
    for name in sorted(os.listdir(root)):
        path = f"{root}/{name}"
        if name.startswith("..DOVECOT-TRASHED") and os.path.isdir(path):
            yield Damage("note", "", "half-deleted", f"{name!r} is left of a folder that somebody deleted",
                         "it takes disk space; the next DELETE of a folder in this account removes it", files=(name,))
        elif name.startswith(".") and maildir.name_of(name) is None and _holds_mail(path):
            new = _possible(root, name)
            yield Damage("fail", "", "impossible-name", f"the folder {name!r} has a name that no folder can have",
                         "no client sees it, nor the mail in it", f"rename it to '{new}'", (name,),
                         partial(_rename_folder, root, path, new))


def _holds_mail(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode) and any(os.path.isdir(f"{path}/{sub}") for sub in maildir.SUBDIRS)


def _possible(root: str, name: str) -> str:
    """The name that was probably meant, free and legal."""
    text = os.fsencode(name[1:]).decode("utf-8", "replace").replace("/", "_")
    text = "".join(c if c.isprintable() else "_" for c in text)
    levels = [level for level in text.split(".") if level][:maildir.MAX_LEVELS] or ["Found"]
    if levels[0].upper() == "INBOX":
        levels = levels[1:] or ["Found"]
    wanted = ".".join(levels)
    while len(mutf7.encode(wanted)) > 240:
        wanted = wanted[:-1].rstrip(".")
    free, number = wanted, 1
    while os.path.lexists(maildir.path_of(root, free)):
        number += 1
        free = f"{wanted}-{number}"
    return free


def _rename_folder(root: str, path: str, name: str) -> None:
    os.rename(path, maildir.path_of(root, name))
    subscriptions.add(root, name)


def _subscriptions(root: str) -> Iterator[Damage]:
    path = f"{root}/{subscriptions.NAME}"
    if not os.path.lexists(path):
        return
    try:
        names = subscriptions.load(root)
    except OSError as error:
        yield Damage("fail", "", "subscriptions-damaged", f"the list of subscriptions cannot be read: {error.strerror}",
                     "clients that show subscribed folders show none", "put it aside; a new one is made", (path,),
                     partial(_set_aside, root, path, "a list of subscriptions that could not be read"))
        return
    there = {name for name, _ in folders(root)}
    lost = tuple(name for name in names if _plain(name) not in there and not name.startswith(FOREIGN))
    if lost:
        text = f"{many(len(lost), 'subscription leads', 'subscriptions lead')} to no folder: {', '.join(lost[:5])}"
        yield Damage("warn", "", "subscribed-to-nothing", text,
                     "some clients show such a folder grey, others report an error", "unsubscribe", lost,
                     partial(_unsubscribe, root, lost))


def _plain(name: str) -> str:
    return name[len("INBOX."):] if name.upper().startswith("INBOX.") else "INBOX" if name.upper() == "INBOX" else name


def _unsubscribe(root: str, names: tuple[str, ...]) -> None:
    subscriptions.remove(root, *names)


def _set_aside(root: str, path: str, why: str) -> None:
    aside.put(root, path, why)


def of_folder(root: str, name: str, path: str, owner: os.stat_result) -> Iterator[Damage]:
    """The directories of one folder, and what dead programs left there."""
    missing = tuple(sub for sub in maildir.SUBDIRS if not os.path.lexists(f"{path}/{sub}"))
    if missing:
        hidden = "cur" in missing and name != "INBOX"
        yield Damage("fail", name, "missing-directory", f"{' and '.join(f'{sub}/' for sub in missing)} missing",
                     "no client sees the folder" if hidden else "mail cannot be stored or read here",
                     "make what is missing", below(root, path, missing), partial(_make, path, missing))
    odd = tuple(sub for sub in maildir.SUBDIRS if sub not in missing
                and not stat.S_ISDIR(os.lstat(f"{path}/{sub}").st_mode))
    if odd:
        yield Damage("fail", name, "no-directory", f"{' and '.join(odd)} is not a directory but a link or a file",
                     "the folder is unusable: a link could lead to the mail of others, so none is followed",
                     "", below(root, path, odd))
    if path != root and not os.path.lexists(f"{path}/maildirfolder"):
        yield Damage("note", name, "no-maildirfolder", "the file maildirfolder is missing",
                     "only delivery programs of others need it", "make it", (),
                     partial(_touch, f"{path}/maildirfolder"))
    yield from _rights(root, name, path, owner)


def below(root: str, path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.path.relpath(f"{path}/{name}", root) for name in names)


def _make(path: str, missing: tuple[str, ...]) -> None:
    for sub in missing:
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{path}/{sub}", 0o770)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | atomic.SAFE, 0o660))


def _rights(root: str, name: str, path: str, owner: os.stat_result) -> Iterator[Damage]:
    """The directories and the small files in the folder's directory; messages are looked at with their contents."""
    wrong = []
    for one in (path, *(f"{path}/{sub}" for sub in maildir.SUBDIRS), *_small_files(path)):
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(one)
            if stat.S_ISLNK(status.st_mode):
                continue
            # dovecot-uidvalidity.XXXXXXXX says all by its name and is read-only by design
            needed = 0o700 if stat.S_ISDIR(status.st_mode) else 0 if "uidvalidity." in one else 0o600
            if status.st_uid != owner.st_uid or status.st_mode & needed != needed:
                wrong.append(one)
    if wrong:
        text = f"{many(len(wrong), 'file or directory is', 'files or directories are')} not the programs' to write"
        yield Damage("fail", name, "wrong-rights", text, "the programs cannot read or change the folder",
                     f"give them to the user {user(owner)} and let him read and write",
                     tuple(os.path.relpath(one, root) for one in wrong), partial(give_back, wrong, owner),
                     privileged=True)


def _small_files(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return [f"{path}/{name}" for name in os.listdir(path)
                if name.startswith(("dovecot", "lanmail-")) or name in (subscriptions.NAME, "maildirfolder")]
    return []


def user(owner: os.stat_result) -> str:
    """The name of who owns the Maildirs."""
    try:
        return pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:
        return str(owner.st_uid)


def give_back(paths: list[str], owner: os.stat_result) -> None:
    """Let the owner of the Maildirs own these, and read and write them."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            # through a descriptor that is no link: nobody can swap the name for one in between
            descriptor = os.open(path, os.O_RDONLY | atomic.SAFE)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    raise PermissionError(1, "has several names, one of which may be elsewhere", path)
                if status.st_uid != owner.st_uid and os.geteuid() == 0:
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | (0o700 if stat.S_ISDIR(status.st_mode) else 0o600))
            finally:
                os.close(descriptor)
