"""The SMTP server against abuse: limits, time-outs, bad talk, clients that leave, disks that fail."""

import asyncio
import errno
import os

import pytest

from lanmail.smtp import dialogue
from tests.mailroot import until

# limits

async def test_size(office):
    host = await office("max_size = 20000")
    client = await host.connect()
    assert (await client.say("MAIL FROM:<a@b.example> SIZE=20001"))[:9] == "552 5.3.4"
    assert (await client.mail("a@b.example", "alice@office.lan", text=b"x" * 20_001 + b"\r\n"))[:9] == "552 5.3.4"
    assert (await client.mail("a@b.example", "alice@office.lan", text=b"\r\n" + b"x" * 19_996 + b"\r\n"))[:3] == "250"


async def test_recipients(office):
    host = await office("max_recipients = 100\nmax_refused_recipients = 5")
    client = await host.connect()
    await client.say("MAIL FROM:<a@b.example>")
    for number in range(100):
        assert (await client.say(f"RCPT TO:<alice+{number}@office.lan>"))[:3] == "250"
    assert (await client.say("RCPT TO:<bob@office.lan>"))[:9] == "452 4.5.3"
    await client.say("RSET")
    await client.say("MAIL FROM:<a@b.example>")
    for number in range(5):
        assert (await client.say(f"RCPT TO:<u{number}@office.lan>"))[:9] == "550 5.1.1"
    assert (await client.reply())[:9] == "421 4.7.0"
    assert await client.ended()


async def test_errors_delay_and_end(office, monkeypatch):
    host = await office('error_delay_after = 3\nerror_delay = "50ms"\nmax_errors = 5')
    client = await host.connect()
    delays, over = [], dialogue.Dialogue._penalty_over
    monkeypatch.setattr(dialogue.Dialogue, "_penalty_over", lambda one: (delays.append(one.loop.time()), over(one)))
    for delayed in (0, 0, 1, 2):
        before = asyncio.get_running_loop().time()
        assert (await client.say("FOO"))[:9] == "500 5.5.1"
        assert len(delays) == delayed
        assert not delayed or delays[-1] - before > 0.04
    await client.say("FOO")
    assert (await client.reply())[:9] == "421 4.7.0"
    assert await client.ended()


async def test_junk(office):
    host = await office("max_junk_commands = 3")
    client = await host.connect()
    for line in ("NOOP", "RSET", "VRFY x"):
        assert (await client.say(line))[:1] == "2"
    assert (await client.say("NOOP"))[:9] == "421 4.7.0"


async def test_connections(office):
    host = await office("max_connections_per_client = 2")
    first, _ = await host.connect(), await host.connect()
    third = await host.open()
    assert (await third.reply())[:9] == "421 4.7.0"
    assert await third.ended()
    third.close()
    await first.say("QUIT")
    first.close()
    await until(lambda: len(host.service.sessions) == 1)
    assert (await (await host.open()).reply())[:3] == "220"


async def test_header_section_and_hops(office):
    host = await office("max_header = 5000")
    client = await host.connect()
    loop = b"Received: by x\r\n" * 50
    assert (await client.mail("", "alice@office.lan", text=loop + b"\r\nx\r\n"))[:9] == "554 5.4.6"
    assert (await client.mail("", "alice@office.lan", text=loop[16:] + b"\r\nx\r\n"))[:9] == "250 2.0.0"
    long = b"Subject: " + b"x" * 6000 + b"\r\n\r\n"
    assert (await client.mail("", "alice@office.lan", text=long))[:9] == "552 5.3.4"


async def test_disk_and_backlog(office, monkeypatch):
    host = await office("max_backlog = 2")
    client = await host.connect()
    for _ in range(2):
        assert (await client.mail("", "alice@office.lan"))[:3] == "250"
    room = host.service.room
    room._entries_at -= 60
    await client.say("MAIL FROM:<>")
    await client.say("RSET")
    while room._counting:
        await asyncio.sleep(0.01)
    assert (await client.say("MAIL FROM:<>"))[:9] == "451 4.3.2"
    monkeypatch.setattr("lanmail.acceptance.free_space", lambda _path: 1 << 20)
    room._free_at -= 60
    assert (await client.say("MAIL FROM:<>"))[:9] == "451 4.3.2"
    assert (await client.say("MAIL FROM:<> SIZE=2000000"))[:9] == "452 4.3.1"


async def test_time_outs(office):
    host = await office()
    client = await host.connect()
    (session,) = host.service.sessions
    session.check_time(session.heard + 59)
    assert (await client.say("NOOP"))[:3] == "250"
    session.check_time(session.heard + 61)
    assert (await client.reply())[:9] == "421 4.4.2"
    assert await client.ended()


async def test_slow_message_is_cut_off(office):
    host = await office()
    client = await host.connect()
    for line in ("MAIL FROM:<>", "RCPT TO:<alice@office.lan>", "DATA"):
        await client.say(line)
    (session,) = host.service.sessions
    begun = session.heard
    await client.raw(b"Subject: x\r\n\r\n" + b"x" * 70_000)
    await until(lambda: session.heard > begun)
    session.check_time(begun + 61)
    assert not session.closing
    await client.raw(b"x" * 1000)
    session.check_time(begun + 122)
    assert (await client.reply())[:9] == "421 4.4.2"
    assert await client.ended()
    assert host.queued() == []


# bad talk

@pytest.mark.parametrize(("line", "answer"), [
    ("MAIL FROM:<a@b.example", "501 5.1.7"),
    ("MAIL FROM:a@b.example", "501 5.1.7"),
    ("MAIL FROM:<a@b..example>", "501 5.1.7"),
    ("MAIL FROM:<a b@c.example>", "501 5.1.7"),
    ("MAIL FROM:<a@b.example>SIZE=1", "501 5.5.4"),
    ("MAIL FROM:<a@b.example> SIZE=x", "501 5.5.4"),
    ("MAIL FROM:<a@b.example> SIZE=1 SIZE=2", "501 5.5.4"),
    ("MAIL FROM:<a@b.example> FOO=1", "555 5.5.4"),
    ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
    ("MAIL FROM:<a@b.example> AUTH=<> RET=hdrs ENVID=QQ314159 BODY=8BITMIME SMTPUTF8", "250 2.1.0"),
    ("MAIL FROM:<jürgen@b.example>", "553 5.6.7"),
    ("MAIL FROM:<jürgen@b.example> SMTPUTF8", "250 2.1.0"),
    ("MAIL FROM: <a@b.example>", "250 2.1.0"),
    ("mail from:<>", "250 2.1.0"),
    ("MAIL", "501 5.5.4"),
    ("RCPT TO:<alice@office.lan>", "503 5.5.1"),
    ("DATA", "503 5.5.1"),
    ("BDAT", "501 5.5.4"),
    ("HELO", "501 5.5.4"),
    ("RSET x", "501 5.5.4"),
    ("VRFY alice", "252 2.1.5"),
    ("VRFY", "501 5.5.4"),
    ("EXPN all", "502 5.5.1"),
    ("HELP", "214 2.0.0"),
    ("HELP MAIL", "214 2.0.0"),
    ("NOOP whatever", "250 2.0.0"),
    ("QUIT now", "501 5.5.4"),
    ("XCLIENT ADDR=192.0.2.1", "500 5.5.1"),
    ("", "500 5.5.1"),
    ("NOOP\x00", "500 5.5."),
    ("NOOP a\rb", "500 5.5.2"),
    ("NOOP a\x7f", "500 5.5.2"),
    ("NOOP \udcff", "500 5.5.2"),
    ("NOOP " + "x" * 5000, "500 5.5.6"),
    ("GET / HTTP/1.1", "421 4.7.0"),
    ("POST / HTTP/1.1", "421 4.7.0"),
    ("PROXY TCP4 192.0.2.1 192.0.2.2 1 25", "421 4.7.0"),
], ids=lambda text: repr(text[:40]))
async def test_verbs(office, line, answer):
    host = await office()
    client = await host.connect()
    assert (await client.say(line))[: len(answer)] == answer


async def test_lines_end_in_crlf(office):
    host = await office()
    client = await host.connect()
    await client.raw(b"NOOP\nNOOP\r\n")
    assert (await client.reply())[:9] == "500 5.5.2"
    assert (await client.reply())[:9] == "250 2.0.0"


async def test_endless_line_costs_nothing(office):
    host = await office()
    client = await host.connect()
    for _ in range(40):
        await client.raw(b"x" * 65_536)
    (session,) = host.service.sessions
    assert len(session._input) < 300_000
    await client.raw(b"\r\n")
    assert (await client.reply())[:9] == "500 5.5.6"


async def test_early_talker_is_sent_away(office):
    host = await office()
    client = await host.connect("mx", "")
    await client.reply()
    await client.raw(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
    assert (await client.reply())[:9] == "554 5.5.0"
    assert await client.ended()


async def test_hello_cannot_write_headers(office):
    host = await office()
    client = await host.connect("mx", "EHLO evil(\")<>;@x, by fake with ÄSMTP")
    assert (await client.mail("", "alice@office.lan"))[:3] == "250"
    assert b"\nReceived: from evil____" in host.queued()[0]
    assert (await client.say("EHLO x\rReceived: y"))[:9] == "500 5.5.2"


async def test_bare_line_feeds(office):
    host = await office('bare_lf = "reject"')
    client = await host.connect()
    assert (await client.mail("", "alice@office.lan", text=b"Subject: x\r\n\r\na\nb\r\n"))[:10] == "550 5.6.11"
    assert (await client.mail("", "alice@office.lan", text=b"Subject: x\r\n\r\na\rb\r\n"))[:10] == "550 5.6.11"
    assert (await client.mail("", "alice@office.lan", text=b"Subject: x\r\n\r\na\r\n"))[:3] == "250"


async def test_client_that_leaves_inside_data_leaves_nothing(office):
    host = await office()
    for tail in (b"", b".", b"\r\n.", b"\r\n.\r"):
        client = await host.connect()
        for line in ("MAIL FROM:<>", "RCPT TO:<alice@office.lan>", "DATA"):
            await client.say(line)
        await client.raw(b"Subject: x\r\n\r\n" + b"x" * 200_000 + tail)
        client.writer.write_eof()
        assert await client.ended()
        client.close()
    await until(lambda: not list(host.service.queue.tmp.iterdir()))
    assert host.queued() == []


async def test_reader_of_nothing_does_not_fill_memory(office):
    host = await office("max_junk_commands = 1000000")
    client = await host.open()

    async def flood() -> None:
        while True:
            await client.raw(b"HELP\r\n" * 5000)

    flooding = asyncio.create_task(flood())
    await until(lambda: any(session.full for session in host.service.sessions))
    await asyncio.sleep(0.1)
    flooding.cancel()
    (session,) = host.service.sessions
    assert session.full
    assert len(session._input) < 1_000_000


@pytest.mark.parametrize(("number", "answer"), [
    (errno.ENOSPC, "452 4.3.1"), (errno.EDQUOT, "452 4.3.1"), (errno.EMFILE, "452 4.3.1"),
    (errno.EIO, "451 4.3.0"), (errno.EROFS, "451 4.3.0"),
])
async def test_disk_errors_are_temporary(office, monkeypatch, number, answer):
    host = await office()
    client = await host.connect()
    real = os.fsync

    def fsync(_descriptor):
        raise OSError(number, "injected")

    monkeypatch.setattr("os.fsync", fsync)
    assert (await client.mail("", "alice@office.lan"))[:9] == answer
    monkeypatch.setattr("os.fsync", real)
    assert host.queued() == []
    assert (await client.mail("", "alice@office.lan"))[:3] == "250"
    assert len(host.queued()) == 1


async def test_stop_lets_the_mail_end(office):
    host = await office()
    idle, busy = await host.connect(), await host.connect()
    for line in ("MAIL FROM:<>", "RCPT TO:<alice@office.lan>", "DATA"):
        await busy.say(line)
    await busy.raw(b"Subject: x\r\n\r\n")
    await asyncio.sleep(0.02)
    draining = asyncio.create_task(host.service.drain())
    assert (await idle.reply())[:9] == "421 4.3.2"
    await busy.raw(b"end\r\n.\r\n")
    assert (await busy.reply())[:3] == "250"
    assert (await busy.reply())[:9] == "421 4.3.2"
    busy.close()
    idle.close()
    await asyncio.wait_for(draining, 30)
    assert len(host.queued()) == 1
