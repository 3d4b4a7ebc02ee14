"""Starting and ending a Dovecot whose configuration a test has written.

    start(config, run)       `run` is its base_dir; what it says on failure is the error
    stop(config, run)        waits for its end
"""

import contextlib
import subprocess
from pathlib import Path

from tests.e2e import office

PROGRAM = "/usr/sbin/dovecot"


def start(config: Path, run: Path) -> None:
    """Until it has written its pid."""
    said = config.with_name("stderr")
    with said.open("wb") as file:  # not a pipe: the daemon would keep it open
        done = subprocess.run([PROGRAM, "-c", config], stdout=file, stderr=file, timeout=20, check=False)
    assert not done.returncode, said.read_text()
    office.until(lambda: _pid(run), what="Dovecot's pid")


def stop(config: Path, run: Path) -> None:
    """Until its master is gone."""
    pid = _pid(run)
    subprocess.run([PROGRAM, "-c", config, "stop"], check=True, timeout=20)
    office.until(lambda: not Path(f"/proc/{pid}").exists(), what="Dovecot's end")


def _pid(run: Path) -> int:
    """Of the master; 0 before it has written its file, which is there, and empty, a moment earlier."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((run / "master.pid").read_text())
    return 0
