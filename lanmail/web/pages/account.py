"""/my/account: what somebody has here, in one look."""

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.web.pages.frame import Visitor

router = APIRouter()


@router.get("/my/account")
def overview(visit: Visitor) -> Response:
    """Addresses, room, what is switched on, what waits; and where to change it."""
    return visit.page("overview.html", known=visit.call("account.overview", name=visit.account),
                      there={entry.path for entry in visit.own})
