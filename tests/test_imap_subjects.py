"""The base subject of RFC 5256 §2.1, and the order of i;unicode-casemap."""

import re
import time

import pytest
from hypothesis import given, strategies

from lanmail.imap import subjects
from lanmail.imap.subjects import Subject
from lanmail.mime import casemap


@pytest.mark.parametrize(("subject", "base", "reply"), [
    (b"Angebot", "ANGEBOT", False),
    (b"Re: Angebot", "ANGEBOT", True),
    (b"RE:re:  Fwd: fw :Angebot", "ANGEBOT", True),
    (b"Re [2]: Angebot", "ANGEBOT", True),
    (b"[list] Re: [list] Angebot (fwd)  (FWD) ", "ANGEBOT", True),
    (b"[list][other] Angebot", "ANGEBOT", False),
    (b"Angebot [list]", "ANGEBOT [LIST]", False),
    (b"[list]", "[LIST]", False),
    (b"[one] [two]", "[TWO]", False),
    (b"[one] Re: [two]", "[TWO]", True),
    (b"Re: [fwd: [fwd: re: [fwd: babylon]]]", "BABYLON", True),
    (b"[fwd: b (fwd) ] ", "B", True),
    (b"[fwd:]", "", True),
    (b"[fwd: a] b", "B", False),
    (b"Fwd:", "", True),
    (b"(fwd)", "", True),
    (b"Reply: x", "REPLY: X", False),
    (b"Re x", "RE X", False),
    (b"Re[a[b]: x", "RE[A[B]: X", False),
    (b"a\n\tb  c", "A B C", False),
    (b"=?utf-8?q?Re=3A_b?=", "B", True),
    (b"=?iso-8859-1?q?Gr=FC=DFe?=", "GRU\N{COMBINING DIAERESIS}ßE", False),
    (b"", "", False),
    (b" ", "", False),
])
def test_base_subject(subject: bytes, base: str, reply: bool) -> None:
    assert subjects.base(subject) == Subject(base, reply)


@given(strategies.lists(strategies.sampled_from(
    ["[", "]", " ", ":", "re", "fw", "fwd", "[fwd:", "(fwd)", "a", "[x]"]), max_size=14).map("".join))
def test_it_is_what_the_steps_of_the_rfc_make(text: str) -> None:
    assert subjects.base(text.encode()).base == _by_the_book(text)


def _by_the_book(text: str) -> str:
    """The steps as RFC 5256 §2.1 has them, slowly."""
    text = re.sub(" +", " ", text.upper())
    while True:
        while stripped := re.search(r"(?:\(FWD\)| )\Z", text):  # (2)
            text = text[: stripped.start()]
        while True:
            leader = re.match(r"(?:(?:\[[^\[\]]*\] *)*(?:RE|FWD?) *(?:\[[^\[\]]*\] *)?:| )", text)  # (3)
            if leader:
                text = text[leader.end() :]
                continue
            blob = re.match(r"\[[^\[\]]*\] *", text)  # (4)
            if not blob or blob.end() == len(text):
                break
            text = text[blob.end() :]
        if not (text.startswith("[FWD:") and text.endswith("]")):  # (6)
            return text
        text = text[5:-1]


@pytest.mark.parametrize("piece", [b"[a]", b"re:", b"[fwd:", b"re[a", b"(fwd)", b"[fwd:re[a]", b"[", b" "])
def test_hostile_subjects_take_linear_time(piece: bytes) -> None:
    start = time.process_time()
    subjects.base(piece * 1_000_000)
    subjects.base(piece * 3000 + b"]" * 3000)
    assert time.process_time() - start < 1


def test_order_of_texts() -> None:
    words = ["_", "zebra", "Ärger", "apfel", "Zug", "arm", "1", "ähre"]
    # titlecase puts "_" behind letters; the accent comes after the letter it stands on
    assert sorted(words, key=casemap.collated) == ["1", "apfel", "arm", "ähre", "Ärger", "zebra", "Zug", "_"]
    assert casemap.collated("ÄrgER") == casemap.collated("a\N{COMBINING DIAERESIS}rger")
    assert casemap.collated("ǆ") == casemap.collated("ǅ")  # Unicode's titlecase, not its upper case
