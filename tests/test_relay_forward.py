"""relay: what becomes of mail that an account forwarded, above all when it cannot be delivered."""

import os
from pathlib import Path

import pytest

from lanmail import deliver, envelope
from tests import mailroot
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer

ALL = ("PIPELINING", "8BITMIME", "SIZE 1000000", "ENHANCEDSTATUSCODES")
NO = {"RCPT": "550 5.1.1 no such user"}
TEXT = (b"Delivered-To: meier@office.lan\nX-Forwarded-For: meier@office.lan\nReceived: from a by b; now\n"
        b"From: Stranger <a@far.example>\nTo: meier@office.lan\nSubject: hi\n\nb\xe4dy\n.\n")


def forwarded(root: Root, *to: str, keep: str = "no", account: str = "meier", sender: str | None = "meier@office.lan",
              message: bytes = TEXT, **facts: str | float) -> str:
    more = {key: value for key, value in facts.items() if isinstance(value, str)}
    return root.put(*(to or ("eva@far.example",)), sender=sender, message=message, origin="forward",
                    age=float(facts.get("age", 0)), account=account, keep=keep, **more)


def kinds(root: Root) -> dict[str, tuple[envelope.Envelope, bytes]]:
    """What relay put into the queue: the mail itself, what the account is told, what the postmaster is told."""
    found = {}
    for head, text in root.queued():
        assert head.sender is None
        (to,) = head.recipients
        assert head.origin is not None
        kind = "itself" if b"delivery-status" not in text else str(to.address).partition("@")[0]
        assert kind not in found, "twice"
        assert (head.origin.kind == "returned") is (head.origin.get("account") is not None)
        found[kind] = head, text
    return found


async def test_a_failed_forward_comes_back_and_the_account_and_the_postmaster_are_told(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = forwarded(root)
        assert await root.once() == os.EX_OK
    found = kinds(root)
    assert set(found) == {"itself", "meier", "postmaster"}
    head, text = found["itself"]
    assert text == b"Return-Path: <meier@office.lan>\n" + TEXT
    assert str(head.recipients[0].address) == "meier@office.lan"
    assert head.origin == envelope.Origin("returned", (("account", "meier"),))
    head, text = found["meier"]
    assert head.origin == envelope.Origin("returned", (("account", "meier"), ("source", "dsn")))
    for needed in (b"To: <meier@office.lan>", b"Final-Recipient: rfc822; eva@far.example", b"550 5.1.1 no such user",
                   b"The mail itself is in the mailbox", b"Subject: Mail could not be forwarded"):
        assert needed in text
    assert found["postmaster"][0].origin == envelope.Origin("local", (("source", "dsn"),))
    assert not any(b"a@far.example" in str(one).encode() for head, _ in found.values() for one in head.recipients)
    assert not root.waiting()
    assert root.state(entry_id) is None
    assert entry_id in root.events("returned")[0]
    assert len(root.events("bounced")) == 1


async def test_with_a_copy_in_the_mailbox_nothing_comes_back(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, keep="yes")
        assert await root.once() == os.EX_OK
    found = kinds(root)
    assert set(found) == {"meier", "postmaster"}
    assert b"A copy stayed in the mailbox" in found["meier"][1]


async def test_a_bounce_that_was_forwarded_comes_back_and_only_the_postmaster_is_told(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, sender=None)
        assert await root.once() == os.EX_OK
    found = kinds(root)
    assert set(found) == {"itself", "postmaster"}
    assert found["postmaster"][0].origin == envelope.Origin("local", (("source", "double"),))


@pytest.mark.parametrize("source", ["double", "note"])
@pytest.mark.parametrize("keep", ["yes", "no"])
async def test_what_was_for_the_postmaster_already_comes_back_and_nobody_is_told(
        tmp_path: Path, source: str, keep: str) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, sender=None, account="chef", keep=keep, source=source)
        assert await root.once() == os.EX_OK
    assert set(kinds(root)) == ({"itself"} if keep == "no" else set())
    assert len(root.events("untold")) == 1


@pytest.mark.parametrize("sender", ["chef@office.lan", None])
async def test_the_postmasters_own_forward_tells_him_once_and_not_by_that_way(
        tmp_path: Path, sender: str | None) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, sender=sender, account="chef")
        assert await root.once() == os.EX_OK
    found = kinds(root)
    assert len(found) == 2
    for head, _ in found.values():
        assert head.origin is not None
        assert (head.origin.kind, head.origin.get("account")) == ("returned", "chef")


@pytest.mark.parametrize("keep", ["yes", "no"])
@pytest.mark.parametrize("sender", ["meier@office.lan", None])
async def test_without_a_postmaster_nothing_goes_to_hold(tmp_path: Path, keep: str, sender: str | None) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port), postmaster=False)
        forwarded(root, keep=keep, sender=sender)
        assert await root.once() == os.EX_OK
    assert set(kinds(root)) == ({"itself"} if keep == "no" else set()) | ({"meier"} if sender else set())
    assert not root.held()


@pytest.mark.parametrize(("keep", "back"), [("no", ["meier", "anna", "uta"]), ("yes", ["anna", "uta"])])
async def test_all_who_forwarded_it_to_the_address_and_have_no_copy_get_it_back(
        tmp_path: Path, keep: str, back: list[str]) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, keep=keep, also="anna,uta")
        assert await root.once() == os.EX_OK
    (itself,), (told,) = ([head for head, text in root.queued() if (b"delivery-status" in text) is report
                           and head.origin is not None and head.origin.kind == "returned"] for report in (False, True))
    assert [one.address.local for one in itself.recipients] == back
    assert [one.address.local for one in told.recipients] == ["meier", "anna", "uta"]


async def test_postmaster_copies_can_be_off(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port), settings="[relay]\npostmaster_copies = false")
        forwarded(root)
        assert await root.once() == os.EX_OK
    assert set(kinds(root)) == {"itself", "meier"}


async def test_lists_and_answers_that_were_forwarded_are_told_of_too(tmp_path: Path) -> None:
    """It is the account's forward that failed, whatever the mail is."""
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, message=b"List-Id: <x.far.example>\nPrecedence: bulk\nAuto-Submitted: auto-replied\n" + TEXT)
        assert await root.once() == os.EX_OK
    assert set(kinds(root)) == {"itself", "meier", "postmaster"}


async def test_two_targets_that_fail_at_different_times_bring_it_back_once(tmp_path: Path) -> None:
    refused = {"eva@far.example"}
    script = {"RCPT": lambda _s, line: "550 5.1.1 no" if any(one in line for one in refused) else "451 4.2.0 later"}
    async with Peer(*ALL, script=script) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = forwarded(root, "eva@far.example", "uta@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert set(kinds(root)) == {"itself", "meier", "postmaster"}
        refused.add("uta@far.example")
        root.due(entry_id)
        assert await root.once() == os.EX_OK
    texts = [text for _, text in root.queued()]
    assert sum(b"delivery-status" not in text for text in texts) == 1
    assert sum(b"Final-Recipient: rfc822; uta" in text for text in texts) == 2
    assert len(texts) == 5


async def test_a_late_forward_is_told_to_the_account_alone_then_comes_back(tmp_path: Path) -> None:
    async with Peer(*ALL, script={"RCPT": "451 4.2.0 later"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        forwarded(root, age=5 * 3600)
        assert await root.once() == os.EX_TEMPFAIL
        ((head, text),) = root.queued()
        assert head.origin == envelope.Origin("returned", (("account", "meier"), ("source", "dsn")))
        assert [str(one.address) for one in head.recipients] == ["meier@office.lan"]
        assert b"Action: delayed" in text
        other = Root(tmp_path / "other", smarthost(peer.port))
        forwarded(other, age=6 * 86400)
        assert await other.once() == os.EX_OK
        assert set(kinds(other)) == {"itself", "meier", "postmaster"}


async def test_a_large_mail_comes_back_whole(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        text = TEXT + os.urandom(1 << 20).replace(b"\r", b"x").hex("\n", 40).encode() + b"\n"
        forwarded(root, message=text)
        assert await root.once() == os.EX_OK
    assert kinds(root)["itself"][1] == b"Return-Path: <meier@office.lan>\n" + text


async def test_what_comes_back_lands_in_the_mailbox_whatever_the_account_wishes(tmp_path: Path) -> None:
    async with Peer(*ALL, script=NO) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.account("meier", '[forward]\nto = ["eva@far.example"]')
        forwarded(root)
        assert await root.once() == os.EX_OK
    assert await deliver.once(root.context()) == os.EX_OK
    mails = mailroot.files(root.paths.maildirs / "meier" / "new")
    assert len(mails) == 2
    assert sum(mail.endswith(TEXT) for mail in mails) == 1
    assert len(mailroot.files(root.paths.maildirs / "chef" / "new")) == 1
    assert not root.waiting()


# the second look at what must not go out, and the way of the account

@pytest.mark.parametrize("origin", ["forward", "autoresponder", "submission", "local"])
async def test_an_account_kept_in_the_house_sends_nothing_out_by_any_way(tmp_path: Path, origin: str) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.account("meier", "deny_internet = true")
        root.put("eva@far.example", origin=origin, account="meier", keep="no")
        assert await root.once() == os.EX_OK
        assert not peer.taken
        assert "521 5.7.1 User <eva@far.example> not local" in "".join(text.decode("utf-8", "replace")
                                                                       for _, text in root.queued())
        assert any(b"delivery-status" not in text for _, text in root.queued()) is (origin == "forward")


async def test_a_forward_goes_the_way_of_its_account(tmp_path: Path) -> None:
    async with Peer(*ALL) as mine, Peer(*ALL) as default:
        root = Root(tmp_path, smarthost(default.port, 'overwrite_sender = "office@firma.example"'))
        root.account("meier", f'[outgoing]\n{smarthost(mine.port)}overwrite_sender = "%localpart%@firma.example"')
        forwarded(root, message=b"From: Stranger <a@far.example>\n\nx\n")
        forwarded(root, message=b"From: Stranger <a@far.example>\n\nbounce\n", sender=None)
        assert await root.once() == os.EX_OK
        assert not default.taken
        assert sorted(one.sender for one in mine.taken) == ["", "meier@firma.example"]
        for one in mine.taken:
            assert one.text.startswith(b"From: Stranger <meier@firma.example>\r\nReply-To: Stranger <a@far")


async def test_the_size_limit_of_the_account_brings_it_back(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.account("meier", '[outgoing]\nmax_size = "1KB"')
        forwarded(root, message=TEXT + b"x" * 2000 + b"\n")
        assert await root.once() == os.EX_OK
        assert not peer.taken
    assert set(kinds(root)) == {"itself", "meier", "postmaster"}


async def test_an_unchanged_forward_is_byte_for_byte_what_came(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        text = b"Bcc: x@y.example\n" + TEXT  # what others wrote is not ours to take away
        forwarded(root, message=text)
        assert await root.once() == os.EX_OK
        assert peer.taken[0].text == text.replace(b"\n", b"\r\n")
        assert peer.taken[0].sender == "meier@office.lan"
