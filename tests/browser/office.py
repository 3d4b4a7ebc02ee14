"""An office with something on every page, and hostile words wherever words come from mail or people."""

import time
from pathlib import Path

from lanmail import address, config, envelope, paths, spool
from lanmail.oauth import store
from lanmail.sources import status
from tests import archiveroot, browsing

EVIL = '"><svg onload=alert(1)>'
TOML_EVIL = EVIL.replace('"', '\\"')


def lay_out(root: Path, *, accounts: int = 3) -> paths.Paths:
    """chef is administrator; meier, and some more."""
    more = {f"user{number:03}": f'full_name = "Person {number} {TOML_EVIL}"\n' for number in range(accounts)}
    where = browsing.lay_out(root, **more)
    for account in ("chef", "meier"):
        wait(where, account)
        mailboxes(where, account)
    archived = archiveroot.Archive(root)
    archived.add(archiveroot.mail(EVIL, EVIL, author=f"{EVIL} <x@far.example>"), receivers=("chef", "meier"))
    archived.flush()
    return where


def mailboxes(where: paths.Paths, account: str) -> None:
    """External mailboxes of an account: one that is refused, one that needs a log-in at a provider; and its app."""
    apps = where.conf / "apps"
    apps.mkdir(exist_ok=True)
    (apps / "azure.toml").write_text('preset = "microsoft-business"\nclient_id = "4711"\n')
    config.edit(where.accounts / f"{account}.toml", {("sources", name, key): value for name, keys in {
        "gmx": {"interface": "standard", "host": "imap.gmx.net", "user": EVIL, "password": "file:secrets/none"},
        "azure": {"interface": "standard", "host": "outlook.office365.com", "auth": "oauth2", "app": "azure",
                  "user": f"{account}@firma.example"}}.items() for key, value in keys.items()})
    now = time.time()
    status.save(where, account, "gmx", status.Status(tried=now, failures=1, refused=1, error=f"refused: {EVIL}"))
    kept = store.Store(where)
    kept.prepare()
    kept.save(store.Record("azure", f"{account}@firma.example", account=account, state=store.NEEDS_CONSENT, why=EVIL))


def wait(where: paths.Paths, account: str, to: str = "x@far.example") -> str:
    """A mail of an account that waits to go out; its id."""
    head = envelope.Envelope(address.parse(f"{account}@office.lan"), [envelope.Recipient(address.parse(to))],
                             origin=envelope.Origin("submission", (("account", account),)))
    text = f"Return-Path: <{account}@office.lan>\nFrom: {EVIL}\nSubject: {EVIL}\n\n{EVIL}\n"
    return spool.parse_name(spool.outbound(where).put(head, text.encode())).id
