"""Quotas by IMAP (RFC 9208): what clients are told, and what is refused."""

from pathlib import Path

from lanmail import maildir
from tests import imapserver
from tests.imapserver import HASH, message, running


def limit(server: imapserver.Server, name: str, keys: str) -> None:
    (server.paths.accounts / f"{name}.toml").write_text(f'password = "{HASH}"\n{keys}\n')


def mail(octets: int) -> bytes:
    head = message("x", "")
    return head + b"x" * (octets - len(head) - 1) + b"\n"


async def test_without_a_limit_there_is_no_root(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        client = await server.client()
        assert await client.ok("GETQUOTAROOT inbox") == [b"QUOTAROOT INBOX"]
        assert (await client.fails("GETQUOTA meier")).startswith(b"[NONEXISTENT]")
        assert (await client.fails("GETQUOTA schmidt")).startswith(b"[NONEXISTENT]")


async def test_what_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        limit(server, "meier", 'quota = "10KB"\nquota_messages = 5')
        client = await server.client()
        await client.append(mail(1500))
        told = b"QUOTA meier (STORAGE 2 10 MESSAGE 1 5)"
        assert await client.ok("GETQUOTAROOT Sent") == [b"QUOTAROOT Sent meier", told]
        assert await client.ok('GETQUOTA "meier"') == [told]
        # RFC 9208 §4.1.2: the mailbox need not exist
        assert await client.ok("GETQUOTAROOT Neu") == [b"QUOTAROOT Neu meier", told]
        assert await client.ok('GETQUOTAROOT ""') == [b'QUOTAROOT "" meier', told]
        assert await client.ok("GETQUOTAROOT /blah") == [b'QUOTAROOT "/blah" meier', told]
        await client.fails("GETQUOTAROOT Shared.nobody")
        assert (await client.fails("SETQUOTA meier (STORAGE 100)")).startswith(b"[NOPERM]")
        assert (await client.fails("SETQUOTA meier ()")).startswith(b"[NOPERM]")
        await client.fails("SETQUOTA meier STORAGE", "BAD")
        await client.ok("SELECT INBOX")
        await client.ok("STORE 1 +FLAGS (\\Deleted)")
        (status,) = await client.ok("STATUS INBOX (DELETED DELETED-STORAGE SIZE)")
        assert status.startswith(b"STATUS INBOX (DELETED 1 DELETED-STORAGE 15")


async def test_what_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        limit(server, "meier", 'quota = "4KB"')
        client = await server.client()
        await client.append(mail(1000))
        await client.append(mail(1000))
        large = mail(3000)
        for wait in (b"", b"+"):
            refused = await client.fails(b"APPEND INBOX {%d%b}\r\n" % (len(large), wait) + (large if wait else b""))
            assert refused.startswith(b"[OVERQUOTA]")
        two = b"APPEND INBOX {%d+}\r\n%b {%d+}\r\n%b" % (1200, mail(1200), 1200, mail(1200))
        assert (await client.fails(two)).startswith(b"[OVERQUOTA]")  # each would fit, both do not
        await client.ok("SELECT INBOX")
        await client.ok("COPY 1 Sent")
        assert (await client.fails("COPY 1:2 Sent")).startswith(b"[OVERQUOTA]")
        await client.ok("MOVE 1 Sent")  # nothing more than before
        await client.ok("STORE 1 +FLAGS (\\Deleted)")
        await client.ok("EXPUNGE")
        await client.append(mail(1000))  # there is room again, at once


async def test_the_quota_of_the_owner_counts(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        limit(server, "meier", 'quota = "1KB"')
        limit(server, "info", 'shared = true\nmembers = ["meier"]\nquota_messages = 1')
        maildir.prepare(server.root("info"))
        client = await server.client()
        await client.append(mail(3000), "Shared.info")
        assert (await client.fails("APPEND Shared.info {1+}\r\nx")).startswith(b"[OVERQUOTA]")
        told = b"QUOTA info (MESSAGE 1 1)"
        assert await client.ok("GETQUOTAROOT Shared.info") == [b"QUOTAROOT Shared.info info", told]
        assert await client.ok("GETQUOTA info") == [told]
        await client.ok("SELECT Shared.info")
        for command in ("COPY", "MOVE"):
            assert (await client.fails(f"{command} 1 INBOX")).startswith(b"[OVERQUOTA]")
        await client.ok("CREATE Shared.info.Neu")
        await client.ok("MOVE 1 Shared.info.Neu")
        assert (await client.fails("RENAME Shared.info.Neu Neu")).startswith(b"[OVERQUOTA]")


async def test_warned_once_of_each_step(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        limit(server, "meier", "quota_messages = 20")
        client = await server.client()
        told = []
        for number in range(20):
            answers = await client.append(mail(200))
            told += [(number + 1, line) for line in answers if b"ALERT" in line]
        assert told == [(16, b"OK [ALERT] Your mailbox is 80 % full."), (19, b"OK [ALERT] Your mailbox is 95 % full.")]
        client = await server.client()
        assert b"OK [ALERT] Your mailbox is 100 % full." in await client.ok("SELECT INBOX")
        assert not [line for line in await client.ok("SELECT INBOX") if b"ALERT" in line]
