"""The second look of `make test`: what failed runs once more, by itself.

Many tests start real servers and clients, kill them, and watch; on a machine that stands still for a moment, such a
test can fail though nothing is wrong. What fails again is a fault. What does not is named as UNSTABLE: a test to be
mended, or a race in a program, but no reason to stop a change that has nothing to do with it. More than MANY failures
are never looked at twice, nor is a run that broke off.
"""

import json
import subprocess
import sys
from pathlib import Path

MANY = 5
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed() -> list[str]:
    """The tests that failed in the last run."""
    try:
        return sorted(json.loads(FAILED.read_text()))
    except (OSError, ValueError):
        return []


def main() -> int:
    """0 if all of them pass now."""
    names = failed()
    if not 0 < len(names) <= MANY:
        return 1
    print(f"\nonce more: {len(names)} that failed")
    status = subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:randomly", *names]).returncode
    for name in names if status == 0 else ():
        print(f"UNSTABLE: {name} failed first and passed alone")
    return status


if __name__ == "__main__":
    sys.exit(main())
