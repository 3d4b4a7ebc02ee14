"""kill -9 of deliver in the middle of a fan-out: every member of a group has each mail exactly once."""

import os
import random
import time
from collections import Counter

import pytest

from lanmail import address, envelope
from tests.crash import rounds

pytestmark = pytest.mark.slow

KILLS = rounds.of(20)
MEMBERS = tuple(f"member{number}" for number in range(30))


def put(rig, token):
    head = envelope.Envelope(address.parse("x@far.example"), [envelope.Recipient(address.parse("team@office.lan"))],
                             origin=envelope.Origin("mx"))
    rig.queue.put(head, f"Return-Path: <x@far.example>\nSubject: hi\nX-Token: {token}\n\nbody\n".encode())


def tokens(directory):
    """How often each mail lies there."""
    return Counter(line[9:].decode() for path in directory.glob("*") for line in path.read_bytes().split(b"\n")
                   if line.startswith(b"X-Token: "))


def arrived(rig):
    """Mails of the first member."""
    new = rig.paths.maildirs / MEMBERS[0] / "new"
    return len(os.listdir(new)) if new.is_dir() else 0


def until_more(rig, before):
    """Until the first member has another mail: the others are about to get theirs."""
    deadline = time.monotonic() + 60
    while arrived(rig) <= before:
        assert time.monotonic() < deadline, "no copy came"
        time.sleep(0.0005)


def test_deliver_killed_in_a_fan_out(rig):
    for name in MEMBERS:
        (rig.paths.accounts / f"{name}.toml").write_text("disabled = false\n")
    named = ", ".join(f'"{name}"' for name in (*MEMBERS, "inner", "eva@far.example"))
    rig.paths.groups.write_text(f'[team]\nmembers = [{named}]\nsubject_tag = "[Team]"\n'
                                '[inner]\nmembers = ["team", "member3", "user1"]\n')
    chance, running = random.Random(30), rig.start("deliver")
    for number in range(KILLS):
        before = arrived(rig)
        for part in range(3):
            put(rig, f"{number}.{part}")
        until_more(rig, before)
        time.sleep(chance.uniform(0, 0.01))
        running.kill()
        running = rig.start("deliver")
    rig.settle()
    running.stop()
    everything = Counter({f"{number}.{part}": 1 for number in range(KILLS) for part in range(3)})
    for name in (*MEMBERS, "user1"):
        assert tokens(rig.paths.maildirs / name / "new") == everything, name
    assert tokens(rig.paths.outbound / "new") == everything
    assert not list((rig.paths.state / "queue").iterdir())
