"""Sessions: states, log-in, limits, mailboxes seen by several clients at once."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from tests import imapserver
from tests.imapserver import PASSWORD, message, running
from tests.mailroot import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with running(tmp_path) as one:
        yield one


# --- before log-in -----------------------------------------------------------------------------------------------

async def test_greeting_and_capability(server: imapserver.Server) -> None:
    client = await server.client(None)
    assert client.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    assert b"LOGINDISABLED" not in client.greeting  # loopback may log in without TLS
    assert (await client.ok("CAPABILITY"))[0].startswith(b"CAPABILITY IMAP4rev1 ")


async def test_no_password_in_clear_text_from_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.worker.cleartext_networks = []
        client = await server.client(None)
        assert b"LOGINDISABLED" in client.greeting
        assert b"AUTH=" not in client.greeting
        assert (await client.fails(f"LOGIN meier {PASSWORD}")).startswith(b"[PRIVACYREQUIRED]")


async def test_login_spellings(server: imapserver.Server) -> None:
    for user in ("meier", "MEIER", "meier@office.lan", '"meier"'):
        client = await server.client(None)
        await client.ok(f"LOGIN {user} {PASSWORD}")


async def test_login_by_literals_and_authenticate(server: imapserver.Server) -> None:
    client = await server.client(None)
    await client.ok(b"LOGIN {5+}\r\nmeier {6+}\r\n" + PASSWORD.encode())
    for command in ("AUTHENTICATE PLAIN AG1laWVyAGdlaGVpbQ==", "authenticate plain AG1laWVyAGdlaGVpbQ=="):
        client = await server.client(None)
        await client.ok(command)
    client = await server.client(None)
    client.send("a AUTHENTICATE LOGIN\r\n")
    assert await client.line() == b"+ VXNlcm5hbWU6"
    client.send("bWVpZXI=\r\n")
    assert await client.line() == b"+ UGFzc3dvcmQ6"
    client.send("Z2VoZWlt\r\n")
    assert (await client.line()).startswith(b"a OK")


async def test_authenticate_can_be_cancelled(server: imapserver.Server) -> None:
    client = await server.client(None)
    client.send("a AUTHENTICATE PLAIN\r\n*\r\n")
    assert (await client.until("a"))[-1].startswith(b"a BAD")
    assert (await client.fails("AUTHENTICATE SKEY")).startswith(b"[CANNOT]")
    await client.fails("AUTHENTICATE PLAIN !!!", "BAD")


async def test_a_nul_does_not_end_a_user_name(server: imapserver.Server) -> None:
    client = await server.client(None)
    await client.fails(b"LOGIN meier\0 " + PASSWORD.encode(), "BAD")
    await client.fails(b"LOGIN {6+}\r\nmeier\0 " + PASSWORD.encode(), "BAD")


async def test_same_words_for_unknown_user_and_wrong_password(server: imapserver.Server) -> None:
    client = await server.client(None)
    unknown = await client.fails("LOGIN niemand x")
    assert await client.fails("LOGIN meier x") == unknown
    assert unknown.startswith(b"[AUTHENTICATIONFAILED]")


async def test_guessing_ends_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path, max_failed_logins=2) as server:
        client = await server.client(None)
        await client.fails("LOGIN meier a")
        await client.fails("LOGIN meier b")
        assert await client.closed()


@pytest.mark.parametrize(
    "flood",
    [b"a NOOP " + b"x" * 9000, b"a LOGIN {1025+}\r\n", b"a ID {%d+}\r\n" % (1 << 63), b"\r\n" * 10, b"x\n" * 10],
)
async def test_floods_before_log_in_end_the_connection(server: imapserver.Server, flood: bytes) -> None:
    client = await server.client(None)
    client.send(flood)
    assert await client.closed()


@pytest.mark.parametrize("size", ["1025", "9223372036854775808", "1" + "0" * 29])
async def test_large_literals_before_log_in_are_refused(server: imapserver.Server, size: str) -> None:
    client = await server.client(None)
    assert (await client.fails(f"LOGIN {{{size}}}", "BAD")).startswith(b"[TOOBIG]")
    await client.fails("LOGIN {}", "BAD")
    await client.ok("NOOP")


async def test_slow_log_in_ends(tmp_path: Path) -> None:
    async with running(tmp_path, login_timeout="100ms") as server:
        client = await server.client(None)
        assert await client.line() == b"* BYE Too slow to log in."
        assert await client.closed()


async def test_states(server: imapserver.Server) -> None:
    client = await server.client(None)
    for command in ("SELECT INBOX", "FETCH 1 FLAGS", 'LIST "" *', "IDLE"):
        await client.fails(command, "BAD")
    await client.ok(f"LOGIN meier {PASSWORD}")
    for command in (f"LOGIN meier {PASSWORD}", "STARTTLS", "FETCH 1 FLAGS", "UID NOOP", "UID", "", "NOOP x", "XYZ"):
        await client.fails(command, "BAD")
    assert await client.ok("LOGOUT") == [b"BYE Logging out."]
    assert await client.closed()


async def test_connections_of_one_user_are_limited(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections_per_user=2) as server:
        first = await server.client()
        await server.client()
        third = await server.client(None)
        assert (await third.fails(f"LOGIN meier {PASSWORD}")).startswith(b"[LIMIT]")
        await third.ok(f"LOGIN schmidt {PASSWORD}")
        await first.ok("LOGOUT")
        await first.closed()
        await server.client()


async def test_id_of_the_largest_size_before_log_in(server: imapserver.Server) -> None:
    client = await server.client(None)
    fields = " ".join(f'"{"k" * 28}{number:02d}" "{"v" * 1024}"' for number in range(30))
    assert (await client.ok(f"ID ({fields})"))[0].startswith(b'ID ("name" "lanmail"')
    assert (await client.ok("ID NIL"))[0].startswith(b"ID (")


# --- folders -----------------------------------------------------------------------------------------------------

async def test_special_folders_at_the_first_log_in(server: imapserver.Server) -> None:
    client = await server.client()
    assert await client.ok('LIST "" *') == [
        b'LIST (\\HasNoChildren) "." INBOX', b'LIST (\\HasNoChildren \\Drafts) "." Drafts',
        b'LIST (\\HasNoChildren \\Junk) "." Junk', b'LIST (\\HasNoChildren \\Sent) "." Sent',
        b'LIST (\\HasNoChildren \\Trash) "." Trash',
    ]
    subscribed = {line.split()[-1] for line in await client.ok('LSUB "" *')}
    assert subscribed == {b"INBOX", b"Drafts", b"Junk", b"Sent", b"Trash"}


@pytest.mark.parametrize("name", ["INBOX.SENT", "sent", "inbox.Sent", "Sent"])
async def test_sent_is_found_under_all_its_names(server: imapserver.Server, name: str) -> None:
    client = await server.client()
    await client.ok(f"SELECT {name}")
    await client.append(message(), name)
    assert (await client.ok("STATUS Sent (MESSAGES)")) == [b"STATUS Sent (MESSAGES 1)"]
    assert len(await client.ok('LIST "" *')) == 5


async def test_the_other_namespace(tmp_path: Path) -> None:
    async with running(tmp_path, namespace_prefix="INBOX.") as server:
        client = await server.client()
        assert await client.ok("NAMESPACE") == [b'NAMESPACE (("INBOX." ".")) (("Other Users." ".")) (("Shared." "."))']
        assert b'LIST (\\HasNoChildren \\Sent) "." INBOX.Sent' in await client.ok('LIST "" *')
        assert await client.ok('LIST "" %') == [b'LIST (\\HasChildren) "." INBOX']
        await client.ok("CREATE INBOX.Projekte")
        await client.ok("SELECT Projekte")
        assert os.path.isdir(server.root() + "/.Projekte/cur")


async def test_names_that_are_refused(server: imapserver.Server) -> None:
    client = await server.client()
    for name in (b"../x", b'"a/b"', b"a..b", b".a", b"&AC4ALgAv-", b"&AGE-", b"a&", b'"a\x01b"', b'"\xc3\xbc"', b'""',
                 b"x" * 256, b".".join([b"x"] * 17), b"INBOX.", b"INBOX.INBOX.x", b"{3+}\r\na\nb", b"&AAA-", b"&2D8-"):
        lines = await client.command(b"CREATE " + name)
        assert lines[-1].split(b" ")[1] in (b"NO", b"BAD"), (name, lines)
    assert sorted(os.listdir(server.paths.maildirs)) == ["meier"]
    assert len(await client.ok('LIST "" *')) == 5
    for name in ("cur", "new", "tmp", "Entw&APw-rfe", "a&-b", '"a b"', '"a\\"b"'):
        await client.ok(f"CREATE {name}")
        assert (await client.ok(f"STATUS {name} (MESSAGES)"))[0].endswith(b"(MESSAGES 0)")


async def test_rename_inbox_moves_its_messages(server: imapserver.Server) -> None:
    server.deliver(message("eins"))
    client = await server.client()
    await client.ok("RENAME INBOX Alt")
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b"STATUS INBOX (MESSAGES 0)"]
    assert await client.ok("STATUS Alt (MESSAGES)") == [b"STATUS Alt (MESSAGES 1)"]


async def test_rename_takes_what_is_below_along(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok("CREATE a.b.c")
    await client.ok("RENAME a x.y")
    assert (await client.ok('LIST "" x*')) == [
        b'LIST (\\Noselect \\HasChildren) "." x', b'LIST (\\Noselect \\HasChildren) "." x.y',
        b'LIST (\\Noselect \\HasChildren) "." x.y.b', b'LIST (\\HasNoChildren) "." x.y.b.c']
    assert (await client.fails("RENAME nix da")).startswith(b"[NONEXISTENT]")
    assert (await client.fails("RENAME x.y.b.c Sent")).startswith(b"[ALREADYEXISTS]")
    assert (await client.fails("DELETE x.y")).startswith(b"[NONEXISTENT]")


async def test_who_has_a_deleted_folder_selected_is_told(server: imapserver.Server) -> None:
    client, other = await server.client(), await server.client()
    await client.ok("CREATE weg")
    await other.ok("SELECT weg")
    other.send("i IDLE\r\n")
    assert await other.line() == b"+ idling"
    await client.ok("DELETE weg")
    assert (await other.line()).startswith(b"* BYE ")


# --- messages ----------------------------------------------------------------------------------------------------

async def test_append_is_stored_as_lf_and_comes_back_as_crlf(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    wire = b"Subject: x\r\n\r\none\r\ntwo\r\n"
    before = b'APPEND INBOX (\\Seen $Label) "17-Jul-1996 02:44:25 -0700" '
    lines = await client.command(before + b"{%d+}\r\n%b" % (len(wire), wire))
    assert b" OK [APPENDUID " in lines[-1]
    (name,) = os.listdir(server.root() + "/cur")
    assert name.endswith(",S=20,W=24:2,Sa")
    assert Path(server.root(), "cur", name).read_bytes() == wire.replace(b"\r\n", b"\n")
    assert os.listdir(server.root() + "/tmp") == []
    (answer,) = await client.ok("FETCH 1 (RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[])")
    assert b"RFC822.SIZE 24" in answer
    assert b'INTERNALDATE "17-Jul-1996 09:44:25 +0000"' in answer or b'"17-Jul-1996' in answer
    assert b"BODY[] {24}\r\n" + wire in answer


async def test_append_that_breaks_off_leaves_nothing(server: imapserver.Server) -> None:
    client = await server.client()
    client.send(b"a APPEND INBOX {1000+}\r\n" + b"x" * 500)
    await client.writer.drain()
    client.close()
    await until(lambda: not server.worker._sessions)
    for sub in ("tmp", "new", "cur"):
        assert os.listdir(f"{server.root()}/{sub}") == []


async def test_append_too_large(tmp_path: Path) -> None:
    async with running(tmp_path, max_append="10KB") as server:
        client = await server.client()
        assert (await client.fails("APPEND INBOX {10241}")).startswith(b"[TOOBIG]")
        big = b"x" * 10_241
        assert (await client.fails(b"APPEND INBOX {10241+}\r\n" + big)).startswith(b"[TOOBIG]")
        assert (await client.fails(b"APPEND nix {10241+}\r\n" + big)).startswith(b"[TRYCREATE]")
        await client.ok("NOOP")
        client.send(b"a APPEND INBOX {999999999+}\r\n")
        assert (await client.line()).startswith(b"* BYE [TOOBIG]")
        assert await client.closed()


async def test_several_messages_are_appended_all_or_none(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    lines = await client.command(b"APPEND INBOX {3+}\r\na\r\n (\\Seen) {3+}\r\nb\r\n")
    assert b"APPENDUID" in lines[-1]
    assert lines[-1].split(b"]")[0].endswith(b" 1:2")
    await client.fails(b"APPEND INBOX {3+}\r\na\r\n (\\Bogus) {3+}\r\nb\r\n", "BAD")
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b"STATUS INBOX (MESSAGES 2)"]
    assert os.listdir(server.root() + "/tmp") == []


async def test_examined_mailboxes_do_not_change(server: imapserver.Server) -> None:
    server.deliver(message())
    client = await server.client()
    await client.ok("EXAMINE INBOX")
    await client.ok("FETCH 1 BODY[]")
    for command in ("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Trash", "UID MOVE 1 Trash"):
        assert (await client.fails(command)).startswith(b"[READ-ONLY]")
    await client.ok("COPY 1 Trash")
    await client.ok("CLOSE")
    assert os.listdir(server.root() + "/cur") == []
    assert len(os.listdir(server.root() + "/new")) == 1


async def test_recent_is_for_one_session_only(server: imapserver.Server) -> None:
    server.deliver(message())
    first, second = await server.client(), await server.client()
    assert b"1 RECENT" in await first.ok("EXAMINE INBOX")
    assert b"1 RECENT" in await first.ok("SELECT INBOX")
    assert b"0 RECENT" in await second.ok("SELECT INBOX")
    assert await first.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Recent))"]
    assert await second.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS ())"]


async def test_uids_of_another_session_can_be_used(server: imapserver.Server) -> None:
    client, other = await server.client(select="INBOX"), await server.client()
    lines = await other.command(b"APPEND INBOX {3+}\r\na\r\n")
    uid = lines[-1].split(b"]")[0].split(b" ")[-1].decode()
    assert b"1 EXISTS" in await client.ok(f"UID COPY {uid} Sent")
    assert await client.ok("STATUS Sent (MESSAGES)") == [b"STATUS Sent (MESSAGES 1)"]


async def test_expunges_are_told_only_when_numbers_may_change(server: imapserver.Server) -> None:
    client, other = await server.client(select="INBOX"), await server.client(select="INBOX")
    for number in range(3):
        await client.append(message(str(number)))
    await other.ok("NOOP")
    await client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert await client.ok("EXPUNGE") == [b"2 EXPUNGE"]
    for command in ("FETCH 1 UID", "STORE 1 +FLAGS (\\Seen)", "SEARCH SEEN"):
        assert not [line for line in await other.ok(command) if b"EXPUNGE" in line]
    lines = await other.command("FETCH 1:3 FLAGS")
    assert len(lines) == 3
    assert b" OK [EXPUNGEISSUED] " in lines[-1]
    assert await other.ok("NOOP") == [b"2 EXPUNGE"]
    assert len(await other.ok("FETCH 1:2 UID")) == 2


async def test_idle_done_and_the_next_command_in_one_packet(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    client.send("a IDLE\r\nDONE\r\nb NOOP\r\n")
    assert (await client.until("a"))[-1] == b"a OK IDLE completed."
    assert (await client.until("b"))[-1] == b"b OK NOOP completed."


async def test_new_mail_wakes_idle_at_once(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    client.send("a IDLE\r\n")
    assert await client.line() == b"+ idling"
    server.deliver(message())
    assert await client.line() == b"* 1 EXISTS"  # by the event: no sweep runs here
    assert await client.line() == b"* 1 RECENT"
    client.send("DONE\r\n")
    assert await client.line() == b"a OK IDLE completed."


async def test_flags_that_another_program_changed(server: imapserver.Server) -> None:
    server.deliver(message())
    client = await server.client(select="INBOX")
    (name,) = os.listdir(server.root() + "/cur")
    os.rename(f"{server.root()}/cur/{name}", f"{server.root()}/cur/{maildir.with_letters(name, 'F')}")
    assert await client.ok("STORE 1 +FLAGS (\\Seen)") == [b"1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))"]
    assert [maildir.letters_of(one) for one in os.listdir(server.root() + "/cur")] == ["FS"]


async def test_a_message_renamed_meanwhile_is_still_fetched(server: imapserver.Server) -> None:
    server.deliver(message("Rechnung"))
    client = await server.client(select="INBOX")
    (name,) = os.listdir(server.root() + "/cur")
    os.rename(f"{server.root()}/cur/{name}", f"{server.root()}/cur/{maildir.with_letters(name, 'F')}")
    (answer, *_) = await client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]")
    assert b"Subject: Rechnung\r\n\r\n)" in answer


async def test_move_keeps_flags_and_leaves_nothing_behind(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    await client.append(message(), before="(\\Flagged $Work) ")
    await client.ok("NOOP")
    lines = await client.ok("MOVE 1 Trash")
    assert lines[0].startswith(b"OK [COPYUID ")
    assert b"1 EXPUNGE" in lines
    assert os.listdir(server.root() + "/cur") == []
    await client.ok("SELECT Trash")
    assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Flagged $Work \\Recent))"]
    assert (await client.fails("MOVE 1 nix")).startswith(b"[TRYCREATE]")


async def test_copy_is_a_link(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    await client.append(message())
    await client.ok("NOOP")
    await client.ok("COPY 1 Sent")
    (name,) = os.listdir(server.root() + "/.Sent/cur")
    assert os.stat(f"{server.root()}/.Sent/cur/{name}").st_nlink == 2


async def test_keywords_have_a_limit(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    await client.append(message())
    await client.ok("NOOP")
    for start in range(0, 200, 20):
        await client.ok(f"STORE 1 +FLAGS.SILENT ({' '.join(f'k{number}' for number in range(start, start + 20))})")
    assert (await client.fails("STORE 1 +FLAGS (one-more)")).startswith(b"[LIMIT]")
    (answer,) = await client.ok("FETCH 1 FLAGS")
    assert answer.count(b" k") + answer.count(b"(k") == 200


async def test_sections_that_do_not_exist(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    await client.append(message())
    await client.ok("NOOP")
    for section in ("BODY[0]", "BODY[1.0]", "BODY[MIME]", "BODY[1", "BODY[]<1>", "BODY[]<0.0>", "RFC822.PEEK"):
        await client.fails(f"FETCH 1 {section}", "BAD")
    assert await client.ok("FETCH 1 BODY.PEEK[7]") == [b"1 FETCH (BODY[7] NIL)"]


async def test_large_messages_are_streamed(server: imapserver.Server) -> None:
    body = b"".join(b"line %d\r\n" % number for number in range(300_000)) + b"\r\rend"
    client = await server.client(select="INBOX")
    await client.append(b"Subject: big\r\n\r\n" + body)
    await client.ok("NOOP")
    (answer,) = await client.ok("FETCH 1 (UID BODY.PEEK[] FLAGS)")
    head, tail = answer[:60], answer[-30:]
    assert head.startswith(b"1 FETCH (UID 1 BODY[] {%d}\r\nSubject: big\r\n\r\nline 0\r\n" % (len(body) + 16))
    assert tail.endswith(b"\r\n\r\rend FLAGS (\\Recent))")
    same = body in answer
    assert same


async def test_a_large_message_fetched_piece_by_piece(server: imapserver.Server) -> None:
    """Read and parsed once, not once for each piece."""
    part = b"".join(b"%06d\r\n" % number for number in range(200_000))
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\r\n"
    client = await server.client(select="INBOX")
    await client.append(head + part + b"\r\n--b--\r\n")
    await client.ok("NOOP")
    for section, whole in (("2", part), ("", head + part + b"\r\n--b--\r\n")):
        got = b""
        while True:
            (answer,) = await client.ok(f"FETCH 1 BODY.PEEK[{section}]<{len(got)}.262144>")
            piece = answer.split(b"}\r\n", 1)[1][:-1]
            got += piece
            if len(piece) < 262144:
                break
        same = got == whole
        assert same
    assert len(server.worker.held._sources) == 1
    server.worker.held._sources[next(iter(server.worker.held._sources))] = (None, 1, 0.0)  # type: ignore[assignment]
    server.worker.held.sweep()
    assert not server.worker.held._sources


async def test_odd_files_are_neither_served_nor_a_trap(server: imapserver.Server) -> None:
    server.deliver(message())
    cur = server.root() + "/cur"
    os.mkfifo(f"{cur}/1.fifo:2,")
    os.symlink("/etc/passwd", f"{cur}/2.link:2,")
    os.mkdir(f"{cur}/3.dir:2,")
    client = await server.client()
    assert b"1 EXISTS" in await client.ok("SELECT INBOX")
    (answer,) = await client.ok("FETCH 1:* BODY.PEEK[TEXT]")
    assert b"Guten Tag" in answer
    assert len(os.listdir(cur)) == 4


async def test_the_server_says_goodbye_when_it_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        client, idler = await server.client(), await server.client()
        idler.send("i IDLE\r\n")
        await idler.line()
        await server.worker.close()
        assert (await client.line()).startswith(b"* BYE ")
        assert (await idler.line()).startswith(b"* BYE ")


async def test_status_size_of_known_and_unknown_sizes(server: imapserver.Server) -> None:
    server.deliver(message(body="Eins\n"))
    Path(server.root(), "cur/foreign:2,").write_bytes(b"a: b\n\nc\n")
    client = await server.client()
    total = len(message(body="Eins\n").replace(b"\n", b"\r\n")) + len(b"a: b\r\n\r\nc\r\n")
    assert await client.ok("STATUS INBOX (SIZE MESSAGES)") == [b"STATUS INBOX (SIZE %d MESSAGES 2)" % total]
