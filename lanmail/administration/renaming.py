"""Another name for an account: its file, mail and memories move, and what names it in conf/ names it anew.

    rename(where, settings, "meier", "weber", alias=True)       what was changed elsewhere, a sentence each
    rename_group(where, settings, "sales", "vertrieb")          the same for a group, which has no mail

Mail comes in meanwhile. So the order is: the Maildir; an alias, which does not count while there is an account of this
name; the account's file, by one rename, so that there is one account at each moment; then everything else. What comes
into a Maildir under the old name in between is moved after. `state/renaming` says what is being done: after a kill the
same call goes on with it.

What is written for good keeps the old name: the journal of the archive (which knows whose it was: `archiving/holders`),
log files, statistics.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock

from lanmail import atomic, conffile, config, groups, names, secretfiles, units
from lanmail.accounts import Directory
from lanmail.administration import enrolment, grouping
from lanmail.archiving import holders
from lanmail.errors import ConfigError
from lanmail.folders import acl
from lanmail.logins import apikeys, grants
from lanmail.oauth import owners
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import place
from lanmail.textindex import indexes

_FORWARDS = (("forward", "to"), ("autoresponder", "forward"), ("einvoice", "forward"), ("einvoice", "other_forward"))
_STATE = ("autoresponder/{}", "commands/{}.json", "einvoice/{}", "logins/{}", "forward/{}", "full/{}", "import/{}",
          "quota/{}", "sms/{}.json")
Changes = dict[str | conffile.Key, Any]


def rename(where: Paths, loaded: Settings, old: str, new: str, *, alias: bool = True) -> list[str]:
    """Do it. enrolment.Refused, ConfigError, OSError."""
    work = _Work(where, loaded, old, new.lower())
    where.state.mkdir(exist_ok=True)
    with filelock.FileLock(where.state / "renaming.lock", timeout=10, mode=0o660):
        begun = work.begin(new)
        work.move_mail()
        if begun != "named":
            work.move_account()
        work.move_memories()
        told = [*work.rename_in_conf(), *work.rename_keys(), *work.rename_in_folders()]
        if not alias:
            config.edit(where.aliases, {(old,): None})
        else:
            told.append(f"alias {old} leads to {work.new}")
        secretfiles.drop(where, old)
        work.marker.unlink(missing_ok=True)
    return told


def rename_group(where: Paths, loaded: Settings, old: str, new: str, *, alias: bool = True) -> list[str]:
    """Another name for a group: there are both until everything names the new one. grouping.Refused, ConfigError,
    OSError."""
    work = _OfGroup(where, loaded, old.lower(), new.lower())
    where.state.mkdir(exist_ok=True)
    with filelock.FileLock(where.state / "renaming.lock", timeout=10, mode=0o660):
        work.begin(new)
        work.copy_group()
        told = [*work.rename_in_conf(), *work.rename_in_folders()]
        if alias:  # before the old one goes, so that no mail to it is refused
            config.edit(where.aliases, {(work.old,): [work.new]})
        grouping.remove(where, work.old)
        work.marker.unlink(missing_ok=True)
    return [*told, f"alias {work.old} leads to {work.new}"] if alias else told


class _Work:
    """One renaming."""

    kind = "user"  # in rights of folders

    def __init__(self, where: Paths, loaded: Settings, old: str, new: str) -> None:
        self.where, self.loaded, self.old, self.new = where, loaded, old, new
        self.marker = where.state / "renaming"
        self.local = {"", *loaded.server.local_domains}

    def begin(self, new: str) -> str:
        """Whether it can be done; "named" when a call before this one came so far that the file has its new name."""
        before = self._before()
        is_there = [enrolment.find(self.where, one) is not None for one in (self.old, self.new)]
        if before == [self.old, self.new] and any(is_there):
            return "" if is_there[0] else "named"
        if before:
            raise enrolment.Refused(f"{before[0]} is being renamed to {before[1]}, which did not end; "
                                    f"finish it first: lanmail account rename {before[0]} {before[1]}")
        if not is_there[0]:
            raise enrolment.Refused(f"there is no account '{self.old}'")
        reason = Directory(self.where, lambda: self.loaded).valid_name(new)
        if reason:
            raise enrolment.Refused(reason)
        if os.path.lexists(self.where.maildirs / self.new):
            raise enrolment.Refused(f"there is mail of a former account in {self.where.maildirs / self.new}; "
                                    "move it away first")
        atomic.write(self.marker, json.dumps([self.old, self.new]))
        return ""

    def _before(self) -> list[str]:
        try:
            found = json.loads(atomic.read(self.marker, 4096))
        except (OSError, ValueError):
            return []
        return [str(one) for one in found] if isinstance(found, list) and len(found) == 2 else []

    def move_mail(self) -> None:
        """The Maildir; what came into a new one under the old name since then, too."""
        source, target = self.where.maildirs / self.old, self.where.maildirs / self.new
        if not source.is_dir():
            return
        if not target.exists():
            os.rename(source, target)
            atomic.sync_dir(target.parent)
            return
        for path in sorted(source.rglob("*")):
            if path.parent.name in ("new", "cur") and path.is_file() and not path.is_symlink():
                there = target / path.relative_to(source)
                there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not there.exists():
                    os.rename(path, there)

    def move_account(self) -> None:
        """The account's file, with an alias that takes over the moment it is gone."""
        named = [value for _, value in _texts(conffile.read(enrolment.file_of(self.where, self.old)).data)]
        moved = secretfiles.move(self.where, self.old, self.new, named)
        config.edit(self.where.aliases, {(self.old,): [self.new]})
        file = enrolment.file_of(self.where, self.new)
        with conffile.lock(self.where.accounts):
            os.rename(enrolment.file_of(self.where, self.old), file)
            atomic.sync_dir(self.where.accounts)
        self._edit(file, lambda data: {key: moved[text] for key, text in _texts(data) if text in moved})
        self.move_mail()

    def move_memories(self) -> None:
        """What programs remember of the account."""
        for pattern in _STATE:
            self._move(self.where.state / pattern.format(self.old), self.where.state / pattern.format(self.new))
        fetched = self.where.state / "fetched"
        self._move(fetched / place.safe(self.old), fetched / place.safe(self.new))
        indexes.Indexes(self.where.indexes).forget(self.old)  # filled again under the new name
        with contextlib.suppress(FileNotFoundError):  # the marker is there until the end
            holders.moved(self.where.state, self.old, self.new, self.marker.stat().st_mtime, time.time())
        grants.Register(self.where.state).move(self.old, self.new)
        owners.move(self.where, self.old, self.new)

    def _move(self, source: Path, target: Path) -> None:
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            if not os.path.lexists(target):
                os.rename(source, target)

    def rename_in_conf(self) -> Iterator[str]:
        """All files of conf/ that name it."""
        for path in config.account_files(self.where):
            if self._edit(path, self._in_account):
                yield f"account {path.stem} names it anew"
        for path, what in ((self.where.aliases, self._in_aliases), (self.where.groups, self._in_groups),
                           (self.where.config_file, self._in_settings)):
            if os.path.lexists(path) and self._edit(path, what):
                yield f"{path.name} names it anew"

    def rename_keys(self) -> Iterator[str]:
        """The account's keys of the API."""
        for key in apikeys.move(self.where.conf / "api.toml", self.old, self.new):
            yield f"the API key {key} is for {self.new} now"

    def _edit(self, path: Path, changes: Callable[[dict[str, Any]], Changes]) -> bool:
        """Change a file by what it says at this moment. A broken one is left: `lanmail config check` tells."""
        made: Changes = {}

        def wanted(document: conffile.Document) -> Changes:
            made.update(changes(document.data))
            return made

        with contextlib.suppress(ConfigError):
            config.edit(path, wanted)
        return bool(made)

    def _in_account(self, data: dict[str, Any]) -> Changes:
        found: Changes = dict(self._changed(data, [*_FORWARDS, ("members",), ("send_as",)]))
        for name in _table(data, "sources"):
            found |= dict(self._changed(data, [("sources", name, "fallback")]))
        return found

    def _in_aliases(self, data: dict[str, Any]) -> Changes:
        return dict(self._changed(data, [(name,) for name in data]))

    def _in_groups(self, data: dict[str, Any]) -> Changes:
        return dict(self._changed(data, [(name, key) for name in data for key in ("members", "may_post", "owner")]))

    def _in_settings(self, data: dict[str, Any]) -> Changes:
        return dict(self._changed(data, [("incoming", "fallback"), ("archived", "report"), ("account_defaults",
                                                                                            "send_as")]))

    def _changed(self, data: dict[str, Any], keys: Iterable[conffile.Key]) -> Iterator[tuple[conffile.Key, Any]]:
        for key in keys:
            value: Any = data
            for part in key:
                value = value.get(part) if isinstance(value, dict) else None
            new = [self._named(one) for one in value] if isinstance(value, list) else self._named(value)
            if value is not None and new != value:
                yield key, new

    def _named(self, text: Any) -> Any:
        """The text with the new name, if it is the account: its name, an address of it, a member with rights."""
        if not isinstance(text, str):
            return text
        if ";" in text:
            return ";".join(str(self._named(one.strip())) for one in units.forward_list(text))
        name, equals, rights = text.partition("=")
        local, at, domain = name.rpartition("@") if "@" in name else (name, "", "")
        if local.lower() == self.old and domain.lower() in self.local:
            return f"{self.new}{at}{domain}{equals}{rights}"
        return text

    def rename_in_folders(self) -> Iterator[str]:
        """Rights that somebody gave it in his folders."""
        count = 0
        for directory, folders, files in os.walk(self.where.maildirs):
            folders[:] = [one for one in folders if one not in ("cur", "new", "tmp")]
            if acl.NAME in files:
                count += acl.rename(directory, self.old, self.new, kind=self.kind)
        if count:
            yield f"rights in {count} folder{'s' if count != 1 else ''} are its own under the new name"
        (self.where.state / "shares").unlink(missing_ok=True)  # made again by whoever looks next


class _OfGroup(_Work):
    """That of a group; its name may be a label in accounts, too, and a member of team mailboxes."""

    kind = "group"

    def __init__(self, where: Paths, loaded: Settings, old: str, new: str) -> None:
        super().__init__(where, loaded, old, new)
        self.marker = where.state / groups.RENAMING

    def begin(self, new: str) -> str:
        """Whether it can be done, or was begun before. grouping.Refused."""
        before = self._before()
        grouping.find(self.where, self.old)
        if before == [self.old, self.new]:
            return "begun"
        if before and groups.written(conffile.read(self.where.groups), before[0]):
            raise grouping.Refused(f"{before[0]} is being renamed to {before[1]}, which did not end; "
                                   f"finish it first: lanmail group rename {before[0]} {before[1]}", "new_name")
        reason = names.account_problem(new)
        if self.old == names.EVERYONE or reason:
            raise grouping.Refused(reason or "everyone keeps its name: it is the group of all", "new_name")
        reason = Directory(self.where, lambda: self.loaded).valid_name(new)
        if reason:
            raise grouping.Taken(reason, "new_name")
        atomic.write(self.marker, json.dumps([self.old, self.new]))
        return ""

    def copy_group(self) -> None:
        """A group of the new name with the same settings."""
        def made(document: conffile.Document) -> Changes:
            if groups.written(document, self.new) is not None:
                return {}  # a call before this one came so far
            table = document.data[groups.written(document, self.old) or self.old]
            return {(self.new, key): value for key, value in ({"members": []} | table).items()}

        config.edit(self.where.groups, made)

    def _in_account(self, data: dict[str, Any]) -> Changes:
        return super()._in_account(data) | dict(self._changed(data, [("groups",)]))

    def _named(self, text: Any) -> Any:
        if isinstance(text, str) and ";" not in text:
            kind, colon, rest = text.partition(":")
            who, equals, rights = rest.partition("=")
            if colon and kind == "group" and who.lower() == self.old:
                return f"group:{self.new}{equals}{rights}"
            local, at, domain = text.partition("@")
            if local.lower() == self.old + groups.OWNER and domain.lower() in self.local:
                return f"{self.new}{groups.OWNER}{at}{domain}"
        return super()._named(text)


def _texts(data: dict[str, Any], above: conffile.Key = ()) -> Iterator[tuple[conffile.Key, str]]:
    """All keys whose value is a text."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _texts(value, (*above, key))
        elif isinstance(value, str):
            yield (*above, key), value


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}
