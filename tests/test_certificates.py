"""The CA and server certificate that `lanmail init` makes."""

import datetime
import ipaddress
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from lanmail import certificates, paths, tls

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl(1)")
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    made = paths.of_root(tmp_path_factory.mktemp("certificates"))
    certificates.make_ca(made, "office.lan", ["mail.office.lan", "Server.Office.LAN", "bücher.lan"], ["192.168.1.5"])
    return made


@pytest.fixture
def copy(where, tmp_path):
    shutil.copytree(where.tls, tmp_path / "conf" / "tls")
    return paths.of_root(tmp_path)


def san(cert):
    return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def contents(where):
    return {path.name: path.read_bytes() for path in where.tls.iterdir()}


def test_the_server_certificate_is_good_for_every_name_and_for_loopback(where):
    names = san(certificates.load(where.tls / "server.pem"))
    assert names.get_values_for_type(x509.DNSName) == [
        "mail.office.lan",
        "server.office.lan",
        "xn--bcher-kva.lan",
        "localhost",
    ]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(ip) for ip in ("192.168.1.5", "127.0.0.1", "::1")
    ]


def test_validity_and_kind(where):
    ca, server = (certificates.load(where.tls / name) for name in ("ca.pem", "server.pem"))
    now = datetime.datetime.now(datetime.UTC)
    assert ca.not_valid_before_utc < now - DAY / 2
    assert 3650 * DAY <= ca.not_valid_after_utc - ca.not_valid_before_utc <= 3653 * DAY
    assert server.not_valid_after_utc - server.not_valid_before_utc <= 825 * DAY
    assert isinstance(server.public_key(), rsa.RSAPublicKey)
    assert server.public_key().key_size == 2048
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "office.lan" in ca.subject.rfc4514_string()


@OPENSSL
def test_openssl_agrees(where):
    options = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", "mail.office.lan"]
    command = ["openssl", "verify", *options, "-CAfile", where.tls / "ca.pem", where.tls / "server.pem"]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr


def test_keys_are_for_their_owner_only(where):
    modes = {path.name: path.stat().st_mode & 0o777 for path in where.tls.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o644, "server.key": 0o600}


def test_nothing_is_overwritten(copy):
    before = contents(copy)
    assert certificates.make_ca(copy, "other.lan") == []
    assert contents(copy) == before


def test_a_certificate_from_elsewhere_stays_and_no_ca_is_made(tmp_path, where):
    mine = paths.of_root(tmp_path)
    mine.tls.mkdir(parents=True)
    for name in ("server.pem", "server.key"):
        shutil.copy(where.tls / name, mine.tls / name)
    assert certificates.make_ca(mine, "office.lan") == []
    assert sorted(contents(mine)) == ["server.key", "server.pem"]


def test_a_lost_server_certificate_is_made_anew_by_the_same_ca(copy):
    ca = (copy.tls / "ca.pem").read_bytes()
    (copy.tls / "server.pem").unlink()
    (copy.tls / "server.key").unlink()
    made = certificates.make_ca(copy, "office.lan")
    assert [path.name for path in made] == ["server.pem", "server.key"]
    assert (copy.tls / "ca.pem").read_bytes() == ca
    certificates.load(copy.tls / "server.pem").verify_directly_issued_by(certificates.load(copy.tls / "ca.pem"))


def test_the_name_follows_from_the_domain(copy):
    (copy.tls / "server.pem").unlink()
    (copy.tls / "server.key").unlink()
    certificates.make_ca(copy, "office.lan")
    names = san(certificates.load(copy.tls / "server.pem")).get_values_for_type(x509.DNSName)
    assert names == ["mail.office.lan", "localhost"]


@pytest.mark.parametrize("gone", ["server.key", "server.pem"])
def test_half_a_pair_is_an_error_and_not_replaced(copy, gone):
    (copy.tls / gone).unlink()
    before = contents(copy)
    with pytest.raises(FileNotFoundError, match=gone):
        certificates.make_ca(copy, "office.lan")
    assert contents(copy) == before


@pytest.mark.parametrize("ip", ["localhost", "300.1.1.1", ""])
def test_what_is_no_address_is_refused(tmp_path, ip):
    with pytest.raises(ValueError):
        certificates.make_ca(paths.of_root(tmp_path), "office.lan", [], [ip])
    assert not (tmp_path / "conf").exists()


def test_renewing_waits_until_it_is_time(copy):
    before = contents(copy)
    assert not certificates.renew(copy)
    assert contents(copy) == before


def test_renewing_keeps_key_and_names(copy):
    before, old = contents(copy), certificates.load(copy.tls / "server.pem")
    assert certificates.renew(copy, days=826)
    new = certificates.load(copy.tls / "server.pem")
    assert new.serial_number != old.serial_number
    assert san(new) == san(old)
    assert new.public_key() == old.public_key()
    assert {name for name, data in contents(copy).items() if data != before[name]} == {"server.pem"}


def test_a_certificate_from_elsewhere_is_not_renewed(copy, tmp_path):
    other = paths.of_root(tmp_path / "other")
    certificates.make_ca(other, "office.lan")
    shutil.copy(other.tls / "ca.pem", copy.tls / "ca.pem")
    shutil.copy(other.tls / "ca.key", copy.tls / "ca.key")
    assert not certificates.renew(copy, days=826)
    (copy.tls / "ca.key").unlink()
    assert not certificates.renew(copy, days=826)


@OPENSSL
def test_fingerprint_is_the_one_that_openssl_prints(where):
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", where.tls / "server.pem"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip().endswith(f"={tls.fingerprint(where.tls / 'server.pem')}")
