"""mbox files of every make: where messages begin and end, what was added to them, and a round trip of octets."""

import io
import os
from pathlib import Path

import pytest

from lanmail import mbox

FROM = b"From anna@example.org Sat Nov 21 10:00:00 2026\n"
WHEN = 1795255200.0
MESSAGES = [
    b"Subject: a\n\nFrom x\n>From y\n>>From z\n", b"Subject: b\nStatus: RO\nContent-Length: 5\n\nno end",
    b"Subject: only a header\n", b"Subject: torn", b"\n\nbody only\n", b"", b"Subject: e\n\n",
    b"S: x\r\n\r\ncrlf\r\nFrom q\r\n",
    b">From a@b Sat Jan  3 01:05:34 1996\nSubject: q\n\nx\n\n\n",
    b"Subject: t\n\nhi\n\n" + FROM + b"Subject: inner\n\nx\n",
    b"\n", b"X-Keywords: mine\nX-Lanmail-No-Body: 1\nSubject: f\n\nb\n", b"Subject: long\n\n" + b"From \n" * 400_000,
    b"Subject: one line\n\n" + b"x" * 3_000_000,
]


def read(tmp_path: Path, data: bytes, variant: str = "auto") -> list[tuple[bytes, tuple[str, ...], float | None]]:
    path = tmp_path / "mbox"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = mbox.messages(descriptor, variant)
        return [(b"".join(one.chunks()), one.flags, one.date) for one in found if one.is_mail]
    finally:
        os.close(descriptor)


def test_what_we_write_we_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    flags = [("\\Seen", "\\Flagged", "$Label1"), (), ("\\Answered", "\\Draft", "\\Deleted")]
    for number, data in enumerate(MESSAGES):
        mbox.write(stream, data, flags[number % 3], 1e9 + number)
    found = read(tmp_path, stream.getvalue())
    assert [data for data, _, _ in found] == MESSAGES
    assert [set(one) for _, one, _ in found] == [set(flags[number % 3]) for number in range(len(MESSAGES))]
    assert [date for _, _, date in found] == [1e9 + number for number in range(len(MESSAGES))]


def test_quoting_of_the_variants(tmp_path: Path) -> None:
    body = b"Subject: q\n\n>From me\n>>From you\n> From him\n"
    data = FROM + body + b"\n" + FROM + b"Subject: 2\n\nx\n"
    assert [one[0] for one in read(tmp_path, data)] == [
        b"Subject: q\n\nFrom me\n>From you\n> From him\n", b"Subject: 2\n\nx\n"]
    assert read(tmp_path, data, "o")[0][0] == b"Subject: q\n\nFrom me\n>>From you\n> From him\n"
    assert read(tmp_path, data, "cl2")[0][0] == body


def test_a_length_that_fits_is_believed_and_another_is_not(tmp_path: Path) -> None:
    body = b"a\n\n" + FROM + b"b\n>From c\n"
    length = b"Content-Length: %d\n" % len(body)
    data = FROM + b"Subject: 1\n" + length + b"\n" + body + b"\n"
    data += FROM + b"Subject: 2\nContent-Length: 3\n\nlonger\n\n"
    # what stands unquoted in the first says that nothing is quoted here
    assert [one[0] for one in read(tmp_path, data)] == [b"Subject: 1\n\n" + body, b"Subject: 2\n\nlonger\n"]
    assert len(read(tmp_path, data, "rd")) == 3


@pytest.mark.parametrize("line", [
    b"From - Sat Nov 21 10:00:00 2026", b"From MAILER-DAEMON Sat Nov 21 10:00:00 2026",
    b"From a Sat Nov 21 10:00 2026",
    b"From a@b Sat Nov 21 11:00:00 2026 +0100", b"From a b Sat, Nov 21 10:00:00 2026",
    b"From a Sat Nov 21 10:00:00 UTC 2026",
])
def test_lines_that_separate(tmp_path: Path, line: bytes) -> None:
    found = read(tmp_path, line + b"\nSubject: 1\n\nx\n\n" + line + b"\r\nSubject: 2\n\ny\n")
    assert [one[0] for one in found] == [b"Subject: 1\n\nx\n", b"Subject: 2\n\ny\n"]
    assert {one[2] for one in found} == {WHEN}


def test_lines_that_do_not(tmp_path: Path) -> None:
    body = b"From here to eternity\n\nFrom 10:30 on in 2026 we meet.\nand\n"
    body += b"From a 10:30 2026\n\nFrom - Monday on\nSubject: x\n"
    assert [one[0] for one in read(tmp_path, FROM + b"Subject: 1\n\n" + body)] == [b"Subject: 1\n\n" + body]


def test_a_missing_empty_line_and_one_too_many(tmp_path: Path) -> None:
    data = FROM + b"Subject: 1\n\nno empty line\n" + FROM + b"Subject: 2\n\n\n\n" + FROM + b"Subject: 3\n"
    found = read(tmp_path, data)
    assert [one[0] for one in found] == [b"Subject: 1\n\nno empty line\n", b"Subject: 2\n\n\n", b"Subject: 3\n"]


def test_flags_of_dovecot_and_thunderbird(tmp_path: Path) -> None:
    data = (FROM + b"X-IMAPbase: 1 2\nSubject: 1\nStatus: RO\nX-Status: AF\nX-Keywords: $Label1 Wichtig   \n"
            b"X-UID: 7\n\nx\n\n"
            b"From - Sat Nov 21 10:00:00 2026\nX-Mozilla-Status: 1007\nX-Mozilla-Status2: 00000000\n"
            b"X-Mozilla-Keys: $label1          \nSubject: 2\n\ny\n\n"
            b"From - Sat Nov 21 10:00:00 2026\nX-Mozilla-Status: 0009\nSubject: gone\n\nz\n\n"
            + FROM + b"X-IMAP: 1 2\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\ninner\n")
    first, second = read(tmp_path, data)
    assert first[:2] == (b"Subject: 1\n\nx\n", ("\\Seen", "\\Answered", "\\Flagged", "$Label1", "Wichtig"))
    assert second[:2] == (b"Subject: 2\n\ny\n", ("\\Seen", "\\Answered", "\\Flagged", "$Forwarded", "$label1"))


def test_a_field_that_is_the_messages_own_stays(tmp_path: Path) -> None:
    data = FROM + b"Status: resolved\nStatus: RO\nX-Status: on hold\nSubject: 1\n\nx\n"
    assert read(tmp_path, data)[0][:2] == (b"Status: resolved\nX-Status: on hold\nSubject: 1\n\nx\n", ("\\Seen",))


@pytest.mark.parametrize("size", range((1 << 17) - 12, (1 << 17) + 12))
def test_a_separator_across_two_blocks(tmp_path: Path, size: int) -> None:
    first = b"Subject: 1\n\n" + b"x" * (size - len(FROM) - 14) + b"\n\n"
    assert len(read(tmp_path, FROM + first + FROM + b"Subject: 2\n\ny\n", "rd")) == 2


@pytest.mark.parametrize("data", [
    b"", b"From ", b"From \n", FROM, FROM + FROM, FROM * 1000, b"\n" + FROM, FROM + b"\n" * 100_000, FROM + b"\0" * 100,
    FROM + b"Content-Length: 99999999999999\n\nx", FROM + b"a: " + b"x" * 2_000_000, b"From " * 200_000,
    (FROM + b"Content-Length: 0\n\n") * 2000,
])
def test_nonsense_costs_little_and_raises_nothing(tmp_path: Path, data: bytes) -> None:
    for variant in mbox.VARIANTS:
        assert sum(len(one[0]) for one in read(tmp_path, data, variant)) <= len(data)


def test_what_is_an_mbox() -> None:
    assert mbox.is_mbox(FROM)
    assert mbox.is_mbox(b"From - Sat Nov 21 10:00:00 2026\r\n")
    assert not mbox.is_mbox(b"From: anna\n\nx")
    assert not mbox.is_mbox(b"From the desk of somebody who writes letters\n")
