"""The spool: states, names, and what is there after each step goes wrong."""

import os
import time

import pytest

from lanmail import address, atomic, envelope, paths, spool

HEAD = envelope.Envelope(address.parse("a@office.lan"), [envelope.Recipient(address.parse("b@office.lan"))])


@pytest.fixture
def queue(tmp_path):
    one = spool.queue(paths.of_root(tmp_path))
    one.ensure()
    yield one
    one.close()


def test_put_and_read(queue):
    name = queue.put(HEAD, b"Subject: x\n\nhello\n")
    assert queue.names() == [name]
    data = atomic.read(queue.new / name)
    assert data.endswith(b"\nSubject: x\n\nhello\n")
    parsed = spool.parse_name(name)
    assert parsed.size == len(data)
    assert parsed.wire_size == len(data.replace(b"\n", b"\r\n"))
    assert name.startswith(parsed.id + ",S=")
    assert os.listdir(queue.tmp) == []


def test_wire_size_counts_a_crlf_once_even_across_chunks(queue):
    draft = queue.create()
    for chunk in (b"a\r", b"\nb\n", b"c\r\n", b"\r", b"x\n", b""):
        draft.write(chunk)
    assert draft.size == 11
    assert draft.wire_size == len(b"a\r\nb\r\nc\r\n\rx\r\n")
    draft.abort()


def test_ids_are_unique_and_clean():
    ids = {spool.new_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert not any(set(one) & set("/:, \n") for one in ids)


def test_a_clock_that_steps_back_makes_no_twin(monkeypatch):
    monkeypatch.setattr(spool.time, "time_ns", lambda: 1_700_000_000_123_456_789)
    assert len({spool.new_id() for _ in range(500)}) == 500


def test_claim_release_hold(queue, tmp_path):
    name = queue.put(HEAD, b"\nx\n")
    queue.claim(name)
    assert queue.names() == []
    assert queue.names(spool.CUR) == [name]
    queue.release(name)
    target = queue.hold(name, "why not")
    assert target.parent == tmp_path / "spool" / "hold" / "new"
    assert (target.parent / (target.name + ".why")).read_text() == "why not\n"
    with pytest.raises(FileNotFoundError):
        queue.claim(name)


def test_abort_leaves_nothing(queue):
    draft = queue.create()
    draft.write(b"x" * 10)
    draft.flush()
    assert os.listdir(queue.tmp) == [draft.id]
    draft.abort()
    draft.abort()
    assert os.listdir(queue.tmp) == []


@pytest.mark.parametrize("one_fsync", [True, False])
@pytest.mark.parametrize("call", ["fsync", "rename", "write", "open"])
def test_an_error_at_any_step_promises_nothing(queue, monkeypatch, call, one_fsync):
    monkeypatch.setattr(spool.Spool, "one_fsync", one_fsync)

    def broken(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    draft = queue.create()
    draft.write(b"x")
    with monkeypatch.context() as patch:
        queue.fd(spool.TMP), queue.fd(spool.NEW)
        patch.setattr(os, call, broken)
        with pytest.raises(OSError, match="No space"):
            draft.commit()
    assert queue.names() == []
    assert os.listdir(queue.tmp) == []


@pytest.mark.parametrize("one_fsync", [True, False])
def test_order_of_the_promise(queue, monkeypatch, one_fsync):
    """One fsync, of the file under its final name; elsewhere file, rename, directory."""
    monkeypatch.setattr(spool.Spool, "one_fsync", one_fsync)
    queue.fd(spool.TMP), queue.fd(spool.NEW)
    draft = queue.create()
    draft.write(b"x")
    calls = calls_of(draft.commit, monkeypatch)
    wanted = ["rename", "fsync file", "close"] if one_fsync else ["fsync file", "rename", "fsync directory", "close"]
    assert calls == wanted


def calls_of(step, monkeypatch):
    """What a step syncs, renames and closes, in order."""
    calls = []
    real_fsync, real_rename, real_close = os.fsync, os.rename, os.close

    def fsync(fd):
        calls.append("fsync " + ("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"))
        real_fsync(fd)

    def rename(*args, **kwargs):
        calls.append("rename")
        real_rename(*args, **kwargs)

    def close(fd):
        calls.append("close")
        real_close(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "rename", rename)
        patch.setattr(os, "close", close)
        step()
    return calls


def test_the_first_state_of_an_entry_costs_one_sync(queue, monkeypatch):
    """A later one must not hurt what is there, whatever the file system does with a rename that was not synced."""
    if not spool.one_fsync(queue.state):
        pytest.skip("this file system wants two")
    assert calls_of(lambda: queue.save_state("a", {"tries": 1}), monkeypatch) == ["rename", "fsync file", "close"]
    again = calls_of(lambda: queue.save_state("a", {"tries": 2}), monkeypatch)
    assert again == ["fsync file", "close", "rename", "fsync directory", "close"]
    assert queue.load_state("a") == {"tries": 2}
    monkeypatch.setattr(spool.Spool, "one_fsync", False)
    assert calls_of(lambda: queue.save_state("b", {}), monkeypatch) == again


@pytest.mark.parametrize("call", ["fsync", "rename", "write", "open"])
def test_a_first_state_that_cannot_be_written_is_not_there(queue, monkeypatch, call):
    def broken(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(OSError, match="No space"):
            queue.save_state("a", {"tries": 1})
    assert os.listdir(queue.state) == []


def test_open_for_writing_is_seen(queue):
    name = queue.put(HEAD, b"\nx\n")
    assert queue.is_open(name) is False
    with open(queue.new / name, "ab"):
        assert queue.is_open(name) is True
    assert queue.is_open(name) is False


def test_state(queue):
    assert queue.load_state("1.x") is None
    queue.save_state("1.x", {"done": ["ä@b"]})
    assert queue.load_state("1.x") == {"done": ["ä@b"]}
    (queue.state / "1.x.json").write_text("{torn")
    assert queue.load_state("1.x") is None
    queue.drop_state("1.x")
    queue.drop_state("1.x")


def test_a_spool_directory_swapped_for_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    one = spool.queue(paths.of_root(tmp_path))
    one.ensure()
    one.new.rmdir()
    one.new.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        one.names()


def test_sweep_tmp(queue):
    (queue.tmp / "old").write_bytes(b"x")
    assert queue.sweep_tmp(now=(queue.tmp / "old").stat().st_mtime + 35 * 3600) == []
    assert queue.sweep_tmp(now=(queue.tmp / "old").stat().st_mtime + 37 * 3600) == ["old"]
    assert os.listdir(queue.tmp) == []


def test_sweep_of_tmp_while_an_entry_is_committed(queue, monkeypatch):
    """It ended deliver: the file had its final name by the time that the sweep looked at it."""
    drafts = [queue.create() for _ in range(3)]
    for draft in drafts:
        draft.write(b"x")
        draft.flush()
    scandir = os.scandir

    def late(descriptor):
        listed = scandir(descriptor)
        drafts[1].commit()
        return listed

    monkeypatch.setattr(os, "scandir", late)
    assert queue.sweep_tmp(now=time.time()) == []


def test_sweep_of_tmp_leaves_what_is_still_being_written(queue):
    draft = queue.create()
    draft.write(b"x")
    draft.flush()
    assert queue.sweep_tmp(now=time.time() + 10 * 365 * 86400) == []
    draft.commit()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("1.M2P3.h,S=4,W=5", ("1.M2P3.h", 4, 5)),
        ("1.M2P3.h,S=4,W=5:2,S", ("1.M2P3.h", 4, 5)),
        ("1.M2P3.h", ("1.M2P3.h", None, None)),
        ("1.M2P3.h:2,RS", ("1.M2P3.h", None, None)),
        ("foreign name", ("foreign name", None, None)),
        (",S=4", (",S=4", None, None)),
        ("x,S=" + "9" * 40, ("x", None, None)),
        ("", ("", None, None)),
    ],
)
def test_parse_name(name, wanted):
    parsed = spool.parse_name(name)
    assert (parsed.id, parsed.size, parsed.wire_size) == wanted
