"""httpd in a thread with a loop of its own, for tests whose own thread drives a browser."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from lanmail import paths
from tests import webserver


@contextlib.contextmanager
def httpd(where: paths.Paths) -> Iterator[webserver.Web]:
    """httpd on these files."""
    up, found = threading.Event(), []

    async def work() -> None:
        async with webserver.serving(where) as web:
            stop = asyncio.Event()
            found.append((web, asyncio.get_running_loop(), stop))
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        while not up.wait(0.1):
            assert thread.is_alive(), "httpd does not start"
        yield found[0][0]
    finally:
        for _, loop, stop in found:
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
