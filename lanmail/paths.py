"""Where everything lies: one root in a checkout, three directories when installed.

Spools, Maildirs and state share one parent and so one file system: rename(2) and link(2) between them is how mail
moves, and it fails with EXDEV across two (two systemd ReadWritePaths= are two mounts, too).
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

SPOOLS = ("queue", "pickup", "outbound", "jobs", "archive", "hold")


@dataclass(frozen=True)
class Paths:
    """All directories and files of one installation; `conf` is written by people, all below `var` by programs."""

    conf: Path
    var: Path
    run: Path
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.var)
        for name in ("accounts", "tls", "secrets"):
            object.__setattr__(self, name, self.conf / name)
        object.__setattr__(self, "config_file", self.conf / "lanmail.toml")
        object.__setattr__(self, "aliases", self.conf / "aliases.toml")
        object.__setattr__(self, "groups", self.conf / "groups.toml")
        object.__setattr__(self, "spool", self.var / "spool")
        for name in SPOOLS:
            object.__setattr__(self, name, self.spool / name)
        for name in ("maildirs", "state", "archive"):  # the archive itself has the name, not its spool
            object.__setattr__(self, name, self.var / name)
        object.__setattr__(self, "log", self.state / "log")
        object.__setattr__(self, "full", self.state / "full")
        object.__setattr__(self, "indexes", self.state / "index")

    accounts: Path = field(init=False)
    tls: Path = field(init=False)
    secrets: Path = field(init=False)
    config_file: Path = field(init=False)
    aliases: Path = field(init=False)
    groups: Path = field(init=False)
    maildirs: Path = field(init=False)
    spool: Path = field(init=False)
    state: Path = field(init=False)
    archive: Path = field(init=False)
    queue: Path = field(init=False)
    pickup: Path = field(init=False)
    outbound: Path = field(init=False)
    jobs: Path = field(init=False)
    hold: Path = field(init=False)
    log: Path = field(init=False)
    full: Path = field(init=False)
    indexes: Path = field(init=False)


def of_root(root: str | os.PathLike[str]) -> Paths:
    """The layout of a checkout or of `init --root DIR`: everything below one directory."""
    base = Path(root).absolute()
    return Paths(conf=base / "conf", var=base, run=base / "run")


def installed() -> Paths:
    """The layout of an installed system (FHS)."""
    return Paths(conf=Path("/etc/lanmail"), var=Path("/var/lib/lanmail"), run=Path("/run/lanmail"))


def find(root: str | os.PathLike[str] | None = None) -> Paths:
    """The layout for `--root`, else for LANMAIL_ROOT, else the installed one; a lanmail.toml stands for its root."""
    chosen = root or os.environ.get("LANMAIL_ROOT")
    if not chosen:
        return installed()
    base = Path(chosen).absolute()
    if base.suffix == ".toml" and base.parent == installed().conf:
        return installed()
    return of_root(base.parent.parent if base.suffix == ".toml" else base)
