"""imapd: lets clients read mail by IMAP.

Serves the Maildirs of all accounts by IMAP4rev1, with STARTTLS on port 143 and with TLS from the first byte on port
993 (server.port_offset is added to both; a port of 0 is off). Any number of clients, of this and of other programs, may
work on one mailbox at the same time: the Maildir is the truth, and what happens to it is told to the others at once
(IDLE) or with their next command.

Folders are Maildir++ with "." between the levels. Sent, Drafts, Trash and Junk are made and subscribed to at the first
log-in and marked with their special use. INBOX.X means X, whatever namespace_prefix is set to, and INBOX.SENT is Sent.

Folders of others are below Shared (team mailboxes: accounts with shared = true, for their members) and Other Users, for
whom their owners gave rights. What somebody may do stands in dovecot-acl in each folder; flags, \\Seen too, belong to
the folder and are the same for all.

UIDs and keywords are kept in Dovecot's files, so that Dovecot may serve the same Maildirs before or after.

SEARCH BODY and TEXT find any part of a text, as IMAP has it. When an account so searches a folder with hundreds of
messages, a full-text index of all its folders is made in the background, by a process that gives way to everything else
(imapd.search_index_share); until then, and for mail that came since, the messages themselves are searched. What is
found does not depend on the index, only how soon. `lanmail mailbox index` makes one beforehand, or tells how far it is.

Reads: conf/lanmail.toml, conf/accounts/, conf/groups.toml, the certificate and key of [tls], maildirs/.

Writes: maildirs/NAME/, where messages are stored (APPEND), linked (COPY), renamed (flags) and removed (EXPUNGE), but
never changed; dovecot-uidlist, dovecot-keywords, lanmail-keywords, subscriptions, lanmail-special-use, dovecot-acl,
lanmail-metadata beside them, and lanmail-cache and lanmail-modseqs, which may be deleted at any time, as may the files
in state/index; state/auth, state/logins, state/log.

Signals: SIGHUP reads the settings again (ports change with a restart only). SIGTERM takes no new connections, lets the
commands that are under way end, says goodbye to the clients, and stops.

Standards: RFC 3501 IMAP4rev1, RFC 2177 IDLE, RFC 2342 NAMESPACE, RFC 2971 ID, RFC 3348 CHILDREN, RFC 3502 MULTIAPPEND,
RFC 3691 UNSELECT, RFC 4314 ACL, RFC 4315 UIDPLUS, RFC 4731 ESEARCH, RFC 4959 SASL-IR, RFC 5161 ENABLE, RFC 5258
LIST-EXTENDED, RFC 5464 METADATA, RFC 5530 response codes, RFC 5819 LIST-STATUS, RFC 6154 SPECIAL-USE, RFC 6851 MOVE,
RFC 7162 CONDSTORE and QRESYNC, RFC 7677 SCRAM-SHA-256, RFC 7888 LITERAL+, RFC 7889 APPENDLIMIT, RFC 9208 QUOTA.

Security: passwords are taken under TLS, or from auth.cleartext_networks; guessing is slow. A message is served only if
it is a regular file inside the Maildir. Every line, literal, set, nesting and name is bounded; the limits are keys of
[imapd]. The program needs no access to spools or tokens.

Bugs: with several workers each counts the connections of an account for itself, and only the worker that stored a
message by APPEND or COPY knows that it is \\Recent.
"""

import asyncio

from lanmail import daemon, proxy, settings, sockets
from lanmail.imap import worker


def listeners(loaded: settings.Settings) -> list[sockets.Listener]:
    """Port 143 and port 993, unless switched off."""
    server, own = loaded.server, loaded.imapd
    hosts = tuple(str(host) for host in server.listen)
    wishes = [
        sockets.Listener("imap", "imap", hosts, server.port(own.port)),
        sockets.Listener("imaps", "imap", hosts, server.port(own.tls_port), tls=True),
    ]
    return [wish for wish in wishes if wish.port]


async def serve(context: daemon.Context) -> None:
    """Listen until told to stop."""
    own = worker.Worker(context)
    servers = []
    for bound in context.bound:
        tls = own.tls_context() if bound.listener.tls else None
        if bound.listener.tls and tls is None:
            raise daemon.Refused(f"no usable certificate for port {bound.listener.port}; see conf/tls/")
        servers.append(await proxy.listen(
            own.greet, bound.socket, networks=context.settings.server.proxy_networks, tls=tls,
            handshake=context.settings.imapd.login_timeout, service="imap"))
    sweeping = [asyncio.create_task(one) for one in (own.sweep(), own.sittings.watch())]
    context.ready()
    await context.stopping.wait()
    for server in servers:
        server.close()
    for task in sweeping:
        task.cancel()
    await own.close()


main = daemon.program("imapd", __doc__, serve, listeners=listeners)

if __name__ == "__main__":
    main()
