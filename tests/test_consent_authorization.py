"""oauth/authorization.py: what a provider is asked, and whose answers count."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanmail.oauth import authorization
from lanmail.oauth.authorization import Answer, Asked, Declined, Foreign

ISSUER = "https://id.example"


def asked(**extra: str) -> Asked:
    return authorization.ask("https://id.example/authorize?tenant=x", "client 1", "http://localhost:4711",
                             "openid https://mail.example/IMAP offline_access", "Eva+m@firma.example", extra)


def test_what_is_asked() -> None:
    one = asked(access_type="offline", prompt="consent")
    said = {name: values[0] for name, values in parse_qs(urlsplit(one.url).query).items()}
    assert said == {
        "tenant": "x", "client_id": "client 1", "response_type": "code", "redirect_uri": "http://localhost:4711",
        "scope": "openid https://mail.example/IMAP offline_access", "state": one.state, "nonce": one.nonce,
        "code_challenge": authorization.challenge(one.verifier), "code_challenge_method": "S256",
        "login_hint": "Eva+m@firma.example", "access_type": "offline", "prompt": "consent",
    }
    assert "+" not in urlsplit(one.url).query  # a blank as + is not understood by every provider


def test_challenge_is_that_of_the_standard() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
    assert authorization.challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_each_request_has_its_own_secrets_and_shows_none() -> None:
    one, other = asked(), asked()
    assert not {one.state, one.verifier, one.nonce} & {other.state, other.verifier, other.nonce}
    assert 43 <= len(one.verifier) <= 128  # RFC 7636 §4.1
    assert one.verifier not in repr(one)
    assert repr(Answer("secret-code", "secret-state")).count("secret") == 0


@pytest.mark.parametrize("text", [
    "http://localhost:4711/?code=a%2Fb&state=S&iss=https%3A%2F%2Fid.example",
    "localhost:4711/?state=S&iss=https://id.example&code=a%2Fb",
    "?code=a%2Fb&state=S&iss=https%3A%2F%2Fid.example",
    "code=a%2Fb&state=S&iss=https%3A%2F%2Fid.example",
    "  <http://localhost:4711/?code=a%2Fb&sta\n  te=S&iss=https%3A%2F%2Fid.\r\n\texample>  ",
    "http://localhost:4711/#code=a%2Fb&state=S&iss=https%3A%2F%2Fid.example&session_state=1",
])
def test_reading_an_address_line(text: str) -> None:
    assert authorization.read(text) == Answer("a/b", "S", ISSUER)


@pytest.mark.parametrize(("text", "code"), [
    ("4/0AbCdEf-gh", "4/0AbCdEf-gh"), ("4%2F0AbCdEf-gh", "4/0AbCdEf-gh"),
    ("M.C123_BAY.0.U.1b!*$x", "M.C123_BAY.0.U.1b!*$x"),
    (" 0.AXoA\nbcdefgh== \n", "0.AXoAbcdefgh=="),
])
def test_reading_a_code_alone(text: str, code: str) -> None:
    assert authorization.read(text) == Answer(code)


@pytest.mark.parametrize("text", ["", "x", "yes", "code", "error", "?code=", "http://localhost:4711/?code=&state=S",
                                  "something else than a code", "http://localhost:4711/", "https://id.example/authorize?client_id=1",
                                  "grüße-und-mehr", "?state=S", "x" * 20_000])
def test_what_is_no_answer(text: str) -> None:
    with pytest.raises(Foreign):
        authorization.read(text)


@given(st.text(max_size=200) | st.text("?#=&%[]:/code\n stae+", max_size=60))
@example("code")
@example("?code=&state=S")
def test_whatever_is_pasted_is_an_answer_or_none(text: str) -> None:
    try:
        answer = authorization.read(text)
    except Foreign:
        return
    assert answer.code or answer.error


def test_a_broken_address_is_no_reason_to_stop() -> None:
    assert authorization.read("http://[localhost?code=4711&state=S") == Answer("4711", "S")


def test_an_answer_that_says_something_twice_is_none() -> None:
    with pytest.raises(Foreign, match="says code twice"):
        authorization.read("http://localhost/?code=mine&state=S&code=yours")


def test_the_answer_to_this_request() -> None:
    one = asked()
    assert authorization.judge(Answer("c", one.state, ISSUER), one, ISSUER) == "c"
    assert authorization.judge(Answer("c", one.state), one) == "c"
    assert authorization.judge(Answer("c"), one, ISSUER, pasted=True) == "c"


@pytest.mark.parametrize("state", ["", None, "other", "\u00e9"])
def test_an_answer_with_another_state_is_foreign(state: str | None) -> None:
    with pytest.raises(Foreign, match="another log-in"):
        authorization.judge(Answer("c", state), asked(), pasted=state is not None)


def test_an_error_with_another_state_is_foreign_too() -> None:
    with pytest.raises(Foreign):
        authorization.judge(Answer(error="access_denied", state="other"), asked())
    with pytest.raises(Foreign):
        authorization.judge(Answer(error="access_denied"), asked(), pasted=True)


@pytest.mark.parametrize(("issuer", "words"), [
    ("https://evil.example", "comes from 'https://evil"), (None, "does not")])
def test_an_answer_of_another_provider(issuer: str | None, words: str) -> None:
    """RFC 9207 §2.4: two providers, one of which gives our code to the other."""
    one = asked()
    with pytest.raises(Foreign, match=words):
        authorization.judge(Answer("c", one.state, issuer), one, ISSUER)


def test_an_error_is_told_as_the_provider_says_it() -> None:
    one = asked()
    said = quote("AADSTS65004: User\x1b[2J declined\nto consent")
    line = f"?error=access_denied&error_description={said}"
    with pytest.raises(Declined) as caught:
        authorization.judge(authorization.read(f"{line}&state={one.state}"), one)
    assert caught.value.error == "access_denied"
    assert caught.value.text == "the provider says access_denied: AADSTS65004: User [2J declined to consent"


def test_ports_of_loopback_redirects() -> None:
    """RFC 8252 §7.3: the port is chosen; a registered one stays, and a page of a server is left alone."""
    assert authorization.at_port("http://localhost", 81) == "http://localhost:81"
    assert authorization.at_port("http://127.0.0.1/back", 81) == "http://127.0.0.1:81/back"
    assert authorization.at_port("http://[::1]/", 81) == "http://[::1]:81/"
    assert authorization.at_port("http://localhost:80", 81) == "http://localhost:80"
    assert authorization.at_port("https://mail.firma.example/oauth2/callback", 81).startswith("https://mail.firma")
    assert authorization.is_loopback("http://localhost")
    assert not authorization.is_loopback("https://localhost")
