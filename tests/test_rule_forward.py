"""The permanent forward: when it is wished for, and when the mail was here before."""

import os
import time

import pytest

from lanmail import accounts, address, config, entry, envelope, spool
from lanmail.rules import forward
from lanmail.rules.mail import Mail, Target, Visit
from tests.mailroot import Root

HEADER = b"Return-Path: <a@far.example>\nSubject: hi\n\n"
FAR = '[forward]\nto = ["eva@far.example", "schmidt"]\n'


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def visit(root, text=FAR, message=HEADER + b"body\n", *, before=(), keep=True, **envelope_of):
    """The visit of a mail at an account whose file says `text`, after the rule was asked."""
    (root.paths.accounts / "meier.toml").write_text(text)
    return ask(root, "meier", root.put("meier@office.lan", message=message, **envelope_of), before, keep)


def ask(root, name, entry_id, before=(), keep=True):
    """The rule at an account, where rules before it had the wishes `before` and `keep`."""
    (queued,) = [one for one in root.queue.names() if one.startswith(entry_id)]
    one, settings = entry.read(root.queue, spool.NEW, queued), config.load(root.paths)
    directory = accounts.Directory(root.paths, lambda: settings)
    with open(root.queue.new / queued, "rb") as file:
        mail = Mail(root.paths, settings, directory, one, entry.header(root.queue, one), file.fileno(), time.time())
        found = Visit(directory.account(name), envelope.Recipient(address.parse("meier@office.lan")), keep=keep,
                      targets=[Target(to, "autoresponder") for to in before])
        forward.apply(mail, found)
    return found


def targets(found):
    return [one.to for one in found.targets]


@pytest.mark.parametrize(("more", "keep"), [("", False), ("keep = false", False), ("keep = true", True)])
def test_mail_goes_on_and_a_copy_stays_as_the_account_says(root, more, keep):
    found = visit(root, FAR + more + "\n")
    assert targets(found) == ["eva@far.example", "schmidt"]
    assert found.keep is keep
    assert not found.made


def test_no_forward_no_wish(root):
    found = visit(root, "disabled = false\n")
    assert (found.targets, found.keep) == ([], True)


def test_an_e_invoice_mailbox_has_no_permanent_forward(root):
    found = visit(root, "[einvoice]\nenabled = true\n" + FAR)
    assert (found.targets, found.keep) == ([], True)


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_with_the_autoresponders_forward_both_count_and_both_must_leave_a_copy(root, auto, own):
    found = visit(root, FAR + f"keep = {str(own).lower()}\n", before=["holiday@far.example"], keep=auto)
    assert targets(found) == ["holiday@far.example", "eva@far.example", "schmidt"]
    assert found.keep is (auto and own)


def test_the_autoresponders_forward_alone_keeps_what_it_says(root):
    assert visit(root, "disabled = false\n", before=["holiday@far.example"], keep=False).keep is False


# loops

@pytest.mark.parametrize("line", [
    b"Delivered-To: meier@office.lan", b"delivered-to: <Meier@OFFICE.lan>",
    b"Delivered-To: eva@far.example\nDelivered-To: meier@office.lan",
    b"Delivered-To:\n meier@office.lan",
])
def test_what_was_here_before_stays(root, line):
    found = visit(root, message=line + b"\n" + HEADER + b"body\n")
    assert (found.targets, found.keep) == ([], True)
    (note,) = found.made
    assert note.spool == "queue"
    assert note.head.sender is None
    assert [str(one.address) for one in note.head.recipients] == ["postmaster@office.lan"]
    assert b"meier was not forwarded" in note.text


@pytest.mark.parametrize("line", [
    b"Delivered-To: schmidt@office.lan", b"Delivered-To: meier@far.example", b"X-Forwarded-For: meier@office.lan",
    b"X-Delivered-To: meier@office.lan", b"Delivered-To: xmeier@office.lan",
])
def test_what_was_elsewhere_goes_on(root, line):
    assert targets(visit(root, message=line + b"\n" + HEADER + b"body\n"))


@pytest.mark.parametrize(("lines", "goes"), [
    (b"Delivered-To: meier@office.lan\n", True),  # the provider has the mailbox under the same address
    (b"Delivered-To: meier@office.lan\nX-Forwarded-For: meier@office.lan\n", False),
    (b"X-Forwarded-For: meier@office.lan eva@far.example\nDelivered-To: meier@office.lan\n", False),
    (b"Delivered-To: meier@office.lan\nX-Forwarded-For: eva@far.example\n", True),
])
def test_a_fetched_mail_was_here_only_if_we_forwarded_it(root, lines, goes):
    found = visit(root, message=lines + HEADER + b"body\n", kind="fetch", source="x")
    assert bool(found.targets) is goes


@pytest.mark.parametrize(("hops", "goes"), [(30, True), (31, False)])
def test_thirty_servers_are_enough(root, hops, goes):
    found = visit(root, message=b"Received: from a by b; now\n" * hops + HEADER + b"body\n")
    assert bool(found.targets) is goes
    assert found.keep is not goes


def test_all_forwards_of_the_account_end_with_a_loop(root):
    found = visit(root, message=b"Delivered-To: meier@office.lan\n" + HEADER, before=["x@far.example"], keep=False)
    assert (found.targets, found.keep) == ([], True)


def test_the_postmaster_hears_of_a_loop_once_a_day_and_the_same_when_asked_ask(root):
    looped = b"Delivered-To: meier@office.lan\n" + HEADER
    first = root.put("meier@office.lan", message=looped)
    (root.paths.accounts / "meier.toml").write_text(FAR)
    assert ask(root, "meier", first).made
    assert ask(root, "meier", first).made
    second = root.put("meier@office.lan", message=looped)
    assert not ask(root, "meier", second).made
    assert ask(root, "meier", first).made
    (root.paths.accounts / "schmidt.toml").write_text(FAR)
    other = root.put("schmidt@office.lan", message=looped.replace(b"meier", b"schmidt"))
    assert ask(root, "schmidt", other).made
    os.utime(root.paths.state / "forward" / "meier", (1, 1))
    assert ask(root, "meier", second).made


def test_without_a_postmaster_a_loop_is_only_logged(tmp_path):
    found = visit(Root(tmp_path, postmaster=False), message=b"Delivered-To: meier@office.lan\n" + HEADER)
    assert (found.targets, found.made) == ([], [])


# bounces of what was forwarded

REPORT = (b"Return-Path: <>\nSubject: Undelivered\nContent-Type: multipart/report; report-type=delivery-status;\n"
          b" boundary=b\n\n--b\n\nno\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; far\n\n"
          b"Original-Recipient: rfc822;%s\nFinal-Recipient: rfc822; %s\nAction: failed\n--b--\n")


@pytest.mark.parametrize(("about", "sender", "left"), [
    (b"eva@far.example", None, ["schmidt"]), (b"Eva@FAR.example", None, ["schmidt"]),
    (b"else@far.example", None, ["eva@far.example", "schmidt"]),
    (b"eva@far.example", "a@far.example", ["eva@far.example", "schmidt"]),
])
def test_a_bounce_about_a_target_does_not_go_to_it(root, about, sender, left):
    found = visit(root, message=REPORT % (about, about), sender=sender)
    assert targets(found) == left
    assert found.keep is (len(left) == 1)


def test_a_mail_that_only_quotes_a_report_goes_on(root):
    quoted = REPORT.replace(b"multipart/report", b"multipart/mixed") % (b"eva@far.example", b"eva@far.example")
    assert targets(visit(root, message=quoted, sender=None)) == ["eva@far.example", "schmidt"]
