"""Dovecot that takes access tokens only, which it asks a provider about: submission, IMAP and POP3, XOAUTH2 and
OAUTHBEARER."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

from tests import dovecotd, ports
from tests.oidc import Oidc

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
auth_debug = yes
protocols = submission imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/server.pem
ssl_key = <{base}/server.pem
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_format = %Lu
mail_location = maildir:{base}/mail/%n
first_valid_uid = 1
first_valid_gid = 1
submission_relay_host = 127.0.0.1
submission_relay_port = {sink}
submission_relay_trusted = yes
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%n
}}
service submission-login {{
  inet_listener submission {{
    port = {submission}
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
"""
OAUTH2 = """
introspection_mode = post
introspection_url = http://dovecot:introspect@127.0.0.1:{port}/token/introspection
username_attribute = sub
active_attribute = active
active_value = true
force_introspection = yes
scope = mail
"""


def asking(oidc: Oidc) -> str:
    """How Dovecot asks our oidc-provider."""
    return OAUTH2.format(port=oidc.port)


class MailServer:
    """One running Dovecot; `mail` is where its Maildirs are."""

    def __init__(self, introspection: str, sink: int, mechanisms: str = "xoauth2 oauthbearer", *,
                 files: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """`introspection` is its oauth2.conf; `{base}` in it is the directory that it is in, and `files` with it."""
        if os.geteuid() or not os.path.exists("/usr/lib/dovecot/submission"):
            pytest.skip("needs root, and Dovecot's submission server: apt install dovecot-submissiond")
        # a place of its own: names of sockets must be short, and Dovecot's user gets into no directory of pytest
        base = self.base = Path(tempfile.mkdtemp(prefix="dovecot"))
        base.chmod(0o755)
        self.mail = base / "mail"
        self.submission, self.imap, self.pop3 = ports.free(), ports.free(), ports.free()
        ca, self._entry = trustme.CA(), pwd.getpwnam("mail")
        ca.cert_pem.write_to_path(base / "ca.pem")
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(base / "server.pem")
        self.mail.mkdir()
        os.chown(self.mail, self._entry.pw_uid, self._entry.pw_gid)
        (base / "oauth2.conf").write_text(introspection.replace("{base}", str(base)))
        for name, data in files.items():
            (base / name).write_bytes(data)
        (base / "dovecot.conf").write_text(CONFIG.format(
            base=base, sink=sink, mechanisms=mechanisms, submission=self.submission, imap=self.imap,
            pop3=self.pop3, uid=self._entry.pw_uid, gid=self._entry.pw_gid))
        dovecotd.start(base / "dovecot.conf", base / "run")

    def put(self, name: str, *texts: bytes) -> None:
        """Mails in somebody's INBOX."""
        for place in ("tmp", "cur", "new"):
            (self.mail / name / place).mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts):
            (self.mail / name / "new" / f"{1700000000 + number}.M{number}P1.host").write_bytes(text)
        for path in (self.mail / name, *(self.mail / name).rglob("*")):
            os.chown(path, self._entry.pw_uid, self._entry.pw_gid)

    def stop(self) -> None:
        """End it."""
        dovecotd.stop(self.base / "run")
        shutil.rmtree(self.base)
