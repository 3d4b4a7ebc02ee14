"""Fetching by POP3 from Debian's Dovecot, up to spool/queue."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dovecot import PASSWORD, USER, Dovecot
from tests.fetchroot import Root, message


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture
def server(dovecot: Dovecot) -> Dovecot:
    """The server, with an empty mailbox."""
    for file in dovecot.mails():
        file.unlink()
    return dovecot


@pytest.fixture
def root(tmp_path: Path, server: Dovecot) -> Root:
    made = Root(tmp_path / "root")
    made.source("x", protocol="pop3", host="127.0.0.1", port=server.port("pop3s"), tls="implicit", tls_ca=server.ca,
                user=USER, password=made.secret("x", PASSWORD))
    return made


def test_mail_is_fetched_once_and_stays(root: Root, server: Dovecot) -> None:
    texts = [message(number) for number in range(7)]
    for text in texts:
        server.add(text)
    assert root.once() == 0
    assert len(server.mails()) == 7
    entries = root.entries()
    assert sorted(root.mails()) == sorted(text.split(b"\n", 1)[1] for text in texts)
    assert all(one.startswith(b"X-Sender: <far@far.example>\nX-Receiver: <meier@office.lan>\n"
                              b"X-Origin: fetch source=meier/x\nReturn-Path: <far@far.example>\nReceived: ")
               for one in entries)
    assert root.once() == 0
    assert len(root.entries()) == 7
    server.add(message(8))
    assert root.once() == 0
    assert len(root.entries()) == 8
    found = root.status()
    assert (found.fetched, found.kept, found.last_count, found.error) == (8, 8, 1, "")


def test_delete_at_once(root: Root, server: Dovecot) -> None:
    root.source("x", delete=True)
    for number in range(3):
        server.add(message(number))
    assert root.once() == 0
    assert (len(root.mails()), server.mails()) == (3, [])


def test_delete_always_beats_the_source(root: Root, server: Dovecot) -> None:
    root.source("x", delete=False)
    server.add(message(1))
    assert root.once() == 0
    assert len(server.mails()) == 1
    root.configure("delete_always = true")
    assert root.once() == 0
    assert (len(root.mails()), server.mails()) == (1, [])


def test_copies_go_days_after_they_were_fetched_not_after_their_date(
        root: Root, server: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    root.configure('delete_after = "14d"')
    server.add(message(1, date=86400 * 365), when=86400 * 365)
    assert root.once() == 0
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 13 * 86400)
    server.add(message(2))
    assert root.once() == 0
    assert len(server.mails()) == 2
    monkeypatch.setattr(time, "time", lambda: now + 14 * 86400 + 60)
    assert root.once() == 0
    assert len(server.mails()) == 1
    assert len(root.mails()) == 2


def test_copies_go_by_their_date(root: Root, server: Dovecot) -> None:
    root.source("x", delete_older="30d")
    server.add(message(1, date=time.time() - 40 * 86400))
    server.add(message(2, date=time.time() - 20 * 86400))
    assert root.once() == 0
    assert len(root.mails()) == 2
    assert len(server.mails()) == 1


def test_a_pass_is_bounded_and_the_rest_comes_in_the_next(root: Root, server: Dovecot) -> None:
    root.source("x", mails_per_pass=4)
    for number in range(10):
        server.add(message(number))
    assert root.once() == 0
    assert len(root.mails()) == 10
    passes = [line for line in root.log().splitlines() if " fetched source=meier/x" in line]
    assert ["mails=4" in line for line in passes] == [True, True, False]


@pytest.mark.parametrize("more", [0, 1])
def test_large_mails_stay_and_are_told_once(root: Root, server: Dovecot, more: int) -> None:
    text = message(1, 5000)
    wire = len(text) + text.count(b"\n")
    server.add(text)
    root.source("x", max_size=wire + more)  # one octet below the limit is fetched, at the limit it is not
    assert root.once() == 0
    assert root.once() == 0
    assert len(root.mails()) == more
    assert len(root.notices()) == 1 - more
    assert root.status().large == 1 - more
    if not more:
        assert b"mail 1" in root.notices()[0]
        root.source("x", max_size=0)
        assert root.once() == 0
        assert len(root.mails()) == 1


def test_small_mails_come_before_large_ones(root: Root, server: Dovecot) -> None:
    for number, size in enumerate((3_000_000, 900, 2_000_000, 700)):
        server.add(message(number, size))
    assert root.once() == 0
    sizes = [len(one) for one in root.mails()]
    assert [size > 1_000_000 for size in sizes] == [False, False, True, True]
    assert sizes[2] < sizes[3]
    assert root.mails()[3] == message(0, 3_000_000).split(b"\n", 1)[1]


def test_new_ids_for_old_mails_bring_no_second_copy(root: Root, dovecot: Dovecot, server: Dovecot) -> None:
    for number in range(30):
        server.add(message(number))
    assert root.once() == 0
    dovecot.configure("protocol pop3 {\n pop3_uidl_format = new-%u-%v\n}")
    server.add(message(77))
    try:
        assert root.once() == 0
        assert len(root.mails()) == 31
        assert root.once() == 0
        assert "mails=0" not in root.log().splitlines()[-1]
    finally:
        dovecot.configure("")


def test_two_equal_mails_are_two(root: Root, server: Dovecot) -> None:
    server.add(message(1))
    server.add(message(1))
    assert root.once() == 0
    assert len(root.mails()) == 2


@pytest.mark.parametrize(("keys", "tls"), [
    ({"tls": "implicit"}, True), ({"tls": "starttls"}, True), ({"tls": "auto"}, True), ({"tls": "none"}, False),
    ({"tls": "implicit", "tls_min": "TLSv1.3"}, True), ({"tls": "implicit", "tls_max": "TLSv1.2"}, True),
    ({"tls": "none", "mechanism": "CRAM-MD5"}, False), ({"tls": "implicit", "mechanism": "LOGIN"}, True),
])
def test_ways_to_connect(root: Root, server: Dovecot, keys: dict[str, Any], tls: bool) -> None:
    root.source("x", **keys, port=server.port("pop3s" if keys["tls"] == "implicit" else "pop3"))
    server.add(message(1))
    before = len(server.log())
    assert root.once() == 0
    assert len(root.mails()) == 1
    line, = [line for line in server.log()[before:].splitlines() if "Login: user" in line]
    assert (", TLS," in line) is tls
    if not tls and "mechanism" not in keys:
        assert "method=APOP" in line  # no password in clear where it can be helped


def test_versions_that_the_server_does_not_speak(root: Root, server: Dovecot) -> None:
    root.source("x", tls_min="TLSv1", tls_max="TLSv1.1")
    assert root.once() == 75
    assert "TLS" in root.status().error
    assert root.status().refused == 0


def test_a_certificate_must_be_trusted_or_known(root: Root, server: Dovecot) -> None:
    server.add(message(1))
    root.source("x", tls_ca=None)
    assert root.once() == 75
    assert "not trusted" in root.status().error
    root.source("x", tls_fingerprint=["00" * 32])
    assert root.once() == 75
    shown = root.status().error.partition("fingerprint ")[2].split(",")[0]
    root.source("x", tls_fingerprint=[shown])
    assert root.once() == 0
    assert len(root.mails()) == 1


def test_a_wrong_password_is_told_once_a_day_and_tried_five_times(
        root: Root, server: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add(message(1))
    root.secret("x", "wrong")
    for _ in range(5):
        assert root.once() == 75
    found = root.status()
    assert (found.refused, found.stopped, found.failures) == (5, True, 5)
    assert len(root.notices()) == 1
    assert b"log-in as meier refused" in root.notices()[0]
    tries = server.log().count("auth failed")
    assert root.once() == 75
    assert server.log().count("auth failed") == tries  # nothing is tried any more
    root.secret("x", PASSWORD)
    assert root.once() == 0
    assert len(root.mails()) == 1
    assert b"is fetched again" in root.notices()[-1]
    assert len(root.notices()) == 2
    assert PASSWORD not in root.log()
    assert "wrong" not in root.log()
    day = time.time() + 86400 * 1.1
    monkeypatch.setattr(time, "time", lambda: day)
    root.secret("x", "wrong again")
    assert root.once() == 75
    assert len(root.notices()) == 3


def test_five_thousand_mails_that_stay_cost_little(root: Root, server: Dovecot) -> None:
    for number in range(5000):
        server.add(message(number))
    root.source("x", mails_per_pass=2500)
    assert root.once() == 0
    assert len(root.queue.names()) == 5000
    server.add(message(5001))
    began = time.process_time()
    assert root.once() == 0
    assert time.process_time() - began < 1.0
    assert len(root.queue.names()) == 5001
    assert root.status().kept == 5001
