"""pop3d: lets mail clients fetch mail by POP3.

Serves the INBOX of each account's Maildir by POP3: port 110 with STLS, port 995 with TLS from the first byte.
Passwords are taken under TLS, or in clear text from the networks of auth.cleartext_networks.

USER PASS AUTH (PLAIN, LOGIN, SCRAM-SHA-256) STLS CAPA STAT LIST UIDL TOP RETR DELE RSET NOOP QUIT UTF8, pipelined at
will.

One session at a time has a mailbox; a second log-in waits a few seconds and is then told [IN-USE]. What a client
deletes goes when it says QUIT, never when the connection breaks. At QUIT, what it fetched is marked as read.

The UIDL of a message is made of its UID and the UIDVALIDITY as Dovecot makes it, and UIDs live in Dovecot's files, so
that after a change of server no client fetches anything again.

Reads: conf/lanmail.toml, conf/accounts/, maildirs/

Writes: maildirs/ (dovecot-uidlist; renames and removes messages at QUIT), state/pop3/NAME.lock, state/auth/,
state/logins/, state/log/

Signals: SIGTERM, SIGINT: finish what is on the wire, then end. SIGHUP: read the settings again.

Standards: RFC 1939 (POP3), 2449 (CAPA, PIPELINING, response codes), 2595 and 8314 (TLS), 3206 (AUTH-RESP-CODE), 5034
(SASL), 7677 (SCRAM-SHA-256), 6856 (UTF8; messages are sent as they are whether or not the client asked for it). APOP
is not offered: it needs passwords in clear text on disk.

Security: Nothing but a regular file in new/ or cur/ of the account's own Maildir is ever opened. No text from a
client becomes part of a path. Line length, connections, log-in time, failed log-ins and errors are limited ([pop3d]
in lanmail.toml), and a client that does not read holds at most half a megabyte of memory.

Bugs: The limits on connections count within one worker.

See also: lanmail(8), lanmail-imapd(8), lanmail.toml(5)
"""

import asyncio
import socket

from lanmail import daemon, proxy, settings, sockets, tls
from lanmail.pop3.service import Service
from lanmail.pop3.session import Session

DRAIN = 20.0
HANDSHAKE = 30.0
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def listeners(loaded: settings.Settings) -> list[sockets.Listener]:
    """The ports to listen on."""
    hosts, server, own = tuple(loaded.server.listen), loaded.server, loaded.pop3d
    wanted = (("pop3", own.port, False), ("pop3s", own.tls_port, True))
    return [sockets.Listener(name, "pop3", hosts, server.port(port), implicit)
            for name, port, implicit in wanted if port]


async def serve(context: daemon.Context) -> None:
    """Serve until told to stop."""
    loop = asyncio.get_running_loop()
    service = Service(context.paths, lambda: context.settings)
    context.on_reload(service.reload)
    servers = []
    for bound in context.bound:
        implicit = bound.listener.tls
        # Accepted sockets inherit it (Linux). A client that vanished without a word is noticed after two minutes; until
        # then it keeps its mailbox locked.
        bound.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            bound.socket.setsockopt(socket.IPPROTO_TCP, option, value)

        def session(client: str, implicit: bool = implicit) -> Session:
            return Session(service, loop, implicit=implicit, client=client)

        servers.append(await proxy.listen(
            session, bound.socket, networks=context.settings.server.proxy_networks, handshake=HANDSHAKE, service="pop3",
            tls=tls.server_context(context.settings, context.paths) if implicit else None))
    watching = asyncio.create_task(service.sittings.watch())
    context.ready()
    await context.stopping.wait()
    for server in servers:
        server.close()
    watching.cancel()
    await service.drain(DRAIN)
    service.close()


main = daemon.program("pop3d", __doc__, serve, listeners=listeners)

if __name__ == "__main__":
    main()
