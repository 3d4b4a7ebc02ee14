"""The consent by pages of a server of ours: a one-time link, and where the provider sends people back to.

    link(paths, base, wish)                         BASE/oauth2/start/WORD, good for three days, once
    GET /oauth2/start/WORD      look(…)             who wants what; following a link by accident uses nothing up
    GET /oauth2/start/WORD/go   start(…)            on to the provider, with a state and PKCE of its own
    GET /oauth2/callback        await callback(…)   the provider's answer: everything is looked at, then it counts

The app's redirect_uri must be BASE/oauth2/callback, as it is registered at the provider. A browser that loads the last
page again is told the same again.
"""

from dataclasses import dataclass

from lanmail.errors import ConfigError, MailError
from lanmail.oauth import apps, authorization, consent, pages, uses
from lanmail.oauth.authorization import Foreign
from lanmail.oauth.pending import Folder, Wish
from lanmail.paths import Paths
from lanmail.settings import Settings

START, CALLBACK = "/oauth2/start/", "/oauth2/callback"


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


def link(paths: Paths, base: str, wish: Wish) -> str:
    """A new one-time link below `base`, like https://mail.firma.example. OSError, keys.Unusable."""
    return base.rstrip("/") + START + Folder(paths).link(wish)


def look(paths: Paths, word: str, tongue: str) -> Page:
    """The page behind a link: the address, the provider, and a link on."""
    wish = Folder(paths).look(word)
    try:
        app = apps.load(paths, wish.app) if wish is not None else None
    except ConfigError:
        app = None
    if wish is None or app is None:
        return _page(410, "gone", tongue)
    return _page(200, "start", tongue, f"{START}{word}/go", address=wish.address, provider=app.title or app.name)


def start(paths: Paths, word: str, tongue: str) -> Page:
    """To the provider; the link is used up by this. OSError, keys.Unusable."""
    try:
        wish = Folder(paths).follow(word)
        app = apps.load(paths, wish.app)
    except (Foreign, ConfigError):
        return _page(410, "gone", tongue)
    return Page(303, (("Location", consent.ask(paths, app, wish).url), ("Cache-Control", "no-store"),
                      ("Referrer-Policy", "no-referrer")))


async def callback(paths: Paths, settings: Settings, query: str, tongue: str) -> Page:
    """What came of it. OSError."""
    folder = Folder(paths)
    try:
        answer = authorization.read("?" + query)
        done = folder.done(answer.state or "")
        if done is not None:
            return _page(200, "done", tongue, address=done.address)
        found = folder.of_state(answer.state or "")
        app = apps.load(paths, found.wish.app)
        pending, code = consent.answered(paths, app, "?" + query)
    except ConfigError:
        return _page(410, "gone", tongue)
    except Foreign as error:
        return _page(400, "foreign", tongue, reason=error.text)
    except MailError as error:
        return _page(200, "failed", tongue, reason=error.text)
    asked, wish = pending.asked, pending.wish
    assert asked is not None
    if not folder.claim(pending):
        return _page(400, "foreign", tongue, reason="this answer is being looked at already")
    try:
        got = await consent.redeem(paths, app, asked, code)
        await consent.settle(paths, app, wish, got, uses.servers(paths, settings, app, wish), asked.nonce)
    except MailError as error:
        return _page(200, "failed", tongue, reason=error.text)
    folder.finish(pending)
    uses.fetch_now(paths, settings, wish)
    return _page(200, "done", tongue, address=wish.address)


def _page(status: int, name: str, tongue: str, onward: str = "", **words: str) -> Page:
    return Page(status, pages.HEADERS, pages.page(name, tongue, onward, **words))
