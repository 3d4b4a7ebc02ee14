"""Which mails people get about log-ins at providers: when, who, how often, and with what in them."""

import calendar
import time
from pathlib import Path

import pytest

from lanmail import paths
from lanmail.oauth import apps, appstate, pending, store, warnings
from tests.tokenroot import ADDRESS, OK, Provider, Root, answer

DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.fixture
def app(tmp_path: Path) -> apps.App:
    where = paths.of_root(tmp_path)
    apps.directory(where).mkdir(parents=True)
    apps.file_of(where, "google").write_text('preset = "google"\nclient_id = "x"\nclient_secret_expires = 2027-03-31\n')
    return apps.load(where, "google")


def record(**more) -> store.Record:
    return store.Record("google", ADDRESS, account="meier", granted=NOW - 30 * DAY, **more)


def said(one: store.Record, app: apps.App, now: float, expires: float = 0.0) -> list[str]:
    """The kinds of mails that are due, which are then remembered as sent."""
    found = list(warnings.of_record(one, app, expires, now))
    for notice in found:
        warnings.remember(one.told, notice, now)
    return [notice.kind for notice in found]


def test_a_consent_is_asked_for_at_once_then_after_1_3_7_days_then_weekly(app):
    one = record(state=store.NEEDS_CONSENT, since=NOW, why="revoked")
    days = [hour / 24 for hour in range(24 * 36) if said(one, app, NOW + hour * 3600)]
    assert days == [0, 1, 3, 7, 14, 21, 28, 35]


def test_a_machine_that_slept_says_it_once(app):
    one = record(state=store.NEEDS_CONSENT, since=NOW, told={"needs-consent": NOW})
    assert [said(one, app, NOW + days * DAY) for days in (6, 6.5, 7)] == [["needs-consent"], [], ["needs-consent"]]


def test_what_the_mail_says(app):
    one = record(state=store.NEEDS_CONSENT, since=NOW, why="HTTP 400 invalid_grant: revoked")
    (notice,) = warnings.of_record(one, app, 0.0, NOW)
    assert notice.subject == f"Please log in at Google again: {ADDRESS}"
    assert "HTTP 400 invalid_grant: revoked" in notice.text
    assert "lanmail oauth login meier@firma.example --app google" in notice.text
    assert notice.owner


@pytest.mark.parametrize(("expires", "hours"), [(NOW - 5, 2.0), (NOW + 5 * 3600, 5.5)])
def test_a_trouble_that_lasts_is_said_once_after_a_while(app, expires, hours):
    one = record(failing=NOW, error={"class": "transient", "text": "no answer"})
    first = [minute / 60 for minute in range(600) if said(one, app, NOW + minute * 60, expires)]
    assert first == [pytest.approx(hours + 1 / 60)]
    one.failing, one.error = 0.0, {}
    assert said(one, app, NOW + DAY) == ["recovered"]
    assert said(one, app, NOW + DAY) == []
    one.failing, one.error = NOW + 2 * DAY, {"class": "transient", "text": "no answer"}
    assert said(one, app, NOW + 3 * DAY) == ["failing"], "a new trouble is a new mail"


def test_a_short_trouble_is_never_told(app):
    one = record(failing=NOW)
    assert said(one, app, NOW + 3600) == []
    one.failing = 0.0
    assert said(one, app, NOW + 3700) == []


def test_a_broken_app_is_no_owners_matter(app):
    one = record(failing=NOW, error={"class": "app", "text": "invalid_client"})
    assert said(one, app, NOW + 10 * DAY) == []


def test_a_consent_that_lives_for_a_week(app):
    one = record(testing=True, refresh_expires=NOW + 7 * DAY)
    one.granted = NOW
    assert [day for day in range(7) if said(one, app, NOW + day * DAY + 1)] == [5]
    (notice,) = warnings.of_record(record(testing=True), app, 0.0, NOW)
    assert "In production" in notice.text


def test_a_refresh_token_near_its_end(app):
    one = record(refresh_expires=NOW + 20 * DAY)
    assert [day for day in range(20) if said(one, app, NOW + day * DAY + 1)] == [6, 13]


def test_an_app_that_is_refused_is_told_once_and_when_it_is_well(app):
    known = appstate.AppState("google", broken=NOW, error={"text": "the client secret has expired"})

    def kinds(now: float) -> list[str]:
        found = list(warnings.of_app(app, known, now))
        for one in found:
            warnings.remember(known.told, one, now)
            assert not one.owner
        return [one.kind for one in found]

    assert [kinds(NOW + day * DAY) for day in range(3)] == [["app-error"], [], []]
    known.broken = 0.0
    assert [kinds(NOW + day * DAY) for day in range(3)] == [["app-recovered"], [], []]
    known.skew = 3000.0
    assert [kinds(NOW + day * DAY) for day in range(9)] == [["skew"], *[[]] * 6, ["skew"], []]


def test_the_end_of_a_secret_comes_nearer(app):
    end, known = calendar.timegm((2027, 3, 31, 0, 0, 0)), appstate.AppState("google")
    told = []
    for day in range(70, -3, -1):
        for one in warnings.of_app(app, known, end - day * DAY + 60):
            warnings.remember(known.told, one, end - day * DAY + 60)
            told.append(day)
            last = one
    assert told == [60, 30, 14, 7, 3, 1]
    assert "conf/apps/google.toml" in last.text


async def test_reminders_come_from_a_tokend_that_asks_nothing(tmp_path):
    async with Provider() as provider:
        root = Root(tmp_path, provider.peer.port)
        root.grant(left=-5, state=store.NEEDS_CONSENT, since=time.time() - 3 * DAY,
                   told={"needs-consent": time.time() - 2 * DAY})
        assert await root.once() == OK
        assert await root.once() == OK
        assert provider.forms == []
        assert sorted(to for to, _, _ in root.mails()) == ["chef", "meier"]


@pytest.mark.parametrize("served", [True, False])
async def test_where_our_pages_are_served_the_mail_has_a_link(tmp_path, served):
    async with Provider() as provider:
        root = Root(tmp_path, provider.peer.port, 'redirect_uri = "https://mail.firma.example/oauth2/callback"',
                    f"[httpd]\nenabled = {str(served).lower()}\n")
        root.grant(left=-5)
        provider.says = [answer(400, {"error": "interaction_required"})]
        await root.once()
    texts = [text for _, _, text in root.mails()]
    assert len(texts) == 2
    assert all(("https://mail.firma.example/oauth2/start/" in text) == served for text in texts)
    if served:
        word = texts[0].rpartition("/oauth2/start/")[2].split()[0]
        assert pending.Folder(root.paths).follow(word).address == ADDRESS


async def test_an_owner_who_is_gone_leaves_the_postmaster(tmp_path):
    async with Provider() as provider:
        root = Root(tmp_path, provider.peer.port)
        root.grant(left=-5)
        root.change(account="gone")
        provider.says = [answer(400, {"error": "interaction_required"})]
        await root.once()
        assert [to for to, _, _ in root.mails()] == ["chef"]


async def test_what_was_asked_wrongly_is_said_without_secrets(tmp_path):
    async with Provider() as provider:
        root = Root(tmp_path, provider.peer.port, 'scopes = { imap = ["wrong"] }\nclient_secret = "file:secrets/own"')
        (root.paths.secrets / "own").touch(mode=0o600)
        (root.paths.secrets / "own").write_text("geheim")
        root.grant("geheim-r", left=-5)
        provider.always = answer(400, {"error": "invalid_scope", "error_description": "geheim is not shown"})
        await root.once()
        ((to, _, text),) = root.mails()
        assert to == "chef"
        assert "scope wrong" in text
        assert "geheim-r" not in text
        assert "client_id id" in text
