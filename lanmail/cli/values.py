"""Values on the command line: text into what a key takes, and back into words."""

import os
import tomllib
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel

from lanmail import conffile, config, schema
from lanmail.cli import command
from lanmail.conffile import Key
from lanmail.errors import ConfigError


def change(model: type[BaseModel], path: Path, dotted: str, texts: list[str], below: Key = ()) -> Any:
    """Set a key of a file to what was written on the command line (nothing: take it away); the value it got.

    `model` is what the file holds, or the table `below` in it.

    Text that is TOML for the right type is taken as that, other text as a plain text: `office.lan` and `50MB` need no
    quotes. Several texts, or one with commas, make a list. Ends with 65 when no reading of the text is right.
    """
    key = tuple(dotted.split("."))
    known = dict(schema.fields(model))
    if key not in known or key == ("name",):
        command.fail(f"there is no key '{dotted}'{schema.guess(model, dotted)}", os.EX_USAGE)
    if not texts:
        config.edit(path, {(*below, *key): None if below else conffile.Default(schema.toml(known[key].default))})
        return None
    refusals: list[str] = []
    for value in _readings(get_origin(known[key].annotation) is list, texts):
        try:
            config.edit(path, {(*below, *key): value})
        except ConfigError as error:
            about = [problem.text for problem in error.problems if dotted in problem.text]
            if not about:
                raise  # the file is broken elsewhere
            refusals.append("; ".join(about))
        else:
            return value
    return command.fail(refusals[0], os.EX_DATAERR)


def _readings(is_list: bool, texts: list[str]) -> list[Any]:
    """What the text may mean, the likeliest first."""
    if is_list:
        try:
            value = tomllib.loads(f"value = {texts[0]}\n")["value"] if len(texts) == 1 else None
        except tomllib.TOMLDecodeError:
            value = None
        plain = [item.strip() for text in texts for item in text.split(",")] if len(texts) == 1 else texts
        return [value, plain] if isinstance(value, list) else [plain]
    text = " ".join(texts)
    try:
        return [tomllib.loads(f"value = {text}\n")["value"], text]
    except tomllib.TOMLDecodeError:
        return [text]


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
