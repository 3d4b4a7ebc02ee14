"""Modified UTF-7: RFC 3501's examples, one spelling for one name, and nothing but ValueError for the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import mutf7


@pytest.mark.parametrize(("text", "encoded"), [
    ("INBOX", "INBOX"),
    ("Entwürfe", "Entw&APw-rfe"),
    ("R&D", "R&-D"),
    ("&", "&-"),
    ("ü&ü", "&APw-&-&APw-"),
    ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 §5.1.3
    ("😀", "&2D3eAA-"),
    ("a\tb", "a&AAk-b"),
])
def test_known_spellings(text: str, encoded: str) -> None:
    assert mutf7.encode(text) == encoded
    assert mutf7.decode(encoded) == text


@pytest.mark.parametrize("encoded", [
    "&AC4ALgAv-",       # "../" in disguise
    "&AGE-",            # "a" needs no shift
    "&APw",             # no end
    "&APw-&APw-x",      # two shifts in a row are one
    "&AP-",             # not a whole character
    "&2D0-",            # half a surrogate pair
    "&!!-",
    "ü",                # 8 bit
    "a\x00b",
    "&APx-",            # padding bits set
])
def test_anything_else_is_refused(encoded: str) -> None:
    with pytest.raises(ValueError, match=r"modified UTF-7|shift"):
        mutf7.decode(encoded)


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    encoded = mutf7.encode(text)
    assert encoded.isascii()
    assert mutf7.decode(encoded) == text


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)) | st.from_regex(r"(&[A-Za-z0-9+,]{0,8}-?|[a-c])*"))
def test_what_is_accepted_is_canonical(text: str) -> None:
    try:
        decoded = mutf7.decode(text)
    except ValueError:
        return
    assert mutf7.encode(decoded) == text
