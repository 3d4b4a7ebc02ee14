"""Forwards through deliver, with the rule and its guards: what stays, what leaves, and what an attacker may try."""

import time

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from lanmail import config, dkim, envelope
from lanmail.delivery import expansion
from lanmail.errors import Permanent
from tests.mailroot import Root, files


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def account(root, name, *to, keep=False, more=""):
    targets = ", ".join(f'"{one}"' for one in to)
    (root.paths.accounts / f"{name}.toml").write_text(
        f"{more}\n[forward]\nto = [{targets}]\nkeep = {str(keep).lower()}\n")


def outside(root):
    found = []
    for text in files(root.paths.outbound / "new"):
        head, offset = envelope.decode(text)
        found.append((head, text[offset:]))
    return found


def notes(root):
    return [mail for mail in root.inbox("chef") if b"Subject: Forward of" in mail]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("target", ["schmidt", "info", "eva@far.example", "away"])
def test_each_kind_of_target_with_and_without_a_copy(root, target, keep):
    root.paths.aliases.write_text('info = ["schmidt", "y@far.example"]\naway = ["x@far.example"]\n')
    account(root, "meier", target, keep=keep)
    root.put("meier@office.lan", sender="who@else.example")
    assert root.run() == 0
    assert len(root.inbox("meier")) == keep
    assert len(root.inbox("schmidt")) == (target in ("schmidt", "info"))
    assert len(outside(root)) == (target != "schmidt")
    for head, text in outside(root):
        assert str(head.sender) == "meier@office.lan"
        assert text.startswith(b"Return-Path: <who@else.example>\nDelivered-To: meier@office.lan\n"
                               b"X-Forwarded-For: meier@office.lan\n")
    assert root.waiting() == []


def test_a_forward_leaves_a_dkim_signature_as_it_was(root):
    private = ed25519.Ed25519PrivateKey.generate()
    path = root.paths.conf / "key.pem"
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    key = dkim.load(path, "far.example", "s")
    text = ("From: A <a@far.example>\nTo: meier@office.lan\nSubject: Gr\u00fc\u00dfe\n \tund  mehr\n"
            "Date: Sat, 21 Nov 2026 10:00:00 +0100\n\nbody \u00e4  \n\n.\n\n").encode()
    account(root, "meier", "eva@far.example", keep=True)
    root.put("meier@office.lan", message=b"Return-Path: <a@far.example>\nReceived: from a by b; now\n"
             + dkim.sign(text, key, int(time.time())) + text)
    assert root.run() == 0
    (_, sent), (kept,) = outside(root)[0], root.inbox("meier")
    for mail in (sent, kept[kept.index(b"Return-Path"):]):
        assert mail.endswith(text)
        assert dkimpy.verify(mail.partition(b"\n")[2].replace(b"\n", b"\r\n"),
                             dnsfunc=lambda _name, timeout=5: dkim.record(key).encode())


def test_an_account_kept_in_the_house_forwards_here_only(root):
    root.paths.aliases.write_text('away = ["x@far.example", "schmidt"]\n')
    account(root, "meier", "eva@far.example", "away", more="deny_internet = true")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert outside(root) == []
    assert (len(root.inbox("schmidt")), len(root.inbox("meier"))) == (1, 0)
    account(root, "schmidt", "eva@far.example", more="deny_internet = true")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert outside(root) == []
    assert (len(root.inbox("schmidt")), len(root.inbox("meier"))) == (2, 0)
    assert b"schmidt was not forwarded" in notes(root)[0]


def test_what_a_group_sends_outside_for_a_forward_comes_back_to_the_account(root):
    """Not to the owner of the group: it is meier who has no copy."""
    root.paths.groups.write_text('[team]\nmembers = ["schmidt", "eva@far.example"]\nowner = "chef"\n')
    account(root, "meier", "team")
    root.put("meier@office.lan")
    assert root.run() == 0
    ((head, text),) = outside(root)
    assert str(head.sender) == "meier@office.lan"
    assert head.origin == envelope.Origin("forward", (("account", "meier"), ("keep", "no")))
    assert b"\nX-Loop: <team@office.lan>\n" in text
    assert b"\nDelivered-To: meier@office.lan\n" in text
    assert (len(root.inbox("schmidt")), len(root.inbox("meier"))) == (1, 0)


def test_a_group_that_only_reaches_the_internet_takes_nothing_of_an_account_kept_in_the_house(root):
    root.paths.groups.write_text('[team]\nmembers = ["eva@far.example"]\n')
    account(root, "meier", "team", more="deny_internet = true")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert outside(root) == []
    assert len(root.inbox("meier")) == 1


def test_two_send_to_each_other(root):
    account(root, "meier", "schmidt")
    account(root, "schmidt", "meier")
    root.put("meier@office.lan", "schmidt@office.lan")
    root.put("schmidt@office.lan")
    assert root.run() == 0
    assert len(root.inbox("meier")) + len(root.inbox("schmidt")) == 2
    assert len(notes(root)) <= 2
    assert root.waiting() == []


def test_round_through_another_house_it_stays_where_it_comes_back(root):
    """meier → outside → schmidt → meier, by what goes out and comes in again."""
    account(root, "meier", "eva@far.example")
    account(root, "schmidt", "meier")
    root.put("meier@office.lan")
    assert root.run() == 0
    ((_, text),) = outside(root)
    root.put("schmidt@office.lan", message=text)
    assert root.run() == 0
    assert len(outside(root)) == 1
    assert (len(root.inbox("meier")), len(root.inbox("schmidt"))) == (1, 0)
    assert b"forwarded from meier before" in notes(root)[0]


def test_the_postmasters_own_circle_ends(root):
    """chef → outside → chef: the note about it makes the same round once, and no second note comes."""
    account(root, "chef", "boss@far.example", more="postmaster = true")
    root.put("chef@office.lan")
    rounds = 0
    while rounds < 20:
        assert root.run() == 0
        found = outside(root)
        for path in (root.paths.outbound / "new").iterdir():
            path.unlink()
        if not found:
            break
        for head, text in found:
            root.put("chef@office.lan", message=text, sender=str(head.sender) if head.sender else None)
        rounds += 1
    assert rounds == 2
    assert len(root.inbox("chef")) == 2
    assert len(notes(root)) == 1


def test_a_line_that_names_nobody_stops_no_forward(root):
    account(root, "meier", "eva@far.example")
    root.put("meier@office.lan", message=b"Return-Path: <a@b.example>\nDelivered-To:\nDelivered-To: <>\n\nx\n")
    assert root.run() == 0
    assert len(outside(root)) == 1
    assert root.held() == {}


def test_a_notice_about_a_notice_says_so_when_it_is_forwarded(root):
    account(root, "chef", "boss@far.example", more="postmaster = true")
    root.put("postmaster@office.lan", sender=None, kind="local", source="double")
    root.put("chef@office.lan", kind="fetch", source="double")  # there it is the name of a mailbox elsewhere
    assert root.run() == 0
    assert sorted(str(head.origin.get("source")) for head, _ in outside(root)) == ["None", "double"]


def test_the_refusal_of_a_target_stays_in_the_house(root, monkeypatch):
    def refuse(_mail, visit):
        if visit.name == "schmidt":
            raise Permanent("not wanted here", 550, "5.7.1")
    monkeypatch.setattr(expansion, "RULES", (*expansion.RULES, refuse))
    account(root, "meier", "schmidt")
    root.put("meier@office.lan", sender="chef@office.lan", kind="submission", account="chef")
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert not any(b"not wanted here" in mail for mail in root.inbox("chef"))


def test_settings_of_a_forward_are_read_at_each_mail(root):
    account(root, "meier", "schmidt")
    root.put("meier@office.lan")
    assert root.run() == 0
    config.edit(root.paths.accounts / "meier.toml", {"forward.to": []})
    root.put("meier@office.lan")
    assert root.run() == 0
    assert (len(root.inbox("schmidt")), len(root.inbox("meier"))) == (1, 1)
