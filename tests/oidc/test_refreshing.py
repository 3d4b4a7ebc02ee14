"""tokend and a certified provider: short lives, rotation that forgives nothing, faults, revocation, jumping clocks."""

import asyncio
import base64
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lanmail import paths, tokens
from lanmail.oauth import store
from lanmail.secret import Secret
from tests.oidc import SECRET, Oidc
from tests.tokenroot import ADDRESS, AGAIN, OK, Root, Running

HERE = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.slow  # each starts a provider


def office(tmp_path: Path, oidc: Oidc, client: str = "public", more: str = 'rotation = "strict"') -> Root:
    root = Root(tmp_path, oidc.port)
    (root.paths.secrets / "own").write_text(SECRET + "\n")
    (root.paths.secrets / "own").chmod(0o600)
    root.describe(f'client_id = "{client}"\ntoken_url = "{oidc.url}/token"\nauthorize_url = "{oidc.url}/auth"\n'
                  f'scopes = {{ common = ["openid", "offline_access"], imap = ["mail"] }}\n{more}\n')
    return root


def grant(root: Root, oidc: Oidc, client: str = "public", *, address: str = ADDRESS, left: float = -1.0) -> str:
    """A consent as its page leaves it; the access token."""
    got = oidc.consent(address, client)
    root.grant(got["refresh_token"], address=address)
    now = time.time()
    root.store.publish(store.Access("own", address, issued=now + left - got["expires_in"], expires=now + left,
                                    next_refresh=now + left - 1, secret=Secret(got["access_token"])))
    return got["access_token"]


def active(oidc: Oidc, token: str) -> bool:
    """Whether the provider itself says that a token is good."""
    return requests.post(f"{oidc.url}/token/introspection", data={"token": token}, timeout=10,
                         auth=("dovecot", "introspect")).json()["active"]


@pytest.mark.parametrize(("client", "more"), [
    ("public", ""), ("secret", 'client_secret = "file:secrets/own"'),
    ("basic", 'client_secret = "file:secrets/own"\nclient_auth = "client_secret_basic"')])
async def test_many_renewals_in_a_row(tmp_path, client, more):
    with Oidc() as oidc:
        root = office(tmp_path, oidc, client, f'rotation = "strict"\n{more}')
        grant(root, oidc, client)
        seen = set()
        for _ in range(5):
            assert await root.once() == OK
            word = (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal()
            assert active(oidc, word)
            seen.add(word)
            found = root.access()
            found.next_refresh = 0.0
            root.store.publish(found)
        assert len(seen) == 5
        assert [one["status"] for one in oidc.refreshes()] == [200] * 5


async def test_a_running_tokend_keeps_a_short_lived_token_fresh(tmp_path):
    with Oidc(life=4) as oidc:
        root = office(tmp_path, oidc)
        grant(root, oidc)
        async with Running(root):
            for _ in range(12):
                token = await tokens.access(root.paths, "own", ADDRESS)
                assert active(oidc, token.secret.reveal())
                await asyncio.sleep(0.7)
        assert 3 <= len(oidc.refreshes()) <= 7, "at half of such a short life"
        assert {one["status"] for one in oidc.refreshes()} == {200}


@pytest.mark.parametrize("fault", [
    {"kind": "429", "seconds": 1}, {"kind": "503"}, {"kind": "empty"}, {"kind": "html"}, {"kind": "drop"},
    {"kind": "slow", "seconds": 4}, {"kind": "error", "body": {"error": "temporarily_unavailable"}},
    {"kind": "error", "status": 500, "body": {"error": "server_error"}}], ids=lambda fault: fault["kind"])
async def test_faults_cost_nothing(tmp_path, fault):
    with Oidc() as oidc:
        root = office(tmp_path, oidc, more='rotation = "overlap"\ntimeout = 2')
        grant(root, oidc, left=30)
        if fault["kind"] != "slow":  # the provider goes on with that, and spends the token
            oidc.faults(fault)
            root.change(granted=time.time())  # due
            assert await root.once() == AGAIN
            assert root.record().state == store.OK
            assert root.record().retry_at > time.time()
            root.change(retry_at=0.0)
        assert await root.once() in (OK, AGAIN)
        root.change(granted=time.time() + 1, retry_at=0.0)
        assert await root.once() == OK
        assert active(oidc, root.access().secret.reveal())
        assert root.mails() == []


async def test_a_revocation_is_said_once_and_nothing_is_asked_again(tmp_path):
    with Oidc() as oidc:
        root = office(tmp_path, oidc)
        grant(root, oidc)
        grant(root, oidc, address="other@firma.example")
        oidc.revoke(ADDRESS)
        for _ in range(4):
            await root.once()
            root.change(retry_at=0.0)
        assert root.record().state == store.NEEDS_CONSENT
        assert sorted(to for to, _, _ in root.mails()) == ["chef", "meier"]
        assert [one["status"] for one in oidc.refreshes() if one.get("error") == "invalid_grant"] == [400]
        assert active(oidc, root.access("other@firma.example").secret.reveal()), "the other one goes on"
        before = root.record()
        got = oidc.consent(ADDRESS)  # somebody follows the mail
        fresh = store.Record("own", ADDRESS, account="meier", generation=before.generation + 1, granted=time.time(),
                             refresh=Secret(got["refresh_token"]), told=before.told)
        root.store.save(fresh)
        assert await root.once() == OK
        assert active(oidc, (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal())
        again = "The log-in at own works again: meier@firma.example"
        assert [subject for _, subject, _ in root.mails()][2:] == [again] * 2


def read_at(moment: float, root: str, done: "multiprocessing.Queue[str]") -> None:
    time.sleep(max(moment - time.time(), 0))
    done.put(asyncio.run(tokens.access(paths.of_root(root), "own", ADDRESS)).secret.reveal())


async def test_eight_processes_at_the_moment_of_expiry_cost_one_request(tmp_path):
    with Oidc(life=600) as oidc:
        root = office(tmp_path, oidc)
        grant(root, oidc, left=4.0)  # at two seconds from now it is due, for all of them
        found = root.access()
        found.next_refresh = time.time() + 2.0
        root.store.publish(found)
        spawn = multiprocessing.get_context("spawn")
        done = spawn.Queue()
        readers = [spawn.Process(target=read_at, args=(time.time() + 2.0, str(tmp_path), done)) for _ in range(8)]
        for one in readers:
            one.start()
        async with Running(root):
            got = {await asyncio.to_thread(done.get, timeout=60) for _ in readers}
        for one in readers:
            one.join()
        assert len(oidc.refreshes()) == 1
        assert len(got) == 1
        assert active(oidc, got.pop())


async def test_an_answer_that_is_lost_kills_a_strict_grant_and_the_mail_says_so(tmp_path):
    with Oidc() as oidc:
        root = office(tmp_path, oidc)
        grant(root, oidc)
        oidc.faults({"kind": "late"})
        assert await root.once() == AGAIN
        root.change(retry_at=0.0)
        await root.once()
        assert root.record().state == store.NEEDS_CONSENT
        assert "lost on the way" in root.mails()[0][2]


@pytest.mark.parametrize("jump", ["-1d", "+1d"])
@pytest.mark.skipif(shutil.which("faketime") is None, reason="not installed: faketime")
def test_a_clock_a_day_off(tmp_path, jump):
    """tokend on a machine whose clock was set; the provider's goes on as it did."""
    with Oidc(life=3600) as oidc:
        root = office(tmp_path, oidc)
        before = grant(root, oidc, left=3000.0)
        start = "import sys; from lanmail import tokend; sys.exit(tokend.main())"
        done = subprocess.run(["faketime", "-f", jump, sys.executable, "-c", start, "--root", str(tmp_path), "--once"],
                              cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == OK, done.stderr
        found = root.access()
        assert found.secret.reveal() != before
        assert active(oidc, found.secret.reveal())
        assert abs(found.expires - time.time() - (90_000 if jump == "+1d" else -82_800)) < 60
        ((to, subject, _),) = root.mails()
        how = "fast" if jump == "+1d" else "slow"
        assert (to, subject) == ("chef", f"The clock of this machine is 1440 minutes {how}")
        assert asyncio.run(root.once()) == OK, "and when the clock is right again"
        assert abs(root.access().expires - time.time() - 3600) < 60


async def test_an_app_with_a_secret_of_its_own_right(tmp_path):
    with Oidc() as oidc:
        root = office(tmp_path, oidc, "secret", 'grant = "client_credentials"\nclient_secret = "file:secrets/own"\n'
                      'app_scopes = { mail = ["mail"] }')
        async with Running(root):
            token = await tokens.access(root.paths, "own", ADDRESS)
        assert active(oidc, token.secret.reveal())
        (root.paths.secrets / "own").write_text("wrong")
        found = root.access()
        found.next_refresh = 0.0
        root.store.publish(found)
        await root.once()
        assert [to for to, subject, _ in root.mails() if "refuses the app" in subject] == ["chef"]
        (root.paths.secrets / "own").write_text(SECRET)
        assert await root.once() == OK, "a mended secret counts at once"


async def test_an_app_with_a_certificate(tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.public_key().public_numbers()
    word = {name: base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
            for name, value in (("n", numbers.n), ("e", numbers.e))}
    with Oidc(jwks={"keys": [{"kty": "RSA", "use": "sig", "alg": "PS256", **word}]}) as oidc:
        root = office(tmp_path, oidc, "certificate", 'grant = "client_credentials"\nprivate_key = "file:secrets/key"\n'
                      'app_scopes = { mail = ["mail"] }')
        path = root.paths.secrets / "key"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
        async with Running(root):
            assert active(oidc, (await tokens.access(root.paths, "own", ADDRESS)).secret.reveal())
        assert oidc.log()[0]["client"] == "certificate"


