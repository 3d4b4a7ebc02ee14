"""An installation with accounts and Maildirs for the tests of `lanmail mailbox`, and the command as people type it."""

import json
import os
from pathlib import Path
from typing import Any

import click.testing

from lanmail import admin, config, maildir, paths
from lanmail.folders import changes, folder


class Place:
    """conf/ with accounts meier and schmidt; `call` runs `lanmail mailbox …` on it."""

    def __init__(self, base: Path, *accounts: str) -> None:
        self.paths = paths.of_root(base)
        self.paths.accounts.mkdir(parents=True)
        self.paths.maildirs.mkdir()
        self.paths.config_file.write_text(config.sample())
        for name in accounts or ("meier", "schmidt"):
            (self.paths.accounts / f"{name}.toml").write_text("disabled = false\n")
        self.base = base

    def call(self, *arguments: str | Path, code: int = 0, stdin: str | None = None) -> str:
        """Standard output and error together."""
        words = ["mailbox", *map(str, arguments), "--root", str(self.base)]
        result = click.testing.CliRunner().invoke(admin.cli, words, input=stdin)
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self.call(*arguments, "--json", code=code))

    def root(self, account: str = "meier") -> str:
        """The Maildir; made when it is not there."""
        root = str(self.paths.maildirs / account)
        maildir.ensure(root)
        return root

    def folder(self, name: str = "INBOX", account: str = "meier") -> folder.Folder:
        """A folder; made when it is not there."""
        root = self.root(account)
        if not maildir.exists(root, name):
            maildir.create(root, name)
        path = maildir.path_of(root, name)
        return folder.Folder(path, root)

    def put(self, data: bytes, name: str = "INBOX", account: str = "meier", flags: tuple[str, ...] = (),
            date: float | None = None) -> int:
        """Store a message as APPEND does; its UID."""
        return changes.append(self.folder(name, account), data, flags, date)[1]

    def state(self, account: str = "meier") -> dict[str, list[tuple[int, frozenset[str], int, bytes]]]:
        """What clients see: folder → (UID, flags, date, bytes)."""
        root = self.root(account)
        found = {}
        for name in maildir.folders(root):
            own = folder.Folder(maildir.path_of(root, name), root)
            snapshot = own.sync()
            found[name] = [
                (entry.uid, frozenset(snapshot.flags(entry)), int(os.stat(f"{own.path}/{entry.path}").st_mtime),
                 own.read(entry)) for entry in snapshot.entries
            ]
        return found


def message(subject: str = "Angebot", body: str = "Guten Tag\n", identity: str = "") -> bytes:
    """A small message in LF form."""
    extra = f"Message-ID: <{identity}>\n" if identity else ""
    return f"From: anna@example.org\nTo: meier@office.lan\nSubject: {subject}\n{extra}\n{body}".encode()
