"""Secrets in settings of a call: {"password": {"secret": "geheim"}} in place of a reference.

    settings = secrets.stored(call, "meier", given.settings)      before config.edit
    {"sources": {"gmx": {"password": "file:secrets/meier.sources.gmx.password"}}}

The text goes into a file of conf/secrets at once, so that whoever reads the setting finds it. When the call is refused
after all the file is as before; when it has been carried out, files of keys that were taken away or name another place
now are removed. A caller that is an account cannot name places where secrets lie.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from lanmail import log, secret, secretfiles
from lanmail.paths import Paths
from lanmail.web.api.frame import Call, Refused

_PLACES = ("file:", "credential:")
MAPPINGS = ("secret_headers",)  # keys whose value is names with a secret each


def stored(call: Call, owner: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings with references in place of what was typed. `owner` and the keys make up the files' names."""
    work = _Work(call.house.paths, owner, call.caller.account is not None)
    for key, value in _leaves(settings):
        work.look(key, value)
    call.ends.append(work.end)
    return work.replaced(settings)


class _Work:
    """What one call does to files, so that it can be undone."""

    def __init__(self, where: Paths, owner: str, bound: bool) -> None:
        self.where, self.owner, self.bound = where, owner, bound
        self.typed: list[tuple[tuple[str, ...], str]] = []
        self.others: list[tuple[str, ...]] = []
        self.whole: set[tuple[str, ...]] = set()  # mappings, which are set as a whole
        self.before: dict[str, tuple[bytes | None, bytes]] = {}

    def look(self, key: tuple[str, ...], value: Any) -> None:
        """One setting: what is to be done with it, or why not."""
        dotted = "settings." + ".".join(key)
        self.whole |= {key[:-1]} if key[-2:-1] and key[-2] in MAPPINGS else set()
        if is_typed(value):
            text = value["secret"]
            if not isinstance(text, str) or not text.strip("\r\n") or "\0" in text or len(text) > secret.LIMIT // 4:
                raise Refused("invalid_field", f'{dotted}: {{"secret": …}} must be a text, not empty, of at most '
                                               f"{secret.LIMIT // 4} characters", dotted)
            self.typed.append((key, text))
            return
        if self.bound and value != secretfiles.reference(self.owner, key) and _names_a_place(value):
            raise Refused("forbidden", f'{dotted}: only an administrator says where a secret lies; send it as '
                                       '{"secret": "…"}', dotted)
        if value != secretfiles.reference(self.owner, key):
            self.others.append(key)

    def replaced(self, settings: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
        """Write what was typed; the settings with references."""
        if not above:
            for key, text in self.typed:
                name, data = secretfiles.name_of(self.owner, key), f"{text}\n".encode()
                self.before[name] = (secretfiles.content(self.where, name), data)
                secretfiles.put(self.where, name, data)
        return {key: secretfiles.reference(self.owner, (*above, key)) if is_typed(value)
                else self.replaced(value, (*above, key)) if isinstance(value, dict) else value
                for key, value in settings.items()}

    def end(self, worked: bool) -> None:
        """The call is over: remove what nobody names any more, or put back what was there."""
        try:
            if worked:
                for key in self.others:
                    secretfiles.drop(self.where, self.owner, key)
                for key in self.whole:  # files of names that are no more
                    secretfiles.drop(self.where, self.owner, key)
                return
            for name, (old, ours) in self.before.items():
                if secretfiles.content(self.where, name) != ours:
                    continue  # somebody else was faster
                if old is not None:
                    secretfiles.put(self.where, name, old)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        (self.where.secrets / name).unlink()
        except OSError as error:
            log.event("secret-left", level=logging.WARNING, owner=self.owner, error=str(error))


def is_typed(value: Any) -> bool:
    """Whether a value is a secret that was typed."""
    return isinstance(value, dict) and value.keys() == {"secret"}


def _leaves(settings: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value and not is_typed(value):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _names_a_place(value: Any) -> bool:
    return any(isinstance(one, str) and one.strip().lower().startswith(_PLACES)
               for one in (value if isinstance(value, list) else [value]))
