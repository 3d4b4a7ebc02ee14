"""tokend dies before each single call: no token is lost but one that works once and was on its way to us."""

import http.server
import json
import threading
import time
from urllib.parse import parse_qs

import pytest

from lanmail.oauth import store
from lanmail.secret import Secret
from tests.crash import rounds
from tests.crash.rig import Rig
from tests.crash.steps import Stepper

pytestmark = pytest.mark.slow
ENOUGH = 300
ADDRESS = "meier@firma.example"


class Provider(http.server.ThreadingHTTPServer):
    """Refresh tokens that work once (strict), until the next but one (overlap), or for ever (none)."""

    def __init__(self, rotation: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keep = {"strict": 1, "overlap": 2, "none": 10_000}[rotation]
        self.rotates = rotation != "none"
        self.good: list[str] = []
        self.dead = False
        self.given: set[str] = set()
        self.asked = 0
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def consent(self, word: str) -> None:
        self.good, self.dead = [word], False

    def answer(self, word: str) -> dict[str, object]:
        self.asked += 1
        if self.dead or word not in self.good[-self.keep:]:
            self.dead = True  # somebody stole a token: RFC 9700 §4.14.2
            return {"error": "invalid_grant"}
        access = f"A{self.asked}"
        self.given.add(access)
        if not self.rotates:
            return {"access_token": access, "expires_in": 3600}
        self.good.append(f"R{self.asked}")
        return {"access_token": access, "expires_in": 3600, "refresh_token": self.good[-1]}

    def close(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """The token endpoint."""

    server: Provider

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        said = self.server.answer(form["refresh_token"][0])
        body = json.dumps(said).encode()
        self.send_response(400 if "error" in said else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nothing on stderr."""


class Office:
    """An app at the provider and one address."""

    def __init__(self, rig: Rig, provider: Provider, rotation: str) -> None:
        self.rig, self.provider = rig, provider
        with rig.paths.config_file.open("a") as file:
            file.write('[tokend]\nspread = "0s"\n')
        path = rig.paths.conf / "apps" / "own.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'client_id = "id"\ntoken_url = "http://127.0.0.1:{provider.server_port}/token"\n'
                        f'authorize_url = "https://a.example"\nrotation = "{rotation}"\ntimeout = 5\n')
        self.store = store.Store(rig.paths)
        self.store.prepare()

    def due(self, number: int) -> None:
        """A consent just given, and an access token that has ended."""
        self.provider.consent(f"first-{number}")
        now = time.time()
        self.store.save(store.Record("own", ADDRESS, account="user1", generation=number, granted=now - 9000,
                                     refresh=Secret(f"first-{number}")))
        self.store.publish(store.Access("own", ADDRESS, issued=now - 3700, expires=now - 100, next_refresh=now - 700,
                                        secret=Secret("A0")))

    def notices(self) -> int:
        new = self.rig.paths.queue / "new"
        return sum(1 for one in new.iterdir() if b"Please log in at own again" in one.read_bytes())


@pytest.mark.parametrize("rotation", ["strict", "overlap", "none"])
@pytest.mark.parametrize("mode", ["before", "torn"])
def test_each_step(rig: Rig, rotation: str, mode: str) -> None:
    provider = Provider(rotation)
    tokend, lost = Stepper(rig, "tokend"), []
    try:
        office = Office(rig, provider, rotation)
        for n in rounds.steps(1, ENOUGH):
            office.due(n)
            before = office.notices()
            ended = tokend.run(n, mode, "--once")
            tokend.run(0, "", "--once")
            record = office.store.read("own", ADDRESS)
            access = office.store.access("own", ADDRESS)
            assert record is not None, ended.last
            assert access is not None, ended.last
            if record.state == store.NEEDS_CONSENT:
                assert rotation == "strict", f"{ended.last}: an old token still works at this provider"
                assert "lost on the way" in record.why, ended.last
                assert access.state == store.NEEDS_CONSENT, ended.last
                assert office.notices() > before, ended.last
                lost.append(ended.last)
            else:
                assert access.secret.reveal() in provider.given, ended.last
                assert (access.state, record.state) == (store.OK, store.OK), ended.last
                assert not provider.dead, ended.last
                if provider.rotates:
                    assert record.refresh.reveal() in provider.good[-provider.keep:], ended.last
            if not ended.killed:
                break
        else:
            pytest.fail(f"more than {ENOUGH} calls")
        assert n > 10, "it was hardly ever killed"
        assert len(lost) <= 8, f"too many calls between the answer and its write: {lost}"
        assert bool(lost) == (rotation == "strict"), "a kill between answer and write is what this is about"
    finally:
        tokend.close()
        provider.close()
