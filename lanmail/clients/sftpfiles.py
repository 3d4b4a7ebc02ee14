"""Files to a server by SFTP, for the web space; the server's key must be the one that the settings name."""

import asyncio
import contextlib
from pathlib import Path
from typing import Self

import asyncssh

from lanmail import printable, secret
from lanmail.clients import tunnel
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import Unreachable


class UnknownKey(Unreachable):
    """The server showed a key that the settings do not name; `fingerprint` is like SHA256:…."""

    def __init__(self, host: str, fingerprint: str, known: str) -> None:
        self.fingerprint = fingerprint
        text = (f"sftp://{host} shows the key {fingerprint}, not {known}: somebody may be in between" if known else
                f"sftp://{host} shows the key {fingerprint}; nobody has said yet that it is the right one "
                "(webspace.host_key, or `lanmail webspace upload`)")
        super().__init__(text, 454, "4.7.5")


class _Client(asyncssh.SSHClient):
    def __init__(self, known: str) -> None:
        self.known, self.shown = known, ""
        self.connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key.get_fingerprint()
        return self.shown.rstrip("=") == self.known.rstrip("=")


class Sftp:
    """See lanmail.webspace.Files."""

    def __init__(self, way: Outgoing, conf: Path) -> None:
        self._way, self._conf = way, conf
        self._guard = _Client(way.webspace.host_key)
        self._client: asyncssh.SFTPClient | None = None
        self._directory = way.webspace.directory.rstrip("/")

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._way.webspace.timeout):
                await self._connect()
        except BaseException as error:
            await self.__aexit__()
            trouble = self._trouble(error)
            if trouble is error:
                raise
            raise trouble from error
        return self

    async def _connect(self) -> None:
        section, options = self._way.webspace, self._credentials()
        made = await tunnel.connect(section.host, section.port or 22, tunnel.of(self._way, self._conf), 30.0)
        connection = await asyncssh.connect(
            section.host, sock=made, username=section.user, known_hosts=([], [], []), agent_path=None,
            client_factory=lambda: self._guard, config=None, **options)
        self._client = await connection.start_sftp_client()
        if self._directory and not await self._client.isdir(self._directory):
            raise Temporary(f"{self._directory!r} is no directory (correct webspace.directory)", 451, "4.3.5")

    def _trouble(self, error: BaseException) -> BaseException:
        """Why there is no connection, in words that say what to correct."""
        section = self._way.webspace
        where = f"sftp://{section.host}"
        match error:
            case asyncssh.HostKeyNotVerifiable():
                return UnknownKey(section.host, self._guard.shown, section.host_key)
            case asyncssh.PermissionDenied():
                return Unreachable(f"{where}: the log-in was refused (correct webspace.user, webspace.password or "
                                   "webspace.private_key)", 451, "4.7.0")
            case TimeoutError():
                return Unreachable(f"{where} does not answer", 451, "4.4.1")
            case asyncssh.Error() | OSError() | ValueError():
                return Unreachable(f"{where}: {_clean(error)}", 451, "4.4.2")
            case Temporary():
                return Unreachable(f"{where}: {error.text}", error.code, error.dsn)
        return error

    def _credentials(self) -> dict[str, object]:
        section = self._way.webspace
        password = secret.read(section.password, self._conf).reveal() if section.password else None
        if section.private_key:
            key = asyncssh.read_private_key(str(self._conf / section.private_key), password)
            return {"client_keys": [key], "password": None}
        return {"client_keys": None, "password": password}

    async def __aexit__(self, *_error: object) -> None:
        if self._guard.connection is not None:
            self._guard.connection.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._guard.connection.wait_closed(), 5.0)

    @property
    def _made(self) -> asyncssh.SFTPClient:
        assert self._client is not None
        return self._client

    def _path(self, path: str) -> str:
        return f"{self._directory}/{path}" if self._directory else path

    async def put(self, path: str, data: bytes) -> None:
        """Whole under another name first; then the size is compared, and it is renamed."""
        section, target = self._way.webspace, self._path(path)
        temporary = f"{target}.part"
        try:
            async with asyncio.timeout(section.timeout):
                async with self._made.open(temporary, "wb") as file:
                    await file.write(data)
                size = (await self._made.stat(temporary)).size
                if size is not None and size != len(data):
                    raise OSError(f"{size} octets of {len(data)} arrived")
                try:
                    await self._made.posix_rename(temporary, target)
                except asyncssh.SFTPError:  # a server without that extension does not replace
                    if await self._made.exists(target):
                        await self._made.remove(target)
                    await self._made.rename(temporary, target)
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"sftp://{section.host}: storing {path}: {_clean(error)}", 451, "4.3.0") from error

    async def make_directory(self, path: str) -> None:
        """Make a directory, unless it is there."""
        section = self._way.webspace
        try:
            async with asyncio.timeout(section.timeout):
                await self._made.makedirs(self._path(path), exist_ok=True)
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"sftp://{section.host}: making {path}: {_clean(error)}", 451, "4.3.0") from error


def _clean(error: BaseException) -> str:
    return printable.line(str(error)[:200]) or type(error).__name__
