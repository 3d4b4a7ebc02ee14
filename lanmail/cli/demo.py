"""`lanmail demo`: what `make run` does. A server in a directory, an account to try it with, and what to type next."""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterator

import click

from lanmail import accounts, atomic, config, passwords, paths, settings
from lanmail.administration import enrolment
from lanmail.cli import account, command, init, up

DOMAIN = "office.lan"
OFFSET = 2500    # 25 becomes 2525: all ports above 1024, where an ordinary user may listen
NAME = "demo"


@click.command()
@command.rooted
def demo(where: paths.Paths) -> None:
    """Try lanmail: init if needed, an account `demo`, then up, and a table of what to type.

    All of it stays in the directory. The password is kept in state/demo-password, for the table of the next start.
    """
    root = str(where.root)
    if not where.config_file.exists():
        run(init.init, ["--root", root, "--domain", DOMAIN, "--port-offset", str(OFFSET)])
        config.edit(where.config_file, {"httpd.enabled": True})
        click.echo(f"made an office in {root}: {DOMAIN}, ports plus {OFFSET}")
    loaded = config.load(where)
    password = login(where, loaded)
    sys.exit(up.run(where, lambda: click.echo(table(where, loaded, password))))


def run(one: click.Command, arguments: list[str], stdin: str = "") -> None:
    """One of our own commands, as typed; its errors end this one, what it says of itself is not for here."""
    with _typed(stdin), contextlib.redirect_stdout(io.StringIO()):
        one.main(arguments, standalone_mode=False)


@contextlib.contextmanager
def _typed(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        yield
    finally:
        sys.stdin = before


def login(where: paths.Paths, loaded: settings.Settings) -> str | None:
    """The password of the demo account, which is made when missing; None when somebody changed it since."""
    kept = where.state / "demo-password"
    known = atomic.read(kept).decode().strip() if kept.exists() else None
    found = accounts.Directory(where, lambda: loaded).account(NAME)
    if found is not None:
        return known if known and passwords.verify(found.password, known) else None
    known = known or passwords.generate()
    atomic.write(kept, known + "\n", mode=0o600)
    run(account.add, [NAME, "--root", str(where.root), "--full-name", "Demo", "--password-stdin"], known + "\n")
    config.edit(enrolment.file_of(where, NAME), {"administrator": True})
    return known


def table(where: paths.Paths, loaded: settings.Settings, password: str | None) -> str:
    """Host, ports, account, and lines to paste."""
    host = loaded.server.listen[0] if loaded.server.listen else "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)    # noqa: S104 — recognised, not bound
    at = f"[{host}]" if ":" in host else host
    port = {name: loaded.server.port(number) for name, number in (
        ("smtp", loaded.smtpd.mx_port), ("submission", loaded.smtpd.submission_port),
        ("submissions", loaded.smtpd.submissions_port), ("pop3", loaded.pop3d.port), ("pop3s", loaded.pop3d.tls_port),
        ("imap", loaded.imapd.port), ("imaps", loaded.imapd.tls_port))}
    web = f"http://{at}:{loaded.server.port(loaded.httpd.port)}/" if loaded.httpd.enabled else \
        "(off; bin/lanmail config set httpd.enabled true --root .)"
    mail = f"{NAME}@{loaded.server.domain}"
    typed = shlex.quote(password) if password else "PASSWORD"
    ca = os.path.relpath(where.tls / "ca.pem")
    swaks = f"swaks --server {at}:{port['submission']} -tls --auth-user {NAME} --auth-password {typed}"
    mutt = f"mutt -e 'set ssl_ca_certificates_file={ca} imap_pass={typed}'"
    return f"""
  host       {host}
  account    {NAME}  ({mail})
  password   {password or "(changed since; a new one: bin/lanmail account passwd demo --root .)"}
  SMTP       {port["smtp"]} from anybody; clients {port["submission"]} with STARTTLS, {port["submissions"]} with TLS
  IMAP       {port["imap"]} with STARTTLS, {port["imaps"]} with TLS
  POP3       {port["pop3"]} with STLS, {port["pop3s"]} with TLS
  pages      {web}
  CA         {ca}  (for clients that check certificates)
  Maildir    {os.path.relpath(where.maildirs / NAME)}
  log        {os.path.relpath(where.log)}

  send       {swaks} --from {mail} --to {mail}
  drop       printf 'To: {mail}\\nSubject: dropped\\n\\nhello\\n' > {os.path.relpath(where.pickup)}/hello.eml
  read       curl --cacert {ca} --user {NAME}:{typed} 'imaps://{at}:{port["imaps"]}/INBOX;MAILINDEX=1'
  read       {mutt} -f imaps://{NAME}@{at}:{port["imaps"]}/INBOX

Ctrl-C stops it; mail and settings stay."""
