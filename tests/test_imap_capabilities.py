"""What clients are told the server can do, and what an administrator hides from them."""

from pathlib import Path

from tests import imapserver


async def told(client: imapserver.Client) -> set[str]:
    return set((await client.ok("CAPABILITY"))[0].decode().split()[1:])


async def test_more_is_told_after_log_in_and_each_name_once(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        client = await server.client(None)
        before = await told(client)
        assert {"IMAP4rev1", "IDLE", "AUTH=PLAIN"} <= before
        assert not before & {"UIDPLUS", "MOVE"}
        greeting = (await client.command(f"LOGIN meier {imapserver.PASSWORD}"))[-1].decode()
        after = (await client.ok("CAPABILITY"))[0].decode()
        assert after.removeprefix("CAPABILITY ") in greeting
        names = after.split()[1:]
        assert len(names) == len(set(names))
        assert {"IMAP4rev1", "UIDPLUS", "WITHIN"} <= set(names)
        assert not [name for name in names if name.startswith("AUTH=")]


async def test_capabilities_hidden_from_everybody(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path, hide_capabilities=["idle", "APPENDLIMIT", "STATUS=SIZE"]) as server:
        client = await server.client(None)
        assert "IDLE" not in client.greeting.decode().split()
        assert "IDLE" not in await told(client)
        await client.ok(f"LOGIN meier {imapserver.PASSWORD}")
        names = await told(client)
        assert not [name for name in names if name.startswith(("IDLE", "APPENDLIMIT", "STATUS="))]
        assert "LIST-STATUS" in names


async def test_capabilities_hidden_from_one_account(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        with (server.paths.accounts / "meier.toml").open("a") as file:
            file.write('hide_capabilities = ["MOVE"]\n')
        assert "MOVE" not in await told(await server.client("meier"))
        assert "MOVE" in await told(await server.client("schmidt"))


async def test_only_what_is_offered_can_be_enabled(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        client = await server.client()
        assert await client.ok("ENABLE X-KLINGON") == [b"ENABLED"]
        await client.fails("ENABLE", "BAD")
