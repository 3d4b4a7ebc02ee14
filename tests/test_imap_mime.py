"""Content-Type and the like. What Dovecot makes of many more is in golden/structures.json."""

import pytest

from lanmail.mime import values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain", (b"text", b"plain", [])),
        (b"text/plain; charset=utf-8", (b"text", b"plain", [(b"charset", b"utf-8")])),
        (b' Text/HTML ;\n\tA="utf-8" (yes); b=c', (b"Text", b"HTML", [(b"A", b"utf-8"), (b"b", b"c")])),
        (b"text (a) / (b) plain", (b"text", b"plain", [])),
        (b"text", (b"text", b"", [])),
        (b"text plain", (b"", b"", [])),
        (b"text/plain rubbish", (b"", b"", [])),
        (b"text/", (b"", b"", [])),
        (b"", (b"", b"", [])),
        (b"a/b; c=d e; f=g", (b"a", b"b", [(b"c", b"d"), (b"f", b"g")])),
        (b'a/b; c="d\\"e\n f"; g="open', (b"a", b"b", [(b"c", b'd"e f')])),
        (b"a/b; c==?utf-8?q?d?=; e=f", (b"a", b"b", [(b"c", b"=?utf-8?q?d?="), (b"e", b"f")])),
        (b"a/b; c=", (b"a", b"b", [(b"c", b"")])),
    ],
)
def test_content_type(value: bytes, expected: tuple[bytes, bytes, values.Parameters]) -> None:
    assert values.content_type(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"; n*0=a; n*1=b", [(b"n", b"ab")]),
        (b"; n*1=b; n*0=a", [(b"n", b"ab")]),
        (b"; n*0*=utf-8''%41; n*1=b%", [(b"n*", b"utf-8''%41b%25")]),
        (b"; n*0=a; n*1*=%42", [(b"n*", b"''a%42")]),
        (b"; n*=utf-8''x", [(b"n*", b"utf-8''x")]),
        (b"; n*0=a; n*2=c", [(b"n*0", b"a"), (b"n*2", b"c")]),
        (b"; m*0=a; m*1=b; n*=utf-8''x", [(b"m", b"ab"), (b"n*", b"utf-8''x")]),
        (b"; n*0=a; n*1=b; n*=utf-8''x", [(b"n*", b"utf-8''x"), (b"n", b"ab")]),
        (b"; n=x; n*0=a", [(b"n", b"x"), (b"n", b"a")]),
        (b"; n*x=a", [(b"n*x", b"a")]),
        (b"; n*99999999999999999999=a", [(b"n*999999999", b"a")]),
    ],
)
def test_rfc2231_parameters(value: bytes, expected: values.Parameters) -> None:
    assert values.parameters(value, 0) == expected


def test_parameters_are_bounded() -> None:
    assert len(values.parameters(b"; a=b" * 1000, 0)) == values.MAX_STEPS
    assert values.parameters(b"; a=b " + b"x" * 200 + b"; c=d", 0) == [(b"a", b"b")]


def test_disposition_encoding_languages() -> None:
    assert values.disposition(b"attachment; filename=x") == (b"attachment", [(b"filename", b"x")])
    assert values.disposition(b"; filename=x") == (b"", [(b"filename", b"x")])
    assert values.disposition(b"(open") is None
    assert values.encoding(b" base64 (really)") == b"base64"
    assert values.encoding(b"base64; x") is None
    assert values.encoding(b"") is None
    assert values.languages(b"en, de (Deutsch) , fr;q=1, it") == [b"en", b"de", b"fr"]
