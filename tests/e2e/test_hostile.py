"""The running programs, as a user without privileges: everything foreign in Maildirs at once; no descriptors left."""

import contextlib
import imaplib
import os
import poplib
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanmail import maildir
from tests import foreign
from tests.e2e.office import BIN, HOST, Office, mail, need, until

pytestmark = pytest.mark.slow


@pytest.fixture
def office(new_office: Callable[..., Office]) -> Office:
    """One that is not started yet."""
    return new_office()


@contextlib.contextmanager
def program(office: Office, name: str, *, as_nobody: bool = False,
            files: int = 1024) -> Iterator[subprocess.Popen[bytes]]:
    """One of the programs alone, ready; as nobody, if we are root."""
    command = ["prlimit", f"--nofile={files}:{files}", str(BIN / f"lanmail-{name}"), "--root", str(office.root)]
    if as_nobody and os.geteuid() == 0:
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    before = office.log().count(" ready ")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: office.log().count(" ready ") > before or process.poll() is not None, what=f"{name} is ready")
        yield process
    finally:
        process.terminate()
        process.wait(30)


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that a program has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rests(*processes: subprocess.Popen[bytes]) -> bool:
    """Whether they do next to nothing for a second."""
    used = [cpu(process) for process in processes]
    time.sleep(1)
    return all(cpu(process) - before < 0.2 for process, before in zip(processes, used, strict=True))


def give_to_nobody(office: Office) -> bool:
    """The installation belongs to nobody; False when we cannot, or nobody could not read our code."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    nobody = pwd.getpwnam("nobody")
    for where, directories, files in os.walk(office.root):
        for path in (where, *(os.path.join(where, one) for one in (*directories, *files))):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    for parent in office.root.parents:
        if parent != Path("/tmp") and str(parent).startswith("/tmp"):
            parent.chmod(0o755)
    return subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BIN / "lanmail"),
                           "--version"], capture_output=True, check=False).returncode == 0


def test_foreign_files_of_all_kinds_at_once(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = mail("gut", ["Eins"])
    outside = tmp_path / "outside"
    for sub in ("cur", "new", "tmp"):
        (outside / sub).mkdir(parents=True)
    (outside / "mail").write_bytes(foreign.OUTSIDE)
    (outside / "cur/1.secret:2,S").write_bytes(foreign.OUTSIDE)
    names = [f"anna{number}" for number in range(4)]
    for name in names:
        office.account(name)
        maildir.prepare(str(office.where.maildirs / name))
    unprivileged = give_to_nobody(office)
    before: dict[str, set[tuple[int, int]]] = {}
    for number, (title, make) in enumerate(foreign.KINDS.items()):
        root = office.where.maildirs / names[number % 4]
        if " is " in title or "own files" in title:
            continue  # these replace each other; tests/test_foreign_files.py has them one by one
        with contextlib.suppress(PermissionError, FileExistsError):
            make(root, outside)
    for name in names:
        maildir.put(str(office.where.maildirs / name), good)
        before[name] = foreign.inodes(office.where.maildirs / name)
    if unprivileged:  # what others left there belongs to others, but the directories are ours
        for path in office.where.maildirs.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        for name in ("1763700000.M1P1.fremd:2,", "unreadable:2,"):
            foreign.file(office.where.maildirs / "anna0", name).chmod(0)
    with (program(office, "imapd", as_nobody=unprivileged) as imapd,
          program(office, "pop3d", as_nobody=unprivileged) as pop3d):
        for name in names:
            by_imap(office, name, good)
            by_pop3(office, name, good, monkeypatch)
        until(lambda: rests(imapd, pop3d), what="an end of what they do")
    for name in names:
        assert not before[name] - foreign.inodes(office.where.maildirs / name), f"something of {name} was deleted"
    assert "Traceback" not in office.log()


def by_imap(office: Office, name: str, good: bytes) -> None:
    with imaplib.IMAP4(HOST, office.port(143), timeout=60) as imap:
        began = time.monotonic()
        imap.login(name, office.passwords[name])
        imap.list()
        assert imap.select("INBOX")[0] == "OK"
        said, parts = imap.fetch("1:*", "(UID FLAGS RFC822.SIZE ENVELOPE BODY.PEEK[])")
        assert said in ("OK", "NO"), said
        texts = [part[1] for part in parts if isinstance(part, tuple)]
        assert good.replace(b"\n", b"\r\n") in texts
        assert not [text for text in texts if foreign.SECRET in text or b"root:x:0" in text]
        imap.search(None, "TEXT", "Eins")
        assert time.monotonic() - began < 60


def by_pop3(office: Office, name: str, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 23)  # some of the mails have lines of megabytes
    pop = poplib.POP3(HOST, office.port(110), timeout=60)
    pop.user(name)
    pop.pass_(office.passwords[name])
    texts = []
    for number in range(1, pop.stat()[0] + 1):
        with contextlib.suppress(poplib.error_proto):
            texts.append(b"\n".join(pop.retr(number)[1]) + b"\n")
    pop.quit()
    assert good in texts
    assert not [text for text in texts if foreign.SECRET in text or b"root:x:0" in text]


@pytest.mark.parametrize(("name", "port", "words"), [
    ("imapd", 143, b"* BYE"), ("pop3d", 110, b"-ERR [SYS/TEMP]"), ("smtpd", 587, b"421 "),
])
def test_no_descriptors_left(office: Office, name: str, port: int, words: bytes) -> None:
    """A hundred clients at a program that may open 64 files: most are told to go, it does not spin, it recovers."""
    need("prlimit")
    with program(office, name, files=64) as process:
        clients = []
        for _ in range(100):
            client = socket.create_connection((HOST, office.port(port)), timeout=60)
            clients.append(client)
        greeted = [greeting(client) for client in clients]
        until(lambda: rests(process), what=f"an end of what {name} does")
        assert sum(one.startswith(words) for one in greeted) > 20, greeted
        assert 5 < sum(one.startswith((b"* OK", b"+OK", b"220 ")) for one in greeted) < 30
        for client in clients:
            client.close()
        until(lambda: _greets(office.port(port)), what=f"{name} greets again")
    assert "Traceback" not in office.log()


def greeting(client: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return client.recv(1000)
    return b""


def _greets(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=60) as client:
        return greeting(client).startswith((b"* OK", b"+OK", b"220 "))
