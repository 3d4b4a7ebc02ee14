"""What all methods of the API share: who calls, what may come in, what goes out.

    POST /api/v1/account.get          {"name": "meier"}        Authorization: Bearer KEY, or Basic with an account
    200                               {"ok": true, "result": …}
    400 …                             {"ok": false, "error": {"code": "invalid_field", "message": …, "field": …}}

    bad_json, invalid_field, unknown_field 400    unauthorized 401    forbidden 403    not_found, unknown_method 404
    use_post 405    exists, conflict 409    too_large 413    unsupported_media_type 415    refused_by_rule 422
    rate_limited 429    busy 503

A method is a function over a pydantic model, which also describes it in /api/v1/openapi.json. Methods that only read
answer GET with a query, too. Nothing here skips the checks that files in conf/ get.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import pydantic
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from lanmail import conffile, sasl, schema
from lanmail.administration import audit
from lanmail.errors import ConfigError, MailError, Problem, Temporary
from lanmail.logins import apikeys
from lanmail.web import guard
from lanmail.web.house import House

T = TypeVar("T")
_FIELD = re.compile(r"([\w.]+(?:\[\d+\])?):")  # as problems with settings begin
Right = Literal["admin", "read", "self"]
DEPTH = 50  # of nested JSON
_BURST, _RATE = 200.0, 20.0  # calls at once and by second, of one caller
STATUS = {"bad_json": 400, "invalid_field": 400, "unknown_field": 400, "unauthorized": 401, "forbidden": 403,
           "not_found": 404, "unknown_method": 404, "use_post": 405, "exists": 409, "conflict": 409, "too_large": 413,
           "unsupported_media_type": 415, "refused_by_rule": 422, "rate_limited": 429, "busy": 503}


class Refused(Exception):
    """A call that is not carried out: a code of the table above, a sentence, and the field it is about.

    `problems` are what is wrong with values; pages put the sentence into the reader's language, `said` stays.
    """

    def __init__(self, code: str, message: str, field: str | None = None, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.field, self.problems = code, message, field, tuple(problems)
        self.said = message


class Params(pydantic.BaseModel):
    """Parameters of a method: nothing is guessed, nothing unknown is taken."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of a key or an account, and what it may."""

    name: str
    rights: str  # admin, read, account:NAME

    @property
    def account(self) -> str | None:
        """The account that it is bound to."""
        return self.rights.removeprefix("account:") if self.rights.startswith("account:") else None


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    house: House
    caller: Caller
    client: str
    loop: asyncio.AbstractEventLoop
    ends: list[Callable[[bool], None]] = field(default_factory=list)  # done when it is over, told whether it worked

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of something that runs in the loop; methods run in threads."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def only(self, account: str) -> str:
        """The account that the call is about, if the caller may speak for it."""
        mine = self.caller.account
        if mine is not None and account.lower() != mine:
            raise Refused("forbidden", f"this caller may only speak for {mine}")
        return account.lower()


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the API. `needs`: who may call it; "self" is the account it is about, and who may more."""

    name: str
    params: type[Params]
    needs: Right
    reads: bool
    work: Callable[[Call, Any], Any]
    about: str
    always: bool = False  # an account may do it even without self_service
    large: bool = False  # its body may hold a whole mail


METHODS: dict[str, Method] = {}


def method(name: str, params: type[Params], *, needs: Right = "admin", reads: bool = False,
           always: bool = False, large: bool = False) -> Callable[[Any], Any]:
    """Make a function a method; its docstring describes it."""
    def register(work: Callable[[Call, Any], Any]) -> Callable[[Call, Any], Any]:
        METHODS[name] = Method(name, params, needs, reads, work, (work.__doc__ or "").strip(), always, large)
        return work

    return register


router = APIRouter()


@router.api_route("/api/v1/{name}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def call(name: str, request: Request) -> JSONResponse:
    """Every method comes in here."""
    house: House = request.app.state.house
    client = request.client.host if request.client else ""
    try:
        if guard.foreign(request.headers, house.settings()):
            raise Refused("forbidden", "calls from pages of other servers are not taken")
        caller = await _caller(house, request, client)
        _slow_down(house, caller.name, client)
        found = _allowed(house, caller, name)
        doing = Call(house, caller, client, asyncio.get_running_loop())
        async with house.turn(caller.account) if found.large else contextlib.nullcontext():
            params = await _params(found, request)
            return JSONResponse({"ok": True, "result": await run_in_threadpool(_done, found, doing, params)})
    except Refused as refused:
        return refusal(refused, {"Allow": _verbs(METHODS.get(name))} if refused.code == "use_post" else {})


def _verbs(found: Method | None) -> str:
    """The methods of HTTP that a method of ours takes (RFC 9110 §10.2.1)."""
    return "GET, POST" if found is not None and found.reads else "POST"


def carry_out(doing: Call, name: str, given: dict[str, Any]) -> Any:
    """The result of a method that a page calls, in a thread, with the checks of all calls. Refused."""
    found = _allowed(doing.house, doing.caller, name)
    return _done(found, doing, _checked(found.params, given, strict=True))


def _done(found: Method, doing: Call, params: Params) -> Any:
    """Do it, and note who changed what."""
    worked = False
    try:
        with conffile.one_look():
            result = found.work(doing, params)
        worked = True
    except ConfigError as error:
        said = "; ".join(one.text for one in error.problems)
        about = _FIELD.match(error.problems[0].text)
        raise Refused("invalid_field", said, about[1] if about else None, error.problems) from None
    except conffile.Conflict:
        raise Refused("conflict", "it was changed meanwhile; look at it again", "if_version") from None
    except (MailError, OSError) as error:
        raise Refused("busy", str(error)) from None
    finally:
        for end in doing.ends:
            end(worked)
    if not found.reads:
        audit.note(doing.house.paths, by=doing.caller.name, client=doing.client, what=found.name,
                   about=_about(params), keys=_touched(params))
    return result


def _about(params: Params) -> str:
    named = (getattr(params, key, None) for key in ("label", "name", "account", "address", "id"))
    return next((str(value) for value in named if value), "")


def _touched(params: Params) -> list[str]:
    """The names of what was given, never the values: among them are passwords."""
    said = params.model_fields_set - {"name", "settings", "if_version"}
    settings = getattr(params, "settings", None) or {}
    return sorted(said) + sorted(_dotted(settings))


def _dotted(settings: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield above + key


def refusal(refused: Refused, more: Mapping[str, str] = MappingProxyType({})) -> JSONResponse:
    """What is answered then."""
    error = {"code": refused.code, "message": refused.message} | ({"field": refused.field} if refused.field else {})
    headers = {"WWW-Authenticate": 'Bearer realm="lanmail"'} if refused.code == "unauthorized" else {}
    headers |= {"Retry-After": "1"} if refused.code == "rate_limited" else {}
    return JSONResponse({"ok": False, "error": error}, STATUS[refused.code], headers | dict(more))


# who

async def _caller(house: House, request: Request, client: str) -> Caller:
    kind, _, word = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found = await run_in_threadpool(apikeys.owner, house.paths.conf / "api.toml", word.strip(), client)
        if found is not None:
            return Caller(found[0], found[1].rights)
    elif kind.lower() == "basic":
        return await _by_password(house, word, client)
    raise Refused("unauthorized", "an API key is needed: Authorization: Bearer KEY; see `lanmail api key add`")


async def _by_password(house: House, word: str, client: str) -> Caller:
    try:
        user, _, password = base64.b64decode(word, validate=True).decode().partition(":")
        account = await house.checker.login(sasl.Credentials(user, password), client=client, service="api")
    except (ValueError, sasl.AuthFailed):  # no base64, no UTF-8
        raise Refused("unauthorized", "name or password is wrong") from None
    except Temporary as error:
        raise Refused("rate_limited" if isinstance(error, sasl.Throttled) else "busy", error.text) from None
    return Caller(account.name, f"account:{account.name}")


def _allowed(house: House, caller: Caller, name: str) -> Method:
    """The method, if there is one and the caller may call it."""
    wanted = METHODS.get(name)
    if wanted is None:
        raise Refused("unknown_method", f"there is no method {name[:100]!r}; see /api/v1/openapi.json")
    if caller.rights == "admin" or (caller.rights == "read" and wanted.reads):
        return wanted
    if wanted.needs == "self" and caller.account is not None:
        account = house.directory.account(caller.account)
        if account is None or account.disabled:
            raise Refused("forbidden", f"there is no account {caller.account}, or it is disabled")
        if not (wanted.reads or wanted.always or account.self_service):
            raise Refused("forbidden", "the administrator makes these changes here")
        return wanted
    raise Refused("forbidden", f"{wanted.name} needs the rights {wanted.needs!r}, not {caller.rights!r}")


def _slow_down(house: House, name: str, client: str) -> None:
    """A bucket for each caller, refilled as time goes by."""
    buckets: OrderedDict[tuple[str, str], tuple[float, float]] = house.buckets
    now = time.monotonic()
    left, at = buckets.pop((name, client), (_BURST, now))
    left = min(_BURST, left + (now - at) * _RATE)
    buckets[name, client] = (max(left - 1, 0.0), now)
    if len(buckets) > 10_000:
        buckets.popitem(last=False)
    if left < 1:
        raise Refused("rate_limited", f"at most {_RATE:.0f} calls a second")


# what

async def _params(wanted: Method, request: Request) -> Params:
    if request.method != "POST" and not (request.method == "GET" and wanted.reads):
        raise Refused("use_post", f"{wanted.name} is a method for {_verbs(wanted)}, not for {request.method}")
    if request.method == "GET":
        return _checked(wanted.params, dict(request.query_params), strict=False)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("unsupported_media_type", "send Content-Type: application/json")
    body = await request.body()
    return await run_in_threadpool(lambda: _checked(wanted.params, _json(body), strict=True)) if wanted.large \
        else _checked(wanted.params, _json(body), strict=True)


def _json(body: bytes) -> dict[str, Any]:
    """An object, without names that come twice, not nested too deeply (RFC 8259 §4)."""
    if not body:
        return {}
    try:
        found = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise Refused("bad_json", f"the body is no JSON: {error}") from None
    if _too_deep(found):
        raise Refused("bad_json", f"more than {DEPTH} levels")
    if not isinstance(found, dict):
        raise Refused("bad_json", "the body is no JSON object")
    for key, value in found.items():
        try:
            json.dumps({key: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            shown = ascii(key)[1:-1][:100]
            raise Refused("invalid_field", f"{shown}: half a character, which can be written nowhere", shown) from None
    return found


def _too_deep(found: Any) -> bool:
    level = [found]
    for _ in range(DEPTH):
        level = [inner for one in level if isinstance(one, dict | list)
                 for inner in (one.values() if isinstance(one, dict) else one)]
    return bool(level)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _checked(model: type[Params], data: dict[str, Any], *, strict: bool) -> Params:
    try:
        return model.model_validate(data, strict=strict)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise Refused("unknown_field", f"there is no parameter {field[:100]!r}", field[:100]) from None
        raise Refused("invalid_field", f"{field}: {first['msg']}", field[:100], [schema.broken(model, first)]) from None
