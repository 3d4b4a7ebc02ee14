"""A program as a filter: the message on stdin, the answer in its exit code, header lines on stdout.

    exit 0     accept               header lines on stdout are put on the mail
    exit 1     reject               the first line of stdout, else of stderr, says why
    exit 2     it is spam           header lines are put on the mail; X-Spam-Flag: YES without any
    exit 75    ask again later (EX_TEMPFAIL)

Anything else, a death by a signal, a traceback of Python, or no answer in time means that it does not work.

It runs without a shell, without arguments and in a session of its own, with limits of memory and CPU time; when its
time is over all of it is killed. Its environment is SENDER, RECIPIENT, ACCOUNT, ID, ORIGIN and CLIENT, nothing of ours.
"""

import contextlib
import os
import resource
import selectors
import signal
import stat
import subprocess

from lanmail.filters import ACCEPT, DEFER, REJECT, TAG, Broken, Deadline, Question, Verdict, header_lines
from lanmail.filters.options import Filtering

MAX_OUTPUT = 64 << 10
SPAM = b"X-Spam-Flag: YES\n"


def ask(path: str, question: Question, options: Filtering) -> Verdict:
    """Run it. Broken; OSError of the message itself."""
    check(path)
    message = os.open(f"/proc/self/fd/{question.fd}", os.O_RDONLY | os.O_CLOEXEC)  # with a position of its own
    try:
        os.lseek(message, question.offset, os.SEEK_SET)
        code, said, complained = _run(path, message, _environment(question), options)
    finally:
        os.close(message)
    if code == 0:
        return Verdict(ACCEPT, lines=header_lines(said)[0])
    if code == 1 and not (complained.lstrip().startswith("Traceback ") and not said.strip()):
        return Verdict(REJECT, _first(said) or _first(complained) or "the filter says no")
    if code == 2:
        return Verdict(TAG, lines=header_lines(said)[0] or SPAM)
    if code == os.EX_TEMPFAIL:
        return Verdict(DEFER, _first(said) or _first(complained) or "the filter wants it later")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    raise Broken(f"it ended with {how}: {_first(complained) or _first(said) or 'without a word'}")


def check(path: str) -> None:
    """Refuse what somebody else than its owner and we could have put there. Broken."""
    try:
        found, around = os.stat(path), os.stat(os.path.dirname(path))
    except OSError as error:
        raise Broken(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        raise Broken(f"{path} is no program that can be run")
    for one, what in ((found, path), (around, os.path.dirname(path))):
        sticky = one is around and one.st_mode & stat.S_ISVTX
        if one.st_mode & 0o022 and not sticky:
            raise Broken(f"others than its owner may write to {what}: chmod go-w {what}")
    if found.st_uid not in (0, os.geteuid()):
        raise Broken(f"{path} must belong to root or to the user lanmail runs as")


def _environment(question: Question) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/",
        "SENDER": question.sender, "RECIPIENT": " ".join(question.recipients), "ACCOUNT": question.account,
        "ID": question.id, "ORIGIN": question.origin, "CLIENT": question.client,
    }


def _run(path: str, message: int, environment: dict[str, str], options: Filtering) -> tuple[int, str, str]:
    deadline = Deadline(options.timeout)
    try:
        child = subprocess.Popen([path], stdin=message, stdout=subprocess.PIPE, stderr=subprocess.PIPE,  # noqa: S603
                                 env=environment, cwd="/", start_new_session=True)
    except OSError as error:
        raise Broken(f"{path} cannot be run: {error.strerror}") from error
    with child:
        try:
            with contextlib.suppress(OSError):  # it has ended, or has rights of its own
                seconds = max(1, round(options.timeout))
                resource.prlimit(child.pid, resource.RLIMIT_AS, (options.memory, options.memory))
                resource.prlimit(child.pid, resource.RLIMIT_CPU, (seconds, seconds))
                resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))
            said, complained = _output(child, deadline)
        finally:  # it is not waited for yet, so the number is still that of its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, said, complained


def _output(child: "subprocess.Popen[bytes]", deadline: Deadline) -> tuple[str, str]:
    """What it writes until it ends; beyond MAX_OUTPUT it is read and forgotten."""
    assert child.stdout is not None
    assert child.stderr is not None
    got = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    ended = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for descriptor in (ended, *got):
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            over = False
            while not over:
                ready = [key.fd for key, _ in selector.select(deadline.left())]
                over = ended in ready
                for descriptor in got if over else ready:  # its last words may have come after the look at the pipes
                    if not _collect(descriptor, got[descriptor]) and descriptor in selector.get_map():
                        selector.unregister(descriptor)
    finally:
        os.close(ended)
    said, complained = (bytes(one).decode("utf-8", "replace") for one in got.values())
    return said, complained


def _collect(descriptor: int, into: bytearray) -> bool:
    """Read what is there now; False at the end of the pipe."""
    for _ in range(64):  # it may write faster than we read
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        into += data[: MAX_OUTPUT - len(into)]
    return True


def _first(text: str) -> str:
    """The first line that says something, for people."""
    line = next((one for one in text.splitlines() if one.strip()), "")
    return " ".join("".join(one if one.isprintable() else " " for one in line).split())[:200]
