"""Whether mail servers take a token: one log-in each, nothing is read or sent.

    results = await attempt(servers, token)

One try per server and no second one: servers punish repeated wrong log-ins for everybody behind our address. A token is
good as soon as one server takes it; what the others say is then about the mailbox, not about the token.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lanmail.clients import imapclient, pop3client, smtpclient, smtplogin, tlsclient, tunnel
from lanmail.errors import MailError
from lanmail.oauth.apps import App
from lanmail.remote import LOCAL_HOSTS
from lanmail.secret import Secret

PATIENCE = 20.0
_IMPLICIT = {"imap": 993, "pop3": 995, "smtp": 465}

Verdict = Literal["ok", "refused", "unreachable"]


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and how to log in there; `user` is the mailbox."""

    protocol: str  # imap, pop3, smtp
    host: str
    port: int
    tls: str  # auto, implicit, starttls, none
    user: str
    mechanism: str = ""
    wish: tlsclient.Wish = tlsclient.DEFAULT
    via: tunnel.Proxy | None = None
    helo: str = "localhost"

    def __str__(self) -> str:
        return f"{self.protocol.upper()} {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a server said; `text` for people, `advice` what to do about it."""

    server: Server
    verdict: Verdict
    text: str = ""
    advice: str = ""


def of_app(app: App, user: str) -> list[Server]:
    """The provider's own servers, those that the app is for."""
    found = []
    for use in app.use:
        host, _, port = app.servers.get(use, "").rpartition(":")
        if host and port.isdigit():
            number = int(port)
            tls = "implicit" if number == _IMPLICIT[use] else "none" if host in LOCAL_HOSTS else "starttls"
            found.append(Server(use, host.strip("[]"), number, tls, user, app.mechanism))
    return found


async def attempt(servers: Iterable[Server], token: Secret) -> list[Result]:
    """Log in at each, all at the same time."""
    return await asyncio.gather(*(_one(server, token) for server in servers))


async def _one(server: Server, token: Secret) -> Result:
    credentials = smtplogin.Credentials(server.user, token, is_token=True)
    try:
        async with asyncio.timeout(3 * PATIENCE):
            await _LOGINS[server.protocol](server, credentials)
    except smtplogin.Refused as error:
        return Result(server, "refused", error.text, advice(error.text))
    except MailError as error:
        refused = isinstance(error.__cause__, smtplogin.Refused)
        return Result(server, "refused" if refused else "unreachable", error.text, advice(error.text))
    except TimeoutError:
        return Result(server, "unreachable", f"no answer within {3 * PATIENCE:g} seconds")
    except OSError as error:
        return Result(server, "unreachable", tlsclient.reason(error))
    return Result(server, "ok", f"logged in as {server.user}")


async def _imap(server: Server, credentials: smtplogin.Credentials) -> None:
    target = imapclient.Target(server.host, server.port, credentials, server.tls, server.wish, server.via,
                               server.mechanism)
    client = await imapclient.connect(target, imapclient.Patience(PATIENCE, PATIENCE))
    try:
        await client.examine(b"INBOX")  # Exchange says only here that a mailbox is closed to us
    except imapclient.Denied as error:
        raise smtplogin.Refused(f"logged in, but INBOX cannot be opened: {error}") from None
    finally:
        await client.logout()


async def _pop3(server: Server, credentials: smtplogin.Credentials) -> None:
    target = pop3client.Target(server.host, server.port, credentials, server.tls, server.wish, server.via,
                               server.mechanism)
    client = await pop3client.connect(target, PATIENCE)
    await client.quit()


async def _smtp(server: Server, credentials: smtplogin.Credentials) -> None:
    target = smtpclient.Target(server.host, server.port, server.helo, tls=server.tls, wish=server.wish, via=server.via,
                               credentials=credentials, mechanism=server.mechanism)
    client = await smtpclient.connect(target, smtpclient.Patience(PATIENCE, PATIENCE, PATIENCE))
    client.close()


_LOGINS = {"imap": _imap, "pop3": _pop3, "smtp": _smtp}

# what servers say with a good token, and what is then to be done
_ADVICE = (
    (r"5\.7\.139|SmtpClientAuthentication is disabled",
     "the token is good, but SMTP log-in is switched off for the mailbox or the organization: switch it on (Microsoft "
     '365 admin center, the user\'s mail apps, "Authenticated SMTP"), or send with transport = "graph"'),
    (r"authenticated but not connected",
     "the log-in is right, but the mailbox is not opened: is the protocol switched on for it, has it a licence, and is "
     "it the mailbox that the token is for?"),
    (r"5\.7\.30|Basic authentication is not supported",
     "the server was logged in to by password: set auth = \"oauth2\""),
    (r"5\.7\.3\b|AUTHENTICATE failed|unknown user name or bad password|invalid_token|\"status\":\"40[01]\"",
     "the server does not know the token: was it given for this mailbox and with the scopes for this protocol?"),
    (r"none of .*(XOAUTH2|OAUTHBEARER)", "this server takes no tokens; it is not the provider's, or needs a password"),
)


def advice(text: str) -> str:
    """What is to be done about what a server said; empty when nobody knows."""
    return next((words for pattern, words in _ADVICE if re.search(pattern, text, re.I)), "")
