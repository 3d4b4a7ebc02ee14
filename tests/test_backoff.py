"""Who waits after wrong passwords, and who must not."""

import errno
import fcntl
import os
import time

import pytest

from lanmail.logins import backoff, tally


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counts(clock):
    return backoff.Backoff(free=3, first=2.0, longest=30.0, forget=900.0, clock=clock)


def guess(counts, place, user, times, start=0):
    for number in range(start, start + times):
        counts.failed(place, user, b"%d" % number)


def test_the_first_failures_cost_nothing_then_waiting_doubles_up_to_a_limit(counts):
    waits = []
    for number in range(8):
        waits.append(counts.wait("10.0.0.1", "meier"))
        guess(counts, "10.0.0.1", "meier", 1, number)
    assert waits == [0, 0, 0, 2, 4, 8, 16, 30]


def test_waiting_ends(counts, clock):
    guess(counts, "10.0.0.1", "meier", 4)
    clock.now += 3
    assert counts.wait("10.0.0.1", "meier") == 1
    clock.now += 1
    assert counts.wait("10.0.0.1", "meier") == 0


def test_quiet_is_forgotten(counts, clock):
    guess(counts, "10.0.0.1", "meier", 8)
    clock.now += 901
    guess(counts, "10.0.0.1", "meier", 1, 100)
    assert counts.wait("10.0.0.1", "meier") == 0


def test_guessing_from_one_address_does_not_touch_the_user_elsewhere(counts):
    guess(counts, "10.0.0.66", "meier", 500)
    assert counts.wait("10.0.0.66", "meier") == 30
    assert counts.wait("10.0.0.1", "meier") == 0
    assert counts.crowd("10.0.0.1", "meier") == 0


def test_guessing_does_not_touch_another_user_known_at_the_same_address(counts):
    counts.succeeded("10.0.0.1", "schmidt")
    guess(counts, "10.0.0.1", "meier", 500)
    assert counts.wait("10.0.0.1", "schmidt") == 0
    assert counts.wait("10.0.0.1", "meier") == 30


def test_one_password_on_many_names_is_guessing_too(counts):
    for number in range(12):
        assert counts.wait("10.0.0.66", f"name{number}") == 0
        counts.failed("10.0.0.66", f"name{number}", b"x")
    assert counts.wait("10.0.0.66", "name13") == 2


def test_a_good_log_in_starts_that_user_from_zero_there_but_not_the_address(counts):
    guess(counts, "10.0.0.1", "meier", 8)
    guess(counts, "10.0.0.1", "huber", 8)
    counts.succeeded("10.0.0.1", "meier")
    assert counts.wait("10.0.0.1", "meier") == 0
    assert counts.wait("10.0.0.1", "schmidt") > 0


def test_a_user_known_at_an_address_is_still_protected_from_guesses_there(counts):
    counts.succeeded("10.0.0.1", "meier")
    guess(counts, "10.0.0.1", "meier", 6)
    assert counts.wait("10.0.0.1", "meier") == 16


def test_many_addresses_on_one_user_delay_only_new_addresses_and_shortly(counts):
    counts.succeeded("10.0.0.1", "meier")
    for number in range(40):
        counts.failed(f"198.51.100.{number}", "meier", b"x")
    assert 0 < counts.crowd("10.0.0.2", "meier") <= 8
    assert counts.crowd("10.0.0.1", "meier") == 0
    assert counts.crowd("10.0.0.2", "schmidt") == 0
    assert counts.wait("10.0.0.2", "meier") == 0


def test_a_crowd_is_forgotten(counts, clock):
    for number in range(40):
        counts.failed(f"198.51.100.{number}", "meier", b"x")
    clock.now += 901
    assert counts.crowd("10.0.0.2", "meier") == 0


def test_the_same_wrong_password_is_recognised_at_that_address_only(counts):
    counts.failed("10.0.0.1", "meier", b"old")
    assert counts.tried("10.0.0.1", "meier", b"old")
    assert not counts.tried("10.0.0.1", "meier", b"new")
    assert not counts.tried("10.0.0.2", "meier", b"old")


def test_memory_is_bounded(counts):
    for number in range(3 * backoff._KEEP):
        counts.failed(f"2001:db8:{number:x}::", f"name{number}", b"x")
        counts.succeeded("10.0.0.1", f"good{number}")
    for number in range(200):
        counts.failed("10.0.0.1", "meier", b"%d" % number)
        counts.failed(f"2001:db8:{number:x}::", "meier", b"x")
    assert len(counts._tried) == backoff._KEEP
    assert len(counts._tried["10.0.0.1 meier"]) <= 8
    assert len(counts._shared._memory) == counts._shared.size < 2_500_000


def test_a_flood_of_invented_names_does_not_push_out_who_is_known(counts):
    counts.succeeded("10.0.0.1", "meier")
    for number in range(2 * backoff._KEEP):
        counts.failed("10.0.0.1", f"name{number}", b"x")
    assert counts.wait("10.0.0.1", "meier") == 0


@pytest.mark.parametrize(
    ("client", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "127.0.0.1"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_place(client, place):
    assert backoff.place(client) == place


def shared(path, clock):
    return backoff.Backoff(free=3, clock=clock, shared=tally.Tally(path, b"secret"))


def test_all_processes_count_together(tmp_path, clock):
    one, other = shared(tmp_path / "counts", clock), shared(tmp_path / "counts", clock)
    guess(one, "10.0.0.1", "meier", 2)
    guess(other, "10.0.0.1", "meier", 2, 10)
    assert one.wait("10.0.0.1", "meier") == other.wait("10.0.0.1", "meier") == 4
    other.succeeded("10.0.0.1", "meier")
    assert one.known("10.0.0.1", "meier")
    assert one.wait("10.0.0.1", "meier") == 0
    for number in range(40):
        (one, other)[number % 2].failed(f"198.51.100.{number}", "schmidt", b"x")
    assert one.crowd("10.0.0.2", "schmidt") == other.crowd("10.0.0.2", "schmidt") > 0
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o600
    assert b"meier" not in (tmp_path / "counts").read_bytes()


def test_processes_that_fail_at_once_lose_no_count(tmp_path):
    children = []
    for start in range(4):
        if not (pid := os.fork()):
            counts = shared(tmp_path / "counts", lambda: 1000.0)
            guess(counts, "10.0.0.1", "meier", 50, start * 100)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    counts = shared(tmp_path / "counts", lambda: 1000.0)
    assert counts._read(counts._pairs, "10.0.0.1 meier", 1000.0).failures > 180  # a busy lock is not waited for long


def test_a_machine_that_was_started_anew_makes_nobody_wait(tmp_path, clock):
    guess(shared(tmp_path / "counts", clock), "10.0.0.1", "meier", 9)
    clock.now = 5.0
    counts = shared(tmp_path / "counts", clock)
    assert counts.wait("10.0.0.1", "meier") == 0
    guess(counts, "10.0.0.1", "meier", 4)
    assert counts.wait("10.0.0.1", "meier") == 4


@pytest.mark.parametrize("there", [b"", b"\xff" * 3_000_000, b"\0" * 100, os.mkfifo, os.mkdir])
def test_any_file_in_its_place(tmp_path, clock, there):
    path = tmp_path / "counts"
    path.write_bytes(there) if isinstance(there, bytes) else there(path)
    counts = shared(path, clock)
    guess(counts, "10.0.0.1", "meier", 4)
    assert counts.wait("10.0.0.1", "meier") == 4


def test_a_full_disk_does_not_stop_the_counting(tmp_path, clock, monkeypatch):
    counts = shared(tmp_path / "counts", clock)
    guess(counts, "10.0.0.1", "meier", 2)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    guess(counts, "10.0.0.1", "meier", 2, 10)
    assert counts.wait("10.0.0.1", "meier") == 4


def test_a_stopped_process_holds_nobody_up(tmp_path, clock):
    counts = shared(tmp_path / "counts", clock)
    with open(tmp_path / "counts") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        guess(counts, "10.0.0.1", "meier", 4)
        assert time.monotonic() - began < 20
    assert counts.wait("10.0.0.1", "meier") == 4


def test_a_log_in_costs_little(tmp_path):
    counts = shared(tmp_path / "counts", time.monotonic)
    began = time.process_time()
    for number in range(200):
        user = f"name{number}"
        assert not counts.wait("10.0.0.1", user) + counts.crowd("10.0.0.1", user)
        counts.succeeded("10.0.0.1", user)
    assert (time.process_time() - began) / 200 < 0.0005  # 0.05 ms on an idle machine
