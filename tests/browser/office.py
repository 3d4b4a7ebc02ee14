"""An office with something on every page, and hostile words wherever words come from mail or people."""

from pathlib import Path

from lanmail import paths
from tests import browsing

EVIL = '"><svg onload=alert(1)>'
TOML_EVIL = EVIL.replace('"', '\\"')


def lay_out(root: Path, *, accounts: int = 3) -> paths.Paths:
    """chef is administrator; meier, and some more."""
    more = {f"user{number:03}": f'full_name = "Person {number} {TOML_EVIL}"\n' for number in range(accounts)}
    return browsing.lay_out(root, **more)
