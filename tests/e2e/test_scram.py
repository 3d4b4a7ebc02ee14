"""Log-in by SCRAM-SHA-256 with clients that speak it: Cyrus SASL in mutt and mbsync, GNU SASL in msmtp, mpop."""

import imaplib
from collections.abc import Callable

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need
from tests.e2e.test_read import on_a_terminal
from tests.e2e.test_sync import CONFIG

pytestmark = pytest.mark.slow


def logins(office: Office, service: str) -> int:
    return office.log().count(f"login account=anna service={service} client=127.0.0.1 method=SCRAM-SHA-256")


def test_scram(new_office: Callable[..., Office]) -> None:
    need("msmtp", "mpop", "mbsync", "mutt")
    office = new_office(**{"auth.scram": True})
    password = office.account("anna")
    assert "SCRAM-SHA-256$" in (office.where.accounts / "anna.toml").read_text()
    assert "SCRAM" not in office.lanmail("account", "show", "anna")
    office.start()
    by_msmtp_and_mpop(office, password)
    by_mbsync(office, password)
    by_mutt(office, password)
    old, office.passwords["anna"] = password, "neues Wort 7"
    office.lanmail("account", "passwd", "anna", "--password-stdin", stdin="neues Wort 7\n")
    by_mbsync(office, "neues Wort 7")
    rc = office.home / "msmtp"
    assert office.run("msmtp", "-C", rc, f"anna@{DOMAIN}", stdin=b"a: b\n\n", check=False).returncode
    assert "wrong password" in office.log()
    assert not [word for word in (old, "neues Wort 7") if word in office.log()]


def by_msmtp_and_mpop(office: Office, password: str) -> None:
    rc = office.home / "msmtp"
    rc.write_text(f"account default\nhost {HOST}\nport {office.port(587)}\nauth scram-sha-256\nuser anna\n"
                  f'password "{password}"\nfrom anna@{DOMAIN}\ntls on\ntls_starttls on\ntls_trust_file {office.ca}\n')
    rc.chmod(0o600)
    office.run("msmtp", "-C", rc, "-t", stdin=mail("by scram", to=f"anna@{DOMAIN}", sender=f"anna@{DOMAIN}"))
    office.arrived("anna")
    assert logins(office, "smtp") == 1
    box = office.root / "mpop"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    rc = office.home / "mpop"
    rc.write_text(f"account default\nhost {HOST}\nport {office.port(995)}\nauth scram-sha-256\nuser anna\n"
                  f'password "{password}"\ntls on\ntls_starttls off\ntls_trust_file {office.ca}\n'
                  f"delivery maildir {box}\nkeep on\nuidls_file {box}/uidls\n")
    rc.chmod(0o600)
    office.run("mpop", "-C", rc)
    assert len(list((box / "new").iterdir())) == 1
    assert logins(office, "pop3") == 1


def by_mbsync(office: Office, password: str) -> None:
    before = logins(office, "imap")
    near = office.root / f"near{before}"
    for name in ("INBOX/tmp", "INBOX/new", "INBOX/cur", ".state"):
        (near / name).mkdir(parents=True)
    version = office.run("mbsync", "--version").stdout
    old = "isync 1.3" in version or "isync 1.2" in version
    rc = office.home / "mbsyncrc"
    rc.write_text(CONFIG.format(
        port=office.port(993), user="anna", password=password, ca=office.ca, box=near,
        tls_key="TLSType" if "1.5" in version or "1.6" in version else "SSLType",
        far="Master" if old else "Far", near="Slave" if old else "Near",
    ).replace("User anna\n", "User anna\nAuthMechs SCRAM-SHA-256\n"))
    office.run("mbsync", "-c", rc, "-a")
    assert logins(office, "imap") == before + 1


def by_mutt(office: Office, password: str) -> None:
    before = logins(office, "imap")
    rc = office.home / "muttrc"
    rc.write_text(f'set imap_user="anna" imap_pass="{password}" ssl_ca_certificates_file="{office.ca}"\n'
                  f"set folder='{office.home}' mbox_type=Maildir\n"
                  "set imap_authenticators='scram-sha-256' header_cache='' delete=no quit=yes move=no\n"
                  f"set wait_key=no sleep_time=0 certificate_file='{office.home}/certs' ssl_force_tls=yes\n"
                  'push "<quit>"\n')
    screen = on_a_terminal(office, "mutt", "-n", "-F", str(rc), "-f", f"imaps://{HOST}:{office.port(993)}/INBOX")
    assert logins(office, "imap") > before, screen


def test_scram_is_offered_only_when_somebody_can_use_it(new_office: Callable[..., Office]) -> None:
    office = new_office()
    office.account("anna")
    office.start()
    with imaplib.IMAP4(HOST, office.port(143), timeout=60) as imap:
        assert not [name for name in imap.capabilities if "SCRAM" in name]
        with pytest.raises(imaplib.IMAP4.error, match="CANNOT"):
            imap.authenticate("SCRAM-SHA-256", lambda _: b"n,,n=anna,r=12345678")
