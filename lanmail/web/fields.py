"""Forms made from the models of settings: what a key looks like on a page, and what somebody typed into it.

    shown = fields.of(Account, ["quota", "forward.to"], values, words, "de")     to be drawn by ui.html
    changes = fields.changes(shown, form)       {"quota": "1GB", "forward": {"to": ["eva@example.org"]}}

A key's form follows from its type: a box to tick, a choice, a number, a line, several lines. Keys that an account
inherits have a third choice, "as for all". What was not changed is not sent, an emptied field means the default again;
whether a value is right is for the API to say.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData

from lanmail import schema
from lanmail.settings import Account, AccountDefaults

Kind = Literal["check", "three", "choice", "many", "number", "text", "lines", "long", "secret",
               "pairs", "secrets", "tables", "numbers"]
LINES = ("lines", "pairs", "secrets", "tables", "numbers")  # several lines: a list, a mapping, tables or numbers
_PLACES = ": file:secrets/NAME or credential:NAME"  # a secret is typed on pages
_LONG = 1000  # a text that may be longer gets a field of several lines


@dataclass(frozen=True, slots=True)
class Word:
    """How a key is called on pages, and its sentence in German; the English one stands in the model."""

    english: str
    german: str
    sentence: str = ""
    values: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)  # of choices


@dataclass(frozen=True, slots=True)
class Field:
    """One key on a page."""

    key: str  # dotted, as in the file
    kind: Kind
    label: str
    help: str
    value: Any  # the effective one: bool, str, list[str]
    choices: tuple[str, ...] = ()
    called: Mapping[str, str] = dataclasses.field(default_factory=dict)  # choices as people call them
    placeholder: str = ""
    inherited: bool = False  # nothing of its own: the office's default counts
    problem: str = ""


def of(model: type[BaseModel], keys: Sequence[str], values: Mapping[str, Any], words: Mapping[str, Word],
       language: str, *, own: Sequence[str] = ()) -> list[Field]:
    """The keys of a model with their values (as `model_dump(mode="json")` has them).

    `own`: the dotted keys that stand in the file itself; the others are inherited, if they can be.
    """
    return [_field(key, _info(model, key), _at(values, key), words.get(key), language, key in own, model)
            for key in keys]


def marked(fields: Sequence[Field], key: str | None, problem: str, form: FormData | None = None) -> list[Field]:
    """The same after a refusal: as it was typed, with the problem at its field."""
    again = [one for one in fields if form is not None and one.kind not in ("secret", "secrets")]
    typed = [replace(one, value=_typed(one, form)) if form is not None and one in again else one for one in fields]
    return [replace(one, problem=problem) if key and _is_about(key, one.key) else one for one in typed]


def changes(fields: Sequence[Field], form: FormData) -> dict[str, Any]:
    """What is to be set, as account.modify takes it: sections as objects, None for the default again."""
    made: dict[str, Any] = {}
    for one in fields:
        if one.kind == "secret":
            if form.get(f"{one.key}-clear"):
                _put(made, one.key, None)
            elif form.get(one.key):
                _put(made, one.key, {"secret": str(form[one.key])})
            continue
        value = _typed(one, form)
        before = ("" if one.inherited else one.value) if one.kind == "three" else one.value
        if value != before and not (one.kind == "many" and set(value) == set(before)):
            _put(made, one.key, None if value in ("", []) and one.kind != "many" else _plain(one, value))
    return made


def _field(key: str, info: FieldInfo, value: Any, word: Word | None, language: str, own: bool,
           model: type[BaseModel]) -> Field:
    inherits = issubclass(model, Account) and key in AccountDefaults.model_fields
    default = info.get_default(call_default_factory=True)
    choices = _choices(info.annotation)
    kind: Kind
    if info.json_schema_extra == {"secret": True} or ("file:secrets/" in (info.description or "")
                                                      and not isinstance(value, dict)):
        kind = "secret"
    elif isinstance(value, bool):
        kind = "three" if inherits else "check"
    elif isinstance(value, dict):
        kind = "secrets" if "file:secrets/" in (info.description or "") else "pairs"
        value = [f"{name} = {said}" for name, said in value.items()]
    elif isinstance(value, list):
        kind = "many" if choices else _of_list(info.annotation)
        value = [_in_line(item) for item in value]
    elif choices:
        kind = "choice"
    elif isinstance(value, int):
        kind = "number"
    else:
        kind = "long" if any(getattr(one, "max_length", 0) > _LONG for one in info.metadata) else "text"
    label = (word.german if language == "de" else word.english) if word else key
    sentence = (language == "de" and word and word.sentence) or (info.description or "").replace(_PLACES, "")
    shown = [str(one) for one in value] if isinstance(value, list) else value if isinstance(value, bool) else \
        "" if value is None else str(value)
    called = {value: said[language == "de"] for value, said in word.values.items()} if word else {}
    usual = "" if default is None or default == [] else str(default)
    return Field(key, kind, label, sentence, shown, choices, called, usual, inherits and not own)


def _of_list(annotation: Any) -> Kind:
    """What kind of lines a list is."""
    inner = get_args(annotation)[0] if get_origin(annotation) is list else str
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return "tables"
    return "numbers" if inner is int else "lines"


def _in_line(item: Any) -> str:
    """A table as it stands in an inline table of TOML, anything else as a text."""
    return ", ".join(f"{key} = {schema.toml(value)}" for key, value in item.items()) if isinstance(item, dict) \
        else str(item)


def _info(model: type[BaseModel], key: str) -> FieldInfo:
    path = tuple(key.split("."))
    inner = schema.section(model, path[:-1])
    if inner is None:
        raise KeyError(key)
    return next(info for name, info in inner.model_fields.items() if path[-1] in (name, info.alias))


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    while get_origin(annotation) is not Literal and get_args(annotation):
        annotation = get_args(annotation)[0]
    return tuple(str(one) for one in get_args(annotation)) if get_origin(annotation) is Literal else ()


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _typed(one: Field, form: FormData) -> Any:
    """What stands in the form, in the shape of the value."""
    if one.kind == "check":
        return one.key in form
    if one.kind == "many":
        return [str(item) for item in form.getlist(one.key)]
    said = str(form.get(one.key, "")).replace("\r\n", "\n")
    if one.kind == "three":
        return said if said == "" else said == "yes"
    if one.kind in LINES:
        return [line.strip() for line in said.split("\n") if line.strip()]
    return said if one.kind == "long" else said.strip()


def _plain(one: Field, value: Any) -> Any:
    """The value of what was typed; what cannot be one is left for the API to refuse."""
    if one.kind == "pairs":
        split = (line.partition("=") for line in value)
        return {name.strip(): said.strip() for name, _, said in split}
    if one.kind == "secrets":  # what names no place is the secret itself
        pairs = [(name.strip(), said.strip()) for name, _, said in (line.partition("=") for line in value)]
        return {name: said if said.startswith(("file:", "credential:")) else {"secret": said} for name, said in pairs}
    if one.kind == "tables":
        return [_table(line) for line in value]
    if one.kind == "numbers":
        return [_number(line) for line in value]
    return _number(value) if one.kind == "number" else value


def _number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text


def _table(line: str) -> Any:
    try:
        return tomllib.loads(f"table = {{ {line} }}")["table"]
    except tomllib.TOMLDecodeError:
        return line


def _put(made: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        made = made.setdefault(part, {})
    made[last] = value


def _is_about(said: str, key: str) -> bool:
    return said.removeprefix("settings.").partition("[")[0] == key
