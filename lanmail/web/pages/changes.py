"""/admin/changes: who changed what over HTTP, and /admin/log: what the programs did; the newest first."""

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import programs
from lanmail.web.api.frame import METHODS
from lanmail.web.pages.frame import Visitor
from lanmail.web.words import deeds

router = APIRouter()
SHOWN = 100


@router.get("/admin/changes")
def show(visit: Visitor, search: str = "", kind: str = "", offset: int = 0) -> Response:
    """A page of the changes."""
    offset, search, kind = max(0, min(offset, 100_000)), search[:200], kind[:100]
    found = visit.call("change.list", search=search, what=kind, offset=offset, limit=SHOWN)
    for one in found["changes"]:
        one["said"] = deeds.of(one["what"], visit.language)
    nouns = sorted({name.partition(".")[0] for name, one in METHODS.items() if not one.reads})
    kinds: list[dict[str, Any]] = [{"value": f"{noun}.", "title": deeds.noun(noun, visit.language)} for noun in nouns]
    return visit.page("changes.html", found=found, search=search, kind=kind, offset=offset, limit=SHOWN,
                      kinds=sorted(kinds, key=lambda one: str(one["title"])))


@router.get("/admin/log")
def log(visit: Visitor, program: str = "", level: Literal["", "debug", "info", "warning", "error"] = "",
        search: str = "") -> Response:
    """The newest lines of the logs."""
    names = [one.name for one in programs.DAEMONS]
    program = program if program in names else ""
    found = visit.call("log.tail", program=program, level=level or "info", search=search[:200], limit=SHOWN)
    for one in found["lines"]:
        one["text"] = one["text"].removesuffix(f"level={one['level']}")
    return visit.page("log.html", lines=found["lines"], program=program, level=level or "info", search=search[:200],
                      programs=names, limit=SHOWN)
