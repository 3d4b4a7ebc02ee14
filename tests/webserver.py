"""httpd at work inside a test's own loop, on a free port, and a client for it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import requests

from lanmail import config, daemon, httpd, paths, sockets


class Web:
    """The running server. A request runs in a thread, so that the server can answer it."""

    def __init__(self, where: paths.Paths, port: int) -> None:
        self.paths, self.port = where, port
        self.url = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False

    async def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request; redirects are not followed."""
        return await asyncio.to_thread(self.session.request, method, self.url + path, timeout=20,
                                       **{"allow_redirects": False, **more})

    async def get(self, path: str, **more: Any) -> requests.Response:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, **more: Any) -> requests.Response:
        return await self.ask("POST", path, **more)


def lay_out(root: Path, settings: str = "", *, httpd: str = "") -> paths.Paths:
    """conf/ with the accounts meier and chef (postmaster), and the spools that httpd looks at."""
    where = paths.of_root(root)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(f'[server]\ndomain = "office.lan"\n{settings}\n[httpd]\nenabled = true\n{httpd}\n')
    (where.accounts / "meier.toml").write_text("disabled = false\n")
    (where.accounts / "chef.toml").write_text("postmaster = true\n")
    for name in paths.SPOOLS:
        for sub in ("tmp", "new", "cur"):
            (where.spool / name / sub).mkdir(parents=True)
    where.state.mkdir(exist_ok=True)
    return where


@contextlib.asynccontextmanager
async def serving(where: paths.Paths) -> AsyncIterator[Web]:
    """httpd on these files."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # as sockets.py: with TCP_NODELAY
    bound.bind(("127.0.0.1", 0))
    bound.listen(100)
    bound.setblocking(False)
    listener = sockets.Listener("http", "http", ("127.0.0.1",), bound.getsockname()[1])
    ready = asyncio.Event()
    context = daemon.Context("httpd", where, config.load(where), [sockets.Bound(listener, bound)],
                             stopping=asyncio.Event(), _on_ready=ready.set)
    working = asyncio.ensure_future(httpd.serve(context))
    try:
        await asyncio.wait({working, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        web = Web(where, listener.port)
        yield web
        web.session.close()
    finally:
        context.stopping.set()
        await asyncio.wait_for(working, 20)
        bound.close()
