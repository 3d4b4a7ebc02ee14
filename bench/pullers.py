"""Programs that fetch mail from a POP3 or IMAP server into a Maildir: how each is configured and started.

    for tool in TOOLS: tool.command(job) -> the command; all mail stays on the server, and lands in job.maildir

Each gets an empty directory for each run, so nothing is remembered from the run before.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What is to be fetched, and where to."""

    base: Path  # an empty directory
    protocol: str
    port: int
    user: str
    password: str

    @property
    def maildir(self) -> Path:
        return self.base / "md"

    def write(self, name: str, text: str) -> Path:
        """A file that only its owner reads."""
        path = self.base / name
        path.write_text(text)
        path.chmod(0o600)
        return path


@dataclass(frozen=True)
class Tool:
    """One program, and by how much lanmail must be faster at each protocol (`bound`) and is to be (`goal`)."""

    name: str
    program: str
    command: Callable[[Job], list[str]]
    bounds: dict[str, tuple[float, float]]

    @property
    def there(self) -> bool:
        return shutil.which(self.program) is not None


def _mpop(job: Job) -> list[str]:
    config = job.write("mpoprc", f"account x\nhost 127.0.0.1\nport {job.port}\nuser {job.user}\n"
                                 f"password {job.password}\nauth user\ntls off\nkeep on\npipelining auto\n"
                                 f"uidls_file {job.base}/uidls\n"
                                 f"delivery maildir {job.maildir}\n")
    return ["mpop", "-q", "-C", str(config), "x"]


def _mbsync(job: Job) -> list[str]:
    config = job.write("mbsyncrc", f"IMAPAccount a\nHost 127.0.0.1\nPort {job.port}\nUser {job.user}\n"
                                   f"Pass {job.password}\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore r\nAccount a\n\n"
                                   f"MaildirStore l\nPath {job.base}/\nInbox {job.maildir}\n\nChannel c\nFar :r:\n"
                                   "Near :l:\nPatterns INBOX\nSync Pull New\nCreate Near\n")
    return ["env", f"HOME={job.base}", "mbsync", "-q", "-c", str(config), "c"]


def _getmail(job: Job) -> list[str]:
    kind = "SimplePOP3Retriever" if job.protocol == "pop3" else "SimpleIMAPRetriever"
    job.write("getmailrc", f"[retriever]\ntype = {kind}\nserver = 127.0.0.1\nport = {job.port}\nusername = {job.user}\n"
                           f"password = {job.password}\n[destination]\ntype = Maildir\npath = {job.maildir}/\n"
                           "[options]\ndelete = false\nread_all = true\nverbose = 0\n")
    for path in (job.base, *job.base.rglob("*")):
        shutil.chown(path, "mail", "mail")  # it does not deliver as root
    return ["setpriv", "--reuid=mail", "--regid=mail", "--clear-groups", "env", f"HOME={job.base}",
            "getmail", f"--getmaildir={job.base}", f"--rcfile={job.base}/getmailrc"]


def _fetchmail(job: Job) -> list[str]:
    rules = job.write("mailfilter", f"MAILDIR={job.maildir}\nDEFAULT={job.maildir}/\n")
    config = job.write("fetchmailrc", "set no bouncemail\nset invisible\n"
                       f'poll 127.0.0.1 protocol {job.protocol} port {job.port} user "{job.user}" password '
                       f'"{job.password}" fetchall keep sslproto "" mda "/usr/bin/maildrop {rules}"\n')
    return ["env", f"HOME={job.base}", f"FETCHMAILHOME={job.base}", "fetchmail", "-f", str(config), "--silent",
            "--nosyslog", "--nodetach"]


TOOLS = (
    Tool("mpop", "mpop", _mpop, {"pop3": (1.0, 1.0)}),
    Tool("mbsync", "mbsync", _mbsync, {"imap": (1.0, 1.5)}),
    Tool("getmail6", "getmail", _getmail, {"pop3": (5.0, 5.0), "imap": (5.0, 5.0)}),
    Tool("fetchmail", "maildrop", _fetchmail, {"pop3": (5.0, 5.0), "imap": (5.0, 5.0)}),
)
