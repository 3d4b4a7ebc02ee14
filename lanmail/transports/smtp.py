"""Transport smtp: everything goes to a smarthost, by its rules: TLS, log-in, proxy."""

from collections.abc import Callable, Hashable

from lanmail import outgoing, secret, tokens
from lanmail.clients import smtpclient, smtplogin, tlsclient, tlsmemory, tunnel
from lanmail.clients.smtpclient import Client, Target
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result, Unreachable
from lanmail.transports.pool import Pool


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._pool = Pool(lambda: house.settings().relay.idle_timeout)
        self._memory = tlsmemory.Memory(house.paths.state)

    async def send(self, job: Job) -> list[Result]:
        """Send one message. Temporary, Permanent, Unreachable."""
        way = job.way
        return await self._pool.send(_key(way), job, lambda: self.connect(way))

    async def connect(self, way: Outgoing) -> Client:
        """A connection to the smarthost, logged in. Unreachable."""
        try:
            target, token = await self._target(way)
        except Unreachable:
            raise
        except Temporary as error:
            raise Unreachable(error.text, error.code, error.dsn) from error
        try:
            client = await smtpclient.connect(target, patience(self._house))
        except Unreachable as error:
            if token is not None and isinstance(error.__cause__, smtplogin.Refused):
                tokens.rejected(self._house.paths, token)
            raise
        if client.tls is not None and target.tls == "auto":
            self._memory.remember(str(target))
        return client

    async def _target(self, way: Outgoing) -> tuple[Target, tokens.Token | None]:
        if not way.host:
            raise Unreachable("no way out is configured: outgoing.host names no smarthost", 451, "4.3.5")
        conf, port = self._house.paths.conf, outgoing.port_of(way)
        token, credentials = None, None
        if way.user and way.auth == "oauth2":
            token = await tokens.access(self._house.paths, way.app, way.user)
            credentials = smtplogin.Credentials(way.user, token.secret, is_token=True)
        elif way.user and way.auth == "password":
            credentials = smtplogin.Credentials(way.user, secret.read(way.password, conf))
        seen = self._memory.seen(f"{way.host}:{port}") if way.tls == "auto" else None
        return Target(
            way.host, port, helo(way, self._house), tls=way.tls, wish=tlsclient.wish(way, conf),
            via=tunnel.of(way, conf), credentials=credentials, mechanism=way.mechanism,
            must_have_tls=f"it did on {seen} (state/{tlsmemory.NAME})" if seen else "",
        ), token

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None]) -> None:
        """Connect and log in."""
        through = f" through {way.proxy}" if way.proxy else ""
        say(f"connecting to {way.host or '(no host)'}:{outgoing.port_of(way)}{through}, tls = {way.tls}")
        client = await self.connect(way)
        say(f"connected, {tlsclient.describe(client.tls) if client.tls is not None else 'without TLS'}")
        say(f"logged in as {way.user}" if client.target.credentials else "no log-in")
        say(f"it offers {' '.join(sorted(client.features)) or 'nothing'}")
        client.close()

    async def close(self) -> None:
        """Give connections back."""
        await self._pool.close()


def helo(way: Outgoing, house: House) -> str:
    """Our name in EHLO."""
    return way.helo or house.settings().server.hostname


def patience(house: House) -> smtpclient.Patience:
    """How long servers may take."""
    relay = house.settings().relay
    return smtpclient.Patience(relay.connect_timeout, relay.answer_timeout, relay.data_timeout)


def _key(way: Outgoing) -> Hashable:
    """What two mails must have in common to share a connection."""
    return (way.host, way.port, way.tls, way.tls_min, way.tls_max, way.tls_verify, way.tls_ca,
            tuple(way.tls_fingerprint), way.auth, way.user, way.password, way.app, way.mechanism, way.helo, way.proxy,
            way.proxy_user)
