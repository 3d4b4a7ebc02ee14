"""group.*: addresses whose mail goes to several people.

Settings are those of a table in conf/groups.toml: {"members": ["meier", "eva@example.org"], "may_post": ["local"]}.
null takes a setting away, so that the default counts again. The version is that of the whole file.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from lanmail import conffile, groups, posting
from lanmail.administration import grouping, naming, renaming
from lanmail.errors import ConfigError
from lanmail.groups import Group
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.words import findings

_Name = Field(min_length=1, max_length=200)
_VERSION = "refused with conflict if groups.toml has another by now"


class GroupPage(Params):
    """A page of the list."""

    search: str = Field("", max_length=200, description="only groups with this in their name or members")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=500)


class GroupNamed(Params):
    """A group."""

    name: str = _Name


class NewGroup(Params):
    """A new group."""

    name: str = _Name
    settings: dict[str, Any] = Field(default_factory=dict, max_length=50)


class ChangedGroup(Params):
    """Settings to be changed; the others stay."""

    name: str = _Name
    settings: dict[str, Any] = Field(max_length=50)
    if_version: str | None = Field(None, max_length=64, description=_VERSION)


class RenamedGroup(Params):
    """A group, and what it is to be called."""

    name: str = _Name
    new_name: str = _Name
    alias: bool = Field(True, description="mail to the old name still arrives")


class Members(Params):
    """A group, and who is to come or to go."""

    name: str = _Name
    members: list[str] = Field(min_length=1, max_length=5000)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What groups cannot have, as the API says it."""
    try:
        yield
    except grouping.Taken as refused:
        raise Refused("exists", str(refused), refused.key) from None
    except grouping.Unknown as refused:
        raise Refused("not_found" if refused.key == "name" else "invalid_field", str(refused), refused.key,
                      refused.problems) from None
    except grouping.Refused as refused:
        raise Refused("invalid_field", str(refused), refused.key) from None
    except ConfigError as error:
        texts = [_without(name, problem.text) for problem in error.problems]
        key = texts[0].partition(":")[0].partition("[")[0]
        raise Refused("invalid_field", "; ".join(texts), key if key in Group.model_fields else None,
                      error.problems) from None


def _without(name: str, text: str) -> str:
    """A problem without the table it is in: `sales.owner: …`."""
    return text[len(name) + 1 :] if text.lower().startswith(f"{name.lower()}.") else text


def _known(call: Call, one: Group) -> dict[str, Any]:
    return {"name": one.name, "addresses": grouping.addresses(call.house.settings(), one),
            "settings": one.model_dump(mode="json"), "who_may_write": posting.sentence(one)}


def _whole(call: Call, one: Group) -> dict[str, Any]:
    paths, loaded = call.house.paths, call.house.settings()
    document = conffile.read(paths.groups)
    call.house.directory.groups()  # looks at the files now, whatever it saw a moment ago
    own = document.data.get(groups.written(document, one.name) or "", {})
    wrong = grouping.problems(paths, loaded, one.name)
    return _known(call, one) | {
        "own": sorted(own), **grouping.reached(call.house.directory, one),
        "problems": [each.text for each in wrong], "problems_de": [findings.german(each) for each in wrong],
        "version": conffile.version(paths.groups)}


@method("group.list", GroupPage, needs="read", reads=True)
def list_(call: Call, given: GroupPage) -> dict[str, Any]:
    """All groups with their settings, by name."""
    wanted = given.search.lower()
    found = [one for _, one in sorted(groups.load(call.house.paths.groups).items())
             if any(wanted in text.lower() for text in (one.name, *one.members))]
    return {"total": len(found),
            "groups": [_known(call, one) for one in found[given.offset : given.offset + given.limit]]}


@method("group.get", GroupNamed, needs="read", reads=True)
def get(call: Call, given: GroupNamed) -> dict[str, Any]:
    """One group: its addresses and settings, which of them stand in the file (own), who is in it in the end."""
    with _told(given.name):
        return _whole(call, grouping.find(call.house.paths, given.name))


@method("group.create", NewGroup)
def create(call: Call, given: NewGroup) -> dict[str, Any]:
    """Make a group."""
    with _told(given.name):
        return _whole(call, grouping.create(call.house.paths, call.house.directory, given.name, given.settings))


@method("group.modify", ChangedGroup)
def modify(call: Call, given: ChangedGroup) -> dict[str, Any]:
    """Change settings of a group; all of them or, if one is wrong, none."""
    with _told(given.name):
        return _whole(call, grouping.change(call.house.paths, call.house.directory, given.name, given.settings,
                                            version=given.if_version))


@method("group.rename", RenamedGroup)
def rename(call: Call, given: RenamedGroup) -> dict[str, Any]:
    """Give a group another name; groups, aliases, forwards, team mailboxes and rights in folders follow."""
    with _told(given.name):
        told = renaming.rename_group(call.house.paths, call.house.settings(), given.name, given.new_name,
                                     alias=given.alias)
        return _whole(call, grouping.find(call.house.paths, given.new_name)) | {"changed": told}


@method("group.delete", GroupNamed)
def delete(call: Call, given: GroupNamed) -> dict[str, Any]:
    """Remove a group; "left" says what still names it."""
    with _told(given.name):
        name = grouping.remove(call.house.paths, given.name)
    return {"name": name, "left": [text.removeprefix("warning: ") for text in naming.left(call.house.paths, name)]}


@method("group.add_member", Members)
def add_member(call: Call, given: Members) -> dict[str, Any]:
    """Add members to a group; who is one already stays it."""
    with _told(given.name):
        return _whole(call, grouping.add_members(call.house.paths, call.house.directory, given.name, given.members))


@method("group.remove_member", Members)
def remove_member(call: Call, given: Members) -> dict[str, Any]:
    """Take members out of a group."""
    with _told(given.name):
        return _whole(call, grouping.remove_members(call.house.paths, given.name, given.members))
