"""One TOML file that people write: read with good errors, edited without losing a comment.

Invariants: `read` never blocks and raises nothing but ConfigError, whatever lies at the path. `edit` replaces the file
atomically, under a lock against other editors of the same directory, and only by what `check` lets pass; text that
is not concerned stays as it is, byte for byte. Inside `one_look`, a version is that of the text which was shown.
"""

import contextlib
import contextvars
import errno
import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import tomlkit
import tomlkit.exceptions
import tomlkit.items

from lanmail import atomic
from lanmail.errors import ConfigError, Problem

LIMIT = 1 << 20
Key = tuple[str, ...]
_looked: contextvars.ContextVar[dict[Path, str] | None] = contextvars.ContextVar("looked", default=None)


@dataclass(frozen=True)
class Default:
    """In `edit`, for a key that shall have its default again: it stays in the file as a comment with this text."""

    text: str


_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n=]"
    r"|[^\"'\#\[\]{}\n=]+"
    r"|.",
    re.DOTALL,
)
_HEADER = re.compile(r"\[\[?(.*?)\]\]?\s*(?:#.*)?", re.DOTALL)


@dataclass(frozen=True)
class Document:
    """A file that was read: its values, and its text for line numbers."""

    path: Path
    text: str
    data: dict[str, Any]

    def problem(self, key: Key, text: str, kind: str = "", *values: str) -> Problem:
        """A problem at the line of `key`, or of the innermost table around it that is written down."""
        return Problem(str(self.path), line_of(self.text, key), text, kind, values)


def read(path: Path) -> Document:
    """Read and parse; ConfigError with file:line for anything that is wrong with the file itself."""
    return parse(path, read_text(path))


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError."""
    try:
        text = atomic.read(path, LIMIT).decode("utf-8-sig")
        if (seen := _looked.get()) is not None:
            seen.setdefault(path, _version(text))
        return text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, "is not UTF-8; save it in this encoding", "not-utf8")]) from error
    except atomic.NotRegular as error:
        text = "is not a regular file (nor may it be a link)"
        raise ConfigError([Problem(str(path), None, text, "not-regular")]) from error
    except atomic.TooLarge as error:
        raise ConfigError([Problem(str(path), None, f"is larger than {LIMIT} bytes", "too-large")]) from error
    except OSError as error:
        kind = "missing-file" if error.errno == errno.ENOENT else "unreadable"
        raise ConfigError([Problem(str(path), None, _why(error), kind)]) from error


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "does not exist"
    return f"cannot be read: {os.strerror(error.errno or 0)}"


def parse(path: Path, text: str) -> Document:
    """Parse TOML. Raises ConfigError with the line."""
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError([Problem(str(path), None, "is not TOML: it is nested too deeply", "not-toml")]) from error
    except ValueError as error:
        reason = str(error)
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", reason)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        reason = _plainer(reason[: place.start()] if place else reason)
        raise ConfigError([Problem(str(path), line, f"is not TOML: {reason}", "not-toml")]) from error
    if text and not text.endswith("\n"):
        # a file cut off inside its last line can still be TOML: `port = 2` of `port = 25`
        line = text.count("\n") + 1
        text = "the last line has no line end; the file may be cut off"
        raise ConfigError([Problem(str(path), line, text, "cut-off")])
    return Document(path, text, data)


_PLAIN = {
    "Cannot overwrite a value": "this key or section stands there already",
    "Invalid value": "this is not a value (texts stand in quotes)",
}


def _plainer(reason: str) -> str:
    """What tomllib says, in words for people who edit the file."""
    twice = re.fullmatch(r"Cannot (?:declare|mutate immutable namespace|overwrite) \((.*?),?\)(?: twice)?", reason)
    if twice:
        parts = re.findall(r"'([^']*)'", twice[1])
        return f"[{'.'.join(parts)}] stands in the file already"
    return _PLAIN.get(reason, reason)


def line_of(text: str, key: Key) -> int | None:
    """The line (from 1) where `key`, or the innermost table around it, is written; None when nothing is."""
    best: tuple[int, int] | None = None
    for found, line in _keys(text):
        common = len(found) if found == key[: len(found)] else 0
        if common and (best is None or common > best[0]):
            best = (common, line)
    return best[1] if best else None


def _keys(text: str) -> Iterator[tuple[Key, int]]:
    """All keys and table headers of a valid TOML text with their lines; what is inside a value is passed over."""
    table: Key = ()
    for statement, line in _statements(text):
        if statement.startswith("["):
            match = _HEADER.fullmatch(statement)
            table = _path(match[1]) if match else ()
            yield table, line
        else:
            yield table + _path(statement), line


def _statements(text: str) -> Iterator[tuple[str, int]]:
    """Each table header (with its brackets) and each key left of its `=`, and the line it begins in."""
    line, depth, taken, begun = 1, 0, False, 1
    words = ""
    for piece in _PIECE.findall(text):
        if piece == "\n" and not depth:
            if not taken and words.strip():
                yield words.strip(), begun
            words, taken = "", False
        elif piece == "=" and not depth and not taken:
            yield words.strip(), begun
            taken = True
        elif not taken and not piece.startswith("#"):
            begun = begun if words.strip() else line
            words += piece
        elif taken:
            depth += (piece in "[{") - (piece in "]}")
        line += piece.count("\n")


def _path(key: str) -> Key:
    """The parts of a dotted key as it is written."""
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts = []
    while isinstance(node, dict):
        (part, node) = next(iter(node.items()))
        parts.append(part)
    return tuple(parts)


def edit(path: Path, changes: Mapping[Key, Any] | Callable[[Document], Mapping[Key, Any]],
         check: Callable[[Document], object], *, mode: int = 0o640, version: str | None = None) -> None:
    """Set each key to its value (None takes it away) in the file, which is made when it is missing.

    A key that stands there commented out, as in the sample, is set in that place. What depends on the file is worked
    out by a function, under the lock. With a `version`, only if the file still has it. Raises Conflict, ConfigError,
    OSError.
    """
    with lock(path.parent):
        if callable(changes):
            changes = changes(read(path) if os.path.lexists(path) else Document(path, "", {}))
        text, changed = preview(path, changes)
        if version is not None and version != _version(text):
            raise Conflict(str(path))
        check(parse(path, changed))
        if changed != text:
            atomic.write(path, changed, mode=_mode(path, mode))
        if (seen := _looked.get()) is not None:
            seen[path] = _version(changed)


class Conflict(Exception):
    """The file was changed since it was read."""


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """Inside, `version` is that of the text which was read first, or written: not that of another editor's text who
    came between the look at the settings and the look at the version, and whose change would be lost by it."""
    before = _looked.set({})
    try:
        yield
    finally:
        _looked.reset(before)


def version(path: Path) -> str:
    """What changes whenever the file does; of no file that of an empty one. ConfigError."""
    if (seen := _looked.get()) is not None and path in seen:
        return seen[path]
    return _version(read_text(path) if os.path.lexists(path) else "")


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def preview(path: Path, changes: Mapping[Key, Any]) -> tuple[str, str]:
    """The text of the file, and what `edit` would make of it. Raises ConfigError."""
    text = read_text(path) if os.path.lexists(path) else ""
    if text:
        parse(path, text)
    return text, render(path, text, changes)


def create(path: Path, text: str, check: Callable[[Document], object], *, mode: int = 0o640) -> None:
    """Make a new file. Raises FileExistsError, ConfigError, OSError."""
    with lock(path.parent):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "exists already", str(path))
        check(parse(path, text))
        atomic.write(path, text, mode=mode)


def remove(path: Path) -> None:
    """Take the file away, under the same lock."""
    with lock(path.parent):
        path.unlink()
        atomic.sync_dir(path.parent)


def lock(directory: Path) -> filelock.BaseFileLock:
    """The lock that every editor of a configuration directory takes."""
    return filelock.FileLock(directory / ".lock", timeout=10, mode=0o660)


def _mode(path: Path, mode: int) -> int:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return mode


def render(path: Path, text: str, changes: Mapping[Key, Any]) -> str:
    """`text` with the changes made; comments, order and spacing kept."""
    for key, value in changes.items():
        text = _comment(text, key, value.text) if isinstance(value, Default) else _uncomment(text, key)
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            _set(document, key, None if isinstance(value, Default) else value)
        made = tomlkit.dumps(document)
        made.encode()  # half a surrogate pair is no text
        return made
    except (tomlkit.exceptions.TOMLKitError, UnicodeEncodeError) as error:
        raise ConfigError([Problem(str(path), None, f"cannot be edited: {error}")]) from error


def _comment(text: str, key: Key, default: str) -> str:
    """Turn `key = value` on one line into `# key = default`; anything else is left to be taken away."""
    line = next((line for found, line in _keys(text) if found == key), None)
    if line is None:
        return text
    lines = text.split("\n")  # not splitlines: a value may hold other characters that it takes for line ends
    lines[line - 1] = f"# {key[-1]} = {default}"
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return text  # the value goes on in further lines
    return "\n".join(lines)


def _uncomment(text: str, key: Key) -> str:
    """Turn `# key = default` in the key's own table into `key = default`, when the key is not set yet."""
    if any(found == key for found, _ in _keys(text)):
        return text
    headers = [(line, found) for found, line in _keys(text) if found and _is_header(text, line)]
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        table = next((found for start, found in reversed(headers) if start < number), ())
        match = re.match(rf"#\s?({re.escape(key[-1])}\s*=\s*\S.*)", line, re.DOTALL)
        if table != key[:-1] or not match:
            continue
        candidate = "\n".join([*lines[: number - 1], match[1], *lines[number:]])
        try:
            tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue  # prose that looks like a setting, or a default over several lines
        if any(found == key for found, _ in _keys(candidate)):  # else the line stands inside a text of several lines
            return candidate
    return text


def _is_header(text: str, line: int) -> bool:
    return text.split("\n")[line - 1].lstrip().startswith("[")


def _set(document: tomlkit.TOMLDocument, key: Key, value: Any) -> None:
    table: Any = document
    for part in key[:-1]:
        if part not in table:
            if value is None:
                return
            table[part] = tomlkit.table()
        table = table[part]
        if not isinstance(table, dict):
            raise tomlkit.exceptions.TOMLKitError(f"'{part}' is not a section")
    if value is None:
        table.pop(key[-1], None)
        return
    if isinstance(value, dict):
        item: tomlkit.items.Item = tomlkit.inline_table()
        item.update(value)  # type: ignore[attr-defined]
    elif isinstance(value, str) and "\n" in value:
        item = tomlkit.string(value, multiline=True)  # as a person would write it
    else:
        item = tomlkit.item(value)
    last = _last_key(table) if key[-1] not in table else None
    if last is not None:
        table.value._insert_after(last, key[-1], item)
    else:
        table[key[-1]] = item


_TABLES = (tomlkit.items.Table, tomlkit.items.AoT)


def _last_key(table: Any) -> Any:
    """The key behind which a new one belongs: what stands below it may be a comment about the next section."""
    body = table.value.body if isinstance(table, tomlkit.items.Table) else []
    plain = [name for name, item in body if name is not None and not isinstance(item, _TABLES)]
    return plain[-1] if plain else None
