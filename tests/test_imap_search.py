"""SEARCH on one message: each key, their order, and that no file is opened without need."""

import base64
import quopri
import time
from dataclasses import dataclass, field
from datetime import date

import pytest
from hypothesis import given, settings, strategies

from lanmail.imap import search, searchkeys, section
from lanmail.imap.searchkeys import And, Header, Not, Or
from tests import odd_messages

UMLAUTS = "Die Größe der Schlüssel für die Straße"
MESSAGE = b"""From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.org>
To: "Doe, Jane" <jane@example.org>, bob@example (Bob) .org
Cc: team: a@b, c@d;
Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus
 =?utf-8?b?S8O2bG4=?=
Date: Sat, 24 Mar 2007 23:00:00 -0500
X-Extra: hello  beautiful
\tworld
Content-Type: multipart/mixed; boundary=b

preamble words
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

%b
--b
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: base64

%b
--b
Content-Type: application/pdf
X-Part: odd

invisible attachment
--b
Content-Type: message/rfc822

Subject: forwarded subject

forwarded words
--b--
""" % (quopri.encodestring(UMLAUTS.encode()), base64.encodebytes("<p>Käsekuchen</p>".encode("latin-1")))


@dataclass
class Mail:
    data: bytes = MESSAGE
    number: int = 3
    uid: int = 30
    flags: str = "FS"
    keywords: frozenset[str] = frozenset({"$label1"})
    recent: bool = False
    date: float = 0.0
    opened: list[str] = field(default_factory=list)

    def internal_date(self) -> float:
        self.opened.append("date")
        return self.date

    def saved_date(self) -> float:
        return self.date + 86400

    def wire_size(self) -> int:
        return self.source().wire_size

    def modseq(self) -> int:
        return 5

    def header_source(self) -> section.Source:
        return self.source()

    def source(self) -> section.Source:
        self.opened.append("file")
        return section.Source(self.data)


def matches(key: searchkeys.Key, mail: Mail | None = None) -> bool:
    return search.compile(key)(mail or Mail())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (searchkeys.Numbers(searchkeys.ranges([(1, 2), (4, 9)])), False),
        (searchkeys.Numbers(searchkeys.ranges([(5, 2)])), True),
        (searchkeys.Uids(((1, 10), (30, 30))), True),
        (searchkeys.Uids(()), False),
        (searchkeys.Flag("S"), True),
        (searchkeys.Flag("S", False), False),
        (searchkeys.Flag("T", False), True),
        (searchkeys.Keyword("$Label1"), True),
        (searchkeys.Keyword("other"), False),
        (searchkeys.Keyword("other", False), True),
        (searchkeys.Recent(), False),
        (searchkeys.Recent(False), True),
        (searchkeys.ModSeq(5), True),
        (searchkeys.ModSeq(6), False),
        (And(()), True),
        (Or(()), False),
        (Not(And(())), False),
        (And((searchkeys.Flag("S"), searchkeys.Flag("F"))), True),
        (Or((searchkeys.Flag("T"), searchkeys.Flag("F"))), True),
    ],
)
def test_keys_of_names(key: searchkeys.Key, expected: bool) -> None:
    mail = Mail()
    assert matches(key, mail) is expected
    assert not mail.opened
    assert not search.needs_file(key)


def test_ranges() -> None:
    assert searchkeys.ranges([(4, 2), (5, 5), (9, 9), (1, 1), (20, 15)]) == ((1, 5), (9, 9), (15, 20))


@pytest.mark.parametrize(
    ("relation", "expected"),
    [("before", (False, False, True)), ("on", (False, True, False)), ("since", (True, True, False))],
)
def test_days_of_arrival(relation: searchkeys.Relation, expected: tuple[bool, bool, bool]) -> None:
    """In the server's zone, also on the day the clocks are changed."""
    for hour in (0, 3, 23):
        mail = Mail(date=time.mktime((2007, 3, 25, hour, 0, 0, 0, 0, -1)))
        days = [date(2007, 3, day) for day in (24, 25, 26)]
        assert tuple(matches(searchkeys.Arrived(relation, day), mail) for day in days) == expected
        later = [date(2007, 3, day) for day in (25, 26, 27)]
        assert tuple(matches(searchkeys.Saved(relation, day), mail) for day in later) == expected


def test_days_at_the_ends_of_time() -> None:
    assert matches(searchkeys.Arrived("since", date.min))
    assert matches(searchkeys.Arrived("before", date.max))
    assert not matches(searchkeys.Arrived("on", date.max))


def test_within_and_size() -> None:
    mail = Mail(date=1000.0)
    assert matches(searchkeys.Within(1000.0), mail)
    assert not matches(searchkeys.Within(1000.5), mail)
    assert matches(searchkeys.Within(1000.0, older=True), mail)
    size = section.Source(MESSAGE).wire_size
    assert matches(searchkeys.Size(size - 1))
    assert not matches(searchkeys.Size(size))
    assert matches(searchkeys.Size(size + 1, smaller=True))
    assert not matches(searchkeys.Size(size, smaller=True))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Sat, 24 Mar 2007 23:00:00 -0500", (2007, 3, 24)),
        (b"24 mar 07", (2007, 3, 24)),
        (b"(c) Sat , 1-March-1997 1:2", (1997, 3, 1)),
        (b"Sat,\n 31 Feb 2021", (2021, 2, 31)),
        (b"24 Foo 2007", None),
        (b"2007-03-24", None),
        (b"", None),
    ],
)
def test_sent_day(value: bytes, expected: tuple[int, int, int] | None) -> None:
    assert search.sent_day(b"Date: " + value + b"\n\n") == expected


def test_sent() -> None:
    """Whatever the zone: it was the 24th where it was sent."""
    assert matches(searchkeys.Sent("on", date(2007, 3, 24)))
    assert matches(searchkeys.Sent("since", date(2007, 3, 24)))
    assert matches(searchkeys.Sent("before", date(2007, 3, 25)))
    assert not matches(searchkeys.Sent("before", date(2007, 3, 24)))
    assert not matches(searchkeys.Sent("since", date(2000, 1, 1)), Mail(b"Subject: no date\n\n"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("subject", "grüße"),
        ("SUBJECT", "GRÜSSE AUS KÖLN"),
        ("from", "jörg mü"),
        ("From", "JOERG@"),
        ("to", "doe, jane"),
        ("to", "doe, jane <jane@"),
        ("to", "bob@example.org"),
        ("cc", "team"),
        ("cc", "c@d"),
        ("x-extra", "hello  beautiful world"),
        ("x-extra", "hello beautiful world"),
        ("x-extra", ""),
        ("date", "2007"),
    ],
)
def test_fields(name: str, text: str) -> None:
    assert matches(Header(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [("subject", "joerg"), ("subject", "forwarded"), ("bcc", ""), ("x-extra", "helloworld"), ("from", "jörg mu ")],
)
def test_fields_without(name: str, text: str) -> None:
    assert not matches(Header(name, text))


@pytest.mark.parametrize("text", ["größe", "STRASSE", "schlüssel für", "käsekuchen", "<P>", "forwarded words", ""])
def test_body(text: str) -> None:
    assert matches(searchkeys.Body(text))
    assert matches(searchkeys.Text(text))


@pytest.mark.parametrize(
    "text", ["invisible", "preamble", "forwarded subject", "jörg", "odd", "R3LDtmU", "application"]
)
def test_not_in_body(text: str) -> None:
    assert not matches(searchkeys.Body(text))


@pytest.mark.parametrize("text", ["jörg", "forwarded subject", "x-part: odd", "Grüße aus Köln", "application/pdf"])
def test_text(text: str) -> None:
    assert matches(searchkeys.Text(text))


@pytest.mark.parametrize("text", ["invisible", "preamble", "iso-8859-1?q"])
def test_not_in_text(text: str) -> None:
    assert not matches(searchkeys.Text(text))


@pytest.mark.parametrize(
    ("header", "body", "text"),
    [
        (b"", b"plain words", "PLAIN WORDS"),
        (b"", "größe".encode(), "GRÖSSE"),
        (b"Content-Type: text/plain; charset=utf-7\n", b"Gr+APYA3w-e", "größe"),
        (b"Content-Type: text/plain;\n CHARSET = \"utf-7\"\n", b"charset=utf-8 Gr+APYA3w-e", "größe"),
        (b"Content-Type: text/plain; charset=hz\n", b"~{VPND~}", "中文"),
        (b"Content-Type: text/plain; charset=iso-2022-jp\n", b'\x1b$B$"\x1b(B', "あ"),
        (b"Content-Type: text/plain; charset=utf-16\n", "größe".encode("utf-16"), "größe"),
        (b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n", b"Z3L2w59l", "Z"),
        (b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n", b"aGVsbG8", "hel"),
        (b"MIME-Version: 1.0\nCONTENT-TRANSFER-ENCODING :\n BASE64\n", b"aGVsbG8", "hel"),
        (b"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n", b"hel=\nl=6F \t\n", "hello\n"),
        (b"MIME-Version: 1.0\nContent-Transfer-Encoding: x-odd\n", b"hello", "hello"),
        (b"Content-Type: message/delivery-status\n", b"Status: 5.1.1", "5.1.1"),
    ],
)
def test_body_of_a_single_part(header: bytes, body: bytes, text: str) -> None:
    assert matches(searchkeys.Body(text), Mail(header + b"\n" + body)) is (text != "Z")


def test_encodings_need_mime() -> None:
    """Without MIME a Content-Transfer-Encoding means nothing."""
    assert matches(searchkeys.Body("aGVsbG8"), Mail(b"Content-Transfer-Encoding: base64\n\naGVsbG8"))


def test_cheap_keys_go_first() -> None:
    mail = Mail()
    assert not matches(And((searchkeys.Body("größe"), Header("from", "jörg"), searchkeys.Flag("T"))), mail)
    assert not mail.opened
    assert matches(Or((searchkeys.Text("größe"), searchkeys.Arrived("since", date.min), searchkeys.Flag("S"))), mail)
    assert not mail.opened
    assert matches(Or((searchkeys.Text("größe"), searchkeys.Arrived("since", date.min))), mail)
    assert mail.opened == ["date"]


def test_needs_file() -> None:
    assert search.needs_file(Not(Or((searchkeys.Flag("S"), And((Header("from", "x"),))))))
    assert search.needs_file(searchkeys.Sent("on", date.min))
    assert not search.needs_file(And((searchkeys.Arrived("on", date.min), searchkeys.Flag("S"))))


@settings(max_examples=200, deadline=None)
@given(odd_messages.messages, strategies.text(max_size=4) | strategies.sampled_from(["a@b", "text", "ä", "--b"]))
def test_any_message(message: bytes, text: str) -> None:
    """No key raises on any message, and what is in the body is in the text."""
    mail = Mail(message)
    in_body = matches(searchkeys.Body(text), mail)
    assert matches(searchkeys.Text(text), mail) or not in_body
    for name in ("subject", "from", "content-type", "x"):
        if matches(Header(name, text), mail):
            assert matches(Header(name, ""), mail)
    matches(searchkeys.Sent("on", date(2025, 2, 3)), mail)
