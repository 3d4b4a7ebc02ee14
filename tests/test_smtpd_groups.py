"""Groups as the clients of the SMTP server see them: who may write to them, who may send as them."""

import pytest

GROUPS = """
[open]
members = ["alice", "eva@far.example"]
[staff]
members = ["alice", "bob"]
may_post = "local"
[club]
members = ["alice", "inner", "eva@far.example"]
may_post = "members"
[inner]
members = ["bob"]
send_as = false
[news]
members = ["alice", "bob"]
may_post = ["carol", "press@far.example"]
"""


@pytest.fixture
def with_groups(office):
    async def begin(smtpd: str = "", more: str = ""):
        host = await office(smtpd, more)
        host.where.groups.write_text(GROUPS)
        host.where.aliases.write_text('info = ["staff"]\n')
        return host
    return begin


REFUSED = "550 5.7.1 You may not write to the group "


@pytest.mark.parametrize(("group", "senders"), [
    ("open", {"x@far.example", "alice@office.lan", "eva@far.example", "press@far.example"}), ("staff", set()),
    ("club", {"eva@far.example"}), ("news", {"press@far.example"}), ("info", set()),
])
async def test_who_did_not_log_in(with_groups, group, senders):
    """An address of ours as sender is forged, so it counts for nothing."""
    host = await with_groups()
    client = await host.connect()
    for sender in ("x@far.example", "alice@office.lan", "eva@far.example", "press@far.example"):
        await client.say(f"MAIL FROM:<{sender}>")
        answer = await client.say(f"RCPT TO:<{group}@office.lan>")
        assert answer[:3] == ("250" if sender in senders else "550"), (sender, answer)
        assert answer.startswith(("250", REFUSED))
        await client.say("RSET")


@pytest.mark.parametrize(("user", "groups"), [
    ("alice", {"open", "staff", "club", "info"}), ("bob", {"open", "staff", "club", "info"}),
    ("carol", {"open", "staff", "news", "info"}),
])
async def test_who_logged_in(with_groups, user, groups):
    host = await with_groups()
    client = await host.connect("submission")
    await client.login(user)
    await client.say(f"MAIL FROM:<{user}@office.lan>")
    for group in ("open", "staff", "club", "news", "info", "staff+x"):
        answer = await client.say(f"RCPT TO:<{group}@office.lan>")
        assert answer[:3] == ("250" if group.partition("+")[0] in groups else "550"), (group, answer)


async def test_devices_of_the_lan_are_local(with_groups):
    host = await with_groups("lan = { networks = ['127.0.0.1'] }")
    client = await host.connect("lan")
    await client.say("MAIL FROM:<scanner@office.lan>")
    assert (await client.say("RCPT TO:<staff@office.lan>"))[:3] == "250"
    assert (await client.say("RCPT TO:<club@office.lan>")).startswith(REFUSED)
    await client.say("RSET")
    await client.say("MAIL FROM:<bob@office.lan>")
    assert (await client.say("RCPT TO:<club@office.lan>"))[:3] == "250"


async def test_a_bounce_is_taken_for_the_owner(with_groups):
    host = await with_groups()
    client = await host.connect()
    assert (await client.mail("", "club@office.lan", "club-owner@office.lan"))[:3] == "250"


async def test_everyone_is_nobody_until_it_is_there(with_groups):
    host = await with_groups()
    client = await host.connect("submission")
    await client.login()
    await client.say("MAIL FROM:<alice@office.lan>")
    assert (await client.say("RCPT TO:<everyone@office.lan>"))[:9] == "550 5.1.1"
    host.where.groups.write_text("[everyone]\n")
    assert (await client.say("RCPT TO:<everyone@office.lan>"))[:3] == "250"
    outsider = await host.connect()
    await outsider.say("MAIL FROM:<x@far.example>")
    assert (await outsider.say("RCPT TO:<everyone@office.lan>")).startswith(REFUSED + "everyone")


async def test_members_send_as_the_group(with_groups):
    host = await with_groups("check_author = true")
    client = await host.connect("submission")
    await client.login("bob")
    text = b"From: Sales <club@office.lan>\r\n\r\n"
    assert (await client.mail("club@office.lan", "x@far.example", text=text))[:3] == "250"
    assert (await client.say("MAIL FROM:<inner@office.lan>"))[:9] == "553 5.7.1"
    assert (await client.say("MAIL FROM:<open@office.lan>"))[:9] == "553 5.7.1"
    text = b"From: Open <open@office.lan>\r\n\r\n"
    assert (await client.mail("bob@office.lan", "x@far.example", text=text))[:9] == "550 5.7.1"


async def test_a_broken_file_is_temporary_for_names_that_may_stand_in_it(with_groups):
    host = await with_groups()
    host.where.groups.write_text("[club\n")
    client = await host.connect()
    await client.say("MAIL FROM:<x@far.example>")
    assert (await client.say("RCPT TO:<club@office.lan>"))[:9] == "451 4.3.5"
    assert (await client.say("RCPT TO:<alice@office.lan>"))[:3] == "250"
