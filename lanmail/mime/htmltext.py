"""The text of HTML as it would be read, in linear time: without tags, comments, styles and scripts, entities read.

    visible(source, enough=math.inf) -> str     of no more of it than holds so many characters
"""

import html
import math
import re

_tag = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)").match
_tag_rest = re.compile(r"(?:[^>\"']++|\"[^\"]{0,1000}+\"|'[^']{0,1000}+')*+>").match
_UNSEEN = {name: re.compile(rf"</{name}\b", re.IGNORECASE).search
           for name in ("head", "style", "script", "title", "template", "object", "svg", "math", "select", "textarea")}
_INLINE = re.compile("a|abbr|acronym|b|bdi|bdo|big|cite|code|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|"
                     "strong|sub|sup|tt|u|var|wbr").fullmatch
_TAG = 1 << 12  # characters of the longest tag whose quotes are looked at: with no such bound, time could be quadratic


def visible(source: str, enough: float = math.inf) -> str:
    """The text that is to be seen."""
    found: list[str] = []
    at, room = 0, enough
    while room > 0 and (start := source.find("<", at)) >= 0:
        words = source[at:start]
        found.append(words)
        room -= len(words.strip())
        at, gap = _past(source, start)
        found.append(gap)
        if at < 0:
            return html.unescape("".join(found))
    return html.unescape("".join(found) + source[at:])


def _past(source: str, start: int) -> tuple[int, str]:
    """Where the markup that starts here ends (-1: nowhere), and what it leaves in the text."""
    if source.startswith("<!--", start):
        return _behind(source, "-->", start + 4), ""
    tag = _tag(source, start)
    if tag is None:
        if source[start + 1 : start + 2] in ("!", "?", "/"):
            return _behind(source, ">", start), ""
        return start + 1, "<"
    rest = _tag_rest(source, tag.end(), tag.end() + _TAG)
    at = rest.end() if rest else _behind(source, ">", tag.end())
    name = tag[2].lower()
    if not tag[1] and name in _UNSEEN and at >= 0:
        closing = _UNSEEN[name](source, at)
        return (_behind(source, ">", closing.end()) if closing else -1), " "
    return at, "" if _INLINE(name) else " "


def _behind(source: str, mark: str, start: int) -> int:
    at = source.find(mark, start)
    return at + len(mark) if at >= 0 else -1
