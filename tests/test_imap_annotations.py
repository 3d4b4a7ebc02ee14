"""Annotations of mailboxes and of the server (RFC 5464), and the files they lie in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import metadata
from tests import imapserver
from tests.imapserver import running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with running(tmp_path) as one:
        (one.paths.accounts / "info.toml").write_text('shared = true\nmembers = ["meier", "schmidt=lr"]\n')
        maildir.prepare(one.root("info"))
        yield one


async def test_set_get_and_remove(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok('SETMETADATA inbox (/Private/Comment "mine" /shared/comment {5+}\r\nour\r\n /private/empty "")')
    assert await client.ok("GETMETADATA INBOX (/private/comment /SHARED/comment /private/empty /private/none)") == [
        b'METADATA INBOX (/private/comment "mine" /shared/comment {5}\r\nour\r\n /private/empty "" /private/none NIL)']
    await client.ok("SETMETADATA INBOX (/private/comment NIL /private/none NIL)")
    assert await client.ok("GETMETADATA INBOX /private/comment") == [b"METADATA INBOX (/private/comment NIL)"]
    assert await client.ok("GETMETADATA (DEPTH infinity) INBOX (/private /shared)") == [
        b'METADATA INBOX (/private/empty "" /shared/comment {5}\r\nour\r\n)']
    assert await client.ok("GETMETADATA Sent /shared/comment") == [b"METADATA Sent (/shared/comment NIL)"]


async def test_depth(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok("SETMETADATA INBOX (/private/a 1 /private/a/b 2 /private/a/b/c 3 /private/ab 4)".replace(
        " 1", ' "1"').replace(" 2", ' "2"').replace(" 3", ' "3"').replace(" 4", ' "4"'))
    for depth, found in (("0", "a"), ("1", "a a/b"), ("infinity", "a a/b a/b/c")):
        (line,) = await client.ok(f"GETMETADATA (DEPTH {depth}) INBOX /private/a")
        assert [word.removeprefix("/private/") for word in line.decode().replace("(", "").split()
                if word.startswith("/")] == found.split()
    assert await client.ok("GETMETADATA (DEPTH 1) INBOX /private/x") == []


async def test_values_that_are_too_long_to_be_sent(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok('SETMETADATA INBOX (/private/short "12" /private/long "1234567890")')
    for command in ("GETMETADATA (MAXSIZE 5 DEPTH 1) INBOX /private", "GETMETADATA INBOX (MAXSIZE 5 DEPTH 1) /private"):
        lines = await client.command(command)
        assert lines[0] == b'* METADATA INBOX (/private/short "12")'
        assert b" OK [METADATA LONGENTRIES 10] " in lines[1]


async def test_limits(server: imapserver.Server) -> None:
    client = await server.client()
    large = metadata.MAX_VALUE + 1
    assert await client.fails(f"SETMETADATA INBOX (/private/x {{{large}+}}\r\n{'x' * large})") == (
        b"[METADATA MAXSIZE %d] A value is too large." % metadata.MAX_VALUE)
    many = " ".join(f'/private/{number} "x"' for number in range(metadata.MAX_ENTRIES + 1))
    assert (await client.fails(f"SETMETADATA INBOX ({many})")).startswith(b"[METADATA TOOMANY]")
    assert await client.ok("GETMETADATA (DEPTH infinity) INBOX /private") == []  # all or none


@pytest.mark.parametrize("entry", [
    "private/x", "/private//x", "/private/x/", "/other/x", '"/private/*"', '"/private/%"', "/private", '""', "/",
    '"/private/\xe4"', "/private/" + "x" * 2000, "/private" + "/x" * 20,
])
async def test_names_that_are_none(server: imapserver.Server, entry: str) -> None:
    client = await server.client()
    await client.fails(f'SETMETADATA INBOX ({entry} "x")', "BAD")


async def test_the_server_has_some_too(server: imapserver.Server) -> None:
    client = await server.client()
    assert await client.ok('GETMETADATA "" /shared/admin') == [
        b'METADATA "" (/shared/admin "mailto:postmaster@office.lan")']
    assert (await client.fails('SETMETADATA "" (/shared/comment "x")')).startswith(b"[NOPERM]")
    await client.ok('SETMETADATA "" (/private/vendor/x "y")')
    assert await client.ok('GETMETADATA "" (/private/vendor/x)') == [b'METADATA "" (/private/vendor/x "y")']
    assert await (await server.client("schmidt")).ok('GETMETADATA "" (/private/vendor/x)') == [
        b'METADATA "" (/private/vendor/x NIL)']
    assert await client.ok("GETMETADATA INBOX /private/vendor/x") == [b"METADATA INBOX (/private/vendor/x NIL)"]


async def test_private_is_private_and_shared_is_shared(server: imapserver.Server) -> None:
    one, two = await server.client("meier"), await server.client("schmidt")
    await one.ok('SETMETADATA Shared.info (/private/comment "mine" /shared/comment "ours")')
    await two.ok('SETMETADATA Shared.info (/private/comment "other")')
    assert await two.ok("GETMETADATA Shared.info (/private/comment /shared/comment)") == [
        b'METADATA Shared.info (/private/comment "other" /shared/comment "ours")']
    assert await one.ok("GETMETADATA Shared.info /private/comment") == [
        b'METADATA Shared.info (/private/comment "mine")']
    assert (await two.fails('SETMETADATA Shared.info (/shared/comment "x")')).startswith(b"[NOPERM]")
    for command in ('SETMETADATA "Other Users.meier" (/private/x "x")', 'GETMETADATA "Other Users.meier" /private/x',
                    'GETMETADATA "Other Users.nobody" /private/x'):
        assert await two.fails(command) == b"[NONEXISTENT] No such mailbox."


async def test_they_go_along_with_the_folder(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok("CREATE Alt")
    await client.ok('SETMETADATA Alt (/private/comment "x")')
    await client.ok("RENAME Alt Neu")
    assert await client.ok("GETMETADATA Neu /private/comment") == [b'METADATA Neu (/private/comment "x")']
    await client.ok("DELETE Neu")
    await client.ok("CREATE Neu")
    assert await client.ok("GETMETADATA Neu /private/comment") == [b"METADATA Neu (/private/comment NIL)"]


async def test_the_special_use_is_an_entry(server: imapserver.Server) -> None:
    client = await server.client()
    assert await client.ok("GETMETADATA Sent /private/specialuse") == [
        b"METADATA Sent (/private/specialuse {5}\r\n\\Sent)"]
    await client.ok("CREATE Ablage")
    await client.ok('SETMETADATA Ablage (/private/specialuse "\\\\Archive")')
    assert b'LIST (\\HasNoChildren \\Archive) "." Ablage' in await client.ok('LIST "" Ablage')
    assert (await client.fails('SETMETADATA Sent (/private/specialuse "\\\\Archive")')).startswith(b"[USEATTR]")
    assert (await client.fails('SETMETADATA Sent (/private/specialuse "\\\\All")')).startswith(b"[USEATTR]")
    await client.ok("SETMETADATA Ablage (/private/specialuse NIL)")
    assert b'LIST (\\HasNoChildren) "." Ablage' in await client.ok('LIST "" Ablage')


@pytest.mark.parametrize("value", [b"", b"a\tb\\n\nc\r\\", b"\xff\xfe\x01", "Grüße".encode()])
def test_the_file_keeps_every_value(tmp_path: Path, value: bytes) -> None:
    path = str(tmp_path / metadata.FOLDER)
    metadata.change(path, "meier", {"/private/x": value, "/shared/y": b"z"})
    assert metadata.load(path) == {("meier", "/private/x"): value, ("", "/shared/y"): b"z"}
    metadata.change(path, "meier", {"/private/x": None, "/shared/y": None})
    assert not Path(path).exists()


def test_a_damaged_file_loses_what_is_damaged_only(tmp_path: Path) -> None:
    path = tmp_path / metadata.FOLDER
    path.write_bytes(b"nonsense\n\xff\tx\n\tno-slash\tx\n\t/shared/a\tb\n\t/shared/cut")
    assert metadata.load(str(path)) == {("", "/shared/a"): b"b"}
