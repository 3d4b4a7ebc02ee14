"""Copies of sent mail in the sender's Sent folder, through deliver; Bcc lines, which nobody else sees."""

import os
from pathlib import Path

import pytest

from lanmail import config, envelope, maildir
from lanmail.folders import specialuse, subscriptions
from tests.mailroot import DOMAIN, Root, Running, dying, files, in_a_child

ME = f"meier@{DOMAIN}"
MAIL = (f"Return-Path: <{ME}>\nReceived: from x by y\nFrom: {ME}\nTo: schmidt@{DOMAIN}\nBcc: chef@{DOMAIN},\n"
        " chief@x.example\nSubject: offer\nresent-bcc: a@x.example\n\nBcc: body\n").encode()
SHOWN = (f"Return-Path: <{ME}>\nReceived: from x by y\nFrom: {ME}\nTo: schmidt@{DOMAIN}\n"
         "Subject: offer\n\nBcc: body\n").encode()


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path)
    config.edit(made.paths.accounts / "meier.toml", {"sent_copy": True})
    return made


def submit(root: Root, *to: str, text: bytes = MAIL, account: str = "meier") -> str:
    return root.put(*(to or (f"schmidt@{DOMAIN}",)), sender=ME, kind="submission", account=account, message=text)


def inbox(root: Root, account: str) -> list[bytes]:
    """The mails as clients see them: one that was renamed has its envelope lines in front still."""
    return [one[envelope.decode(one)[1]:] for one in root.inbox(account)]


def home(root: Root) -> str:
    return str(root.paths.maildirs / "meier")


def sent(root: Root, folder: str = ".Sent") -> list[bytes]:
    assert not (root.paths.maildirs / "meier" / folder / "new").is_dir() or \
        files(root.paths.maildirs / "meier" / folder / "new") == []
    return files(root.paths.maildirs / "meier" / folder / "cur")


def test_the_folder_is_made_as_the_first_log_in_would(root: Root) -> None:
    entry_id = submit(root)
    assert root.run() == 0
    assert sent(root) == [MAIL]
    (name,) = os.listdir(f"{home(root)}/.Sent/cur")
    assert name.startswith(f"{entry_id},S={len(MAIL)},")
    assert name.endswith(":2,S")
    assert maildir.specials(home(root), maildir.folders(home(root)))["\\Sent"] == "Sent"
    assert {"INBOX", "Sent", "Drafts"} <= set(subscriptions.load(home(root)))
    assert os.path.exists(f"{home(root)}/.Sent/maildirfolder")
    assert inbox(root, "schmidt") == [SHOWN]
    assert inbox(root, "meier") == []


@pytest.mark.parametrize("name", ["SENT", "Sent Items", "Gesendete Objekte", "gesendet"])
def test_a_folder_that_is_there_is_taken(root: Root, name: str) -> None:
    maildir.ensure(home(root))
    maildir.create(home(root), name)
    submit(root)
    assert root.run() == 0
    assert sent(root, f".{name}") == [MAIL]
    assert [one for one in maildir.folders(home(root)) if one.casefold() == "sent" and one != name] == []


def test_the_folder_that_a_client_chose_is_taken(root: Root) -> None:
    maildir.prepare(home(root))
    maildir.create(home(root), "Ablage.Ausgang ü", ["\\Sent"])
    submit(root)
    assert root.run() == 0
    assert (sent(root, ".Ablage.Ausgang &APw-"), sent(root)) == ([MAIL], [])


def test_one_that_was_deleted_is_made_again_and_subscribed(root: Root) -> None:
    maildir.prepare(home(root))
    maildir.delete(home(root), "Sent")
    subscriptions.remove(home(root), "Sent")
    maildir.create(home(root), "Kunden")
    submit(root)
    assert root.run() == 0
    assert sent(root) == [MAIL]
    assert "Sent" in subscriptions.load(home(root))


def test_a_name_that_is_used_otherwise_is_not_taken(root: Root) -> None:
    maildir.prepare(home(root))
    specialuse.assign(home(root), "Sent", ["\\Archive"], lambda _other: False)
    submit(root)
    assert root.run() == 0
    assert (sent(root, ".Sent Items"), sent(root)) == ([MAIL], [])


def test_outside_and_to_oneself(root: Root) -> None:
    submit(root, "x@far.example", "y@far.example", ME)
    assert root.run() == 0
    assert (sent(root), inbox(root, "meier")) == ([MAIL], [SHOWN])
    (out,) = files(root.paths.outbound / "new")
    assert out.startswith(f"X-Sender: <{ME}>\nX-Receiver: <x@far.example>\nX-Receiver: <y@far.example>\n".encode())


@pytest.mark.parametrize(("kind", "facts"), [
    ("mx", {}), ("lan", {}), ("pickup", {}), ("fetch", {"account": "meier"}), ("submission", {"account": "schmidt"})])
def test_only_what_the_account_submits(root: Root, kind: str, facts: dict) -> None:
    root.put(f"chef@{DOMAIN}", sender=ME, kind=kind, message=SHOWN, **facts)
    assert root.run() == 0
    assert inbox(root, "chef") == [SHOWN]
    assert not os.path.isdir(f"{home(root)}/.Sent")


def test_off_is_off(root: Root) -> None:
    config.edit(root.paths.accounts / "meier.toml", {"sent_copy": False})
    submit(root)
    assert root.run() == 0
    assert inbox(root, "schmidt") == [SHOWN], "Bcc lines go all the same"
    assert not os.path.isdir(home(root))


@pytest.mark.parametrize(("kind", "shown"), [("submission", SHOWN), ("lan", SHOWN), ("mx", MAIL), ("lmtp", MAIL)])
def test_a_bcc_line_of_ours_is_seen_by_nobody(tmp_path: Path, kind: str, shown: bytes) -> None:
    root = Root(tmp_path)
    facts = {"account": "meier"} if kind == "submission" else {}
    root.put(f"schmidt@{DOMAIN}", sender=ME, kind=kind, message=MAIL, **facts)
    root.put(f"schmidt@{DOMAIN}", f"chef@{DOMAIN}", sender=ME, kind=kind, message=MAIL, **facts)
    assert root.run() == 0
    assert inbox(root, "schmidt") == [shown] * 2
    assert inbox(root, "chef") == [shown]


def test_a_bcc_line_behind_a_long_header(root: Root) -> None:
    long = b"Return-Path: <meier@office.lan>\nX-Long: " + b"x" * 6000 + b"\n"
    submit(root, text=long + b"Bcc: chef@office.lan\nSubject: s\n\nbody\n")
    assert root.run() == 0
    assert inbox(root, "schmidt") == [long + b"Subject: s\n\nbody\n"]


def test_forwarded_elsewhere_it_is_not_seen_either(root: Root) -> None:
    config.edit(root.paths.accounts / "schmidt.toml", {"forward.to": ["x@far.example"]})
    submit(root)
    assert root.run() == 0
    (out,) = files(root.paths.outbound / "new")
    assert b"bcc" not in out.lower().partition(b"\n\n")[0]
    assert sent(root) == [MAIL]


def test_trouble_with_the_copy_holds_nobodys_mail_up(root: Root) -> None:
    maildir.prepare(home(root))
    maildir.delete(home(root), "Sent")
    for name in ("Sent", "Sent Items", "Sent Messages"):
        maildir.create(home(root), name)
    specialuse.assign(home(root), "Sent", ["\\Archive"], lambda _other: False)
    specialuse.assign(home(root), "Sent Items", ["\\Junk"], lambda _other: False)
    specialuse.assign(home(root), "Sent Messages", ["\\Trash"], lambda _other: False)
    submit(root)
    assert root.run() == os.EX_TEMPFAIL
    assert inbox(root, "schmidt") == [SHOWN]
    assert len(root.waiting()) == 1
    maildir.create(home(root), "Gesendet")
    assert root.run() == 0
    assert sent(root, ".Gesendet") == [MAIL]
    assert inbox(root, "schmidt") == [SHOWN]


@pytest.mark.parametrize("step", range(0, 80, 5))
def test_killed_anywhere_there_is_one_copy(root: Root, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    submit(root, f"schmidt@{DOMAIN}", "x@far.example")

    async def life() -> None:
        with dying(step, monkeypatch):
            async with Running(root):
                pass
    in_a_child(life)
    assert root.run() == 0
    assert (sent(root), inbox(root, "schmidt"), len(files(root.paths.outbound / "new"))) == ([MAIL], [SHOWN], 1)
    assert [name for name in maildir.folders(home(root)) if "ent" in name] == ["Sent"]
