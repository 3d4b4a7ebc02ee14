"""How programs are asked to take over changed settings: whoever touches state/reload asks all of them.

    ask(paths)                      by `lanmail config reload`, by httpd for its pages and the API
    await heed(paths, reload)       in every program, for life

SIGHUP does the same for one program. Programs meet only in files, so nobody has to know who is running.
"""

import asyncio
import time
from collections.abc import Callable

from lanmail import atomic
from lanmail.conffile import Key
from lanmail.paths import Paths
from lanmail.stamps import Watched

FILE = "reload"
_SERVERS = ("smtpd", "pop3d", "imapd", "httpd")
PAUSE = 2.0  # seconds between two looks
_WAITING = {("server", "listen"), ("server", "port_offset"), ("server", "umask"), ("httpd", "enabled"),
            ("httpd", "max_connections"), ("smtpd", "lan", "port"), ("log", "level"), ("log", "keep_days")}


def ask(where: Paths) -> None:
    """Ask all programs to read the settings again. OSError."""
    atomic.write(where.state / FILE, f"{time.time():.3f}\n", mode=0o640)


async def heed(where: Paths, reload: Callable[[], None]) -> None:
    """Call `reload` whenever somebody asks."""
    asked = Watched(where.state / FILE)
    asked.changed(time.monotonic(), 0)
    while True:
        await asyncio.sleep(PAUSE)
        if asked.changed(time.monotonic(), 0):
            reload()


def waits(key: Key) -> bool:
    """Whether a setting counts only when the programs are started again, as for sockets and processes."""
    return key in _WAITING or (key[0] in _SERVERS and (key[-1] in ("workers", "port") or key[-1].endswith("_port")))
