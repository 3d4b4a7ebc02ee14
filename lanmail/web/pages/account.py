"""/my/account: what somebody has here, in one look."""

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.web.pages.frame import Visitor

router = APIRouter()


@router.get("/my/account")
def overview(visit: Visitor) -> Response:
    """Addresses, room, and what is switched on."""
    return visit.page("overview.html", known=visit.call("account.get", name=visit.account))
