"""Debian's Dovecot with POP3 and IMAP, as providers have it: a mailbox elsewhere that is fetched from.

    with Dovecot() as server:
        server.add(b"Subject: x\r\n\r\n")               one mail into the INBOX of "meier"
        server.mails() -> list[Path]                    what is there
        server.port("pop3"), server.port("pop3s"), …
        server.configure("pop3_uidl_format = …")        other settings, and a new start
"""

import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path

import pytest
import trustme

from tests import dovecotd, ports

USER, PASSWORD = "meier", "geheim wörtlich"
CONFIG = """
base_dir = {run}
state_dir = {run}
log_path = {base}/log
protocols = pop3 imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/server.pem
ssl_key = <{base}/server.pem
ssl_min_protocol = TLSv1.2
ssl_cipher_list = DEFAULT@SECLEVEL=0
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0
mail_location = maildir:{base}/mail/%u
mail_fsync = never
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 500
default_client_limit = 2000
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u
}}
service anvil {{
  client_limit = 4000
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  client_limit = 4000
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
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
namespace inbox {{
  inbox = yes
}}
{more}
"""


class Dovecot:
    """A running server; "meier" and whoever `user` adds have a mailbox there."""

    def __init__(self, more: str = "") -> None:
        if os.geteuid() or not os.path.exists("/usr/lib/dovecot/pop3") or not os.path.exists("/usr/lib/dovecot/imap"):
            pytest.skip("needs root and Dovecot: apt install dovecot-pop3d dovecot-imapd")
        # not below pytest's directory: another run of pytest shuts that for other users; names of sockets must be short
        base = self.base = Path(tempfile.mkdtemp(prefix="dovecot"))
        base.chmod(0o755)
        self._run, self.running = base / "run", False
        self._run.mkdir(mode=0o755)
        self._ports = {name: ports.free() for name in ("pop3", "pop3s", "imap", "imaps")}
        ca = trustme.CA()
        ca.cert_pem.write_to_path(base / "ca.pem")
        ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(base / "server.pem")
        self._owner = pwd.getpwnam("mail")
        self._count = 0
        (base / "mail").mkdir()
        os.chown(base / "mail", self._owner.pw_uid, self._owner.pw_gid)
        (base / "passwd").touch(0o644)
        self.user(USER)
        self.start(more)

    @property
    def ca(self) -> Path:
        """The certificate that signed the server's."""
        return self.base / "ca.pem"

    def port(self, service: str) -> int:
        """pop3, pop3s, imap, imaps."""
        return self._ports[service]

    def user(self, name: str, password: str = PASSWORD) -> None:
        """One more mailbox."""
        with (self.base / "passwd").open("a") as file:
            file.write(f"{name}:{password}\n")

    def add(self, message: bytes, user: str = USER, folder: str = "", when: float | None = None) -> Path:
        """Put a mail into a mailbox, as a delivery agent does."""
        root = self.base / "mail" / user
        place = root / folder if folder else root
        for directory in (root, place, place / "tmp", place / "new", place / "cur"):
            if not directory.exists():
                directory.mkdir()
                os.chown(directory, self._owner.pw_uid, self._owner.pw_gid)
        self._count += 1
        at = time.time() if when is None else when
        name = f"{int(at)}.M{self._count:06d}P1.test,S={len(message)},W={len(message) + message.count(10)}"
        (place / "tmp" / name).write_bytes(message)
        os.chown(place / "tmp" / name, self._owner.pw_uid, self._owner.pw_gid)
        os.utime(place / "tmp" / name, (at, at))
        return (place / "tmp" / name).rename(place / "new" / name)

    def mails(self, user: str = USER, folder: str = "") -> list[Path]:
        """The files of a mailbox."""
        place = self.base / "mail" / user / folder if folder else self.base / "mail" / user
        return sorted(one for part in ("new", "cur") if (place / part).exists() for one in (place / part).iterdir())

    def log(self) -> str:
        return (self.base / "log").read_text() if (self.base / "log").exists() else ""

    def configure(self, more: str) -> None:
        """Start again with other settings; a later line of the same name counts."""
        self.stop()
        self.start(more)

    def start(self, more: str = "") -> None:
        (self.base / "dovecot.conf").write_text(CONFIG.format(
            base=self.base, run=self._run, uid=self._owner.pw_uid, gid=self._owner.pw_gid, more=more, **self._ports))
        dovecotd.start(self.base / "dovecot.conf", self._run)
        self.running = True

    def stop(self) -> None:
        if self.running:
            self.running = False
            dovecotd.stop(self._run)

    def __enter__(self) -> "Dovecot":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)
