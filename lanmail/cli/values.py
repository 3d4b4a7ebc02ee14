"""Values on the command line: text into what a key takes, and back into words."""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lanmail import atomic, conffile, config, schema
from lanmail.cli import command
from lanmail.conffile import Key
from lanmail.errors import ConfigError

_LONGEST = 1 << 20
_SWITCHES = {"yes": True, "on": True, "no": False, "off": False}

def change(model: type[BaseModel], path: Path, dotted: str, texts: list[str], below: Key = ()) -> Any:
    """Set a key of a file to what was written on the command line (nothing: take it away); the value it got."""
    return changes(model, path, {dotted: texts}, below)[dotted]


def changes(model: type[BaseModel], path: Path, given: Mapping[str, list[str]], below: Key = ()) -> dict[str, Any]:
    """Set keys of a file, all at once or none, to what was written on the command line; the values they got.

    `model` is what the file holds, or the table `below` in it. No texts at all take a key away.

    Text that is TOML for the right type is taken as that, other text as a plain text: `office.lan` and `50MB` need no
    quotes. Several texts, or one with commas or semicolons, make a list; yes and no are true and false. For a text of
    several lines @FILE reads a file and - standard input. Ends with 65 when no reading of a text is right.
    """
    known = dict(schema.fields(model))
    wanted: dict[str | Key, Any] = {}
    for dotted, texts in given.items():
        key = tuple(dotted.split("."))
        if key not in known or key == ("name",):
            command.fail(f"there is no key '{dotted}'{schema.guess(model, dotted)}", os.EX_USAGE)
        if texts:
            wanted[(*below, *key)] = _fitting(path, (*below, *key), dotted, _readings(known[key], texts))
        else:
            wanted[(*below, *key)] = None if below else conffile.Default(schema.toml(known[key].default))
    try:
        config.edit(path, wanted)
    except ConfigError as error:
        if config.problems_with(path, {}):
            raise  # the file was broken before
        command.fail("; ".join(problem.text for problem in error.problems), os.EX_DATAERR)
    return {dotted: wanted[(*below, *dotted.split("."))] if texts else None for dotted, texts in given.items()}


def _fitting(path: Path, key: Key, dotted: str, readings: list[Any]) -> Any:
    """The first reading that the key takes."""
    refusals: list[str] = []
    for value in readings:
        about = [one.text for one in config.problems_with(path, {key: value}) if dotted in one.text]
        if not about:
            return value
        refusals.append("; ".join(about))
    return command.fail(refusals[0], os.EX_DATAERR)


def _readings(field: FieldInfo, texts: list[str]) -> list[Any]:
    """What the text may mean, the likeliest first."""
    text = " ".join(texts)
    if _is_long(field) and (text == "-" or text.startswith("@")):
        return [_read(text)]
    try:
        value = tomllib.loads(f"value = {text}\n")["value"] if len(texts) == 1 or "\n" not in text else text
    except tomllib.TOMLDecodeError:
        value = text
    if get_origin(field.annotation) is list:
        mark = ";" if ";" in text else ","
        plain = [item.strip() for item in text.split(mark) if item.strip()] if len(texts) == 1 else texts
        return [value, plain] if isinstance(value, list) else [plain]
    if field.annotation is bool and text.lower() in _SWITCHES:
        return [_SWITCHES[text.lower()]]
    if field.annotation is str and not isinstance(value, str):
        return [text]  # 2026 and 2026-12-24, too
    return [value] if value is text else [value, text]


def _is_long(field: FieldInfo) -> bool:
    """Whether the key takes a text of several lines."""
    return field.annotation is str and any(getattr(limit, "max_length", 0) > 1000 for limit in field.metadata)


def _read(where: str) -> str:
    """The text of @FILE, or of standard input for -, with LF line ends."""
    try:
        raw = sys.stdin.buffer.read(_LONGEST) if where == "-" else atomic.read(os.path.expanduser(where[1:]), _LONGEST)
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        command.fail(f"{where[1:]}: {error.strerror}", os.EX_NOINPUT)
    except UnicodeDecodeError:
        command.fail(f"{'standard input' if where == '-' else where[1:]} is not UTF-8", os.EX_DATAERR)


def sections(shown: dict[str, Any], defaults: dict[str, Any], above: str = "") -> Iterator[str]:
    """The sections of a file as lines: of each the keys that do not have their default."""
    for name, value in shown.items():
        if not isinstance(value, dict):
            continue
        title, usual = f"{above}{name}", defaults.get(name)
        usual = usual if isinstance(usual, dict) else {}
        plain = {key: one for key, one in value.items() if not isinstance(one, dict) and one != usual.get(key)}
        if plain:
            yield ""
            yield f"[{title}]"
            for key, one in plain.items():
                yield from _lines(key, one)
        yield from sections(value, usual, f"{title}.")


def _lines(key: str, value: Any) -> Iterator[str]:
    first, *more = words(value).rstrip("\n").split("\n")
    yield f"{key.replace('_', ' '):<18} {first}"
    for line in more:
        yield f"{'':<18} {line}"


def words(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(words(item) for item in value) or "-"
    return str(value) or "-"


def size(octets: int) -> str:
    """A number of octets as a person reads it."""
    for limit, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if octets >= limit:
            return f"{octets / limit:.1f}{unit}"
    return f"{octets}B"
