"""What `lanmail doctor` asks the machine: disk, file system, kernel settings, clock, ports."""

import contextlib
import ctypes
import errno
import os
import re
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lanmail import spool, units
from lanmail.cli.finding import Finding, fail, ok, warn
from lanmail.paths import Paths
from lanmail.settings import Settings

PROC = Path("/proc")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_SYSCTLS = {  # what keeps one local user from planting links and files for another in shared directories
    "fs/protected_symlinks": 1,
    "fs/protected_hardlinks": 1,
    "fs/protected_fifos": 1,
    "fs/protected_regular": 1,
}
_INOTIFY = {"fs/inotify/max_user_instances": 128, "fs/inotify/max_user_watches": 8192}


def all_of(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Every check of the machine."""
    yield from disk(where, loaded)
    yield from file_system(where)
    yield from sysctls()
    yield from descriptors(loaded)
    yield from clock(where)
    yield from ports(where, loaded)


def disk(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Free space and inodes where mail is kept."""
    try:
        space, table = shutil.disk_usage(where.var), os.statvfs(where.var)
    except OSError as error:
        yield fail("disk", f"{where.var}: {error.strerror}", "run: lanmail init")
        return
    text = f"{_human(space.free)} of {_human(space.total)} free on {where.var}"
    if space.free < loaded.smtpd.min_free:
        least = units.format_size(loaded.smtpd.min_free)
        yield fail("disk", f"{text}: mail is refused below {least}", "free some space, or lower smtpd.min_free")
    elif space.free < max(10 * loaded.smtpd.min_free, space.total // 20):
        yield warn("disk", text, "free some space before mail is refused")
    else:
        yield ok("disk", text)
    if table.f_files and table.f_favail < 10_000:
        yield warn("disk", f"only {table.f_favail} inodes free on {where.var}", "each mail needs one: remove files")


def _human(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size >> 20} MB"


def file_system(where: Paths) -> Iterator[Finding]:
    """Whether accepting mail takes one flush or two, and whether mail can move by rename at all."""
    parts = [path for path in (where.spool, where.maildirs, where.state) if path.is_dir()]
    if not parts:
        return
    kind = spool.file_system(where.spool) if where.spool.is_dir() else spool.file_system(parts[0])
    if spool.one_fsync(parts[0]):
        yield ok("file system", f"{kind}: one flush makes a mail durable")
    else:
        yield warn("file system", f"{kind}: every mail needs two flushes", "safe, but slower than ext4, XFS or btrfs")
    if kind in ("nfs", "nfs4", "cifs", "9p", "fuse.sshfs"):
        yield warn("file system", f"{kind} has no notifications of changes", "new mail is seen by deliver.sweep only")
    if kind == "tmpfs":
        yield fail("file system", "tmpfs forgets everything at a reboot", "move the data to a disk")
    devices = {os.stat(path).st_dev for path in parts}
    if len(devices) > 1:
        names = ", ".join(str(path) for path in parts)
        yield fail("file system", f"{names} are on different file systems", "put them on one: mail moves by rename")


def sysctls() -> Iterator[Finding]:
    """Kernel settings for safety in shared directories, and room for inotify."""
    wrong = {}
    for name, least in (_SYSCTLS | _INOTIFY).items():
        value = _number(PROC / "sys" / name)
        if value is not None and value < least:
            wrong[name.replace("/", ".")] = (value, least)
    for name, (value, least) in wrong.items():
        yield warn(
            "kernel", f"{name} is {value}", f"sysctl -w {name}={least}, and the same in /etc/sysctl.d/lanmail.conf"
        )
    if not wrong:
        yield ok("kernel", "links in shared directories are protected, inotify has room")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def descriptors(loaded: Settings) -> Iterator[Finding]:
    """Open files for all connections of the busiest program."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * max(loaded.smtpd.max_connections, loaded.pop3d.max_connections, loaded.imapd.max_connections) + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield warn(
            "open files",
            f"a program may open {hard}, up to {wanted} can be needed",
            "raise the limit (ulimit -n, LimitNOFILE=), or lower max_connections",
        )
    else:
        yield ok("open files", "enough for all connections")


def clock(where: Paths) -> Iterator[Finding]:
    """A clock that runs, is right, and has not gone back."""
    now = time.time()
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = max((path.stat().st_mtime for path in where.log.glob("*.log")), default=0.0)
    if now < Path(__file__).stat().st_mtime - 86400 or newest > now + 300:
        yield fail(
            "clock",
            f"it says {time.strftime('%Y-%m-%d %H:%M', time.localtime(now))}, which was before",
            "set it, and switch a time service on (systemd-timesyncd, chrony)",
        )
    elif _synchronized() is False:
        yield warn("clock", "it is not synchronised", "switch a time service on (systemd-timesyncd, chrony)")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now)))


def _synchronized() -> bool | None:
    """What the kernel knows about it; None when it does not say."""
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    return None if answer < 0 else answer != _TIME_ERROR


def ports(where: Paths, loaded: Settings) -> Iterator[Finding]:
    """Every port that is on: free, held by ours, or in the way."""
    ours: list[int] = []
    free: list[int] = []
    refused: dict[tuple[str, str], list[int]] = {}
    for key, port in loaded.ports():
        taken = _listeners(port)
        if taken:
            strangers = [name for name, root in taken if "lanmail" not in name or root not in (str(where.root), "")]
            if strangers:
                yield fail(
                    "ports",
                    f"{port} ({key}) is in use by {', '.join(strangers)}",
                    f"stop that, or choose another port with {key} or server.port_offset",
                )
            else:
                ours.append(port)
            continue
        problem = next((found for host in loaded.server.listen if (found := _bind(host, port))), None)
        if problem:
            refused.setdefault(problem, []).append(port)
        else:
            free.append(port)
    for (reason, advice), numbers in refused.items():
        yield fail("ports", f"{', '.join(map(str, numbers))}: {reason}", advice)
    if ours:
        yield ok("ports", f"lanmail listens on {', '.join(map(str, ours))}")
    if free:
        yield ok("ports", f"free for lanmail: {', '.join(map(str, free))}")


def _bind(host: str, port: int) -> tuple[str, str] | None:
    """(why a port cannot be had, what to do), None when it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return "only root may have ports below 1024", "let systemd open it (systemd/), or set server.port_offset"
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                if host == "::1":
                    return None  # a machine without IPv6; the programs pass over it, too
                return f"this machine has no address {host}", "correct server.listen"
            return str(error.strerror), "see server.listen"
    return None


def _listeners(port: int) -> list[tuple[str, str]]:
    """(command, its --root or "") of the programs that listen on a TCP port; of strangers as far as we may see them."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    inodes.add(words[9])
    if not inodes:
        return []
    return sorted(set(_holders(inodes))) or [("another program (root can see which)", "")]


def _holders(inodes: set[str]) -> Iterator[tuple[str, str]]:
    """(command, its --root or "") of each process that has one of these sockets open."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in PROC.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(os.readlink(entry) in wanted for entry in (process / "fd").iterdir()):
                words = os.fsdecode((process / "cmdline").read_bytes()).split("\0")
                ours = re.search(r"\blanmail[.-]\w+", " ".join(words[:3]))
                name = ours[0].replace(".", "-") if ours else os.path.basename(words[0]) or "a program"
                given = words[words.index("--root") + 1] if "--root" in words[:-1] else ""
                yield re.sub(r"[^ -~]", "?", name), given and os.path.abspath(given)
