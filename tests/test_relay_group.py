"""relay: copies of a mail to a group for members outside, and who hears of one that cannot be delivered."""

import os
from pathlib import Path

import pytest

from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer

ALL = ("PIPELINING", "8BITMIME", "SIZE 1000000", "ENHANCEDSTATUSCODES")
TEXT = (b"List-Id: <team.office.lan>\nPrecedence: list\nX-Loop: <team@office.lan>\n"
        b"From: Meier <meier@office.lan>\nTo: team@office.lan\nSubject: hi\n\nbody\n")


@pytest.mark.parametrize(("origin", "facts"), [
    ("submission", {"account": "meier"}), ("mx", {"client": "192.0.2.1"}), ("fetch", {"source": "meier/gmx"}),
])
async def test_what_comes_back_is_the_owners(tmp_path: Path, origin: str, facts: dict[str, str]) -> None:
    """Even though it is a list's mail, whose sender is told nothing else."""
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no such user"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("eva@far.example", sender="team-owner@office.lan", message=TEXT, origin=origin, **facts, group="team")
        assert await root.once() == os.EX_OK
    told = [(str(one.address), text) for head, text in root.queued() for one in head.recipients]
    assert "team-owner@office.lan" in [to for to, _ in told]
    assert not [to for to, _ in told if to.startswith("meier@")]
    assert all(b"550 5.1.1 no such user" in text for _, text in told)


async def test_a_copy_without_a_sender_is_told_to_the_postmaster(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "550 5.1.1 no such user"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("eva@far.example", sender=None, message=TEXT, origin="mx", group="team")
        assert await root.once() == os.EX_OK
    assert [str(one.address) for head, _ in root.queued() for one in head.recipients] == ["postmaster@office.lan"]


async def test_it_goes_out_under_the_owners_address(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("eva@far.example", sender="team-owner@office.lan", message=TEXT, origin="mx", group="team")
        assert await root.once() == os.EX_OK
    (mail,) = peer.taken
    assert mail.sender == "team-owner@office.lan"
    assert TEXT.replace(b"\n", b"\r\n") in mail.text
