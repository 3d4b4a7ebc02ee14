"""Pages: Jinja2 templates with what they all share. Everything that is put into one is escaped."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
_pages = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
                     trim_blocks=True, lstrip_blocks=True)


def tongue(request: Request) -> str:
    """German for whoever prefers it, English for all others (RFC 9110 §12.5.4)."""
    first = request.headers.get("accept-language", "").partition(",")[0].strip().lower()
    return "de" if first.startswith("de") else "en"


def page(request: Request, template: str, *, status: int = 200, **words: Any) -> HTMLResponse:
    """A page in the reader's language: a template says `{{ say("English", "Deutsch") }}`."""
    language = tongue(request)

    def say(english: str, german: str) -> str:
        return german if language == "de" else english

    return HTMLResponse(_pages.get_template(template).render(lang=language, say=say, **words), status)
