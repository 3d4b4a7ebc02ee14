"""New mails of ours on their way: what only goes outside need not lie in the queue first.

An answer of an autoresponder to somebody outside would be taken out of the queue again at once, for relay, with a copy
for the archive perhaps: two files and a journal. Both are made together with it instead. No rule is asked of mail
that goes outside but whether it is archived (route.find), so nothing is skipped.
"""

from lanmail import accounts, spool
from lanmail.delivery import route
from lanmail.errors import Temporary
from lanmail.rules import archive
from lanmail.rules.mail import Made


def ways(directory: accounts.Directory, one: Made) -> list[tuple[str | None, Made]]:
    """The entries to be made of it, each with its id (None: a new one, or that of a copy). OSError."""
    head = one.head
    if one.spool != "queue" or one.text is None or head.origin is None or head.origin.kind != "local":
        return [(None, one)]
    way = route.find(directory, head)
    if way.places or way.has_trouble() or len(way.external) != len(head.recipients):
        return [(None, one)]
    entry_id = spool.new_id()
    try:
        kept = archive.copies(directory, entry_id, head, (), one.text)
    except Temporary:
        return [(None, one)]  # the queue waits until somebody can say
    leaves = Made(one.key, "outbound", archive.mark(entry_id, head, kept), one.text)
    return [(entry_id, leaves), *((f"{entry_id}-1", copy) for copy in kept)]
