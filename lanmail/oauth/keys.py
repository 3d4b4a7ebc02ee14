"""The keys that tokens are encrypted with on disk: conf/secrets/oauth-access.keys and oauth-refresh.keys.

One Fernet key a line; the first encrypts, all decrypt, so that a new one can be put on top while old files are still
there. systemd may hand the files over in place of conf/secrets (LoadCredential=). They protect backups and stray
copies; whoever is root, or runs as lanmail, can read both keys and files.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lanmail import atomic
from lanmail.errors import Temporary
from lanmail.paths import Paths

ACCESS = "oauth-access.keys"  # readers and tokend
REFRESH = "oauth-refresh.keys"  # tokend alone
_LIMIT = 64 << 10


class Unusable(Temporary):
    """A key file is missing or broken, or a text was not encrypted with any of its keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text, 454, "4.7.0")


class Ring:
    """The keys of one file."""

    def __init__(self, path: Path, lines: list[bytes]) -> None:
        from cryptography.fernet import Fernet, MultiFernet  # only who has to do with tokens needs it

        self.path, self.ids = path, [_id(line) for line in lines]
        try:
            self._all = MultiFernet([Fernet(line) for line in lines])
        except ValueError:
            raise Unusable(f"{path} holds something that is no key") from None

    @property
    def id(self) -> str:
        """What tells the key that encrypts from others; it stands beside each cipher text."""
        return self.ids[0]

    def encrypt(self, value: Mapping[str, Any]) -> str:
        """A JSON object as cipher text."""
        return self._all.encrypt(json.dumps(value).encode()).decode("ascii")

    def decrypt(self, text: str) -> dict[str, Any]:
        """The object again. Unusable."""
        from cryptography.fernet import InvalidToken

        try:
            value = json.loads(self._all.decrypt(text))
        except (InvalidToken, ValueError):
            raise Unusable(f"it cannot be decrypted with {self.path.name}") from None
        if not isinstance(value, dict):
            raise Unusable("what was encrypted is no object")
        return value


def load(paths: Paths, name: str) -> Ring:
    """The keys of ACCESS or REFRESH. Unusable."""
    for path in _places(paths, name):
        with contextlib.suppress(FileNotFoundError):
            try:
                lines = atomic.read(path, _LIMIT).split()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise Unusable(f"the keys ({path}) cannot be read: {error.strerror or error}") from None
            if not lines:
                raise Unusable(f"{path} holds no key")
            return Ring(path, lines)
    raise Unusable(f"the keys ({name}) are not there")


def ensure(paths: Paths) -> list[Path]:
    """Make the key files that are missing, mode 0400; those made. OSError."""
    from cryptography.fernet import Fernet

    made = []
    for name in (ACCESS, REFRESH):
        if not any(path.exists() for path in _places(paths, name)):
            path = paths.secrets / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _create(path, Fernet.generate_key() + b"\n"):
                made.append(path)
                if os.geteuid() == 0 and paths.var.exists():  # conf/ is root's, the keys are for the programs
                    owner = paths.var.stat()
                    os.chown(path, owner.st_uid, owner.st_gid)
    return made


def _create(path: Path, text: bytes) -> bool:
    """Make a file that was not there; somebody else may be doing the same."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    atomic.write(temporary, text, mode=0o400)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
        atomic.sync_dir(path.parent)


def _places(paths: Paths, name: str) -> list[Path]:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return [*([Path(directory) / name] if directory else []), paths.secrets / name]


def _id(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:8]
