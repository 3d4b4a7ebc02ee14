"""What mail clients read to set themselves up: the servers of this installation, in each client's own form.

    servers(settings)                     our servers for clients, those with TLS from the first byte first
    local_address(settings, text)         an address of ours, or None
    autoconfig(settings)                  Thunderbird, K-9, Evolution, KMail: config-v1.1.xml
    autodiscover(settings, address)       Outlook: the answer to a POX request; `asked` reads the request
    mobileconfig(settings, address)       iPhone, iPad, Mac: a configuration profile
    addon(settings, client, secret)       Thunderbird: an add-on by which it knows our OAuth2 server

Nothing here looks at accounts: what strangers get is the same for every address of our domains. No server is named
without TLS. Sources: draft-ietf-mailmaint-autoconfig (the XML that Thunderbird reads as version 1.1), Microsoft's
MS-OXDSCLI §2.2.4, Apple's Device Management (com.apple.mail.managed), Thunderbird's oauthProvider API (140).
"""

import io
import json
import plistlib
import uuid
import zipfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lxml import etree

from lanmail import address
from lanmail.address import Address
from lanmail.logins import endpoints, grants
from lanmail.settings import Settings

MAX_REQUEST = 16 << 10  # octets of a request for autodiscover; real ones have some hundred
REDIRECT = "http://localhost"  # what Thunderbird waits for; nobody need listen there
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_ANSWER = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_NAMESPACE = uuid.UUID("6f0f7a5e-7d55-4d0a-9a51-3c5f2b8f4a10")  # of our profiles: the same profile has the same UUID


@dataclass(frozen=True, slots=True)
class Server:
    """One port for clients; `implicit` is TLS from the first byte, else STARTTLS."""

    kind: str  # imap, pop3, smtp
    hostname: str
    port: int
    implicit: bool


def servers(settings: Settings) -> list[Server]:
    """All that are on, the better one of each kind first."""
    imap, pop3, smtp = settings.imapd, settings.pop3d, settings.smtpd
    ports = (("imap", imap.tls_port, True), ("imap", imap.port, False), ("pop3", pop3.tls_port, True),
             ("pop3", pop3.port, False), ("smtp", smtp.submissions_port, True), ("smtp", smtp.submission_port, False))
    own = settings.server
    return [Server(kind, own.hostname, own.port(port), implicit) for kind, port, implicit in ports if port]


def local_address(settings: Settings, text: str) -> Address | None:
    """The address if it may be one of ours, whether there is such an account or not."""
    try:
        found = address.parse(text)
    except ValueError:
        return None
    return found if found.domain in settings.server.local_domains and str(found).isprintable() else None


def autoconfig(settings: Settings) -> bytes:
    """The XML for all addresses of our domains: clients put theirs in by themselves."""
    root = etree.Element("clientConfig", version="1.1")
    provider = etree.SubElement(root, "emailProvider", id=settings.server.domain)
    for name in (settings.server.domain, *settings.server.extra_domains):
        _add(provider, "domain", name)
    _add(provider, "displayName", settings.server.domain)
    _add(provider, "displayShortName", settings.server.domain)
    for server in servers(settings):
        which = "outgoingServer" if server.kind == "smtp" else "incomingServer"
        one = etree.SubElement(provider, which, type=server.kind)
        _add(one, "hostname", server.hostname)
        _add(one, "port", str(server.port))
        _add(one, "socketType", "SSL" if server.implicit else "STARTTLS")
        _add(one, "authentication", "password-cleartext")  # the first that a client can do is taken
        if settings.httpd.enabled:
            _add(one, "authentication", "OAuth2")
        _add(one, "username", "%EMAILADDRESS%")
    if settings.httpd.enabled:
        urls, oauth = endpoints.urls(settings), etree.SubElement(root, "oAuth2")
        _add(oauth, "issuer", endpoints.base(settings))
        _add(oauth, "scope", " ".join([*grants.SCOPES.values(), grants.OFFLINE]))
        _add(oauth, "authURL", urls["authorization_endpoint"])
        _add(oauth, "tokenURL", urls["token_endpoint"])
    return _written(root)


def asked(request: bytes) -> str | None:
    """The address in a request for autodiscover; None when the answer that it wants is not Outlook's.

    ValueError: it is no such request, or has a DOCTYPE, which none needs.
    """
    if len(request) > MAX_REQUEST:
        raise ValueError("the request is too large")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(request, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError("the request is no XML") from error
    if root.getroottree().docinfo.doctype:
        raise ValueError("the request has a DOCTYPE")
    if root.findtext("{*}Request/{*}AcceptableResponseSchema", _OUTLOOK).strip() != _OUTLOOK:
        return None
    found = root.findtext("{*}Request/{*}EMailAddress", "").strip()
    if not found:
        raise ValueError("the request names no address")
    return str(found)


def autodiscover(settings: Settings, owner: Address) -> bytes:
    """The answer for an address; Outlook takes one server of each kind."""
    root = etree.Element(f"{{{_ANSWER}}}Autodiscover", nsmap={None: _ANSWER})
    response = etree.SubElement(root, f"{{{_OUTLOOK}}}Response", nsmap={None: _OUTLOOK})
    account = etree.SubElement(response, f"{{{_OUTLOOK}}}Account")
    _add(account, f"{{{_OUTLOOK}}}AccountType", "email")
    _add(account, f"{{{_OUTLOOK}}}Action", "settings")
    for server in _best(settings).values():
        one = etree.SubElement(account, f"{{{_OUTLOOK}}}Protocol")
        said = {"Type": server.kind.upper(), "Server": server.hostname, "Port": str(server.port),
                "DomainRequired": "off", "LoginName": str(owner), "SPA": "off", "SSL": "on",
                "Encryption": "SSL" if server.implicit else "TLS", "AuthRequired": "on"}
        if server.kind == "smtp":
            said |= {"UsePOPAuth": "off", "SMTPLast": "off"}
        for name, value in said.items():
            _add(one, f"{{{_OUTLOOK}}}{name}", value)
    return _written(root)


def mobileconfig(settings: Settings, owner: Address) -> bytes:
    """An unsigned profile for an address, without a password: the device asks for it. The same again replaces it.

    ValueError: a server that it has to name is switched off.
    """
    best = _best(settings)
    incoming, outgoing = best.get("imap") or best.get("pop3"), best.get("smtp")
    if incoming is None or outgoing is None:
        raise ValueError("there is no server to read mail from, or none to send by")
    known = uuid.uuid5(_NAMESPACE, f"{settings.server.hostname} {str(owner).casefold()}")
    inner = str(uuid.uuid5(known, "mail")).upper()
    identifier = f"{'.'.join(reversed(settings.server.hostname.split('.')))}.{known}"
    mail: dict[str, Any] = {
        "PayloadType": "com.apple.mail.managed", "PayloadVersion": 1, "PayloadUUID": inner,
        "PayloadIdentifier": f"{identifier}.mail", "PayloadDisplayName": str(owner),
        "EmailAccountType": "EmailTypeIMAP" if incoming.kind == "imap" else "EmailTypePOP",
        "EmailAccountDescription": str(owner), "EmailAddress": str(owner),
        "OutgoingPasswordSameAsIncomingPassword": True}
    for prefix, server in (("Incoming", incoming), ("Outgoing", outgoing)):
        mail |= {f"{prefix}MailServerAuthentication": "EmailAuthPassword",
                 f"{prefix}MailServerHostName": server.hostname, f"{prefix}MailServerPortNumber": server.port,
                 f"{prefix}MailServerUseSSL": True, f"{prefix}MailServerUsername": str(owner)}
    return plistlib.dumps({
        "PayloadType": "Configuration", "PayloadVersion": 1, "PayloadUUID": str(known).upper(),
        "PayloadIdentifier": identifier, "PayloadDisplayName": f"Mail {owner}",
        "PayloadOrganization": settings.server.domain, "PayloadContent": [mail]})


def addon(settings: Settings, client: grants.Client, secret: str = "") -> bytes:
    """The add-on (XPI) for one client: a manifest and no code. `secret` is the client's; a public one has none."""
    urls = endpoints.urls(settings)
    known: dict[str, Any] = {
        "issuer": urlsplit(endpoints.base(settings)).hostname,  # a name for the password store, not RFC 9207's iss
        "clientId": client.id, "authorizationEndpoint": urls["authorization_endpoint"],
        "tokenEndpoint": urls["token_endpoint"], "redirectionEndpoint": REDIRECT, "usePKCE": True,
        "hostnames": [settings.server.hostname], "scopes": " ".join([*client.scopes, grants.OFFLINE])}
    if secret:
        known["clientSecret"] = secret
    manifest = {
        "manifest_version": 2, "name": f"{settings.server.domain}: OAuth2", "version": "1.0",
        "description": f"Lets Thunderbird log in at {settings.server.hostname} by OAuth2.",
        "browser_specific_settings": {"gecko": {"id": f"oauth2-{client.id[:12]}@{settings.server.hostname}",
                                                "strict_min_version": "140.0"}},
        "oauth_provider": known}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest, indent=2) + "\n")
    return packed.getvalue()


def _best(settings: Settings) -> dict[str, Server]:
    """One server of each kind."""
    return {one.kind: one for one in reversed(servers(settings))}


def _add(parent: Any, name: str, text: str) -> None:
    etree.SubElement(parent, name).text = text


def _written(root: Any) -> bytes:
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))
