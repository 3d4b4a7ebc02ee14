"""An office whose mail is archived, for the tests of archived and its neighbours."""

import asyncio
import json
from pathlib import Path
from typing import Any

from lanmail import archived, daemon, log
from lanmail.archiving import journal
from tests.mailroot import Root


class Archive(Root):
    """meier is archived, schmidt and chef (postmaster) are not."""

    def __init__(self, base: Path, **more: Any) -> None:
        super().__init__(base, **more)
        self.account("meier", "archive = true")

    def account(self, name: str, text: str) -> None:
        (self.paths.accounts / f"{name}.toml").write_text(text + "\n")

    def keep(self) -> int:
        """archived --once, in this process; its exit code."""
        log.setup("archived", self.paths.log)

        async def work() -> int:
            return await archived.once(self.archived_context())
        return asyncio.run(work())

    def archived_context(self) -> daemon.Context:
        found = self.context()
        found.name = "archived"
        return found

    def work(self) -> None:
        """deliver, then archived; nothing is left behind."""
        assert self.run() == 0
        assert self.keep() == 0
        assert self.entries() == []

    def entries(self) -> list[str]:
        """What waits to be archived."""
        return [one.name for place in ("new", "cur") for one in (self.paths.spool / "archive" / place).iterdir()]

    def lines(self, kind: str = "mail") -> list[dict[str, Any]]:
        """The lines of a kind in the journal, read as any program could."""
        path = journal.path(self.paths)
        rows = path.read_text().splitlines() if path.exists() else []
        return [json.loads(row) for row in rows if row.endswith("}") and f'"kind":"{kind}"' in row]

    def damage(self) -> list[str]:
        """What is wrong with the chain."""
        found = [one for one in journal.scan(journal.path(self.paths)) if isinstance(one, journal.Damage)]
        return [one.text for one in found]

    def files(self) -> list[Path]:
        """All files of the store."""
        return sorted(self.paths.archive.glob("*/*/*"))
