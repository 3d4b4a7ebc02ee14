"""A log-in at a provider goes with the account that it was made from: who comes under an old name finds none.

    move(paths, "meier", "weber")      another name
    end(paths, "meier")                the account is gone, and with it what nothing else here uses
"""

import asyncio

from lanmail import config
from lanmail.errors import ConfigError
from lanmail.oauth import ending, uses
from lanmail.oauth.store import Store
from lanmail.paths import Paths


def move(paths: Paths, old: str, new: str) -> list[str]:
    """The addresses whose log-ins belong to the new name now; "" is nobody's. Temporary, OSError."""
    mine = _of(paths, old)
    if mine:
        asyncio.run(_move(paths, mine, new))
    return [address for _, address in mine]


def end(paths: Paths, name: str) -> list[str]:
    """The addresses that were signed out. The account's file must be gone. Temporary, OSError."""
    mine = _of(paths, name)
    if not mine:
        return []
    try:
        used = {(use.app, use.address.lower()) for use in uses.of(paths, config.load(paths))}
    except ConfigError:
        used = set(mine)  # nobody knows; nobody's from now on
    over = [one for one in mine if one not in used]
    asyncio.run(_end(paths, [one for one in mine if one in used], over))
    return [address for _, address in over]


def _of(paths: Paths, name: str) -> list[tuple[str, str]]:
    store = Store(paths)
    found = []
    for app, address in store.all():
        record = store.read(app, address, decrypt=False)
        if record is not None and record.account == name:
            found.append((app, address))
    return found


async def _move(paths: Paths, mine: list[tuple[str, str]], new: str) -> None:
    store = Store(paths)
    for app, address in mine:
        async with store.lock(app, address):
            record = store.read(app, address)
            if record is not None:
                record.account = new
                store.save(record)


async def _end(paths: Paths, kept: list[tuple[str, str]], over: list[tuple[str, str]]) -> None:
    await _move(paths, kept, "")
    for app, address in over:
        await ending.sign_out(paths, app, address)
