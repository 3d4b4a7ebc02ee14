"""Does a message match a SEARCH? A tree of `searchkeys` becomes one function: cheap keys first, the file last."""

from collections.abc import Callable, Collection
from typing import Protocol

from lanmail.imap import searchkeys, section


class Message(Protocol):
    """What a search may ask of a message; the costly ones are methods and called at most when a key needs them."""

    @property
    def number(self) -> int: ...  # message sequence number
    @property
    def uid(self) -> int: ...
    @property
    def flags(self) -> str: ...  # Maildir letters: "FS"
    @property
    def keywords(self) -> Collection[str]: ...  # names in lower case
    @property
    def recent(self) -> bool: ...
    def internal_date(self) -> float: ...  # seconds since 1970
    def saved_date(self) -> float: ...
    def wire_size(self) -> int: ...  # RFC822.SIZE
    def modseq(self) -> int: ...
    def source(self) -> section.Source: ...  # opens the file; OSError goes to the caller of the search


def compile(key: searchkeys.Key) -> Callable[[Message], bool]:
    """One function for the whole tree: `matches = compile(key); [m for m in messages if matches(m)]`."""
    raise NotImplementedError


def needs_file(key: searchkeys.Key) -> bool:
    """Whether a message may have to be opened; a search of names and flags alone can be answered at once."""
    raise NotImplementedError
