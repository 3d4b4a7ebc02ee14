"""A provider's endpoints and a mail server that takes its tokens, in threads: they answer what their script says.

For faults and answers that the real ones (tests/e2e) do not give, and for commands with an event loop of their own.
"""

import base64
import http.server
import json
import re
import socketserver
import threading
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from lanmail.oauth.apps import App


class _Threaded:
    """Serves in a thread while it is entered."""

    server: socketserver.BaseServer

    def __enter__(self) -> Any:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


class Provider(_Threaded):
    """`script`: path → answers (status, JSON or raw bytes), one after the other; the last one is repeated."""

    def __init__(self, **script: list[tuple[int, Any]]) -> None:
        self.script = {f"/{name}": list(answers) for name, answers in script.items()}
        self.requests: list[tuple[str, dict[str, str]]] = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                provider.requests.append((self.path, dict(parse_qsl(body))))
                self._say()

            def do_GET(self) -> None:
                provider.requests.append((self.path, {}))
                self._say()

            def _say(self) -> None:
                answers = provider.script.get(self.path, [(404, b"")])
                status, said = answers.pop(0) if len(answers) > 1 else answers[0]
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """An app's file."""
        return {"client_id": "us", "authorize_url": f"{self.url}/authorize", "token_url": f"{self.url}/token",
                "scopes": {"common": ["offline_access"], "imap": ["IMAP"], "smtp": ["SMTP"]}, "use": ["imap", "smtp"],
                **more}

    def app(self, **more: Any) -> App:
        """The app itself."""
        return App.model_validate({"name": "test", **self.settings(**more)})


class Mailserver(_Threaded):
    """SMTP with XOAUTH2 and nothing behind it. `good`: user → token; everybody else hears `refusal`."""

    def __init__(self, refusal: str = "535 5.7.8 Authentication failed") -> None:
        self.good: dict[str, str] = {}
        self.tried: list[tuple[str, str]] = []
        mail = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 mail.example")
                for line in self.rfile:
                    verb, _, rest = line.decode().strip().partition(" ")
                    if verb == "EHLO":
                        self._say("250-mail.example")
                        self._say("250 AUTH XOAUTH2")
                    elif verb == "AUTH":
                        plain = base64.b64decode(rest.split()[1]).decode()
                        found = re.fullmatch("user=(.*)\x01auth=Bearer (.*)\x01\x01", plain)
                        assert found
                        mail.tried.append((found[1], found[2]))
                        self._say("235 ok" if mail.good.get(found[1]) == found[2] else refusal)
                    else:
                        self._say("221 bye")

            def _say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)


def id_token(**claims: Any) -> str:
    """A JWT with a signature that nobody looks at."""
    body = base64.urlsafe_b64encode(json.dumps({"aud": "us", **claims}).encode()).rstrip(b"=").decode()
    return f"e30.{body}.x"


def granted(**more: Any) -> tuple[int, dict[str, Any]]:
    """A token endpoint's good answer."""
    return 200, {"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3600,
                 "scope": "IMAP SMTP", **more}
