"""Step by step to a mailbox elsewhere, without fetching or changing anything: what a test shows.

    found = look(paths, settings, account, name, source, say, password)     blocks; Failed with what helps
"""

import asyncio
from collections.abc import Callable

from lanmail import incoming, secret, sources, spool
from lanmail.clients import imapwire, pop3wire, tlsclient, tunnel
from lanmail.clients.smtplogin import Credentials
from lanmail.errors import MailError
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.settings import Settings
from lanmail.sources import Probe, Refused, Visit, explain

PATIENCE = 30.0  # seconds that a server may be silent while a person looks on
LONGEST = 90.0  # and that all of it may take


class Failed(Exception):
    """It did not work, because of the settings, the log-in or the server; `advice` is what helps."""

    def __init__(self, text: str, kind: str, advice: list[str]) -> None:
        super().__init__(text)
        self.kind, self.advice = kind, advice  # "settings", "login", "server"


class _Trial(Visit):
    """A visit with a password that is not stored yet."""

    password: Secret = secret.NONE

    async def credentials(self) -> Credentials | None:
        if not self.password:
            return await super().credentials()
        return Credentials(self.settings.user, self.password)


def look(where: Paths, loaded: Settings, account: str, name: str, source: Source, say: Callable[[str], None],
         password: Secret = secret.NONE) -> Probe:
    """Try a source, with `password` where there is one. Failed."""
    problem = incoming.problem(source) if source.interface != "disabled" else ""
    if problem:
        raise Failed(problem, "settings", [])
    patient = source.model_copy(update={"timeout": min(source.timeout, PATIENCE)})
    try:
        return asyncio.run(_look(where, loaded, account, name, patient, say, password))
    except MailError as error:
        kind = "login" if isinstance(error, Refused) else "server"
        raise Failed(error.text, kind, explain.advice(error.text, source.host) + _shown(source, where, error)) from None
    except (imapwire.Broken, pop3wire.Broken, OSError, TimeoutError) as error:
        text = f"{source.host}: {error or type(error).__name__}"
        raise Failed(text, "server", explain.advice(text, source.host)) from None


def _shown(source: Source, where: Paths, error: MailError) -> list[str]:
    """The certificate that was not trusted, to be compared with the right one."""
    if "not trusted" not in error.text or incoming.tls_of(source) != "implicit":
        return []
    try:
        return [f"it shows: {asyncio.run(_certificate(source, where))}"]
    except (MailError, OSError, TimeoutError):
        return []


async def _certificate(source: Source, where: Paths) -> str:
    context = tlsclient.context(tlsclient.Wish(source.tls_min, source.tls_max, verify=False))
    made = await tunnel.connect(source.host, incoming.port_of(source), tunnel.of(source, where.conf), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(sock=made, ssl=context, server_hostname=source.host)
    found = tlsclient.certificate(writer.get_extra_info("ssl_object"))
    writer.transport.abort()
    return found


async def _look(where: Paths, loaded: Settings, account: str, name: str, source: Source,
                say: Callable[[str], None], password: Secret) -> Probe:
    driver = sources.make(source.protocol)
    queue = spool.queue(where)
    try:
        trial = _Trial(where, loaded, account, name, source, queue)
        trial.password = password
        async with asyncio.timeout(LONGEST):
            return await driver.probe(trial, say)
    finally:
        await driver.close()
        queue.close()
