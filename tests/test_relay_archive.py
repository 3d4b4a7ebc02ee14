"""relay hands the archive the form that went out, where it had to change the mail: once, exact, whatever goes wrong."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lanmail import archived, log
from lanmail.archiving import journal, store
from lanmail.relaying import archiving
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer
from tests.test_smime import TEXT, Authority, known, office, openssl

OVERWRITE = 'overwrite_sender = "office@firma.example"'


def entries(root: Root) -> list[tuple[str, str, list[str], bytes]]:
    """What waits to be archived: the id of the mail, the sender, the recipients, the message."""
    found = []
    directory = root.paths.spool / "archive/new"
    for name in sorted(os.listdir(directory)) if directory.is_dir() else []:
        head, text = store.split((directory / name).read_bytes())
        known = store.facts(head)
        assert (known.form, known.submitter, known.direction) == ("sent", "meier", "out")
        found.append((known.id, str(head.sender or ""), [str(one.address) for one in head.recipients], text))
    return found


def put(root: Root, *to: str, mail_id: str = "17.M1.mail", **more: object) -> str:
    return root.put(*to, account="meier", archived=mail_id, **more)  # type: ignore[arg-type]


async def test_the_form_that_went_out(tmp_path: Path) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE))
        put(root, "a@far.example", "b@else.example")
        root.put("c@far.example")  # of an account that is not archived
        assert await root.once() == 0
    (mail_id, sender, recipients, text), = entries(root)
    assert (mail_id, sender, recipients) == ("17.M1.mail", "office@firma.example", ["a@far.example", "b@else.example"])
    assert text.replace(b"\n", b"\r\n") == b"Return-Path: <office@firma.example>\r\n" + peer.taken[0].text


async def test_what_relay_does_not_change_is_not_kept_twice(tmp_path: Path) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port))
        put(root, "a@far.example")
        assert await root.once() == 0
        assert len(peer.taken) == 1
    assert entries(root) == []


async def test_once_however_many_parts_and_tries(tmp_path: Path) -> None:
    async with Peer(script={"RCPT": lambda session, line: "451 4.7.1 later" if "slow" in line else None}) as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE + "\nmax_recipients = 1"))
        entry_id = put(root, "a@far.example", "slow@far.example", "c@far.example")
        for _ in range(3):
            assert await root.once() == 75
            root.due(entry_id)
        assert len(peer.taken) == 2
    assert len(entries(root)) == 1


async def test_a_mail_that_cannot_be_archived_does_not_go_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE))
        entry_id = put(root, "a@far.example")
        with monkeypatch.context() as patch:
            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(archiving, "keep", full)
            assert await root.once() == 75
        assert not peer.taken
        state = root.state(entry_id)
        assert state is not None
        assert "No space left" in str(state["recipients"])
        root.due(entry_id)
        assert await root.once() == 0
        assert len(peer.taken) == 1
    assert len(entries(root)) == 1


async def test_a_message_cannot_write_its_own_envelope(tmp_path: Path) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE))
        put(root, "a@far.example", message=b"X-Receiver: <evil@far.example>\nFrom: meier@office.lan\n\nx\n")
        assert await root.once() == 0
    (_, _, recipients, text), = entries(root)
    assert recipients == ["a@far.example"]
    assert b"evil@far.example" in text


async def test_both_forms_are_one_mail_in_the_archive(tmp_path: Path) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE))
        put(root, "a@far.example")
        assert await root.once() == 0
    log.setup("archived", root.paths.log)
    context = replace(root.context(), name="archived")
    assert await archived.once(context) == 0
    line, = [one.data for one in journal.lines(journal.path(root.paths)) if one.kind == "mail"]
    assert (line["id"], line["form"], line["sender"]) == ("17.M1.mail", "sent", "office@firma.example")


async def test_a_try_after_a_crash_hands_on_the_same_entry(tmp_path: Path) -> None:
    async with Peer(script={"RCPT": "451 4.7.1 later"}) as peer:
        root = Root(tmp_path, smarthost(peer.port, OVERWRITE))
        entry_id = put(root, "a@far.example")
        assert await root.once() == 75
        (root.paths.state / "outbound" / f"{entry_id}.json").unlink()  # killed before it was written
        assert await root.once() == 75
    assert len(entries(root)) == 1


@openssl
async def test_each_form_that_somebody_gets(tmp_path: Path) -> None:
    """Who gets a blind copy gets a message of his own, when it is encrypted."""
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    authority.issue("me@office.lan")
    async with Peer("8BITMIME") as peer:
        root = office(tmp_path / "root", peer.port, authority, 'encrypt = "require"')
        known(root, authority, "x@far.example", "bcc@far.example")
        put(root, "x@far.example", "bcc@far.example", message=TEXT)
        assert await root.once() == 0
    taken = {tuple(mail.recipients): mail.text for mail in peer.taken}
    found = {tuple(recipients): text for _, _, recipients, text in entries(root)}
    assert set(found) == set(taken) == {("x@far.example",), ("bcc@far.example",)}
    for who, text in found.items():
        assert text.partition(b"\n")[2].replace(b"\n", b"\r\n") == taken[who].replace(b"\r\r\n", b"\r\n")
