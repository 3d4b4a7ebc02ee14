"""The OAuth2 server, asked as clients and browsers ask it."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from lanmail.logins import endpoints, grants
from tests import oauthweb
from tests.oauthweb import CHALLENGE, HASH, HERE, PASSWORD, SCOPE, VERIFIER, Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with oauthweb.running(tmp_path) as made:
        yield made


async def test_the_whole_way(office: Office) -> None:
    answer = await office.log_in(office.query())
    assert answer.status_code == 302
    found = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert answer.headers["Location"].startswith(HERE + "?code=")
    assert (found["state"], found["iss"]) == ("xyz &", "https://mail.office.lan:6443")
    tokens = await office.exchange(found["code"])
    assert tokens.headers["Cache-Control"] == "no-store"
    body = tokens.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, SCOPE)
    state = office.paths.state
    assert [grants.verify_token(state, body["access_token"], service=one) for one in ("imap", "smtp", "pop3")] == [
        "meier", "meier", None]


@pytest.mark.parametrize(("change", "text"), [
    ({"client_id": None}, "parameter_error; client_id doesn&#39;t exist or is disabled"),
    ({"client_id": "0" * 32}, "parameter_error; client_id doesn&#39;t exist or is disabled"),
    ({"client_id": "../../x"}, "parameter_error; client_id doesn&#39;t exist or is disabled"),
    ({"redirect_uri": None}, "parameter_error; redirect_uri is missing"),
    ({"redirect_uri": "https://evil.example/"}, "not registered"),
    ({"redirect_uri": "https://web.example/cb?a=1&b=2"}, "not registered"),
    ({"redirect_uri": "https://web.example/cb?a=1#x"}, "not registered"),
    ({"redirect_uri": "https://web.example/cb"}, "not registered"),
    ({"redirect_uri": "https://web.example/x/../cb?a=1"}, "not registered"),
    ({"redirect_uri": "https://web.example/cb?a=1%20"}, "not registered"),
    ({"redirect_uri": "https://web.example:443/cb?a=1"}, "not registered"),
    ({"redirect_uri": "https://x@web.example/cb?a=1"}, "not registered"),
    ({"redirect_uri": "http://localhost.evil.example/"}, "not registered"),
    ({"redirect_uri": "http://localhost:1@evil.example/"}, "not registered"),
    ({"redirect_uri": "http://evil.example\\@localhost/"}, "not registered"),
    ({"redirect_uri": "http://localhost/#x"}, "not registered"),
    ({"redirect_uri": "//localhost/"}, "not registered"),
    ({"redirect_uri": "javascript:alert(1)"}, "not registered"),
])
async def test_nobody_is_sent_to_an_address_that_is_not_known(office: Office, change: dict[str, str | None],
                                                               text: str) -> None:
    answer = await office.get("/oauth2/auth?" + urlencode(office.query(**change)))
    assert answer.status_code == 400
    assert text in answer.text
    assert "Location" not in answer.headers


@pytest.mark.parametrize(("change", "error"), [
    ({"response_type": None}, "invalid_request"), ({"response_type": "token"}, "unsupported_response_type"),
    ({"scope": None}, "invalid_scope"), ({"scope": ""}, "invalid_scope"),
    ({"scope": "offline_access"}, "invalid_scope"),
    ({"scope": "imap.accessasuser.all"}, "invalid_scope"), ({"scope": "POP.AccessAsUser.All"}, "invalid_scope"),
    ({"scope": "IMAP.AccessAsUser.All other"}, "invalid_scope"), ({"access_type": "sometimes"}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "invalid_request"),
])
async def test_the_client_is_told_what_is_wrong(office: Office, change: dict[str, str | None], error: str) -> None:
    answer = await office.get("/oauth2/auth?" + urlencode(office.query(**change)))
    assert answer.status_code == 302, answer.text
    found = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert answer.headers["Location"].startswith(HERE + "?")
    assert (found["error"], found["state"]) == (error, "xyz &")


@pytest.mark.parametrize(("more", "told"), [
    ("state=other", "invalid_request"), ("scope=SMTP.Send", "invalid_request"),
    ("response_type=code", "invalid_request"),
    ("client_id=x", None), ("redirect_uri=https%3A%2F%2Fevil.example%2F", None),
])
async def test_a_parameter_that_comes_twice_is_refused(office: Office, more: str, told: str | None) -> None:
    """RFC 6749 §3.1, §4.1.2.1: nobody can say which of the two counts, and a page before us may have looked at one."""
    good = urlencode(office.query())
    for query in (f"{good}&{more}", f"{more}&{good}"):
        answer = await office.get("/oauth2/auth?" + query)
        if told is None:
            assert answer.status_code == 400
            assert "Location" not in answer.headers
        else:
            found = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
            assert (answer.status_code, found["error"]) == (302, told)


@pytest.mark.parametrize("uri", [
    "http://localhost", "http://localhost/", "http://localhost:1234", "http://127.0.0.1:9/x?y=z", "http://[::1]:8080/cb",
    "https://web.example/cb?a=1",
])
async def test_where_people_may_be_sent_back(office: Office, uri: str) -> None:
    answer = await office.log_in(office.query(redirect_uri=uri))
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(uri + ("&" if "?" in uri else "?") + "code=")


async def test_a_code_to_be_copied(office: Office) -> None:
    answer = await office.log_in(office.query(redirect_uri=endpoints.OOB))
    code = re.findall(r"<code>([\w-]+)</code>", answer.text)[0]
    assert (await office.exchange(code, redirect_uri=endpoints.OOB)).status_code == 200


@pytest.mark.parametrize(("user", "password"), [
    ("meier", "wrong"), ("schmidt", PASSWORD), ("nobody", PASSWORD), ("", ""), ("meier@far.example", PASSWORD),
])
async def test_only_the_owner_gets_in(office: Office, user: str, password: str) -> None:
    answer = await office.log_in(office.query(), user, password)
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert office.register.consents() == []


async def test_by_address_and_in_any_case(office: Office) -> None:
    assert (await office.log_in(office.query(), "Meier@office.lan")).status_code == 302


async def test_no_is_no(office: Office) -> None:
    answer = await office.log_in(office.query(), password="", answer="deny")
    assert dict(parse_qsl(urlsplit(answer.headers["Location"]).query))["error"] == "access_denied"


async def test_a_form_from_elsewhere_is_not_taken(office: Office) -> None:
    """No cookie, another cookie, or a page of another server: the log-in page again, and no code."""
    query = urlencode(office.query())
    data = {"query": query, "form": "x", "user": "meier", "password": PASSWORD}
    for more in ({}, {"cookies": {"lanmail-form": "y"}}, {"cookies": {"lanmail-form": ""}}):
        answer = await office.post("/oauth2/auth", data=data, **more)
        assert answer.status_code == 403
    page = await office.get("/oauth2/auth?" + query)
    word = re.findall(r'name="form" value="([^"]*)"', page.text)[0]
    answer = await office.post("/oauth2/auth", data={**data, "form": word}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert list((office.paths.state / "grants").glob("codes/*")) == []


async def test_the_page_escapes_and_is_not_framed(office: Office) -> None:
    page = await office.get("/oauth2/auth?" + urlencode(office.query(login_hint='"><script>alert(1)</script>')))
    assert "<script" not in page.text
    assert "Thunder &lt;bird&gt;" in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "form-action 'self' http://localhost:5555" in page.headers["Content-Security-Policy"]
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


async def test_too_many_guesses_have_to_wait(office: Office) -> None:
    answers = [(await office.log_in(office.query(), password=f"guess {number}")).status_code for number in range(4)]
    assert answers == [403] * 4
    assert office.register.consents() == []


@pytest.mark.parametrize(("change", "status", "error"), [
    ({"code": "x" * 43}, 400, "invalid_grant"), ({"code": None}, 400, "invalid_request"),
    ({"redirect_uri": "http://localhost:5556/back"}, 400, "invalid_grant"),
    ({"client_secret": "wrong"}, 401, "invalid_client"), ({"client_secret": None}, 401, "invalid_client"),
    ({"client_id": "f" * 32}, 400, "invalid_client"), ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ({"grant_type": None}, 400, "invalid_request"), ({"code_verifier": VERIFIER}, 400, "invalid_request"),
])
async def test_an_exchange_that_is_wrong(office: Office, change: dict[str, str | None], status: int,
                                         error: str) -> None:
    answer = await office.exchange(**{"code": await office.code(), **change})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "error_description" in answer.json() or error == "unsupported_grant_type"


async def test_the_secret_by_basic(office: Office) -> None:
    answer = await office.post("/oauth2/token", auth=(office.client.id, office.secret), data={
        "grant_type": "authorization_code", "code": await office.code(), "redirect_uri": HERE})
    assert answer.status_code == 200


async def test_a_program_that_asks_in_two_ways(office: Office) -> None:
    """RFC 6749 §2.3, §3.2, §5.2: a parameter twice, or two ways to authenticate."""
    form = {"grant_type": "authorization_code", "code": await office.code(), "redirect_uri": HERE}
    basic, own = (office.client.id, office.secret), {"client_id": office.client.id, "client_secret": office.secret}
    for data, auth in (({**form, **own}, basic), ({**form, "client_id": "f" * 32}, basic),
                       ([*form.items(), *own.items(), ("code", "x")], None)):
        answer = await office.post("/oauth2/token", data=data, auth=auth)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = await office.post("/oauth2/token", data={**form, "client_id": office.client.id}, auth=basic)
    assert answer.status_code == 200  # its name alone is no second way


@pytest.mark.parametrize("path", ["token", "revoke", "introspect", "device_authorization"])
async def test_who_fails_by_basic_is_told_how(office: Office, path: str) -> None:
    """RFC 6749 §5.2: 401 names the scheme that was used (and RFC 7617 §2 a realm)."""
    data = {"grant_type": "refresh_token", "refresh_token": "x", "token": "x", "scope": SCOPE}
    answer = await office.post(f"/oauth2/{path}", data=data, auth=(office.client.id, "wrong"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="lanmail"'


async def test_introspection_of_nothing(office: Office) -> None:
    answer = await office.post("/oauth2/introspect", data={}, auth=(office.client.id, office.secret))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_what_has_no_value_is_no_second_way(office: Office) -> None:
    """RFC 6749 §3.2: such a parameter counts as omitted. Dovecot sends both names empty, and its own by Basic."""
    data = {"token": "x", "client_id": "", "client_secret": ""}
    answer = await office.post("/oauth2/introspect", data=data, auth=(office.client.id, office.secret))
    assert (answer.status_code, answer.json()) == (200, {"active": False})


def age(office: Office, seconds: float) -> None:
    """As if the codes had been made so long ago."""
    for path in (office.paths.state / "grants/codes").glob("*.json"):
        known = json.loads(path.read_text())
        path.write_text(json.dumps(known | {"expires": known["expires"] - seconds}))


async def test_half_a_minute_for_a_code(office: Office) -> None:
    code = await office.code()
    age(office, 25)  # the test takes its time, too; to the second: test_grants
    assert (await office.exchange(code)).status_code == 200
    code = await office.code()
    age(office, 31)
    late = await office.exchange(code)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


async def test_a_code_is_good_once_and_a_second_use_ends_all(office: Office) -> None:
    code = await office.code()
    tokens = (await office.exchange(code)).json()
    assert (await office.exchange(code)).json()["error"] == "invalid_grant"
    assert grants.verify_token(office.paths.state, tokens["access_token"], service="imap") is None
    again = await office.post("/oauth2/token", data={
        "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": office.client.id,
        "client_secret": office.secret})
    assert again.json()["error"] == "invalid_grant"


async def test_a_client_that_lost_the_answer_asks_again_and_a_thief_later(office: Office) -> None:
    first = await office.tokens()
    form = {"grant_type": "refresh_token", "client_id": office.client.id, "client_secret": office.secret}
    lost = (await office.post("/oauth2/token", data={**form, "refresh_token": first["refresh_token"]})).json()
    kept = (await office.post("/oauth2/token", data={**form, "refresh_token": first["refresh_token"]})).json()
    assert kept["refresh_token"] == lost["refresh_token"]
    for path in (office.paths.state / "grants/tokens").glob("*.json"):
        known = json.loads(path.read_text())
        if known["replaced"]:
            path.write_text(json.dumps(known | {"replaced": known["replaced"] - grants.GRACE - 1}))
    theft = await office.post("/oauth2/token", data={**form, "refresh_token": first["refresh_token"]})
    assert theft.json()["error"] == "invalid_grant"
    assert grants.verify_token(office.paths.state, kept["access_token"], service="imap") is None
    after = await office.post("/oauth2/token", data={**form, "refresh_token": kept["refresh_token"]})
    assert after.json()["error"] == "invalid_grant"
    assert office.register.consents() == []


async def test_pkce(office: Office) -> None:
    with_proof = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert (await office.exchange(await office.code(**with_proof))).json()["error"] == "invalid_request"
    wrong = await office.exchange(await office.code(**with_proof), code_verifier="w" * 64)
    assert wrong.json()["error"] == "invalid_grant"
    assert (await office.exchange(await office.code(**with_proof), code_verifier=VERIFIER)).status_code == 200


async def test_a_public_client_needs_pkce(office: Office) -> None:
    client, _ = office.register.add_client("meier", "phone", ["IMAP.AccessAsUser.All"], public=True)
    asked = {"client_id": client.id, "scope": "IMAP.AccessAsUser.All"}
    refused = await office.get("/oauth2/auth?" + urlencode(office.query(**asked)))
    assert dict(parse_qsl(urlsplit(refused.headers["Location"]).query))["error"] == "invalid_request"
    code = await office.code(**asked, code_challenge=CHALLENGE)
    plain = {"client_id": client.id, "client_secret": None}
    assert (await office.exchange(code, **plain)).status_code == 400
    assert (await office.exchange(code, **plain, code_verifier=VERIFIER)).status_code == 200


async def test_refreshing(office: Office) -> None:
    tokens = await office.tokens()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": office.client.id,
            "client_secret": office.secret}
    first, again = (await office.post("/oauth2/token", data=form)).json(), (await office.post(
        "/oauth2/token", data=form)).json()
    assert first["refresh_token"] == again["refresh_token"] != tokens["refresh_token"]
    beyond = await office.post("/oauth2/token", data={**form, "refresh_token": first["refresh_token"],
                                                      "scope": "POP.AccessAsUser.All"})
    assert beyond.json()["error"] == "invalid_scope"
    unknown = await office.post("/oauth2/token", data={**form, "refresh_token": "x"})
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_grant")


async def test_a_disabled_client_is_none(office: Office) -> None:
    tokens, code = await office.tokens(), await office.code()
    office.register.save_client(replace(office.client, disabled=True))
    page = await office.get("/oauth2/auth?" + urlencode(office.query()))
    assert "parameter_error; client_id doesn&#39;t exist or is disabled" in page.text
    for form in ({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
                 {"grant_type": "authorization_code", "code": code, "redirect_uri": HERE}):
        answer = await office.post("/oauth2/token", data={**form, "client_id": office.client.id,
                                                          "client_secret": office.secret})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


async def test_online_access_has_no_refresh_token(office: Office) -> None:
    assert "refresh_token" not in await office.tokens(access_type="online")


async def test_a_disabled_account_gets_no_tokens(office: Office) -> None:
    code = await office.code()
    (office.paths.accounts / "meier.toml").write_text(f'password = "{HASH}"\ndisabled = true\n')
    assert (await office.exchange(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(("method", "path", "name"), [
    ("POST", "/oauth2/revoke", "token"), ("POST", "/oauth2/logout", "token"), ("GET", "/oauth2/logout", "token"),
    ("GET", "/oauth2/logout", "refresh_token"),
])
async def test_the_end(office: Office, method: str, path: str, name: str) -> None:
    tokens = await office.tokens()
    words = {"client_id": office.client.id, "client_secret": office.secret,
             name: tokens["refresh_token" if name == "refresh_token" else "access_token"]}
    sent = {"data": words} if method == "POST" else {"params": words}
    assert (await office.ask(method, path, **sent)).status_code == 200
    assert grants.verify_token(office.paths.state, tokens["access_token"], service="imap") is None
    assert (await office.ask(method, path, **sent)).status_code == 200, "an unknown token is no error"
    words["client_secret"] = "wrong"
    wrong = await office.ask(method, path, **sent)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(("on", "state", "there"), [
    (HERE, "", HERE), (HERE, "a b", HERE + "?state=a+b"), ("https://web.example/cb?a=1", "x", "https://web.example/cb?a=1&state=x"),
    ("https://evil.example/", "", ""), (endpoints.OOB, "", ""), ("//localhost/", "x", ""),
])
async def test_where_people_are_sent_after_the_end(office: Office, on: str, state: str, there: str) -> None:
    tokens = await office.tokens()
    words = {"client_id": office.client.id, "client_secret": office.secret, "token": tokens["access_token"],
             "post_logout_redirect_uri": on, "state": state}
    ended = await office.get("/oauth2/logout", params=words)
    assert (ended.status_code, ended.headers.get("Location", "")) == (302 if there else 400, there)
    assert there or ended.json()["error"] == "invalid_request"
    void = grants.verify_token(office.paths.state, tokens["access_token"], service="imap") is None
    assert void == bool(there)
    words["client_secret"] = "wrong"
    assert (await office.get("/oauth2/logout", params=words)).status_code == 401


async def test_one_client_cannot_end_anothers(office: Office) -> None:
    tokens = await office.tokens()
    other, secret = office.register.add_client("schmidt", "x", ["IMAP.AccessAsUser.All"])
    words = {"client_id": other.id, "client_secret": secret, "token": tokens["access_token"]}
    assert (await office.post("/oauth2/revoke", data=words)).status_code == 200
    assert grants.verify_token(office.paths.state, tokens["access_token"], service="imap") == "meier"
    assert (await office.post("/oauth2/introspect", data=words)).json() == {"active": False}


async def test_introspection(office: Office) -> None:
    tokens = await office.tokens()
    mine = {"client_id": office.client.id, "client_secret": office.secret}
    found = (await office.post("/oauth2/introspect", data={**mine, "token": tokens["access_token"]})).json()
    assert (found["active"], found["username"], found["scope"]) == (True, "meier", SCOPE)
    server, secret = office.register.add_client("", "Dovecot", [grants.INTROSPECT])
    asked = {"client_id": server.id, "client_secret": secret, "token": tokens["access_token"]}
    assert (await office.post("/oauth2/introspect", data=asked)).json()["active"] is True
    refresh = {"token": tokens["refresh_token"]}
    assert (await office.post("/oauth2/introspect", data={**mine, **refresh})).json()["token_type"] == "refresh_token"
    assert (await office.post("/oauth2/introspect", data={**asked, **refresh})).json() == {"active": False}
    (office.paths.accounts / "meier.toml").unlink()
    assert (await office.post("/oauth2/introspect", data=asked)).json() == {"active": False}
    nobody = await office.post("/oauth2/introspect", data={"token": tokens["access_token"]})
    assert nobody.status_code == 401


async def test_metadata(office: Office) -> None:
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        found = (await office.get(path)).json()
        assert found["issuer"] == "https://mail.office.lan:6443"
        assert found["token_endpoint"] == "https://mail.office.lan:6443/oauth2/token"
        assert found["code_challenge_methods_supported"] == ["S256"]


@pytest.mark.parametrize(("uri", "good"), [
    ("https://web.example/cb", True), ("https://web.example:8443/cb?x=1", True), ("com.example.app:/back", True),
    ("http://localhost:1/", True), ("http://web.example/cb", False), ("https://web.example/#x", False),
    ("https://a@web.example/", False), ("https://*.example/", False), ("javascript:alert(1)", False), ("data:x", False),
    ("https://", False), ("", False), ("https://web.example/ x", False), ("https://[::1", False),
])
def test_which_redirect_uris_can_be_registered(uri: str, good: bool) -> None:
    assert (endpoints.redirect_problem(uri) is None) == good
