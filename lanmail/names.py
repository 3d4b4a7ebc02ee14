"""Which names accounts, aliases and groups may have.

An account's name is a file name, a directory name, the local part of its addresses and the log-in name, so it is
kept to characters that are harmless in all four. All three share one namespace, compared without case.
"""

import re
import unicodedata

from lanmail import address

PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
POSTMASTER = ("postmaster", "abuse")  # RFC 5321 §4.5.1, RFC 2142 §4: reach the postmaster account everywhere
EVERYONE = "everyone"  # the group of all people, where groups.toml switches it on
RESERVED = frozenset({*POSTMASTER, "mailer-daemon", EVERYONE})


def account_problem(name: str) -> str | None:
    """Why `name` cannot be an account's name; None when it can."""
    if not name:
        return "a name is needed"
    if len(name) > 64:
        return "a name has at most 64 characters"
    if not name.isascii():
        return f"'{name}': a name has letters a to z, digits, '.', '_' and '-' only; umlauts are not possible"
    if not PATTERN.fullmatch(name):
        return (
            f"{name!r}: a name has letters a to z, digits, '.', '_' and '-' only, "
            "and begins and ends with a letter or digit"
        )
    if ".." in name:
        return f"'{name}': two dots must not follow each other"
    if name.lower() in RESERVED:
        return f"'{name}' is a reserved name"
    return None


def group_problem(name: str) -> str | None:
    """Why `name` cannot be a group's name; None when it can."""
    return None if name.lower() == EVERYONE else account_problem(name)


def fold(local: str) -> str | None:
    """The form in which a local part is looked up; None when nothing of ours can match it.

    Non-ASCII that folds into ASCII (U+212A KELVIN SIGN is 'k' in lower case) must not match another name.
    """
    if local.isascii():
        return local.lower()
    folded = unicodedata.normalize("NFC", local).casefold()
    return None if folded.isascii() else folded


def alias_key(text: str) -> tuple[str, str]:
    """(folded local part, domain or "") of an alias. Raises ValueError with a sentence."""
    local, domain = _split(text)
    if local == EVERYONE:
        raise ValueError("'everyone' is a reserved name; it is the group of all, which groups.toml switches on")
    if local in ("postmaster", "mailer-daemon"):
        raise ValueError(f"'{local}' is a reserved name; mark an account as postmaster instead")
    return local, domain


def alias_target(text: str) -> tuple[str, str]:
    """(local part, domain or "") of one target of an alias. Raises ValueError with a sentence."""
    local, domain = _split(text)
    return (local, domain) if not domain else (address.parse(text).local, domain)


def _split(text: str) -> tuple[str, str]:
    domain = ""
    if "@" in text:
        parsed = address.parse(text)
        local, domain = fold(parsed.local), parsed.domain
    else:
        try:
            local = fold(address.parse(f"{text}@x").local)
        except ValueError:
            local = None
    if local is None:
        raise ValueError(f"{text!r} is neither a local name nor a mail address")
    return local, domain
