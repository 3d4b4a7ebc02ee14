"""What a client is told while a command of its takes long: how far it is (RFC 9585)."""

import time

from lanmail.imap.session import Session

EVERY = 10.0


class Waiting:
    """One command that goes through many messages."""

    def __init__(self, session: Session, total: int) -> None:
        self._session, self._total = session, total
        self._next = time.monotonic() + EVERY

    def tell(self, done: int) -> None:
        """So many are done; said only now and then."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            tag = self._session.tag.decode("ascii", "replace")
            self._session.untagged(f'OK [INPROGRESS ("{tag}" {done} {self._total})] '
                                   f"{done * 100 // self._total} % of the messages are looked at.")
