"""httpd: log-in pages, OAuth2 and the HTTP API.

Serves HTTP on httpd.port (6080) and HTTPS on httpd.tls_port (6443), if httpd.enabled says so; without, there is nothing
to do and it ends. Mail goes on without it: the mail servers need no answer of it.

    /healthz             says whether the server is well, for monitoring
    /metrics             what all programs count, for Prometheus: for httpd.metrics_networks, or with an API key
    /api/v1/METHOD       the HTTP API (`lanmail api key`); /api/v1/openapi.json describes it
    /oauth2/auth         mail programs log in here, each for one account; /oauth2/token, logout, revoke and introspect
                         go with it (`lanmail client`)
    /setup               how to set up a mail program, with a profile for Apple's devices; /mail/config-v1.1.xml and
                         /autodiscover/autodiscover.xml say the same to programs, under autoconfig.DOMAIN, too
    /oauth2/start/WORD   a one-time link to log in at a provider whose mailbox is fetched
    /oauth2/callback     where the provider sends the browser back to

Over HTTP without TLS only the networks of auth.cleartext_networks are served; all others are sent to HTTPS. Behind a
reverse proxy name its address in httpd.trusted_proxies: then X-Forwarded-For and X-Forwarded-Proto count. A request
must name the server as it is known: server.hostname, httpd.hosts, the host of httpd.public_url, autoconfig or
autodiscover before a local domain, localhost or an IP address; a page elsewhere cannot make a browser talk to us under
a name of its own (DNS rebinding).

Reads: conf/, state/, the spools, archive/.

Writes: state/, conf/ as the `lanmail` command does, spool/queue, Maildirs of new accounts and with what is restored.

Signals: SIGTERM finishes what is asked for, SIGHUP reads the settings again.

Exit status: 0; 69 when a port cannot be listened on; 78 when the configuration is wrong.

Standards: HTTP/1.1 as uvicorn and h11 speak it.

Security: request bodies, headers and connections are limited in size, number and time, and one address gets at most
half of the connections; every answer forbids framing, foreign scripts and referrers. Whoever logs in is
counted with the log-ins of the mail servers.

See also: lanmail-tokend(8), `lanmail oauth`.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import uvicorn

from lanmail import daemon, log, settings, sockets, tls
from lanmail.errors import MailError
from lanmail.logins import devicecodes, grants
from lanmail.monitoring import samples
from lanmail.web import app, sessions, wire
from lanmail.web.guard import Asgi
from lanmail.web.house import House

KEEP_ALIVE = 15  # seconds that an idle connection is kept
FINISH = 5  # seconds that requests under way get at the end
SAMPLE = 60.0  # seconds between two looks at how everything is
SWEEP = 6 * 3600.0  # seconds between two looks for tokens that are void
MAX_HEAD = 32 << 10  # octets of a request's line and header


class Server(uvicorn.Server):
    """uvicorn on a socket that is open already; signals are our frame's business. `up` is set when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()


def listeners(loaded: settings.Settings) -> list[sockets.Listener]:
    """The ports to listen on."""
    own, server = loaded.httpd, loaded.server
    if not own.enabled:
        return []
    wanted = (("http", own.port, False), ("https", own.tls_port, True))
    return [sockets.Listener(name, "http", tuple(server.listen), server.port(port), implicit)
            for name, port, implicit in wanted if port]


async def serve(context: daemon.Context) -> None:
    """Serve until told to stop."""
    if not context.settings.httpd.enabled:
        log.event("switched-off", hint="httpd.enabled = true serves HTTP")
        return
    house = House(context.paths, lambda: context.settings)
    context.on_reload(house.reload)
    application = app.make(house)
    servers = [_server(application, context, bound) for bound in context.bound]
    working = [asyncio.ensure_future(server.serve(sockets=[bound.socket]))
               for server, bound in zip(servers, context.bound, strict=True)]
    try:
        for server in servers:
            await server.up.wait()
        context.ready()
        stopped = asyncio.ensure_future(context.stopping.wait())
        sweeping = asyncio.ensure_future(_sweep(context))
        sampling = asyncio.ensure_future(_sample(context, house))
        await asyncio.wait({stopped, *working}, return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.should_exit = True
        sweeping.cancel()
        sampling.cancel()
        await asyncio.gather(*working)
    finally:
        house.close()


async def _sweep(context: daemon.Context) -> None:
    """Take void tokens and old sessions away, now and then."""
    register = grants.Register(context.paths.state)
    while True:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(register.sweep, time.time())
            await asyncio.to_thread(devicecodes.Waiting(context.paths.state).sweep, time.time())
            await asyncio.to_thread(sessions.Store(context.paths).sweep, context.settings)
        await asyncio.sleep(SWEEP)


async def _sample(context: daemon.Context, house: House) -> None:
    """Note once a minute how everything is, for the charts; one worker does."""
    while context.worker == 0:
        await asyncio.sleep(SAMPLE - time.time() % SAMPLE)
        with contextlib.suppress(OSError, MailError):
            await asyncio.to_thread(lambda: samples.append(context.paths.state, samples.of(house.observer.now())))


def _server(application: Asgi, context: daemon.Context, bound: sockets.Bound) -> Server:
    own = context.settings.httpd
    config = uvicorn.Config(
        application, loop="none", http=wire.Protocol, ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=own.max_connections, timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=FINISH, h11_max_incomplete_event_size=MAX_HEAD)
    config.load()
    if bound.listener.tls:
        context_ = tls.server_context(context.settings, context.paths)
        assert isinstance(context_, ssl.SSLContext)
        config.ssl = context_
    return Server(config)


main = daemon.program("httpd", __doc__, serve, listeners=listeners)

if __name__ == "__main__":
    main()
