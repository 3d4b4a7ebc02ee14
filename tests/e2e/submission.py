"""Dovecot's submission server of our own, in front of Postfix's smtp-sink: a smarthost as providers have it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
import trustme

from tests import dovecotd, ports
from tests.e2e import office

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = submission
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/server.pem
ssl_key = <{base}/server.pem
ssl_min_protocol = {low}
ssl_cipher_list = DEFAULT@SECLEVEL=0
disable_plaintext_auth = yes
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
mail_location = maildir:{base}/mail
first_valid_uid = 1
first_valid_gid = 1
submission_relay_host = 127.0.0.1
submission_relay_port = {sink}
submission_relay_trusted = yes
submission_max_mail_size = 1M
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail
}}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
  inet_listener submissions {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""


class Sink:
    """smtp-sink; each mail becomes a file.

    It runs as nobody, whom another pytest that starts meanwhile shuts out of pytest's directory: thus one of its own.
    """

    def __init__(self, *options: str) -> None:
        program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.skip("no smtp-sink here: apt install postfix")
        self.directory, self.port = Path(tempfile.mkdtemp(prefix="sink")), ports.free()
        self.directory.chmod(0o777)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [program, *user, *options, "-d", f"{self.directory}/m", f"127.0.0.1:{self.port}", "100"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        office.until(self._listens, what="smtp-sink")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def mails(self) -> list[bytes]:
        return [one.read_bytes() for one in sorted(self.directory.iterdir()) if one.stat().st_size]

    def stop(self) -> None:
        """Its mails go with it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory)


class Submission:
    """A running Dovecot that takes mail of "meier" with the password "geheim" on `port` and `tls_port`."""

    def __init__(self, sink: int, *, mechanisms: str = "plain login", low: str = "TLSv1") -> None:
        if os.geteuid() or not os.path.exists("/usr/lib/dovecot/submission"):
            pytest.skip("needs root, and Dovecot's submission server: apt install dovecot-submissiond")
        # a place of its own: names of sockets must be short, and Dovecot's user gets into no directory of pytest
        base = self.base = Path(tempfile.mkdtemp(prefix="dovecot"))
        base.chmod(0o755)
        self.port, self.tls_port = ports.free(), ports.free()
        ca, entry = trustme.CA(), pwd.getpwnam("mail")
        ca.cert_pem.write_to_path(base / "ca.pem")
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(base / "server.pem")
        (base / "passwd").write_text("meier:geheim\n")
        (base / "passwd").chmod(0o644)
        (base / "dovecot.conf").write_text(CONFIG.format(
            base=base, sink=sink, mechanisms=mechanisms, low=low, port=self.port, tls_port=self.tls_port,
            uid=entry.pw_uid, gid=entry.pw_gid))
        dovecotd.start(base / "dovecot.conf", base / "run")

    def stop(self) -> None:
        dovecotd.stop(self.base / "run")
        shutil.rmtree(self.base)
