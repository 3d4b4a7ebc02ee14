"""Who logged in when and from where: noted seldom, each client once, never in the way of a log-in."""

import os
import time
from pathlib import Path

import pytest

from lanmail.logins import lastlogins
from lanmail.logins.lastlogins import Book, Login


def seen(state: Path, name: str = "meier") -> list[tuple[str, str]]:
    return [(one.service, one.client) for one in lastlogins.of(state, name)]


def test_the_newest_first_and_each_client_once(tmp_path: Path) -> None:
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"):
        Book(tmp_path).note("meier", "imap", client)
    Book(tmp_path).note("schmidt", "imap", "192.0.2.9")
    assert sorted(client for _, client in seen(tmp_path)) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert (tmp_path / "logins/meier/imap").read_text().splitlines()[0].endswith(" 2001:db8::1")
    assert abs(lastlogins.of(tmp_path, "meier")[0].at - time.time()) < 60
    assert seen(tmp_path, "schmidt") == [("imap", "192.0.2.9")]


def test_once_in_a_while_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path)
    assert book.due("meier", "pop3", "192.0.2.1")
    book.note("meier", "pop3", "192.0.2.1")
    before = os.stat(tmp_path / "logins/meier/pop3").st_ino
    assert not book.due("meier", "pop3", "192.0.2.1")
    book.note("meier", "pop3", "192.0.2.1")
    assert os.stat(tmp_path / "logins/meier/pop3").st_ino == before
    now = time.monotonic() + lastlogins.QUIET + 1
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert book.due("meier", "pop3", "192.0.2.1")


def test_it_does_not_grow(tmp_path: Path) -> None:
    book = Book(tmp_path)
    for number in range(20):
        book.note("meier", "smtp", f"192.0.2.{number}")
    assert len(seen(tmp_path)) == lastlogins.MOST


@pytest.mark.parametrize(("account", "client"), [("../x", "192.0.2.1"), ("meier", ""), ("meier", "x\n1 192.0.2.1")])
def test_what_is_no_account_or_address_is_not_noted(tmp_path: Path, account: str, client: str) -> None:
    Book(tmp_path).note(account, "smtp", client)
    assert list(tmp_path.rglob("*")) == []


def test_what_cannot_be_written_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "logins").write_text("a file of somebody else")
    Book(tmp_path).note("meier", "smtp", "192.0.2.1")
    assert seen(tmp_path) == []


def test_damaged_files_are_read_as_far_as_they_can(tmp_path: Path) -> None:
    place = tmp_path / "logins/meier"
    place.mkdir(parents=True)
    (place / "imap").write_bytes(b"1763794800 192.0.2.1\n\xff\nx y\n12 \n99 <svg>\n")
    (place / "smtp").mkdir()
    (place / "pop3").symlink_to("/etc/passwd")
    (place / ".tmp-x").write_text("1 192.0.2.2\n")
    assert lastlogins.of(tmp_path, "meier") == [Login("imap", "192.0.2.1", 1763794800.0)]


def test_whoever_comes_next_has_logged_in_nowhere(tmp_path: Path) -> None:
    Book(tmp_path).note("meier", "smtp", "192.0.2.1")
    lastlogins.forget(tmp_path, "meier")
    lastlogins.forget(tmp_path, "meier")
    assert seen(tmp_path) == []
