"""The way of a fetched mail into spool/queue, and the memory of what was fetched."""

import asyncio
import os
from pathlib import Path

import pytest

from lanmail import notice, paths, settings, spool
from lanmail.incoming import Source
from lanmail.sources import place, status
from lanmail.sources.batch import sender
from lanmail.sources.uidlog import Seen, UidLog
from lanmail.sources.visit import Visit


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    where = paths.of_root(tmp_path)
    house = settings.Settings.model_validate({"server": {"domain": "office.lan"}})
    queue = spool.queue(where)
    queue.ensure()
    return Visit(where, house, "meier", "gmx", Source(host="pop.gmx.example", protocol="pop3"), queue)


def entries(visit: Visit) -> list[bytes]:
    return [(visit.queue.new / name).read_bytes() for name in visit.queue.names()]


async def stored(visit: Visit, *messages: bytes, cut: int = 1 << 20) -> list[str]:
    box = await visit.box("user")
    batch = visit.batch(box)
    for number, text in enumerate(messages):
        mail = batch.begin()
        for at in range(0, len(text), cut):
            mail.write(text[at:at + cut])
            await mail.drain()
        batch.add(mail, f"uid{number}")
    return await batch.commit()


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_a_mail_is_stored_octet_by_octet_behind_its_envelope(visit: Visit, cut: int) -> None:
    text = b"Return-Path: <a@far.example>\r\nSubject: \xe4\r\n\r\n\r\nbare\rCR, \x00 and 8 bit \xff\r\n.\r\n\r\r\n\r"
    assert asyncio.run(stored(visit, text, cut=cut)) == ["uid0"]
    entry, = entries(visit)
    head, _, rest = entry.partition(b"Return-Path: <a@far.example>\n")
    assert head == (b"X-Sender: <a@far.example>\nX-Receiver: <meier@office.lan>\n"
                    b"X-Origin: fetch source=meier/gmx\n")
    received, _, message = rest.partition(b"Subject")
    assert received.startswith(b"Received: from pop.gmx.example by mail.office.lan with POP3 (lanmail)\n\tfor <meier@")
    assert b"Subject" + message == b"Subject: \xe4\n\n\nbare\rCR, \x00 and 8 bit \xff\n.\n\r\n\r"
    name = spool.parse_name(visit.queue.names()[0])
    assert name.size == len(entry)
    assert name.wire_size == len(entry.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def test_envelope_lines_of_a_stranger_do_not_count(visit: Visit) -> None:
    asyncio.run(stored(visit, b"X-Receiver: <all@office.lan>\r\nX-Origin: local\r\nSubject: x\r\n\r\n"))
    assert entries(visit)[0].split(b"\n")[3].startswith(b"Received: ")


def test_uids_are_written_down_only_after_the_mails_are_in_the_queue(
        visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_self: spool.Draft, **_options: bool) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.Draft, "seal", failing)
    with pytest.raises(OSError):
        asyncio.run(stored(visit, b"Subject: x\r\n\r\n"))
    assert entries(visit) == []
    assert os.listdir(visit.queue.tmp) == []
    assert not asyncio.run(visit.box("user")).fetched


def test_mail_for_nobody_is_remembered_and_not_kept(visit: Visit) -> None:
    visit.recipients = lambda header: () if b"double" in header else visit._owner(header)
    assert asyncio.run(stored(visit, b"Subject: double\r\n\r\nx", b"Subject: y\r\n\r\ndouble")) == ["uid1", "uid0"]
    assert len(entries(visit)) == 1
    assert asyncio.run(visit.box("user")).fetched.keys() == {"uid0", "uid1"}


def test_what_is_not_committed_leaves_nothing(visit: Visit) -> None:
    async def run() -> None:
        batch = visit.batch(await visit.box("user"))
        whole, begun = batch.begin(), batch.begin()
        for mail in (whole, begun):
            mail.write(b"Subject: x\r\n\r\n" + b"x" * (1 << 20))
            await mail.drain()
        batch.add(whole, "1")
        assert len(os.listdir(visit.queue.tmp)) == 2
        await batch.abort()

    asyncio.run(run())
    assert os.listdir(visit.queue.tmp) == []


@pytest.mark.parametrize(("start", "expected"), [
    (b"Return-Path: <a@b.example>\nX: y\n", "a@b.example"), (b"return-path: a@b.example\n", "a@b.example"),
    (b"Return-Path: <>\n", None), (b"Return-Path: <MAILER-DAEMON>\n", None), (b"Subject: x\n", None),
    (b"Return-Path: <a@b\rX-Receiver: c>\n", None),
])
def test_the_envelope_sender(start: bytes, expected: str | None) -> None:
    found, _ = sender(start)
    assert (str(found) if found else None) == expected


def test_the_log_of_uids_survives_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "state" / "fetched" / "meier" / "gmx" / "box.uids"
    log = UidLog(file)
    log.add([Seen("a"), Seen("b c", digest="0f", date=5), Seen("%")])
    log.tell(["d"])
    with file.open("ab") as torn:
        torn.write(b"1763794800 half")
    log = UidLog(file)
    assert "a" in log
    assert "b c" in log
    assert "%" in log
    assert "half" not in log
    assert "d" not in log
    assert log.was_told("d")
    assert log.uid_of("0f") == "b%20c"
    assert log.date("b c") == 5
    log.add([Seen("f")])
    assert UidLog(file).fetched.keys() == {"a", "b%20c", "%25", "f"}


def test_after_a_kill_what_is_still_in_tmp_was_not_queued(visit: Visit) -> None:
    box = asyncio.run(visit.box("user"))
    for entry in ("queued", "not-queued", "long-ago"):
        (visit.queue.tmp / entry).touch()
    (visit.queue.tmp / "queued").rename(visit.queue.new / "queued")
    box.promise([(Seen("1", digest="0f"), "queued"), (Seen("2"), "not-queued")])
    again = asyncio.run(visit.box("user"))
    assert again.fetched.keys() == {"1"}
    assert again.uid_of("0f") == "1"
    assert not (visit.queue.tmp / "not-queued").exists()
    assert asyncio.run(visit.box("user")).fetched.keys() == {"1"}  # looked at once
    box.promise([(Seen("3"), "gone")])
    pending = box.path.with_suffix(".pending")
    pending.write_text(pending.read_text().replace("end\n", ""))
    assert "3" not in asyncio.run(visit.box("user"))  # torn: nothing was renamed yet
    box.promise([(Seen("4"), "gone")])
    words = pending.read_text().split(" ")
    pending.write_text(" ".join([str(int(words[0]) - 2 * 86400), *words[1:]]))
    assert "4" not in asyncio.run(visit.box("user"))  # somebody may have cleaned tmp/ up meanwhile


def test_the_log_forgets_what_the_server_no_longer_has(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c" / "d" / "box.uids"
    log = UidLog(file)
    log.add([Seen(str(number)) for number in range(3000)])
    since = log.since("2999")
    log.keep_only({str(number) for number in range(2000)})
    assert len(UidLog(file).fetched) == 3000  # not worth it
    log.keep_only({"2999"})
    assert UidLog(file).fetched == {"2999": since}
    log.add([Seen("x")])
    assert UidLog(file).fetched.keys() == {"2999", "x"}


def test_names_from_outside_stay_one_name(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    assert place.directory(where, "../x", "..").relative_to(where.state).parts == ("fetched", "%2E%2E%2Fx", "%2E%2E")
    assert len(place.safe("ä" * 300)) == 64


def test_wishes_are_taken_once(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    assert place.requested(where) == []
    place.request(where, "meier", "gmx")
    place.request(where, "max,m", "g/x")
    assert place.requested(where) == [("max,m", "g/x"), ("meier", "gmx")]
    assert place.requested(where) == []


def test_the_status_comes_back(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    assert status.load(where, "meier", "gmx") == status.Status()
    made = status.Status(tried=5.5, error="no", refused=3, stopped=True)
    status.save(where, "meier", "gmx", made)
    assert status.load(where, "meier", "gmx") == made
    (place.directory(where, "meier", "gmx") / status.FILE).write_text('{"tried": "x", "refused": true, "fetched": 7}')
    assert status.load(where, "meier", "gmx").fetched == 7


def test_a_notice_is_a_mail_from_nobody(visit: Visit) -> None:
    subject = "Abruf von\nBcc: gmx schlägt fehl"
    entry_id = notice.put(visit.paths, visit.house, "meier", subject, "Zeile\n", "fetch-failed")
    entry, = entries(visit)
    assert visit.queue.names()[0].startswith(entry_id)
    assert entry.startswith(b"X-Sender: <>\nX-Receiver: <meier@office.lan>\n"
                            b"X-Origin: local source=notice kind=fetch-failed\nReturn-Path: <>\nFrom: ")
    assert b"\nAuto-Submitted: auto-generated\n" in entry
    assert b"\nBcc" not in entry
    assert entry.endswith(b"\n\nZeile\n")


def test_large_mails_are_told_once(visit: Visit) -> None:
    async def run() -> None:
        box = await visit.box("user")
        assert await visit.tell_large(box, [("1", "Bilder", 9 << 20)]) == 1
        assert await visit.tell_large(box, [("1", "Bilder", 9 << 20), ("2", "Film", 99 << 20)]) == 1

    asyncio.run(run())
    first, second = entries(visit)
    assert b"9.0 MB  Bilder" in first
    assert b"99.0 MB  Film" in second
    assert b"Bilder" not in second
