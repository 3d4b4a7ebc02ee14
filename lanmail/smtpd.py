"""smtpd: receives mail by SMTP, submission and LMTP.

Takes mail from other servers, mail programs, devices and programs, and puts it into spool/queue. It answers 250 when
the mail is on disk and survives a power cut; before that the sender still has it. Delivering is lanmail-deliver's work.

The listeners (section [smtpd]; a port of 0 is off, server.port_offset is added to each):

    mx           25   anybody, to local recipients; after STARTTLS and log-in (mx_auth) to others too
    submission   587  mail programs: STARTTLS, then log-in
    submissions  465  the same with TLS from the first byte
    lan               scanners and old devices in lan.networks: no log-in, old TLS or none, and if wished
                      a fixed sender for each (lan.senders); off by default
    lmtp         24   a mail server in front of this one; one answer for each recipient

Unknown local recipients are refused at RCPT. Other recipients are for clients that have logged in and for lan.networks.
Who may write to a group says its may_post; others are refused there, too: 550 5.7.1. A logged-in account may use its
own addresses, its aliases, its teams' and groups', and what send_as grants as sender.

The end of a message is CRLF.CRLF and nothing else. A bare LF is made a line end, or refused (bare_lf). Lines may have
any length, and memory does not grow with a message.

Reads: conf/lanmail.toml, conf/accounts/, conf/aliases.toml, conf/groups.toml, the certificate and key of [tls].

Writes: spool/queue, state/auth, state/logins, state/log.

Signals: SIGHUP reads the settings again (ports change with a restart only). SIGTERM takes no new connections, lets mail
that is on the wire end, and stops.

Standards: RFC 5321 SMTP, RFC 6409 submission, RFC 8314 submissions, RFC 2033 LMTP, RFC 3207 STARTTLS, RFC 4954 AUTH,
RFC 1870 SIZE, RFC 6152 8BITMIME, RFC 6531 SMTPUTF8, RFC 2920 PIPELINING, RFC 3030 CHUNKING, RFC 3461 DSN,
RFC 2034 ENHANCEDSTATUSCODES, RFC 9422 LIMITS.

Security: every limit is a key of [smtpd]. Addresses never become paths. Passwords go over TLS only, except from
auth.cleartext_networks. The program needs no access to Maildirs or tokens.

Bugs: with several workers each counts connections and errors for itself.
"""

import asyncio
import functools

from lanmail import daemon, log, policy, settings, sockets
from lanmail.smtp import service


def listeners(wishes: settings.Settings) -> list[sockets.Listener]:
    """What the settings say we listen on."""
    smtpd, server = wishes.smtpd, wishes.server
    hosts = tuple(server.listen)
    table = [
        ("smtp", policy.MX, smtpd.mx_port, False),
        ("submission", policy.SUBMISSION, smtpd.submission_port, False),
        ("submissions", policy.SUBMISSIONS, smtpd.submissions_port, True),
        ("lan", policy.LAN, smtpd.lan.port, False),
        ("lmtp", policy.LMTP, smtpd.lmtp_port, False),
    ]
    return [sockets.Listener(name, kind, hosts, server.port(port), tls) for name, kind, port, tls in table if port]


async def serve(context: daemon.Context) -> None:
    """Take mail until told to stop."""
    here = service.Service(context)
    if not here.has_tls:
        log.certificate_unusable(file=context.settings.tls.cert, error="no TLS before there is one")
    loop = asyncio.get_running_loop()
    servers = []
    for one in context.bound:
        make = functools.partial(here.session, one.listener)
        servers.append(await loop.create_server(make, sock=one.socket, backlog=sockets.BACKLOG))
    watching = [asyncio.create_task(one) for one in (here.watch(), here.sittings.watch())]
    context.ready()
    await context.stopping.wait()
    for server in servers:
        server.close()
    await here.drain()
    for task in watching:
        task.cancel()


main = daemon.program("smtpd", __doc__, serve, listeners=listeners)

if __name__ == "__main__":
    main()
