"""The servers that are measured: lanmail's programs and the peers, each started in a directory of its own.

Nothing of the machine's own configuration is touched. `Server.cpu` counts all processes of a server, also those that
have ended; `Server.stop` ends them by pid.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
DOMAIN = "lan.test"
SECRET = "bench-secret"
USERS = 20  # u0 … u19


class Missing(Exception):
    """The peer cannot be started here; the text says why."""


@dataclass
class Server:
    """A running server: the roots of its process trees, the port, and where the mail of a user ends up."""

    name: str
    base: Path
    pids: list[int]
    ports: dict[str, int]
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def maildir(self, user: str) -> Path:
        """The Maildir of u0 … u19."""
        return self.base / ("mail" if self.name == "postfix" else "maildirs") / user

    def cpu(self) -> float:
        """Seconds of CPU of all processes, children that have ended included."""
        return sum(self.cpu_each())

    def cpu_each(self) -> list[float]:
        """The same for each program."""
        return [sum(_cpu(pid) for pid in _tree([root])) for root in self.pids]

    def memory(self) -> float:
        """PSS of all processes in MiB; shared pages are counted once."""
        return sum(_pss(pid) for pid in _tree(self.pids))

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        for pid in self.pids:
            _kill(pid, signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        deadline = time.monotonic() + 15
        while any(Path(f"/proc/{pid}").exists() for pid in self.pids) and time.monotonic() < deadline:
            time.sleep(0.05)


def lanmail(base: Path, *programs: str, settings: dict[str, str] | None = None) -> Server:
    """Our own programs, each a process, on free ports; `settings` are changes to the defaults."""
    offset = _free_offset()
    env = {**os.environ, "LANMAIL_ROOT": str(base)}

    def admin(*words: str, **options: object) -> None:
        subprocess.run([str(HERE / "bin/lanmail"), *words], check=True, env=env, stdout=subprocess.DEVNULL, **options)

    admin("init", "--domain", DOMAIN, "--port-offset", str(offset))
    for key, value in (settings or {}).items():
        admin("config", "set", key, value)
    for number in range(USERS):
        admin("account", "add", f"u{number}", "--password-stdin", input=SECRET.encode())
    children = [
        subprocess.Popen([str(HERE / f"bin/lanmail-{program}")], env=env, stdin=subprocess.DEVNULL,
                         start_new_session=True)
        for program in programs
    ]
    ports = {"smtp": 25, "lmtp": 24, "submission": 587, "lan": 2500, "pop3": 110, "pop3s": 995, "imap": 143,
             "imaps": 993}
    server = Server("lanmail", base, [child.pid for child in children],
                    {name: port + offset for name, port in ports.items()}, children)
    for program, name in (("smtpd", "smtp"), ("pop3d", "pop3"), ("imapd", "imap")):
        if program in programs:
            await_port(server.ports[name])
    return server


def postfix(base: Path, more: str = "") -> Server:
    """Postfix with virtual(8) → Maildir, as in the peer's own documentation, log and fsync as they come.

    `more` are further lines of main.cf.
    """
    if os.geteuid():
        raise Missing("Postfix needs root for its users")
    if not shutil.which("postfix") or not Path("/usr/lib/postfix/sbin/master").exists():
        raise Missing("no Postfix here: apt install postfix")
    port = _free_port()
    for name in ("etc", "queue", "data", "log", "mail"):
        (base / name).mkdir(parents=True)
    shutil.chown(base / "mail", "mail", "mail")
    shutil.chown(base / "data", "postfix")
    (base / "etc/boxes").write_text("".join(f"u{n}@{DOMAIN} u{n}/\n" for n in range(USERS)))
    (base / "etc/main.cf").write_text(_MAIN_CF.format(base=base, domain=DOMAIN) + more)
    (base / "etc/master.cf").write_text(_MASTER_CF.format(port=port))
    for parent in (base, *base.parents):
        if parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)  # Postfix's users must get through
    done = subprocess.run(["postfix", "-c", str(base / "etc"), "start"], capture_output=True, check=False)
    if done.returncode:
        raise Missing(f"Postfix does not start: {done.stderr.decode(errors='replace')[-300:]}")
    await_port(port)
    pid = int((base / "queue/pid/master.pid").read_text())
    return Server("postfix", base, [pid], {"smtp": port})


def await_port(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.025)
    raise Missing(f"nobody listens on port {port}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _free_offset() -> int:
    """An offset with which all our ports are free."""
    for offset in range(20000 + os.getpid() % 10000, 60000, 1000):
        try:
            for port in (24, 25, 110, 143, 465, 587, 993, 995, 2500):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port + offset))
            return offset
        except OSError:
            continue
    raise Missing("no free ports")


def _tree(roots: list[int]) -> list[int]:
    kids: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))):
            kids.setdefault(int(stat[1]), []).append(int(name))
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += kids.get(pid, [])
    return found


def _stat(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / TICK


def _pss(pid: int) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.{domain}
mydomain = {domain}
myorigin = {domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
alias_database =
local_recipient_maps =
biff = no
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_base = {base}/mail
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = texthash:{base}/etc/boxes
virtual_minimum_uid = 1
virtual_uid_maps = static:8
virtual_gid_maps = static:8
smtp_tls_security_level = none
maillog_file = {base}/log/maillog
maillog_file_prefixes = {base}/log
"""

_MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
