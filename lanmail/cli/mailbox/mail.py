"""A message on its way into a Maildir, wherever it comes from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mail:
    """`key` tells it from all others of its folder at the source; "" when only its content can. `base` is its name in a
    Maildir. `chunks` reads it, again at each call; it raises OSError. `place` is for messages to people."""

    levels: tuple[str, ...]  # the folder at the source
    key: str
    flags: tuple[str, ...]
    date: float | None
    chunks: Callable[[], Iterator[bytes]]
    base: str = ""
    place: str = ""
