"""Loading, checking and changing what people write in conf/.

Every function that reads raises `ConfigError` with all problems at once, each with its file and line. Nothing is kept
here: who caches settings (daemon.py, accounts.py) keeps the last good ones when a changed file turns out broken.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lanmail import conffile, groups, names, schema, settings
from lanmail.conffile import Document, Key
from lanmail.errors import ConfigError, Problem
from lanmail.paths import Paths
from lanmail.settings import Account, AccountDefaults, Settings

Changes = Mapping[str | Key, Any]
Aliases = dict[tuple[str, str], tuple[tuple[str, str], ...]]  # (local, domain or "") → targets, each the same

TITLE = """lanmail.toml: the settings of all programs of lanmail.
Every key stands here with its default, commented out. Remove the # to change one, then look at it with
`lanmail config check` and send the programs SIGHUP. Sizes are written "512KB", "50MB", "2GB", durations
"30s", "5m", "12h", "3d". Accounts have a file each in accounts/; aliases.toml and groups.toml lie beside."""


def load(paths: Paths) -> Settings:
    """conf/lanmail.toml, with everything checked that would make the server unsafe or ambiguous."""
    problems: list[Problem] = []
    loaded: Settings | None = None
    try:
        document = conffile.read(paths.config_file)
        loaded = load_settings(document)
    except ConfigError as error:
        problems += [_with_advice(paths, problem) for problem in error.problems]
    for check_of in (_insecure(paths, loaded), _name_clashes(paths)):
        try:
            problems += check_of
        except OSError as error:
            problems.append(Problem(str(error.filename), None, f"cannot be read: {error.strerror}", "unreadable"))
    if problems or loaded is None:
        raise ConfigError(problems)
    return loaded


def _with_advice(paths: Paths, problem: Problem) -> Problem:
    if problem.text != "does not exist":
        return problem
    where = "" if paths.conf == Path("/etc/lanmail") else f" --root {paths.root}"
    return replace(problem, text=f"does not exist; `lanmail init{where} --domain DOMAIN` makes it")


def load_settings(document: Document) -> Settings:
    """The settings of one parsed lanmail.toml. Raises ConfigError."""
    if not document.text.strip():
        text = "is empty; at least server.domain must be set"
        raise ConfigError([Problem(str(document.path), 1, text, "empty-file")])
    loaded = schema.validate(Settings, document, document.data)
    problems = []
    for keys, text in loaded.conflicts():
        found = [document.problem(tuple(key.split(".")), f"{keys[0]}: {text}", "keys-together", *keys) for key in keys]
        problems.append(next((problem for problem in found if problem.line), found[0]))
    if problems:
        raise ConfigError(problems)
    return loaded


def load_account(path: Path, defaults: AccountDefaults | None = None) -> Account:
    """One conf/accounts/NAME.toml; keys it does not have come from `defaults` ([account_defaults])."""
    return account(conffile.read(path), defaults)


def account(document: Document, defaults: AccountDefaults | None = None) -> Account:
    """The account in one parsed file: the only place where defaults and account meet. Raises ConfigError."""
    if not document.text.strip():
        raise ConfigError([Problem(str(document.path), 1, "is empty", "empty-file")])
    if "name" in document.data:
        text = "unknown key 'name'; the file's name is the account's name"
        raise ConfigError([document.problem(("name",), text, "unknown-key", "name")])
    inherited = {name: getattr(defaults, name) for name in AccountDefaults.model_fields} if defaults else {}
    return schema.validate(Account, document, {**inherited, **document.data, "name": document.path.stem.lower()})


def load_aliases(path: Path) -> Aliases:
    """conf/aliases.toml: name = target or list of targets. No file means no aliases. Raises ConfigError."""
    if not os.path.lexists(path):
        return {}
    return aliases(conffile.read(path))


def aliases(document: Document) -> Aliases:
    """The aliases of a parsed file. Raises ConfigError."""
    found: Aliases = {}
    problems = []
    for name, value in document.data.items():
        targets = [value] if isinstance(value, str) else value
        try:
            if not isinstance(targets, list) or not targets or not all(isinstance(item, str) for item in targets):
                raise ValueError('write the targets as a list, like ["meier", "x@example.org"]')
            alias = names.alias_key(name)
            if alias in found:
                raise ValueError("stands here twice (names are compared without case)")
            found[alias] = tuple(names.alias_target(item) for item in targets)
        except ValueError as error:
            problems.append(document.problem((name,), f"alias {name!r}: {error}", "alias", name))
    if problems:
        raise ConfigError(problems)
    return found


def account_files(paths: Paths) -> Iterator[Path]:
    """The files of conf/accounts that are meant as accounts, in order of their names."""
    if paths.accounts.is_dir():
        for name in sorted(os.listdir(paths.accounts)):
            if name.endswith(".toml") and not name.startswith("."):
                yield paths.accounts / name


LoadAccount = Callable[[Path, AccountDefaults | None], Account]


class Remembered:
    """load_account that opens a file again only when it has changed, for whoever checks many of them often."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[tuple[int, ...], AccountDefaults | None, Account | ConfigError]] = {}

    def __call__(self, path: Path, defaults: AccountDefaults | None) -> Account:
        try:
            status = os.lstat(path)
        except OSError:
            return load_account(path, defaults)
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        known = self._found.get(path)
        if known is None or known[0] != stamp or known[1] != defaults:
            try:
                found: Account | ConfigError = load_account(path, defaults)
            except ConfigError as error:
                found = error
            known = self._found[path] = (stamp, defaults, found)
        if isinstance(known[2], ConfigError):
            raise ConfigError(known[2].problems)
        return known[2]


def check(paths: Paths, read: LoadAccount = load_account) -> list[Problem]:
    """Everything wrong in conf/, accounts, aliases and groups included."""
    problems: list[Problem] = []
    loaded: Settings | None = None
    try:
        loaded = load(paths)
    except ConfigError as error:
        problems += error.problems
    accounts: dict[str, Account] = {}
    for path in account_files(paths):
        try:
            accounts[path.stem] = read(path, loaded.account_defaults if loaded else None)
        except ConfigError as error:
            problems += error.problems
        problems += _account_file_problems(path)
    names_ = {path.stem for path in account_files(paths)}
    problems += _postmasters(paths, accounts)
    problems += _member_problems(paths, accounts, names_)
    problems += _einvoice_problems(paths, accounts)
    if loaded:
        problems += _forward_problems(paths, loaded, accounts)
        problems += _alias_problems(paths, loaded, names_)
        problems += _group_problems(paths, loaded, names_)
    return list(dict.fromkeys(problems))


def account_problems(paths: Paths, loaded: Settings, name: str) -> list[Problem]:
    """What one account says that will not come true, though its file is well-formed. ConfigError."""
    found = {name: load_account(paths.accounts / f"{name}.toml", loaded.account_defaults)}
    return [*_einvoice_problems(paths, found), *_forward_problems(paths, loaded, found)]


def _account_file_problems(path: Path) -> Iterator[Problem]:
    reason = names.account_problem(path.stem)
    if reason:
        yield Problem(str(path), None, reason, "name")
    elif path.stem != path.stem.lower():
        yield Problem(str(path), None, f"rename it to {path.name.lower()}: names of accounts are lower-case",
                      "small-letters")
    if path.is_file() and _mode(path) & 0o004:
        yield Problem(str(path), None, f"holds a password hash and everybody can read it; run: chmod 640 {path}",
                      "readable-by-all")


def _postmasters(paths: Paths, accounts: Mapping[str, Account]) -> Iterator[Problem]:
    marked = [name for name, found in accounts.items() if found.postmaster]
    if len(marked) > 1:
        text = f"only one account can be postmaster, now there are {', '.join(marked)}"
        yield Problem(str(paths.accounts / f"{marked[1]}.toml"), None, text, "postmasters", (", ".join(marked),))


def _einvoice_problems(paths: Paths, accounts: Mapping[str, Account]) -> Iterator[Problem]:
    for name, found in accounts.items():
        path, own = paths.accounts / f"{name}.toml", found.einvoice
        document = conffile.read(path) if own.enabled else None
        if document is None:
            continue
        for key, value in (("forward", found.forward.to), ("sms", found.sms.to)):
            if value:
                yield document.problem((key, "to"), f"{key}.to does not count in an e-invoice mailbox; take it out, "
                                                    f"or switch that off: lanmail account set {name} einvoice.enabled=",
                                       "not-with-einvoice", f"{key}.to")
        if own.save and not os.path.isdir(own.save):
            yield document.problem(("einvoice", "save"), f"there is no directory {own.save}; e-invoices would wait",
                                   "no-directory", own.save)


def _member_problems(paths: Paths, accounts: Mapping[str, Account], names_: set[str]) -> Iterator[Problem]:
    known = {group for found in accounts.values() for group in found.groups}
    with contextlib.suppress(ConfigError):  # load() has told
        known |= {*groups.load(paths.groups)}
    for name, found in accounts.items():
        file = str(paths.accounts / f"{name}.toml")
        if found.members and not found.shared:
            yield Problem(file, None, "members count only with shared = true", "members-unshared")
        for member in found.members:
            who = member.partition("=")[0]
            kind, colon, group = who.partition(":")
            if colon and group not in known:
                yield Problem(file, None, f"no account is in the group '{group}' of members", "empty-group", (group,))
            elif not colon and kind not in names_:
                yield Problem(file, None, f"there is no account '{kind}', which members names", "nobody", (kind,))


def _alias_problems(paths: Paths, loaded: Settings, accounts: set[str]) -> Iterator[Problem]:
    try:
        found = load_aliases(paths.aliases)
    except ConfigError:
        return  # load() has told
    document = conffile.read(paths.aliases) if found else None
    local = loaded.server.local_domains
    known = _known(paths, accounts)
    for name in document.data if document else ():
        assert document
        alias = names.alias_key(name)
        if alias[1] and alias[1] not in local:
            yield document.problem((name,), f"alias {name!r}: {alias[1]} is not a local domain", "not-local", alias[1])
        for target, domain in found[alias]:
            if (not domain or domain in local) and not _is_known(target, known, loaded):
                yield document.problem((name,), f"alias {name!r}: there is no account, alias or group {target!r}",
                                       "nobody", target)


def _known(paths: Paths, accounts: set[str]) -> set[str]:
    """All local parts that somebody has."""
    known = accounts | set(names.POSTMASTER)
    with contextlib.suppress(ConfigError):  # load() has told
        known |= {name for name, _ in load_aliases(paths.aliases)}
    with contextlib.suppress(ConfigError):
        known |= {one for name in groups.load(paths.groups) for one in (name, f"{name}{groups.OWNER}")}
    return known


def _is_known(target: str, known: set[str], loaded: Settings) -> bool:
    base = target.lower().split(loaded.deliver.sub_address_separator or "\0")[0]
    return target.lower() in known or base in known


def _forward_problems(paths: Paths, loaded: Settings, accounts: Mapping[str, Account]) -> Iterator[Problem]:
    known = _known(paths, {path.stem for path in account_files(paths)})
    for name, found in accounts.items():
        wished = {("forward", "to"): found.forward.to, ("autoresponder", "forward"): found.autoresponder.forward,
                  ("einvoice", "forward"): found.einvoice.forward,
                  ("einvoice", "other_forward"): found.einvoice.other_forward}
        for key, targets in wished.items():
            for target in targets:
                local, domain = names.alias_target(target)
                if domain and domain not in loaded.server.local_domains:
                    why = f"{name} must not send to the internet (deny_internet)" if found.deny_internet else None
                else:
                    why = None if _is_known(local, known, loaded) else "there is no such account, alias or group"
                if why:
                    document = conffile.read(paths.accounts / f"{name}.toml")
                    yield document.problem(key, f"{'.'.join(key)}: nothing goes to {target}: {why}",
                                           "denied" if domain else "nobody", target)


def _group_problems(paths: Paths, loaded: Settings, accounts: set[str]) -> Iterator[Problem]:
    try:
        found = groups.load(paths.groups)
        aliases = load_aliases(paths.aliases)
    except ConfigError:
        return  # load() has told
    if found:
        others = accounts | {name for name, _ in aliases}
        yield from groups.problems(conffile.read(paths.groups), found, others, loaded.server.local_domains,
                                   loaded.deliver.sub_address_separator)


def _name_clashes(paths: Paths) -> Iterator[Problem]:
    """Two of one name: nobody could say who gets the mail."""
    seen: dict[str, str] = {}
    for path in account_files(paths):
        first = seen.setdefault(path.stem.lower(), path.name)
        if first != path.name:
            yield Problem(str(path), None, f"account {path.stem.lower()!r} exists twice: {first} and {path.name}",
                          "account-twice", (first, path.name))
    documents: dict[Path, Document] = {}
    parsers: dict[Path, Any] = {paths.aliases: aliases, paths.groups: groups.parse}
    for path, parse in parsers.items():
        try:
            if os.path.lexists(path):
                document = conffile.read(path)
                parse(document)
                documents[path] = document
        except ConfigError as error:
            yield from error.problems
    named: set[str] = set()
    if written := documents.get(paths.aliases):
        for name in written.data:
            local, domain = names.alias_key(name)
            named |= set() if domain else {local}
            if not domain and local in seen:
                yield written.problem((name,), f"alias {name!r}: an account has this name, too", "name-twice", name)
    if written := documents.get(paths.groups):
        yield from groups.clashes(written, seen, named - groups.being_renamed(paths.state))


def _insecure(paths: Paths, loaded: Settings | None) -> Iterator[Problem]:
    """Secrets that others can read, and directories where others could put a file of theirs in."""
    tls = loaded.tls if loaded else settings.Tls()
    secrets = [paths.conf / tls.key, paths.tls / "ca.key"]
    with contextlib.suppress(FileNotFoundError, PermissionError):  # a program may be kept out of secrets/
        secrets += sorted(path for path in paths.secrets.iterdir() if not path.name.startswith("."))
    for path in dict.fromkeys(secrets):
        if _mode(path) & 0o077:
            text = f"is secret, but others than its owner can use it (mode {_mode(path):04o}); run: chmod 600 {path}"
            yield Problem(str(path), None, text, "secret-open")
    for directory in (paths.conf, paths.accounts, paths.tls, paths.secrets):
        if _mode(directory) & 0o002:
            yield Problem(str(directory), None, f"everybody can write into it; run: chmod o-w {directory}",
                          "writable-by-all")


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def edit(path: Path, changes: Changes | Callable[[Document], Changes], *, version: str | None = None) -> None:
    """Set keys of a file in conf/: "smtpd.max_size" or a tuple of its parts; or what is made of the file as it is now.

    None takes a key away, conffile.Default makes it a comment again. Comments and formatting stay, the result is
    checked before anything is written, the file is replaced at once, and a lock keeps other editors out. With a
    `version` (conffile.version) only if the file still has it. Raises ConfigError or conffile.Conflict, with the old
    file untouched.
    """
    made = (lambda document: _parts(changes(document))) if callable(changes) else _parts(changes)
    conffile.edit(path, made, _checker(path), version=version)


def problems_with(path: Path, changes: Changes) -> list[Problem]:
    """Why `edit` would refuse; nothing is written."""
    try:
        _checker(path)(conffile.parse(path, conffile.preview(path, _parts(changes))[1]))
    except ConfigError as error:
        return list(error.problems)
    return []


def tried(path: Path, changes: Changes, defaults: AccountDefaults | None = None) -> Account:
    """What an account would be with these changes; nothing is written. ConfigError, as `edit` would raise it."""
    return account(conffile.parse(path, conffile.preview(path, _parts(changes))[1]), defaults)


def _parts(changes: Changes) -> dict[Key, Any]:
    return {key if isinstance(key, tuple) else tuple(key.split(".")): value for key, value in changes.items()}


def create(path: Path, text: str) -> None:
    """Make a new file of conf/, checked first. Raises FileExistsError, ConfigError."""
    conffile.create(path, text, _checker(path))


def _checker(path: Path) -> Any:
    if path.parent.name == "accounts":
        return account
    return {"aliases.toml": aliases, "groups.toml": groups.parse}.get(path.name, load_settings)


def sample(domain: str = "office.lan", *, port_offset: int = 0, listen: Sequence[str] | None = None) -> str:
    """A commented conf/lanmail.toml: every key with its sentence and its default; only the given ones are set."""
    given: dict[str, Any] = {"server.domain": domain}
    if port_offset:
        given["server.port_offset"] = port_offset
    if listen:
        given["server.listen"] = list(listen)
    return schema.sample(Settings, TITLE, given)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of lanmail.toml, for editors."""
    return schema.json_schema(Settings, "conf/lanmail.toml")


def account_json_schema() -> dict[str, Any]:
    """The JSON Schema of accounts/NAME.toml, for editors."""
    made = schema.json_schema(Account, "conf/accounts/NAME.toml")
    del made["properties"]["name"], made["required"]  # the name is the file's
    return made


def group_json_schema() -> dict[str, Any]:
    """The JSON Schema of groups.toml, for editors."""
    made = schema.json_schema(groups.Group, "conf/groups.toml")
    del made["properties"]["name"], made["required"]  # the name is the table's
    top: dict[str, Any] = {key: made.pop(key) for key in ("$schema", "title", "$defs") if key in made}
    return {**top, "type": "object", "additionalProperties": made}
