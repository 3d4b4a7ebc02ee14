"""Fixtures that several test modules share."""

import os

import argon2
import hypothesis
import pytest

from lanmail import passwords
from tests import smtp_host

# A run of all tests tries the same values each time, and none for a limited time: what it says depends on the code
# alone. `make fuzz` tries others.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A hash of a password is meant to be dear. Each server that a test starts in its own process makes one, thousands in a
# run of all tests; programs that are started have the true ones.
DEAR = passwords._HASHER
passwords._HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def dear_hashes(monkeypatch):
    """Hashes of passwords as in service."""
    monkeypatch.setattr(passwords, "_HASHER", DEAR)


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
