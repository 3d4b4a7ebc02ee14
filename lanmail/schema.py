"""What is derived from the models in settings.py: sentences for errors, the commented sample, the JSON Schema."""

import difflib
import json
import textwrap
from collections.abc import Iterator
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
        return document.problem(below + key, _unknown(model, key, below))
    written = ".".join(below + key) + "".join(f"[{part}]" for part in location if isinstance(part, int))
    problem = document.problem(below + key, f"{written}: {_sentence(error)}")
    return problem if problem.line else Problem(problem.file, 1, problem.text)


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
