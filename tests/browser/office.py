"""An office with something on every page, and hostile words wherever words come from mail or people."""

from pathlib import Path

from lanmail import address, envelope, paths, spool
from tests import archiveroot, browsing

EVIL = '"><svg onload=alert(1)>'
TOML_EVIL = EVIL.replace('"', '\\"')


def lay_out(root: Path, *, accounts: int = 3) -> paths.Paths:
    """chef is administrator; meier, and some more."""
    more = {f"user{number:03}": f'full_name = "Person {number} {TOML_EVIL}"\n' for number in range(accounts)}
    where = browsing.lay_out(root, **more)
    for account in ("chef", "meier"):
        wait(where, account)
    archived = archiveroot.Archive(root)
    archived.add(archiveroot.mail(EVIL, EVIL, author=f"{EVIL} <x@far.example>"), receivers=("chef", "meier"))
    archived.flush()
    return where


def wait(where: paths.Paths, account: str, to: str = "x@far.example") -> str:
    """A mail of an account that waits to go out; its id."""
    head = envelope.Envelope(address.parse(f"{account}@office.lan"), [envelope.Recipient(address.parse(to))],
                             origin=envelope.Origin("submission", (("account", account),)))
    text = f"Return-Path: <{account}@office.lan>\nFrom: {EVIL}\nSubject: {EVIL}\n\n{EVIL}\n"
    return spool.parse_name(spool.outbound(where).put(head, text.encode())).id
