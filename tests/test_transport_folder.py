"""transports/folder.py: whole files in a directory, or the mail waits."""

import os
from pathlib import Path

import pytest

from lanmail import address, envelope, paths, pickup, transports
from lanmail.outgoing import Outgoing
from lanmail.settings import Settings
from lanmail.transports import folder
from tests.relayroot import Root

TEXT = "From: meier@office.lan\nSubject: Gr\u00fc\u00dfe\n\n.dot\nbody \u00e4\n".encode()


def into(base: Path, target: Path, more: str = "") -> Root:
    return Root(base, f'transport = "folder"\nfolder.path = "{target}"\n{more}')


async def test_a_file_for_each_mail_in_the_form_of_pickup(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    root = into(tmp_path, target)
    entry_id = root.put("x@far.example", "y@near.example", message=TEXT)
    assert await root.once() == os.EX_OK
    assert [one.name for one in target.iterdir()] == [f"{entry_id}.eml"]
    data = (target / f"{entry_id}.eml").read_bytes()
    head, offset = envelope.decode(data)
    assert head is not None
    assert str(head.sender) == "meier@office.lan"
    assert [str(one.address) for one in head.recipients] == ["x@far.example", "y@near.example"]
    assert head.origin is None
    assert data[offset:] == TEXT
    assert not root.waiting()
    assert f'host="{target}"' in root.events("sent")[0] or f"host={target}" in root.events("sent")[0]


async def test_the_bare_message_when_no_envelope_is_wanted(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    root = into(tmp_path, target, "folder.envelope = false")
    root.put("x@far.example", message=TEXT)
    assert await root.once() == os.EX_OK
    assert next(target.iterdir()).read_bytes() == TEXT


async def test_parts_of_a_split_mail_have_names_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    root = into(tmp_path, target, "max_recipients = 1")
    root.put("x@far.example", "y@far.example", "z@far.example", message=TEXT)
    assert await root.once() == os.EX_OK
    assert len(list(target.iterdir())) == 3


@pytest.mark.parametrize("what", ["missing", "file", "read-only"])
async def test_a_directory_that_takes_nothing_keeps_the_mail(tmp_path: Path, what: str) -> None:
    target = tmp_path / "out"
    if what == "file":
        target.write_text("")
    elif what == "read-only":
        target = Path("/proc/1")  # takes no file, not even of root
    root = into(tmp_path, target)
    entry_id = root.put("x@far.example", message=TEXT)
    assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    assert not root.queued()
    if what == "missing":
        target.mkdir()
        root.due(entry_id)
        (root.paths.state / "relay" / "destinations.json").unlink(missing_ok=True)
        assert await root.once() == os.EX_OK
        assert len(list(target.iterdir())) == 1


async def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    root = into(tmp_path, target)
    entry_id = root.put("x@far.example", message=TEXT)

    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lanmail.transports.folder.atomic.write_all", full)
    assert await root.once() == os.EX_TEMPFAIL
    assert list(target.iterdir()) == []
    assert root.waiting() == [entry_id]
    state = root.state(entry_id)
    assert state is None or "No space left" in str(state)


async def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target, secret = tmp_path / "out", tmp_path / "secret"
    target.mkdir()
    secret.write_text("mine")
    root = into(tmp_path, target)
    entry_id = root.put("x@far.example", message=TEXT)
    (target / f".{entry_id}.tmp").symlink_to(secret)
    (target / f"{entry_id}.eml").symlink_to(secret)
    assert await root.once() == os.EX_OK
    assert secret.read_text() == "mine"
    assert (target / f"{entry_id}.eml").read_bytes().endswith(TEXT)
    assert [one.name for one in target.iterdir()] == [f"{entry_id}.eml"]


async def test_probe_leaves_nothing(tmp_path: Path) -> None:
    house = transports.House(paths.of_root(tmp_path), Settings)
    way = Outgoing.model_validate({"transport": "folder", "folder": {"path": str(tmp_path / "out")}})
    one, said = folder.Transport(house), list[str]()
    with pytest.raises(transports.Unreachable, match="is not there"):
        await one.probe(way, None, said.append)
    (tmp_path / "out").mkdir()
    await one.probe(way, None, said.append)
    assert said[-1] == "made, flushed and removed again"
    assert list((tmp_path / "out").iterdir()) == []


def test_our_own_pickup_takes_the_file() -> None:
    """Two lanmail servers can be joined by a directory."""
    head = envelope.Envelope(address.parse("a@b.example"), [envelope.Recipient(address.parse("x@y.example"))])
    header = pickup.read(envelope.encode(head) + TEXT, "office.lan")
    assert [str(one.address) for one in header.receivers] == ["x@y.example"]
    assert str(header.sender) == "a@b.example"
