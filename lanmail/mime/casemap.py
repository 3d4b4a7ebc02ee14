"""Folding of text for comparison, as SEARCH wants it: case and composition do not count (i;unicode-casemap, RFC 5051).

`Müller`, `MÜLLER` and `mu¨ller` are one, and so are `Straße` and `STRASSE`; `muller` is another.
"""

import unicodedata


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
        # Letters that fold to several; where one stands whose fold the pattern may end in, only folding tells.
        self._doubts = [octet for octet in _SEVERAL if set(fold(chr(octet))) & set(self.folded)]

    def inside(self, text: str) -> bool:
        if len(self._latin) < 2:
            return self.folded in fold(text)
        try:
            octets = text.encode("latin-1").translate(_SMALL)
        except UnicodeEncodeError:
            return self.folded in fold(text)
        if self._latin in octets:
            return True
        # The last letter may be in one with an accent: `mu` is in `mü`, which folds to `mu¨`.
        if self._latin[:-1] not in octets and not any(octet in octets for octet in self._doubts):
            return False
        return self.folded in fold(text)


def _composed(octet: int) -> str:
    return unicodedata.normalize("NFC", fold(chr(octet)))


_SMALL = bytes(ord(_composed(octet)) if _composed(octet) in map(chr, range(256)) else octet for octet in range(256))
_SEVERAL = [octet for octet in range(256) if _composed(octet) != chr(_SMALL[octet])]


class _Titles(dict[int, int]):
    """The simple titlecase mapping of Unicode, asked for letter by letter."""

    def __missing__(self, code: int) -> int:
        title = chr(code).title()
        return ord(title) if len(title) == 1 else code


_titles = _Titles({code: ord(title) for code in range(0x3000) if len(title := chr(code).title()) == 1})


def collated(text: str) -> str:
    """The text as i;unicode-casemap compares it for order (RFC 5051 §2): titlecase, then decomposed."""
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKD", text.translate(_titles))
