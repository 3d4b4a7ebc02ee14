"""Folders of others: team mailboxes, shared folders, and the rights in them, command by command."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import acl
from tests import imapserver
from tests.imapserver import HASH, message, running

ACCOUNTS = ("meier", "schmidt", "eva.roth")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    """meier and the group sales use the team mailbox info; schmidt is in sales, eva.roth is nothing."""
    async with running(tmp_path, accounts=ACCOUNTS) as one:
        team(one, "info", '"meier", "group:sales=lrs"')
        (one.paths.accounts / "schmidt.toml").write_text(f'password = "{HASH}"\ngroups = ["sales"]\n')
        yield one


def team(server: imapserver.Server, name: str, members: str) -> None:
    (server.paths.accounts / f"{name}.toml").write_text(f"shared = true\nmembers = [{members}]\n")
    maildir.prepare(server.root(name))


def grant(server: imapserver.Server, owner: str, folder: str, text: str) -> None:
    """What an admin does with a text editor, and the index finds later."""
    maildir.prepare(server.root(owner))
    if not maildir.exists(server.root(owner), folder):
        maildir.create(server.root(owner), folder)
    Path(maildir.path_of(server.root(owner), folder), acl.NAME).write_text(text)
    server.worker.shares.rebuild()


async def listed(client: imapserver.Client, pattern: str = "*", how: str = "LIST") -> list[str]:
    return [line.decode().split('"." ')[1].strip('"') for line in await client.ok(f'{how} "" "{pattern}"')]


async def test_a_team_mailbox_is_seen_by_its_members_only(server: imapserver.Server) -> None:
    for name, there in (("meier", True), ("schmidt", True), ("eva.roth", False)):
        client = await server.client(name)
        for how in ("LIST", "LSUB"):
            assert ("Shared.info" in await listed(client, how=how)) is there
            assert ("Shared.info.Sent" in await listed(client, how=how)) is there
        answer = await client.command("SELECT Shared.info")
        if not there:
            unknown = await client.command("SELECT Shared.nobody")
            assert answer[-1].split(b" ", 1)[1] == unknown[-1].split(b" ", 1)[1]


async def test_the_members_work_on_one_mailbox(server: imapserver.Server) -> None:
    server.deliver(message(), "info")
    one, two = await server.client("meier", "Shared.info"), await server.client("schmidt", "Shared.info.INBOX")
    await one.ok("STORE 1 +FLAGS (\\Flagged)")
    assert await two.ok("NOOP") == [b"1 FETCH (UID 1 FLAGS (\\Flagged))"]
    await one.append(message("Antwort"), "Shared.info")
    assert b"2 EXISTS" in await two.ok("NOOP")
    await one.ok("STORE 1 +FLAGS (\\Deleted)")
    assert b"1 EXPUNGE" in await one.ok("EXPUNGE")
    assert b"1 EXPUNGE" in await two.ok("NOOP")
    assert len(os.listdir(server.root("info") + "/cur")) == 1


async def test_what_a_reader_may_set(server: imapserver.Server) -> None:
    server.deliver(message(), "info")
    client = await server.client("schmidt")
    answers = await client.ok("SELECT Shared.info")
    assert b"OK [PERMANENTFLAGS (\\Seen)] Flags permitted." in answers
    await client.ok("STORE 1 +FLAGS (\\Seen \\Flagged)")  # one of them may be set: that one is
    assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Seen \\Recent))"]
    await client.ok("STORE 1 FLAGS ()")
    assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Recent))"]
    assert (await client.fails("STORE 1 +FLAGS (\\Deleted)")).startswith(b"[NOPERM]")
    assert (await client.fails("STORE 1 FLAGS (urgent)")).startswith(b"[NOPERM]")
    assert (await client.fails("EXPUNGE")).startswith(b"[NOPERM]")
    assert (await client.fails("MOVE 1 Trash")).startswith(b"[NOPERM]")
    assert (await client.fails("COPY 1 Shared.info.Sent")).startswith(b"[NOPERM]")
    assert (await client.fails("APPEND Shared.info {1+}\r\nx")).startswith(b"[NOPERM]")
    assert (await client.fails("CREATE Shared.info.Neu")).startswith(b"[NOPERM]")
    assert (await client.fails("DELETE Shared.info.Sent")).startswith(b"[NOPERM]")
    assert (await client.fails("RENAME Shared.info.Sent Meins")).startswith(b"[NOPERM]")
    assert (await client.fails("GETACL Shared.info")).startswith(b"[NOPERM]")
    await client.ok("COPY 1 INBOX")
    await client.ok("CLOSE")


async def test_close_expunges_only_with_the_right(server: imapserver.Server) -> None:
    server.deliver(message(), "info")
    team(server, "info", '"meier", "group:sales=lrst"')
    client = await server.client("schmidt", "Shared.info")
    await client.ok("STORE 1 +FLAGS (\\Deleted)")
    await client.ok("CLOSE")
    assert b"STATUS Shared.info (MESSAGES 1)" in await client.ok("STATUS Shared.info (MESSAGES)")
    client = await server.client("meier", "Shared.info")
    await client.ok("CLOSE")
    assert b"STATUS Shared.info (MESSAGES 0)" in await client.ok("STATUS Shared.info (MESSAGES)")


async def test_reading_marks_as_read_only_with_the_right(server: imapserver.Server) -> None:
    server.deliver(message(), "info")
    grant(server, "info", "INBOX", "user=eva.roth lr\n")
    client = await server.client("eva.roth")
    answers = await client.command("SELECT Shared.info")
    assert answers[-1].split(b" ", 1)[1].startswith(b"OK [READ-ONLY]")
    await client.ok("FETCH 1 BODY[]")
    assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Recent))"]


async def test_flags_that_may_not_be_set_do_not_come_along(server: imapserver.Server) -> None:
    team(server, "info", '"meier=lri", "schmidt=lrisw"')
    for name, flags in (("meier", b""), ("schmidt", b"\\Flagged \\Seen")):
        client = await server.client(name)
        await client.append(message(), "INBOX", "(\\Seen \\Flagged \\Deleted) ")
        await client.ok("SELECT INBOX")
        for command in ("COPY", "MOVE"):
            await client.ok(f"{command} 1 Shared.info")
        await client.append(message(), "Shared.info", "(\\Seen \\Flagged \\Deleted) ")
        await client.ok("SELECT Shared.info")
        assert {line.split(b"(FLAGS (")[1].removesuffix(b"))").removesuffix(b"\\Recent").strip()
                for line in (await client.ok("FETCH 1:* FLAGS"))[-3:]} == {flags}
        assert len(os.listdir(server.root(name) + "/cur")) == 0


async def test_a_person_shares_a_folder(server: imapserver.Server) -> None:
    owner, other = await server.client("eva.roth"), await server.client("meier")
    await owner.ok("CREATE Projekte.Alt")
    assert await owner.ok("GETACL Projekte.Alt") == [b"ACL Projekte.Alt eva.roth lrwstipekxacd"]
    await owner.ok("SETACL Projekte.Alt meier lr")
    await owner.ok("SETACL Projekte.Alt meier +s")
    await owner.ok("SETACL Projekte.Alt -$sales w")
    assert await owner.ok("GETACL Projekte.Alt") == [b"ACL Projekte.Alt eva.roth lrwstipekxacd meier lrs -$sales w"]
    assert await listed(other, "Other*") == ["Other Users", "Other Users.eva roth", "Other Users.eva roth.Projekte",
                                            "Other Users.eva roth.Projekte.Alt"]
    assert await other.ok('MYRIGHTS "Other Users.eva roth.Projekte.Alt"') == [
        b'MYRIGHTS "Other Users.eva roth.Projekte.Alt" lrs']
    assert await other.ok('STATUS "Other Users.eva roth.Projekte.Alt" (MESSAGES)')
    for hidden in ("Projekte", "Nichts", "INBOX", ""):
        name = f'"Other Users.eva roth{"." if hidden else ""}{hidden}"'
        assert await other.fails(f"SELECT {name}") == b"[NONEXISTENT] No such mailbox."
        assert await other.fails(f"MYRIGHTS {name}") == b"[NONEXISTENT] No such mailbox."
    await owner.ok("DELETEACL Projekte.Alt meier")
    assert await listed(other, "Other*") == []
    assert await other.fails('SELECT "Other Users.eva roth.Projekte.Alt"') == b"[NONEXISTENT] No such mailbox."
    # under the own name there is nothing: an own folder has one name
    assert await owner.fails('SELECT "Other Users.eva roth.Projekte.Alt"') == b"[NONEXISTENT] No such mailbox."


async def test_rights_of_the_owner_in_his_own_folders(server: imapserver.Server) -> None:
    client = await server.client("meier")
    assert await client.ok("MYRIGHTS INBOX") == [b"MYRIGHTS INBOX lrwstipekxacd"]
    await client.ok("SETACL Sent meier lr")
    assert await client.ok("MYRIGHTS Sent") == [b"MYRIGHTS Sent lra"]
    assert await client.ok("GETACL Sent") == [b"ACL Sent meier lra"]
    assert (await client.fails("APPEND Sent {1+}\r\nx")).startswith(b"[NOPERM]")
    await client.ok("DELETEACL Sent meier")
    await client.append(message(), "Sent")
    assert await client.ok("LISTRIGHTS INBOX meier") == [b"LISTRIGHTS INBOX meier la r w s t i p e k x c d"]
    assert await client.ok("LISTRIGHTS INBOX schmidt") == [b'LISTRIGHTS INBOX schmidt "" l r w s t i p e k x a c d']
    await client.fails("SETACL INBOX schmidt z", "BAD")
    await client.fails('SETACL INBOX "" lr', "BAD")


async def test_a_member_without_rights_in_one_folder(server: imapserver.Server) -> None:
    team(server, "info", '"meier=lrswipkxtea", "schmidt"')
    boss, other = await server.client("meier"), await server.client("schmidt")
    await boss.ok("CREATE Shared.info.Personal")
    assert "Shared.info.Personal" in await listed(other)
    await boss.ok("DELETEACL Shared.info.Personal schmidt")
    assert await boss.ok("GETACL Shared.info.Personal") == [b"ACL Shared.info.Personal meier lrwstipekxacd"]
    assert "Shared.info.Personal" not in await listed(other)
    assert await other.fails("STATUS Shared.info.Personal (MESSAGES)") == b"[NONEXISTENT] No such mailbox."
    await boss.ok("CREATE Shared.info.Personal.2026")  # a new folder has the rights of the one above
    assert "Shared.info.Personal.2026" not in await listed(other)
    await boss.ok("RENAME Shared.info.Personal Shared.info.Akten")
    assert await listed(boss, "*Akten*") == ["Shared.info.Akten", "Shared.info.Akten.2026"]
    assert await listed(other, "*Akten*") == []


async def test_folders_go_from_one_account_to_another(server: imapserver.Server) -> None:
    client = await server.client("meier")
    await client.ok("CREATE Alt.2026")
    await client.append(message(), "Alt.2026")
    await client.ok("SETACL Alt.2026 eva.roth lr")
    await client.ok("RENAME Alt Shared.info.Neu")
    assert maildir.exists(server.root("info"), "Neu.2026")
    assert await listed(client, "*2026*") == ["Shared.info.Neu.2026"]
    assert "Other Users" not in " ".join(await listed(await server.client("eva.roth")))
    answers = await client.ok("SELECT Shared.info.Neu.2026")
    assert b"1 EXISTS" in answers
    assert (await client.fails("RENAME Shared.info Meins")).startswith(b"[CANNOT]")
    assert (await client.fails("DELETE Shared.info")).startswith(b"[CANNOT]")
    assert (await client.fails("CREATE Shared.info")).startswith(b"[ALREADYEXISTS]")


@pytest.mark.parametrize("name", ["Shared", "Shared.neu", '"Other Users"', '"Other Users.eva roth.X"', "Shared.a..b"])
async def test_nobody_makes_mailboxes_of_others(server: imapserver.Server, name: str) -> None:
    client = await server.client("meier")
    before = sorted(os.listdir(server.paths.maildirs)), sorted(os.listdir(server.root()))
    answer = await client.fails(f"CREATE {name}")
    assert answer.startswith((b"[NOPERM]", b"[CANNOT]"))
    assert not (await client.fails(f"RENAME Sent {name}")).startswith(b"[SERVERBUG]")
    assert (sorted(os.listdir(server.paths.maildirs)), sorted(os.listdir(server.root()))) == before


@pytest.mark.parametrize("name", ["Shared...x", "Shared./etc", "Shared.info.a/b", "Shared.&AC4ALgAv-", "Shared.."])
async def test_no_path_comes_out_of_a_name(server: imapserver.Server, name: str) -> None:
    client = await server.client("meier")
    for command in ("SELECT", "CREATE", "DELETE", "MYRIGHTS", "GETACL"):
        assert not (await client.fails(f"{command} {name}")).startswith(b"[SERVERBUG]")


async def test_unsubscribing_lasts(server: imapserver.Server) -> None:
    client = await server.client("meier")
    assert "Shared.info.Junk" in await listed(client, how="LSUB")
    await client.ok("UNSUBSCRIBE Shared.info.Junk")
    assert "Shared.info.Junk" not in await listed(client, how="LSUB")
    await client.ok("CREATE Shared.info.Neu")
    found = await listed(client, how="LSUB")
    assert "Shared.info.Neu" in found
    assert "Shared.info.Junk" not in found


async def test_what_is_open_to_everybody_is_offered_to_nobody(server: imapserver.Server) -> None:
    grant(server, "eva.roth", "Speiseplan", "anyone lr\n")
    client = await server.client("meier")
    assert "Other Users.eva roth.Speiseplan" in await listed(client)
    assert "Other Users.eva roth.Speiseplan" not in await listed(client, how="LSUB")
    await client.ok('SUBSCRIBE "Other Users.eva roth.Speiseplan"')
    assert "Other Users.eva roth.Speiseplan" in await listed(client, how="LSUB")


async def test_an_own_folder_that_is_called_like_a_namespace(server: imapserver.Server) -> None:
    maildir.prepare(server.root("meier"))
    maildir.create(server.root("meier"), "Shared.alt")
    client = await server.client("meier")
    found = await listed(client)
    assert "INBOX.Shared.alt" in found
    assert "Shared.alt" not in found
    await client.append(message(), "INBOX.Shared.alt")
    assert b"1 EXISTS" in await client.ok("SELECT INBOX.Shared.alt")


async def test_a_broken_file_shuts_others_out_only(server: imapserver.Server) -> None:
    grant(server, "info", "INBOX", "user=meier lr\nnonsense\n")
    assert await (await server.client("meier")).fails("SELECT Shared.info") == b"[NONEXISTENT] No such mailbox."
    grant(server, "eva.roth", "Alt", "user=meier lr\nnonsense\n")
    assert await (await server.client("meier")).fails('SELECT "Other Users.eva roth.Alt"')
    owner = await server.client("eva.roth", "Alt")
    assert (await owner.fails("SETACL Alt meier lr")).startswith(b"[CANNOT]")


async def test_rights_taken_away_count_at_once(server: imapserver.Server) -> None:
    server.deliver(message(), "info")
    client = await server.client("meier", "Shared.info")
    grant(server, "info", "INBOX", "user=meier lr\n")
    assert (await client.fails("STORE 1 +FLAGS (\\Seen)")).startswith(b"[NOPERM]")
    assert (await client.fails("APPEND Shared.info {1+}\r\nx")).startswith(b"[NOPERM]")


async def test_new_files_have_the_modes_of_all_others(server: imapserver.Server) -> None:
    client = await server.client("meier", "INBOX")
    await client.append(message(), "INBOX")
    await client.append(message(), "Shared.info")
    modes = {os.stat(entry).st_mode for name in ("meier", "info") for entry in os.scandir(server.root(name) + "/cur")}
    assert len(modes) == 1


async def test_namespaces_can_be_switched_off(tmp_path: Path) -> None:
    async with running(tmp_path, shared_namespace="", users_namespace="") as server:
        team(server, "info", '"meier"')
        client = await server.client()
        assert await client.ok("NAMESPACE") == [b'NAMESPACE (("" ".")) NIL NIL']
        assert not [name for name in await listed(client) if "info" in name]
        await client.ok("CREATE Shared.info")
        assert maildir.exists(server.root(), "Shared.info")


async def test_who_waits_in_a_shared_folder_hears_of_the_others(server: imapserver.Server) -> None:
    one, two = await server.client("meier", "Shared.info"), await server.client("schmidt", "Shared.info")
    two.send("i IDLE\r\n")
    assert await two.line() == b"+ idling"
    await one.append(message(), "Shared.info")
    assert b"1 EXISTS" in await two.line()
    server.deliver(message(), "info")
    while b"2 EXISTS" not in await two.line():
        pass
    two.send("DONE\r\n")
    assert (await two.until("i"))[-1].startswith(b"i OK")


async def test_without_the_index_everybody_has_his_own_folders(server: imapserver.Server) -> None:
    server.paths.state.mkdir(exist_ok=True)
    (server.paths.state / "shares").mkdir()
    client = await server.client("meier")
    for how in ("LIST", "LSUB"):
        assert (await listed(client, how=how))[0] == "INBOX"
