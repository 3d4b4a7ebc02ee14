"""Forwarding and autoresponder switched by mail: who may, what counts as a command, what it changes and answers."""

from pathlib import Path

import pytest

from lanmail import accounts, atomic, config
from lanmail.errors import Temporary
from lanmail.rules import command
from tests.commands import DOMAIN, TEXT, Root, answer, forwards, kept, set_account, visited


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


@pytest.mark.parametrize(("subject", "expected"), [
    ("LMS Forwarding off", "forwarding off"),
    ("LMS forwarding OFF", "forwarding off"),
    ("LMS FORWARDING Off", "forwarding off"),
    ("LMS Forwarding off now, please", "forwarding off now, please"),
    ("LMS Forwarding on eva@example.org", "forwarding on eva@example.org"),
    ("LMS forwarding ON <eva@example.org>", "forwarding on <eva@example.org>"),
    ("LMS Forwarding on", "forwarding on"),
    ("LMS Autoresponder on", "autoresponder on"),
    ("LMS autoresponder On Bin bis Montag WEG", "autoresponder on Bin bis Montag WEG"),
    ("LMS Autoresponder off", "autoresponder off"),
    ("lms Forwarding off", None),
    ("Lms Forwarding off", None),
    ("Re: LMS Forwarding off", None),
    ("LMS Forwardingoff", None),
    ("LMS Forwarding offf", None),
    ("LMS Forwarding", None),
    ("LMS off", None),
    ("LMSForwarding off", None),
    ("LMS off Forwarding", None),
    ("LMS forwarding forwarding", None),
    ("LMS Weiterleitung an x@example.org", None),
    ("", None),
    ("LMS " * 5000, None),
])
def test_what_is_a_command(subject: str, expected: str | None) -> None:
    found = command.read(" ".join(subject.split()), {})
    assert (f"{found} {found.rest}".strip() if found else None) == expected


def test_more_words_can_be_configured() -> None:
    more = {"weiterleitung": "forwarding", "an": "on", "aus": "off"}
    assert command.read("LMS Weiterleitung AN x@y.example", more) == command.Command("forwarding", True, "x@y.example")
    assert str(command.read("LMS Autoresponder aus", more)) == "autoresponder off"


@pytest.mark.parametrize("subject", [
    "  LMS   Forwarding\ton   eva@example.org ",
    "LMS Forwarding\n on\n\teva@example.org",
    "=?utf-8?Q?LMS_Forwarding_on?= =?utf-8?B?IGV2YUBleGFtcGxlLm9yZw==?=",
])
def test_subjects_are_decoded_and_unfolded(root: Root, subject: str) -> None:
    visited(root, subject)
    assert forwards(root) == ["eva@example.org"]


@pytest.mark.parametrize(("kind", "facts"), [
    ("mx", {}), ("mx", {"account": "meier"}), ("lan", {}), ("lmtp", {}), ("pickup", {}), ("returned", {}),
    ("pickup", {"account": "meier"}), ("local", {"account": "meier"}), ("returned", {"account": "meier"}),
    ("fetch", {"account": "meier"}), ("fetch", {"source": "meier/gmx"}), ("submission", {"account": "schmidt"}),
])
def test_only_a_submission_of_the_account_itself_counts(root: Root, kind: str, facts: dict) -> None:
    headers = TEXT + b"X-Origin: submission account=meier\nFrom: meier@office.lan\nTo: meier@office.lan\n"
    visit = visited(root, "LMS Forwarding on eva@example.org", header=headers, kind=kind, **facts)
    assert (visit.consumed, visit.made, visit.keep, forwards(root)) == ("", [], True, [])


@pytest.mark.parametrize("to", ["info", "sales", "schmidt", "meier+x", "postmaster", "meier@example.org"])
def test_only_the_accounts_own_address_counts(root: Root, to: str) -> None:
    set_account(root, "chef", postmaster=False)
    set_account(root, postmaster=True)
    visit = visited(root, "LMS Forwarding on eva@example.org", to=to)
    assert (visit.consumed, forwards(root)) == ("", [])


@pytest.mark.parametrize("to", ["meier", "MEIER", "schmidt info Meier@Office.LAN"])
def test_it_may_be_one_of_several_recipients(root: Root, to: str) -> None:
    visited(root, "LMS Forwarding on eva@example.org", to=to.lower() if "@" in to else to)
    assert forwards(root) == ["eva@example.org"]


def test_at_another_account_it_is_an_ordinary_mail(root: Root) -> None:
    visit = visited(root, "LMS Forwarding on eva@example.org", to="meier schmidt", at="schmidt")
    assert (visit.consumed, "forward" in kept(root, "schmidt")) == ("", False)


@pytest.mark.parametrize("line", [
    b"Resent-From: meier@office.lan\n", b"resent-to: meier@office.lan\n", b"Received: from provider by laptop\n",
    b"Auto-Submitted: auto-replied\n", b"List-Id: <x.example>\n", b"Precedence: bulk\n",
])
def test_what_somebody_else_may_have_written_is_no_command(root: Root, line: bytes) -> None:
    visit = visited(root, "LMS Forwarding on evil@example.org", header=TEXT + line)
    assert (visit.consumed, forwards(root)) == ("", [])


def test_switched_off_for_all(tmp_path: Path) -> None:
    root = Root(tmp_path, settings="[deliver]\nmail_commands = false\n")
    assert visited(root, "LMS Forwarding on eva@example.org").consumed == ""


@pytest.mark.parametrize(("written", "stored"), [
    ("eva@example.org", "eva@example.org"), ("<eva@example.org>", "eva@example.org"), ("< eva@Example.ORG >",
     "eva@example.org"), ("schmidt", "schmidt"), ("Schmidt", "schmidt"), ("schmidt@office.lan", "schmidt@office.lan"),
    ("info", "info"), ("away", "away"), ("team", "team"), ("TEAM", "team"),
])
def test_forwarding_on(root: Root, written: str, stored: str) -> None:
    root.paths.groups.write_text('[team]\nmembers = ["schmidt", "x@far.example"]\n')
    path = root.paths.accounts / "meier.toml"
    path.write_text("# Eva's account\ndisabled = false  # never\n\n[forward]\n# Who gets it.\n# to = []\nkeep = true\n")
    found = answer(visited(root, f"LMS Forwarding on {written}", header=TEXT + b"Message-ID: <1@x>\n"))
    assert found["Subject"] == f"Forwarding is on: {stored if '@' in stored else stored + '@office.lan'}"
    assert "A copy of each mail stays" in found.get_content()
    assert (found["In-Reply-To"], found["References"]) == ("<1@x>", "<1@x>")
    assert path.read_text() == ("# Eva's account\ndisabled = false  # never\n\n[forward]\n# Who gets it.\n"
                                f'to = ["{stored}"]\nkeep = true\n')


def test_forwarding_off_keeps_everything_else(root: Root) -> None:
    set_account(root, forward__to=["a@example.org", "b@example.org"], forward__keep=True)
    found = answer(visited(root, "LMS Forwarding off", body=b"\xff\x00 whatever\n"))
    assert found["Subject"] == "Forwarding is off"
    assert config.load_account(root.paths.accounts / "meier.toml").forward.model_dump() == {"to": [], "keep": True}
    assert answer(visited(root, "LMS Forwarding off"))["Subject"] == "Forwarding is off"


@pytest.mark.parametrize(("written", "why"), [
    ("", "No address was given"),
    ("<>", "No address was given"),
    ("eva@", "is no address"),
    ("eva example.org", "is no address"),
    ("a@example.org, b@example.org", "is no address"),
    ("a@example.org;b@example.org", "is no address"),
    ("Eva <eva@example.org>", "is no address"),
    ("nobody", "There is no account, alias or group \"nobody\""),
    ("nobody@office.lan", "There is no account, alias or group"),
    ("meier", "your own address"),
    ("MEIER@office.lan", "your own address"),
    ("sales", "your own address"),
    ("=?utf-8?Q?x=0D=0ABcc:_evil@example.org?=", "is no address"),
    ("=?utf-8?Q?=1B[2Jx?=", "is no address"),
])
def test_a_wrong_address_changes_nothing(root: Root, written: str, why: str) -> None:
    set_account(root, forward__to=["before@example.org"])
    before = (root.paths.accounts / "meier.toml").read_bytes()
    found = answer(visited(root, f"LMS Forwarding on {written}"))
    assert found["Subject"] == "Forwarding was not changed"
    assert why in found.get_content()
    assert found["Bcc"] is None
    assert "\x1b" not in found.get_content()
    assert (root.paths.accounts / "meier.toml").read_bytes() == before


def test_an_einvoice_mailbox_is_not_forwarded(root: Root) -> None:
    set_account(root, einvoice__enabled=True)
    assert "e-invoice mailbox" in answer(visited(root, "LMS Forwarding on schmidt")).get_content()
    assert forwards(root) == []


@pytest.mark.parametrize(("written", "goes"), [
    ("x@far.example", False), ("away", False), ("schmidt", True), ("both", True), ("info@office.lan", True),
    ("team", True)])
def test_an_account_without_internet_forwards_inside_only(root: Root, written: str, goes: bool) -> None:
    root.paths.groups.write_text('[team]\nmembers = ["schmidt", "x@far.example"]\n')
    set_account(root, deny_internet=True)
    found = answer(visited(root, f"LMS Forwarding on {written}"))
    assert ("must not send mail to the internet" in found.get_content()) is not goes
    assert forwards(root) == ([written] if goes else [])


def test_broken_aliases_put_it_off(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_say(*_arguments: object) -> None:
        raise Temporary("aliases are misconfigured", 451, "4.3.5")
    monkeypatch.setattr(accounts.Directory, "resolve", cannot_say)
    with pytest.raises(Temporary):
        visited(root, "LMS Forwarding on nobody")


def test_a_file_that_cannot_be_written(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", "meier.toml")
    monkeypatch.setattr(atomic, "write", refuse)
    found = answer(visited(root, "LMS Forwarding on schmidt"))
    assert found["Subject"] == "Forwarding was not changed"
    assert "cannot be written" in found.get_content()
    assert f"postmaster@{DOMAIN}" in found.get_content()


def test_a_full_disk_puts_it_off(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(atomic, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        visited(root, "LMS Forwarding on schmidt")


def test_a_broken_file_of_the_account(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise config.ConfigError([config.Problem("meier.toml", 3, "is not TOML")])
    monkeypatch.setattr(config, "edit", refuse)
    assert "have a mistake" in answer(visited(root, "LMS Forwarding on schmidt")).get_content()


def test_the_same_mail_asked_again_says_the_same(root: Root) -> None:
    first, second = (visited(root, "LMS Forwarding on schmidt", entry_id="1700000000.M1P1Q1.host") for _ in range(2))
    assert first.made[0].key == second.made[0].key
    assert answer(first).get_content() == answer(second).get_content()
    assert answer(first)["Message-ID"] == answer(second)["Message-ID"]


def test_a_command_that_waited_does_not_undo_a_later_one(root: Root) -> None:
    visited(root, "LMS Forwarding off", entry_id="1700000100.M000000P1Q1.host")
    late = visited(root, "LMS Forwarding on schmidt", entry_id="1700000099.M999999P1Q1.host", now=1_700_000_200.0)
    assert "sent later" in answer(late).get_content()
    assert forwards(root) == []
    visited(root, "LMS Autoresponder off", entry_id="1700000050.M000000P1Q1.host")
    visited(root, "LMS Forwarding on schmidt", entry_id="1700000150.M000000P1Q1.host")
    assert forwards(root) == ["schmidt"]


def test_a_clock_set_back_stops_no_command(root: Root) -> None:
    visited(root, "LMS Forwarding off", entry_id="1700000100.M000000P1Q1.host")
    visited(root, "LMS Forwarding on schmidt", entry_id="1700000000.M000000P1Q1.host")
    assert forwards(root) == ["schmidt"]
    (root.paths.state / "commands" / "meier.json").write_text("garbage\n")
    visited(root, "LMS Forwarding off", entry_id="1700000001.M000000P1Q1.host")
    assert forwards(root) == []
