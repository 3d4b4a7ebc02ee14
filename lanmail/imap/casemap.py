"""Folding of text for comparison, as SEARCH wants it: case and composition do not count (i;unicode-casemap, RFC 5051).

`Müller`, `MÜLLER` and `mu¨ller` are one, and so are `Straße` and `STRASSE`; `muller` is another.
"""

import functools
import re
import unicodedata

_foreign = re.compile(r"[^\x00-\x7f]+")


def fold(text: str) -> str:
    """Two texts are alike if their folded forms are; what is part of a text is part of it when both are folded."""
    if text.isascii():
        return text.lower()
    return _foreign.sub(_fold_match, text).lower()


def _fold_match(found: re.Match[str]) -> str:
    run = found[0]
    return _fold_run(run) if len(run) <= 32 else _decomposed(run)


@functools.lru_cache(maxsize=4096)
def _fold_run(run: str) -> str:
    return _decomposed(run)


def _decomposed(run: str) -> str:
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", run).casefold())
