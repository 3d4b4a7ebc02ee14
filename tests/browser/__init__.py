"""The pages in a real browser: Chromium of Debian, driven by Playwright; axe-core (npm) looks for barriers.

`.ci/run` installs both (`npm ci --prefix tests/browser`); without them these tests skip and say so. LANMAIL_AXE names
another directory with a node_modules.
"""

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def chromium() -> str:
    """The browser's path."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium here: apt install chromium")
    return found


def axe() -> str:
    """The script that finds what people with other eyes and hands than most would stumble over."""
    path = Path(os.environ.get("LANMAIL_AXE", HERE)) / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        pytest.skip("no axe-core here: npm ci --prefix tests/browser")
    return path.read_text()
