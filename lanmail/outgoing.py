"""The ways out: [outgoing] in lanmail.toml for all, [outgoing] in an account's file for this one.

`of` puts both together by the rule of remote.py, and is the only place that does: who names a server or a transport
of its own (`OWN_WAY`) takes nothing of the default's. Limits, proxy, overwrite_sender and smime come from the default
key by key, and a limit of an account never exceeds that of the default.
"""

from typing import Any, Literal

from lanmail import keys, remote, secret
from lanmail.keys import Model
from lanmail.units import Directory, Domain, Duration, Host, Hostname, NewSender, Size, Url

_key, _section = keys.key, keys.section

given = remote.given

Transport = Literal["smtp", "mx", "folder", "http", "webspace", "graph"]
Secret = secret.Reference


class Folder(Model):
    """Transport folder: mail is put into a directory for other software."""

    path: Directory = _key("", "Directory that gets a file ID.eml for each mail.")
    envelope: bool = _key(True, "Start each file with X-Sender and X-Receiver lines, as spool/pickup takes it.")


class Http(Model):
    """Transport http: mail is posted to a program on a web server."""

    url: Url = _key("", "Where to post to (https).")
    variable: str = _key("rfc822data", "Name of the multipart file field with the message.", min_length=1)
    sender_field: str = _key("", "Field for the envelope sender, like sender; empty: not sent.")
    recipients_field: str = _key("", "Field for each recipient, like recipients[]; empty: not sent.")
    authorization: Secret = _key("", "The value of an Authorization header: file:secrets/NAME or credential:NAME.")
    headers: dict[str, str] = _key({}, "More headers of the request; nothing secret.")
    secret_headers: dict[str, Secret] = _key({}, "Headers with a secret value: file:secrets/NAME or credential:NAME.")
    timeout: Duration = _key("5m", "How long the server may take.")


class Webspace(Model):
    """Transport webspace: mail goes to our PHP scripts on a web space, which send it from there."""

    url: Url = _key("", "Where lanmail.php is called, like https://www.firma.example/lanmail/.")
    script_password: Secret = _key("", "For the call, 20 characters or more: file:secrets/NAME or credential:NAME.")
    upload: Literal["ftps", "ftp", "sftp"] = _key("ftps", "How files get there.")
    host: Host = _key("", "The FTP or SFTP server.")
    port: int = _key(0, "Its port; 0 is the usual one.", ge=0, le=65535)
    user: str = _key("", "The user name there.")
    password: Secret = _key("", "Its password: file:secrets/NAME or credential:NAME.")
    private_key: str = _key("", "Key file for SFTP in place of a password; relative to conf/.")
    host_key: str = _key("", "The SFTP server's key as ssh-keygen -l shows it, SHA256:…; `lanmail webspace` sets it.")
    directory: str = _key("", "The directory there that belongs to url.")
    mode: Literal["mail", "smtp"] = _key("mail", "The scripts send with PHP mail() or by an SMTP server.")
    smtp_host: Host = _key("", "The SMTP server that the scripts use.")
    smtp_port: int = _key(587, "Its port.", ge=1, le=65535)
    smtp_tls: Literal["none", "starttls", "implicit"] = _key("starttls", "TLS to it.")
    smtp_user: str = _key("", "The user name there.")
    smtp_password: Secret = _key("", "Its password: file:secrets/NAME or credential:NAME.")
    timeout: Duration = _key("5m", "How long upload and call may take, each.")


class Graph(Model):
    """Transport graph: Microsoft Graph sendMail, for tenants without SMTP log-in."""

    url: Url = _key("https://graph.microsoft.com/v1.0", "The service; national clouds have their own.")
    mailbox: str = _key("", "Mailbox to send from, /users/NAME; empty: that of the token, /me.")
    allow_partial: bool = _key(False, "Send even if the mail names recipients that are not to get it this way.")
    timeout: Duration = _key("2m", "How long the service may take.")


class Smime(Model):
    """Signing and encrypting what is sent. Certificates of recipients stand in conf/smime/certs/."""

    sign: bool = _key(False, "Sign mail to the outside.")
    certificate: str = _key("", "Own certificate with chain, PEM or PKCS#12; relative to conf/.")
    key: str = _key("", "Private key, PEM; relative to conf/; empty: it stands in the certificate's file.")
    password: Secret = _key("", "Password of the key: file:secrets/NAME or credential:NAME.")
    encrypt: Literal["never", "if-possible", "require"] = _key("never", "Encrypt to all recipients' certificates.")
    expired: Literal["hold", "unsigned"] = _key("hold", "What becomes of mail when the own certificate has expired.")


class _Way(Model):
    transport: Transport = _key("smtp", "By a smarthost (smtp), straight to the recipients' servers (mx), or as below.")


class Outgoing(remote.Remote, _Way):
    """The way out: how mail to the outside is sent. Keys that an account's file leaves out have these values."""

    host: Host = _key("", "The smarthost; empty with transport smtp: mail waits until one is named.")
    port: int = _key(0, "Its port; 0 is 465 with tls = implicit, 25 without TLS and log-in, else 587.", ge=0, le=65535)
    helo: Hostname = _key("", "Our name in EHLO; empty: server.hostname.")
    connections: int = _key(10, "Most connections to the smarthost at a time.", ge=1)
    overwrite_sender: NewSender = _key("", "Sender and From of all mail, like %localpart%@firma.example; empty: as is.")
    max_size: Size = _key("0", "Largest mail to the outside; 0 is smtpd.max_size, which always holds.")
    max_recipients: int = _key(0, "Most recipients of one mail, more are split; 0 is all.", ge=0)
    rate: int = _key(0, "Mails per hour, evenly; the others wait; 0 is no limit.", ge=0)
    hold: Duration = _key("0s", "How long a mail waits before it is sent; `lanmail queue remove` takes it back.")
    folder: Folder = _section(Folder)
    http: Http = _section(Http)
    webspace: Webspace = _section(Webspace)
    graph: Graph = _section(Graph)
    smime: Smime = _section(Smime)


class DkimKey(Model):
    """One DKIM key."""

    domain: Domain = _key(..., "Mail from this domain is signed.")
    selector: str = _key("lanmail", "Where the public key stands: SELECTOR._domainkey.DOMAIN.", min_length=1)
    key: str = _key(..., "Private key, PEM, RSA or Ed25519; relative to conf/.")


class Dkim(Model):
    """DKIM signatures (RFC 6376). `lanmail dkim genkey DOMAIN` makes a key and prints the DNS record."""

    keys: list[DkimKey] = _key([], 'Keys: { domain = "firma.example", selector = "lanmail", key = "dkim/a.pem" }, ….')


OWN_WAY = frozenset({"transport", "host", "port", "folder", "http", "webspace", "graph"})
_POLICY = frozenset({"overwrite_sender", "max_size", "max_recipients", "rate", "hold", "smime", "helo"})


def of(default: Outgoing, own: Outgoing | None) -> Outgoing:
    """What holds for an account: its own table over the default one."""
    said = given(own) if own is not None else set()
    if own is None or not said:
        return default
    values = remote.combined(default, own, _POLICY, own_server=bool(said & OWN_WAY))
    if default.max_size and (not values["max_size"] or values["max_size"] > default.max_size):
        values["max_size"] = default.max_size
    if "smime" in said:
        values["smime"] = _section_of(default.smime, own.smime)
    return Outgoing.model_construct(_fields_set=set(said), **values)


def _section_of(default: Smime, own: Smime) -> Smime:
    """Key by key, but the own certificate never with the key or password of the default."""
    said = own.model_fields_set
    own_keys = {"certificate", "key", "password"} if said & {"certificate", "key", "password"} else set()
    values: dict[str, Any] = {name: getattr(own if name in said | own_keys else default, name)
                              for name in Smime.model_fields}
    return Smime.model_construct(_fields_set=set(said), **values)


def port_of(way: Outgoing) -> int:
    """The smarthost's port."""
    if way.port:
        return way.port
    if way.tls == "implicit":
        return 465
    return 25 if way.tls == "none" and not way.user else 587


def destination(way: Outgoing, domain: str = "") -> str:
    """What fails and recovers as one, and shares connections and back-off; also its name for people."""
    match way.transport:
        case "smtp":
            return f"smtp:{way.host}:{port_of(way)}" + (f":{way.user}" if way.user else "")
        case "mx":
            return f"mx:{domain}"
        case "folder":
            return f"folder:{way.folder.path}"
        case "http":
            return f"http:{way.http.url}"
        case "webspace":
            return f"webspace:{way.webspace.url}"
    return f"graph:{way.graph.mailbox or way.user}"
