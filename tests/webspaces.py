"""A rented web space on this machine: PHP's own web server, with sshd or vsftpd in front of the same directory."""

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
import trustme

from tests import ports

CAPTURE = """#!/bin/sh
name="{target}/$(date +%s%N).$$"
printf '%s\\n' "$@" > "$name.args"
cat > "$name.mail"
exit $(cat "{target}/exit" 2>/dev/null || echo 0)
"""


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 90
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < limit, "the server does not listen"
            time.sleep(0.02)


@contextmanager
def running(command: list[str], port: int, **more: object) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        await_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def php(base: Path, *options: str, sendmail: bool = True) -> Iterator[tuple[str, Path, Path]]:
    """(URL, directory of the web, directory of what sendmail was given)."""
    program = shutil.which("php")
    if program is None:
        pytest.skip("no PHP here: apt install php-cli")
    web, target, port = base / "web", base / "sent", ports.free()
    web.mkdir(exist_ok=True)
    target.mkdir()
    script = base / "capture"
    script.write_text(CAPTURE.format(target=target))
    script.chmod(0o755)
    path = f"{script} -t -i" if sendmail else str(base / "nothing")
    command = [program, "-n", "-d", f"sendmail_path={path}", *options, "-S", f"127.0.0.1:{port}", "-t", str(web)]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/mail/", web, target


@contextmanager
def sshd(base: Path) -> Iterator[tuple[int, str, str, Path]]:
    """(port, user, fingerprint of the host key, private key of the user)."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no sshd here: apt install openssh-server")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    host, user = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    for name, key in (("host", host), ("user", user)):
        key.write_private_key(str(base / name))
        (base / name).chmod(0o600)
    user.write_public_key(str(base / "authorized"))
    port = ports.free()
    (base / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {base}/host\nAuthorizedKeysFile {base}/authorized\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile {base}/sshd.pid\nSubsystem sftp internal-sftp\n")
    with running([program, "-D", "-f", str(base / "sshd.conf")], port):
        yield port, os.environ.get("USER") or subprocess.check_output(["id", "-un"], text=True).strip(), \
            host.get_fingerprint(), base / "user"


@contextmanager
def vsftpd(base: Path, web: Path, *, tls: bool = True) -> Iterator[tuple[int, Path]]:
    """(port, file with the certificate's CA); log in as anonymous."""
    program = shutil.which("vsftpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or os.geteuid():
        pytest.skip("vsftpd needs root: apt install vsftpd")
    ca, port = trustme.CA(), ports.free()
    ca.cert_pem.write_to_path(base / "ca.pem")
    server = ca.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(base / "ftp.pem")
    (base / "empty").mkdir()
    for parent in (web, *web.parents):
        mode = parent.stat().st_mode
        if parent != Path("/") and not mode & stat.S_IXOTH:
            parent.chmod(mode | 0o011)
    secure = f"""ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
rsa_cert_file={base}/ftp.pem
rsa_private_key_file={base}/ftp.pem
""" if tls else ""
    (base / "vsftpd.conf").write_text(f"""listen=YES
background=NO
listen_address=127.0.0.1
listen_port={port}
anonymous_enable=YES
anon_root={web}
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
allow_writeable_chroot=YES
no_anon_password=YES
secure_chroot_dir={base}/empty
pasv_address=203.0.113.9
seccomp_sandbox=NO
{secure}""")
    with running([program, str(base / "vsftpd.conf")], port):
        yield port, base / "ca.pem"


def captured(target: Path) -> list[tuple[list[str], bytes]]:
    """What sendmail was called with: arguments and standard input."""
    return [(one.read_text().splitlines(), one.with_suffix(".mail").read_bytes())
            for one in sorted(target.glob("*.args"))]


async def in_thread(work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
