"""Odd messages made of the pieces that mail is broken with, for tests that feed the parsers anything."""

from hypothesis import strategies

LINE_ENDS = [b"\n", b"\r\n", b"\r", b""]
VALUES = [
    b"a@b", b'"A B" <a@b>', b"g: a@b;", b"=?utf-8?q?=C3=A4?=", b"\xe4\xff", b'"', b"(", b"\\", b"a\0b", b"", b" ",
    b"\n x", b"\n\t", b"text/plain", b"text/html; charset=utf-8", b"multipart/mixed; boundary=b",
    b'multipart/x; boundary="b c"', b"multipart/digest; boundary=bb", b"multipart/mixed", b"message/rfc822",
    b"message/partial; x*0=a; x*1*=%41; x*=u''v", b"base64", b"quoted-printable", b"inline; filename=x", b"en, de",
    b"Mon, 3 Feb 2025 10:11:12 +0100",
]
NAMES = [
    b"From", b"TO", b"cc", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"Sender", b"Reply-To", b"Received",
    b"MIME-Version", b"Content-Type", b"Content-Type", b"Content-Type", b"Content-Transfer-Encoding", b"Content-ID",
    b"Content-Disposition", b"Content-Language", b"Content-Location", b"Content-MD5", b"Content-Description",
    b"X", b"", b" ", b"a\0",
]
TEXTS = [
    b"--b", b"--b--", b"--bb", b"--b c", b"--b c--", b"--", b"-", b"text", b"--b x", b"=41=\n", b"YWJj", b"\0",
    b"\xc3\xa4", b".", b"",
]
COLONS = [b": ", b":", b" :", b":  ", b""]
ODD_WORDS = [b", ", b"; ", b"x=y", b"<", b">", b"@", b".", b"*0*="]

_field = strategies.tuples(
    strategies.sampled_from(NAMES),
    strategies.sampled_from(COLONS),
    strategies.sampled_from(VALUES) | strategies.binary(max_size=12),
    strategies.sampled_from(LINE_ENDS[:2]),
).map(b"".join)
_text = strategies.tuples(
    strategies.sampled_from(TEXTS) | strategies.binary(max_size=8), strategies.sampled_from(LINE_ENDS)
).map(b"".join)

messages = strategies.lists(_field | _field | _text | strategies.sampled_from(LINE_ENDS[:2]), max_size=40).map(b"".join)
values = strategies.lists(strategies.sampled_from(VALUES + ODD_WORDS), max_size=12).map(b"".join)
