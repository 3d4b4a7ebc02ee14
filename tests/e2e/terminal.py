"""Full-screen programs on a terminal that nobody sees."""

import contextlib
import os
import pty
import subprocess
import threading

from tests.e2e.office import Office


def on_a_terminal(office: Office, *command: str) -> str:
    """Run a full-screen program to its end; all that it drew."""
    env = {"HOME": str(office.home), "TERM": "xterm", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    ours, its = pty.openpty()
    drawn: list[bytes] = []

    def drain() -> None:
        with contextlib.suppress(OSError):    # EIO: the program and all its children are gone
            while data := os.read(ours, 65536):
                drawn.append(data)

    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True, env=env) as process:
        os.close(its)
        reader = threading.Thread(target=drain)
        reader.start()
        try:
            status = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            status = -1
        reader.join()
    os.close(ours)
    screen = b"".join(drawn).decode(errors="replace")
    assert status == 0, screen[-3000:]
    return screen
