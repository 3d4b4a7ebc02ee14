"""Ids of messages and folders that last (RFC 8474), and what else the name of a message's file tells of it.

    of_message(base) -> str              "M" and 24 digits: made of the base name, or as the original had it
    mark(base) -> str                    what the base name of a copy ends with, so that it has the same id
    of_folder(guid) -> str               "F" and the GUID in the uidlist, which a rename does not change
    saved(base) -> int | None            when the message came into its folder; None for names of unknown form

A message that is copied or moved gets a new file name, which begins with the time (Maildir's convention, ours and
Dovecot's); `,E=<digits>` in it says what it is a copy of. So both need no file of their own and survive its loss.
"""

import functools
import hashlib
import os
import re

_mark = re.compile(r",E=([0-9a-f]{24})(?=,|\Z)").search
_time = re.compile(r"([0-9]{9,11})\.").match
DIGEST = 12


def of_message(base: str) -> str:
    return "M" + _digits(base)


def mark(base: str) -> str:
    return ",E=" + _digits(base)


def of_folder(guid: str) -> str:
    return "F" + guid


def saved(base: str) -> int | None:
    found = _time(base)
    return int(found[1]) if found else None


@functools.lru_cache(maxsize=4096)
def _digits(base: str) -> str:
    found = _mark(base)
    return found[1] if found else hashlib.blake2b(os.fsencode(base), digest_size=DIGEST).hexdigest()
