"""What is derived from the models in settings.py: sentences for errors, the commented sample, the JSON Schema."""

import difflib
import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lanmail.conffile import Document, Key
from lanmail.errors import ConfigError, Problem

AnyModel = TypeVar("AnyModel", bound=pydantic.BaseModel)
WIDTH = 110


def validate(model: type[AnyModel], document: Document, data: dict[str, Any], below: Key = ()) -> AnyModel:
    """`data`, the table `below` of `document`, as `model`. Raises ConfigError with a sentence for every wrong key."""
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
    problems = [_problem(model, document, item, below) for item in found]
    raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))


def _problem(model: type[pydantic.BaseModel], document: Document, error: Any, below: Key) -> Problem:
    location = [part for part in error["loc"] if part != "[key]"]
    key = tuple(part for part in location if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        return document.problem(below + key, _unknown(model, key, below), "unknown-key", key[-1])
    written = ".".join(below + key) + "".join(f"[{part}]" for part in location if isinstance(part, int))
    problem = document.problem(below + key, f"{written}: {_sentence(error)}", *rule(model, error))
    return problem if problem.line else replace(problem, line=1)


def broken(model: type[pydantic.BaseModel], error: Any) -> Problem:
    """An error of pydantic about values that stand in no file."""
    kind, *values = rule(model, error)
    return Problem("", None, str(error["msg"]), kind, tuple(values))


def rule(model: type[pydantic.BaseModel], error: Any) -> tuple[str, ...]:
    """Which rule an error of pydantic says was broken, with its limit: "units.size", "greater_than_equal", "1".

    A type that reads what people write is called by the function that does it.
    """
    limits = error.get("ctx", {})
    of_key = _field(model, tuple(part for part in error["loc"] if isinstance(part, str) and part != "[key]"))
    match error["type"]:
        case "value_error":
            reader = _reader(of_key, inner=any(isinstance(part, int) for part in error["loc"]))
            typed = error.get("input") if reader.startswith(("units.", "groups.")) else None  # and no secret
            return reader or "value_error", *([typed[:100]] if isinstance(typed, str) else [])
        case "string_pattern_mismatch":
            return "pattern", str(error["loc"][-1])
    known = [str(limits[name]) for name in ("ge", "le", "max_length", "min_length", "expected") if name in limits]
    return error["type"], *known[:1]


def _field(model: type[pydantic.BaseModel], key: Key) -> FieldInfo | None:
    while key:
        parent = section(model, key[:-1])
        for name, field in parent.model_fields.items() if parent else ():
            if key[-1] in (name, field.alias):
                return field
        key = key[:-1]  # the name or the value in a mapping
    return None


def _reader(field: FieldInfo | None, *, inner: bool) -> str:
    """The function that reads values of a key, or of the items in it."""
    if field is None:
        return ""
    of_list = [*field.metadata, *getattr(field.annotation, "__metadata__", ())]
    of_items = [one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ())]
    for one in [*of_items, *of_list] if inner else [*of_list, *of_items]:
        if isinstance(one, pydantic.BeforeValidator):
            return f"{one.func.__module__.removeprefix('lanmail.')}.{getattr(one.func, '__name__', '')}"
    return ""


def _sentence(error: Any) -> str:
    """What is wrong with one value, without pydantic's words."""
    limits = error.get("ctx", {})
    secret = error["loc"][-1:] == ("password",)
    value = "" if secret else f", not {_short(error['input'])}"
    match error["type"]:
        case "missing":
            return "must be set"
        case "int_type":
            return f"must be a whole number{value}"
        case "bool_type":
            return f"must be true or false{value}"
        case "string_type":
            return f"must be a text in quotes{value}"
        case "list_type":
            return f'must be a list like ["a", "b"]{value}'
        case "dict_type" | "model_type":
            return f"must be a section or {{ key = value }}{value}"
        case "greater_than_equal":
            return f"must be {limits['ge']} or more{value}"
        case "less_than_equal":
            return f"must be {limits['le']} or less{value}"
        case "string_too_long":
            return f"must have at most {limits['max_length']} character(s){value}"
        case "string_too_short":
            return "must not be empty"
        case "literal_error":
            return f"must be {limits['expected']}{value}"
        case "value_error":
            return str(limits["error"])
    return str(error["msg"])


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(model: type[pydantic.BaseModel], key: Key, below: Key = ()) -> str:
    """The sentence about a key that does not exist, with a guess at what was meant."""
    parent = section(model, key[:-1])
    siblings = [field.alias or name for name, field in parent.model_fields.items()] if parent else []
    table = below + key[:-1]
    where = f" in [{'.'.join(table)}]" if table else ""
    close = difflib.get_close_matches(key[-1], siblings, 1, 0.6)
    if close:
        return f"unknown key {key[-1]!r}{where}; did you mean {close[0]!r}?"
    homes = [".".join(path[:-1]) for path, _ in fields(model) if path[-1] == key[-1] and path[:-1]]
    if homes:
        return f"unknown key {key[-1]!r}{where}; it belongs into [{homes[0]}]"
    return f"unknown key {key[-1]!r}{where}"


def section(model: type[pydantic.BaseModel], key: Key) -> type[pydantic.BaseModel] | None:
    """The model of the section at `key`, None when there is none."""
    current: type[pydantic.BaseModel] | None = model
    parts = iter(key)
    for part in parts:
        field = current.model_fields.get(part) if current else None
        many = _as_section(get_args(field.annotation)[1]) if field and get_origin(field.annotation) is dict else None
        if many is not None:
            next(parts, None)  # the name that people gave it
        current = many or (_as_section(field.annotation) if field else None)
    return current


def _as_section(annotation: Any) -> type[pydantic.BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel) else None


def fields(model: type[pydantic.BaseModel], above: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Every key of a model with its field, sections left out, in the order of the sample."""
    later = []
    for name, field in model.model_fields.items():
        if field.exclude:  # not in the file
            continue
        inner = _as_section(field.annotation)
        if inner:
            later.append((name, inner))
        else:
            yield (*above, field.alias or name), field
    for name, inner in later:
        yield from fields(inner, (*above, name))


def guess(model: type[pydantic.BaseModel], key: str) -> str:
    """ "; did you mean …" for a dotted key that does not exist, else nothing."""
    known = [".".join(path) for path, _ in fields(model)]
    ends = [path for path in known if path.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    close = ends or difflib.get_close_matches(key, known, 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def sample(model: type[pydantic.BaseModel], title: str, given: dict[str, Any]) -> str:
    """A configuration file with every key, its sentence and its default; what is not in `given` is commented out."""
    lines = [*_comment(title), ""]
    above: Key | None = ()
    for key, field in fields(model):
        if key[:-1] != above and key[:-1]:
            above = key[:-1]
            inner = section(model, above)
            lines += [*_comment(inner.__doc__ or "" if inner else ""), f"[{'.'.join(above)}]"]
        dotted = ".".join(key)
        lines += _comment(field.description or "")
        required = field.default is PydanticUndefined
        value = given.get(dotted, None if required else field.default)
        lines += [f"{'' if dotted in given else '# '}{key[-1]} = {toml(value)}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}".rstrip() for part in text.split("\n") for line in textwrap.wrap(part, WIDTH) or [""]]


def toml(value: Any) -> str:
    """A value as it is written in TOML; None as an empty text."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)} = {toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return json.dumps("" if value is None else value, ensure_ascii=False)


def json_schema(model: type[pydantic.BaseModel], title: str) -> dict[str, Any]:
    """A JSON Schema that editors (taplo, VS Code) use to complete and check the file."""
    made = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": title}


def choices(field: FieldInfo) -> tuple[Any, ...]:
    """The values a key allows, when it is one of a few."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
