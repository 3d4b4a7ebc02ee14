"""account.list and account.exists: who there is, many at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from lanmail import config, schema
from lanmail.administration import enrolment
from lanmail.errors import ConfigError, Temporary
from lanmail.settings import Account
from lanmail.web.api.accounts import Named, known
from lanmail.web.api.frame import Call, Params, Refused, method

_FACTS = ("addresses", "aliases", "member_of", "own", "password_set", "problem", "version", "warnings")
_AROUND = frozenset({"aliases", "member_of", "warnings"})


def _several(value: Any) -> Any:
    """A query has them in one text."""
    return [one for one in value.split(",") if one] if isinstance(value, str) else value


class Page(Params):
    """A page of the list."""

    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=500)
    search: str = Field("", max_length=200, description="only those whose name or full name has all these words")
    fields: Annotated[list[str], BeforeValidator(_several)] | None = Field(
        None, max_length=200, description="only these settings and facts, like full_name, forward.to, version")


@method("account.list", Page, needs="read", reads=True)
def list_(call: Call, given: Page) -> dict[str, Any]:
    """Accounts with their settings, by name; with `fields` only these, which takes less time."""
    for one in given.fields or ():
        if one not in _FACTS and not _is_setting(one):
            raise Refused("invalid_field", f"fields: an account has no {one[:100]!r}", "fields")
    paths = list(config.account_files(call.house.paths))
    words = given.search.lower().split()
    if words:
        paths = [path for path in paths if _has(call, path, words)]
    chosen = paths[given.offset : given.offset + given.limit]
    if given.fields is None:
        return {"total": len(paths), "accounts": [known(call, path, around=False) for path in chosen]}
    return {"total": len(paths), "accounts": [_brief(call, path, given.fields) for path in chosen]}


@method("account.exists", Named, needs="read", reads=True)
def exists(call: Call, given: Named) -> dict[str, Any]:
    """Whether there is such an account."""
    return {"exists": enrolment.find(call.house.paths, given.name) is not None}


def _is_setting(dotted: str) -> bool:
    *above, last = dotted.split(".")
    inner = schema.section(Account, tuple(above))
    return inner is not None and dotted not in ("password", "scram") and any(
        last in (name, info.alias) for name, info in inner.model_fields.items())


def _has(call: Call, path: Path, words: list[str]) -> bool:
    account = _account(call, path)
    text = f"{path.stem} {account.full_name}".lower() if account is not None else path.stem
    return all(word in text for word in words)


def _account(call: Call, path: Path) -> Account | None:
    """As the directory remembers it; None when it cannot be read."""
    try:
        return call.house.directory.account(path.stem)
    except Temporary:
        return None


def _brief(call: Call, path: Path, wanted: list[str]) -> dict[str, Any]:
    """Some of what there is, mostly from memory."""
    account = _account(call, path)
    if account is None:
        try:
            config.load_account(path, call.house.settings().account_defaults)
        except ConfigError as error:
            return {"name": path.stem, "problem": str(error)}
        return {"name": path.stem, "problem": f"{path.name} is no name of an account"}
    shown: dict[str, Any] = {"name": path.stem}
    costly = [one for one in wanted if one in _FACTS and one not in ("addresses", "password_set")]
    if costly:
        facts = known(call, path, around=not _AROUND.isdisjoint(costly))
        shown |= {one: facts[one] for one in costly if one in facts}
    if "addresses" in wanted:
        shown["addresses"] = enrolment.addresses(call.house.settings(), path.stem)
    if "password_set" in wanted:
        shown["password_set"] = bool(account.password)
    settings = [one for one in wanted if one not in _FACTS]
    if settings:
        top = {one.partition(".")[0] for one in settings}
        shown["settings"] = _only(account.model_dump(mode="json", include=top - {"password", "scram"}), settings)
    return shown


def _only(values: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for dotted in wanted:
        *above, last = dotted.split(".")
        source: Any = values
        target = made
        for part in above:
            source, target = source[part], target.setdefault(part, {})
        target[last] = source[last]
    return made
