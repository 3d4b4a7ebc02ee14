"""Files to a server by FTP or FTPS (RFC 959, RFC 4217), for the web space.

ftplib does the work, in a thread of each connection's own, for a server may keep it waiting; connections, control and
data, go through our proxies, and TLS is as the settings wish. Data connections go to the host we know, whatever
address the server names.
"""

import asyncio
import contextlib
import ftplib
import io
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from lanmail import printable, secret
from lanmail.clients import tlsclient, tunnel
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import Unreachable

T = TypeVar("T")
MAX_LINES = 1000  # of one answer


class _Client(ftplib.FTP_TLS):
    """ftplib's client on sockets of ours."""

    def __init__(self, dial: Callable[[str, int], socket.socket], context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(context=context, timeout=seconds, encoding="utf-8")
        self._dial = dial

    def connect(self, host: str = "", port: int = 0, timeout: float = 0.0,
                source_address: tuple[str, int] | None = None) -> str:
        self.host, self.port = host, port
        self.sock = self._dial(host, port)
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def getmultiline(self) -> str:
        lines = [self.getline()]
        if lines[0][3:4] != "-":
            return lines[0]
        while len(lines) < MAX_LINES:
            lines.append(self.getline())
            if lines[-1][:3] == lines[0][:3] and lines[-1][3:4] != "-":
                return "\n".join(lines)
        raise ftplib.error_proto("an answer without end")

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        _, port = self.makepasv()
        line = self._dial(self.host, port)
        try:
            answer = self.sendcmd(cmd)
            if answer[0] == "2":
                answer = self.getresp()
            if answer[0] != "1":
                raise ftplib.error_reply(answer)
            if getattr(self, "_prot_p", False):
                assert isinstance(self.sock, ssl.SSLSocket)
                # servers want the session of the control connection again, to know that it is the same client
                line = self.context.wrap_socket(line, server_hostname=self.host, session=self.sock.session)
            return line, None
        except BaseException:
            line.close()
            raise


class Ftp:
    """See lanmail.webspace.Files."""

    def __init__(self, way: Outgoing, conf: Path) -> None:
        self._way, self._conf = way, conf
        self._client: _Client | None = None
        self._thread = ThreadPoolExecutor(1, "ftp")

    async def _run(self, work: Callable[[], T], what: str) -> T:
        section = self._way.webspace
        where = f"{section.upload}://{section.host}"
        try:
            async with asyncio.timeout(section.timeout):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError as error:
            self._hang_up()  # ends the thread's waiting, too
            raise Unreachable(f"{where}: {what}: no end within {section.timeout:.0f} s", 451, "4.4.2") from error
        except ssl.SSLError as error:
            raise Unreachable(f"{where}: {tlsclient.reason(error)}", 454, "4.7.5") from error
        except ftplib.error_perm as error:
            raise Unreachable(f"{where}: {what}: the server says {_clean(error)}", 451, "4.3.5") from error
        except (ftplib.Error, EOFError, OSError) as error:
            raise Unreachable(f"{where}: {what}: {_clean(error) or 'the connection is lost'}", 451, "4.4.2") from error
        except Unreachable:
            raise
        except Temporary as error:
            raise Unreachable(f"{where}: {error.text}", error.code, error.dsn) from error

    async def __aenter__(self) -> Self:
        directory = self._way.webspace.directory
        try:
            await self._run(self._connect, "connecting")
            await self._run(self._login, "logging in (correct webspace.user and webspace.password)")
            if directory:
                await self._run(lambda: self._made.cwd(directory),
                                f"changing to {directory!r} (correct webspace.directory)")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._hang_up()
        self._thread.shutdown(wait=False)

    def _hang_up(self) -> None:
        if self._client is not None and self._client.sock is not None:
            with contextlib.suppress(OSError):
                self._client.sock.shutdown(socket.SHUT_RDWR)
            self._client.close()

    @property
    def _made(self) -> _Client:
        assert self._client is not None
        return self._client

    def _connect(self) -> None:
        section = self._way.webspace
        via = tunnel.of(self._way, self._conf)

        def dial(host: str, port: int) -> socket.socket:
            made = asyncio.run(tunnel.connect(host, port, via, 30.0))
            made.settimeout(section.timeout)
            return made

        wish = tlsclient.wish(self._way, self._conf)
        self._client = _Client(dial, tlsclient.context(wish), section.timeout)
        self._client.connect(section.host, section.port or 21)
        if section.upload == "ftps":
            self._client.auth()
            assert isinstance(self._client.sock, ssl.SSLSocket)
            tlsclient.check(wish, self._client.sock)

    def _login(self) -> None:
        section = self._way.webspace
        password = secret.read(section.password, self._conf).reveal() if section.password else ""
        secure = section.upload == "ftps"
        self._made.login(section.user, password, secure=False)  # TLS, if any, is there already
        if secure:
            self._made.prot_p()

    async def put(self, path: str, data: bytes) -> None:
        """Whole under another name first; then the size is compared, and it is renamed."""
        def work() -> None:
            client, temporary = self._made, f"{path}.part"
            client.storbinary(f"STOR {temporary}", io.BytesIO(data))
            client.voidcmd("TYPE I")
            size = client.size(temporary)
            if size is not None and size != len(data):
                raise OSError(f"{size} octets of {len(data)} arrived")
            try:
                client.rename(temporary, path)
            except ftplib.error_perm:  # some servers do not replace
                client.delete(path)
                client.rename(temporary, path)

        await self._run(work, f"storing {path}")

    async def make_directory(self, path: str) -> None:
        """Make a directory; one that is there is found by changing into it."""
        def work() -> None:
            client = self._made
            here = client.pwd()
            try:
                client.cwd(path)
            except ftplib.error_perm:
                client.mkd(path)
            else:
                client.cwd(here)

        await self._run(work, f"making the directory {path}")


def _clean(error: BaseException) -> str:
    return printable.line(str(error)[:200])
