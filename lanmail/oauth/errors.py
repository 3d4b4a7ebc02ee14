"""What a token endpoint's answer means, and what to do (RFC 6749 §5.2, RFC 8628 §3.5, the providers' own words).

The decision is made on `error` and `suberror`; Microsoft's numbers, which may change, only sharpen it where `error`
alone says too little, and give a sentence for people. What nobody knows is transient: no answer ever costs a refresh
token.
"""

import email.utils
import json
import re
import time
from dataclasses import dataclass
from typing import Any

from lanmail import printable
from lanmail.clients import httpclient
from lanmail.errors import Temporary

TRANSIENT = "transient"  # keep the token, try again later
THROTTLED = "throttled"  # the provider wants fewer requests
PENDING = "pending"  # a device code nobody has typed yet
SUSPECT = "suspect"  # invalid_grant: it passes, or somebody has to consent again
CONSENT = "consent"  # a person must act
APP = "app"  # the app itself is refused
CONFIG = "config"  # what we ask is wrong
DENIED = "denied"  # the person said no, or took too long
REDEEMED = "redeemed"  # the code was used already

THROTTLE = 300.0  # seconds to wait when the provider does not say how long
_LONGEST = 86_400.0

_ERRORS = {
    "temporarily_unavailable": THROTTLED, "server_error": TRANSIENT,
    "authorization_pending": PENDING, "slow_down": PENDING,
    "interaction_required": CONSENT, "consent_required": CONSENT, "login_required": CONSENT, "bad_token": CONSENT,
    "account_selection_required": CONSENT, "invalid_rapt": CONSENT,
    "invalid_client": APP, "unauthorized_client": APP, "deleted_client": APP, "disabled_client": APP,
    "invalid_scope": CONFIG, "invalid_request": CONFIG, "unsupported_grant_type": CONFIG, "invalid_target": CONFIG,
    "unsupported_response_type": CONFIG, "redirect_uri_mismatch": CONFIG,
    "access_denied": DENIED, "authorization_declined": DENIED, "expired_token": DENIED, "bad_verification_code": DENIED,
    "invalid_grant": SUSPECT,
}
_SUBERRORS = {"bad_token": CONSENT, "token_expired": CONSENT, "basic_action": CONSENT, "additional_action": CONSENT,
              "consent_required": CONSENT, "user_password_expired": CONSENT, "message_only": CONSENT,
              "invalid_rapt": CONSENT, "client_mismatch": CONFIG, "protection_policy_required": CONFIG}
# AADSTS numbers: what they mean for people, and what they change
_NUMBERS: dict[int, tuple[str | None, str]] = {
    90033: (THROTTLED, "Microsoft has a passing trouble"),
    50196: (THROTTLED, "Microsoft sees too many requests of the same kind"),
    50173: (CONSENT, "the password was changed, or all sessions were ended"),
    700082: (CONSENT, "the consent has ended, for it was not used for 90 days"),
    700084: (CONSENT, "the consent has ended: its redirect URI is of the type for web pages, which ends after a day"),
    70043: (CONSENT, "the organization wants people to log in at regular times (sign-in frequency)"),
    50076: (CONSENT, "the organization wants a second factor"),
    50078: (CONSENT, "the second factor has to be shown again"),
    50079: (CONSENT, "a second factor has to be set up"),
    65001: (CONSENT, "nobody has consented to what the app asks for"),
    50194: (CONFIG, "the app belongs to one organization: set its tenant to the directory's id or domain"),
    900144: (CONFIG, "a parameter was missing in the request"),
    9002313: (CONFIG, "the request was not understood"),
    50011: (CONFIG, "the redirect URI is not registered with the app"),
    70011: (CONFIG, "the scopes are not valid, or belong to several resources"),
    28000: (CONFIG, "the scopes belong to several resources"),
    7000222: (APP, "the app's client secret has expired: make a new one and put it into the secret's file"),
    7000215: (APP, "the client secret is wrong; often its ID was copied in place of its value"),
    7000218: (APP, "the app needs a client secret or a certificate, or must allow public client flows"),
    700025: (APP, "the app is a public one: take client_secret out"),
    700016: (APP, "the organization does not have the app: wrong client_id or tenant"),
    54005: (REDEEMED, "the code was used already"),
}
_REVOKED = re.compile(r"token has been expired or revoked", re.I)
_NUMBER = re.compile(r"AADSTS(\d{4,8})")
_NOISE = re.compile(r"\s*(Trace ID|Correlation ID|Timestamp): \S+( \S+Z)?", re.I)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: one of the constants above, the provider's word for it, and a sentence for people."""

    reaction: str
    code: str
    text: str
    wait: float = 0.0  # seconds that the provider asked for
    claims: str = ""  # what the next consent's URL must carry
    answered: bool = True  # False: the request went out, or may have, and nothing came back


class Refused(Temporary):
    """No token; the verdict says why and what to do. The text holds no secret."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text, 454, "4.7.0")
        self.verdict = verdict


def unanswered(error: Temporary) -> Verdict:
    """There was no answer at all: names, connections, TLS, time."""
    return Verdict(TRANSIENT, "no-answer", error.text, answered=False)


def fields(answer: httpclient.Answer) -> dict[str, Any]:
    """The answer's JSON object, empty when it is none."""
    try:
        found = json.loads(answer.body) if answer.whole else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def judge(answer: httpclient.Answer, *, exchanging: bool = False) -> Verdict | None:
    """What an answer means; None when it brings an access token. `exchanging`: a code or device code was handed in."""
    said = fields(answer)
    good = 200 <= answer.status < 300
    if good and isinstance(said.get("access_token"), str) and said["access_token"]:
        return None
    if good and not answer.whole:
        return Verdict(TRANSIENT, "no-answer", "the answer broke off", answered=False)
    code, wait = _word(said.get("error")), _retry_after(answer)
    text = f"HTTP {answer.status}"
    if answer.status == 429:
        return Verdict(THROTTLED, code or "429", f"{text}: too many requests", wait or THROTTLE)
    if answer.status >= 500 or answer.status == 408 or not code:
        why = "an answer without a token" if good and said else "no answer that can be understood"
        return Verdict(TRANSIENT, code or str(answer.status), f"{text}: {answer.excerpt() if not said else why}", wait)
    numbers = _numbers(said)
    reaction = _reaction(code, said, numbers, exchanging)
    if reaction == THROTTLED:
        wait = wait or THROTTLE
    meaning = next((_meaning(one) for one in numbers if _meaning(one)), "")
    described = _NOISE.sub("", str(said.get("error_description") or "")).strip()
    parts = [f"{text} {code}", *([meaning] if meaning else []), *([_line(described)] if described else [])]
    return Verdict(reaction, code, ": ".join(parts), wait, _claims(said.get("claims")))


def _reaction(code: str, said: dict[str, Any], numbers: list[int], exchanging: bool) -> str:
    if code == "invalid_grant" and exchanging:
        spent = 54005 in numbers or 70000 in numbers
        return REDEEMED if spent else next((_number(one) for one in numbers if _number(one)), None) or DENIED
    found = _ERRORS.get(code, TRANSIENT)
    if found != SUSPECT:
        sharper = next((_number(one) for one in numbers if one in (90033, 50196)), None)
        return sharper or found
    for word in ("suberror", "error_subtype"):
        if _word(said.get(word)) in _SUBERRORS:
            return _SUBERRORS[_word(said.get(word))]
    if _REVOKED.search(str(said.get("error_description") or "")):
        return CONSENT
    return next((_number(one) or SUSPECT for one in numbers if _number(one)), SUSPECT)


def _number(number: int) -> str | None:
    if number in _NUMBERS:
        return _NUMBERS[number][0]
    return CONSENT if 530_000 <= number <= 530_999 else None


def _meaning(number: int) -> str:
    if 530_000 <= number <= 530_999:
        return "the organization's rules (Conditional Access) do not let this log-in pass"
    return _NUMBERS.get(number, (None, ""))[1]


def _numbers(said: dict[str, Any]) -> list[int]:
    listed = said.get("error_codes")
    found = [one for one in listed if isinstance(one, int)] if isinstance(listed, list) else []
    return found + [int(one) for one in _NUMBER.findall(str(said.get("error_description") or ""))]


def _word(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[\w.:/-]{1,80}", value) else ""


def _claims(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else ""
    return text if text.isprintable() and len(text) <= 4000 else ""


def _line(text: str, size: int = 300) -> str:
    line = printable.line(" ".join(text.split()))
    return line if len(line) <= size else line[: size - 1] + "…"


def _retry_after(answer: httpclient.Answer) -> float:
    """RFC 9110 §10.2.3: seconds or a date."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdigit():
        return min(float(value), _LONGEST)
    try:
        there = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(there - time.time(), 0.0), _LONGEST)
