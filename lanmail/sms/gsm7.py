"""How much text fits into one short message, and what is cut or written otherwise so that it does.

3GPP TS 23.038: a message holds 140 octets, which are 160 characters of the GSM 7 bit default alphabet (ten of them,
like the Euro sign, count twice), or 70 UTF-16 units of anything else. One curly quote would so cost more than half of
the text; `fit` therefore writes typographic signs and accents that the alphabet does not have in their plain form, and
leaves the alphabet only for what has none: Greek, Cyrillic, Chinese, pictures.
"""

import unicodedata
from collections.abc import Callable

SEPTETS, UNITS = 160, 70
_LONGEST = 16  # characters that may belong together
_JOINER = "\u200d"  # of emoji made of several

# TS 23.038 §6.2.1, in order; the escape at 27 is no character of its own
BASIC = ("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
         "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà")
EXTENSION = "\f^{}\\[~]|€"  # §6.2.1.1: these take an escape before them
_COST = {**dict.fromkeys(EXTENSION, 2), **dict.fromkeys(BASIC, 1)}
del _COST["\x1b"]
_PLAIN = str.maketrans({
    "‘": "'", "’": "'", "‚": "'", "‛": "'", "‹": "'", "›": "'", "′": "'", "`": "'", "´": "'",
    "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "″": '"',
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "…": "...", "•": "-", "·": ".",
    "×": "x", "÷": ":", "°": "o", "ç": "c", "ẞ": "ß", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
    "ı": "i", "™": "TM", "©": "(c)", "®": "(R)", "½": "1/2", "¼": "1/4", "¾": "3/4", "µ": "u",
})


def is_gsm(text: str) -> bool:
    """Whether the alphabet has every character of it."""
    return all(one in _COST for one in text)


def fit(text: str) -> str:
    """The text as one message can carry it: on one line, in the GSM alphabet where that is possible, and cut."""
    line = "".join(one if one.isprintable() or one == _JOINER else " " for one in unicodedata.normalize("NFC", text))
    line = " ".join(line.encode("utf-16", "ignore").decode("utf-16").split()).translate(_PLAIN)
    line = "".join(map(_without_accent, line))
    return _cut(line, SEPTETS, _COST.__getitem__) if is_gsm(line) else _cut(line, UNITS, _units)


def _without_accent(one: str) -> str:
    """A Latin letter whose accent the alphabet does not have loses it; anything else stays."""
    if one in _COST:
        return one
    bare = unicodedata.normalize("NFD", one)[0]
    return bare if bare in _COST and bare.isascii() and bare.isalpha() else one


def _units(one: str) -> int:
    """UTF-16 units; what is beyond the basic plane is two, and never cut in half."""
    return 1 if ord(one) < 0x10000 else 2


def _cut(text: str, room: int, cost: Callable[[str], int]) -> str:
    """As many whole characters as there is room for; marks and joined pictures go with what they belong to."""
    end = 0
    for one in text:
        room -= cost(one)
        if room < 0:
            break
        end += 1
    whole = end
    while max(0, end - _LONGEST) < whole < len(text) and (_joins(text[whole]) or text[whole - 1] == _JOINER):
        whole -= 1
    return text[: whole if whole > end - _LONGEST else end].rstrip() if end < len(text) else text


def _joins(one: str) -> bool:
    return unicodedata.category(one) in ("Mn", "Me", "Mc") or one == _JOINER or "\U0001f3fb" <= one <= "\U0001f3ff"
