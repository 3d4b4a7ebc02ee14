"""Much at once: thousands of files dropped into pickup, a hundred thousand in the queue at start (rounds.py)."""

import os
import time

import pytest

from lanmail import envelope
from lanmail.address import parse
from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, SENDER, Ledger, message
from tests.crash.rig import ACCOUNTS, DOMAIN, wait_for

pytestmark = pytest.mark.slow

_MEGABYTE = 1 << 20


def test_thousands_of_files_dropped_at_once(rig):
    ledger, many = Ledger(), rounds.of(10_000)
    deliver = rig.start("deliver")
    for number in range(many):
        account = ACCOUNTS[number % len(ACCOUNTS)]
        token = ledger.token([account])
        (rig.paths.pickup / token).write_bytes(f"To: {account}@{DOMAIN}\n".encode() + message(token, 300))
        ledger.note(token, ACCEPTED)
    begun = time.monotonic()
    wait_for(lambda: not [name for name in os.listdir(rig.paths.pickup) if name.startswith("t0")], 90)
    rig.settle(60)
    print(f"{many:,} dropped files delivered {time.monotonic() - begun:.1f} s after the last was dropped; "
          f"rss {deliver.rss() // _MEGABYTE} MB")
    audit.check(rig, ledger)
    assert deliver.rss() < 200 * _MEGABYTE


def test_a_start_with_a_full_queue(rig):
    many = rounds.of(100_000)
    head = envelope.encode(envelope.Envelope(parse(SENDER), [envelope.Recipient(parse(f"user1@{DOMAIN}"))]))
    data = head + f"Return-Path: <{SENDER}>\nSubject: old\n\n".encode() + b"x" * 500 + b"\n"
    new = rig.paths.queue / "new"
    size, wire = len(data), len(data) + data.count(b"\n")
    for number in range(many):
        # written without ceremony: how they came here is not what this is about
        with open(new / f"1700000000.M{number:06d}P1Q{number}R0000.host,S={size},W={wire}", "wb", buffering=0) as file:
            file.write(data)
    begun = time.monotonic()
    deliver = rig.start("deliver")
    inbox = rig.paths.maildirs / "user1" / "new"
    wait_for(lambda: inbox.is_dir() and os.listdir(inbox), 60)
    first = time.monotonic() - begun
    peak = 0
    while rig.waiting():
        peak = max(peak, deliver.rss())
        assert time.monotonic() - begun < 300
        time.sleep(0.5)
    took = time.monotonic() - begun
    print(f"{many:,} queued: first delivery after {first:.2f} s, all after {took:.1f} s, rss {peak // _MEGABYTE} MB")
    assert first < 10
    assert peak < 200 * _MEGABYTE
    assert len(os.listdir(inbox)) == many
