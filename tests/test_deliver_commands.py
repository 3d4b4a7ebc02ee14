"""Commands by mail through deliver: carried out, answered once, and the answer takes the new way."""

import tomllib
from pathlib import Path

import pytest

from lanmail import config
from tests.mailroot import DOMAIN, Root, Running, dying, files, in_a_child

ME = f"meier@{DOMAIN}"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def order(root: Root, subject: str, *more: str, body: str = "Text\n") -> str:
    """A command of meier's to himself, and to others; its id."""
    text = f"Return-Path: <{ME}>\nReceived: from x by y\nFrom: {ME}\nTo: {ME}\nSubject: {subject}\n\n{body}"
    return root.put(ME, *more, sender=ME, kind="submission", account="meier", message=text.encode())


def outbound(root: Root) -> list[bytes]:
    return files(root.paths.outbound / "new")


def meier(root: Root) -> dict:
    return tomllib.loads((root.paths.accounts / "meier.toml").read_text())


def test_the_answer_goes_to_the_new_address(root: Root) -> None:
    order(root, "LMS Forwarding on eva@far.example")
    assert root.run() == 0
    (sent,) = outbound(root)
    assert sent.startswith(b"X-Sender: <>\nX-Receiver: <eva@far.example>\nX-Origin: forward account=meier keep=no ")
    assert b"\nSubject: Forwarding is on: eva@far.example\n" in sent
    assert root.inbox("meier") == []
    root.put(ME)
    order(root, "LMS Forwarding off")
    assert root.run() == 0
    assert len(outbound(root)) == 2
    (told,) = root.inbox("meier")
    assert b"\nSubject: Forwarding is off\n" in told


async def test_the_answer_goes_the_new_way_in_a_deliver_that_runs(root: Root) -> None:
    async with Running(root) as running:
        root.put(ME)
        await running.settled()
        assert len(root.inbox("meier")) == 1
        order(root, "LMS Forwarding on schmidt")
        await running.settled()
    (told,) = root.inbox("schmidt")
    assert b"\nSubject: Forwarding is on: schmidt@office.lan\n" in told
    assert len(root.inbox("meier")) == 1, "not the command, and no copy"


def test_a_copy_stays_if_the_account_says_so(root: Root) -> None:
    config.edit(root.paths.accounts / "meier.toml", {"forward.keep": True})
    order(root, "LMS Forwarding on schmidt")
    assert root.run() == 0
    assert len(root.inbox("meier")) == len(root.inbox("schmidt")) == 1


def test_a_group_gets_the_answer_and_all_mail(root: Root) -> None:
    root.paths.groups.write_text('[team]\nmembers = ["schmidt", "chef", "x@far.example"]\n')
    order(root, "LMS Forwarding on team")
    assert root.run() == 0
    root.put(ME)
    assert root.run() == 0
    assert (len(root.inbox("schmidt")), len(root.inbox("chef")), len(outbound(root))) == (2, 2, 2)
    assert root.inbox("meier") == []


def test_others_get_it_as_a_mail(root: Root) -> None:
    order(root, "LMS Forwarding on eva@far.example", f"schmidt@{DOMAIN}", "x@far.example")
    assert root.run() == 0
    (copy,) = root.inbox("schmidt")
    assert b"\nSubject: LMS Forwarding on eva@far.example\n" in copy
    assert "forward" not in tomllib.loads((root.paths.accounts / "schmidt.toml").read_text())
    assert len(outbound(root)) == 2


def test_an_error_is_answered_and_nothing_kept(root: Root) -> None:
    order(root, "LMS Forwarding on nobody")
    assert root.run() == 0
    (told,) = root.inbox("meier")
    assert b"\nSubject: Forwarding was not changed\n" in told
    assert meier(root) == {"disabled": False}


def test_a_circle_of_two_forwards_keeps_the_answers(root: Root) -> None:
    config.edit(root.paths.accounts / "schmidt.toml", {"forward.to": ["meier"]})
    order(root, "LMS Forwarding on schmidt")
    assert root.run() == 0
    assert len(root.inbox("meier")) + len(root.inbox("schmidt")) == 1


def test_dropped_and_foreign_mail_is_delivered(root: Root) -> None:
    subject = "Subject: LMS Forwarding on evil@far.example"
    head = f"X-Sender: <{ME}>\nX-Receiver: <{ME}>\nX-Origin: submission account=meier\n"
    root.drop("a.eml", f"{head}{subject}\n\nx\n".encode())
    for kind in ("mx", "lan", "lmtp", "fetch"):
        root.put(ME, sender=ME, kind=kind, message=f"Return-Path: <{ME}>\n{subject}\n\nx\n".encode())
    assert root.run() == 0
    assert len(root.inbox("meier")) == 5
    assert meier(root) == {"disabled": False}


@pytest.mark.parametrize("step", range(0, 60, 3))
def test_killed_anywhere_it_is_answered_once(root: Root, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    order(root, "LMS Forwarding on schmidt", f"chef@{DOMAIN}")

    async def life() -> None:
        with dying(step, monkeypatch):
            async with Running(root):
                pass
    in_a_child(life)
    assert root.run() == 0
    assert meier(root)["forward"]["to"] == ["schmidt"]
    assert (len(root.inbox("schmidt")), len(root.inbox("chef")), root.inbox("meier")) == (1, 1, [])
    assert root.waiting() == []
