"""The suites run on the office of the end-to-end tests; where each suite lies is told by the environment."""

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import _numbers, account, new_office, office

__all__ = ["_numbers", "account", "given", "new_office", "office"]


@pytest.fixture
def given(request: pytest.FixtureRequest) -> Path:
    """The path in the variable that the test's `needs` mark names; skips when it is not set."""
    mark = request.node.get_closest_marker("needs")
    assert mark is not None
    value = os.environ.get(mark.args[0])
    if not value:
        pytest.skip(f"{mark.args[0]} is not set; see tests/suites/README.md")
    path = Path(value)
    assert path.exists(), f"{mark.args[0]}: {path} does not exist"
    return path
