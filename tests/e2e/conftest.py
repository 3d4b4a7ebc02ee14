"""The office that the tests of a worker share: accounts are cheap, servers are not."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.office import Office


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A running lanmail. Its whole log is searched for secrets at the end."""
    made = Office(tmp_path_factory.mktemp("office"))
    made.start()
    yield made
    assert made.stop() == 0
    said = made.log() + (made.root / "stderr").read_text()
    assert not [name for name, password in made.passwords.items() if password in said], "a password is in the log"
    assert "Traceback" not in said


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def account(office: Office, _numbers: Iterator[int]) -> str:
    """A fresh account of the shared office."""
    name = f"user{next(_numbers)}"
    office.account(name)
    return name


@pytest.fixture
def new_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Office]]:
    """Offices of a test's own, stopped at its end."""
    made: list[Office] = []

    def make(**keys: object) -> Office:
        made.append(Office(tmp_path_factory.mktemp("office"), **keys))
        return made[-1]

    yield make
    for one in made:
        one.stop()
