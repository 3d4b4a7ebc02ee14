"""A GSM modem for tests: answers AT commands on a TCP port and keeps the messages it is told to send."""

import re
import socket
import threading
import time

from lanmail.sms import gsm7

ANSWERS = {"CREG?": b"\r\n+CREG: 0,1\r\n", "CSQ": b"\r\n+CSQ: 20,0\r\n"}


class Modem:
    """`sent` are the PDUs of AT+CMGS in hexadecimal digits."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait(self, count: int) -> None:
        """Until so many messages have come, or half a minute."""
        end = time.monotonic() + 30
        while len(self.sent) < count and time.monotonic() < end:
            time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._server.accept()
            except OSError:
                return
            with one:
                self._serve(one)

    def _serve(self, one: socket.socket) -> None:
        waiting = b""
        while data := one.recv(4096):
            waiting += data
            while match := re.match(rb"([^\r\x1a]*)([\r\x1a])\n?", waiting):
                waiting = waiting[match.end():]
                said = match[1].strip().decode()
                if match[2] == b"\x1a":
                    self.sent.append(said)
                    one.sendall(b"\r\n+CMGS: 1\r\n\r\nOK\r\n")
                elif said.startswith("AT+CMGS"):
                    one.sendall(b"\r\n> ")
                else:
                    extra = b"".join(answer for word, answer in ANSWERS.items() if word in said)
                    one.sendall(extra + b"\r\nOK\r\n")


def decode(pdu: str) -> tuple[str, str]:
    """An SMS-SUBMIT (3GPP TS 23.040 §9.2.2.2) without a header of parts: the number and the text."""
    raw = bytes.fromhex(pdu)
    raw = raw[1 + raw[0]:]  # the service centre
    assert raw[0] & 0x43 == 0x01, "a submit, and no part of several"
    digits = raw[2]
    number = "".join(f"{one & 15:x}{one >> 4:x}" for one in raw[4 : 4 + (digits + 1) // 2])[:digits]
    rest = raw[4 + (digits + 1) // 2 :]
    coding = rest[1]
    period = {0: 0, 2: 1}.get((raw[0] >> 3) & 3, 7)
    length, body = rest[2 + period], rest[3 + period :]
    if coding & 0x0C == 8:
        return number, body[:length].decode("utf-16-be")
    bits = int.from_bytes(body, "little")
    septets = [bits >> 7 * place & 127 for place in range(length)]
    return number, _unpacked(septets)


EXTENDED = {0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|",
            0x65: "€"}


def _unpacked(septets: list[int]) -> str:
    text, escaped = "", False
    for one in septets:
        if one == 27 and not escaped:
            escaped = True
            continue
        text += EXTENDED[one] if escaped else gsm7.BASIC[one]
        escaped = False
    return text
