"""tokend: what is due is renewed once, written before it is used, and nothing is lost by any answer."""

import asyncio
import base64
import errno
import json
import os
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lanmail import atomic, tokens
from lanmail.errors import Temporary
from lanmail.oauth import keys, schedule, store
from lanmail.oauth.refreshing import Refresher, Wish
from tests import relayroot
from tests.mailroot import until
from tests.tokenroot import ADDRESS, AGAIN, OK, Provider, Root, Running, answer

HTML = answer(503, b"<html>Service Unavailable</html>", "Content-Type: text/html")


@pytest.fixture
async def provider():
    async with Provider() as one:
        yield one


@pytest.fixture
def root(tmp_path, provider):
    return Root(tmp_path, provider.peer.port)


async def test_what_is_due_is_renewed_and_read(root, provider):
    root.grant(left=60)
    assert await root.once() == OK
    assert provider.forms == [{"grant_type": "refresh_token", "refresh_token": "R0", "client_id": "id"}]
    assert root.record().refresh.reveal() == "R1"
    assert (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal() == "A1"
    found = root.access()
    assert 2700 < found.next_refresh - time.time() < 2900, "a fifth of an hour before its end, and some jitter"
    assert await root.once() == OK
    assert len(provider.forms) == 1, "nothing is due any more"


async def test_what_is_not_due_is_left_alone(root, provider):
    root.grant(left=3000)
    assert await root.once() == OK
    assert provider.forms == []


async def test_the_first_token_after_a_consent_without_one(root, provider):
    root.grant()
    assert await root.once() == OK
    assert root.access().secret.reveal() == "A1"


async def test_the_old_refresh_token_stays_when_no_new_one_comes(tmp_path):
    async with Provider(rotate=False) as provider:
        root = Root(tmp_path, provider.peer.port, 'rotation = "none"')
        root.grant(left=60)
        assert await root.once() == OK
        assert root.record().refresh.reveal() == "R0"
        assert root.access().secret.reveal() == "A1"


async def test_no_secret_is_logged_or_lies_open(root, provider):
    provider.more = {"access_token": "geheim-a", "refresh_token": "geheim-n"}
    root.grant("geheim-r", left=60)
    provider.says = ["invalid_grant"]
    assert await root.once() == AGAIN
    root.change(retry_at=0.0)
    assert await root.once() == OK
    for path in root.paths.state.rglob("*"):
        if path.is_file():
            assert b"geheim" not in path.read_bytes(), path


@pytest.mark.parametrize("said", [
    HTML, answer(200, b"<html>log in here</html>"), answer(200, {"token_type": "x"}), answer(500, {"error": "x"}),
    answer(408, {}), answer(404, b""), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"", "brand_new_error"])
async def test_passing_troubles_keep_the_token_and_come_again(root, provider, said):
    root.grant(left=60)
    provider.says = [said]
    assert await root.once() == AGAIN
    record = root.record()
    assert (record.state, record.refresh.reveal(), record.tries) == (store.OK, "R0", 1)
    assert 0 < record.retry_at - time.time() <= 30
    assert record.error["class"] == "transient"
    assert root.access().secret.reveal() == "A0", "the old token still lives"
    assert await root.once() == AGAIN
    assert len(provider.forms) == 1, "not before its time"
    root.change(retry_at=time.time() - 1)
    assert await root.once() == OK
    assert root.access().secret.reveal() == "A1"
    assert (root.record().tries, root.record().failing, root.record().error) == (0, 0.0, {})
    assert root.mails() == []


async def test_a_provider_that_wants_fewer_requests_gets_none(root, provider):
    root.grant(left=60)
    provider.says = [answer(429, b"slow down", "Retry-After: 77")]
    assert await root.once() == AGAIN
    assert 10 < root.record().retry_at - time.time() <= 77
    assert root.record().state == store.OK


async def test_a_refused_grant_is_tried_three_times(root, provider):
    root.grant(left=60)
    provider.always = "invalid_grant"
    for pause in (60, 600):
        assert await root.once() == AGAIN
        assert pause - 50 < root.record().retry_at - time.time() <= pause
        assert root.record().state == store.OK
        root.change(retry_at=0.0)
    await root.once()
    record = root.record()
    assert (record.state, record.refresh.reveal()) == (store.NEEDS_CONSENT, "R0"), "the bytes are kept"
    with pytest.raises(Temporary, match="log in at the provider again"):
        await tokens.access(root.paths, "own", ADDRESS)
    for _ in range(3):
        await root.once()
    assert len(provider.forms) == 3, "nothing is asked any more"
    assert sorted(to for to, _, _ in root.mails()) == ["chef", "meier"]
    assert "lanmail oauth login meier@firma.example --app own" in root.mails()[0][2]


async def test_a_passing_refusal_is_forgotten(root, provider):
    root.grant(left=60)
    provider.says = ["invalid_grant", "invalid_grant"]
    for _ in range(3):
        await root.once()
        root.change(retry_at=0.0)
    assert root.access().secret.reveal() == "A1"
    assert (root.record().refusals, root.mails()) == (0, [])


async def test_a_token_that_works_once_is_not_sent_again_after_a_refusal(tmp_path, provider):
    root = Root(tmp_path, provider.peer.port, 'rotation = "strict"')
    root.grant(left=60)
    provider.says = ["invalid_grant"]
    await root.once()
    assert root.record().state == store.NEEDS_CONSENT
    assert "lost on the way" not in root.record().why
    assert len(provider.forms) == 1


async def test_a_loss_on_the_way_is_told_from_a_revocation(tmp_path, provider):
    root = Root(tmp_path, provider.peer.port, 'rotation = "strict"')
    root.grant(left=60)
    provider.says = [b""]  # it took the token, and we never heard
    assert await root.once() == AGAIN
    assert root.record().spending == root.record().fingerprint
    root.change(retry_at=0.0)
    provider.says = ["invalid_grant"]
    await root.once()
    assert root.record().state == store.NEEDS_CONSENT
    assert "lost on the way" in root.mails()[0][2]


async def test_what_asks_for_a_person_stops_at_once(root, provider):
    root.grant(left=60)
    provider.says = [answer(400, {"error": "interaction_required", "claims": '{"x":1}'})]
    await root.once()
    assert (root.record().state, root.record().claims) == (store.NEEDS_CONSENT, '{"x":1}')
    assert root.access().state == store.NEEDS_CONSENT
    await root.once()
    assert len(provider.forms) == 1


async def test_a_refused_app_stops_all_and_marks_none(root, provider):
    others = [f"user{number}@firma.example" for number in range(5)]
    for address in others:
        root.grant(address=address, left=-5)
    provider.always = answer(401, {"error": "invalid_client", "error_description": "AADSTS7000222: expired."})
    await root.once()
    await root.once()
    assert len(provider.forms) <= 2, "those that were under way at the same time"
    assert {root.record(address).state for address in others} == {store.OK}
    assert {root.access(address).state for address in others} == {store.APP_ERROR}
    ((to, subject, text),) = root.mails()
    assert (to, subject) == ("chef", "own refuses the app own")
    assert "client secret has expired" in text
    provider.always = None
    root.app("# mended")
    assert await root.once() == OK
    assert {root.access(address).state for address in others} == {store.OK}
    assert [subject for _, subject, _ in root.mails()][1:] == ["own takes the app own again"]


async def test_a_missing_app_disturbs_no_other(root, provider):
    root.grant(left=60, app="gone")
    root.grant(left=60)
    await root.once()
    assert root.access().secret.reveal() == "A1"
    assert "app-unusable" in root.logged()


async def test_a_damaged_record_disturbs_no_other(root, provider):
    root.grant(left=60)
    root.grant(left=60, address="other@firma.example")
    path = root.store.records / "own" / "other@firma.example.json"
    path.write_text("{")
    assert await root.once() == AGAIN
    assert root.access().secret.reveal() == "A1"
    assert path.read_text() == "{", "what cannot be read is not replaced"


async def test_what_cannot_be_decrypted_is_kept(root, provider):
    root.grant(left=60)
    path = root.paths.secrets / keys.REFRESH
    key = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"")
    assert await root.once() == AGAIN
    assert provider.forms == []
    path.write_bytes(key)
    assert await root.once() == OK


# readers

async def test_a_request_brings_a_token_at_once(root, provider):
    root.grant(left=3000)
    async with Running(root):
        await asyncio.sleep(0.1)
        root.store.publish(store.Access("own", ADDRESS, issued=time.time() - 3550, expires=time.time() + 50,
                                        next_refresh=time.time() + 40, state=store.OK))
        token = await tokens.access(root.paths, "own", ADDRESS)
    assert token.secret.reveal() == "A1"
    assert len(provider.forms) == 1


async def test_eight_readers_at_the_moment_of_expiry_are_one_request(root, provider):
    root.grant(left=-10)
    provider.peer.slow = 0.001
    async with Running(root):
        got = await asyncio.gather(*(tokens.access(root.paths, "own", ADDRESS) for _ in range(8)))
    assert {one.secret.reveal() for one in got} == {"A1"}
    assert len(provider.forms) == 1


async def test_a_token_that_a_server_refuses_is_replaced_once(root, provider):
    root.grant(left=3000)
    async with Running(root):
        token = await tokens.access(root.paths, "own", ADDRESS)
        token = await tokens.access(root.paths, "own", ADDRESS, unlike=token.fingerprint)
        assert token.secret.reveal() == "A1"
        tokens.rejected(root.paths, token)
        await until(lambda: root.access().rejected and root.record().error)
        await asyncio.sleep(0.1)
    assert len(provider.forms) == 1, "a second refusal is not the token's fault"
    assert root.access().rejected
    assert root.record().error["class"] == "rejected"


async def test_nobody_has_consented(root, provider):
    async with Running(root):
        with pytest.raises(Temporary, match="log in at the provider again"):
            await tokens.access(root.paths, "own", "new@firma.example")
    assert provider.forms == []
    assert list(root.store.all()) == []


async def test_mail_waits_five_minutes_at_most_for_somebody_to_log_in(tmp_path):
    way = 'host = "127.0.0.1"\nport = 9\nauth = "oauth2"\napp = "own"\nuser = "meier@firma.example"\n'
    office = relayroot.Root(tmp_path, way, settings='[relay]\nretry = ["1ms", "2ms", "1h"]\n')
    kept = store.Store(office.paths)
    kept.prepare()
    kept.publish(store.Access("own", ADDRESS, state=store.NEEDS_CONSENT))
    office.put("x@far.example")
    async with relayroot.Running(office):
        await relayroot.until(lambda: len(office.events("unreachable")) >= 5)
    assert all("somebody has to log in" in line for line in office.events("unreachable"))


async def test_what_waited_for_a_token_is_fetched_at_once(root, provider):
    (root.paths.accounts / "meier.toml").write_text(
        '[sources.x]\ninterface = "standard"\nhost = "127.0.0.1"\nauth = "oauth2"\napp = "own"\n'
        f'user = "{ADDRESS}"\n')
    root.grant(left=60)
    provider.says = [HTML]
    assert await root.once() == AGAIN
    directory = root.paths.state / "fetched" / "request"
    assert not directory.exists()
    root.change(retry_at=0.0)
    assert await root.once() == OK
    assert os.listdir(directory) == ["meier,x"]


async def test_hostile_requests_do_nothing(root, provider):
    root.grant(left=3000)
    directory = root.paths.state / "tokens" / "request"
    for name in ("x", "own,x", "%2E.%2F..%2Fx,a@b,mail,expired", "own,%2E%2E%2Fx,mail,expired",
                 "gone,a@b,mail,expired"):
        (directory / name).touch()
    (directory / "directory").mkdir()
    async with Running(root):
        await until(lambda: os.listdir(directory) == ["directory"])
    assert provider.forms == []


# resources and grants

async def test_each_resource_has_its_token_from_one_refresh_token(tmp_path, provider):
    root = Root(tmp_path, provider.peer.port, 'use = ["imap", "graph"]\nscopes = { imap = ["m"], graph = ["g"] }')
    root.grant(left=3000)
    async with Running(root):
        assert (await tokens.access(root.paths, "own", ADDRESS, "graph")).secret.reveal() == "A1"
        assert (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal() == "A0"
        with pytest.raises(Temporary, match="misconfigured"):
            await tokens.access(root.paths, "own", ADDRESS, "gmail")
    assert [form.get("scope") for form in provider.forms] == ["g"]


async def test_a_resource_nobody_consented_to_stops_no_other(tmp_path, provider):
    root = Root(tmp_path, provider.peer.port, 'use = ["imap", "graph"]\nscopes = { imap = ["m"], graph = ["g"] }')
    root.grant(left=3000)
    provider.says = [answer(400, {"error": "invalid_grant", "suberror": "consent_required"})]
    async with Running(root):
        with pytest.raises(Temporary, match="log in at the provider again"):
            await tokens.access(root.paths, "own", ADDRESS, "graph")
    assert root.record().state == store.OK
    assert (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal() == "A0"


async def test_an_app_of_its_own_right_needs_nobody(tmp_path):
    async with Provider(rotate=False) as provider:
        root = Root(tmp_path, provider.peer.port, 'grant = "client_credentials"\nclient_secret = "file:secrets/own"\n'
                    'app_scopes = { mail = ["all"] }')
        (root.paths.secrets / "own").write_text("geheim\n")
        (root.paths.secrets / "own").chmod(0o600)
        async with Running(root):
            assert (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal() == "A1"
        assert provider.forms == [{"grant_type": "client_credentials", "scope": "all", "client_id": "id",
                                   "client_secret": "geheim"}]
        provider.always = "invalid_grant"
        root.store.publish(store.Access("own", ADDRESS, expires=time.time() - 1))
        await root.once()
        assert root.record().state == store.OK, "there is nobody to consent"


async def test_a_service_account_of_google_serves_a_mailbox(tmp_path):
    async with Provider(rotate=False) as provider:
        root = Root(tmp_path, provider.peer.port)
        root.describe('preset = "google"\ngrant = "jwt_bearer"\nservice_account = "file:secrets/robot.json"\n'
                      f'token_url = "http://127.0.0.1:{provider.peer.port}/token"\n')
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = root.paths.secrets / "robot.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"client_email": "robot@x.example", "private_key": key.decode()}))
        async with Running(root):
            assert (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal() == "A1"
        (form,) = provider.forms
        assert form.keys() == {"grant_type", "assertion"}
        claims = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
        assert (claims["sub"], claims["scope"]) == (ADDRESS, "https://mail.google.com/")


def test_what_a_killed_process_left_is_swept(root):
    root.grant(left=60)
    old = root.store.records / "own" / ".x.json.1.ab.tmp"
    young = root.paths.state / "tokens" / "own" / ".y.json.2.cd.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    root.store.sweep()
    assert (old.exists(), young.exists()) == (False, True)
    assert root.record().refresh


# the disk and the clock

async def test_an_answer_is_kept_until_the_disk_takes_it(tmp_path, provider, monkeypatch):
    root = Root(tmp_path, provider.peer.port, 'rotation = "strict"')
    root.grant(left=60)
    write, failed = atomic.write, []

    def full(path, data, **options):
        if "refresh" in str(path) and provider.forms and len(failed) < 2:
            failed.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data, **options)

    monkeypatch.setattr(atomic, "write", full)
    assert await root.once() == OK
    assert len(failed) == 2
    assert root.record().refresh.reveal() == "R1"
    assert len(provider.forms) == 1


async def test_a_consent_that_came_meanwhile_wins(root, provider):
    root.grant(left=60)
    record = root.record()
    record.generation, record.refresh = 2, store.Secret("new")

    def meanwhile(_head: bytes) -> bytes:
        root.store.save(record)  # without the lock, as after a restored backup
        return answer(200, {"access_token": "A1", "refresh_token": "R1"})

    provider.peer.answer = meanwhile
    assert await root.once() == AGAIN
    assert root.record().refresh.reveal() == "new"


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_clock_that_jumps_brings_a_fresh_token(root, provider, days):
    root.grant(left=3000)
    refresher = Refresher(root.paths, wall=lambda: time.time() + days * 86_400)
    outcome = await refresher.refresh("own", ADDRESS, Wish())
    assert outcome.renewed


def test_when_a_token_is_due():
    assert schedule.due_at(0, 3600, 0.0) == 2880
    assert schedule.due_at(0, 3600, 1.0) == 2820
    assert schedule.due_at(0, 1200, 0.0) == 900
    assert schedule.due_at(0, 60, 0.0) == 30, "never in a loop"
    assert schedule.due_at(0, 90 * 86_400, 0.0) == 86_400, "once a day, that the consent stays alive"


def test_pauses_double_up_to_a_quarter_of_an_hour():
    assert [schedule.pause(tries, 1.0) for tries in (1, 2, 3, 6, 20)] == [30, 60, 120, 900, 900]
    assert 1 <= schedule.pause(1) <= 30


def test_deadlines_by_the_earlier_of_two_clocks():
    wall, steady = [1000.0], [50.0]
    deadlines = schedule.Deadlines(lambda: wall[0], lambda: steady[0])
    found = store.Access("own", ADDRESS, issued=1000.0, next_refresh=1300.0)
    assert deadlines.wait(found) == 300
    steady[0] += 250
    wall[0] -= 30  # set back a little: it still ends when it ends
    assert deadlines.wait(found) == 50
    wall[0] -= 100
    assert deadlines.wait(found) <= 0, "a token of the future"
    wall[0] = 5000.0
    assert deadlines.wait(found) < 0


async def test_a_host_that_fails_is_asked_every_five_minutes():
    now = [0.0]
    hosts = schedule.Hosts(2, lambda: now[0])
    assert [hosts.failed("a") for _ in range(5)] == [False] * 4 + [True]
    assert (hosts.wait("a"), hosts.wait("b")) == (300, 0)
    now[0] = 301
    assert hosts.wait("a") == 0
    async with hosts.turn("a") as may:
        assert may
        assert hosts.wait("a") == 300, "one probe, not one for each address"
    hosts.answered("a")
    assert hosts.wait("a") == 0


async def test_no_more_than_two_requests_at_a_time(tmp_path, provider):
    root = Root(tmp_path, provider.peer.port)
    open_now, most = [0], [0]
    take = provider.peer._serve

    async def serve(reader, writer):
        open_now[0] += 1
        most[0] = max(most[0], open_now[0])
        await until(lambda: most[0] >= 2)
        await asyncio.sleep(0.05)
        await take(reader, writer)
        open_now[0] -= 1

    provider.peer._server.close()
    provider.peer._server = await asyncio.start_server(serve, "127.0.0.1", provider.peer.port)
    for number in range(8):
        root.grant(address=f"user{number}@firma.example", left=60)
    assert await root.once() == OK
    assert (most[0], len(provider.forms)) == (2, 8)


async def test_a_second_one_ends(root):
    async with Running(root):
        await asyncio.sleep(0.05)
        assert await root.once() == OK
