"""GET /healthz: whether the server is well. Says nothing that a stranger must not know."""

import os

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from lanmail.web.house import House

router = APIRouter()


@router.get("/healthz")
def healthz(request: Request) -> JSONResponse:
    """200 when mail can be taken: the queue can be written to, and the disk has room; else 503 and why."""
    house: House = request.app.state.house
    trouble = _trouble(house)
    return JSONResponse({"ok": not trouble, "trouble": trouble}, 503 if trouble else 200)


def _trouble(house: House) -> list[str]:
    found = []
    for name in ("queue", "outbound"):
        if not (house.paths.spool / name / "new").is_dir():
            found.append(f"spool/{name} is missing")
    try:
        disk = os.statvfs(house.paths.spool)
    except OSError:
        return found
    if disk.f_bavail * disk.f_frsize < house.settings().smtpd.min_free:
        found.append("the disk is nearly full: mail is refused for now")
    return found
