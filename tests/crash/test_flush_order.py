"""What reaches the disk before what, as the kernel sees it: 250 after the fsync, removal after the delivery."""

import re
import sys
from dataclasses import dataclass

import pytest

from tests.crash.load import Client, Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("strace")]

_CALLS = "openat,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,write,writev,sendto,sendmsg"
_RENAME = ("rename", "renameat", "renameat2")
_SEND = ("sendto", "write", "writev", "sendmsg")
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)", re.DOTALL)
_FALLBACK = "from lanmail import spool, {0}; spool._ONE_FSYNC = frozenset(); {0}.main()"


@dataclass
class Call:
    """One call with its arguments as strace shows them; `begun` and `ended` are places in the order of all events."""

    text: str
    begun: int
    ended: int

    def is_(self, *names: str) -> bool:
        return self.text.partition("(")[0] in names


def calls(path):
    """All successful calls of all threads, with calls that strace had to cut in two put together again."""
    open_calls: dict[str, tuple[str, int]] = {}
    found = []
    for place, line in enumerate(path.read_text(errors="replace").splitlines()):
        match = _LINE.match(line)
        if not match:
            continue
        pid, rest = match["pid"], match["rest"]
        begun = place
        if rest.endswith("<unfinished ...>"):
            open_calls[pid] = (rest.removesuffix("<unfinished ...>"), place)
            continue
        if rest.startswith("<... "):
            head, begun = open_calls.pop(pid)
            rest = head + rest.partition("resumed>")[2]
        if "= -1 " not in rest and "(" in rest:
            found.append(Call(rest, begun, place))
    return sorted(found, key=lambda call: call.ended)


def traced(rig, tmp_path, program, command=None):
    """The program under strace, and where the trace is written."""
    output = tmp_path / f"{program}.strace"
    wrapper = ["strace", "-f", "-y", "-qq", "-s", "300", "-o", str(output), "-e", f"trace={_CALLS}"]
    return rig.start(program, wrapper, command=command), output


def send(rig, ledger, times, recipients=("user1",)):
    """The ids that the answers named."""
    ids = []
    with Client(rig.port) as client:
        for number in range(times):
            reply = client.send(ledger, recipients, 300_000 if number % 5 == 4 else 3000)
            assert reply.startswith("250"), reply
            ids.append(re.search(r"\d+\.M\w+\.[\w.-]+", reply)[0])
    return ids


def one(found, what):
    assert len(found) == 1, f"{what}: {[call.text[:200] for call in found]}"
    return found[0]


def answer(seen, mail):
    """The call that sends 250."""
    sends = [call for call in seen if call.is_(*_SEND) and mail in call.text]
    return one([call for call in sends if re.search(r'"250 [^"]*' + re.escape(mail), call.text)], mail)


def test_the_file_is_synced_under_its_final_name_before_250(rig, tmp_path):
    ledger = Ledger()
    smtpd, output = traced(rig, tmp_path, "smtpd")
    ids = send(rig, ledger, 25)
    smtpd.stop()
    seen = calls(output)
    for mail in ids:
        renamed = one([call for call in seen if call.is_(*_RENAME) and mail in call.text], mail)
        synced = one([call for call in seen if call.is_("fsync") and f"queue/new/{mail}" in call.text], mail)
        said = answer(seen, mail)
        assert renamed.ended < synced.begun <= synced.ended < said.begun
        wrote = [call for call in seen if call.is_("write", "writev") and f"queue/tmp/{mail}" in call.text]
        assert wrote
        assert all(call.ended < synced.begun for call in wrote)
    print(f"{len(ids)} mails, each: write, rename into new/, fsync, 250")


def test_on_other_file_systems_the_directory_is_synced_too_before_250(rig, tmp_path):
    ledger = Ledger()
    smtpd, output = traced(rig, tmp_path, "smtpd", [sys.executable, "-c", _FALLBACK.format("smtpd")])
    ids = send(rig, ledger, 10)
    smtpd.stop()
    seen = calls(output)
    for mail in ids:
        synced = one([call for call in seen if call.is_("fsync") and f"queue/tmp/{mail}" in call.text], mail)
        renamed = one([call for call in seen if call.is_(*_RENAME) and mail in call.text], mail)
        said = answer(seen, mail)
        directories = [call for call in seen if call.is_("fsync") and "queue/new>" in call.text
                       and renamed.ended < call.begun and call.ended < said.begun]
        assert synced.ended < renamed.begun
        assert directories, "no fsync of new/ between the rename and the answer"
    print(f"{len(ids)} mails, each: write, fsync, rename into new/, fsync of new/, 250")


@pytest.mark.parametrize("fallback", [False, True])
def test_deliver_removes_the_entry_only_when_every_copy_is_safe(rig, tmp_path, fallback):
    ledger = Ledger()
    rig.start("smtpd")
    command = [sys.executable, "-c", _FALLBACK.format("deliver")] if fallback else None
    deliver, output = traced(rig, tmp_path, "deliver", command)
    ids = send(rig, ledger, 5, ("user1", "user2", "user3"))
    rig.settle()
    deliver.stop()
    seen = calls(output)
    for mail in ids:
        links = [call for call in seen if call.is_("link", "linkat", *_RENAME)
                 and re.search(r"user\d/new/" + re.escape(mail), call.text)]
        assert len(links) == 3, [call.text[:300] for call in links]
        removed = [call for call in seen if call.is_("unlink", "unlinkat") and mail in call.text
                   and re.search(r"queue/(new|cur)", call.text)]
        assert removed, "the entry was never removed"
        synced = [call for call in seen if call.is_("fsync") and mail in call.text and call.ended < removed[-1].begun]
        assert synced, "the copy was not synced before the entry was removed"
        assert all(link.ended < removed[-1].begun for link in links)
        if fallback:
            for link in links:
                account = re.search(r"(user\d)/new/" + re.escape(mail), link.text)[1]
                assert [call for call in seen if call.is_("fsync") and f"{account}/new>" in call.text
                        and link.ended < call.begun and call.ended < removed[-1].begun], f"{account}/new not synced"


def test_the_reader_of_traces_sees_a_violation(tmp_path):
    """The control: an answer before the sync is told from one after it."""
    trace = tmp_path / "trace"
    trace.write_text(
        '7  fsync(5</q/queue/new/1.M1>) = 0\n8  write(9<socket>, "250 2.0.0 1.M1", 20 <unfinished ...>\n'
        "7  fsync(6</q/queue/new/2.M1> <unfinished ...>\n8  <... write resumed>) = 20\n7  <... fsync resumed>) = 0\n"
        "7  fsync(6</q/queue/new/3.M1>) = -1 EIO\n"
    )
    found = {call.text.partition("(")[0] + re.search(r"\d\.M1", call.text)[0]: call for call in calls(trace)}
    assert found["fsync1.M1"].ended < found["write1.M1"].begun
    assert found["fsync2.M1"].ended > found["write1.M1"].begun
    assert "fsync3.M1" not in found
