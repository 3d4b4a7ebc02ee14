"""The texts of short messages, and the files for smstools and Gammu, as these programs themselves read them."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lanmail.errors import Temporary
from lanmail.sms import files, gsm7
from tests import modem

TEXTS = ["Grüße von „Eva“ €[x] ÄÖÜß§@{}|~^\\", "Привет 😀 " * 2, "€" * 200, "Я" * 200, "a" * 300, "😀" * 60, "-To: 1"]


def finished(directory: Path, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a program has put so many files into a directory."""
    limit = time.monotonic() + 90
    while len(list(directory.iterdir())) < count:
        assert process.poll() is None, "it ended"
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("smsd") is None, reason="smstools is not installed")
def test_smstools_sends_what_was_meant_in_one_message_each(tmp_path) -> None:
    phone = modem.Modem()
    for name in ("outgoing", "checked", "failed", "incoming", "sent"):
        (tmp_path / name).mkdir()
    places = "".join(f"{name} = {tmp_path / name}\n" for name in ("outgoing", "checked", "failed", "incoming", "sent"))
    (tmp_path / "conf").write_text(
        f"devices = GSM1\n{places}logfile = {tmp_path}/log\ninfofile = {tmp_path}/info\npidfile = {tmp_path}/pid\n"
        f"delaytime = 1\n[GSM1]\ndevice = @127.0.0.1:{phone.port}\nincoming = no\npin = ignore\n")
    for number, text in enumerate(TEXTS):
        files.smstools(str(tmp_path / "outgoing"), f"1763.M{number}.host", f"+4917912345{number:02}", gsm7.fit(text))
    with subprocess.Popen(["smsd", "-t", "-c", tmp_path / "conf"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            finished(tmp_path / "sent", len(TEXTS), process)
            phone.wait(len(TEXTS))
        finally:
            process.terminate()
            process.wait(30)
            phone.close()
    got = dict(map(modem.decode, phone.sent))
    assert len(phone.sent) == len(TEXTS)
    assert got == {f"4917912345{number:02}": gsm7.fit(text) for number, text in enumerate(TEXTS)}
    assert os.listdir(tmp_path / "outgoing") == os.listdir(tmp_path / "failed") == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gammu-smsd") is None, reason="gammu-smsd is not installed")
def test_gammu_sends_what_was_meant_in_one_message_each(tmp_path) -> None:
    for name in ("phone", "inbox", "outbox", "sent", "error"):
        (tmp_path / name).mkdir()
    places = "".join(f"{name}{'sms' if name in ('sent', 'error') else ''}path = {tmp_path / name}/\n"
                     for name in ("inbox", "outbox", "sent", "error"))
    (tmp_path / "conf").write_text(
        f"[gammu]\ndevice = {tmp_path}/phone\nconnection = none\nmodel = dummy\n"
        f"[smsd]\nservice = files\nlogfile = {tmp_path}/log\ndebuglevel = 255\ncommtimeout = 1\n{places}")
    for number, text in enumerate(TEXTS):
        files.gammu(str(tmp_path / "outbox"), f"1763.M{number}.host", f"+4917912345{number:02}", gsm7.fit(text), 1.7e9)
    with subprocess.Popen(["gammu-smsd", "-c", tmp_path / "conf"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            finished(tmp_path / "sent", len(TEXTS), process)
        finally:
            process.terminate()
            process.wait(30)
    found = r'Found (\d) sms to "\+4917912345(\d\d)" with text "(.*)" cod (\d) '
    said = re.findall(found, (tmp_path / "log").read_text())
    assert {int(number): (parts, text, coding) for parts, number, text, coding in said} == {
        number: ("1", gsm7.fit(text), "3" if gsm7.is_gsm(gsm7.fit(text)) else "1") for number, text in enumerate(TEXTS)}
    assert os.listdir(tmp_path / "error") == []


def test_the_file_appears_whole_and_once(tmp_path) -> None:
    first = files.smstools(str(tmp_path), "1.M2.h/../x", "+491", "Grüße")
    assert first == files.smstools(str(tmp_path), "1.M2.h/../x", "+491", "Grüße")
    (path,) = tmp_path.iterdir()
    assert path.name == "lanmail.1M2hx"
    assert path.read_bytes() == "To: 491\nAlphabet: UTF-8\n\nGrüße".encode()


@pytest.mark.parametrize("directory", ["/nonexistent/outgoing", "/proc"])
def test_a_directory_that_takes_nothing_is_named(directory) -> None:
    with pytest.raises(Temporary, match=f"the directory {directory}"):
        files.smstools(directory, "1", "+491", "x")


@pytest.mark.parametrize(("text", "want"), [
    ("„Hallo“ – ‚x‘ … it’s", "\"Hallo\" - 'x' ... it's"),
    ("Žižek, façade, Łódź, naïve, Ångström, œuvre", "Zizek, facade, Lodz, naive, Ångström, oeuvre"),
    ("a\r\nb\x00c\x1b[31m\u2028d\u202ee", "a b c [31m d e"),
    ("  two   words ", "two words"),
    ("u\u0308", "ü"),
    ("\ud800x", "x"),
    ("", ""),
])
def test_what_the_alphabet_does_not_have_is_written_plainly(text, want) -> None:
    assert gsm7.fit(text) == want


@pytest.mark.parametrize(("text", "kept"), [
    ("a" * 161, 160), ("a" * 160, 160), ("€" * 81, 80), ("a" + "€" * 80, 80), ("Я" * 71, 70), ("Я" + "😀" * 40, 35),
    ("Я" * 69 + "e\u20dd" * 3, 69), ("Я" * 67 + "👨\u200d👩\u200d👧", 67),
])
def test_the_cut(text, kept) -> None:
    assert gsm7.fit(text) == text[:kept]


def test_marks_without_end_do_not_eat_the_text() -> None:
    assert len(gsm7.fit("Я" + "\u20dd" * 500)) == 70


def test_the_alphabet_is_whole() -> None:
    assert len(gsm7.BASIC) == len(set(gsm7.BASIC)) == 128
    assert all(gsm7.is_gsm(one) for one in "äöüÄÖÜß§@£$€[]{}|~^\\")
    assert not any(gsm7.is_gsm(one) for one in "\x1b`ê„")
