"""What the rights in the selected mailbox permit, flag by flag (RFC 4314 §4).

\\Seen needs the right s, \\Deleted t, all other flags and keywords w. A STORE that names some flags that may be changed
changes those and says nothing of the others, as clients take a NO for the end of the world.
"""

from collections.abc import Iterable, Sequence

from lanmail.imap import mailbox
from lanmail.imap.session import No, Session

_NEEDS = {"\\seen": "s", "\\deleted": "t"}


def here(session: Session) -> frozenset[str]:
    """The rights in the selected mailbox, as they are now."""
    return session.home.rights(session.view.name)


def need(session: Session, letters: str) -> None:
    """No unless the account has all these rights in the selected mailbox."""
    if not here(session) >= set(letters):
        raise No("You have not the right to do that here.", "NOPERM")


def permitted(rights: frozenset[str], flags: Iterable[str]) -> tuple[str, ...]:
    """Those of the flags that may be set or taken away."""
    return tuple(flag for flag in flags if _NEEDS.get(flag.lower(), "w") in rights)


def plan(
    rights: frozenset[str], mode: str, flags: Sequence[str], keywords: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """A STORE as steps that only touch what may be touched; `keywords` are all that the mailbox has. No for nothing."""
    if rights >= set("stw"):
        return [(mode, tuple(flags))]
    mine = permitted(rights, flags)
    if (flags and not mine) or not rights & set("stw"):
        raise No("You have not the right to change these flags.", "NOPERM")
    if mode != "=":
        return [(mode, mine)]
    given = {flag.lower() for flag in flags}
    others = [flag for flag in (*mailbox.SYSTEM_FLAGS, *keywords) if flag.lower() not in given]
    return [step for step in (("+", mine), ("-", permitted(rights, others))) if step[1]]
