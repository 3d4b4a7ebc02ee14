"""FUZZY (RFC 6203): a message matches when it has each word of the text or an inflected form of it, in any order.

Words count as in textindex/stems.py; where the text has none, and for keys that are no texts, FUZZY means nothing
and the match is exact (§5). What is found without FUZZY is found with it, too.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lanmail import message
from lanmail.imap import searchkeys
from lanmail.mime import casemap, headers, source, textsearch
from lanmail.textindex import stems, terms

if TYPE_CHECKING:
    from lanmail.imap import search

MAX_WORDS = 20


def keys_in(key: searchkeys.Key) -> Iterator[searchkeys.Fuzzy]:
    """All fuzzy keys of a tree."""
    if isinstance(key, searchkeys.Fuzzy):
        yield key
    elif isinstance(key, searchkeys.Not):
        yield from keys_in(key.key)
    elif isinstance(key, searchkeys.And | searchkeys.Or):
        for one in key.keys:
            yield from keys_in(one)


def words(key: searchkeys.Fuzzy) -> list[stems.Word]:
    """What to look for; nothing when only an exact match makes sense."""
    return stems.words(casemap.fold(key.key.text))[:MAX_WORDS]


def scorer(key: searchkeys.Fuzzy, exact: "search.Test") -> "Callable[[search.Message], int]":
    """The function that says how well a message matches: 0 not at all, 100 as well as can be."""
    wanted = words(key)
    if not wanted:
        return lambda of: stems.SAME * exact(of)
    return lambda of: stems.score(wanted, set[str]().union(*map(terms.terms, _texts(of.source(), key))))


def _texts(of: source.Source, key: searchkeys.Fuzzy) -> list[str]:
    match key.key:
        case searchkeys.Header():
            values = headers.values(of.header, key.key.name.lower().encode("ascii", "replace"))
            return [casemap.fold(message.decode_words(textsearch.unfolded(value))) for value in values]
        case searchkeys.Body():
            return textsearch.texts(of)[0]
        case searchkeys.Text():
            bodies, heads = textsearch.texts(of)
            return bodies + heads
