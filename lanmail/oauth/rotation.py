"""New keys for what lies encrypted on disk.

A new key goes on top of the old ones, everything is written again, each record under its lock, and only then the old
keys may go. Whoever reads meanwhile finds a key for what it has.
"""

import os
from pathlib import Path

from cryptography.fernet import Fernet

from lanmail import atomic
from lanmail.oauth import keys
from lanmail.oauth.pending import Folder
from lanmail.oauth.store import Store
from lanmail.paths import Paths

_LIMIT = 64 << 10


def add_keys(paths: Paths) -> list[Path]:
    """Put a new key on top of both files. OSError, keys.Unusable."""
    changed = []
    for name in (keys.ACCESS, keys.REFRESH):
        path = _own(paths, name)
        _write(path, [Fernet.generate_key(), *atomic.read(path, _LIMIT).split()])
        changed.append(path)
    return changed


async def encrypt_again(kept: Store) -> int:
    """Write every record and access token with the newest keys; how many records. OSError, keys.Unusable, Busy."""
    count = 0
    for app, address in list(kept.all()):
        async with kept.lock(app, address):
            record = kept.read(app, address)
            if record is None:
                continue
            kept.save(record)
            for resource in kept.resources(app, address):
                found = kept.access(app, address, resource)
                if found is not None:
                    kept.publish(found)
            count += 1
    Folder(kept.paths).encrypt_again()
    return count


def drop_old(paths: Paths) -> list[Path]:
    """Leave only the newest key in each file; everything must be written with it. OSError, keys.Unusable."""
    changed = []
    for name in (keys.ACCESS, keys.REFRESH):
        path = _own(paths, name)
        known = atomic.read(path, _LIMIT).split()
        if len(known) > 1:
            _write(path, known[:1])
            changed.append(path)
    return changed


def _own(paths: Paths, name: str) -> Path:
    path = paths.secrets / name
    if not path.is_file():
        raise keys.Unusable(f"{path} is not there: keys that somebody else hands over are changed there")
    return path


def _write(path: Path, lines: list[bytes]) -> None:
    """In the place of the old file, and for the same owner to read."""
    before, temporary = path.stat(), path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        atomic.write(temporary, b"\n".join(lines) + b"\n", mode=0o400)
        os.chown(temporary, before.st_uid, before.st_gid)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    atomic.sync_dir(path.parent)
