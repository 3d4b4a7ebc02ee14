"""rules/group.py through deliver: who gets a mail to a group, in which form, and who may write to it."""

import asyncio
import email
import email.policy
import json
import os

import pytest

from lanmail import config, daemon
from tests.mailroot import Root, Running, dying, files, in_a_child

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}
PLAIN = "list_id = false\n"


@pytest.fixture
def root(tmp_path):
    made = Root(tmp_path)
    made.paths.aliases.write_text('info = ["team"]\n')
    return made


def write(root: Root, text: str) -> None:
    root.paths.groups.write_text(text)


def account(root: Root, name: str, text: str = "") -> None:
    (root.paths.accounts / f"{name}.toml").write_text(text or "disabled = false\n")


def everywhere(root: Root) -> dict[str, int]:
    """How many mails everybody has, but for the notes that a forward leads nowhere."""
    mails = {one.name: [mail for mail in root.inbox(one.name) if b"Subject: Forward of" not in mail]
             for one in root.paths.maildirs.iterdir()}
    return {name: len(inbox) for name, inbox in mails.items() if inbox}


def outside(root: Root) -> dict[str, bytes]:
    """Recipient → entry, of what lies in outbound."""
    found = {}
    for entry in files(root.paths.outbound / "new"):
        for line in entry.split(b"\n"):
            if line.startswith(b"X-Receiver: <"):
                found[line[13:-1].decode()] = entry
    return found


def bounced(root: Root) -> str:
    """The only bounce that lies in the queue or has reached meier."""
    (mail,) = [one for one in root.inbox("meier") if b"multipart/report" in one]
    return str(email.message_from_bytes(mail, policy=email.policy.default))


def logged(root: Root) -> str:
    return "".join(one.read_text() for one in root.paths.log.iterdir())


# who gets it

@pytest.mark.parametrize("to", ["team@office.lan", "TEAM@office.lan", "team+x@office.lan", "info@office.lan"])
def test_all_members_get_one_copy(root, to):
    write(root, '[team]\nmembers = ["meier", "schmidt", "eva@far.example"]\n')
    root.put(to)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "schmidt": 1}
    assert list(outside(root)) == ["eva@far.example"]
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())


@pytest.mark.parametrize("text", [
    '[team]\nmembers = ["team", "meier", "schmidt"]\n',
    '[team]\nmembers = ["a", "meier"]\n[a]\nmembers = ["b"]\n[b]\nmembers = ["team", "schmidt", "meier"]\n',
])
def test_rings_are_broken_and_logged(root, text):
    write(root, text)
    root.put("team@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "schmidt": 1}
    assert " group-ring " in logged(root)


def test_named_in_two_groups_and_directly(root):
    write(root, '[team]\nmembers = ["meier", "eva@far.example"]\n[b]\nmembers = ["meier", "eva@far.example"]\n')
    root.put("team@office.lan", "b@office.lan", "meier@office.lan", "eva@far.example", **OURS)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}
    assert b"List-Id" not in root.inbox("meier")[0]  # who is named himself gets it as it is
    assert list(outside(root)) == ["eva@far.example"]


def test_everyone_is_off_until_it_is_there(root):
    root.put("everyone@office.lan", **OURS)
    assert root.run() == 0
    assert "550 5.1.1" in bounced(root)
    account(root, "gone", "disabled = true\n")
    write(root, '[everyone]\nmembers = ["eva@far.example"]\n')
    root.put("everyone@office.lan", sender="schmidt@office.lan", kind="submission", account="schmidt")
    assert root.run() == 0
    assert set(everywhere(root)) == {"meier", "schmidt", "chef"}
    assert list(outside(root)) == ["eva@far.example"]


def test_an_unknown_member_stops_nobody(root):
    write(root, '[team]\nmembers = ["nobody", "meier"]\n')
    root.put("team@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}
    assert "target-unknown" in logged(root)


def test_a_group_without_members_is_its_owners(root):
    write(root, '[team]\nowner = "schmidt"\n')
    root.put("team@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1}


def test_rules_of_members_apply(root):
    account(root, "schmidt", '[forward]\nto = ["eva@far.example", "chef"]\n')
    write(root, '[team]\nmembers = ["meier", "schmidt"]\nsubject_tag = "[Team]"\n')
    root.put("team@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "chef": 1}
    sent = outside(root)["eva@far.example"]
    assert sent.startswith(b"X-Sender: <schmidt@office.lan>\n")
    assert b"\nSubject: [Team] hi\n" in sent


@pytest.mark.parametrize(("option", "answers"), [("", 0), ("list_id = false\n", 1)])
def test_autoresponders_of_members_do_not_answer_a_list(root, option, answers):
    account(root, "schmidt", '[autoresponder]\nenabled = true\ntext = "away"\n')
    write(root, f'[team]\nmembers = ["schmidt"]\n{option}')
    text = b"Return-Path: <>\nTo: team@office.lan\nCc: schmidt@office.lan\nSubject: hi\n\nbody\n"  # a header only
    root.put("team@office.lan", message=text, **OURS)
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    assert len(root.inbox("meier")) == answers


def test_members_who_forward_to_the_group_make_no_circle(root):
    account(root, "schmidt", '[forward]\nto = ["team"]\n')
    write(root, '[team]\nmembers = ["schmidt"]\n')
    root.put("team@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1}
    assert root.waiting() == []


@pytest.mark.parametrize(("copy", "found"), [("true", {"meier": 1, "schmidt": 1}), ("false", {"schmidt": 1})])
def test_the_senders_own_copy(root, copy, found):
    write(root, f'[team]\nmembers = ["meier", "schmidt"]\ncopy_to_sender = {copy}\n')
    root.put("team@office.lan", **OURS)
    assert root.run() == 0
    assert everywhere(root) == found


def test_nobody_outside_can_keep_a_mail_from_a_member(root):
    write(root, '[team]\nmembers = ["meier", "schmidt", "eva@far.example"]\ncopy_to_sender = false\n')
    root.put("team@office.lan", sender="meier@office.lan")
    root.put("team@office.lan", sender="Eva@far.example")
    assert root.run() == 0
    assert everywhere(root) == {"meier": 2, "schmidt": 2}
    assert len(files(root.paths.outbound / "new")) == 1


def test_who_writes_to_himself_alone_gets_it(root):
    write(root, '[team]\nmembers = ["meier"]\ncopy_to_sender = false\n')
    root.put("team@office.lan", **OURS)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}


def test_who_may_not_write_outside_does_not_by_a_group(root):
    account(root, "meier", "deny_internet = true\n")
    write(root, '[team]\nmembers = ["schmidt", "eva@far.example"]\n[far]\nmembers = ["eva@far.example"]\n')
    root.put("team@office.lan", **OURS)
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1}
    assert " denied-internet " in logged(root)
    root.put("far@office.lan", **OURS)
    assert root.run() == 0
    assert "521 5.7.1" in bounced(root)
    assert outside(root) == {}


# the copies

def test_header_lines(root):
    write(root, '[team]\nmembers = ["meier", "eva@far.example"]\n')
    root.put("team@office.lan", message=b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\n")
    assert root.run() == 0
    lines = b"List-Id: <team.office.lan>\nList-Post: <mailto:team@office.lan>\nPrecedence: list\n"
    assert root.inbox("meier") == [b"Return-Path: <a@far.example>\n" + lines + b"Subject: hi\n\nbody\n"]
    assert outside(root)["eva@far.example"] == (
        b"X-Sender: <team-owner@office.lan>\nX-Receiver: <eva@far.example>\nX-Origin: mx group=team\n"
        b"Return-Path: <a@far.example>\n" + lines + b"X-Loop: <team@office.lan>\nSubject: hi\n\nbody\n")


def test_without_options_the_mail_stays_as_it_is_here(root):
    write(root, f'[team]\nmembers = ["meier", "schmidt"]\n{PLAIN}')
    root.put("team@office.lan")
    name = root.queue.names()[0]
    assert root.run() == 0
    assert root.inbox("meier") == [b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\n"]
    assert os.listdir(root.paths.maildirs / "meier" / "new") == os.listdir(root.paths.maildirs / "schmidt" / "new")
    assert name.split(",")[0] == os.listdir(root.paths.maildirs / "meier" / "new")[0].split(",")[0]


def test_a_mail_of_another_list_stays_that_lists(root):
    write(root, '[team]\nmembers = ["meier"]\n')
    root.put("team@office.lan", message=b"Return-Path: <>\nList-Id: <news.far.example>\nPrecedence: bulk\n\nbody\n")
    assert root.run() == 0
    assert root.inbox("meier")[0].count(b"List-") == 1


@pytest.mark.parametrize(("tag", "subject", "becomes"), [
    ("[Team]", b"Subject: hi", b"Subject: [Team] hi"),
    ("[Team]", b"Subject: Re: [team] hi", b"Subject: Re: [team] hi"),
    ("[Team]", b"SUBJECT:long\n  folded", b"Subject: [Team] long\n  folded"),
    ("[Team]", b"X: y", b"X: y\nSubject: [Team]"),
    ("[Team]", b"Subject:", b"Subject: [Team] "),
    ("[Team]", b"Subject: " + 985 * b"x", b"Subject: [Team]\n " + 985 * b"x"),
    ("[Team]", b"Subject: =?utf-8?q?B=C3=BCro?=", b"Subject: [Team] =?utf-8?q?B=C3=BCro?="),
    ("B\u00fcro:", b"Subject: =?utf-8?q?gr=C3=BCn?=", b"Subject: =?utf-8?b?QsO8cm86IA==?= =?utf-8?q?gr=C3=BCn?="),
    ("B\u00fcro:", b"Subject: Re: =?utf-8?q?B=C3=9Cro:_x?=", b"Subject: Re: =?utf-8?q?B=C3=9Cro:_x?="),
])
def test_subject_tag(root, tag, subject, becomes):
    write(root, f'[team]\nmembers = ["meier"]\nsubject_tag = {json.dumps(tag)}\n{PLAIN}')
    root.put("team@office.lan", message=b"Return-Path: <>\n" + subject + b"\nX-End: 1\n\nbody\n")
    assert root.run() == 0
    got = root.inbox("meier")[0]
    if becomes.startswith(b"X: y"):
        assert got == b"Return-Path: <>\nX: y\nX-End: 1\nSubject: [Team]\n\nbody\n"
    else:
        assert got == b"Return-Path: <>\n" + becomes + b"\nX-End: 1\n\nbody\n"


def test_a_tag_that_is_not_ascii_is_read_with_its_blank(root):
    write(root, f'[team]\nmembers = ["meier"]\nsubject_tag = "[B\u00fcro]"\n{PLAIN}')
    root.put("team@office.lan", message=b"Return-Path: <>\nSubject: =?utf-8?q?gr=C3=BCn?=\n\nbody\n")
    assert root.run() == 0
    read = email.message_from_bytes(root.inbox("meier")[0], policy=email.policy.default)
    assert read["Subject"] == "[B\u00fcro] gr\u00fcn"


@pytest.mark.parametrize(("option", "given", "becomes"), [
    ("none", b"", None), ("none", b"Reply-To: r@far.example\n", "r@far.example"),
    ("sender", b"", "a@far.example"), ("sender", b"Reply-To: r@far.example\n", "r@far.example"),
    ("group", b"", "team@office.lan"), ("group", b"Reply-To: r@far.example,\n q@far.example\n", "team@office.lan"),
])
def test_reply_to(root, option, given, becomes):
    write(root, f'[team]\nmembers = ["meier"]\nreply_to = "{option}"\n')
    root.put("team@office.lan", message=b"Return-Path: <>\nFrom: \"A, B\" <a@far.example>\n" + given + b"\nbody\n")
    assert root.run() == 0
    read = email.message_from_bytes(root.inbox("meier")[0], policy=email.policy.default)
    assert read["Reply-To"] == becomes
    assert read["From"] == '"A, B" <a@far.example>'


def test_reply_to_starts_no_line_of_its_own(root):
    write(root, '[team]\nmembers = ["meier"]\nreply_to = "sender"\n')
    odd = b"From: =?utf-8?q?=22x=0ABcc:_evil=40far.example=22?= <a@far.example>, =?utf-8?q?b=0AX:1=40c.example?=\n"
    root.put("team@office.lan", message=b"Return-Path: <>\n" + odd + b"\nbody\n")
    assert root.run() == 0
    (got,) = root.inbox("meier")
    assert [line for line in got.split(b"\n") if line.startswith((b"Bcc", b"X:"))] == []
    assert b"\nReply-To: a@far.example\n" in got


def test_the_group_that_was_written_to_counts(root):
    write(root, '[team]\nmembers = ["inner", "meier"]\nsubject_tag = "[Team]"\n'
                '[inner]\nmembers = ["schmidt"]\nsubject_tag = "[Inner]"\nmay_post = []\nlist_id = false\n')
    root.put("team@office.lan")
    assert root.run() == 0
    assert root.inbox("meier") == root.inbox("schmidt")
    assert b"Subject: [Team] hi\n" in root.inbox("meier")[0]


def test_the_domain_that_was_written_to(root):
    root.paths.config_file.write_text('[server]\ndomain = "office.lan"\nextra_domains = ["firma.example"]\n')
    write(root, '[team]\nmembers = ["meier", "eva@far.example"]\n'
                '[only]\nmembers = ["zoe@far.example"]\ndomains = ["firma.example"]\n')
    root.put("team@firma.example", "only@firma.example")
    assert root.run() == 0
    assert b"List-Id: <team.firma.example>\n" in root.inbox("meier")[0]
    assert outside(root)["eva@far.example"].startswith(b"X-Sender: <team-owner@firma.example>\n")
    assert outside(root)["zoe@far.example"].startswith(b"X-Sender: <only-owner@firma.example>\n")


@pytest.mark.parametrize("domain", ["b\u00fccher.example", "xn--bcher-kva.example"])
def test_an_international_domain_stands_in_ascii(root, domain):
    root.paths.config_file.write_text('[server]\ndomain = "office.lan"\nextra_domains = ["b\u00fccher.example"]\n')
    write(root, '[team]\nmembers = ["meier", "eva@far.example"]\nreply_to = "group"\n'
                'domains = ["b\u00fccher.example"]\n')
    root.put(f"team@{domain}")
    assert root.run() == 0
    assert b"List-Id: <team.xn--bcher-kva.example>\n" in root.inbox("meier")[0]
    assert b"Reply-To: team@xn--bcher-kva.example\n" in root.inbox("meier")[0]
    sent = outside(root)["eva@far.example"]
    assert sent.startswith(b"X-Sender: <team-owner@xn--bcher-kva.example>\n")
    root.put(f"team@{domain}", sender="eva@far.example", message=sent[sent.index(b"Return-Path"):])
    root.put("team-owner@xn--bcher-kva.example", sender=None)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1, "chef": 2}


def test_the_copy_outside_has_no_parameters_of_the_one_here(root):
    write(root, '[team]\nmembers = ["eva@far.example", "x@far.example"]\n')
    root.put("team@office.lan", params=(("NOTIFY", "NEVER"),), sender=None)
    assert root.run() == 0
    (entry,) = set(outside(root).values())
    assert entry.startswith(b"X-Sender: <>\nX-Receiver: <eva@far.example>\nX-Receiver: <x@far.example>\nX-Origin: mx ")


def test_a_copy_that_comes_back_is_a_loop(root):
    write(root, '[team]\nmembers = ["meier", "eva@far.example"]\n')
    root.put("team@office.lan", **OURS)
    assert root.run() == 0
    sent = outside(root)["eva@far.example"]
    root.put("Team@office.lan", sender="eva@far.example", message=sent[sent.index(b"Return-Path"):])
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert len(outside(root)) == 1
    assert b"X-Receiver: <Team@office.lan>" in root.inbox("chef")[0]  # a stranger is not told, so the postmaster is


# who may write

@pytest.mark.parametrize(("may_post", "allowed"), [
    ('"anyone"', {"meier", "schmidt", "stranger", "eva", "lan", "forged", "program"}),
    ('"local"', {"meier", "schmidt", "lan", "program"}),
    ('"members"', {"meier", "eva", "lan", "program"}),
    ('["schmidt", "a@far.example"]', {"schmidt", "stranger", "program"}),
    ('["others"]', {"schmidt", "program"}),
    ("[]", {"program"}),
])
def test_who_may_write(root, may_post, allowed):
    write(root, f'[team]\nmembers = ["meier", "eva@far.example", "chef"]\nmay_post = {may_post}\n'
                '[others]\nmembers = ["schmidt"]\n')
    ways = {
        "meier": OURS, "schmidt": {"sender": "schmidt@office.lan", "kind": "submission", "account": "schmidt"},
        "stranger": {"sender": "a@far.example"}, "eva": {"sender": "EVA@far.example"},
        "lan": {"sender": "meier@office.lan", "kind": "lan"},
        "forged": {"sender": "meier@office.lan", "account": "meier"},  # the fact of a log-in counts with a log-in only
        "program": {"sender": None, "kind": "local"},
    }
    for name, facts in ways.items():
        text = f"Return-Path: <>\nFrom: meier@office.lan\nX-Way: {name}\n\nbody\n"
        root.put("team@office.lan", message=text.encode(), **facts)
    assert root.run() == 0
    got = {line[7:].decode() for mail in root.inbox("chef") if b"\nX-Receiver: " not in mail[:400]
           for line in mail.split(b"\n") if line.startswith(b"X-Way: ") and b"List-Id" in mail}
    assert got == allowed


def test_refused_mail_of_ours_comes_back(root):
    write(root, '[team]\nmembers = ["schmidt"]\nmay_post = "members"\n')
    root.put("team@office.lan", **OURS)
    assert root.run() == 0
    assert "550 5.7.1 You may not write to the group team" in bounced(root)
    assert "schmidt" not in everywhere(root)


def test_fetched_mail_to_a_closed_group_is_the_postmasters(root):
    write(root, '[team]\nmembers = ["schmidt"]\nmay_post = "local"\n')
    root.put("team@office.lan", kind="fetch", source="meier/gmx")
    assert root.run() == 0
    assert everywhere(root) == {"chef": 1}
    assert root.inbox("chef")[0] == b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\n"


def test_bounces_to_a_closed_group_are_its_owners(root):
    write(root, '[team]\nmembers = ["schmidt"]\nmay_post = "members"\nowner = "meier"\n')
    root.put("team@office.lan", "team-owner@office.lan", sender=None)
    assert root.run() == 0
    assert everywhere(root) == {"meier": 1}


def test_owners_that_are_groups_lead_to_somebody(root):
    write(root, '[a]\nmay_post = []\nowner = "b"\n[b]\nmay_post = []\nowner = "a"\n')
    root.put("a@office.lan", sender=None)
    assert root.run() == 0
    assert everywhere(root) == {"chef": 1}


@pytest.mark.parametrize(("may_post", "found"), [
    ("local", {"schmidt": 1, "chef": 1}), ("members", {"meier": 1}), ("meier", {"schmidt": 1, "chef": 1}),
])
def test_who_forwards_to_a_group_writes_to_it(root, may_post, found):
    """The mail of a stranger that meier sends on; when the group does not take it, it stays with meier."""
    account(root, "meier", '[forward]\nto = ["team"]\n')
    write(root, f'[team]\nmembers = ["schmidt", "chef"]\nmay_post = "{may_post}"\n')
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == found
    assert root.waiting() == []


def test_who_may_not_write_outside_does_not_by_forwarding_to_a_group(root):
    account(root, "meier", 'deny_internet = true\n[forward]\nto = ["team"]\n')
    write(root, '[team]\nmembers = ["schmidt", "eva@far.example"]\n')
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1}
    assert outside(root) == {}


def test_forwarding_to_a_group_switched_by_mail(root):
    write(root, '[team]\nmembers = ["schmidt", "chef"]\nmay_post = "local"\n')
    command = b"Return-Path: <meier@office.lan>\nReceived: from x by y\nSubject: LMS Forwarding on team\n\n"
    root.put("meier@office.lan", message=command, **OURS)
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 1, "chef": 1}  # the confirmation goes the new way
    root.put("meier@office.lan")
    assert root.run() == 0
    assert everywhere(root) == {"schmidt": 2, "chef": 2}


def test_a_broken_file_from_the_start_lets_mail_wait(root):
    write(root, "[team\n")
    root.put("team@office.lan")
    root.put("meier@office.lan")
    root.paths.groups.unlink()
    settings = config.load(root.paths)  # the programs would not start with such a file
    write(root, "[team\n")
    root.context = lambda: daemon.Context("deliver", root.paths, settings, [], stopping=asyncio.Event())
    assert root.run() == os.EX_TEMPFAIL
    assert everywhere(root) == {"meier": 1}
    assert len(root.waiting()) == 1


# killed in the middle

@pytest.mark.slow
@pytest.mark.parametrize("step", range(3, 190, 17))
def test_killed_in_a_fan_out_of_thirty(root, monkeypatch, step):
    names = [f"p{number}" for number in range(30)]
    for name in names:
        account(root, name)
    text = ", ".join(f'"{name}"' for name in [*names, "eva@far.example", "zoe@far.example"])
    write(root, f'[team]\nmembers = [{text}]\nsubject_tag = "[T]"\n')
    root.put("team@office.lan", "p7@office.lan")

    async def life():
        with dying(step, monkeypatch):
            async with Running(root):
                pass
    in_a_child(life)
    for _ in range(2):
        assert root.run() == 0
    assert everywhere(root) == dict.fromkeys(names, 1)
    sent = files(root.paths.outbound / "new")
    assert len(sent) == 1
    assert sent[0].count(b"X-Receiver") == 2
    assert root.waiting() == []
