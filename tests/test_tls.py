"""Contexts for listeners: versions, and following their files. Handshakes go through memory, not sockets."""

import contextlib
import os
import shutil
import ssl
import warnings

import pytest

from lanmail import certificates, log, paths, tls
from lanmail.settings import Server, Settings, Tls


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    where = paths.of_root(tmp_path_factory.mktemp("tls"))
    certificates.make_ca(where, "office.lan", ["mail.office.lan"])
    return where


@pytest.fixture
def where(made, tmp_path):
    shutil.copytree(made.tls, tmp_path / "conf" / "tls")
    return paths.of_root(tmp_path)


def settings(min_version="TLSv1.2"):
    return Settings(server=Server(domain="office.lan"), tls=Tls(min_version=min_version))


def client(where, version=None, verify=True):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(where.tls / "ca.pem")
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def handshake(server, context, name="mail.office.lan"):
    """(version, serial number of the certificate seen); raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(6):
        for side in (theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return theirs.version(), theirs.getpeercert()["serialNumber"]


def replace(where, source):
    for name in ("server.key", "server.pem"):
        temporary = where.tls / f"{name}.new"
        shutil.copy(source.tls / name, temporary)
        os.replace(temporary, where.tls / name)


def test_a_client_that_trusts_the_ca_gets_in(where):
    assert handshake(tls.server_context(settings(), where), client(where))[0] == "TLSv1.3"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_loopback_names_are_good(where, name):
    assert handshake(tls.server_context(settings(), where), client(where), name)[0]


def test_another_name_is_not(where):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls.server_context(settings(), where), client(where), "mail.elsewhere.lan")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_only_where_they_are_asked_for(where, version):
    with pytest.raises(ssl.SSLError):
        handshake(tls.server_context(settings(), where), client(where, version))
    lan = tls.server_context(settings(), where, min_version="TLSv1")
    assert handshake(lan, client(where, version))[0] in ("TLSv1", "TLSv1.1")


def test_tls_1_2_is_enough_unless_more_is_asked_for(where):
    old = client(where, ssl.TLSVersion.TLSv1_2)
    assert handshake(tls.server_context(settings(), where), old)[0] == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        handshake(tls.server_context(settings("TLSv1.3"), where), old)


def test_contexts_are_shared_by_files_and_version(where):
    first = tls.server_context(settings(), where)
    assert tls.server_context(settings(), where) is first
    assert tls.server_context(settings(), where, min_version="TLSv1") is not first


def test_a_new_certificate_is_used_without_a_restart(where, tmp_path):
    context = tls.server_context(settings(), where)
    old = handshake(context, client(where))[1]
    assert certificates.renew(where, days=826)
    new = handshake(context, client(where))[1]
    assert new != old
    assert handshake(context, client(where))[1] == new
    elsewhere = paths.of_root(tmp_path / "elsewhere")
    certificates.make_ca(elsewhere, "office.lan", ["mail.office.lan"])
    replace(where, elsewhere)
    assert handshake(context, client(elsewhere))[1] not in (old, new)


@pytest.mark.parametrize("damage", ["empty", "other key", "gone"])
def test_a_broken_pair_keeps_the_last_good_one_and_is_said_once(where, monkeypatch, damage, tmp_path):
    said = []
    monkeypatch.setattr(log, "certificate_unusable", lambda **fields: said.append(fields))
    context = tls.server_context(settings(), where)
    before = handshake(context, client(where))[1]
    good = (where.tls / "server.key").read_bytes()
    if damage == "empty":
        (where.tls / "server.key").write_bytes(b"")
    elif damage == "other key":
        shutil.copy(where.tls / "ca.key", where.tls / "server.key")
    else:
        (where.tls / "server.key").unlink()
    for _ in range(3):
        assert handshake(context, client(where))[1] == before
    assert len(said) == 1
    assert "PRIVATE" not in repr(said)
    (where.tls / "server.key").write_bytes(good)
    (where.tls / "server.key").chmod(0o600)
    assert certificates.renew(where, days=826)
    assert handshake(context, client(where))[1] != before


def test_a_key_that_everybody_can_read_is_refused(where):
    (where.tls / "server.key").chmod(0o644)
    with pytest.raises(PermissionError, match=r"server\.key"):
        tls.server_context(settings(), where)
    (where.tls / "server.key").chmod(0o640)
    assert tls.server_context(settings(), where)


def test_no_certificate_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="server"):
        tls.server_context(settings(), paths.of_root(tmp_path))


def test_make_ca_is_reached_through_here(tmp_path):
    assert len(tls.make_ca(paths.of_root(tmp_path), "office.lan")) == 4
