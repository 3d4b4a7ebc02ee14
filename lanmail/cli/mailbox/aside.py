"""Where `repair` puts what does not belong into a folder: `lanmail-aside/` in the Maildir, with a text beside it.

No server looks there. Nothing is deleted, and whoever finds it reads in NAME.why where it was and why it went.
"""

import os

from lanmail import atomic, spool

NAME = "lanmail-aside"


def put(root: str, path: str, why: str) -> str:
    """Move a file of any kind there; returns its new place. FileNotFoundError when it is gone."""
    directory = f"{root}/{NAME}"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    name = os.path.basename(path)
    safe = "".join(c if c.isprintable() else "_" for c in name).lstrip(".") or "file"
    target = f"{directory}/{safe[:150]}"
    if os.path.lexists(target):
        target = f"{directory}/{safe[:60]}.{spool.new_id()}"
    os.rename(path, target)
    _explain(target, root, path, why)
    return target


def keep_copy(root: str, path: str, why: str) -> None:
    """Keep a copy of a small file that is about to be written anew."""
    data = atomic.read(path, 1 << 30)
    directory = f"{root}/{NAME}"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    target = f"{directory}/{os.path.basename(path)}.{spool.new_id()}"
    atomic.write(target, data, mode=0o600)
    _explain(target, root, path, why)


def _explain(target: str, root: str, path: str, why: str) -> None:
    was = os.path.relpath(path, root)
    text = f"was {was}\n{why}\n".encode("utf-8", "surrogateescape")
    atomic.write(target + ".why", text, mode=0o600)
