"""Into the Maildirs: by rename, by link, or by copy where the file system gives neither.

The name of a file is the same in every Maildir and comes from the id of the mail, so a second run after a crash
finds what the first one did. Maildirs are made when the first mail comes.
"""

import contextlib
import errno
import os
from pathlib import Path

from lanmail import atomic, maildir


class Maildrop:
    """All Maildirs of one installation. Account names come from the directory of accounts, never from an address."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def rename(self, account: str, name: str, source: int, folder: str = "") -> None:
        """Move the file `name` out of the directory `source`. FileNotFoundError when it is gone, OSError."""
        target = f"{account}/{folder}/new/{name}" if folder else f"{account}/new/{name}"
        try:
            os.rename(name, target, src_dir_fd=source, dst_dir_fd=self._fd)
        except FileNotFoundError:
            self._ensure(account, folder)
            os.rename(name, target, src_dir_fd=source, dst_dir_fd=self._fd)

    def move(self, account: str, name: str, source: int, folder: str = "") -> None:
        """The same, by a copy where the Maildir is on another file system."""
        try:
            self.rename(account, name, source, folder)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(account, folder, f"{account}/{folder}/new/{name}" if folder else f"{account}/new/{name}",
                       source, name)
            os.unlink(name, dir_fd=source)

    def link(self, account: str, name: str, source: int, temporary: str, folder: str = "", flags: str = "") -> None:
        """A link called `name` to the file `temporary` in the directory `source`; done already is done.

        `folder` is a directory of the Maildir, like ".Sent"; with `flags` it goes into cur/ as name:2,FLAGS.
        """
        place = f"{account}/{folder}" if folder else account
        final = f"{place}/cur/{name}:2,{flags}" if flags else f"{place}/new/{name}"
        for again in (False, True):
            try:
                os.link(temporary, final, src_dir_fd=source, dst_dir_fd=self._fd, follow_symlinks=False)
            except FileExistsError:
                return
            except FileNotFoundError:
                if again:
                    raise
                self._ensure(account, folder)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                    raise
                self._copy(account, folder, final, source, temporary)
                return
            else:
                return

    def has(self, account: str, entry_id: str, folder: str = "") -> bool:
        """True when a mail with this id lies there already, whatever flags it has by now."""
        for place in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError), os.scandir(self.root / account / folder / place) as entries:
                if any(one.name.startswith(entry_id) and one.name[len(entry_id) :][:1] in ("", ",", ":")
                       for one in entries):
                    return True
        return False

    def sync(self, account: str, folder: str = "", flags: str = "") -> None:
        """Make the names durable, on file systems where the queue's order does not see to it."""
        atomic.sync_dir(self.root / account / folder / ("cur" if flags else "new"))

    def _ensure(self, account: str, folder: str) -> None:
        root = str(self.root / account)
        maildir.ensure(root)
        if folder:
            maildir.ensure(f"{root}/{folder}")

    def _copy(self, account: str, folder: str, final: str, source: int, temporary: str) -> None:
        """Another file system, or one without links: tmp/, fsync, rename."""
        self._ensure(account, folder)
        directory, name = self.root / account / folder, os.path.basename(final)
        reader = atomic.open_regular(temporary, dir_fd=source)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(directory / "tmp" / name)
            writer = os.open(directory / "tmp" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o640)
            try:
                while data := os.read(reader, 1 << 18):
                    atomic.write_all(writer, data)
                os.fsync(writer)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        os.rename(directory / "tmp" / name, self.root / final)
        atomic.sync_dir((self.root / final).parent)
