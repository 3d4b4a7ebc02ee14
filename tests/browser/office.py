"""An office with something on every page, and hostile words wherever words come from mail or people."""

import json
import time
from pathlib import Path

from lanmail import address, envelope, paths, spool
from lanmail.administration import audit, backlog
from lanmail.logins import grants
from lanmail.oauth import store
from lanmail.secret import Secret
from lanmail.sources import status
from tests import archiveroot, browsing

EVIL = '"><svg onload=alert(1)><img src=x onerror=alert(2)>+ADw-script+AD4-'
_TOML = json.dumps(EVIL)
ADDRESS = "meier@firma.example"
_SOURCES = f"""
[sources.gmx]
protocol = "imap"
host = "imap.gmx.example"
user = {json.dumps(ADDRESS)}
password = "file:secrets/gmx"
[sources.firma]
protocol = "imap"
host = "127.0.0.1"
auth = "oauth2"
app = "own"
user = {json.dumps(ADDRESS)}
[autoresponder]
subject = {_TOML}
text = {_TOML}
"""
_APP = f"""
client_id = "id"
title = {_TOML}
token_url = "http://127.0.0.1:9/token"
authorize_url = "http://127.0.0.1:9/auth"
"""


def lay_out(root: Path, *, accounts: int = 3, httpd: str = "") -> paths.Paths:
    """chef is administrator; meier has everything that one can have; and some more."""
    more = {f"user{number:03}": f"full_name = {_TOML}\n" for number in range(accounts)}
    where = browsing.lay_out(root, httpd=httpd, **more,
                             meier=f"full_name = {_TOML}\narchive = true\n{_SOURCES}",
                             chef=f"postmaster = true\nadministrator = true\narchive = true\n{_SOURCES}")
    (where.conf / "groups.toml").write_text('[verkauf]\nmembers = ["meier", "chef"]\n')
    (where.conf / "aliases.toml").write_text('info = ["meier", "x@far.example"]\n')
    (where.conf / "secrets").mkdir(mode=0o700)
    (where.conf / "secrets" / "gmx").write_text("word of the mailbox\n")
    (where.conf / "secrets" / "gmx").chmod(0o600)
    (where.conf / "apps").mkdir()
    (where.conf / "apps" / "own.toml").write_text(_APP)
    for account in ("chef", "meier"):
        wait(where, account)
        let_in(where, account)
        fail(where, account)
    hold(where)
    consent(where)
    archived(root)
    audit.note(where, by=EVIL, client="192.0.2.7", what="account.modify", about=EVIL, keys=[EVIL])
    return where


def wait(where: paths.Paths, account: str, to: str = "x@far.example") -> str:
    """A mail of an account that waits to go out; its id."""
    head = envelope.Envelope(address.parse(f"{account}@office.lan"), [envelope.Recipient(address.parse(to))],
                             origin=envelope.Origin("submission", (("account", account),)))
    text = f"Return-Path: <{account}@office.lan>\nFrom: {EVIL}\nSubject: {EVIL}\n\n{EVIL}\n"
    return spool.parse_name(spool.outbound(where).put(head, text.encode())).id


def hold(where: paths.Paths) -> None:
    """A mail that somebody must look at."""
    held = wait(where, "meier", "held@far.example")
    backlog.hold(where, backlog.find(where, held), EVIL)


def let_in(where: paths.Paths, account: str) -> None:
    """A mail program that was let in."""
    register = grants.Register(where.state)
    scopes = [*grants.SCOPES.values(), grants.OFFLINE]
    client, _ = register.add_client(account, EVIL, scopes, redirect_uris=["http://localhost/"])
    register.grant(client.id, account, scopes, time.time())


def fail(where: paths.Paths, account: str) -> None:
    """A server that says no with hostile words."""
    now = time.time()
    status.save(where, account, "gmx", status.Status(tried=now - 60, succeeded=now - 7200, failing_since=now - 3600,
                                                     next=now + 600, failures=3, error=f"535 {EVIL}"))


def consent(where: paths.Paths) -> None:
    """A log-in at a provider."""
    kept = store.Store(where)
    kept.prepare()
    now = time.time()
    kept.save(store.Record("own", ADDRESS, account="meier", generation=1, granted=now - 7200, refreshed=now - 7200,
                           refresh=Secret("refresh word"), state=store.NEEDS_CONSENT, why=EVIL))


def archived(root: Path) -> None:
    """Mails in the archive, with attachments and names that no file should have."""
    kept = archiveroot.Archive(root)
    for number, account in enumerate(("chef", "meier", "chef")):
        kept.add(_letter(number), to=(f"{account}@office.lan",), receivers=(account,))
    kept.fill()


def _letter(number: int) -> str:
    name = EVIL.replace('"', "")
    more = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n"
    body = (f"--b\nContent-Type: text/html; charset=utf-8\n\n<p>{EVIL}</p><script>alert(3)</script>\n"
            f'--b\nContent-Type: application/pdf; name="{name}"\n'
            f'Content-Disposition: attachment; filename="{name}"\n\nx\n--b--\n')
    author = EVIL.replace("<", "").replace(">", "")
    return archiveroot.mail(f"{number} {EVIL}", body, author=f"{author} <a@far.example>", more=more)
