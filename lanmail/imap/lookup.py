"""What the full-text index says of BODY and TEXT, so that a search opens only the files of which it says nothing.

A search works without: no index, a damaged one, one that lacks messages only mean that more files are read, and that
one is made in the background. Whatever the index says is what reading the message would have said.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lanmail.imap import fuzzy, indexing, searchkeys
from lanmail.imap.session import Session
from lanmail.mime import casemap
from lanmail.textindex import fulltext, indexes

FEW = 50  # messages that are looked through at once
MANY = 200  # messages that are not in the index from which on it is filled
MAX_KEYS = 20  # of one search

Content = searchkeys.Body | searchkeys.Text | searchkeys.Fuzzy
_KINDS = {searchkeys.Body: (fulltext.BODY,), searchkeys.Text: (fulltext.BODY, fulltext.HEAD)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the index says of one key."""

    part: fulltext.Part
    finding: fulltext.Finding
    scores: Mapping[int, int] = field(default_factory=dict)  # of a fuzzy key

    def __call__(self, uid: int) -> bool | None:
        """Whether a message matches; None when only reading it tells."""
        if uid in self.finding.sure:
            return True
        possible = self.finding.possible
        unknown = possible is None or uid in possible or uid > self.part.upto or uid in self.part.skipped
        return None if unknown else False

    def candidates(self, uids: list[int]) -> list[int]:
        """Those that match, or may."""
        possible, upto, skipped = self.finding.possible, self.part.upto, self.part.skipped
        if possible is None:
            return uids
        return [uid for uid in uids if uid in possible or uid > upto or uid in skipped]


Verdicts = Mapping[searchkeys.Key, Verdict]


def keys_in(key: searchkeys.Key) -> Iterator[Content]:
    """All BODY and TEXT keys of a tree, fuzzy or not."""
    if isinstance(key, searchkeys.Fuzzy):
        if type(key.key) in _KINDS:
            yield key
    elif isinstance(key, searchkeys.Body | searchkeys.Text):
        yield key
    elif isinstance(key, searchkeys.Not):
        yield from keys_in(key.key)
    elif isinstance(key, searchkeys.And | searchkeys.Or):
        for one in key.keys:
            yield from keys_in(one)


async def verdicts(session: Session, keys: list[searchkeys.Key], messages: int) -> Verdicts:
    """What the index says of the keys, when so many messages are to be searched."""
    wanted = list(dict.fromkeys(content for key in keys for content in keys_in(key)))[:MAX_KEYS]
    worker, box = session.worker, session.view.box
    if not wanted or messages < FEW or not worker.limits.search_index:
        return {}
    root = box.folder.root
    path = worker.indexes.path(Path(root).name)
    name, version = indexing.name_of(box.path, root), indexing.version_of(box.now)
    upto, anew = 0, False
    found: Verdicts = {}
    try:
        upto, found = await worker.run(_look_up, path, name, version, wanted)
    except fulltext.Damaged:
        anew = True
    except OSError:
        pass
    uids = session.view.uids
    if len(uids) - bisect_right(uids, upto) >= MANY:
        worker.indexer.wish(indexes.Job(root, name, worker.limits.search_index_share, anew))
    return found


def _look_up(path: Path, name: str, version: str, wanted: list[Content]) -> tuple[int, Verdicts]:
    """In a thread. How far the index goes, and what it says."""
    with fulltext.Reader(path, indexing.STAMP) as index:
        part = index.collection(name, version)
        if part is None:
            return 0, {}
        found = {key: _ask(index, part, key) for key in wanted}
        return part.upto, {key: verdict for key, verdict in found.items() if verdict is not None}


def _ask(index: fulltext.Reader, part: fulltext.Part, key: Content) -> Verdict | None:
    if not isinstance(key, searchkeys.Fuzzy):
        finding = index.lookup(part, _KINDS[type(key)], casemap.fold(key.text))
        return Verdict(part, finding) if finding is not None else None
    words = fuzzy.words(key)
    if not words:
        return None if isinstance(key.key, searchkeys.Header) else _ask(index, part, key.key)
    scores = index.scores(part, _KINDS[type(key.key)], words)
    if scores is None:
        return None
    found = frozenset(scores)
    return Verdict(part, fulltext.Finding(found, found), scores)
