"""`lanmail mailbox export`: the mail of an account as mbox files, a Maildir or single messages."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import click

from lanmail import atomic, maildir, mbox
from lanmail.cli import command
from lanmail.cli.mailbox import count, home, outputs, progress, rights
from lanmail.cli.mailbox.count import Count
from lanmail.cli.mailbox.outputs import Output
from lanmail.cli.mailbox.progress import Progress
from lanmail.folders import folder, folderpool, keywords, subscriptions, uidlist
from lanmail.folders.snapshot import Entry, Snapshot
from lanmail.message import decode_words, field, header_end
from lanmail.paths import Paths

FORMATS = ("maildir", "mbox", "eml")


@click.command(short_help="Write mail to mbox files, a Maildir or single messages.")
@click.argument("account")
@click.argument("folders", metavar="[FOLDER]...", nargs=-1)
@click.option("--to", required=True, type=click.Path(), help="A new directory, or a new .zip, .tar, .tar.gz or .mbox.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="What to write [default: maildir, mbox for .mbox].")
@command.json_option
@command.rooted
def export(where: Paths, account: str, folders: tuple[str, ...], to: str, form: str | None, as_json: bool) -> None:
    """Write the mail of an account, or some folders of it, to files.

    maildir keeps everything: flags, keywords, dates, UIDs, subscriptions. mbox keeps all but UIDs; the files lie as
    Thunderbird's Local Folders do. eml are single messages without flags. What is written, `import` reads again, to the
    last octet. Nothing that is there is overwritten, and nothing is changed in the account.
    """
    root = home.of(where, account)
    single = to.lower().endswith(".mbox")
    form = form or ("mbox" if single else "maildir")
    if single and (form != "mbox" or len(folders) != 1):
        command.fail("a single .mbox file takes one folder: name it, or write to a directory", os.EX_USAGE)
    if not home.is_home(root):
        command.fail(f"{root.name} has no Maildir yet; the first mail or log-in makes it", os.EX_NOINPUT)
    names = [home.folder(root, name) for name in folders] or maildir.folders(str(root))
    done: list[Count] = []
    problems: list[str] = []
    with progress.shown() as line, rights.of_owner(where.maildirs):
        line.total = sum(len(maildir.files_in(maildir.path_of(str(root), name))) for name in names)
        path = os.path.abspath(to)
        if single:
            with outputs.new_file(path) as stream:
                done.append(_mbox(root, names[0], stream, line, problems, to))
        else:
            with outputs.to(path) as output:
                done += [_WRITERS[form](root, name, output, line, problems) for name in names]
                if form == "maildir":
                    _finish_maildir(root, names, output)
    count.tell(done, problems, line, dry_run=False, as_json=as_json)
    if problems:
        click.get_current_context().exit(os.EX_IOERR)


def _each(root: Path, name: str, line: Progress, problems: list[str], counted: Count,
          write: Callable[[Snapshot, Entry, bytes, float], None]) -> Count:
    """Give every message of a folder to `write`."""
    path = maildir.path_of(str(root), name)
    own = folderpool.get(path, str(root))
    line.what = name
    snapshot = own.sync()
    for entry in snapshot.entries:
        try:
            data = own.read(entry)
            date = _date(own, entry)
        except FileNotFoundError:
            continue  # expunged meanwhile
        except OSError as error:
            counted.failed += 1
            problems.append(f"{name}, UID {entry.uid}: {error.strerror or error}")
            continue
        write(snapshot, entry, data, date)
        counted.copied += 1
        counted.octets += len(data)
        line.step(octets=len(data))
    return counted


def _date(own: folder.Folder, entry: Entry) -> float:
    descriptor = own.open(entry)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


# --- mbox ------------------------------------------------------------------------------------------------------

def _mbox(root: Path, name: str, stream: BinaryIO, line: Progress, problems: list[str], target: str) -> Count:
    def write(snapshot: Snapshot, entry: Entry, data: bytes, date: float) -> None:
        mbox.write(stream, data, snapshot.flags(entry), date)

    return _each(root, name, line, problems, Count(name, target), write)


def _mbox_file(root: Path, name: str, output: Output, line: Progress, problems: list[str]) -> Count:
    """`A.B` is B in A.sbd, as Thunderbird has it."""
    *above, last = name.split(".")
    file = "/".join([*(f"{level}.sbd" for level in above), last])
    with output.open(file, _now(root, name)) as stream:
        return _mbox(root, name, stream, line, problems, file)


def _now(root: Path, name: str) -> float:
    return os.stat(f"{maildir.path_of(str(root), name)}/cur").st_mtime


# --- single messages -------------------------------------------------------------------------------------------

def _messages(root: Path, name: str, output: Output, line: Progress, problems: list[str]) -> Count:
    """Each in a file named after its UID and subject, as it is on the wire."""
    place = name.replace(".", "/")
    output.directory(place)

    def write(_snapshot: Snapshot, entry: Entry, data: bytes, date: float) -> None:
        with output.open(f"{place}/{entry.uid:06} {_title(data)}.eml", date) as stream:
            stream.write(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    return _each(root, name, line, problems, Count(name, place), write)


def _title(data: bytes) -> str:
    """The subject, as far as it can be in a file name everywhere."""
    subject = decode_words(field(data[:header_end(data)], b"subject") or b"")[:200]
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else " " for c in subject)
    return " ".join(plain.split())[:60].strip(". ") or "mail"


# --- Maildir ---------------------------------------------------------------------------------------------------

def _maildir(root: Path, name: str, output: Output, line: Progress, problems: list[str]) -> Count:
    place = _place(name)
    for sub in maildir.SUBDIRS:
        output.directory(place + sub)

    def write(_snapshot: Snapshot, entry: Entry, data: bytes, date: float) -> None:
        with output.open(place + entry.path, date) as stream:
            stream.write(data)

    return _each(root, name, line, problems, Count(name, place or "."), write)


def _place(name: str) -> str:
    return "" if name == "INBOX" else os.path.basename(maildir.path_of("", name)) + "/"


def _finish_maildir(root: Path, names: Iterable[str], output: Output) -> None:
    """UIDs, keywords and subscriptions, in the files that every Dovecot reads."""
    for name in names:
        path = maildir.path_of(str(root), name)
        for file in (uidlist.NAME, keywords.NAME, keywords.FURTHER):
            _copy(path, file, output, _place(name) + file)
        if name != "INBOX":
            with output.open(_place(name) + "maildirfolder", 0.0):
                pass
    _copy(str(root), subscriptions.NAME, output, subscriptions.NAME)


def _copy(path: str, file: str, output: Output, name: str) -> None:
    try:
        data = atomic.read(f"{path}/{file}", 1 << 30)
    except FileNotFoundError:
        return
    with output.open(name, os.stat(f"{path}/{file}").st_mtime) as stream:
        stream.write(data)


_WRITERS: dict[str, Callable[[Path, str, Output, Progress, list[str]], Count]] = {
    "maildir": _maildir, "mbox": _mbox_file, "eml": _messages,
}
