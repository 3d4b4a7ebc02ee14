"""Folding of text for comparison, as SEARCH wants it: case and composition do not count (i;unicode-casemap, RFC 5051).

`Müller`, `MÜLLER` and `mu¨ller` are one, and so are `Straße` and `STRASSE`; `muller` is another.
"""

import re
import unicodedata

_CONTROLS = re.compile(rb"[\x80-\x9f]").search


def fold(text: str) -> str:
    """Two texts are alike if their folds are; what is part of a text is part of it when both are folded."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).casefold()


class Pattern:
    """A text to find in others: `inside` is `fold(pattern) in fold(text)`, but fast where the text is Latin-1."""

    __slots__ = ("_doubts", "_latin", "ascii", "folded")

    def __init__(self, text: str) -> None:
        self.folded = fold(text)
        self.ascii = self.folded.encode() if self.folded.isascii() else None
        try:
            self._latin = unicodedata.normalize("NFC", self.folded).encode("latin-1")
        except UnicodeEncodeError:
            self._latin = b""
        if _CONTROLS(self._latin):
            self._latin = b""
        # Letters that fold to several; where one stands whose fold the pattern may end in, only folding tells.
        self._doubts = [octet for octet in _SEVERAL if set(fold(chr(octet))) & set(self.folded)]

    def inside(self, text: str) -> bool:
        try:
            found = self.in_latin(text.encode("latin-1"))
        except UnicodeEncodeError:
            found = None
        return self.folded in fold(text) if found is None else found

    def in_latin(self, octets: bytes) -> bool | None:
        """Whether text in ISO-8859-1 has it inside; None when that is not so simple, also of windows-1252."""
        latin = self._latin
        if len(latin) < 2:
            return None
        small = octets.translate(_SMALL)
        if latin in small:
            return True
        if _CONTROL in small:
            return None
        # The last letter may be in one with an accent: `mu` is in `mü`, which folds to `mu¨`.
        return None if latin[:-1] in small or any(octet in small for octet in self._doubts) else False


def _composed(octet: int) -> str:
    return unicodedata.normalize("NFC", fold(chr(octet)))


def _small(octet: int) -> int:
    composed = ord(_composed(octet)) if len(_composed(octet)) == 1 else octet
    return _CONTROL if 0x80 <= octet < 0xA0 else composed if composed < 256 else octet


_CONTROL = 0x80  # stands for those from 0x80 to 0x9F, which are letters in windows-1252
_SMALL = bytes(map(_small, range(256)))
_SEVERAL = [octet for octet in range(256) if _composed(octet) != chr(_SMALL[octet])]


class _Titles(dict[int, int]):
    """The simple titlecase mapping of Unicode, asked for letter by letter; the letters of most scripts are kept."""

    def __missing__(self, code: int) -> int:
        title = chr(code).title()
        found = ord(title) if len(title) == 1 else code
        if code < 0x3000:
            self[code] = found
        return found


_titles = _Titles()


def collated(text: str) -> str:
    """The text as i;unicode-casemap compares it for order (RFC 5051 §2): titlecase, then decomposed."""
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKD", text.translate(_titles))
