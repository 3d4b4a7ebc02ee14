"""The SMTP server as its clients see it: what is taken from whom, TLS and log-in."""

import asyncio
import contextlib
import re
import socket
import ssl

import pytest
import uvloop

from tests import smtp_host
from tests.smtp_host import SECRET, plain

# what is taken

async def test_mail_from_outside_to_an_account(office):
    host = await office()
    client = await host.connect()
    answer = await client.mail("x@far.example", "alice@office.lan")
    (entry,) = host.queued()
    (name,) = host.service.queue.names()
    entry_id, size, wire = name.split(",")
    assert answer == f"250 2.0.0 Ok: queued as {entry_id}"
    assert size == f"S={len(entry)}"
    assert wire == f"W={len(entry) + entry.count(10)}"
    head, message = entry[: entry.index(b"Subject")], entry[entry.index(b"Subject") :]
    assert message == b"Subject: x\n\nhello\n"
    assert re.fullmatch(
        rb"X-Sender: <x@far\.example>\nX-Receiver: <alice@office\.lan>\n"
        rb"X-Origin: mx client=127\.0\.0\.1 helo=client\.example\n"
        rb"Return-Path: <x@far\.example>\nReceived: from client\.example \(\[127\.0\.0\.1\]\)\n"
        rb"\tby mail\.office\.lan \(lanmail\) with ESMTP id " + re.escape(entry_id.encode()) +
        rb"\n\tfor <alice@office\.lan>; \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\n",
        head,
    ), head


async def test_several_recipients_are_not_named_to_each_other(office):
    host = await office()
    client = await host.connect()
    assert (await client.mail("x@far.example", "alice@office.lan", "bob@office.lan", "info@office.lan"))[:3] == "250"
    (entry,) = host.queued()
    assert entry.count(b"X-Receiver: ") == 3
    assert b"\tfor <" not in entry


async def test_pipelining_answers_all_at_once(office):
    host = await office()
    client = await host.connect()
    await client.raw(
        b"MAIL FROM:<>\r\nRCPT TO:<alice@office.lan>\r\nRCPT TO:<nobody@office.lan>\r\nRCPT TO:<postmaster>\r\nDATA\r\n"
    )
    answers = [(await client.reply())[:9] for _ in range(5)]
    assert answers == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354 End d"]
    # the next mail follows the dot in one packet, as RFC 2920 allows
    await client.raw(b"Subject: 1\r\n\r\n1\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@office.lan>\r\nDATA\r\n")
    answers = [(await client.reply())[:3] for _ in range(4)]
    assert answers == ["250", "250", "250", "354"]
    await client.raw(b"Subject: 2\r\n\r\n2\r\n.\r\nQUIT\r\n")
    assert (await client.reply())[:3] == "250"
    assert (await client.reply())[:3] == "221"
    assert await client.ended()
    assert len(host.queued()) == 2


async def test_bdat_in_chunks(office):
    host = await office()
    client = await host.connect()
    await client.say("MAIL FROM:<a@b.example> BODY=8BITMIME")
    await client.say("RCPT TO:<alice@office.lan> NOTIFY=NEVER ORCPT=rfc822;alice@office.lan")
    await client.raw(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 7 LAST\r\n.\r\n\xff..x")
    assert (await client.reply())[:9] == "250 2.0.0"
    assert (await client.reply()).startswith("250 2.0.0 Ok: queued")
    assert host.message() == b"Subject: x\n\n.\n\xff..x\n"
    (entry,) = host.queued()
    assert b"BODY=8BITMIME\nX-Receiver: <alice@office.lan> NOTIFY=NEVER ORCPT=rfc822;alice@office.lan\n" in entry


async def test_refused_bdat_swallows_its_chunk(office):
    host = await office()
    client = await host.connect()
    await client.raw(b"BDAT 12 LAST\r\nNOOP\r\nNOOP\r\nNOOP\r\n")
    assert (await client.reply())[:9] == "503 5.5.1"
    assert (await client.reply())[:9] == "250 2.0.0"
    assert (await client.say("RSET"))[:3] == "250"


async def test_lmtp_answers_for_each_recipient(office):
    host = await office()
    client = await host.connect("lmtp", "LHLO front.example")
    for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<alice@office.lan>", "RCPT TO:<bob@office.lan>"):
        assert (await client.say(line))[:3] == "250"
    assert (await client.say("RCPT TO:<x@far.example>"))[:9] == "554 5.7.1"
    assert (await client.say("DATA"))[:3] == "354"
    await client.raw(b"Subject: x\r\n\r\n.\r\n")
    assert (await client.reply()).startswith("250 2.1.5 <alice@office.lan>")
    assert (await client.reply()).startswith("250 2.1.5 <bob@office.lan>")
    assert (await client.say("EHLO x"))[:9] == "500 5.5.1"
    assert b" with LMTP id " in host.queued()[0]


async def test_long_lines_nul_and_eight_bits_are_kept(office):
    host = await office()
    client = await host.connect()
    text = b"Subject: \xc3\xbc\n\n" + b"x" * 300_000 + b"\n\0\xff\n"
    assert (await client.mail("", "alice@office.lan", text=text.replace(b"\n", b"\r\n")))[:3] == "250"
    assert host.message() == text


async def test_large_message_goes_through_in_pieces(office):
    host = await office()
    client = await host.connect()
    text = b"Subject: large\n\n" + (b"0123456789" * 7 + b"\n") * 60_000
    assert (await client.mail("", "alice@office.lan", text=text.replace(b"\n", b"\r\n")))[:3] == "250"
    assert host.message() == text


async def test_text_without_header_does_not_become_ours(office):
    host = await office()
    client = await host.connect()
    assert (await client.mail("", "alice@office.lan", text=b" Bcc: x\r\nhello\r\n"))[:3] == "250"
    assert host.message() == b"\n Bcc: x\nhello\n"


# who may

async def test_nobody_relays(office):
    host = await office()
    client = await host.connect()
    await client.say("MAIL FROM:<a@b.example>")
    for victim in (
        "<x@far.example>", "<@office.lan:x@far.example>", "<x@[192.0.2.1]>", "<x@office.lan.far.example>",
    ):
        assert (await client.say(f"RCPT TO:{victim}"))[:9] in ("554 5.7.1", "550 5.7.1"), victim
    for victim in (
        "<x%far.example@office.lan>", "<far.example!x@office.lan>", '<"x@far.example"@office.lan>',
        "<x@far.example@office.lan>", "<x@far.example%office.lan>", "<far.example!x>", "x@far.example",
        "<office.lan:x@far.example>", "<@office.lan>", "<@far.example,@office.lan:x%far.example@office.lan>",
    ):
        assert (await client.say(f"RCPT TO:{victim}"))[:1] == "5", victim
    assert (await client.say("DATA"))[:9] == "554 5.5.1"


async def test_logged_in_account_may_send_out_under_its_own_addresses(office):
    host = await office()
    client = await host.connect("submission")
    assert (await client.say("MAIL FROM:<alice@office.lan>"))[:9] == "530 5.7.0"
    assert (await client.login()).startswith("235 2.7.0")
    for own in ("alice@office.lan", "Alice@OFFICE.lan", "info@office.lan", "alice+shop@office.lan", ""):
        assert (await client.say(f"MAIL FROM:<{own}>"))[:3] == "250", own
        await client.say("RSET")
    for foreign in ("bob@office.lan", "chef@office.lan", "alice@far.example"):
        assert (await client.say(f"MAIL FROM:<{foreign}>"))[:9] == "553 5.7.1", foreign
    assert (await client.mail("alice@office.lan", "x@far.example"))[:3] == "250"
    assert b"X-Origin: submission account=alice client=127.0.0.1" in host.queued()[0]
    assert b"ESMTPA id" in host.queued()[0]


async def test_granted_sender(office):
    host = await office()
    client = await host.connect("submission")
    await client.login("bob@office.lan")
    assert (await client.mail("chef@office.lan", "x@far.example"))[:3] == "250"


async def test_check_author(office):
    host = await office("check_author = true")
    client = await host.connect("submission")
    await client.login()
    text = b"From: Bob <bob@office.lan>\r\n\r\n"
    assert (await client.mail("alice@office.lan", "x@far.example", text=text))[:9] == "550 5.7.1"
    text = b"From: =?utf-8?q?Al=C3=ADce?= <info@office.lan>\r\n\r\n"
    assert (await client.mail("alice@office.lan", "x@far.example", text=text))[:9] == "250 2.0.0"


async def test_missing_date_and_message_id_are_added_for_mail_programs_only(office):
    host = await office()
    client = await host.connect("submission")
    await client.login()
    await client.mail("alice@office.lan", "bob@office.lan")
    assert re.match(rb"Date: .+\nMessage-ID: <.+@mail\.office\.lan>\nSubject: x\n", host.message())


async def test_listed_lan_device_needs_no_login_and_has_its_sender(office):
    more = '[smtpd.lan]\nnetworks = ["127.0.0.0/8"]\nsenders = {"127.0.0.1" = "scanner@office.lan"}\n'
    host = await office(more=more)
    for kind in ("lan", "mx"):
        client = await host.connect(kind, "HELO scanner")
        assert (await client.mail("whatever@device", "x@far.example"))[:3] == "250"
    for entry in host.queued():
        assert entry.startswith(b"X-Sender: <scanner@office.lan>\nX-Receiver: <x@far.example>\nX-Origin: lan client=")


async def test_lan_port_is_for_listed_networks_only(office):
    host = await office(more='[smtpd.lan]\nnetworks = ["192.0.2.0/24"]\n')
    client = await host.open("lan")
    assert (await client.reply())[:9] == "554 5.7.1"
    assert await client.ended()


# TLS and AUTH

async def test_starttls_then_login(office):
    host = await office(more="[auth]\ncleartext_networks = []\n")
    client = await host.connect("submission", "")
    await client.reply()
    capabilities = await client.say("EHLO client.example")
    assert "STARTTLS" in capabilities
    assert "AUTH" not in capabilities
    assert (await client.login())[:10] == "538 5.7.11"
    assert (await client.say("STARTTLS"))[:9] == "220 2.0.0"
    await client.start_tls()
    assert (await client.say("MAIL FROM:<alice@office.lan>"))[:9] == "503 5.5.1"
    capabilities = await client.say("EHLO client.example")
    assert "AUTH PLAIN LOGIN" in capabilities
    assert "STARTTLS" not in capabilities
    assert (await client.say("STARTTLS"))[:9] == "503 5.5.1"
    assert (await client.login())[:3] == "235"
    assert (await client.mail("alice@office.lan", "bob@office.lan"))[:3] == "250"
    (entry,) = host.queued()
    assert b" tls=TLSv1.3\n" in entry
    tls = rb"\n\t\(using TLSv1\.3 with cipher TLS_\w+ \(\d+ bits\)\)\n\tby mail\.office\.lan \(lanmail\) with ESMTPSA "
    assert re.search(tls, entry)


async def test_commands_sent_before_the_handshake_are_thrown_away(office):
    host = await office()
    client = await host.connect("submission")
    await client.raw(b"STARTTLS\r\nMAIL FROM:<evil@far.example>\r\nRSET\r\n")
    assert (await client.reply())[:3] == "220"
    await client.start_tls()
    assert (await client.say("NOOP")) == "250 2.0.0 Ok"


async def test_implicit_tls(office):
    host = await office()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = await host.connect("submissions", ssl=context)
    assert (await client.login())[:3] == "235"
    assert (await client.mail("alice@office.lan", "x@far.example"))[:3] == "250"


def test_client_hello_that_is_there_before_we_look(tmp_path, certificate):
    """uvloop reads it at once, and it was taken for a line of SMTP: "500 5.5.2 Lines must end in CRLF"."""
    async def talk() -> None:
        host = await smtp_host.start(tmp_path, certificate=certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(incoming, outgoing).do_handshake()
        try:
            with socket.create_connection(("127.0.0.1", host.ports["submissions"])) as quick:
                quick.sendall(outgoing.read())    # before the loop has run again
                quick.setblocking(False)
                answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(quick, 4096), 20)
        finally:
            await host.close()
        assert answer[:1] == b"\x16", answer    # a handshake record

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())


async def test_stopping_does_not_wait_for_a_handshake(office):
    host = await office()
    silent = await host.open("submissions")
    while not host.service.sessions:
        await asyncio.sleep(0)
    await asyncio.wait_for(host.service.drain(), 20)
    assert await silent.ended()


async def test_words_on_a_tls_port_are_no_handshake(office):
    host = await office()
    client = await host.open("submissions")
    await client.raw(b"EHLO x\r\n")
    assert await client.ended()
    assert not host.service.sessions


@pytest.mark.parametrize(("lines", "last"), [
    (["AUTH LOGIN", "YWxpY2U=", "Y29ycmVjdCBob3JzZQ=="], "235 2.7.0"),
    (["AUTH login YWxpY2U=", "Y29ycmVjdCBob3JzZQ=="], "235 2.7.0"),
    (["AUTH PLAIN", plain("alice", SECRET)], "235 2.7.0"),
    (["auth plain " + plain("alice@office.lan", SECRET)], "235 2.7.0"),
    (["AUTH PLAIN " + plain("alice", SECRET, "bob")], "535 5.7.8"),
    (["AUTH PLAIN " + plain("alice", "wrong")], "535 5.7.8"),
    (["AUTH PLAIN " + plain("nobody", "wrong")], "535 5.7.8"),
    (["AUTH PLAIN", "*"], "501 5.7.0"),
    (["AUTH PLAIN", "!!!"], "501 5.5.2"),
    (["AUTH PLAIN ="], "501 5.5.2"),
    (["AUTH PLAIN", ""], "501 5.5.2"),
    (["AUTH"], "501 5.5.4"),
    (["AUTH PLAIN a b"], "501 5.5.4"),
    (["AUTH CRAM-MD5"], "504 5.5.4"),
    (["AUTH XOAUTH2 abcd"], "504 5.5.4"),
    (["AUTH PLAIN " + "A" * 13_000], "500 5.5.6"),
    (["AUTH PLAIN", "A" * 13_000], "500 5.5.6"),
    (["AUTH PLAIN", "A" * 10_000], "501 5.5.2"),
    (["AUTH PLAIN", "bare lf\n"], "500 5.5.2"),
], ids=lambda item: str(item)[:40])
async def test_auth(office, lines, last):
    host = await office(more='[auth]\ndelay = "0s"\n')
    client = await host.connect("submission")
    for line in lines[:-1]:
        assert (await client.say(line))[:4] == "334 "
    assert (await client.say(lines[-1]))[:9] == last
    assert (await client.say("NOOP"))[:3] in ("250", "500")


async def test_auth_has_its_place(office):
    host = await office()
    client = await host.connect("mx", "HELO x")
    assert (await client.login())[:9] == "503 5.5.1"
    await client.say("EHLO x")
    await client.say("MAIL FROM:<a@b.example>")
    assert (await client.login())[:9] == "503 5.5.1"
    await client.say("RSET")
    assert (await client.login())[:9] == "235 2.7.0"
    assert (await client.login())[:9] == "503 5.5.1"
    other = await host.connect("lmtp", "LHLO x")
    assert (await other.login())[:9] == "502 5.5.1"


async def test_guessing_ends_the_connection(office):
    host = await office("max_failed_logins = 3", '[auth]\ndelay = "0s"\n')
    client = await host.connect("submission")
    answers = [(await client.login(password=f"guess{number}"))[:3] for number in range(3)]
    assert answers == ["535"] * 3
    assert (await client.reply())[:9] == "421 4.7.0"
    assert await client.ended()


async def test_a_full_mailbox_is_refused_for_now(office):
    host = await office()
    full = host.service.context.paths.full
    full.mkdir(parents=True)
    (full / "alice").touch()
    client = await host.connect()
    await client.say("MAIL FROM:<x@far.example>")
    assert await client.say("RCPT TO:<alice@office.lan>") == (
        "452 4.2.2 <alice@office.lan>: the mailbox is full, try again later")
    (full / "alice").unlink()
    assert (await client.say("RCPT TO:<alice@office.lan>")).startswith("250 ")
