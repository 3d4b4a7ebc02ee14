"""What a transport does not offer: the real socket under it."""

import array
import asyncio
import fcntl
import socket
import termios


class Wire:
    """The socket of a transport, for options only; it stays the transport's."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        pseudo = transport.get_extra_info("socket")
        # family and type told, else they are asked from the kernel; for what is done here any family will do
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=pseudo.fileno())

    def let_go(self) -> None:
        """The transport is closed: the descriptor belongs to somebody else now."""
        self._socket.detach()

    def acknowledge(self) -> None:
        """Acknowledge what was read at once. The kernel forgets this wish, so it is made after each read that gets no
        answer: without it a client that sends a mail in small pieces waits 40 ms for an ACK (fetchmail: 21 mails/s)."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def unread(self) -> int:
        """Octets that the client has sent and nobody has read."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._socket, termios.FIONREAD, waiting)
        return waiting[0]

