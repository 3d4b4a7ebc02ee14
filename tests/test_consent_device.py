"""oauth/device.py: a code typed on another machine, and all that may go wrong meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import paths
from lanmail.oauth import device, errors
from lanmail.oauth.authorization import Declined
from lanmail.secret import Secret
from tests.provider import Provider, granted

CODE = (200, {"device_code": "dev-1", "user_code": "ABCD-EFGH", "verification_uri": "https://id.example/device",
              "expires_in": 900, "interval": 5})


def refusal(error: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return 400, {"error": error, **more}


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    return paths.of_root(tmp_path)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(device=[CODE], token=[granted()]) as found:
        yield found


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(device, "pause", pause)
    return waited


def app(provider: Provider, **more: Any) -> Any:
    return provider.app(device_url=f"{provider.url}/device", **more)


async def test_a_code_and_its_tokens(where: paths.Paths, provider: Provider, pauses: list[float]) -> None:
    code = await device.begin(app(provider), where)
    assert (code.user, code.page, code.link) == ("ABCD-EFGH", "https://id.example/device", "")
    assert "dev-1" not in repr(code)
    provider.script["/token"] = [refusal("authorization_pending"), refusal("slow_down"), granted()]
    got = await device.wait(app(provider), where, code)
    assert got.refresh == Secret("refresh-1")
    assert pauses == [5, 5, 10], "RFC 8628 §3.5: slow_down adds five seconds"
    assert provider.requests[0] == ("/device", {"client_id": "us", "scope": "offline_access IMAP SMTP"})
    assert provider.requests[-1] == ("/token", {"grant_type": device.GRANT, "device_code": "dev-1", "client_id": "us"})


async def test_a_provider_in_trouble_is_asked_less_often(where: paths.Paths, provider: Provider,
                                                         pauses: list[float]) -> None:
    code = await device.begin(app(provider), where)
    provider.script["/token"] = [(503, b"<h1>busy</h1>"), (429, b""), (200, {"token_type": "Bearer"}), granted()]
    await device.wait(app(provider), where, code)
    assert pauses == sorted(pauses)
    assert 5 < pauses[-1] <= 120


@pytest.mark.parametrize(("error", "words"), [
    ("access_denied", "declined"), ("authorization_declined", "declined"), ("expired_token", "in time"),
    ("bad_verification_code", "in time"),
])
async def test_the_person_said_no_or_nothing(where: paths.Paths, provider: Provider, pauses: list[float], error: str,
                                             words: str) -> None:
    code = await device.begin(app(provider), where)
    provider.script["/token"] = [refusal("authorization_pending"), refusal(error)]
    with pytest.raises(Declined, match=words):
        await device.wait(app(provider), where, code)


async def test_time_is_over_even_if_the_provider_does_not_say_so(
    where: paths.Paths, provider: Provider, pauses: list[float], monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.script["/token"] = [refusal("authorization_pending")]
    code = await device.begin(app(provider), where)
    now = code.ends - 12
    monkeypatch.setattr(device.time, "monotonic", lambda: now + sum(pauses))
    with pytest.raises(Declined, match="in time"):
        await device.wait(app(provider), where, code)
    assert pauses == [5, 5, 5]


@pytest.mark.parametrize("answer", [
    refusal("unauthorized_client"), refusal("invalid_client", error_codes=[7000218]), refusal("invalid_scope"),
    refusal("invalid_grant", error_codes=[530033]),
])
async def test_the_organization_does_not_allow_it(where: paths.Paths, provider: Provider, pauses: list[float],
                                                  answer: tuple[int, Any]) -> None:
    """Whether that is said at the beginning or after the code was typed: another way is to be taken."""
    code = await device.begin(app(provider), where)
    provider.script["/token"] = [answer]
    with pytest.raises(device.Blocked):
        await device.wait(app(provider), where, code)
    provider.script["/device"] = [answer]
    with pytest.raises(device.Blocked):
        await device.begin(app(provider), where)


async def test_no_codes_at_this_provider(where: paths.Paths, provider: Provider) -> None:
    with pytest.raises(device.Blocked, match="no log-in by a code"):
        await device.begin(provider.app(), where)


@pytest.mark.parametrize("answer", [(503, b"busy"), (200, {"user_code": "X"}), (200, b"<html>"), (200, [])])
async def test_a_passing_trouble_is_not_called_blocked(where: paths.Paths, provider: Provider,
                                                       answer: tuple[int, Any]) -> None:
    provider.script["/device"] = [answer]
    with pytest.raises(errors.Refused):
        await device.begin(app(provider), where)


async def test_odd_numbers_and_pages(where: paths.Paths, provider: Provider) -> None:
    odd = {"expires_in": "never", "interval": -3, "user_code": "A\x1b[2JB", "verification_uri": "javascript:x",
           "verification_uri_complete": "https://id.example/?c=1"}
    provider.script["/device"] = [(200, CODE[1] | odd)]
    code = await device.begin(app(provider), where)
    assert (code.user, code.page, code.interval) == ("A [2JB", "", 5)
    assert code.link == "https://id.example/?c=1"
