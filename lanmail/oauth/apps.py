"""Apps: who we are at a provider. One file each, conf/apps/NAME.toml, mostly on top of a preset.

A preset is a file of data, lanmail/oauth_presets/NAME.toml; one of the same name in conf/oauth_presets/ is used in its
place, so that a provider's moved URL needs no new version. The app's own keys come over the preset's, key by key.

Scopes belong to a resource, which is what one access token is good for: `mail` (IMAP, POP3, SMTP), `graph`. One consent
can serve several; each gets an access token of its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from lanmail import conffile, keys, schema, secret, tokens
from lanmail.clients import httpclient
from lanmail.conffile import Document
from lanmail.errors import ConfigError, Problem
from lanmail.keys import Model
from lanmail.paths import Paths
from lanmail.units import Fingerprint, Proxy

_key = keys.key
_SHIPPED = Path(__file__).parent.parent / "oauth_presets"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAIL = tokens.MAIL
PROTOCOLS = ("imap", "pop3", "smtp")

TlsVersion = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
Rotation = Literal["none", "overlap", "strict"]
Grant = Literal["authorization_code", "client_credentials", "jwt_bearer"]
Use = Literal["imap", "pop3", "smtp", "graph", "gmail"]


def _endpoint(value: Any) -> str:
    """An https URL, or one of this machine, or nothing."""
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    if value == "" or (parts.hostname and not parts.username and not re.search(r"\s", str(value)) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in httpclient.LOCAL))):
        return str(value)
    raise ValueError(f"{value!r} is no https URL")


def _day(value: Any) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else value
    if isinstance(text, str) and re.fullmatch(r"(\d{4}-\d\d-\d\d)?", text):
        return text
    raise ValueError(f'{value!r} is not a day; write it like "2027-05-31"')


Endpoint = Annotated[str, BeforeValidator(_endpoint)]
Day = Annotated[str, BeforeValidator(_day)]


class Provider(Model):
    """What is true of a provider whoever asks: the keys of a preset, each of which an app can have, too."""

    title: str = _key("", "The provider's name for people.")
    tenant: str = _key("", "What stands for {tenant} in URLs: a directory's id or domain, or organizations, common.")
    issuer: str = _key("", "The provider's issuer identifier (RFC 9207); empty: answers are not held against one.")
    metadata_url: str = _key("", "Where the provider describes itself (RFC 8414).")
    authorize_url: str = _key("", "Where people give their consent.")
    token_url: str = _key("", "Where tokens come from.")
    device_url: str = _key("", "Where a consent on another device begins (RFC 8628); empty: not offered.")
    revoke_url: str = _key("", "Where a grant is taken back (RFC 7009); empty: not offered.")
    end_session_url: str = _key("", "Where people sign out in their browser.")
    userinfo_url: str = _key("", "Where the provider says whose token it is.")
    admin_consent_url: str = _key("", "Where an administrator consents for everybody.")
    consent_page: str = _key("", "Where people see and take back what they consented to.")
    pkce: bool = _key(True, "Prove with the code who asked for it (RFC 7636).")
    authorize: dict[str, str] = _key({}, "More parameters of the consent's URL.")
    scopes: dict[str, list[str]] = _key({}, "Scopes by use: imap, pop3, smtp, graph; common is always asked for.")
    app_scopes: dict[str, list[str]] = _key({}, "Scopes by resource (mail, graph) with grants that need no person.")
    refresh_scope: bool = _key(False, "Name the scopes at each refresh, too.")
    refresh_expected: bool = _key(True, "A consent without a refresh token is refused.")
    revoke_with_client: bool = _key(True, "Taking back is asked with the app's id and secret.")
    rotation: Rotation = _key("overlap", "Refresh tokens stay (none), are renewed (overlap), or work once (strict).")
    refresh_life: int = _key(0, "Days that an unused refresh token lives; 0 is unknown.", ge=0)
    mechanism: Literal["", "XOAUTH2", "OAUTHBEARER"] = _key("", "The SASL mechanism that its servers take.")
    servers: dict[str, str] = _key({}, "The provider's mail servers, as imap = HOST:PORT.")
    hint: str = _key("", "What people should know before they use it.")


class App(Provider):
    """One app. `name` is its file's name."""

    name: str = _key("", "The file's name without .toml.", exclude=True)
    preset: str = _key("", "The provider's preset; empty: all URLs and scopes stand here.")
    client_id: str = _key("", "The app's id at the provider.")
    client_secret: secret.Reference = _key("", "Its secret: file:secrets/NAME or credential:NAME; empty: a public app.")
    client_secret_expires: Day = _key("", "The day that the secret or certificate ends, like 2027-05-31.")
    client_auth: Literal["", "none", "client_secret_post", "client_secret_basic", "private_key_jwt"] = _key(
        "", "How the app proves itself; empty: by what it has.")
    certificate: str = _key("", "With private_key: the app's certificate, PEM; relative to conf/.")
    private_key: secret.Reference = _key("", "Key in place of a secret, PEM: file:secrets/NAME or credential:NAME.")
    service_account: secret.Reference = _key("", "With grant = jwt_bearer: the JSON file of a service account.")
    grant: Grant = _key("authorization_code", "Tokens by a person's consent, or for the app itself.")
    use: list[Use] = _key(["imap", "pop3", "smtp"], "What tokens are for; their scopes are asked for.", min_length=1)
    redirect_uri: str = _key("", "Where the provider sends people back to; empty: http://localhost with any port.")
    proxy: Proxy = _key("", "Proxy to the provider: http://HOST:PORT or socks5://HOST:PORT.")
    proxy_user: str = _key("", "User name at the proxy.")
    proxy_password: secret.Reference = _key("", "Its password: file:secrets/NAME or credential:NAME.")
    tls_min: TlsVersion = _key("TLSv1.2", "Oldest TLS version to use.")
    tls_max: TlsVersion = _key("TLSv1.3", "Newest TLS version to use.")
    tls_verify: bool = _key(True, "Check the provider's certificate and its name.")
    tls_ca: str = _key("", "Certificates to trust in place of the system's, PEM; relative to conf/.")
    tls_fingerprint: list[Fingerprint] = _key([], "SHA-256 of the provider's certificate: only these.")
    timeout: int = _key(30, "Seconds that the provider may take for an answer.", ge=1, le=300)

    @model_validator(mode="after")
    def _whole(self) -> "App":
        for field in _URLS:
            value = _endpoint(getattr(self, field).replace("{tenant}", self.tenant or "common"))
            object.__setattr__(self, field, value)
        if not self.token_url:
            raise PydanticCustomError("app-token_url", "token_url must be set, by a preset or here")
        if not self.client_id and self.grant != "jwt_bearer":
            raise PydanticCustomError("app-client_id", "client_id must be set")
        if self.grant == "authorization_code" and not self.authorize_url and not self.device_url:
            raise PydanticCustomError("app-authorize_url", "authorize_url must be set, by a preset or here")
        if self.grant == "jwt_bearer" and not self.service_account:
            raise PydanticCustomError("app-service_account", "grant = jwt_bearer needs a service_account")
        if self.grant == "client_credentials" and not self.client_secret and not self.private_key:
            raise PydanticCustomError("app-client_secret",
                                      "grant = client_credentials needs a client_secret or a private_key")
        return self

    @property
    def authentication(self) -> str:
        """How the app proves itself at the token endpoint, by the names of RFC 7591."""
        if self.client_auth:
            return self.client_auth
        if self.private_key:
            return "private_key_jwt"
        return "client_secret_post" if self.client_secret else "none"

    @property
    def needs_person(self) -> bool:
        """Whether somebody has to give consent before there is a token."""
        return self.grant == "authorization_code"

    @property
    def resources(self) -> dict[str, list[str]]:
        """What there can be access tokens for, the first of a consent first, each with its scopes."""
        if not self.needs_person:
            return self.app_scopes or {MAIL: self.scopes.get("common", [])}
        found: dict[str, list[str]] = {}
        for use in self.use:
            resource = MAIL if use in PROTOCOLS else use
            wanted = [*found.get(resource, []), *self.scopes.get("common", []), *self.scopes.get(use, [])]
            found[resource] = list(dict.fromkeys(wanted))
        return found

    def scope(self, resource: str = "") -> str:
        """What is asked for, as the parameter of that name; by default for the first resource."""
        found = self.resources
        return " ".join(found.get(resource or next(iter(found)), []))


_URLS = ("metadata_url", "authorize_url", "token_url", "device_url", "revoke_url", "end_session_url", "userinfo_url",
         "admin_consent_url")


def directory(paths: Paths) -> Path:
    """Where apps are described."""
    return paths.conf / "apps"


def file_of(paths: Paths, name: str) -> Path:
    """The file of an app. ConfigError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        text = f"{name!r} cannot be an app's name: small letters, digits, dot, hyphen, underscore"
        raise ConfigError([Problem(str(directory(paths)), None, text, "app-name")])
    return directory(paths) / f"{name}.toml"


def names(paths: Paths) -> list[str]:
    """All apps, sorted."""
    where = directory(paths)
    return sorted(one.stem for one in where.glob("*.toml") if _NAME.fullmatch(one.stem)) if where.is_dir() else []


def load(paths: Paths, name: str) -> App:
    """An app, with what its preset says. ConfigError."""
    return parse(conffile.read(file_of(paths, name)), paths)


def parse(document: Document, paths: Paths | None = None) -> App:
    """The app in a parsed file. ConfigError."""
    if "name" in document.data:
        text = "unknown key 'name'; the file's name is the app's name"
        raise ConfigError([document.problem(("name",), text, "unknown-key", "name")])
    chosen = document.data.get("preset", "")
    known = preset(chosen, paths) if chosen else {}
    if known is None:
        there = ", ".join(presets(paths))
        text = f"preset: there is no {chosen!r}; there are {there}"
        raise ConfigError([document.problem(("preset",), text, "preset", there)])
    merged: dict[str, Any] = {**known, **document.data, "name": document.path.stem}
    for table in ("authorize", "scopes", "app_scopes", "servers"):
        if isinstance(document.data.get(table), dict):
            merged[table] = {**known.get(table, {}), **document.data[table]}
    return schema.validate(App, document, merged)


def presets(paths: Paths | None = None) -> list[str]:
    """The names of all presets, sorted."""
    return sorted({one.stem for where in _places(paths) for one in where.glob("*.toml")})


def preset(name: str, paths: Paths | None = None) -> dict[str, Any] | None:
    """What a preset says, None when there is none of that name. ConfigError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    for where in _places(paths):
        path = where / f"{name}.toml"
        if path.is_file():
            document = conffile.read(path)
            schema.validate(Provider, document, document.data)
            return document.data
    return None


def _places(paths: Paths | None) -> Iterator[Path]:
    if paths is not None:
        yield paths.conf / "oauth_presets"
    yield _SHIPPED
