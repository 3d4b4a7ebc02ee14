"""Fixtures that several test modules share."""

import pytest
from _pytest.nodeid import NodeId

from tests import smtp_host


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Tests of one xdist_group share a worker (--dist loadgroup), which is told by their ids.

    pytest-xdist 3.8 writes the group where pytest 9.2 does not read it any more, so every mark was without effect.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None:
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


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
