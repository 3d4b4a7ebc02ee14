"""Making, changing and removing accounts: what the command line and the HTTP API have in common.

    create(where, settings, name, {"full_name": …}, password)      file and Maildir
    set_password(where, settings, name, password)
    make_postmaster(where, name)                                    who was it before
    remove(where, name, delete_mail=True)

Names must have been checked or be those of accounts that exist (`file_of`). Refused has a sentence for people.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from lanmail import conffile, config, names, passwords, schema, secretfiles
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.administration import smimefiles
from lanmail.archiving import closing, holders
from lanmail.autoanswer import memory
from lanmail.errors import ConfigError
from lanmail.logins import apikeys, grants, lastlogins, scram
from lanmail.paths import Paths
from lanmail.settings import Account, Settings
from lanmail.textindex import indexes

_TITLE = "Account {}. What is not set here is as [account_defaults] in lanmail.toml says. A change counts at once."


class Refused(Exception):
    """It cannot be done; the text says why."""


def file_of(where: Paths, name: str) -> Path:
    """Where the file of the account `name` lies; only for names that passed names.account_problem."""
    return where.accounts / f"{name}.toml"


def find(where: Paths, name: str) -> Path | None:
    """The file of an account that exists, by its name in any case."""
    folded = name.lower()
    path = None if names.account_problem(folded) else file_of(where, folded)
    return path if path is not None and os.path.lexists(path) else None


def create(where: Paths, loaded: Settings, name: str, given: dict[str, Any], password: str) -> str:
    """A new account with its Maildir; its name in lower case. Without a password nobody can log in.

    Refused, ConfigError for values that are wrong, OSError.
    """
    directory = Directory(where, lambda: loaded)
    reason = directory.valid_name(name)
    if reason:
        raise Refused(reason)
    folded = name.lower()
    kept = {key: value for key, value in stored(loaded, password)[0].items() if value is not None} if password else {}
    where.accounts.mkdir(mode=0o750, exist_ok=True)
    try:
        config.create(file_of(where, folded), schema.sample(Account, _TITLE.format(folded), {**given, **kept}))
    except FileExistsError:
        raise Refused(f"there is an account '{folded}' already") from None
    make_maildir(where, folded)
    return folded


def stored(loaded: Settings, password: str) -> tuple[dict[str, Any], str]:
    """What the account's file says about a password, and why there is no SCRAM with it, if there should be.

    None takes away what belonged to the password before.
    """
    kept = passwords.hash(password)
    verifier, problem = None, ""
    if loaded.auth.scram:
        try:
            verifier = scram.make(password, kept)
        except ValueError as error:
            problem = str(error)
    return {"password": kept, "scram": verifier}, problem


def set_password(where: Paths, loaded: Settings, name: str, password: str) -> str:
    """Change the password; why there is no SCRAM with it, if there should be. ConfigError."""
    kept, problem = stored(loaded, password)
    config.edit(file_of(where, name), {(key,): value for key, value in kept.items()})
    return problem


def addresses(loaded: Settings, name: str) -> list[str]:
    """All addresses an account has by itself."""
    return [f"{name}@{domain}" for domain in (loaded.server.domain, *loaded.server.extra_domains)]


def aliases_of(where: Paths, loaded: Settings, name: str) -> list[str]:
    """The aliases that lead straight to an account. ConfigError."""
    local = {"", *loaded.server.local_domains}
    return sorted(f"{alias}@{domain}" if domain else alias
                  for (alias, domain), targets in config.load_aliases(where.aliases).items()
                  if any(target.lower() == name and host in local for target, host in targets))


def make_maildir(where: Paths, name: str) -> Path:
    """An empty Maildir, owned like the directory it lies in when root makes it."""
    maildir = where.maildirs / name
    for path in (where.maildirs, maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
        if not path.is_dir():
            path.mkdir(mode=0o700 if path != where.maildirs else 0o750, parents=True, exist_ok=True)
            owner = path.parent.stat()
            if os.geteuid() == 0 and path != where.maildirs:
                os.chown(path, owner.st_uid, owner.st_gid)
    return maildir


def make_postmaster(where: Paths, name: str) -> list[str]:
    """Mark one account and unmark all others, which are returned.

    First the new one, then the old ones: a crash between leaves two, of which one counts, and never none.
    """
    before = [path.stem for path in config.account_files(where) if path.stem != name and is_postmaster(path)]
    config.edit(file_of(where, name), {"postmaster": True})
    for other in before:
        config.edit(file_of(where, other), {"postmaster": False})
    return before


def is_postmaster(path: Path) -> bool:
    """Whether the account of this file is; a broken one is not."""
    try:
        return config.load_account(path).postmaster
    except ConfigError:
        return False


def _close_mailboxes_elsewhere(where: Paths, name: str) -> None:
    """Who comes under this name opens none of them."""
    from lanmail.oauth import owners  # what few programs that make accounts need
    from lanmail.sources import register as mailboxes

    mailboxes.forget_passwords(where, name)
    owners.end(where, name)


def others(where: Paths, loaded: Settings, name: str) -> list[str]:
    """All accounts but this one."""
    return [other for other in Directory(where, lambda: loaded).names() if other != name]


def remove(where: Paths, name: str, *, delete_mail: bool, archived_as: Address | None = None) -> Path:
    """Remove an account, with its mail or without; where its Maildir lies or lay. OSError.

    With its address in `archived_as` the mail goes into the archive before it is deleted.
    """
    maildir = where.maildirs / name
    done = closing.hand_over(where, name, archived_as) if archived_as is not None and maildir.is_dir() else set()
    conffile.remove(file_of(where, name))
    memory.path_of(where, name).unlink(missing_ok=True)  # who comes under this name has answered nobody
    _close_mailboxes_elsewhere(where, name)
    lastlogins.forget(where.state, name)
    register = grants.Register(where.state)
    for client in register.clients(name):  # nor let any mail program in
        register.remove_client(client.id)
    apikeys.forget(where.conf / "api.toml", name)  # nor any script
    secretfiles.drop(where, name)
    smimefiles.sweep(where)
    if archived_as is not None and maildir.is_dir():
        closing.hand_over(where, name, archived_as, done)  # what came in meanwhile
    holders.left(where.state, name, time.time())  # nor finds what is archived
    if (delete_mail or archived_as is not None) and maildir.is_dir():
        shutil.rmtree(maildir)
        indexes.Indexes(where.indexes).forget(name)
    return maildir
