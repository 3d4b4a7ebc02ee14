"""Whatever the input: the parsers raise their own error or none, and in linear time."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import address, charset, maildir, message, mutf7
from lanmail.folders import acl, keywords, modseqs, subscriptions, uidlist
from lanmail.imap import dispatch, names, parser, section, session
from lanmail.mime import structure
from tests import hostile_mail, imapsyntax, odd_messages
from tests.fuzz.budget import linear, tries

OURS = (parser.ParseError, session.Bad, session.No)
WORDS = [
    b"(",
    b")",
    b"((",
    b"))",
    b" ",
    b"  ",
    b"*",
    b"1:*",
    b"1,2:3",
    b"4294967295",
    b"4294967296",
    b"0",
    b"$",
    b":",
    b",",
    b"NIL",
    b'"a"',
    b'"',
    b'"\\"',
    b"\\Seen",
    b"\\",
    b"{3+}\r\nabc",
    b"{3}",
    b"~{3+}\r\na\0b",
    b"INBOX",
    b"&AC4ALgAv-",
    b"RETURN",
    b"ALL",
    b"NOT",
    b"OR",
    b"CHARSET",
    b"UTF-8",
    b"FETCH",
    b"FLAGS",
    b"BODY[",
    b"]",
    b"<0.9>",
    b"BODY.PEEK[1.2.MIME]",
    b"UID",
    b"MODSEQ",
    b"CHANGEDSINCE",
    b"1",
    b"VANISHED",
    b"REVERSE",
    b"DATE",
    b"REFERENCES",
    b"SUBJECT",
    b"HEADER",
    b"X",
    b"+FLAGS",
    b"1-Jan-2026",
    b'" 1-Jan-2026 00:00:00 +0000"',
    b"YOUNGER",
    b"STATUS",
    b"MESSAGES",
    b"SPECIAL-USE",
    b"\\Sent",
    b"USE",
    b"QRESYNC",
    b"BINARY[1]",
    b"PREVIEW",
    b"LAZY",
    b"SAVE",
    b"STORAGE",
    b"lrswipkxtea",
    b"/private/comment",
    b"\xff",
    b"\0",
]
arguments = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=14).map(
    lambda words: b"".join(words)
) | st.lists(st.sampled_from(WORDS), max_size=14).map(b" ".join)


@pytest.mark.parametrize("verb", dispatch.TABLE)
@tries
@given(text=arguments)
def test_commands(verb: str, text: bytes) -> None:
    cursor = parser.Cursor(b" " + text)
    with contextlib.suppress(*OURS):
        dispatch.TABLE[verb].parse(cursor)
        cursor.end()
    assert cursor.position <= len(cursor.text)


@pytest.mark.parametrize(
    "piece",
    [
        b"(",
        b"( ",
        b"((1 ",
        b"NOT ",
        b"OR NOT ",
        b"(OR ALL ",
        b"1:4294967295,",
        b"*,",
        b'"a" ',
        b"\\Seen ",
        b'"\\\\',
        b"BODY[1.",
        b"1.",
        b"&",
        b"&AC4-",
        b"%*",
        b"{0+}\r\n ",
        b"~",
        b"ALL ",
        b"BODY[HEADER.FIELDS (",
        b"RETURN (",
        b"x",
        b" ",
    ],
)
def test_commands_take_linear_time(piece: bytes) -> None:
    def parse_all(size: int) -> None:
        for command in dispatch.TABLE.values():
            for start in (b" ", b" (", b" 1 ", b" INBOX ", b' "" ', b" RETURN () "):
                with contextlib.suppress(*OURS):
                    command.parse(parser.Cursor(start + piece * (size // len(piece))))

    linear(parse_all, 1_000)


@tries
@given(data=odd_messages.messages)
def test_what_is_said_of_a_message_parses(data: bytes) -> None:
    summary = structure.summary(data)
    answer = b"1 FETCH (ENVELOPE %b BODY %b BODYSTRUCTURE %b)" % (summary.envelope, summary.body, summary.bodystructure)
    imapsyntax.fetched(answer)


@pytest.mark.parametrize("name", hostile_mail.scaled(10))
def test_hostile_messages_take_linear_time_and_parse(name: str) -> None:
    linear(lambda size: structure.summary(hostile_mail.scaled(size)[name]), 5_000)
    summary = structure.summary(hostile_mail.scaled(20_000)[name])
    imapsyntax.fetched(b"1 FETCH (ENVELOPE %b BODYSTRUCTURE %b)" % (summary.envelope, summary.bodystructure))


@tries
@given(text=st.text(alphabet=st.sampled_from("&-+,/.AC4LgvAa\xe4\U0001f600\0\n%*"), max_size=24) | st.text(max_size=24))
def test_mailbox_names(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert mutf7.encode(mutf7.decode(text)) == text
    with contextlib.suppress(ValueError):
        assert mutf7.decode(mutf7.encode(text)) == text
    with contextlib.suppress(ValueError):
        path = maildir.path_of("/root", text)
        assert path == "/root" or (os.path.dirname(os.path.normpath(path)) == "/root" and ".." not in path.split("/"))
    found = maildir.name_of("." + text)
    assert found is None or maildir.path_of("", found) == "/." + text


def test_names_and_patterns_take_linear_time() -> None:
    def work(size: int) -> None:
        name = "a." * (size // 2)
        for pattern in ("*a", "%.", "*%", "a*.%b", "****a%%%%"):
            names.matcher(pattern * (4096 // len(pattern)))(name)
        for text in ("&", "&AAA-", "&-", "\xe4", "&AC4"):
            with contextlib.suppress(ValueError):
                mutf7.decode(text * (size // len(text)))

    linear(work, 1_000)


@tries
@given(
    data=st.binary(max_size=80),
    charset_name=st.text(max_size=12) | st.sampled_from(["utf-7", "idna", "rot13", "zip", "hex"]),
)
def test_charsets(data: bytes, charset_name: str) -> None:
    assert isinstance(charset.decode(data, charset_name), str)


@tries
@given(
    text=st.text(max_size=40)
    | st.lists(st.sampled_from(["a", "@", '"', "\\", "(", ")", "<", ">", ".", ",", ":", "ä", "[1]"]), max_size=12).map(
        "".join
    )
)
def test_addresses(text: str) -> None:
    with contextlib.suppress(ValueError):
        address.parse(text)


@tries
@given(
    text=st.text(max_size=30)
    | st.lists(st.sampled_from(["1", ".", "MIME", "TEXT", "HEADER", "HEADER.FIELDS (A b)", "0", " "]), max_size=6).map(
        "".join
    )
)
def test_sections(text: str) -> None:
    with contextlib.suppress(ValueError, *OURS):
        section.parse(text)


@tries
@given(data=st.binary(max_size=200))
def test_headers(data: bytes) -> None:
    assert 0 <= message.header_end(data) <= len(data)


# --- files of mail servers ---------------------------------------------------------------------------------------

LINES = [
    b"3 V1 N1 G0123\n",
    b"1 1 1\n",
    b"1 :a\n",
    b"2 S1 W2 :b,S=1\n",
    b"0 $A\n",
    b"25 b\n",
    b"26 c\n",
    b"$A b\tbase\n",
    b"V\t2\n\n",
    b"INBOX\tA\n",
    b"user=otto lrs\n",
    b"anyone l\n",
    b"-user=otto w\n",
    b'"user=a b" l\n',
    b"\x011",
    b"\n",
    b"\t",
    b" :",
    b"\0",
]
content = st.lists(st.sampled_from(LINES) | st.binary(max_size=12), max_size=20).map(b"".join)


def readers(directory: Path) -> dict[str, Callable[[], object]]:
    """Every file that the programs read in a Maildir, and what reads it."""
    where = str(directory)
    return {
        uidlist.NAME: lambda: uidlist.read(f"{where}/{uidlist.NAME}"),
        keywords.NAME: lambda: keywords.load(where),
        keywords.FURTHER: lambda: keywords.load(where),
        subscriptions.NAME: lambda: subscriptions.load(where),
        modseqs.NAME: lambda: modseqs.Log(where).catch_up(1),
        acl.NAME: lambda: acl.read(where),
    }


@pytest.mark.parametrize("name", readers(Path()))
@tries
@given(data=content)
def test_files(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / f"files-{name}"
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(data)
    with contextlib.suppress(uidlist.Corrupt, acl.Broken, OSError):
        readers(directory)[name]()


@pytest.mark.parametrize("name", readers(Path()))
@pytest.mark.parametrize("line", LINES)
def test_files_take_linear_time(tmp_path: Path, name: str, line: bytes) -> None:
    def work(size: int) -> None:
        (tmp_path / name).write_bytes(b"3 V1 N1 G0\n" + line * (size // len(line)))
        with contextlib.suppress(uidlist.Corrupt, acl.Broken, OSError):
            readers(tmp_path)[name]()

    linear(work, 10_000)
