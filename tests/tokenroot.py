"""An office whose external mailboxes log in by tokens, and a provider that answers as it is told."""

import asyncio
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs

from lanmail import config, daemon, log, paths, tokend
from lanmail.oauth import store
from lanmail.secret import Secret
from tests.httppeer import Peer, ok

ADDRESS = "meier@firma.example"


def answer(status: int, said: object, *headers: str) -> bytes:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    lines = "".join(f"{one}\r\n" for one in headers).encode()
    return b"HTTP/1.1 %d x\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


class Provider:
    """A token endpoint. `says` overrules, once each, the good answers; a str is an `error`, bytes are the answer."""

    def __init__(self, *, life: int = 3600, rotate: bool = True, more: dict[str, object] | None = None) -> None:
        self.life, self.rotate, self.more = life, rotate, more or {}
        self.says: list[bytes | str] = []
        self.always: bytes | str | None = None
        self.count = 0
        self.peer = Peer(self._answer)

    async def __aenter__(self) -> "Provider":
        await self.peer.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.peer.__aexit__(*error)

    def _answer(self, _head: bytes) -> bytes:
        said = self.says.pop(0) if self.says else self.always
        if said is not None:
            return answer(400, {"error": said}) if isinstance(said, str) else said
        self.count += 1
        more = {"refresh_token": f"R{self.count}"} if self.rotate else {}
        return ok(json.dumps({"access_token": f"A{self.count}", "expires_in": self.life, **more, **self.more}).encode())

    @property
    def forms(self) -> list[dict[str, str]]:
        return [{name: values[0] for name, values in parse_qs(body.decode()).items()} for _, body in self.peer.requests]


class Root:
    """conf/ with accounts meier and chef (postmaster), and an app "own" at a provider."""

    def __init__(self, base: Path, port: int, app: str = "", settings: str = "") -> None:
        self.paths = paths.of_root(base)
        self.paths.accounts.mkdir(parents=True)
        self.paths.config_file.write_text(f'[server]\ndomain = "office.lan"\n[tokend]\nspread = "0s"\n{settings}')
        (self.paths.accounts / "meier.toml").write_text("disabled = false\n")
        (self.paths.accounts / "chef.toml").write_text("postmaster = true\n")
        self.port = port
        self.app(app)
        self.store = store.Store(self.paths)
        self.store.prepare()

    def app(self, text: str = "", name: str = "own") -> None:
        path = self.paths.conf / "apps" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'client_id = "id"\ntoken_url = "http://127.0.0.1:{self.port}/token"\n'
                        f'authorize_url = "http://127.0.0.1:{self.port}/auth"\ntimeout = 2\n{text}\n')

    def describe(self, text: str, name: str = "own") -> None:
        """The whole file of an app."""
        (self.paths.conf / "apps" / f"{name}.toml").write_text(text)

    def grant(self, word: str = "R0", *, address: str = ADDRESS, left: float | None = None, app: str = "own",
              **more) -> None:
        """What a consent leaves; `left`: seconds that an access token A0 still lives."""
        now = time.time()
        record = store.Record(app, address, account="meier", generation=1, granted=now - 7200, refreshed=now - 7200,
                              refresh=Secret(word), **more)
        self.store.save(record)
        if left is not None:
            self.store.publish(store.Access(app, address, issued=now + left - 3600, expires=now + left,
                                            next_refresh=now + left - 720, secret=Secret("A0")))

    def record(self, address: str = ADDRESS, app: str = "own") -> store.Record:
        found = self.store.read(app, address)
        assert found is not None
        return found

    def change(self, **values) -> None:
        """Change the record, as time would."""
        record = self.record()
        for name, value in values.items():
            setattr(record, name, value)
        self.store.save(record)

    def access(self, address: str = ADDRESS, resource: str = "mail", app: str = "own") -> store.Access:
        found = self.store.access(app, address, resource)
        assert found is not None
        return found

    def context(self) -> daemon.Context:
        return daemon.Context("tokend", self.paths, config.load(self.paths), [], stopping=asyncio.Event())

    async def once(self) -> int:
        """tokend --once, in this process; its exit code."""
        log.setup("tokend", self.paths.log)
        return await asyncio.wait_for(tokend.once(self.context()), 60)

    def mails(self) -> list[tuple[str, str, str]]:
        """(to, subject, text) of what was queued."""
        found = []
        new = self.paths.queue / "new"
        for path in sorted(new.iterdir()) if new.is_dir() else ():
            head, _, body = path.read_text().partition("\n\n")
            fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
            found.append((fields["To"].partition("@")[0], fields["Subject"], body))
        return found

    def logged(self) -> str:
        return "".join(one.read_text() for one in self.paths.log.glob("*.log"))


class Running:
    """tokend at work inside the test's own loop."""

    def __init__(self, root: Root) -> None:
        self.context = root.context()
        log.setup("tokend", root.paths.log)

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(tokend.serve(self.context))
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.context.stopping.set()
        await asyncio.wait_for(self.task, 30)


OK, AGAIN = os.EX_OK, os.EX_TEMPFAIL
