"""What `lanmail doctor` asks the installation: configuration, accounts, directories, certificates, mail that waits."""

import contextlib
import datetime
import fcntl
import os
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from lanmail import certificates, config, tls
from lanmail.accounts import Directory
from lanmail.cli.finding import Finding, fail, ok, warn
from lanmail.errors import Temporary
from lanmail.paths import SPOOLS, Paths
from lanmail.settings import Settings

_WAITS = 300  # seconds after which an entry in spool/queue/new says that nobody delivers
_SOON = 30  # days


def all_of(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Every check of the installation that needs readable settings."""
    yield from accounts(where, loaded)
    yield from directories(where)
    yield from commands(where, loaded)
    yield from pages(where, loaded)
    yield from certificate(where, loaded)
    yield from running(where)
    yield from waiting(where, loaded)


def configuration(where: Paths) -> Iterator[Finding]:
    """Everything `lanmail config check` says."""
    problems = config.check(where)
    for problem in problems:
        yield fail("configuration", str(problem), "correct the file, then: lanmail config check")
    if not problems:
        yield ok("configuration", str(where.config_file))


def accounts(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Somebody to get mail, and a postmaster among them."""
    directory = Directory(where, lambda: loaded)
    names = directory.names()
    if not names:
        yield warn("accounts", "there are none yet", "lanmail account add NAME")
        return
    postmaster = directory.postmaster()
    if postmaster is None:
        yield warn(
            "accounts",
            f"{len(names)}, but none is postmaster: undeliverable mail goes to spool/hold",
            "lanmail account set NAME postmaster=true",
        )
    else:
        yield ok("accounts", f"{len(names)}; postmaster is {postmaster}")
    if loaded.deliver.unknown_local == "postmaster" and postmaster is None:
        yield fail("accounts", "deliver.unknown_local needs a postmaster", "lanmail account set NAME postmaster=true")


def directories(where: Paths) -> Iterator[Finding]:
    """All there, ours, and closed to strangers."""
    good = True
    spools = [where.spool / name for name in SPOOLS]
    for path in (
        where.maildirs,
        where.state,
        where.spool,
        *(spool / sub for spool in spools for sub in ("tmp", "new", "cur")),
    ):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            good = False
            yield fail("directories", f"{path} does not exist", "lanmail init makes what is missing")
            continue
        except OSError as error:
            good = False
            yield fail("directories", f"{path}: {error.strerror}", "run this as the user lanmail runs as")
            continue
        if status.st_mode & stat.S_IWOTH:
            good = False
            yield fail("directories", f"everybody can write into {path}", f"chmod o-w {path}")
        elif not os.access(path, os.W_OK | os.X_OK):
            good = False
            yield fail(
                "directories",
                f"{path} is not writable for this user",
                f"run this as the user lanmail runs as, or: chown -R that user {where.var}",
            )
    owners = {path.stat().st_uid for path in (where.maildirs, where.queue) if path.is_dir()}
    if len(owners) > 1:
        good = False
        yield fail(
            "directories",
            f"{where.maildirs} and {where.queue} belong to different users",
            f"chown -R both to the user lanmail runs as (ls -ld {where.var}/*)",
        )
    if good:
        yield ok("directories", f"in {where.var}, all there and closed to others")


def commands(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Whether deliver may change the files of accounts, as commands by mail need it, and httpd all of conf/."""
    web = (where.conf, where.accounts, where.secrets, where.conf / "apps") if loaded.httpd.enabled else ()
    if loaded.deliver.mail_commands and (group := _closed(where, where.accounts)) is not None:
        yield warn(
            "commands",
            f"{where.accounts} is not writable for deliver: LMS Forwarding and LMS Autoresponder by mail cannot work",
            f"chgrp {group} {where.accounts}; chmod 2770 {where.accounts}   (or: deliver.mail_commands = false)",
        )
    for directory in web:
        if (group := _closed(where, directory)) is not None:
            yield warn("commands", f"{directory} is not writable for httpd: the web pages and the API cannot change "
                                   "anything there", f"chgrp {group} {directory}; chmod 2770 {directory}")


def pages(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Whether somebody may use the administrator's pages."""
    if not loaded.httpd.enabled:
        return
    directory, found = Directory(where, lambda: loaded), []
    for name in directory.names():
        with contextlib.suppress(Temporary):  # told by the configuration
            if (one := directory.account(name)) and one.administrator:
                found.append(name)
    if found:
        yield ok("pages", f"for administration: {', '.join(found[:5])}")
    else:
        yield warn("pages", "nobody may use the administrator's pages", "lanmail account set NAME administrator=true")


def _closed(where: Paths, path: Path) -> int | None:
    """The group of the programs, if they cannot write into this directory."""
    try:
        user, directory = where.queue.stat(), path.stat()
    except OSError:
        return None  # told already
    if user.st_uid == directory.st_uid:
        needed = stat.S_IWUSR | stat.S_IXUSR
    elif user.st_gid == directory.st_gid:
        needed = stat.S_IWGRP | stat.S_IXGRP
    else:
        needed = stat.S_IWOTH | stat.S_IXOTH
    return user.st_gid if user.st_uid and directory.st_mode & needed != needed else None


def certificate(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """The certificate the servers show: there, loadable, for our name, and for a while yet."""
    path = where.conf / loaded.tls.cert
    try:
        tls.server_context(loaded, where)
        found = certificates.load(path)
    except (OSError, ValueError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield fail("certificate", f"{path}: {reason}", "lanmail init makes one where there is none; see [tls]")
        return
    left = (found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days
    until = f"{path} is good until {found.not_valid_after_utc:%Y-%m-%d}"
    renew = "lanmail certificate renew, or put a new one in its place"
    if left < 0:
        yield fail("certificate", f"{path} ended on {found.not_valid_after_utc:%Y-%m-%d}", renew)
    elif left < _SOON:
        yield warn("certificate", f"{until}, {left} days", renew)
    else:
        yield ok("certificate", until)
    if not certificates.covers(found, loaded.server.hostname):
        listed = ", ".join(certificates.names_of(found)) or "no name"
        yield warn(
            "certificate",
            f"it is for {listed}, not for server.hostname {loaded.server.hostname}",
            "mail clients will warn; get one with that name, or correct server.hostname",
        )


def running(where: Paths) -> Iterator[Finding]:
    """Whether `lanmail up` holds its lock; under systemd nobody does, and the ports tell."""
    try:
        descriptor = os.open(where.run / "up.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield ok("running", "lanmail up runs here")
    finally:
        os.close(descriptor)


def waiting(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Mail that nobody takes, and mail that a person must look at."""
    entries, oldest = _entries(where.queue / "new")
    if entries > loaded.smtpd.max_backlog:
        yield fail("queue", f"{entries} mails wait: new ones are refused", "look why: lanmail queue list")
    elif entries and time.time() - oldest > _WAITS:
        minutes = int((time.time() - oldest) / 60)
        yield warn(
            "queue", f"{entries} wait, the oldest for {minutes} minutes", "does lanmail-deliver run? see its log"
        )
    else:
        yield ok("queue", f"{entries} waiting" if entries else "empty")
    entries, oldest = _entries(where.spool / "archive/new")
    if entries and time.time() - oldest > _WAITS:
        yield warn("archive", f"{entries} wait to be archived", "does lanmail-archived run? see its log")
    held, _ = _entries(where.hold / "new")
    if held:
        yield warn("hold", f"{held} need a person", "lanmail queue list --hold")


def _entries(directory: Path) -> tuple[int, float]:
    """How many entries are in a spool's new/, and the time of the oldest."""
    count, oldest = 0, time.time()
    try:
        with os.scandir(directory) as listed:
            for entry in listed:
                if not entry.name.startswith(".") and not entry.name.endswith(".why"):
                    count += 1
                    oldest = min(oldest, entry.stat(follow_symlinks=False).st_mtime)
    except OSError:
        pass
    return count, oldest
