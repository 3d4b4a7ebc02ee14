"""People at work in an Office: each sends with msmtp, mutt or swaks, and reads by IMAP."""

import imaplib
from pathlib import Path

from lanmail import config, passwords, schema, settings
from tests.e2e.office import DOMAIN, HOST, Office, need, until


class Person:
    """An account of its own, and the programs set up for it."""

    def __init__(self, office: Office, name: str) -> None:
        self.office, self.name, self.address = office, name, f"{name}@{DOMAIN}"
        self.password = office.passwords[name] = f"geheim {name} 9"
        config.create(office.where.accounts / f"{name}.toml",
                      schema.sample(settings.Account, name, {"password": passwords.hash(self.password)}))

    def set(self, *settings: str) -> str:
        """`lanmail account set`; what it printed."""
        return self.office.lanmail("account", "set", self.name, *settings)

    def swaks(self, *to: str, subject: str = "hello", body: str = "body", login: bool = True, check: bool = True,
              more: tuple[str, ...] = ()) -> str:
        """Send by submission, or as a stranger to port 25; the conversation."""
        need("swaks")
        port = 587 if login else 25
        how = ["-tls", "--auth-user", self.name, "--auth-password", self.password] if login else []
        done = self.office.run("swaks", "--server", HOST, "--port", str(self.office.port(port)), "--from", self.address
                               if login else "x@far.example", "--to", ",".join(to), "--header", f"Subject: {subject}",
                               "--body", body, "--tls-ca-path", self.office.ca, *how, *more, check=check)
        return done.stdout

    def msmtp(self, message: bytes) -> None:
        """Hand a whole message in; recipients are taken from it."""
        need("msmtp")
        rc = self._rc("msmtp", f"account default\nhost {HOST}\nport {self.office.port(587)}\nauth on\n"
                      f"user {self.name}\npassword \"{self.password}\"\nfrom {self.address}\ntls on\ntls_starttls on\n"
                      f"tls_trust_file {self.office.ca}\nundisclosed_recipients off\nremove_bcc_headers off\n")
        self.office.run("msmtp", "-C", rc, "-t", stdin=message)

    def mutt(self, to: str, subject: str, body: str) -> None:
        """Write a mail in mutt, without a terminal."""
        need("mutt")
        rc = self._rc("mutt", f'set smtp_url="smtp://{self.name}@{HOST}:{self.office.port(587)}/"\n'
                      f'set smtp_pass="{self.password}" from="{self.address}" use_from=yes ssl_force_tls=yes\n'
                      f"set ssl_ca_certificates_file='{self.office.ca}' certificate_file='{self.office.home}/certs'\n"
                      "set copy=no record='' charset=utf-8 send_charset='us-ascii:iso-8859-1:utf-8'\n")
        self.office.run("mutt", "-n", "-F", rc, "-s", subject, "--", to, stdin=body, EMAIL=self.address)

    def _rc(self, program: str, text: str) -> Path:
        path = self.office.home / f"{program}rc.{self.name}"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def imap(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, self.office.port(143), timeout=60)
        client.login(self.name, self.password)
        return client

    def read(self, folder: str = "INBOX") -> list[tuple[bytes, bytes]]:
        """(flags, message with LF line ends) of all mails in a folder, oldest first."""
        with self.imap() as client:
            status, count = client.select(folder, readonly=True)
            if status != "OK" or count == [b"0"]:
                return []
            _, found = client.fetch("1:*", "(FLAGS BODY.PEEK[])")
            return [(one[0], one[1].replace(b"\r\n", b"\n")) for one in found if isinstance(one, tuple)]

    def gets(self, *subjects: str) -> list[bytes]:
        """The mails in INBOX, once there are those with these subjects, and no others."""
        def all_here() -> list[bytes]:
            mails = [text for _, text in self.read()]
            return mails if len(mails) >= len(subjects) else []
        mails = until(all_here, what=f"{subjects} for {self.name}") if subjects else [text for _, text in self.read()]
        assert sorted(map(subject_of, mails)) == sorted(subjects)
        return sorted(mails, key=lambda text: subjects.index(subject_of(text)))

    def empty(self) -> None:
        """Throw everything in INBOX away."""
        with self.imap() as client:
            if client.select("INBOX")[1] == [b"0"]:
                return
            client.store("1:*", "+FLAGS", "\\Deleted")
            client.expunge()


def subject_of(text: bytes) -> str:
    line = next(line for line in text.split(b"\n") if line.lower().startswith(b"subject:"))
    return line.partition(b":")[2].strip().decode()
