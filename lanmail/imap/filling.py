"""The cache of a folder learns of messages that our own sessions put there, so that listing them opens none.

Only where a cache is: nobody may ever list the folder. And only a few at a time, in a thread that nobody waits for;
what is left out is learned when somebody asks.
"""

import functools

from lanmail.folders import snapshot, summaries
from lanmail.imap import box
from lanmail.mime import summary

FEW = 1000


def copied(source: box.Box, target: box.Box, pairs: list[tuple[str, str]]) -> None:
    """Messages were copied or moved: pairs of base names, there and here."""
    if pairs and len(pairs) <= FEW and summaries.exists(source.path):
        target.worker.later(functools.partial(_copied, source, target, pairs))


def _copied(source: box.Box, target: box.Box, pairs: list[tuple[str, str]]) -> None:
    with source.cache.reading() as kept:
        found = [record.renamed(new) for old, new in pairs if (record := kept.get(old))]
    target.cache.write(found)


def stored(target: box.Box, uids: list[int]) -> None:
    """Messages were stored by APPEND."""
    entries = [entry for uid in uids if (entry := target.messages.get(uid))]
    if len(entries) <= FEW and summaries.exists(target.path):
        target.worker.later(functools.partial(_stored, target, entries))


def _stored(target: box.Box, entries: list[snapshot.Entry]) -> None:
    found = [(entry.base, entry.path, entry.size) for entry in entries]
    target.cache.write(summary.of_files(target.path, found))
