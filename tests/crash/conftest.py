"""The rig of a test, and what must hold after every one of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crash.rig import Rig


@pytest.fixture
def rig(tmp_path):
    """A server under a temporary root, stopped at the end; no program may have logged a bug of its own."""
    made = Rig(tmp_path / "root")
    yield made
    made.close()
    assert made.injected or not made.errors()


@pytest.fixture
def mount(tmp_path):
    """mount(*arguments, at=Path): a file system for one test, taken away at the end. Root only."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def do(*arguments: str, at: Path) -> Path:
        at.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(at)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this machine does not let us mount: {done.stderr.strip()}")
        mounted.append(at)
        return at

    yield do
    for at in reversed(mounted):
        subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True)


@pytest.fixture(scope="session")
def strace():
    """Skip where strace is missing or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
