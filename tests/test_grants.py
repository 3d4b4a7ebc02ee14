"""What our OAuth2 server has granted: who may use a token for what, how it ends, and what a second use means."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lanmail.logins import grants
from lanmail.logins.grantfiles import Files
from lanmail.logins.grants import (
    ACCESS_LIFE,
    CODE_LIFE,
    GRACE,
    IDLE,
    OFFLINE,
    SCOPES,
    Client,
    Refused,
    Register,
    verify_token,
)

ALL = [*SCOPES.values(), OFFLINE]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(tmp_path)


@pytest.fixture
def client(register: Register) -> Client:
    return register.add_client("meier", "Thunderbird", list(SCOPES.values()))[0]


def granted(register: Register, client: Client, scopes: list[str] | None = None,
            now: float | None = None) -> grants.Issued:
    code = register.code(client, "meier", scopes or ALL, "http://localhost/")
    return register.exchange(code, client.id, time.time() if now is None else now)


def test_a_secret_is_shown_once_and_kept_as_a_hash(register: Register, tmp_path: Path) -> None:
    made, secret = register.add_client("meier", "x", [SCOPES["imap"]])
    assert register.client(made.id) == made
    assert made.has_secret(secret)
    assert not made.has_secret(secret + "x")
    assert not made.has_secret("")
    text = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert secret not in text


@pytest.mark.parametrize(("scopes", "services"), [
    ([SCOPES["imap"]], {"imap"}), ([SCOPES["pop3"], SCOPES["smtp"], OFFLINE], {"pop3", "smtp"}), (ALL, set(SCOPES)),
])
def test_a_token_is_good_for_its_scopes(register: Register, client: Client, tmp_path: Path, scopes: list[str],
                                        services: set[str]) -> None:
    issued = granted(register, client, scopes)
    good = {service for service in ("imap", "pop3", "smtp") if verify_token(tmp_path, issued.access, service=service)}
    assert good == services
    assert bool(issued.refresh) == (OFFLINE in scopes)
    assert verify_token(tmp_path, issued.refresh, service="imap") is None
    assert verify_token(tmp_path, issued.access, service="oauth2") is None
    assert verify_token(tmp_path, "", service="imap") is None


def test_an_hour_and_half_a_minute(register: Register, client: Client, tmp_path: Path) -> None:
    now = time.time()
    issued = granted(register, client, now=now)
    assert verify_token(tmp_path, issued.access, service="imap", now=now + ACCESS_LIFE - 1) == "meier"
    assert verify_token(tmp_path, issued.access, service="imap", now=now + ACCESS_LIFE) is None
    code = register.code(client, "meier", ALL, "http://localhost/")
    with pytest.raises(Refused, match="expired"):
        register.exchange(code, client.id, time.time() + CODE_LIFE)


def test_codes_and_halves_of_a_year_to_the_second(register: Register, client: Client, tmp_path: Path) -> None:
    """29 and 31 seconds; 182 and 184 days."""
    now = time.time()
    good, late = (register.code(client, "meier", ALL, "http://localhost/") for _ in range(2))
    with pytest.raises(Refused, match="expired"):
        register.exchange(late, client.id, now + 31)
    issued = register.exchange(good, client.id, now + 29)
    consent = tmp_path / "grants/consents" / f"{issued.consent}.json"
    for days, counts in ((182, True), (184, False)):
        os.utime(consent, (now, now))
        later = now + days * 86400
        assert register.alive(issued.consent, later) == counts
    assert register.sweep(now + 182 * 86400) == 3, "both codes and the access token"
    assert consent.exists()
    assert register.sweep(now + 184 * 86400) == 2
    assert not consent.exists()


@pytest.mark.parametrize("kill", range(4))
def test_a_server_that_dies_while_it_renews_locks_nobody_out(
        register: Register, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int) -> None:
    """Whatever it had written: who has the old token asks again and goes on."""
    first, now = granted(register, client), time.time()
    write, done = Files.write, []

    def dying(files: Files, kind: str, name: str, known: dict[str, object], *, durable: bool = True) -> None:
        if len(done) == kill:
            raise KeyboardInterrupt
        write(files, kind, name, known, durable=durable)
        done.append(name)

    monkeypatch.setattr(Files, "write", dying)
    try:
        register.refresh(first.refresh, client.id, None, now)
    except KeyboardInterrupt:
        assert kill < 3
    monkeypatch.setattr(Files, "write", write)
    again = register.refresh(first.refresh, client.id, None, now + GRACE - 1)
    assert verify_token(tmp_path, again.access, service="imap") == "meier"
    assert register.refresh(again.refresh, client.id, None, now + 2 * GRACE).refresh


def test_what_clients_are_given(register: Register) -> None:
    made = [register.add_client("meier", "x", [SCOPES["imap"]]) for _ in range(50)]
    assert len({one.id for one, _ in made}) == len({secret for _, secret in made}) == 50
    assert all(re.fullmatch(r"[0-9a-f]{32}", one.id) and re.fullmatch(r"[\w-]{43}", secret) for one, secret in made)


def test_a_code_used_twice_ends_all(register: Register, client: Client, tmp_path: Path) -> None:
    code = register.code(client, "meier", ALL, "http://localhost/")
    issued = register.exchange(code, client.id, time.time())
    with pytest.raises(Refused, match="used before"):
        register.exchange(code, client.id, time.time())
    assert verify_token(tmp_path, issued.access, service="imap") is None
    with pytest.raises(Refused):
        register.refresh(issued.refresh, client.id, None, time.time())


def test_a_code_is_its_clients_own(register: Register, client: Client) -> None:
    other, _ = register.add_client("meier", "other", [SCOPES["imap"]])
    code = register.code(client, "meier", ALL, "http://localhost/")
    with pytest.raises(Refused, match="no such"):
        register.exchange(code, other.id, time.time())
    assert register.exchange(code, client.id, time.time()).access


def test_refresh_tokens_follow_each_other(register: Register, client: Client, tmp_path: Path) -> None:
    first, now = granted(register, client), time.time()
    second = register.refresh(first.refresh, client.id, None, now)
    again = register.refresh(first.refresh, client.id, None, now + GRACE - 1)
    assert second.refresh == again.refresh != first.refresh
    assert second.access != again.access
    assert {verify_token(tmp_path, one.access, service="imap") for one in (first, second, again)} == {"meier"}
    third = register.refresh(second.refresh, client.id, [SCOPES["imap"]], now + GRACE)
    assert verify_token(tmp_path, third.access, service="imap") == "meier"
    assert verify_token(tmp_path, third.access, service="smtp") is None


def test_a_stolen_refresh_token_ends_the_consent(register: Register, client: Client, tmp_path: Path) -> None:
    first, now = granted(register, client), time.time()
    second = register.refresh(first.refresh, client.id, None, now)
    with pytest.raises(Refused, match="used before"):
        register.refresh(first.refresh, client.id, None, now + GRACE + 1)
    assert verify_token(tmp_path, second.access, service="imap") is None
    with pytest.raises(Refused, match="ended"):
        register.refresh(second.refresh, client.id, None, now + GRACE + 2)


def test_half_a_year(register: Register, client: Client, tmp_path: Path) -> None:
    issued = granted(register, client)
    consent = tmp_path / "grants/consents" / f"{issued.consent}.json"
    now = time.time()
    os.utime(consent, (now - IDLE + 86400, now - IDLE + 86400))
    assert verify_token(tmp_path, issued.access, service="imap") == "meier"
    assert now - consent.stat().st_mtime < 10, "it was used now"
    os.utime(consent, (now - IDLE - 86400, now - IDLE - 86400))
    assert verify_token(tmp_path, issued.access, service="imap") is None
    with pytest.raises(Refused, match="too long"):
        register.refresh(issued.refresh, client.id, None, now)


def test_the_last_use_is_not_written_each_time(register: Register, client: Client, tmp_path: Path) -> None:
    issued = granted(register, client)
    consent = tmp_path / "grants/consents" / f"{issued.consent}.json"
    before = time.time() - 1000
    os.utime(consent, (before, before))
    assert verify_token(tmp_path, issued.access, service="imap") == "meier"
    assert consent.stat().st_mtime == pytest.approx(before)


def test_a_client_that_is_disabled_or_gone(register: Register, client: Client, tmp_path: Path) -> None:
    issued = granted(register, client)
    register.save_client(replace(client, disabled=True))
    assert verify_token(tmp_path, issued.access, service="imap") is None
    register.save_client(client)
    assert verify_token(tmp_path, issued.access, service="imap") == "meier"
    register.remove_client(client.id)
    assert verify_token(tmp_path, issued.access, service="imap") is None
    assert register.consents() == []


def test_the_sweep_takes_what_is_void_and_nothing_else(register: Register, client: Client, tmp_path: Path) -> None:
    kept, ended, now = granted(register, client), granted(register, client), time.time()
    register.end(ended.consent)
    assert register.sweep(now) == 2
    assert verify_token(tmp_path, kept.access, service="imap") == "meier"
    register.sweep(now + ACCESS_LIFE + 1)
    assert register.token(kept.access) is None
    assert register.refresh(kept.refresh, client.id, None, now + ACCESS_LIFE + 2).access
    register.sweep(now + 2 * ACCESS_LIFE + 10)
    assert os.listdir(tmp_path / "grants/codes") == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_damaged_files_let_nobody_in(register: Register, client: Client, tmp_path: Path, damage: bytes) -> None:
    issued = granted(register, client)
    for path in (tmp_path / "grants/tokens").iterdir():
        path.write_bytes(damage)
    assert verify_token(tmp_path, issued.access, service="imap") is None


@pytest.mark.parametrize("name", ["../x", "a" * 31, "", "A" * 32, "0" * 33, "/etc/passwd"])
def test_no_path_is_made_of_what_a_client_says(register: Register, name: str) -> None:
    assert register.client(name) is None
    register.end(name)
    assert not register.alive(name, time.time())
