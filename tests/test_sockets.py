"""Listening: all or nothing, a clear reason, and sockets handed over by systemd."""

import os
import socket
import subprocess
import sys

import pytest

from lanmail import sockets
from lanmail.sockets import Listener
from tests import ports


@pytest.fixture
def free_port():
    return ports.free()


def test_bound_and_listening(free_port):
    bound = sockets.open_all([Listener("smtp", "mx", ("127.0.0.1",), free_port)])
    try:
        assert str(bound[0]) == f"smtp=127.0.0.1:{free_port}"
        with socket.create_connection(("127.0.0.1", free_port), timeout=5):
            pass
    finally:
        for one in bound:
            one.socket.close()


def test_a_port_in_use_closes_the_others_and_says_what_to_do(free_port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wishes = [Listener("pop3", "pop3", ("127.0.0.1",), free_port), Listener("imap", "imap", ("127.0.0.1",), port)]
        with pytest.raises(sockets.CannotListen, match=rf"port {port} \(imap\).*Another program has this port"):
            sockets.open_all(wishes)
    with socket.socket() as again:
        again.bind(("127.0.0.1", free_port))


def test_an_address_nobody_has(free_port):
    with pytest.raises(sockets.CannotListen, match="No interface has this address"):
        sockets.open_all([Listener("smtp", "mx", ("192.0.2.1",), free_port)])


HANDED_OVER = """
import os, socket, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from lanmail import sockets
bound = sockets.open_all([sockets.Listener("smtp", "mx", ("192.0.2.1",), 25)])
print(len(bound), bound[0].socket.fileno(), "LISTEN_FDS" in os.environ, bound[0].socket.getblocking())
"""


def test_a_socket_from_systemd_is_taken_by_its_name():
    """The address of the listener cannot be bound here, so only the handed-over socket can satisfy it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()

        def third() -> None:
            os.dup2(one.fileno(), 3)

        environment = dict(os.environ, LISTEN_FDS="1", LISTEN_FDNAMES="smtp")
        done = subprocess.run(
            [sys.executable, "-c", HANDED_OVER], env=environment, pass_fds=[3], preexec_fn=third, capture_output=True,
            text=True, check=False,
        )
    assert done.stdout.split() == ["1", "3", "False", "False"], done.stderr


def test_connections_leave_room_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((1024, 492), (65_536, 1000), (64, 12), (10, 1), (-1, 1000)):
        monkeypatch.setattr(os, "sysconf", lambda _name, files=files: files)
        assert sockets.most_connections(1000) == most


def test_the_limit_of_open_files_is_raised_as_far_as_it_may() -> None:
    code = ("import resource as r; from lanmail import sockets; r.setrlimit(r.RLIMIT_NOFILE, (64, {hard})); "
            "sockets.raise_limit(); print(*r.getrlimit(r.RLIMIT_NOFILE))")
    for hard, soft in ((256, 256), (2000, 2000)):
        command = [sys.executable, "-c", code.format(hard=hard)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(soft), str(hard)]
