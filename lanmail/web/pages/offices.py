"""/admin/sources: the external mailboxes of all accounts, those with a problem first."""

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.web.pages import sources
from lanmail.web.pages.frame import Visitor

router = APIRouter()
HERE = "/admin/sources"
PAGE = 50


@router.get(HERE)
def show(visit: Visitor, only: str = "", offset: int = 0) -> Response:
    """How fetching goes in the whole office; only="wrong" leaves out what is well."""
    offset = min(max(offset, 0), 1_000_000)
    found = visit.call("external.list", limit=PAGE, offset=offset, level=1 if only == "wrong" else 0)
    return visit.page("offices.html", found=found, only=only == "wrong", offset=offset, limit=PAGE,
                      path=f"{HERE}?only=wrong" if only == "wrong" else HERE, state_of=sources.state_of,
                      plain=lambda one: sources.brief(visit, one))
