"""What /api/v1/openapi.json promises is what httpd does: schemathesis calls every method with right and wrong
parameters made from the document. No 5xx, no answer that is not described, nothing wrong taken, nothing without a key.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lanmail.logins import apikeys
from lanmail.web.api import frame
from tests import browsing, webserver
from tests.browser import serving

COMMAND = Path(sys.executable).with_name("schemathesis")
# GET goes the same way with the same models. A run of all tests tries the edges of each parameter, `make fuzz` random
# values and methods one after another, too.
WAYS = ["--include-method", "POST", "--phases", "coverage"]
if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz":
    WAYS = ["--include-method", "POST", "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "100"]
# Settings may be wrong and names unknown although they fit the schema.
FILLS = {"settings": {}, "password": "x", "id": "1.x", "address": "chef@office.lan"}
NOT_TRUE = "positive_data_acceptance"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webserver.Web]:
    monkeypatch.setattr(frame, "_BURST", 1e9)
    monkeypatch.setattr(frame, "_RATE", 1e9)
    with serving.httpd(browsing.lay_out(tmp_path, "[auth]\nmax_failures = 100000")) as one:
        yield one


@pytest.mark.slow
def test_it_does_what_is_promised(web: webserver.Web, tmp_path: Path) -> None:
    if not COMMAND.exists():
        pytest.skip("no schemathesis here: make venv")
    key = apikeys.add(web.paths.conf / "api.toml", "test", "admin", [])
    done = subprocess.run(
        [COMMAND, "run", f"{web.url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {key}", "--no-color",
         *WAYS, "--exclude-checks", NOT_TRUE, "--generation-deterministic", "--continue-on-failure",
         "--warnings", "off", "--request-timeout", "20"],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert [path.name for path in web.paths.accounts.iterdir() if path.suffix != ".toml"] == [".lock"]


def test_an_account_speaks_for_itself_only(web: webserver.Web) -> None:
    """Each method, by its parameters: what names an account is refused when it is another one, and the rest is for
    administrators or shows nothing of others."""
    key = apikeys.add(web.paths.conf / "api.toml", "test", "account:meier", [])
    for method in frame.METHODS.values():
        named = [name for name in ("name", "account") if name in method.params.model_fields]
        wanted = {name for name, one in method.params.model_fields.items() if one.is_required()}
        given = {name: FILLS[name] for name in FILLS if name in wanted} | dict.fromkeys(named[-1:], "chef")
        answer = requests.post(f"{web.url}/api/v1/{method.name}", json=given, timeout=20,
                               headers={"Authorization": f"Bearer {key}"})
        if method.needs == "self" and not named:
            assert answer.status_code < 500, method.name
        else:
            assert answer.status_code in (403, 404) or answer.json()["error"]["code"] == "invalid_field", method.name
        assert "chef" not in answer.text.replace("'chef'", ""), method.name


def test_two_nouns_may_have_models_of_one_name(web: webserver.Web) -> None:
    """The description of one took the place of the other's."""
    document = requests.get(f"{web.url}/api/v1/openapi.json", timeout=20).json()
    for method in frame.METHODS.values():
        body = document["paths"][f"/api/v1/{method.name}"]["post"]["requestBody"]["content"]["application/json"]
        name = body["schema"]["$ref"].rpartition("/")[2]
        known = document["components"]["schemas"][name]["properties"]
        fields = {info.alias or name for name, info in method.params.model_fields.items()}
        assert set(known) == fields, method.name


@pytest.mark.parametrize(("verb", "name", "allow"), [
    ("GET", "account.modify", "POST"), ("DELETE", "account.get", "GET, POST"), ("PUT", "none.such", None),
])
def test_other_verbs(web: webserver.Web, verb: str, name: str, allow: str | None) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "test", "admin", [])
    answer = requests.request(verb, f"{web.url}/api/v1/{name}", headers={"Authorization": f"Bearer {key}"}, timeout=20)
    assert answer.status_code == (405 if allow else 404)
    assert answer.headers.get("allow") == allow
    assert answer.json()["error"]["code"] == ("use_post" if allow else "unknown_method")
