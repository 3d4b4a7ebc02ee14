"""Which path leads where."""

from fastapi import FastAPI

from lanmail.web import consent, guard, health
from lanmail.web.guard import Asgi
from lanmail.web.house import House


def make(house: House) -> Asgi:
    """The application, guard and all."""
    application = FastAPI(title="lanmail", docs_url=None, redoc_url=None, openapi_url=None)
    application.state.house = house
    application.include_router(health.router)
    application.include_router(consent.router)
    return guard.Guard(application, house)
