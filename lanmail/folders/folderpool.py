"""The folders that a process has open: one object for each directory, which all its sessions share.

    get(path, root) -> folder.Folder        thread-safe; the same object for all who ask as long as it is in use
"""

import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from lanmail.folders.folder import Folder

_CACHED_FOLDERS, _CACHED_ENTRIES = 500, 1_000_000
_folders: OrderedDict[str, Folder] = OrderedDict()  # what is remembered although no session may have it
_in_use: WeakValueDictionary[str, Folder] = WeakValueDictionary()
_folders_guard = threading.Lock()


def get(path: str, root: str) -> Folder:
    """The folder at `path` in the Maildir `root`; the same object for all who ask as long as it is in use."""
    with _folders_guard:
        found = _in_use.get(path)
        if found is None:
            found = _in_use[path] = Folder(path, root)
        if path not in _folders:
            _forget_some()
            _folders[path] = found
        _folders.move_to_end(path)
        return found


def _forget_some() -> None:
    """Drop the folders that were not asked for the longest, when many or large ones are remembered."""
    total = sum(folder.count for folder in _folders.values())
    while len(_folders) > 1 and (len(_folders) > _CACHED_FOLDERS or total > _CACHED_ENTRIES):
        total -= _folders.popitem(last=False)[1].count
