"""oauth/pending.py and oauth/consent.py: whose answer it is, and what must be true before a grant counts."""

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lanmail import paths
from lanmail.oauth import authorization, consent, endpoint, errors, keys, store, trial
from lanmail.oauth.authorization import Declined, Foreign
from lanmail.oauth.endpoint import Tokens
from lanmail.oauth.pending import Folder, Wish
from lanmail.secret import NONE, Secret
from tests.provider import Mailserver, Provider, granted, id_token

EVA = Wish("test", "eva@firma.example", "eva")


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    store.Store(found).prepare()
    return found


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(token=[granted()]) as found:
        yield found


def tokens(**more: Any) -> Tokens:
    now = time.time()
    given: dict[str, Any] = {"access": Secret("access-1"), "issued": now, "expires": now + 3600, "scope": "IMAP SMTP",
                             "refresh": Secret("refresh-1")}
    return Tokens(**{**given, **more})


def server(mail: Mailserver, user: str = "eva@firma.example") -> trial.Server:
    return trial.Server("smtp", "127.0.0.1", mail.port, "none", user, "XOAUTH2")


def test_what_is_pending_keeps_its_secrets(where: paths.Paths, provider: Provider) -> None:
    asked = consent.ask(where, provider.app(), EVA)
    (path,) = (where.state / "oauth" / "pending").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text() + path.name
    for word in (asked.state, asked.verifier):
        assert word not in text
    found = Folder(where).of_state(asked.state)
    assert (found.wish, found.asked) == (EVA, asked)


def test_prompt_is_sent_so_that_a_refresh_token_comes(where: paths.Paths, provider: Provider) -> None:
    def said(**more: Any) -> dict[str, list[str]]:
        return parse_qs(urlsplit(consent.ask(where, provider.app(**more), EVA).url).query)

    assert said()["prompt"] == ["consent"]
    assert said(authorize={"prompt": "select_account"})["prompt"] == ["select_account"]
    assert "prompt" not in said(scopes={"imap": ["IMAP"]})
    assert said()["login_hint"] == ["eva@firma.example"]


async def test_what_the_provider_asked_for_stands_in_the_next_question(where: paths.Paths, provider: Provider) -> None:
    record = await consent.adopt(where, provider.app(), EVA, tokens())
    record.claims = '{"access_token":{"x":1}}'
    store.Store(where).save(record)
    assert parse_qs(urlsplit(consent.ask(where, provider.app(), EVA).url).query)["claims"] == [record.claims]


def test_an_answer_finds_its_question(where: paths.Paths, provider: Provider) -> None:
    app = provider.app()
    first, second = consent.ask(where, app, EVA), consent.ask(where, app, EVA)
    pending, code = consent.answered(where, app, f"http://localhost/?code=1&state={first.state}")
    assert (pending.asked, code) == (first, "1")
    with pytest.raises(Foreign):
        consent.answered(where, app, "a-code-alone")
    pending, code = consent.answered(where, app, "a-code-alone", EVA)
    assert code == "a-code-alone"
    assert pending.asked in (first, second)


def test_an_answer_for_somebody_else(where: paths.Paths, provider: Provider) -> None:
    app = provider.app()
    asked = consent.ask(where, app, Wish("test", "max@firma.example"))
    with pytest.raises(Foreign, match="another address"):
        consent.answered(where, app, f"?code=1&state={asked.state}", EVA)
    with pytest.raises(Foreign):
        consent.answered(where, app, "a-code-alone", EVA)


def test_a_declined_question_is_over(where: paths.Paths, provider: Provider) -> None:
    app = provider.app()
    asked = consent.ask(where, app, EVA)
    with pytest.raises(Declined):
        consent.answered(where, app, f"?error=access_denied&state={asked.state}")
    with pytest.raises(Foreign, match="finished already"):
        consent.answered(where, app, f"?code=1&state={asked.state}")


def test_questions_end_by_themselves(where: paths.Paths, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = consent.ask(where, provider.app(), EVA)
    later = time.time() + 73 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Foreign):
        Folder(where).of_state(asked.state)
    assert not list((where.state / "oauth" / "pending").iterdir())


def test_a_link_works_once(where: paths.Paths) -> None:
    folder = Folder(where)
    word = folder.link(EVA)
    assert word not in "".join(path.name + path.read_text() for path in folder.directory.iterdir())
    assert folder.look(word) == EVA
    with pytest.raises(Foreign):
        folder.of_state(word)  # a link is no question to a provider
    assert folder.follow(word) == EVA
    for use in (lambda: folder.follow(word), lambda: folder.follow("guessed")):
        with pytest.raises(Foreign):
            use()
    assert folder.look(word) is None


def test_a_damaged_or_foreign_file_disturbs_nobody(where: paths.Paths, provider: Provider) -> None:
    folder = Folder(where)
    asked = consent.ask(where, provider.app(), EVA)
    (good,) = folder.directory.glob("*.json")
    (folder.directory / f"{'0' * 32}.json").write_text("{")
    (folder.directory / f"{'1' * 32}.json").write_text(good.read_text())  # another one's
    (folder.directory / "readme.json").write_text("?")
    assert [one.asked for one in folder.list()] == [asked]
    head = json.loads(good.read_text())
    good.write_text(json.dumps(head | {"token": head["token"][:-4]}))
    with pytest.raises(keys.Unusable):
        folder.of_state(asked.state)


async def test_redeeming_proves_that_it_was_us(where: paths.Paths, provider: Provider) -> None:
    asked = consent.ask(where, provider.app(), EVA, "http://localhost:4711")
    got = await consent.redeem(where, provider.app(refresh_scope=True), asked, "the-code")
    assert got.refresh == Secret("refresh-1")
    assert provider.requests == [("/token", {
        "grant_type": "authorization_code", "code": "the-code", "redirect_uri": "http://localhost:4711",
        "code_verifier": asked.verifier, "client_id": "us", "scope": "offline_access IMAP SMTP"})]


async def test_a_code_that_was_used_already(where: paths.Paths, provider: Provider) -> None:
    provider.script["/token"] = [(400, {"error": "invalid_grant"})]
    asked = consent.ask(where, provider.app(), EVA)
    with pytest.raises(errors.Refused):
        await consent.redeem(where, provider.app(), asked, "the-code")


def test_no_refresh_token_is_no_consent(provider: Provider) -> None:
    with pytest.raises(consent.Unfit, match="no refresh token") as caught:
        consent.fit(provider.app(scopes={"imap": ["IMAP"]}), tokens(refresh=NONE))
    assert "offline_access" in caught.value.advice
    with pytest.raises(consent.Unfit) as caught:
        consent.fit(provider.app(), tokens(refresh=NONE))
    assert "registration" in caught.value.advice
    consent.fit(provider.app(refresh_expected=False), tokens(refresh=NONE))
    consent.fit(provider.app(grant="client_credentials", client_secret="file:x"), tokens(refresh=NONE))


@pytest.mark.parametrize("scope", ["imap SMTP openid", "", "IMAP SMTP offline_access more"])
def test_enough_was_granted(provider: Provider, scope: str) -> None:
    consent.fit(provider.app(), tokens(scope=scope))


def test_a_box_was_left_unticked(provider: Provider) -> None:
    with pytest.raises(consent.Unfit, match="not given to SMTP"):
        consent.fit(provider.app(), tokens(scope="IMAP offline_access"))


@pytest.mark.parametrize("claims", [
    {"email": "Eva@Firma.example"}, {"preferred_username": "eva@firma.example", "email": "e.meier@firma.example"},
    {"sub": "4711"}, {"email": "eva@firma.example", "aud": ["other", "us"]},
])
async def test_the_right_person(where: paths.Paths, provider: Provider, claims: dict[str, Any]) -> None:
    await consent.same_person(where, provider.app(), EVA, tokens(id_token=Secret(id_token(**claims))))


@pytest.mark.parametrize(("claims", "words"), [
    ({"email": "max@firma.example"}, "max@firma.example logged in, not eva@firma.example"),
    ({"email": "eva@firma.example", "aud": "them"}, "another app"),
    ({"email": "eva@firma.example", "nonce": "other"}, "another log-in"),
])
async def test_the_wrong_person(where: paths.Paths, provider: Provider, claims: dict[str, Any], words: str) -> None:
    with pytest.raises(consent.Unfit, match=words):
        await consent.same_person(where, provider.app(), EVA, tokens(id_token=Secret(id_token(**claims))), "mine")


async def test_somebody_who_may_log_in_for_another(where: paths.Paths, provider: Provider) -> None:
    wish = Wish("test", "info@firma.example", login_as="eva@firma.example")
    await consent.same_person(where, provider.app(), wish,
                              tokens(id_token=Secret(id_token(email="eva@firma.example"))))


@pytest.mark.parametrize("word", ["", "x", "a.b.c", "e30.bm8.x", "e30.W10.x"])
async def test_an_id_token_that_says_nothing(where: paths.Paths, provider: Provider, word: str) -> None:
    await consent.same_person(where, provider.app(), EVA, tokens(id_token=Secret(word)))


async def test_userinfo_is_asked_when_the_token_does_not_say(where: paths.Paths, provider: Provider) -> None:
    app = provider.app(userinfo_url=f"{provider.url}/me", scopes={"common": ["openid", "email"], "imap": ["IMAP"]})
    provider.script["/me"] = [(500, b"?"), (200, {"email": "max@firma.example"})]
    await consent.same_person(where, app, EVA, tokens())
    with pytest.raises(consent.Unfit, match=r"max@firma\.example"):
        await consent.same_person(where, app, EVA, tokens())


async def test_a_token_that_no_server_takes_replaces_nothing(where: paths.Paths, provider: Provider) -> None:
    app, kept = provider.app(), store.Store(where)
    await consent.adopt(where, app, EVA, tokens(access=Secret("old"), refresh=Secret("old-refresh")))
    with Mailserver("535 5.7.139 SmtpClientAuthentication is disabled for the Tenant") as mail:
        with pytest.raises(consent.Unfit, match="no mail server takes the token") as caught:
            await consent.settle(where, app, EVA, tokens(), [server(mail)])
        assert mail.tried == [("eva@firma.example", "access-1")]
    assert 'transport = "graph"' in caught.value.results[0].advice
    record, access = kept.read("test", EVA.address), kept.access("test", EVA.address)
    assert record is not None
    assert access is not None
    assert (record.refresh, access.secret, record.generation) == (Secret("old-refresh"), Secret("old"), 1)


async def test_a_token_that_could_not_be_tried(where: paths.Paths, provider: Provider) -> None:
    with Mailserver() as mail:
        gone = server(mail)
    with pytest.raises(consent.Unfit, match="could be reached") as caught:
        await consent.settle(where, provider.app(), EVA, tokens(), [gone])
    assert "--no-test" in caught.value.advice
    assert not list(store.Store(where).all())
    assert await consent.settle(where, provider.app(), EVA, tokens(), []) == []
    assert list(store.Store(where).all()) == [("test", EVA.address)]


async def test_one_server_that_takes_it_is_enough(where: paths.Paths, provider: Provider) -> None:
    said: list[str] = []
    consent.ask(where, provider.app(), EVA)
    with Mailserver() as yes, Mailserver("535 5.7.3 no") as no:
        yes.good = {"eva@firma.example": "access-1"}
        results = await consent.settle(where, provider.app(), EVA, tokens(), [server(yes), server(no)], say=said.append)
        gone = server(yes)
    assert [one.verdict for one in results] == ["ok", "refused"]
    assert said == [f"trying the token at SMTP 127.0.0.1:{yes.port}, SMTP 127.0.0.1:{no.port}"]
    record = store.Store(where).read("test", EVA.address)
    assert record is not None
    assert (record.state, record.account, record.scope) == ("ok", "eva", "IMAP SMTP")
    assert not list(Folder(where).list()), "what was begun for the address is over"
    assert (await trial.attempt([gone], Secret("x")))[0].verdict == "unreachable"


async def test_a_new_consent_has_a_new_generation_and_clears_what_was(where: paths.Paths, provider: Provider) -> None:
    kept = store.Store(where)
    old = await consent.adopt(where, provider.app(), EVA, tokens())
    old.state, old.why, old.refusals, old.told = store.NEEDS_CONSENT, "revoked", 3, {"consent": 5.0}
    kept.save(old)
    kept.mark(old, store.NEEDS_CONSENT)
    await consent.adopt(where, provider.app(), EVA, tokens(access=Secret("access-2")))
    record, access = kept.read("test", EVA.address), kept.access("test", EVA.address)
    assert record is not None
    assert access is not None
    assert (record.generation, record.state, record.why, record.refusals) == (2, "ok", "", 0)
    assert (access.state, access.secret) == ("ok", Secret("access-2"))
    with pytest.raises(store.Changed):
        kept.save(old, generation=1)  # a refresh that was under way all the while


async def test_seven_days_are_told_from_ninety(where: paths.Paths, provider: Provider) -> None:
    now = time.time()
    record = await consent.adopt(where, provider.app(), EVA, tokens(issued=now, refresh_expires=now + 604_799))
    assert record.testing
    record = await consent.adopt(where, provider.app(refresh_life=90), EVA, tokens())
    assert not record.testing
    assert abs(record.refresh_expires - now - 90 * 86400) < 60


async def test_more_than_one_resource(where: paths.Paths, provider: Provider) -> None:
    """The token of a consent is for the first resource; tokend is asked for the others."""
    scopes = {"common": ["offline_access"], "imap": ["IMAP"], "graph": ["Mail.Send"]}
    app = provider.app(use=["imap", "graph"], scopes=scopes)
    assert authorization.scope(app) == "offline_access IMAP Mail.Send"
    await consent.adopt(where, app, EVA, tokens())
    assert store.Store(where).resources("test", EVA.address) == ["mail"]
    assert sorted(one.name for one in (where.state / "tokens" / "request").iterdir()) == [
        "test,eva@firma.example,graph,consent", "test,eva@firma.example,mail,consent"]


async def test_nobody_is_needed_for_client_credentials(where: paths.Paths, provider: Provider) -> None:
    where.secrets.mkdir(parents=True, exist_ok=True)
    (where.secrets / "s").write_text("wor~d\n")
    scopes = {"mail": ["all/.default"]}
    app = provider.app(grant="client_credentials", client_secret="file:secrets/s", app_scopes=scopes)
    got = await consent.without_person(where, app, EVA)
    assert isinstance(got, endpoint.Tokens)
    assert provider.requests[0][1] == {"grant_type": "client_credentials", "scope": "all/.default", "client_id": "us",
                                       "client_secret": "wor~d"}
