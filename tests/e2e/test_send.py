"""Mail handed in by every way there is arrives in the Maildir as it was sent."""

import stat
from pathlib import Path

import pytest

from tests.e2e import office as offices
from tests.e2e.office import DOMAIN, HOST, Office, mail, need, without_trace

pytestmark = pytest.mark.slow


def swaks(office: Office, account: str, port: int, *arguments: str, sender: str = "x@example.org",
          check: bool = True) -> str:
    """Send one mail with swaks; the conversation."""
    need("swaks")
    message = office.root / f"{account}.eml"
    message.write_bytes(mail(f"for {account}", ["Zeile mit .", ".", "..", "letzte"], to=f"{account}@{DOMAIN}"))
    done = office.run("swaks", "--server", HOST, "--port", str(office.port(port)), "--from", sender,
                      "--to", f"{account}@{DOMAIN}", "--data", f"@{message}", "--tls-ca-path", office.ca, *arguments,
                      check=check)
    return done.stdout


def arrived_whole(office: Office, account: str) -> bytes:
    (delivered,) = office.arrived(account)
    assert without_trace(delivered) == (office.root / f"{account}.eml").read_bytes() + b"\n"    # swaks adds a line
    return delivered


def test_swaks_plain(office: Office, account: str) -> None:
    talk = swaks(office, account, 25)
    delivered = arrived_whole(office, account)
    assert b"\nReturn-Path: <x@example.org>\nReceived: from " in delivered[:300]
    (path,) = office.inbox(account)
    assert f",S={len(delivered)}," in path.name
    assert path.name.split(",")[0] in talk.replace("\n", " ") or "250 2.0.0" in talk


def test_swaks_starttls(office: Office, account: str) -> None:
    talk = swaks(office, account, 25, "-tls", "--tls-verify")
    assert "TLS started" in talk
    assert b"with ESMTPS" in arrived_whole(office, account)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_submission(office: Office, account: str, mechanism: str) -> None:
    swaks(office, account, 587, "-tls", "--auth", mechanism, "--auth-user", account, "--auth-password",
          office.passwords[account], sender=f"{account}@{DOMAIN}")
    assert b"with ESMTPSA" in arrived_whole(office, account)


def test_swaks_submissions(office: Office, account: str) -> None:
    swaks(office, account, 465, "--tls-on-connect", "--auth-user", f"{account}@{DOMAIN}", "--auth-password",
          office.passwords[account], sender=f"{account}@{DOMAIN}")
    assert b"with ESMTPSA" in arrived_whole(office, account)


def test_swaks_lmtp(office: Office, account: str) -> None:
    swaks(office, account, 24, "--protocol", "LMTP")
    assert b"with LMTP" in arrived_whole(office, account)


def test_swaks_wrong_password_and_relaying(office: Office, account: str) -> None:
    talk = swaks(office, account, 587, "-tls", "--auth-user", account, "--auth-password", "falsch", check=False)
    assert "535 5.7.8" in talk
    talk = swaks(office, account, 25, "--to", "somebody@elsewhere.example", check=False)
    assert "<** 5" in talk
    assert not office.inbox(account)


def test_msmtp(office: Office, account: str) -> None:
    need("msmtp")
    rc = office.home / f"msmtp.{account}"
    rc.write_text(f"account default\nhost {HOST}\nport {office.port(587)}\nauth on\nuser {account}\n"
                  f"password \"{office.passwords[account]}\"\nfrom {account}@{DOMAIN}\ntls on\ntls_starttls on\n"
                  f"tls_trust_file {office.ca}\n")
    rc.chmod(0o600)
    message = mail("by msmtp", to=f"{account}@{DOMAIN}", sender=f"{account}@{DOMAIN}")
    office.run("msmtp", "-C", rc, "-t", stdin=message)
    (delivered,) = office.arrived(account)
    assert b"Subject: by msmtp\n" in delivered


def test_sendmail(office: Office, account: str) -> None:
    message = f"From: cron@{DOMAIN}\nTo: {account}@{DOMAIN}\nSubject: cron\n\n.\nrest\n"
    office.run(offices.BIN / "lanmail-sendmail", "-i", "-f", f"cron@{DOMAIN}", f"{account}@{DOMAIN}",
               stdin=message, LANMAIL_ROOT=str(office.root))
    (delivered,) = office.arrived(account)
    assert delivered.endswith(b"\n\n.\nrest\n")
    assert b"\nSubject: cron\n" in delivered


def test_sendmail_t_takes_recipients_from_the_header(office: Office, account: str) -> None:
    message = f"From: cron@{DOMAIN}\nTo: {account}@{DOMAIN}\nSubject: by -t\n\nhello\n"
    office.run(offices.BIN / "lanmail-sendmail", "-t", "-i", stdin=message, LANMAIL_ROOT=str(office.root))
    (delivered,) = office.arrived(account)
    assert b"\nSubject: by -t\n" in delivered


def test_file_dropped_into_pickup(office: Office, account: str) -> None:
    message = f"To: {account}@{DOMAIN}\nFrom: backup@{DOMAIN}\nSubject: dropped\n\nhello\n"
    (office.where.pickup / f"{account} drop.eml").write_text(message)
    (delivered,) = office.arrived(account)
    assert b"\nSubject: dropped\n\nhello\n" in delivered
    assert not (office.where.pickup / f"{account} drop.eml").exists()


def test_file_dropped_with_its_envelope(office: Office, account: str) -> None:
    message = f"X-Sender: <backup@{DOMAIN}>\r\nX-Receiver: <{account}@{DOMAIN}>\r\nSubject: replay\r\n\r\nhello\r\n"
    part = office.where.pickup / f".{account}.tmp"
    part.write_bytes(message.encode())
    part.rename(office.where.pickup / f"{account}.eml")
    (delivered,) = office.arrived(account)
    assert delivered.endswith(b"Subject: replay\n\nhello\n")


def test_several_recipients_share_one_file(office: Office, account: str) -> None:
    office.account(f"{account}-b")
    swaks(office, account, 25, "--to", f"{account}@{DOMAIN},{account}-b@{DOMAIN}")
    arrived_whole(office, account)
    office.arrived(f"{account}-b")
    one, two = office.inbox(account)[0].stat(), office.inbox(f"{account}-b")[0].stat()
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)


def test_mail_of_an_account_is_private(office: Office, account: str) -> None:
    swaks(office, account, 25)
    arrived_whole(office, account)
    for path in (office.inbox(account)[0], office.where.maildirs / account, *_conf(office)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o007, path


def _conf(office: Office) -> list[Path]:
    return [path for path in office.where.accounts.iterdir() if path.suffix == ".toml"]
