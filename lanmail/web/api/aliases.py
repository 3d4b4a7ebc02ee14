"""alias.*: more names for accounts, and names that lead elsewhere."""

from typing import Any

from pydantic import Field

from lanmail import conffile, config
from lanmail.administration import aliases
from lanmail.web.api.frame import Call, Params, Refused, method

Address = Field(min_length=1, max_length=320, description="NAME, in every local domain, or NAME@DOMAIN")
_CODES = {"name": ("invalid_field", "address"), "taken": ("exists", "address"), "target": ("invalid_field", "to"),
          "none": ("not_found", "address")}


class All(Params):
    """A part of the list."""

    to: str = Field("", max_length=320, description="only those that lead straight there")
    search: str = Field("", max_length=200, description="only those with this text in them or their targets")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(500, ge=1, le=500)


class New(Params):
    """An alias, and where it leads."""

    address: str = Address
    to: list[str] = Field(min_length=1, max_length=1000, description="accounts, aliases, groups, addresses elsewhere")


class Gone(Params):
    """An alias, or some of its targets."""

    address: str = Address
    to: list[str] = Field(default_factory=list, max_length=1000, description="only these targets; empty: all of it")


@method("alias.list", All, needs="read", reads=True)
def list_(call: Call, given: All) -> dict[str, Any]:
    """All aliases, by name."""
    file = call.house.paths.aliases
    found = [{"address": aliases.text(key), "to": [aliases.text(one) for one in targets]}
             for key, targets in sorted(config.load_aliases(file).items())]
    if given.to:
        found = [one for one in found if given.to.lower() in map(str.lower, one["to"])]
    if given.search:
        found = [one for one in found if given.search.lower() in " ".join([str(one["address"]), *one["to"]]).lower()]
    return {"total": len(found), "aliases": found[given.offset : given.offset + given.limit],
            "version": conffile.version(file)}


@method("alias.create", New)
def create(call: Call, given: New) -> dict[str, Any]:
    """Make an alias, or add targets to one."""
    try:
        name, targets = aliases.add(call.house.paths, call.house.settings(), given.address, given.to)
    except aliases.Refused as error:
        raise _refused(error) from None
    return {"address": name, "to": targets}


@method("alias.delete", Gone)
def delete(call: Call, given: Gone) -> dict[str, Any]:
    """Remove an alias, or only some of its targets."""
    try:
        name, left = aliases.remove(call.house.paths, given.address, given.to)
    except aliases.Refused as error:
        raise _refused(error) from None
    return {"address": name, "to": left}


def _refused(error: aliases.Refused) -> Refused:
    code, field = _CODES[error.kind]
    return Refused(code, str(error), field)
