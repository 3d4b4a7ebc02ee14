"""What the programs do, seen by strace, fits into the sandboxes of systemd/: a unit that forbids too much would only
show on a real system.

Every program is run as `lanmail up` runs it while mail comes in, is delivered and read; then its system calls, the
files it touched and the families of its sockets are compared with its unit.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lanmail import maildir, programs
from lanmail.textindex import indexes
from tests import invoices
from tests.e2e.office import BIN, DOMAIN, HERE, HOST, Office, mail, need, until

pytestmark = pytest.mark.slow
UNITS = HERE / "systemd"
COMMON = UNITS / "lanmail-.service.d/10-lanmail.conf"
INSTALLED = (("/etc/lanmail", "conf"), ("/var/lib/lanmail", ""), ("/run/lanmail", "run"))
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)")


@dataclass
class Seen:
    """What one program did after its start, and in which root."""

    root: Path
    calls: dict[str, str] = field(default_factory=dict)    # system call → its first line
    lines: list[str] = field(default_factory=list)

    def here(self, path: str) -> Path:
        """Where an installed path lies in the root."""
        for prefix, below in INSTALLED:
            if path == prefix or path.startswith(f"{prefix}/"):
                return self.root / below / path[len(prefix):].lstrip("/")
        return Path(path)


def settings(name: str, key: str) -> list[str]:
    """All values of a key in the common part and the unit of a program."""
    text = COMMON.read_text() + (UNITS / f"lanmail-{name}.service").read_text()
    return [word for value in re.findall(rf"^{key}=(.*)$", text, re.M) for word in value.split()]


def runners_in(directory: Path) -> Path:
    """A directory of runners, for programs to be started otherwise than usual; `lanmail up` takes those beside it."""
    (directory / "lanmail").symlink_to(BIN / "lanmail")
    return directory


def runner(runners: Path, name: str, before: str) -> None:
    path = runners / f"lanmail-{name}"
    path.write_text(f'#!/bin/sh\n{before} {BIN}/lanmail-{name} "$@"\n')
    path.chmod(0o755)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Program → what it did."""
    need("strace", "swaks", "curl")
    office = Office(tmp_path_factory.mktemp("traced"), **{"httpd.enabled": True})
    accounts(office)
    traces = office.root / "traces"
    traces.mkdir()
    runners = runners_in(tmp_path_factory.mktemp("runners"))
    for program in programs.DAEMONS:
        runner(runners, program.name, f"exec strace -D -f -qq -o {traces}/{program.name}")
    office.start(runners / "lanmail")
    try:
        use(office)
    finally:
        assert office.stop() == 0
    return {program.name: parsed(office.root, traces / program.name) for program in programs.DAEMONS}


def accounts(office: Office) -> None:
    """demo, and kept, whose mail is archived."""
    office.account("demo")
    office.account("kept")
    office.lanmail("account", "set", "kept", "archive=true")


def use(office: Office) -> None:
    """Mail in by three ways, out by two; into the archive; a reload."""
    login = ["--auth-user", "demo", "--auth-password", office.passwords["demo"]]
    to = ["--server", HOST, "--to", f"demo@{DOMAIN}", "--from", f"demo@{DOMAIN}", "--tls-ca-path", office.ca]
    office.run("swaks", *to, "--port", str(office.port(25)))
    office.run("swaks", *to, "--port", str(office.port(587)), "-tls", *login)
    (office.where.pickup / "dropped").write_bytes(mail("dropped"))
    office.run("swaks", *to, "--port", str(office.port(587)), "-tls", *login, "--header", "Subject: LMS Forwarding off")
    office.arrived("demo", 4, seconds=60)
    user = ["-sS", "--cacert", office.ca, "--user", f"demo:{office.passwords['demo']}"]
    office.run("curl", *user, f"pop3s://{HOST}:{office.port(995)}/1")
    office.run("curl", *user, f"imaps://{HOST}:{office.port(993)}/INBOX;MAILINDEX=2")
    upload = office.root / "upload"
    upload.write_bytes(mail("appended").replace(b"\n", b"\r\n"))
    office.run("curl", *user, f"imaps://{HOST}:{office.port(993)}/Sent", "-T", str(upload))
    page = office.run("curl", "-sS", "--cacert", office.ca, f"https://{HOST}:{office.port(6443)}/healthz").stdout
    assert '"ok":true' in page, page
    office.put("kept", mail("archived", to=f"kept@{DOMAIN}"))
    until(lambda: " archived archived " in office.log(), 60, "the archive")
    office.reload()
    office.run("swaks", *to, "--port", str(office.port(25)))
    office.arrived("demo", 5, seconds=60)


def parsed(root: Path, trace: Path) -> Seen:
    """From the exec of Python on: what the shell runner does is over by then, and an installed program has none."""
    seen = Seen(root)
    lines = trace.read_text(errors="replace").splitlines()
    start = max(index for index, line in enumerate(lines) if "execve(" in line and "/python" in line.split(",")[0])
    for line in lines[start + 1:]:
        found = CALL.match(line)
        if found:
            seen.calls.setdefault(found[1], line)
            seen.lines.append(line)
    assert len(seen.lines) > 1000
    return seen


def allowed(name: str) -> set[str]:
    """The system calls of SystemCallFilter=, as systemd here knows them."""
    def group(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        names: set[str] = set()
        for word in re.findall(r"^ +([@\w-]+)$", listed.stdout, re.M):
            names |= group(word)
        return names

    result: set[str] = set()
    for unit in (COMMON, UNITS / f"lanmail-{name}.service"):
        for value in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.M):
            named = set().union(*map(group, value.lstrip("~").split()))
            result = result - named if value.startswith("~") else result | named
    return result


each_program = pytest.mark.parametrize("name", [program.name for program in programs.DAEMONS])


@each_program
def test_system_calls_are_allowed(seen: dict[str, Seen], name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    permitted = allowed(name)
    # libuv asks, and does without; SQLite, but only as root
    tolerated = {"io_uring_setup": "ENOSYS|EPERM", "fchown": r"fchown\(\d+, 0, 0\)"}
    refused = {call: line for call, line in seen[name].calls.items()
               if call not in permitted and not (call in tolerated and re.search(tolerated[call], line))}
    assert not refused


def test_filling_an_index_fits_into_the_sandbox_of_imapd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    need("strace")
    root, trace = tmp_path / "maildirs/demo", tmp_path / "trace"
    maildir.prepare(str(root))
    maildir.put(str(root), mail("indexed"))
    own = indexes.Indexes(tmp_path / "index")
    own.directory.mkdir()
    job = json.dumps(dataclasses.asdict(indexes.Job(str(root))))
    strace = ["strace", "-f", "-qq", "-o", trace]
    with subprocess.Popen([*strace, sys.executable, "-m", indexes.FILLER, own.directory, job],
                          cwd=HERE, stdin=subprocess.PIPE) as child:
        assert child.wait(60) == 0
    progress = own.progress("demo")
    assert progress is not None
    assert progress.done == 1
    lines = trace.read_text(errors="replace").splitlines()
    calls = {found[1]: line for line in lines if (found := CALL.match(line))}
    assert {"setpriority", "ioprio_set", "pwrite64"} <= calls.keys()
    refused = calls.keys() - allowed("imapd") - {"fchown"}  # SQLite as root
    assert not refused


def test_examining_invoices_fits_into_the_sandbox_of_deliver(tmp_path: Path) -> None:
    """What the child does of a PDF, and openssl of a signed mail."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    need("strace", "openssl")
    key = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "k", "-out", "c"]
    subprocess.run(["openssl", *key], cwd=tmp_path, check=True, capture_output=True)
    attached = invoices.mail((f"Content-Type: application/pdf\n{invoices.B64}",
                              invoices.base64(invoices.hybrid(("factur-x.xml", invoices.cii())))))
    sign = ["cms", "-sign", "-nodetach", "-outform", "DER", "-binary", "-signer", "c", "-inkey", "k"]
    octets = subprocess.run(["openssl", *sign], input=attached, cwd=tmp_path, check=True, capture_output=True).stdout
    data = f"From: a@b\nContent-Type: application/pkcs7-mime\n{invoices.B64}\n\n".encode() + invoices.base64(octets)
    asked = json.dumps({"size": len(data), "wish": {}, "xml": True}).encode() + b"\n" + data
    strace = ["strace", "-f", "-qq", "-o", "trace", sys.executable, "-P", "-m", "lanmail.invoices.worker"]
    said = subprocess.run([*strace, str(1 << 30), "20"], input=asked, cwd=tmp_path, env={"PYTHONPATH": str(HERE),
                          "PATH": os.environ["PATH"]}, check=True, capture_output=True).stdout
    assert json.loads(said.partition(b"\n")[0])["verdict"]["kind"] == "invoice"
    lines = (tmp_path / "trace").read_text(errors="replace").splitlines()
    calls = {found[1]: line for line in lines if (found := CALL.match(line))}
    assert "prlimit64" in calls
    assert not calls.keys() - allowed("deliver")
    assert not [line for line in lines if re.search(r"mmap\(.*PROT_WRITE.*PROT_EXEC|mprotect\(.*PROT_EXEC", line)]


@each_program
def test_no_memory_is_writable_and_executable(seen: dict[str, Seen], name: str) -> None:
    """MemoryDenyWriteExecute=yes refuses these."""
    for line in seen[name].lines:
        assert not ("mmap(" in line and "PROT_WRITE" in line and "PROT_EXEC" in line), line
        assert not ("mprotect(" in line and "PROT_EXEC" in line), line


@each_program
def test_socket_families_are_allowed(seen: dict[str, Seen], name: str) -> None:
    families = set(settings(name, "RestrictAddressFamilies"))
    used = {found[1] for line in seen[name].lines if (found := re.search(r"\bsocket\((AF_\w+)", line))}
    assert used <= families | {"AF_LOCAL"} | ({"AF_UNIX"} & families)


LOOK = re.compile(r"(?:\d+ +)?(stat|lstat|newfstat|statx|access|faccess|readlink)")
# config.load looks whether secrets are kept well, and goes on where it may not look (tests/test_config.py).
LOOKED_AT = "conf/secrets"
FILE_CALL = re.compile(r"(?:\d+ +)?(open|creat|stat|lstat|newfstat|rename|link|unlink|mkdir|rmdir|chmod|fchmodat|"
                       r"symlink|readlink|access|faccess|statx|inotify_add)")


def touched(line: str) -> list[str]:
    """The absolute paths that a call names, when it succeeded."""
    worked = FILE_CALL.match(line) and not re.search(r"= (-1 |\? )", line)
    return re.findall(r'"(/[^"]*)"', line) if worked else []


@each_program
def test_forbidden_paths_are_not_needed(seen: dict[str, Seen], name: str) -> None:
    forbidden = [seen[name].here(path.lstrip("-")) for path in settings(name, "InaccessiblePaths")]
    for line in seen[name].lines:
        for path in [] if LOOK.match(line) else touched(line):
            if Path(path) != seen[name].root / LOOKED_AT:
                assert not any(Path(path).is_relative_to(one) for one in forbidden), line


def in_conf(seen: Seen, name: str) -> list[Path]:
    """What of conf/ a program may write."""
    named = [path.lstrip("-") for path in settings(name, "ReadWritePaths")]
    return [seen.here(path) for path in named if path.startswith("/etc/lanmail/")]


@each_program
def test_nothing_else_is_written(seen: dict[str, Seen], name: str) -> None:
    """ProtectSystem=strict: only the tree of state, spools and Maildirs, and of conf/ what the unit names."""
    writable, conf = seen[name].root, seen[name].here("/etc/lanmail")
    besides = in_conf(seen[name], name)
    for line in seen[name].lines:
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|\b(rename|link|unlink|mkdir|chmod)\w*\(", line):
            for path in touched(line):
                in_mine = any(Path(path).is_relative_to(one) for one in besides)
                ok = in_mine or (Path(path).is_relative_to(writable) and not Path(path).is_relative_to(conf))
                assert ok or path.startswith(("/dev/null", "/tmp/")), line


MOUNTS = """
mount --bind {root} {root}
mount --bind {root}/conf {root}/conf
for path in {writable}; do mount --bind $path $path; done
mount -o remount,bind,ro {root}/conf
for path in {hidden}; do
  if [ -d $path ]; then mount --bind {none}/directory $path; elif [ -e $path ]; then mount --bind {none}/file $path; fi
done
mount -o remount,bind,ro /
exec setpriv --no-new-privs --bounding-set=-all,{plus} --inh-caps=-all,{plus} --ambient-caps=-all,{plus} "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="name spaces need root")
def test_works_inside_mounts_like_systemds(new_office: Callable[..., Office], tmp_path: Path) -> None:
    """The same work with a read-only system, hidden directories, no network where there is to be none, and without
    capabilities; root without them may read no more than its own files say."""
    need("unshare", "setpriv", "swaks", "curl")
    office = new_office(**{"httpd.enabled": True})
    accounts(office)
    none = tmp_path / "none"
    (none / "directory").mkdir(parents=True)
    (none / "directory").chmod(0)
    (none / "file").touch(0)
    runners = runners_in(tmp_path)
    for program in programs.DAEMONS:
        seen = Seen(office.root)
        hidden = " ".join(str(seen.here(path.lstrip("-"))) for path in settings(program.name, "InaccessiblePaths"))
        kept = settings(program.name, "CapabilityBoundingSet")
        plus = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in kept)
        script = tmp_path / f"mounts-{program.name}"
        writable = " ".join(map(str, in_conf(seen, program.name)))
        script.write_text(MOUNTS.format(root=office.root, hidden=hidden, writable=writable, none=none,
                                        plus=plus or "-all"))
        net = "--net " if "yes" in settings(program.name, "PrivateNetwork") else ""
        runner(runners, program.name, f"exec unshare {net}--mount --propagation private sh {script}")
    if office.run("unshare", "--net", "--mount", "true", check=False).returncode:
        pytest.skip("this machine does not let us make name spaces")
    office.start(runners / "lanmail")
    use(office)
    assert office.stop() == 0
    said = office.log() + (office.root / "stderr").read_text()
    assert "Permission" not in said
    assert "Read-only" not in said
