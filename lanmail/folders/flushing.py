"""The flush of a uidlist, which all who gave UIDs meanwhile share.

    Flush(path)
    .owe(made=False)      UIDs were given, under the folder's lock; `made`: the list itself is new
    .settle()             all that was given before this call survives a power cut

Blocking and thread-safe. Who comes while a flush is under way waits for the next one, together with all others who
came: the one under way may have begun before his UIDs were written.
"""

import threading

from lanmail.folders import uidlist


class Flush:
    """What is owed to the disk of one folder's list."""

    __slots__ = ("_given", "_made", "_path", "_safe", "_turn")

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._given = self._made = self._safe = 0

    def owe(self, *, made: bool = False) -> None:
        """UIDs were given; the folder's lock is held."""
        if made:
            self._made = self._given + 1
        self._given += 1

    def settle(self) -> None:
        """Return when all that was given so far is on disk. OSError: it may not be."""
        wanted = self._given
        if self._safe >= wanted:
            return
        with self._turn:
            if self._safe < wanted:
                now = self._given
                uidlist.flush(self._path, made=self._made > self._safe)
                self._safe = now
