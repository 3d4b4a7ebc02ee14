"""Messages get other file names and keep their UIDs and keywords: under the folder's dotlock, uidlist and all."""

import contextlib
import os

from lanmail import atomic, maildir
from lanmail.folders import folder, keywords, uidlist


def fresh(path: str, paths: list[str]) -> None:
    """Give files whose name no server can use a new one; they were not in the uidlist, so no UID is lost."""
    for one in paths:
        sub, _, name = one.partition("/")
        letters = "".join(sorted({c for c in maildir.letters_of(name) if c in maildir.FLAGS}))
        base = maildir.name_for(*_measure(f"{path}/{one}"))
        target = f"new/{base}" if sub == "new" and not letters else f"cur/{maildir.with_letters(base, letters)}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}/{one}", f"{path}/{target}")


def true_sizes(root: str, path: str, paths: list[str]) -> None:
    """Correct S= and W= in the names of messages, and what the uidlist says of their sizes."""
    own = folder.Folder(path, root)
    with own.locked():
        entries = own.sync().by_base()
        changes: dict[str, str] = {}
        for base in {maildir.base_of(one.partition("/")[2]) for one in paths}:
            entry = entries.get(base)
            if entry is not None:
                changes[base] = _corrected(base, *_measure(f"{path}/{entry.path}"))
                new = changes[base] + entry.name[len(base):]
                os.rename(f"{path}/{entry.path}", f"{path}/{entry.sub}/{new}")
        _carry_over(path, changes)


def _measure(path: str) -> tuple[int, int]:
    size = extra = 0
    last = b""
    with open(atomic.open_regular(path), "rb", buffering=0) as stream:
        while data := stream.read(1 << 20):
            size += len(data)
            extra += data.count(b"\n") - data.count(b"\r\n") - (last == b"\r" and data[:1] == b"\n")
            last = data[-1:]
    return size, size + extra


def _corrected(base: str, size: int, wire_size: int) -> str:
    """The base name with true sizes where it tells any; other words of it stay."""
    first, *words = base.split(",")
    kept = [word for word in words if not word.startswith(("S=", "W="))]
    if len(kept) == len(words):
        return base
    return ",".join([first, f"S={size}", f"W={wire_size}", *kept])


def _carry_over(path: str, changes: dict[str, str]) -> None:
    """The uidlist and the further keywords speak of the new names; no size is noted for them."""
    file = f"{path}/{uidlist.NAME}"
    uids = uidlist.read(file)[0]
    for base in changes:
        uid = uids.uids[base]
        words = [word for word in uids.extras.pop(uid, "").split(" ") if word and word[0] not in "SW"]
        if words:
            uids.extras[uid] = " ".join(words)
    uids.uids = {changes.get(base, base): uid for base, uid in uids.uids.items()}
    uidlist.replace(file, uids)
    table = keywords.load(path)
    keywords.assign(path, table, {new: table.further_of[old] for old, new in changes.items()
                                  if new != old and old in table.further_of})
