"""The mailbox that APPEND, COPY and MOVE put messages into: whether it is there, and what may be put."""

from dataclasses import dataclass

from lanmail.imap import box, rights
from lanmail.imap.session import No, Session


@dataclass(frozen=True, slots=True)
class Destination:
    """A mailbox that the account may put messages into."""

    box: box.Box
    may: frozenset[str]
    owner: str

    def flags(self, flags: tuple[str, ...]) -> tuple[str, ...]:
        """Those that the account may set there; the others are dropped without a word (RFC 4314 §4)."""
        return rights.permitted(self.may, flags)


async def find(session: Session, raw: bytes) -> Destination:
    """The mailbox that a client names; No when it is not there, or he may not put anything into it."""
    home = session.home
    name = home.folder(raw)
    may = home.rights(name)
    if not home.exists(name) or not may & set("il"):
        raise _missing(session, name)
    if "i" not in may:
        home.require(name, "i")
    try:
        return Destination(await session.worker.open_box(home, name), may, home.place(name).owner)
    except box.Gone:
        raise _missing(session, name) from None


def _missing(session: Session, name: str) -> No:
    # RFC 4314 §4: TRYCREATE only for somebody who may create it
    return No("No such mailbox.", "TRYCREATE" if session.home.may_create(name) else "NONEXISTENT")
