"""Dovecot 2.3 as a peer: in a directory of its own, with the configuration it comes with but for ports and passwords.

    start(base) -> Dovecot                      its default: a process for each log-in and each session
    start(base, performance=True) -> Dovecot    what its manual calls high performance mode, with an auth cache
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from bench import peers
from lanmail import certificates, paths

USER = "mail"


class Dovecot(peers.Server):
    """A running Dovecot."""

    def maildir(self, user: str) -> Path:
        return self.base / "mail" / user


def start(base: Path, *, performance: bool = False) -> Dovecot:
    """Start it, with POP3 and IMAP, plain and TLS; Maildirs are base/mail/uN."""
    if os.geteuid():
        raise peers.Missing("Dovecot needs root for its users")
    program = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise peers.Missing("no Dovecot here: apt install dovecot-pop3d dovecot-imapd")
    for name in ("run", "log", "mail"):
        (base / name).mkdir(parents=True)
    for parent in (base, *base.parents):
        if parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)  # its users must get through
    shutil.chown(base / "mail", USER, USER)
    where = paths.of_root(base / "certificate")
    certificates.make_ca(where, peers.DOMAIN)
    (base / "passwd").write_text("".join(f"u{number}:{{PLAIN}}{peers.SECRET}\n" for number in range(peers.USERS)))
    ports = {name: _free_port() for name in ("pop3", "pop3s", "imap", "imaps")}
    text = _CONFIG.format(base=base, user=USER, tls=where.tls, **ports)
    if performance:
        text += _PERFORMANCE
    (base / "dovecot.conf").write_text(text)
    subprocess.run([program, "-c", str(base / "dovecot.conf")], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    peers.await_port(ports["pop3"])
    running = base / "run/master.pid"
    while not running.exists() or not running.read_text().strip():
        time.sleep(0.02)
    return Dovecot("dovecot-fast" if performance else "dovecot", base, [int(running.read_text())], ports)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


_CONFIG = """\
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{tls}/server.pem
ssl_key = <{tls}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{base}/mail/%n
mail_max_userip_connections = 5000
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {user}
mail_gid = {user}
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {base}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={user} home={base}/mail/%n
}}
default_process_limit = 2000
default_client_limit = 5000
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service stats {{
  client_limit = 10000
}}
service anvil {{
  client_limit = 10000
}}
service auth {{
  client_limit = 15000
}}
"""

_PERFORMANCE = """\
auth_cache_size = 1M
service imap-login {
  service_count = 0
  process_min_avail = 2
}
service pop3-login {
  service_count = 0
  process_min_avail = 2
}
service imap {
  service_count = 1000
}
service pop3 {
  service_count = 1000
}
"""
