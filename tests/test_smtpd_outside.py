"""What smtpd lets out: accounts without the internet, and how large a mail to the outside may be."""


async def logged_in(office, account: str = "alice", more: str = "", keys: str = ""):
    host = await office(more=more)
    path = host.where.accounts / f"{account}.toml"
    path.write_text(path.read_text() + keys)
    client = await host.connect("submission")
    assert (await client.login(account)).startswith("235")
    return host, client


async def test_denied_account_reaches_the_office_only(office):
    """The exact words, for the one recipient; the others of the mail stay."""
    host, client = await logged_in(office, keys="deny_internet = true\n")
    await client.say("MAIL FROM:<alice@office.lan>")
    assert await client.say("RCPT TO:<x@far.example>") == (
        "521 5.7.1 User <x@far.example> not local; no forwarding address")
    assert (await client.say("RCPT TO:<bob@office.lan>"))[:3] == "250"
    assert (await client.say("DATA"))[:3] == "354"
    await client.raw(b"Subject: x\r\n\r\nhello\r\n.\r\n")
    assert (await client.reply())[:3] == "250"
    assert b"X-Receiver: <bob@office.lan>\nX-Origin" in host.queued()[0]


async def test_declared_size_counts_for_recipients_outside_only(office):
    host, client = await logged_in(office, keys='[outgoing]\nmax_size = "1KB"\n')
    assert (await client.say("MAIL FROM:<alice@office.lan> SIZE=2000"))[:3] == "250"
    assert (await client.say("RCPT TO:<x@far.example>")).startswith("552 5.3.4 ")
    assert (await client.say("RCPT TO:<bob@office.lan>"))[:3] == "250"
    await client.say("DATA")
    await client.raw(b"x" * 2000 + b"\r\n.\r\n")
    assert (await client.reply())[:3] == "250"
    assert len(host.queued()) == 1


async def test_real_size_counts_at_the_end(office):
    host, client = await logged_in(office, more='[outgoing]\nmax_size = "1KB"\n')
    assert (await client.mail("alice@office.lan", "x@far.example", text=b"x" * 2000 + b"\r\n")).startswith("552 5.3.4 ")
    assert (await client.mail("alice@office.lan", "bob@office.lan", text=b"x" * 2000 + b"\r\n"))[:3] == "250"
    assert (await client.mail("alice@office.lan", "x@far.example", text=b"x" * 500 + b"\r\n"))[:3] == "250"
    assert len(host.queued()) == 2


async def test_an_account_never_may_more_than_all(office):
    _, client = await logged_in(office, more='[outgoing]\nmax_size = "1KB"\n', keys='[outgoing]\nmax_size = "1MB"\n')
    await client.say("MAIL FROM:<alice@office.lan> SIZE=2000")
    assert (await client.say("RCPT TO:<x@far.example>")).startswith("552 5.3.4 ")
