"""A mail provider with OAuth2: Dovecot (IMAP, POP3, submission) that asks oidc-provider about each token."""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from tests import dovecotd, ports

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = imap pop3 submission
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_username_format = %Lu
auth_failure_delay = 0
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
first_valid_gid = 1
mail_uid = mail
mail_gid = mail
submission_relay_host = 127.0.0.1
submission_relay_port = {sink}
submission_relay_trusted = yes
namespace inbox {{
  inbox = yes
  separator = .
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={base}/mail/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
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
service submission-login {{
  inet_listener submission {{
    port = {smtp}
  }}
}}
"""
INTROSPECTION = """
introspection_mode = post
introspection_url = http://dovecot:introspect@localhost:{port}/token/introspection
username_attribute = sub
active_attribute = active
active_value = true
force_introspection = yes
"""


class Provider:
    """One running Dovecot; `oidc` is the port of the authorization server, `sink` where submitted mail goes."""

    def __init__(self, oidc: int, sink: int, mechanisms: str = "xoauth2 oauthbearer") -> None:
        if os.geteuid() or not os.path.exists("/usr/lib/dovecot/submission"):
            pytest.skip("needs root, and Dovecot's submission server: apt install dovecot-submissiond")
        self.imap, self.pop3, self.smtp = ports.free(), ports.free(), ports.free()
        # a place of its own: names of sockets must be short, and Dovecot's user gets into no directory of pytest
        self.base = base = Path(tempfile.mkdtemp(prefix="dovecot"))
        base.chmod(0o755)
        self._owner = pwd.getpwnam("mail")
        self._own(base / "mail")
        (base / "oauth2.conf").write_text(INTROSPECTION.format(port=oidc))
        (base / "dovecot.conf").write_text(CONFIG.format(
            base=base, sink=sink, mechanisms=mechanisms, imap=self.imap, pop3=self.pop3, smtp=self.smtp))
        dovecotd.start(base / "dovecot.conf", base / "run")

    def _own(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        os.chown(directory, self._owner.pw_uid, self._owner.pw_gid)

    def put(self, address: str, name: str, text: str) -> None:
        """A mail that has arrived for somebody."""
        box = self.base / "mail" / address
        for directory in (box, box / "tmp", box / "cur", box / "new"):
            self._own(directory)
        (box / "tmp" / name).write_text(text)
        os.chown(box / "tmp" / name, self._owner.pw_uid, self._owner.pw_gid)
        (box / "tmp" / name).rename(box / "new" / name)

    @property
    def servers(self) -> list[str]:
        """As settings of an app."""
        return [f"servers.{name}=localhost:{port}" for name, port in (
            ("imap", self.imap), ("pop3", self.pop3), ("smtp", self.smtp))]

    def stop(self) -> None:
        dovecotd.stop(self.base / "run")
        shutil.rmtree(self.base)
