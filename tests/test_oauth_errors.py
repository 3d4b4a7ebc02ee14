"""What answers of token endpoints mean: the table of reactions, and the request that brings a token."""

import base64
import json
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote_plus

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

from lanmail import paths
from lanmail.clients.httpclient import Answer
from lanmail.oauth import apps, assertion, endpoint, errors
from tests.httppeer import Peer, ok

HTML = b"<html><h1>503 Service Unavailable</h1></html>"


def answer(status: int, said: object, **headers: str) -> Answer:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return Answer(status, "", {name.replace("_", "-"): value for name, value in headers.items()}, body, True)


def microsoft(error: str, number: int, **more: object) -> dict[str, object]:
    text = f"AADSTS{number}: Something. Trace ID: 1-2 Correlation ID: 3-4 Timestamp: 2026-11-01 10:00:00Z"
    return {"error": error, "error_codes": [number], "error_description": text, **more}


TABLE = [
    # what nobody can understand keeps the token
    (503, HTML, errors.TRANSIENT), (500, {"error": "invalid_grant"}, errors.TRANSIENT), (502, b"", errors.TRANSIENT),
    (408, {}, errors.TRANSIENT), (200, HTML, errors.TRANSIENT), (200, {"token_type": "bearer"}, errors.TRANSIENT),
    (200, {"access_token": ""}, errors.TRANSIENT), (200, {"access_token": 5}, errors.TRANSIENT),
    (200, [], errors.TRANSIENT), (400, b"no json", errors.TRANSIENT), (404, {}, errors.TRANSIENT),
    (401, HTML, errors.TRANSIENT), (302, b"", errors.TRANSIENT), (400, {"error": "brand_new"}, errors.TRANSIENT),
    (400, {"error": ["list"]}, errors.TRANSIENT), (400, {"error": "server_error"}, errors.TRANSIENT),
    # too many requests
    (429, HTML, errors.THROTTLED), (429, {"error": "invalid_grant"}, errors.THROTTLED),
    (400, {"error": "temporarily_unavailable"}, errors.THROTTLED),
    (400, microsoft("invalid_request", 90033), errors.THROTTLED),
    (400, microsoft("invalid_grant", 50196), errors.THROTTLED),
    # device codes
    (400, {"error": "authorization_pending"}, errors.PENDING), (400, {"error": "slow_down"}, errors.PENDING),
    # a person is needed, or perhaps
    (400, {"error": "invalid_grant"}, errors.SUSPECT), (400, microsoft("invalid_grant", 70000), errors.SUSPECT),
    (400, microsoft("invalid_grant", 9999999), errors.SUSPECT), (401, {"error": "invalid_grant"}, errors.SUSPECT),
    (400, {"error": "invalid_grant", "suberror": "bad_token"}, errors.CONSENT),
    (400, {"error": "invalid_grant", "suberror": "token_expired"}, errors.CONSENT),
    (400, {"error": "invalid_grant", "suberror": "client_mismatch"}, errors.CONFIG),
    (400, {"error": "invalid_grant", "suberror": "protection_policy_required"}, errors.CONFIG),
    *((400, microsoft("invalid_grant", number), errors.CONSENT) for number in (
        50173, 700082, 700084, 70043, 50076, 50078, 50079, 530003, 530999)),
    (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, errors.CONSENT),
    (400, {"error": "invalid_grant", "error_subtype": "invalid_rapt"}, errors.CONSENT),
    (400, microsoft("invalid_grant", 65001), errors.CONSENT),
    (400, {"error": "interaction_required"}, errors.CONSENT), (400, {"error": "consent_required"}, errors.CONSENT),
    (400, {"error": "login_required"}, errors.CONSENT), (400, {"error": "bad_token"}, errors.CONSENT),
    # the app
    (401, microsoft("invalid_client", 7000222), errors.APP), (401, microsoft("invalid_client", 7000215), errors.APP),
    (400, microsoft("unauthorized_client", 700016), errors.APP), (401, {"error": "invalid_client"}, errors.APP),
    # what is asked
    (400, {"error": "invalid_scope"}, errors.CONFIG), (400, microsoft("invalid_request", 900144), errors.CONFIG),
    (400, microsoft("invalid_request", 9002313), errors.CONFIG), (400, microsoft("invalid_request", 50011),
                                                                  errors.CONFIG),
    (400, {"error": "unsupported_grant_type"}, errors.CONFIG),
    # the person said no
    (400, {"error": "access_denied"}, errors.DENIED), (400, {"error": "authorization_declined"}, errors.DENIED),
    (400, {"error": "expired_token"}, errors.DENIED),
]


@pytest.mark.parametrize(("status", "said", "reaction"), TABLE)
def test_reactions(status, said, reaction):
    verdict = errors.judge(answer(status, said))
    assert verdict is not None
    assert verdict.reaction == reaction
    assert verdict.text
    assert verdict.text.isprintable()
    assert "Trace ID" not in verdict.text


def test_a_token_is_the_only_good_answer():
    assert errors.judge(answer(200, {"access_token": "x"})) is None
    assert errors.judge(Answer(200, "", {}, b'{"access_token": "x"}', False)).reaction == errors.TRANSIENT
    assert errors.judge(answer(400, {"access_token": "x"})).reaction == errors.TRANSIENT


@pytest.mark.parametrize(("number", "reaction"), [(54005, errors.REDEEMED), (70000, errors.REDEEMED),
                                                  (50076, errors.CONSENT), (70008, errors.DENIED)])
def test_a_code_that_is_handed_in(number, reaction):
    assert errors.judge(answer(400, microsoft("invalid_grant", number)), exchanging=True).reaction == reaction


def test_words_for_people():
    secret = errors.judge(answer(401, microsoft("invalid_client", 7000222)))
    assert "client secret has expired" in secret.text
    assert errors.judge(answer(400, microsoft("invalid_grant", 50173))).text.startswith(
        "HTTP 400 invalid_grant: the password was changed")
    hostile = errors.judge(answer(400, {"error": "x\r\ny", "error_description": "\x1b[2J" + "y" * 5000}))
    assert hostile.text.isprintable()
    assert len(hostile.text) < 500


@pytest.mark.parametrize(("header", "least", "most"), [
    ("7", 7, 7), ("99999999", 86_400, 86_400), ("soon", 300, 300), ("", 300, 300), ("in ten minutes", 590, 600)])
def test_how_long_to_wait(header, least, most):
    if header == "in ten minutes":
        header = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600))
    assert least <= errors.judge(answer(429, {}, retry_after=header)).wait <= most


def test_claims_are_kept_for_the_next_consent():
    claims = '{"access_token":{"capolids":{"essential":true}}}'
    assert errors.judge(answer(400, {"error": "interaction_required", "claims": claims})).claims == claims


# the request

def app(where: paths.Paths, port: int, more: str = "") -> apps.App:
    path = apps.file_of(where, "azure")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'client_id = "id+1"\ntoken_url = "http://127.0.0.1:{port}/token"\n'
                    f'authorize_url = "https://a.example"\ntimeout = 2\n{more}\n')
    return apps.load(where, "azure")


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    made = paths.of_root(tmp_path)
    made.secrets.mkdir(parents=True)
    (made.secrets / "azure").write_text("a~b+c d&e\n")
    return made


def form(peer: Peer) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(peer.requests[-1][1].decode()).items()}


@pytest.mark.parametrize("life", [1800, "1800", 1800.0, "1.8e3"])
async def test_a_token(where, life):
    said = {"access_token": "A", "expires_in": life, "refresh_token": "R", "scope": "s", "id_token": "I",
            "refresh_token_expires_in": 604799}
    async with Peer(ok(json.dumps(said).encode())) as peer:
        before = time.time()
        got = await endpoint.ask(app(where, peer.port), where, {"grant_type": "refresh_token", "refresh_token": "r"})
    assert (got.access.reveal(), got.refresh.reveal(), got.scope, got.id_token.reveal()) == ("A", "R", "s", "I")
    after = time.time()
    assert before + 1795 < got.expires < after + 1805
    assert before + 604_790 < got.refresh_expires < after + 604_805
    assert form(peer) == {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "id+1"}


@pytest.mark.parametrize("life", [None, "x", -5, True, "nan", "inf", [], 0])
async def test_a_life_that_is_not_said_is_an_hour(where, life):
    async with Peer(ok(json.dumps({"access_token": "A", "expires_in": life}).encode())) as peer:
        got = await endpoint.ask(app(where, peer.port), where, {})
    assert 3500 < got.expires - time.time() <= 3600
    assert not got.refresh


async def test_a_secret_in_the_form_and_in_the_header(where):
    async with Peer(ok(b'{"access_token": "A"}')) as peer:
        await endpoint.ask(app(where, peer.port, 'client_secret = "file:secrets/azure"'), where, {})
        assert form(peer)["client_secret"] == "a~b+c d&e"
        assert b"authorization" not in peer.requests[-1][0].lower()
        await endpoint.ask(app(where, peer.port, 'client_secret = "file:secrets/azure"\n'
                               'client_auth = "client_secret_basic"'), where, {})
    head, body = peer.requests[-1]
    pair = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization: basic "))
    user, _, word = base64.b64decode(pair.split()[-1]).decode().partition(":")
    assert (unquote_plus(user), unquote_plus(word)) == ("id+1", "a~b+c d&e")
    assert b"secret" not in body


@pytest.mark.parametrize("talk", ["hang", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", b"220 smtp\r\n"])
async def test_no_answer_is_transient(where, talk):
    async with Peer(talk) as peer:
        with pytest.raises(errors.Refused) as caught:
            await endpoint.ask(app(where, peer.port), where, {})
    verdict = caught.value.verdict
    assert verdict.reaction == errors.TRANSIENT
    assert not verdict.answered, "a token may be lost on the way: a single-use one must not count as refused"


async def test_a_secret_that_is_not_there_is_transient_and_nothing_is_asked(where):
    async with Peer(ok()) as peer:
        with pytest.raises(errors.Refused, match="cannot be read") as caught:
            await endpoint.ask(app(where, peer.port, 'client_secret = "file:secrets/gone"'), where, {})
    assert caught.value.verdict.reaction == errors.TRANSIENT
    assert peer.requests == []


async def test_another_clock(where):
    late = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3000)).encode()
    body = b'{"access_token": "A"}'
    async with Peer(b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (late, len(body), body)) as peer:
        got = await endpoint.ask(app(where, peer.port), where, {})
    assert 2990 < got.skew < 3010
    assert got.expires - time.time() < 3601


# assertions

@pytest.fixture
def pem(where) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
    (where.secrets / "key.pem").write_bytes(text)
    (where.secrets / "google.json").write_text(json.dumps(
        {"client_email": "robot@x.example", "private_key": text.decode(), "private_key_id": "k7"}))
    return key


def public(key: rsa.RSAPrivateKey) -> RSAKey:
    return RSAKey.import_key(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


async def test_a_certificate_in_place_of_a_secret(where, pem):
    async with Peer(ok(b'{"access_token": "A"}')) as peer:
        made = app(where, peer.port, 'private_key = "file:secrets/key.pem"')
        await endpoint.ask(made, where, {})
    sent = form(peer)
    assert sent["client_assertion_type"] == assertion.CLIENT_TYPE
    assert "client_secret" not in sent
    found = jwt.decode(sent["client_assertion"], public(pem), algorithms=["PS256"])
    assert found.claims["aud"] == made.token_url
    assert found.claims["iss"] == found.claims["sub"] == "id+1"
    assert found.claims["exp"] - time.time() <= 600


def test_a_service_account_speaks_for_a_mailbox(where, pem):
    made = app(where, 1, 'grant = "jwt_bearer"\nservice_account = "file:secrets/google.json"')
    token = assertion.service(made, where, "meier@firma.example", "https://mail.google.com/").reveal()
    found = jwt.decode(token, public(pem), algorithms=["RS256"])
    assert found.header["kid"] == "k7"
    assert (found.claims["iss"], found.claims["sub"]) == ("robot@x.example", "meier@firma.example")
    assert found.claims["exp"] - found.claims["iat"] <= 3600


@pytest.mark.parametrize("text", ["", "{}", "[]", "geheim", '{"client_email": "a", "private_key": "geheim"}'])
def test_a_broken_service_account_is_said_without_its_text(where, text):
    (where.secrets / "google.json").write_text(text)
    made = app(where, 1, 'grant = "jwt_bearer"\nservice_account = "file:secrets/google.json"')
    with pytest.raises(Exception, match="service_account of app azure") as caught:
        assertion.service(made, where, "a@b.example", "s")
    assert "geheim" not in str(caught.value)
