"""Dovecot 2.3 of our own on given Maildirs, for tests that hand them over and back."""

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests import dovecotd

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %n
auth_failure_delay = 0
mail_location = maildir:{maildirs}/%n
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {uid}
mail_gid = {gid}
namespace inbox {{
  inbox = yes
  separator = .
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {base}/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={maildirs}/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


class Dovecot:
    """One Dovecot; it never works as root, so the Maildirs are given to its user before it starts."""

    user = "mail"

    def __init__(self, base: Path, maildirs: Path, passwords: Mapping[str, str], imap: int, pop3: int) -> None:
        self.base, self.maildirs = base, maildirs
        self.imap, self.pop3 = imap, pop3
        entry = pwd.getpwnam(self.user)
        base.mkdir(parents=True, exist_ok=True)
        (base / "passwd").write_text("".join(f"{name}:{password}\n" for name, password in passwords.items()))
        (base / "passwd").chmod(0o644)
        self.config = base / "dovecot.conf"
        self.config.write_text(CONFIG.format(
            base=base, maildirs=maildirs, uid=entry.pw_uid, gid=entry.pw_gid, imap=imap, pop3=pop3))

    def start(self) -> None:
        subprocess.run(["chown", "-R", f"{self.user}:", self.maildirs], check=True)
        dovecotd.start(self.config, self.base / "run")

    def stop(self) -> None:
        dovecotd.stop(self.base / "run")
        subprocess.run(["chown", "-R", str(os.geteuid()), self.maildirs], check=True)
