"""A small office in a temporary directory, for the tests of deliver and its neighbours."""

import asyncio
import contextlib
import itertools
import os
from pathlib import Path

from lanmail import address, config, daemon, deliver, envelope, log, paths, spool
from lanmail.delivery import desk, drops

DOMAIN = "office.lan"


class Root:
    """conf/ with accounts meier, schmidt and chef (postmaster), an alias to two, one to the outside, and spools."""

    def __init__(self, base: Path, *, postmaster: bool = True,
                 settings: str = '[deliver]\npickup_wait = "0s"\n') -> None:
        self.paths = paths.of_root(base)
        self.paths.accounts.mkdir(parents=True)
        self.paths.config_file.write_text(f'[server]\ndomain = "{DOMAIN}"\n{settings}')
        for name in ("meier", "schmidt"):
            (self.paths.accounts / f"{name}.toml").write_text("disabled = false\n")
        (self.paths.accounts / "chef.toml").write_text(f"postmaster = {str(postmaster).lower()}\n")
        self.paths.aliases.write_text('info = ["meier", "schmidt"]\naway = ["x@far.example"]\n'
                                      'both = ["meier", "y@far.example"]\nsales = ["meier"]\n')
        self.queue = spool.queue(self.paths)
        self.queue.ensure()
        (self.paths.pickup / "new").mkdir(parents=True)

    def put(self, *to: str, sender: str | None = "a@far.example", kind: str = "mx", message: bytes | None = None,
            params: envelope.Params = (), **facts: str) -> str:
        """Queue a mail; its id."""
        text = message if message is not None else f"Return-Path: <{sender or ''}>\nSubject: hi\n\nbody\n".encode()
        head = envelope.Envelope(
            address.parse(sender) if sender else None,
            [envelope.Recipient(address.parse(one), params) for one in to],
            origin=envelope.Origin(kind, tuple(facts.items())),
        )
        return spool.parse_name(self.queue.put(head, text)).id

    def drop(self, name: str, data: bytes, *, place: str = "") -> Path:
        """A file of another program in pickup/."""
        path = self.paths.pickup / place / name
        path.write_bytes(data)
        return path

    def context(self) -> daemon.Context:
        return daemon.Context("deliver", self.paths, config.load(self.paths), [], stopping=asyncio.Event())

    def run(self) -> int:
        """deliver --once, in this process; its exit code."""
        log.setup("deliver", self.paths.log)

        async def work() -> int:
            return await deliver.once(self.context())
        return asyncio.run(work())

    def inbox(self, account: str) -> list[bytes]:
        """The mails in new/ of an account, oldest first."""
        return files(self.paths.maildirs / account / "new")

    def held(self) -> dict[str, str]:
        """id → why, of what is in hold."""
        new = self.paths.hold / "new"
        return {spool.parse_name(one.name.removesuffix(".why")).id: one.read_text() for one in new.glob("*.why")}

    def waiting(self) -> list[str]:
        return [name for place in ("new", "cur") for name in os.listdir(self.paths.queue / place)]


def files(directory: Path) -> list[bytes]:
    if not directory.is_dir():
        return []
    return [one.read_bytes() for one in sorted(directory.iterdir()) if one.suffix != ".why"]


class Running:
    """deliver at work inside the test's own loop."""

    def __init__(self, root: Root) -> None:
        self.deliver = deliver.Deliver(root.context())
        self.desk: desk.Desk = self.deliver.desk
        self.drops: drops.Drops = self.deliver.drops

    async def __aenter__(self) -> "Running":
        self.deliver.begin()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.settled()
        self.deliver.close()

    async def settled(self) -> None:
        await asyncio.wait_for(self.deliver.settle(patience=0.0), 60)


async def until(condition, seconds: float = 60.0) -> None:
    """Wait for something that another task or thread does."""
    limit = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < limit, "it did not happen"
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def dying(step, monkeypatch):
    """End the process at the n-th system call that changes something, as SIGKILL would: nothing runs after it."""
    count = itertools.count()

    def mortal(function):
        def call(*arguments, **options):
            if next(count) >= step:
                os._exit(9)
            return function(*arguments, **options)
        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "link", "unlink", "write", "fsync", "open"):
            patch.setattr(os, name, mortal(getattr(os, name)))
        yield


def in_a_child(life) -> None:
    """Run a coroutine in a process of its own; it may die."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(life())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
