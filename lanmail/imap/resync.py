"""What a client that was away has missed (RFC 7162 §3.2.5, §3.2.6): messages that went, messages that changed.

Which UIDs went is known as far back as the folder's log goes; for a client that comes from before that, all numbers
that no message has are told, of those it may know.
"""

import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from lanmail import sequenceset
from lanmail.imap import mailbox, parser, searchkeys
from lanmail.imap.session import Session


def vanished(session: Session, modseq: int, known: searchkeys.Ranges) -> None:
    """VANISHED (EARLIER) for those of the known UIDs that went after `modseq`; nothing when there are none."""
    view = session.view
    gone = view.box.numbers.expunged_since(modseq)
    if gone is None:
        ranges = [gap for low, high in known for gap in _gaps(view.uids, low, min(high, view.box.now.uidnext - 1))]
        text = ",".join(f"{low}:{high}" if high > low else f"{low}" for low, high in ranges)
    else:
        text = sequenceset.text([uid for uid in sorted(set(gone)) if not view.number(uid) and _within(known, uid)])
    if text:
        session.untagged(f"VANISHED (EARLIER) {text}")


def _gaps(uids: "array[int]", low: int, high: int) -> Iterator[tuple[int, int]]:
    """The numbers from low to high that are no UIDs, as ranges."""
    there = uids[bisect_left(uids, low) : bisect_right(uids, high)]
    for before, after in itertools.pairwise([low - 1, *there, high + 1]):
        if after - before > 1:
            yield before + 1, after - 1


def _within(ranges: searchkeys.Ranges, uid: int) -> bool:
    place = bisect_right(ranges, (uid, parser.MAX_NUMBER))
    return place > 0 and uid <= ranges[place - 1][1]


def changed(view: mailbox.View, spans: Iterable[range], modseq: int) -> list[range]:
    """Where in the mailbox, among the spans, the messages are that changed after `modseq`."""
    messages, found = view.box.messages, list[range]()
    for span in spans:
        places = [place for place, uid in enumerate(view.uids[span.start : span.stop], span.start)
                  if (entry := messages.get(uid)) and entry.modseq > modseq]
        for place in places:
            if found and found[-1].stop == place:
                found[-1] = range(found[-1].start, place + 1)
            else:
                found.append(range(place, place + 1))
    return found


def unmatched(view: mailbox.View, known: searchkeys.Ranges, numbers: searchkeys.Ranges,
              uids: searchkeys.Ranges) -> searchkeys.Ranges:
    """The known UIDs from the first on that may be gone without the client's knowledge (RFC 7162 §3.2.5.2).

    It sent numbers with the UIDs that they had. As long as they have them still, nothing before them is gone that was
    not gone already when the client last looked.
    """
    last = 0
    for number, uid in zip(_each(numbers), _each(uids), strict=False):
        if number > len(view.uids) or view.uids[number - 1] != uid:
            break
        last = uid
    return tuple((max(low, last + 1), high) for low, high in known if high > last)


def _each(ranges: searchkeys.Ranges) -> Iterator[int]:
    return itertools.chain.from_iterable(range(low, high + 1) for low, high in ranges)


async def changes(session: Session, modseq: int, known: searchkeys.Ranges) -> None:
    """The flags of those of the known UIDs that changed after `modseq`."""
    view = session.view
    messages = view.box.messages
    spans = [range(bisect_left(view.uids, low), bisect_right(view.uids, high)) for low, high in known]
    for span in changed(view, spans, view.box.numbers.since(modseq)):
        for uid in view.uids[span.start : span.stop]:
            if entry := messages.get(uid):
                session.connection.write(view.flags_answer(entry))
                await session.room()
