"""Fixtures that several test modules share."""

import pytest

from tests import smtp_host


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return smtp_host.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def office(tmp_path, certificate):
    """Start an SMTP server: `await office(smtpd="max_size = 1000")`."""
    hosts = []

    async def begin(smtpd: str = "", more: str = "") -> smtp_host.Host:
        hosts.append(await smtp_host.start(tmp_path / f"root{len(hosts)}", smtpd, more, certificate))
        return hosts[-1]

    yield begin
    for host in hosts:
        await host.close()
