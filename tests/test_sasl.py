"""The server side of SASL: good answers, broken answers, hostile answers."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import errors, sasl

ALL = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"]


def test_nothing_is_offered_where_a_password_could_be_overheard():
    assert sasl.mechanisms(secure=False) == []
    assert sasl.mechanisms(secure=False, oauth=True) == []


def test_oauth_is_offered_only_when_asked_for():
    assert sasl.mechanisms(secure=True) == ["PLAIN", "LOGIN"]
    assert set(sasl.mechanisms(secure=True, oauth=True)) == set(ALL)


def test_plain_with_initial_response():
    exchange = sasl.start("PLAIN", b"\0meier\0geheim")
    assert exchange.credentials == sasl.Credentials("meier", password="geheim", mechanism="PLAIN")
    assert exchange.challenge is None


def test_plain_in_two_lines_asks_with_an_empty_challenge():
    exchange = sasl.start("plain", None)
    assert exchange.credentials is None
    assert exchange.challenge == b""
    credentials = exchange.respond(b"meier\0meier\0geheim")
    assert credentials is not None
    assert (credentials.authzid, credentials.user) == ("meier", "meier")


@pytest.mark.parametrize("raw", [b"", b"\0", b"meier", b"\0meier", b"a\0b\0c\0d", b"\0\0geheim", b"\0meier\0gehe\0im"])
def test_plain_malformed(raw):
    with pytest.raises(sasl.BadResponse):
        sasl.start("PLAIN", raw)


def test_plain_empty_password_is_an_answer_and_not_a_syntax_error():
    credentials = sasl.start("PLAIN", b"\0meier\0").credentials
    assert credentials is not None
    assert credentials.password == ""


def test_a_password_may_hold_anything_but_nul():
    credentials = sasl.start("PLAIN", b"\0meier\0a\r\nb").credentials
    assert credentials is not None
    assert credentials.password == "a\r\nb"
    assert "a\\r" not in repr(credentials)


def test_secrets_are_not_printed():
    assert "geheim" not in repr(sasl.start("PLAIN", b"\0meier\0geheim").credentials)
    assert "tok" not in repr(sasl.start("XOAUTH2", b"user=meier\x01auth=Bearer tok\x01\x01").credentials)


def test_login_prompts_twice():
    exchange = sasl.start("LOGIN", None)
    assert exchange.challenge == b"Username:"
    assert exchange.respond(b"meier") is None
    assert exchange.challenge == b"Password:"
    assert exchange.respond(b"geheim") == sasl.Credentials("meier", password="geheim", mechanism="LOGIN")


def test_login_takes_the_user_name_as_initial_response():
    exchange = sasl.start("LOGIN", b"meier")
    assert exchange.challenge == b"Password:"


@pytest.mark.parametrize(
    ("user", "password"), [(b"", b"x"), (b"mei\0er", b"x"), (b"meier", b"x\0"), (b"m" * 600, b"x")]
)
def test_login_malformed(user, password):
    exchange = sasl.start("LOGIN", user)
    with pytest.raises(sasl.BadResponse):
        exchange.respond(password)


def test_umlauts_in_utf8_and_in_latin1_are_the_same_password():
    new = sasl.start("PLAIN", "\0meier\0grün".encode()).credentials
    old = sasl.start("PLAIN", "\0meier\0grün".encode("latin-1")).credentials
    assert new is not None
    assert old is not None
    assert new.password == old.password == "grün"


def test_xoauth2():
    credentials = sasl.start("XOAUTH2", b"user=meier@office.lan\x01auth=Bearer ya29.vF9_-~+/==\x01\x01").credentials
    assert credentials == sasl.Credentials("meier@office.lan", token="ya29.vF9_-~+/==", mechanism="XOAUTH2")


def test_oauthbearer_with_host_port_and_escaped_user():
    raw = b"n,a=a=2Cb=3Dc@office.lan,\x01host=mail.office.lan\x01port=587\x01auth=bearer abc.def\x01\x01"
    exchange = sasl.start("OAUTHBEARER", None)
    assert exchange.respond(raw) == sasl.Credentials("a,b=c@office.lan", token="abc.def", mechanism="OAUTHBEARER")


def test_oauthbearer_without_a_user():
    credentials = sasl.start("OAUTHBEARER", b"n,,\x01auth=Bearer abc\x01\x01").credentials
    assert credentials is not None
    assert credentials.user == ""


@pytest.mark.parametrize(
    ("mechanism", "raw"),
    [
        ("XOAUTH2", b""),
        ("XOAUTH2", b"\x01"),
        ("XOAUTH2", b"user=meier\x01auth=Bearer abc\x01"),
        ("XOAUTH2", b"user=meier\x01auth=Basic abc\x01\x01"),
        ("XOAUTH2", b"user=meier\x01auth=Bearer \x01\x01"),
        ("XOAUTH2", b"user=meier\x01auth=Bearer a b\x01\x01"),
        ("XOAUTH2", b"user=meier\x01auth=Bearer a\r\nb\x01\x01"),
        ("XOAUTH2", b"user=meier\x01user=chef\x01auth=Bearer abc\x01\x01"),
        ("XOAUTH2", b"user=mei\0er\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"p=tls-unique,a=meier,\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"n,a=mei=er,\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"n,meier,\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"n,a=meier\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"n,a=meier,auth=Bearer abc"),
        ("OAUTHBEARER", b"n,a=meier,\x01auth=Bearer abc\x01"),
    ],
)
def test_token_mechanisms_malformed(mechanism, raw):
    with pytest.raises(sasl.BadResponse):
        sasl.start(mechanism, raw)


def test_only_the_token_mechanisms_have_an_error_challenge():
    token = sasl.start("OAUTHBEARER", b"n,,\x01auth=Bearer abc\x01\x01")
    assert token.refusal is not None
    assert b"invalid_token" in token.refusal
    assert sasl.start("XOAUTH2", None).refusal is not None
    assert sasl.start("PLAIN", None).refusal is None
    assert sasl.start("LOGIN", None).refusal is None


@pytest.mark.parametrize("line", [b"AQ==", b"AQ==\r\n", b"", b"\r\n"])
def test_both_answers_to_the_error_challenge_decode(line):
    assert sasl.decode(line) in (b"\x01", b"")


def test_nothing_more_is_taken_after_the_credentials():
    exchange = sasl.start("PLAIN", b"\0meier\0geheim")
    with pytest.raises(sasl.BadResponse):
        exchange.respond(b"\0chef\0geheim")


@pytest.mark.parametrize("name", ["CRAM-MD5", "EXTERNAL", "", "PLAIN\0", "..", "ANONYMOUS"])
def test_unknown_mechanism(name):
    with pytest.raises(sasl.UnknownMechanism) as caught:
        sasl.start(name, None)
    assert caught.value.code == 504


def test_decode_takes_the_empty_initial_response():
    assert sasl.decode(b"=") == b""
    assert sasl.decode(b"") == b""
    assert sasl.decode(base64.b64encode(b"\0a\0b") + b"\r\n") == b"\0a\0b"


@pytest.mark.parametrize("line", [b"!!!!", b"AGE", b"AG E=", b"\xff\xfe", b"AGEAYg==AAAA", b"=AAA", b"===="])
def test_decode_refuses_what_is_not_base64(line):
    with pytest.raises(sasl.BadResponse):
        sasl.decode(line)


def test_oversize_is_refused_before_it_is_decoded():
    with pytest.raises(sasl.BadResponse) as caught:
        sasl.decode(b"A" * (sasl.MAX_LINE + 4))
    assert caught.value.dsn == "5.5.6"
    with pytest.raises(sasl.BadResponse):
        sasl.start("XOAUTH2", b"user=meier\x01auth=Bearer " + b"a" * sasl.MAX_LINE + b"\x01\x01")
    with pytest.raises(sasl.BadResponse):
        sasl.start("PLAIN", b"\0meier\0" + b"x" * 2000)


def test_a_large_token_fits():
    token = b"a" * 8000
    assert sasl.start("XOAUTH2", b"user=meier\x01auth=Bearer " + token + b"\x01\x01").credentials is not None


def test_the_answers_of_the_three_refusals():
    assert str(sasl.AuthFailed("wrong password")) == "535 5.7.8 Authentication failed"
    assert sasl.Throttled(7).wait == 7
    assert isinstance(sasl.Throttled(7), errors.Temporary)
    assert isinstance(sasl.BadResponse(), errors.Permanent)


@given(st.sampled_from(ALL), st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_whatever_comes_is_credentials_or_bad_response(mechanism, answers):
    try:
        exchange = sasl.start(mechanism, None)
        for answer in answers:
            exchange.respond(answer)
    except sasl.BadResponse:
        return
    credentials = exchange.credentials
    if credentials is not None:
        assert "\0" not in credentials.user
        assert (credentials.password is None) != (credentials.token is None)


@given(st.binary(max_size=200))
def test_decode_never_raises_anything_else(line):
    try:
        assert sasl.decode(sasl.encode(sasl.decode(line))) == sasl.decode(line)
    except sasl.BadResponse:
        return
