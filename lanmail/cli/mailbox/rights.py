"""Working with the rights of whoever owns the Maildirs, and looking at a source with those of who typed the command.

Root becomes the owner for all that is written, so that the programs can read and rename it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lanmail.cli import command


@contextmanager
def of_owner(directory: Path) -> Iterator[None]:
    """Root gives its rights up for those of the directory's owner, for a while; others keep theirs."""
    if os.geteuid() != 0 or not directory.exists():
        yield
        return
    command.load_late()
    owner = directory.stat()
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


@contextmanager
def of_caller() -> Iterator[None]:
    """Inside `of_owner`: the rights of who typed the command, to open a source."""
    effective, group = os.geteuid(), os.getegid()
    if effective == os.getuid():
        yield
        return
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(effective)
