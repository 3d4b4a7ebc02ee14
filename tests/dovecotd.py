"""Starting and ending a Dovecot whose configuration a test has written.

    start(config, run)       `run` is its base_dir; what it says on failure is the error
    stop(run)                waits for its end
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e import office

PROGRAM = "/usr/sbin/dovecot"
ORDERLY = 0.1  # seconds for sessions to end as they like


def start(config: Path, run: Path) -> None:
    """Until it has written its pid."""
    said = config.with_name("stderr")
    with said.open("wb") as file:  # not a pipe: the daemon would keep it open
        done = subprocess.run([PROGRAM, "-c", config], stdout=file, stderr=file, timeout=60, check=False)
    assert not done.returncode, said.read_text()
    office.until(lambda: _pid(run), what="Dovecot's pid")


def stop(run: Path) -> None:
    """Until its master has ended, which by itself waits a second for processes that do nothing any more."""
    pid = _pid(run)
    os.killpg(pid, signal.SIGTERM)
    time.sleep(ORDERLY)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    office.until(lambda: _ended(pid), what="Dovecot's end")
    (run / "master.pid").unlink(missing_ok=True)


def _ended(pid: int) -> bool:
    """It is nobody's child here, and whoever inherited it may take seconds to look after it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _pid(run: Path) -> int:
    """Of the master; 0 before it has written its file, which is there, and empty, a moment earlier."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((run / "master.pid").read_text())
    return 0
