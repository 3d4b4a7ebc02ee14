"""Files that other programs drop into pickup: good ones, half ones, and every hostile kind."""

import asyncio
import os
import pwd
import socket
import time

import pytest

from lanmail import deliver, pickup, spool
from lanmail.delivery import drops
from tests.mailroot import Root, Running, dying, in_a_child, until

MAIL = b"From: a@office.lan\nTo: meier\nSubject: x\n\nbody\n"


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def claimed(root):
    return os.listdir(root.paths.pickup / "cur")


@pytest.mark.parametrize("place", ["", "new"])
@pytest.mark.parametrize("how", ["close", "rename", "link"])
async def test_a_file_is_taken_when_it_is_whole(root, place, how):
    async with Running(root):
        directory = root.paths.pickup / place
        if how == "close":
            with open(directory / "a.eml", "wb") as file:
                file.write(MAIL[:10])
                file.flush()
                await asyncio.sleep(0.05)
                assert root.inbox("meier") == []
                file.write(MAIL[10:])
        else:
            (root.paths.root / "a").write_bytes(MAIL)
            (os.rename if how == "rename" else os.link)(root.paths.root / "a", directory / "a.eml")
            if how == "link":
                os.unlink(root.paths.root / "a")
        await until(lambda: root.inbox("meier"))
    assert root.inbox("meier")[0].endswith(b"To: meier\nSubject: x\n\nbody\n")
    assert [name for name in os.listdir(directory) if name.startswith("a")] == []


async def test_a_file_nobody_saw_closed_must_be_quiet_for_a_while(tmp_path):
    root = Root(tmp_path, settings='[deliver]\npickup_wait = "30s"\n')
    async with Running(root) as running:
        running.deliver.watch.close()
        root.drop("a.eml", MAIL)
        running.drops.sweep()
        waiting = running.drops.waiting[(drops.ROOT, "a.eml")]
        waiting.since -= 20
        running.drops._look_again()
        assert running.drops.closed == {}
        root.drop("a.eml", MAIL + b"more\n")  # it grew: the time begins anew
        running.drops._look_again()
        running.drops.waiting[(drops.ROOT, "a.eml")].since -= 20
        running.drops._look_again()
        assert running.drops.closed == {}
        running.drops.waiting[(drops.ROOT, "a.eml")].since -= 11
        running.drops._look_again()
        await until(lambda: root.inbox("meier"))


async def test_a_file_that_grows_slowly_is_not_cut(root):
    async with Running(root) as running:
        with open(root.paths.pickup / "slow.eml", "wb") as file:
            for at in range(0, len(MAIL), 8):
                file.write(MAIL[at : at + 8])
                file.flush()
                running.drops.sweep()
                await asyncio.sleep(0.01)
            monotonic = time.monotonic
            try:
                time.monotonic = lambda: monotonic() + 100  # even after a long silence: it is still open
                running.drops.sweep()
            finally:
                time.monotonic = monotonic
            assert running.drops.closed == {}
        await until(lambda: root.inbox("meier"))
    assert root.inbox("meier")[0].endswith(MAIL)


def test_once_does_not_wait_for_ever_for_a_writer(root, monkeypatch):
    with monkeypatch.context() as patch, open(root.paths.pickup / "slow.eml", "wb") as file:
        patch.setattr(deliver, "PATIENCE", 0.05)
        file.write(MAIL)
        file.flush()
        assert root.run() == os.EX_TEMPFAIL
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "A.TMP", "a.part", "a.filepart", "a.eml~"])
def test_names_that_say_not_ready_wait_for_their_rename(root, name):
    path = root.drop(name, MAIL)
    assert root.run() == 0
    assert root.inbox("meier") == []
    os.rename(path, path.with_name("ready"))
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1


HOSTILE_NAMES = [b"new\nline.eml", b'quo"te.eml', b"\xff\xfe.eml", b"-rf", b"x" * 251 + b".eml", "ü☃.eml".encode(),
                 b"a b=c.eml", b"1.2,S=7,W=9:2,S", b"\x1b[31m.eml", b"tmp.eml", b"$(reboot)"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_odd_names_are_only_names(root, name):
    with open(os.fsencode(root.paths.pickup) + b"/" + name, "wb") as file:
        file.write(MAIL)
    assert root.run() == 0
    (mail,) = root.inbox("meier")
    assert mail.endswith(MAIL)
    assert mail.startswith(b"X-Sender: <a@office.lan>\nX-Receiver: <meier@office.lan>\nX-Origin: pickup source=")
    (day,) = root.paths.log.iterdir()
    (line,) = [line for line in day.read_bytes().split(b"\n") if b" accepted " in line]
    assert b"\x1b" not in line


HOSTILE_CONTENT = [
    (b"", "empty"),
    (b"\0" * 5000, "no recipients"),
    (b"Subject: nobody\n\nhello\n", "no recipients"),
    (b"\n\nonly a body\n", "no recipients"),
    (bytes(range(256)) * 50, "no recipients"),
    (b"X-Sender: <<>\nX-Receiver: meier\n\n", "X-Sender"),
    (b"X-Sender: a@b.example\nX-Receiver: \n\nx", "X-Receiver"),
    (b"To: meier\n" + b"Received: x\n" * 51 + b"\nx\n", "mail loop"),
    (b"X-Y: z" + b"z" * pickup.MAX_HEADER, "does not end"),
    (b"X-Sender: a\n" + b"X-Receiver: a\n" * 70_000 + b"\nx\n", "too many recipients"),
    (b"To: " + b"(" * 100_000 + b"\n\n", "no recipients"),
    (b"To: " + b"a@b.example," * 10, None),
    (b"To: meier\r\nX: \0\r\n\r\nNUL \0 and \xff\r\n", None),
    (b"From a Sat Nov 21\nTo: meier\n\nFrom here on it is text\n", None),
    (b"To: meier\n" + b"Cc: x" * 50_000 + b"\n\n", None),
]


@pytest.mark.parametrize(("data", "why"), HOSTILE_CONTENT, ids=range(len(HOSTILE_CONTENT)))
def test_hostile_content_is_delivered_or_held_with_the_reason(root, data, why):
    path = root.drop("a.eml", data)
    old = time.time() - 60
    os.utime(path, (old, old))
    assert root.run() == 0
    assert not path.exists()
    assert claimed(root) == []
    assert root.waiting() == []
    if why is None:
        assert root.held() == {}
        return
    (text,) = root.held().values()
    assert why in text
    assert "dropped into spool/pickup as a.eml" in text
    (kept,) = [one for one in (root.paths.hold / "new").iterdir() if one.suffix != ".why"]
    assert kept.read_bytes() == data


def test_a_file_larger_than_any_mail_is_held_without_reading_it(root):
    path = root.paths.pickup / "sparse.eml"
    with open(path, "wb") as file:
        file.write(MAIL)
        file.truncate(2 << 30)
    begin = time.process_time()
    assert root.run() == 0
    assert time.process_time() - begin < 1.0
    (why,) = root.held().values()
    assert "smtpd.max_size" in why


def test_another_name_of_a_file_of_ours_is_not_read(root):
    root.put("schmidt@office.lan", message=b"Return-Path: <>\nTo: meier\n\nsecret\n")
    assert root.run() == 0
    secret = next((root.paths.maildirs / "schmidt/new").iterdir())
    os.link(secret, root.paths.pickup / "stolen.eml")
    assert root.run() == 0
    assert root.inbox("meier") == []
    (why,) = root.held().values()
    assert "another name of a file of ours" in why


async def test_things_that_are_no_files_stay_where_they_are_and_are_told_once(root, capfd, monkeypatch):
    pick = root.paths.pickup
    (pick / "cur").mkdir()
    (pick / "tmp").mkdir()
    monkeypatch.chdir(pick)
    os.mkfifo(pick / "fifo")
    (pick / "link").symlink_to("/etc/passwd")
    (pick / "dangling").symlink_to("/nonexistent")
    (pick / "device").symlink_to("/dev/zero")
    (pick / "directory").mkdir()
    (pick / "directory/a.eml").write_bytes(MAIL)
    (pick / "new" / "fifo").symlink_to(pick / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")  # a whole path may be longer than a socket's name can be
    before = sorted(os.listdir(pick))
    async with Running(root) as running:
        for _ in range(3):
            running.drops.sweep()
            await running.settled()
        root.drop("good.eml", MAIL)
        await until(lambda: root.inbox("meier"))
        await running.settled()
        begin = time.process_time()
        await asyncio.sleep(0.1)
        assert time.process_time() - begin < 0.05, "busy with nothing"
    assert sorted(os.listdir(pick)) == before
    told = [line for line in capfd.readouterr().err.splitlines() if "left-alone" in line]
    assert len(told) == len(before) - 3 + 1, "tmp, new and cur are ours; one more lies in new/"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_file_that_we_may_not_read_is_held(tmp_path, mode):
    """As an ordinary user: root may read everything."""
    nobody = pwd.getpwnam("nobody")
    base = tmp_path / "office"
    root = Root(base)
    path = root.drop("secret.eml", MAIL)
    for directory, directories, files in os.walk(base):
        for name in [*directories, *files]:
            os.chown(os.path.join(directory, name), nobody.pw_uid, nobody.pw_gid)
    os.chown(base, nobody.pw_uid, nobody.pw_gid)
    os.chown(path, 0, 0)
    os.chmod(path, mode)
    opened = [tmp_path, *tmp_path.parents][:-2]
    modes = [one.stat().st_mode for one in opened]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for one, before in zip(opened, modes, strict=True):
                os.chmod(one, before | 0o011)
            os.setgroups([])
            os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
            os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
            code = root.run()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for one, before in zip(opened, modes, strict=True):
        os.chmod(one, before)
    (why,) = root.held().values()
    assert "cannot be read" in why


async def test_a_file_removed_while_it_is_looked_at_is_no_trouble(root, monkeypatch):
    async with Running(root) as running:
        running.drops.closed[(drops.ROOT, "gone.eml")] = None
        running.drops.waiting[("new", "gone2.eml")] = drops.Waiting((1, 1, 1), 0.0)
        running.drops._look_again()
        running.drops.plan()
        await until(running.drops.idle)
        # taken by somebody after it was claimed
        real = drops.Drops._convert

        def late(self, entry_id, name):
            os.unlink(root.paths.pickup / "cur" / entry_id)
            return real(self, entry_id, name)

        monkeypatch.setattr(drops.Drops, "_convert", late)
        root.drop("a.eml", MAIL)
        await until(lambda: not running.drops.closed and not running.drops.working and not running.desk.reserved)
    assert root.held() == {}
    assert root.inbox("meier") == []


async def test_trouble_while_converting_is_tried_again(root, monkeypatch):
    monkeypatch.setattr(drops.progress, "DELAYS", (0.01,))
    real, count = spool.Draft.commit, []

    def commit(self):
        count.append(1)
        if len(count) < 3:
            self.abort()
            raise OSError(28, "No space left on device")
        return real(self)

    monkeypatch.setattr(spool.Draft, "commit", commit)
    async with Running(root):
        root.drop("a.eml", MAIL)
        await until(lambda: root.inbox("meier"))
    assert len(root.inbox("meier")) == 1
    assert claimed(root) == []


@pytest.mark.parametrize("step", range(14))
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(root, monkeypatch, step):
    root.drop("a.eml", MAIL)

    async def first_life():
        running = Running(root)
        with dying(step, monkeypatch):
            running.drops._take((drops.ROOT, "a.eml"))
            for entry_id, name in running.drops.ready:
                running.drops._convert(entry_id, name)

    in_a_child(first_life)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert claimed(root) == []
    assert root.waiting() == []
    assert not (root.paths.pickup / "a.eml").exists()


@pytest.mark.slow
async def test_two_thousand_files_at_once(root):
    for number in range(2_000):
        root.drop(f"{number}.eml", MAIL)
    async with Running(root):
        await until(lambda: root.inbox("meier"), 10)
        await until(lambda: len(os.listdir(root.paths.maildirs / "meier/new")) == 2_000, 120)
    assert claimed(root) == []
    assert root.held() == {}
