"""The PROXY protocol in front of the real programs: limits, rules and logs see the client, not the load balancer."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import dialogs

pytestmark = pytest.mark.slow
CLIENT = "192.0.2.7"
V1 = f"PROXY TCP4 {CLIENT} 127.0.0.1 40000 110\r\n".encode()
V2 = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12)
      + socket.inet_aton(CLIENT) + socket.inet_aton("127.0.0.1") + bytes([0, 1, 0, 2]))
PORTS = {"pop3d.port": "+OK", "imapd.port": "* OK", "smtpd.mx_port": "220"}
TLS_PORTS = {"pop3d.tls_port": "+OK", "imapd.tls_port": "* OK", "smtpd.submissions_port": "220"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dialogs.Site]:
    site = dialogs.Site(tmp_path_factory.mktemp("proxy") / "root",
                        'proxy_networks = ["127.0.0.1"]\n[smtpd]\nmin_free = 0\n[log]\nlevel = "debug"')
    for name in PORTS:
        site.start(name.partition(".")[0], name)
    yield site
    site.stop()
    assert "internal-error" not in site.log()


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", PORTS)
def test_the_client_is_the_one_the_balancer_names(site: dialogs.Site, name: str, header: bytes) -> None:
    line = dialogs.Line(site.port(name))
    line.send(header)
    said = line.read()
    assert said is not None
    assert said.startswith(PORTS[name])
    if name == "pop3d.port":  # not one of the networks that may log in without TLS
        line.send(b"USER meier\r\n")
        assert (line.read() or "").startswith("-ERR Use TLS first")
    line.close()


@pytest.mark.parametrize("name", TLS_PORTS)
def test_tls_comes_after_the_header(site: dialogs.Site, name: str) -> None:
    line = dialogs.Line(site.port(name))
    line.send(V1)
    line.start_tls()
    assert (line.read() or "").startswith(TLS_PORTS[name])
    line.close()


@pytest.mark.parametrize("name", PORTS)
def test_a_balancer_without_header_is_sent_away(site: dialogs.Site, name: str) -> None:
    line = dialogs.Line(site.port(name))
    line.send(b"NOOP\r\n" * 20)
    assert line.read() is None
    line.close()


def test_nobody_else_may_speak_it(tmp_path: Path) -> None:
    site = dialogs.Site(tmp_path / "root")
    site.start("pop3d", "pop3d.port")
    line = dialogs.Line(site.port("pop3d.port"))
    line.read()
    line.send(V1)
    assert line.read() == "-ERR Unknown command"
    line.close()
    site.stop()
