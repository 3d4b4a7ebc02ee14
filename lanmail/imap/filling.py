"""The cache of a folder learns of messages that our own sessions put there, so that listing them opens none.

Only where a cache is: nobody may ever list the folder. And only a few at a time, in a thread that nobody waits for;
what is left out is learned when somebody asks.
"""

import functools
import os
import time

from lanmail import snapshot, summaries
from lanmail.imap import box, records, section, streaming

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
    made = []
    for entry in entries:
        try:
            descriptor = target.folder.open(entry)
        except OSError:
            continue  # gone already
        try:
            status = os.fstat(descriptor)
            if status.st_size <= streaming.LARGE and records.is_complete(entry, status, time.time()):
                made.append(records.of(section.Source(fd=descriptor, size=status.st_size), entry.base, status.st_mtime))
        finally:
            os.close(descriptor)
    target.cache.write(made)
