"""A web space with our PHP scripts (share/php): files go there by FTP, FTPS or SFTP, calls by HTTP.

    files(way, house) -> Files               a connection for files; `async with`
    call(way, house, op, id, sha256) -> dict     what the script answers; Unreachable, Temporary
    scripts(way, house) -> dict of path → bytes  what is uploaded, lanmail_config.php with the settings included
    name_of(key, part) -> str                the id of a mail there, which nobody can guess

A call is good for once: it carries the time, a nonce, and an HMAC over all its fields. The script never sees the script
password itself, only a key that is made of it.
"""

import functools
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlencode

from lanmail import printable, secret
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing, Webspace
from lanmail.transports import House, Unreachable

MIN_PASSWORD = 20
ENTRY = "lanmail.php"
CONFIG = "lanmail_config.php"
SPOOL = "spool"
_ROUNDS = 100_000
_NOWHERE = frozenset({301, 302, 303, 307, 308, 404, 405, 410})


class Files(Protocol):
    """A connection that puts files into the directory of the web space. Every method raises Unreachable, Temporary."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_error: object) -> None: ...

    async def put(self, path: str, data: bytes) -> None:
        """Make or replace a file; it appears whole, and has the size it should have."""

    async def make_directory(self, path: str) -> None:
        """Make a directory, unless it is there."""


def files(way: Outgoing, house: House) -> Files:
    """A connection by the way that the settings name; not yet made."""
    if not way.webspace.host:
        raise Unreachable("webspace.host names no FTP or SFTP server", 451, "4.3.5")
    if way.webspace.upload == "sftp":
        from lanmail.clients import sftpfiles  # asyncssh takes its time

        return sftpfiles.Sftp(way, house.paths.conf)
    from lanmail.clients import ftpfiles

    return ftpfiles.Ftp(way, house.paths.conf)


def key_of(section: Webspace, conf: Path) -> str:
    """What the calls are signed with. Temporary when there is no good script password."""
    password = secret.read(section.script_password, conf).reveal() if section.script_password else ""
    if len(password) < MIN_PASSWORD:
        raise Unreachable(f"webspace.script_password must have {MIN_PASSWORD} characters or more; "
                          "`lanmail webspace upload` makes one when none is named", 451, "4.3.5")
    return _key(password)


@functools.lru_cache(maxsize=100)
def _key(password: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"lanmail webspace", _ROUNDS).hex()


def name_of(key: str, part: str) -> str:
    """The id of a part of a mail on the web space."""
    return hmac.new(key.encode(), part.encode(), "sha256").hexdigest()[:40]


async def call(way: Outgoing, house: House, op: str, name: str, sha256: str = "0" * 64) -> dict[str, Any]:
    """Call the script. Unreachable, Temporary."""
    section = way.webspace
    if not section.url:
        raise Unreachable("webspace.url names no place where lanmail.php is called", 451, "4.3.5")
    fields = {"v": "1", "op": op, "id": name, "ts": str(int(time.time())), "nonce": secrets.token_hex(16),
              "sha256": sha256}
    key = key_of(section, house.paths.conf)
    fields["mac"] = hmac.new(key.encode(), "\n".join(fields.values()).encode(), "sha256").hexdigest()
    body = urlencode(fields).encode()
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    request = httpclient.Request("POST", url_of(section), headers, (body,), len(body))
    conf = house.paths.conf
    try:
        answer = await httpclient.send(request, tlsclient.wish(way, conf), tunnel.of(way, conf), section.timeout)
    except Temporary as error:
        raise Unreachable(error.text, error.code, error.dsn) from error
    return _understood(answer, section)


def url_of(section: Webspace) -> str:
    """Where the script is called."""
    return section.url if section.url.endswith(".php") else f"{section.url.rstrip('/')}/{ENTRY}"


def _understood(answer: httpclient.Answer, section: Webspace) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if answer.status == 200 and isinstance(found, dict) and found.get("ok") is True:
        return found
    said = f"HTTP {answer.status} {answer.reason}"
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        why = printable.line(found["error"])[:200]
        raise (Temporary if answer.status in (404, 409, 423) else Unreachable)(f"{said}: {why}", 451, "4.3.0")
    if answer.status in _NOWHERE:
        raise Unreachable(f"{said}: {url_of(section)} is not our script; correct webspace.url or webspace.directory, "
                          "they must be the same place", 451, "4.3.5")
    raise Unreachable(f"{said}: {url_of(section)} does not answer as our script: {answer.excerpt()}", 451, "4.3.5")


def scripts(way: Outgoing, house: House) -> dict[str, bytes]:
    """The files of the web space by path, with a new copy number."""
    found = {}
    source = directory()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(source))] = path.read_bytes()
    if ENTRY not in found:
        raise Temporary(f"the scripts are missing: {source / ENTRY}", 451, "4.3.5")
    found[CONFIG] = _config(way, house)
    return found


def directory() -> Path:
    """Where the scripts lie: beside the package, in a checkout and where `make install` puts it."""
    return Path(__file__).resolve().parents[1] / "share/php"


def _config(way: Outgoing, house: House) -> bytes:
    section, conf = way.webspace, house.paths.conf
    password = secret.read(section.smtp_password, conf).reveal() if section.smtp_password else ""
    values = {
        "copy": secrets.token_hex(8), "key": key_of(section, conf), "mode": section.mode,
        "helo": way.helo or house.settings().server.hostname, "smtp_host": section.smtp_host,
        "smtp_port": str(section.smtp_port), "smtp_tls": section.smtp_tls, "smtp_user": section.smtp_user,
        "smtp_password": password,
    }
    lines = "".join(f"    '{name}' => {_php(value)},\n" for name, value in values.items())
    return ("<?php\n/* Written by lanmail when it uploaded the scripts; do not edit. */\n"
            f"if (!defined('LANMAIL')) {{\n    exit;\n}}\nreturn array(\n{lines});\n").encode()


def _php(text: str) -> str:
    """A string of PHP in single quotes: only these two are special there."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
