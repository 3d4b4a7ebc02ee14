"""What all pages and methods share: the settings of the moment, the accounts, the log-ins, the counters."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from weakref import WeakValueDictionary

from lanmail import config, passwords, threadsafe
from lanmail.errors import Temporary
from lanmail.monitoring import condition
from lanmail.paths import Paths
from lanmail.settings import Account, Settings


class House:
    """One installation, as a worker of httpd has it."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        self.paths, self.settings = paths, settings
        self.directory = threadsafe.Directory(paths, settings)
        self.observer = condition.Observer(paths, settings, self.directory)
        self.buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # of callers of the API
        self._few = asyncio.Semaphore(2)  # requests that hold a whole mail in memory
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of accounts
        self.checker = passwords.Checker(self.directory, settings(), state=paths.state / "auth")

    def read(self, path: Path) -> Account:
        """An account by its file, from memory as long as that is as it was. ConfigError."""
        found = None
        with contextlib.suppress(Temporary):
            found = self.directory.account(path.stem)
        return found or config.load_account(path, self.settings().account_defaults)

    @contextlib.asynccontextmanager
    async def turn(self, account: str | None) -> AsyncIterator[None]:
        """While somebody hands in a large thing: few do at a time, and an account one, so that it keeps nobody out."""
        async with self._turns.setdefault(account, asyncio.Lock()) if account else contextlib.nullcontext(), self._few:
            yield

    def reload(self) -> None:
        """The settings have changed."""
        self.checker.configure(self.settings())

    def close(self) -> None:
        """End of service."""
        self.checker.close()
