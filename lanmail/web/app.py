"""Which path leads where."""

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from lanmail.web import authorize, clientsetup, consent, device, exposition, guard, health, views
from lanmail.web.api import (
    accounts,
    certificates,
    clients,
    config,
    consents,
    description,
    external,
    frame,
    groups,
    logs,
    oauthapps,
    oauthtokens,
    overview,
    ownrules,
    queue,
    server,
    trials,
)
from lanmail.web.api import archive as archive_api
from lanmail.web.api import archivecare as archivecare_api
from lanmail.web.api import messages as messages_api
from lanmail.web.guard import Asgi
from lanmail.web.house import House
from lanmail.web.pages import (
    account,
    apps,
    autoresponder,
    entrance,
    forwarding,
    offices,
    password,
    programs,
    sources,
)
from lanmail.web.pages import archive as archive_pages
from lanmail.web.pages import changes as changes_pages
from lanmail.web.pages import consents as consents_page
from lanmail.web.pages import groups as groups_page
from lanmail.web.pages import queue as queue_pages
from lanmail.web.pages import settings as settings_pages
from lanmail.web.pages import status as status_page
from lanmail.web.pages import trace as trace_pages
from lanmail.web.pages.frame import handlers
from lanmail.web.pages.office import PAGES as OFFICE

NOUNS = (  # of the API; their methods are in its table by now
    accounts,
    certificates,
    clients,
    config,
    consents,
    external,
    groups,
    logs,
    oauthapps,
    oauthtokens,
    overview,
    ownrules,
    queue,
    server,
    trials,
    archive_api,
    messages_api,
    archivecare_api,
)
PAGES = (
    *OFFICE,
    account,
    apps,
    changes_pages,
    consents_page,
    autoresponder,
    entrance,
    forwarding,
    groups_page,
    offices,
    password,
    programs,
    queue_pages,
    settings_pages,
    sources,
    status_page,
    archive_pages,
    trace_pages,
)


def make(house: House) -> Asgi:
    """The application, guard and all."""
    application = FastAPI(title="lanmail", docs_url=None, redoc_url=None, openapi_url=None)
    application.state.house = house
    application.include_router(health.router)
    application.include_router(exposition.router)
    application.include_router(consent.router)
    application.include_router(authorize.router)
    application.include_router(device.router)
    application.include_router(clientsetup.router)
    for noun in NOUNS:
        assert noun.__doc__
    application.include_router(description.router)  # before that of frame, which takes any name
    application.include_router(frame.router)
    application.state.pages = frozenset(getattr(route, "path", "") for page in PAGES for route in page.router.routes)
    for page in PAGES:
        application.include_router(page.router)
    handlers(application)
    application.mount("/static", StaticFiles(directory=views.HERE / "static"))
    return guard.Guard(application, house)
