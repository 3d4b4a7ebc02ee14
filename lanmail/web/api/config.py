"""config.*: the settings of all programs, conf/lanmail.toml.

Settings are sections as objects, {"smtpd": {"max_size": "100MB"}}; null takes a setting away, so that the default
counts again. What is set stands in the file at once; programs take it over when they are asked to (config.reload),
ports and numbers of processes when they are started again. `waits` names keys of the latter kind.
"""

import os
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import Field

from lanmail import conffile, config, schema
from lanmail.administration import asking
from lanmail.settings import Settings
from lanmail.web.api import secrets
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.house import House
from lanmail.web.words import findings

OWNER = "lanmail"  # in the names of files with secrets
_read_before: WeakKeyDictionary[House, config.Remembered] = WeakKeyDictionary()  # accounts, for the check
_Key = Field("", max_length=200, description="like max_size, lan.port")
_Section = Field("", max_length=200, description="like smtpd; empty: all")


class ConfigKey(Params):
    """A section, or one key of it."""

    section: str = _Section
    key: str = _Key


class ConfigSet(Params):
    """Settings to be changed, or one key and its value; the others stay."""

    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)
    section: str = _Section
    key: str = _Key
    value: Any = None
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")

    @property
    def label(self) -> str:
        """What a change is noted as that names one key."""
        return f"{self.section}.{self.key}".strip(".")


class ConfigNothing(Params):
    """No parameters."""


@method("config.get", ConfigKey, needs="read", reads=True)
def get(call: Call, given: ConfigKey) -> dict[str, Any]:
    """Settings as they stand in the file, defaults included; `own` are the keys that are written down there."""
    path = _path(given.section, given.key)
    found = _known(call)
    value = found["settings"]
    for part in path:
        value = value[part]
    return found | {"settings": value} if schema.section(Settings, path) else {
        "value": value, "own": found["own"], "version": found["version"]}


@method("config.set", ConfigSet)
def set_(call: Call, given: ConfigSet) -> dict[str, Any]:
    """Change settings; all of them or, if one is wrong, none."""
    wanted: dict[str, Any] = given.settings
    if given.key:
        if wanted:
            raise Refused("invalid_field", "give settings, or one key and its value", "settings")
        path = _path(given.section, given.key)
        if not path:
            raise Refused("invalid_field", "key: say which one", "key")
        *above, last = path
        wanted = {last: given.value}
        for part in reversed(above):
            wanted = {part: wanted}
    elif given.section:
        raise Refused("invalid_field", "key: a section alone says nothing; give the key, too", "key")
    changes: dict[str | conffile.Key, Any] = {}
    changed, waits = [], []
    for key, value in _flat(secrets.stored(call, OWNER, wanted)):
        changes[key] = value
        changed.append(".".join(key))
        waits += [".".join(key)] if asking.waits(key) else []
    if changes or given.if_version is not None:
        config.edit(call.house.paths.config_file, changes, version=given.if_version)
    return _known(call) | {"changed": sorted(changed), "waits": sorted(waits)}


@method("config.check", ConfigNothing, needs="read", reads=True)
def check(call: Call, _given: ConfigNothing) -> dict[str, Any]:
    """All that is wrong in conf/, accounts, aliases and groups included, with file and line."""
    where = call.house.paths
    found = config.check(where, _read_before.setdefault(call.house, config.Remembered()))
    return {"problems": [{"file": os.path.relpath(one.file, where.conf), "line": one.line,
                          "text": one.text.replace(f"{where.conf}/", ""),
                          "text_de": findings.placed(one).replace(f"{where.conf}/", "")} for one in found],
            "accounts": len(list(config.account_files(where)))}


@method("config.reload", ConfigNothing)
def reload(call: Call, _given: ConfigNothing) -> dict[str, Any]:
    """Ask all programs to take over what stands in the file; refused when it is broken."""
    config.load(call.house.paths)
    asking.ask(call.house.paths)
    return {"asked": True}


def _path(section: str, key: str) -> conffile.Key:
    """The way to a section or key. Refused when there is none."""
    path = tuple(part for part in f"{section}.{key}".split(".") if part)
    known = [found for found, _ in schema.fields(Settings)]
    if path and not any(found[: len(path)] == path for found in known):
        dotted = ".".join(path)[:200]
        raise Refused("not_found", f"there is no key {dotted!r}{schema.guess(Settings, dotted)}",
                      "key" if key else "section")
    return path


def _known(call: Call) -> dict[str, Any]:
    document = conffile.read(call.house.paths.config_file)
    own = [".".join(key) for key, _ in _flat(document.data)]
    return {"settings": config.load_settings(document).model_dump(mode="json"), "own": own,
            "version": conffile.version(document.path)}


def _flat(settings: dict[str, Any], above: conffile.Key = ()) -> Iterator[tuple[conffile.Key, Any]]:
    """Settings as config.edit takes them: sections taken apart, null as the default again."""
    for key, value in settings.items():
        path = (*above, key)
        if isinstance(value, dict) and schema.section(Settings, path):
            yield from _flat(value, path)
        else:
            yield path, _default(path) if value is None else value


def _default(path: conffile.Key) -> conffile.Default | None:
    """Its default as a comment, as in the sample; of a section or an unknown key nothing."""
    field = dict(schema.fields(Settings)).get(path)
    if field is None or field.is_required():
        return None
    return conffile.Default(schema.toml(field.get_default(call_default_factory=True)))
