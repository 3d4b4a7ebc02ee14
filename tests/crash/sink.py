"""An SMTP server that takes everything and counts it, in a thread of the tests: what relay sent, to whom, how often."""

import socketserver
import threading
from collections import Counter
from typing import Any


class Sink(socketserver.ThreadingTCPServer):
    """`taken` counts (subject, recipient); who starts with "no" is refused."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: Counter[tuple[str, str]] = Counter()
        self.guard = threading.Lock()
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error here."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(socketserver.StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        self._say("220 sink")
        recipients: list[str] = []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self._say("250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
            elif verb == b"MAIL" or verb == b"RSET":
                recipients = []
                self._say("250 ok")
            elif verb == b"RCPT":
                who = line.decode().partition("<")[2].partition(">")[0]
                answer = "550 5.1.1 no" if who.startswith("no") else ""
                recipients += [] if answer else [who]
                self._say(answer or "250 ok")
            elif verb == b"DATA" and recipients:
                self._say("354 go")
                self._mail(recipients)
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("503 no")

    def _mail(self, recipients: list[str]) -> None:
        subject = ""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                return  # cut off: nothing was handed over
            if line.startswith(b"Subject: ") and not subject:
                subject = line[9:].decode().strip()
        with self.server.guard:
            self.server.taken.update((subject, who) for who in recipients)
        self._say("250 2.0.0 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")
