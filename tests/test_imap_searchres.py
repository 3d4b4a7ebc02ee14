"""The result of a SEARCH kept for the commands after it: RETURN (SAVE) and `$` (RFC 5182)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import imapserver
from tests.imapserver import message


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[imapserver.Client]:
    async with imapserver.running(tmp_path) as server:
        for number in range(1, 7):
            server.deliver(message(f"Nr {number}"))
        yield await server.client(select="INBOX")


async def found(client: imapserver.Client, criteria: str = "$") -> list[int]:
    return [int(number) for number in (await client.ok(f"SEARCH {criteria}"))[0].split()[1:]]


async def test_nothing_but_the_tagged_answer_is_said_for_save_alone(client: imapserver.Client) -> None:
    assert await client.ok('SEARCH RETURN (SAVE) OR SUBJECT "Nr 2" SUBJECT "Nr 5"') == []
    assert await found(client) == [2, 5]
    assert [line.split()[0] for line in await client.ok("FETCH $ (UID)")] == [b"2", b"5"]
    assert [line.split()[0] for line in await client.ok("UID FETCH $ (UID)")] == [b"2", b"5"]


async def test_what_is_kept_of_the_first_and_the_last(client: imapserver.Client) -> None:
    for returns, kept in (("MIN", [2]), ("MAX", [6]), ("MIN MAX", [2, 6]), ("MIN COUNT", [2, 3, 4, 5, 6]),
                          ("ALL MAX", [2, 3, 4, 5, 6]), ("COUNT", [2, 3, 4, 5, 6])):
        answer = (await client.ok(f"SEARCH RETURN (SAVE {returns}) 2:*"))[0]
        assert answer.startswith(b"ESEARCH")
        assert b"SAVE" not in answer
        assert await found(client) == kept, returns
    await client.ok("SEARCH RETURN (MIN SAVE) SUBJECT nothing")
    assert await found(client) == []


async def test_it_may_stand_in_every_set_and_with_other_numbers(client: imapserver.Client) -> None:
    await client.ok("SEARCH RETURN (SAVE) 3:4")
    assert await found(client, "$,1,6") == [1, 3, 4, 6]
    assert await found(client, "UID $,1") == [1, 3, 4]
    assert await found(client, "NOT $") == [1, 2, 5, 6]
    assert await found(client, "OR $ 1") == [1, 3, 4]
    assert len(await client.ok("FETCH 1,$ (UID)")) == 3
    assert len(await client.ok("STORE $ +FLAGS (\\Deleted)")) == 2
    await client.ok("COPY $ Trash")
    assert (await client.ok("STATUS Trash (MESSAGES)"))[0] == b"STATUS Trash (MESSAGES 2)"
    assert await client.ok("UID EXPUNGE $") == [b"4 EXPUNGE", b"3 EXPUNGE"]
    assert await found(client) == []


async def test_a_new_result_may_be_made_from_the_last(client: imapserver.Client) -> None:
    await client.ok("SEARCH RETURN (SAVE) 2:5")
    await client.ok("UID SEARCH RETURN (SAVE) UID $ NOT 3")
    assert await found(client) == [2, 4, 5]


async def test_an_empty_result_is_no_mistake(client: imapserver.Client) -> None:
    for command in ("FETCH $ (UID)", "STORE $ +FLAGS (\\Seen)", "COPY $ Trash", "MOVE $ Trash", "UID EXPUNGE $"):
        assert await client.ok(command) == []
    assert await found(client, "NOT $") == [1, 2, 3, 4, 5, 6]


async def test_expunged_messages_leave_the_result_and_the_others_stay(client: imapserver.Client) -> None:
    await client.ok("SEARCH RETURN (SAVE) 2,4,6")
    await client.ok("STORE 1,4 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    assert await found(client) == [1, 4]


async def test_after_failure_and_after_select(client: imapserver.Client) -> None:
    await client.ok("SEARCH RETURN (SAVE) 2")
    await client.fails("SEARCH RETURN (SAVE) NONSENSE", "BAD")
    assert await found(client) == [2]
    await client.ok("SEARCH RETURN (ALL) 4")  # without SAVE nothing is kept
    assert await found(client) == [2]
    await client.fails("SEARCH RETURN (SAVE) CHARSET KLINGON SUBJECT x", "NO")
    assert await found(client) == []
    await client.ok("SEARCH RETURN (SAVE) 2")
    await client.ok("SELECT INBOX")
    assert await found(client) == []
