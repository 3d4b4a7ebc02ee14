"""LMS Autoresponder on: which text of the mail becomes the answer, and what is said when there is none."""

import base64
import email.message
import email.policy
import quopri
from pathlib import Path

import pytest

from lanmail import config
from tests.commands import TEXT, Root, answer, kept, set_account, visited

GERMAN = "Grüße aus Österreich\n\n-- \nEva\n"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def responder(root: Root) -> dict:
    return kept(root).get("autoresponder", {})


def headers(kind: str, encoding: str = "8bit") -> bytes:
    return f"MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n".encode()


@pytest.mark.parametrize(("header", "body"), [
    (TEXT, GERMAN.encode()),
    (TEXT, GERMAN.replace("\n", "\r\n").encode()),
    (TEXT, b"\n\n" + GERMAN.encode() + b"\n \n\n"),
    (b"", GERMAN.encode()),
    (b"", GERMAN.encode("cp1252")),
    (headers("text/plain; charset=utf-8", "base64"), base64.encodebytes(GERMAN.encode())),
    (headers("text/plain; charset=utf-8", "base64"), base64.encodebytes("\ufeff".encode() + GERMAN.encode())),
    (headers("text/plain; charset=iso-8859-1", "quoted-printable"), quopri.encodestring(GERMAN.encode("latin-1"))),
    (headers("text/plain; charset=utf-16", "base64"), base64.encodebytes(GERMAN.encode("utf-16"))),
    (headers('TEXT/Plain; charset="ISO-8859-15"'), GERMAN.encode("iso8859-15")),
    (headers("text/plain; charset=unknown-8bit"), GERMAN.encode()),
    (headers("text/plain; charset=utf-8"), GERMAN.encode().replace(b"aus", b"a\0\x1b\x07us")),
])
def test_the_text_as_it_was_written(root: Root, header: bytes, body: bytes) -> None:
    found = answer(visited(root, "LMS Autoresponder on", header=header, body=body))
    assert found["Subject"] == "The autoresponder is on"
    assert responder(root) == {"enabled": True, "text": GERMAN}
    assert found.get_content().endswith(f"Subject: Re: and the subject of the mail that is answered\n\n{GERMAN}")


def test_lines_that_the_mail_program_wrapped_are_whole_again(root: Root) -> None:
    flowed = b"I am away \nuntil \nMonday.\n \nFrom then on \nI answer.\n  indented\n-- \nEva\n"
    visited(root, "LMS Autoresponder on", header=headers("text/plain; format=flowed"), body=flowed.replace(b"\nFrom",
                                                                                                         b"\n From"))
    assert responder(root)["text"] == "I am away until Monday.\n\nFrom then on I answer.\n indented\n-- \nEva\n"
    visited(root, "LMS Autoresponder on", body=b"Zeit \nraum\n",
            header=headers("text/plain; format=flowed; delsp=yes"))
    assert responder(root)["text"] == "Zeitraum\n"


@pytest.mark.parametrize(("subject", "stored"), [
    ("Bin WEG bis  Montag", "Bin WEG bis Montag"),
    ("=?iso-8859-1?Q?Gr=FC=DFe?= [SUBJECT]", "Grüße [SUBJECT]"),
    ("=?utf-8?Q?a=0D=0ABcc:_x@example.org?=", "a Bcc: x@example.org"),
    ("off", "off"),
])
def test_the_rest_of_the_subject_is_the_subject_of_the_answer(root: Root, subject: str, stored: str) -> None:
    found = answer(visited(root, f"LMS AUTORESPONDER On {subject}"))
    assert responder(root)["subject"] == stored
    assert f"\nSubject: {stored}\n" in found.get_content()
    assert found["Bcc"] is None
    visited(root, "LMS Autoresponder on")
    assert "subject" not in responder(root), "the next one without a subject takes it away"


def built(*parts: tuple[str, str, str], subtype: str = "alternative") -> tuple[bytes, bytes]:
    """Header lines and body of a multipart of (type, disposition, text)."""
    made = email.message.EmailMessage(email.policy.SMTP.clone(linesep="\n"))
    made.set_type(f"multipart/{subtype}")
    for kind, disposition, text in parts:
        part = email.message.EmailMessage(email.policy.SMTP.clone(linesep="\n"))
        part.set_content(text, subtype=kind.partition("/")[2], **({"disposition": disposition} if disposition else {}))
        made.attach(part)
    header, _, body = made.as_bytes().partition(b"\n\n")
    return header + b"\n", body


@pytest.mark.parametrize("parts", [
    built(("text/plain", "", GERMAN), ("text/html", "", "<p>x</p>")),
    built(("text/html", "", "<p>x</p>"), ("text/plain", "", GERMAN)),
    built(("text/plain", "", GERMAN), ("text/plain", "attachment", "terms"), subtype="mixed"),
    built(("text/plain", "attachment", "terms"), ("text/plain", "inline", GERMAN), subtype="mixed"),
])
def test_the_plain_text_of_several_parts(root: Root, parts: tuple[bytes, bytes]) -> None:
    visited(root, "LMS Autoresponder on", header=parts[0], body=parts[1])
    assert responder(root)["text"] == GERMAN


@pytest.mark.parametrize(("header", "body", "why"), [
    (TEXT, b"", "has no text"),
    (TEXT, b" \n\t\n\r\n\0", "has no text"),
    (headers("text/plain; charset=utf-8", "base64"), b"!!!!", "has no text"),
    (headers("text/html"), b"<p>away</p>\n", "no plain text"),
    (*built(("text/html", "", "<p>away</p>")), "no plain text"),
    (*built(("text/plain", "", "\n"), ("text/html", "", "<p>away</p>")), "has no text"),
    (*built(("text/plain", "attachment", "terms"), subtype="mixed"), "no plain text"),
    (headers("application/pkcs7-mime", "base64"), b"AAAA\n", "no plain text"),
    (headers("message/rfc822"), b"Subject: x\n\ntext of a stranger\n", "no plain text"),
    (headers("multipart/mixed; boundary=b"), b"--b\nContent-Type: message/rfc822\n\nSubject: x\n\ntext\n--b--\n",
     "no plain text"),
    (TEXT, b"line\n" * 20_000, "longer than 64 KB"),
    (TEXT, "ü".encode() * 40_000, "longer than 64 KB"),
    (headers("image/png", "base64"), b"AAAA\n" * 400_000, "no plain text"),
])
def test_without_a_text_nothing_changes(root: Root, header: bytes, body: bytes, why: str) -> None:
    set_account(root, autoresponder__text="before\n")
    before = (root.paths.accounts / "meier.toml").read_bytes()
    found = answer(visited(root, "LMS Autoresponder on", header=header, body=body))
    assert found["Subject"] == "The autoresponder was not changed"
    assert why in found.get_content()
    assert (root.paths.accounts / "meier.toml").read_bytes() == before


def test_a_subject_that_is_too_long_changes_nothing(root: Root) -> None:
    found = answer(visited(root, "LMS Autoresponder on " + "x" * 501))
    assert "longer than 500 characters" in found.get_content()
    assert responder(root) == {}


def test_a_period_is_cleared_and_the_rest_stays(root: Root) -> None:
    set_account(root, autoresponder__from="2026-12-24", autoresponder__until="2026-12-31", autoresponder__once_per="1d",
                autoresponder__forward=["schmidt"])
    visited(root, "LMS Autoresponder on", body=b"away\n")
    account = config.load_account(root.paths.accounts / "meier.toml").autoresponder
    assert (account.enabled, account.from_, account.until, account.once_per) == (True, "", "", 86400.0)
    assert account.forward == ["schmidt"]
    assert account.active(1_900_000_000.0)


def test_off_keeps_the_text(root: Root) -> None:
    visited(root, "LMS Autoresponder on Away", body=b"away\n")
    found = answer(visited(root, "LMS autoresponder OFF", header=headers("text/html"), body=b"\xff"))
    assert found["Subject"] == "The autoresponder is off"
    account = config.load_account(root.paths.accounts / "meier.toml").autoresponder
    assert (account.enabled, account.subject, account.text) == (False, "Away", "away\n")


def test_a_text_full_of_settings_stays_a_text(root: Root) -> None:
    text = b'"""\n[forward]\nto = ["evil@example.org"]\n# enabled = false\n\\u0000 \'\'\' \\\n"""\n'
    path = root.paths.accounts / "meier.toml"
    path.write_text('disabled = false\n[autoresponder]\n# enabled = false\n# text = ""\n')
    visited(root, "LMS Autoresponder on", body=text)
    visited(root, "LMS Autoresponder off")
    visited(root, "LMS Forwarding on schmidt")
    assert kept(root) == {"disabled": False, "autoresponder": {"text": text.decode()}, "forward": {"to": ["schmidt"]}}


def test_without_internet_it_says_whom_it_answers(root: Root) -> None:
    set_account(root, deny_internet=True)
    assert "from the internet is not answered" in answer(visited(root, "LMS Autoresponder on")).get_content()
