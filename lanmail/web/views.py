"""Pages: Jinja2 templates with what they all share. Everything that is put into one is escaped."""

import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
_pages = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
                     trim_blocks=True, lstrip_blocks=True, auto_reload=False)


LANGUAGES = {"en": "English", "de": "Deutsch"}
COOKIE = "lanmail-language"


def tongue(request: Request) -> str:
    """The language that was chosen, else German for whoever prefers it, English for all others (RFC 9110 §12.5.4)."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    first = request.headers.get("accept-language", "").partition(",")[0].strip().lower()
    return "de" if first.startswith("de") else "en"


def page(request: Request, template: str, *, status: int = 200, **words: Any) -> HTMLResponse:
    """A page in the reader's language: a template says `{{ say("English", "Deutsch") }}`.

    Filters: `{{ octets | size }}`, `{{ seconds | span }}` and `{{ time | moment }}` (of time.time, local time).
    """
    language = tongue(request)

    def say(english: str, german: str) -> str:
        return german if language == "de" else english

    text = _pages.get_template(template).render(lang=language, say=say, request=request, languages=LANGUAGES, **words)
    return HTMLResponse(text, status)


def size(octets: float) -> str:
    """1536 is "1.5 KB"."""
    for unit in ("B", "KB", "MB", "GB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "B" or octets >= 10 else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} TB"


def span(seconds: float) -> str:
    """5400 is "1.5 h"."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def moment(time: float) -> str:
    """A point in time as people here write it down: 2026-11-22 12:00."""
    return f"{datetime.datetime.fromtimestamp(time):%Y-%m-%d %H:%M}"


_pages.filters |= {"size": size, "span": span, "moment": moment}
