"""The consent by pages of a server of ours: a one-time link, and where the provider sends people back to.

    link(paths, base, wish)                         BASE/oauth2/start/WORD, good for three days, once
    GET /oauth2/start/WORD      look(…)             who wants what; following a link by accident uses nothing up
    GET /oauth2/start/WORD/go   start(…)            on to the provider, with a state and PKCE of its own
    GET /oauth2/callback        await callback(…)   the provider's answer: everything is looked at, then it counts

The app's redirect_uri must be BASE/oauth2/callback, as it is registered at the provider. A browser that loads the last
page again is told the same again. A wish that an account made for itself (`by`) is for a browser that is logged in as
this account: `who` says as whom it is.
"""

from dataclasses import dataclass
from urllib.parse import quote

from lanmail.errors import ConfigError, MailError
from lanmail.oauth import apps, authorization, consent, pages, trial, uses
from lanmail.oauth.apps import App
from lanmail.oauth.authorization import Foreign
from lanmail.oauth.pending import Folder, Pending, Wish
from lanmail.paths import Paths
from lanmail.settings import Settings

START, CALLBACK = "/oauth2/start/", "/oauth2/callback"


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    done: Wish | None = None  # what came to a good end


def link(paths: Paths, base: str, wish: Wish) -> str:
    """A new one-time link below `base`, like https://mail.firma.example. OSError, keys.Unusable."""
    return base.rstrip("/") + START + Folder(paths).link(wish)


def base(app: App) -> str:
    """Where our pages are for the app's provider; empty where people are sent elsewhere afterwards."""
    found = app.redirect_uri.removesuffix(CALLBACK)
    return "" if found == app.redirect_uri else found


def look(paths: Paths, word: str, tongue: str, who: str = "") -> Page:
    """The page behind a link: the address, the provider, and a link on."""
    wish = Folder(paths).look(word)
    try:
        app = apps.load(paths, wish.app) if wish is not None else None
    except ConfigError:
        app = None
    if wish is None or app is None:
        return _page(410, "gone", tongue)
    if wish.by and wish.by != who:
        return _for_another(wish, word, tongue, who)
    return _page(200, "start", tongue, f"{START}{word}/go", address=wish.address, provider=app.title or app.name)


def start(paths: Paths, word: str, tongue: str, who: str = "") -> Page:
    """To the provider; the link is used up by this. OSError, keys.Unusable."""
    seen = Folder(paths).look(word)
    if seen is not None and seen.by and seen.by != who:
        return _for_another(seen, word, tongue, who)
    try:
        wish = Folder(paths).follow(word)
        app = apps.load(paths, wish.app)
    except (Foreign, ConfigError):
        return _page(410, "gone", tongue)
    return Page(303, (("Location", consent.ask(paths, app, wish).url), ("Cache-Control", "no-store"),
                      ("Referrer-Policy", "no-referrer")))


def _for_another(wish: Wish, word: str, tongue: str, who: str) -> Page:
    if who:
        return _page(403, "another", tongue, account=wish.by)
    return Page(303, (("Location", f"/login?next={quote(START + word, safe='')}"), ("Cache-Control", "no-store"),
                      ("Referrer-Policy", "same-origin")))


async def callback(paths: Paths, settings: Settings, query: str, tongue: str, who: str = "") -> Page:
    """What came of it. OSError."""
    folder, back = Folder(paths), ""
    try:
        answer = authorization.read("?" + query)
        done = folder.done(answer.state or "")
        if done is not None:
            return _page(200, "done", tongue, address=done.address)
        found = folder.of_state(answer.state or "")
        if found.wish.by and found.wish.by != who:
            return _page(403, "another", tongue, account=found.wish.by)
        back = place_of(found.wish)
        app = apps.load(paths, found.wish.app)
        pending, code = consent.answered(paths, app, "?" + query)
        await finish(paths, settings, app, pending, code)
    except ConfigError:
        return _page(410, "gone", tongue)
    except Foreign as error:
        return _page(400, "foreign", tongue, reason=error.text)
    except MailError as error:
        return _page(200, "failed", tongue, back=back, reason=error.text)
    page = _page(200, "done", tongue, address=pending.wish.address)
    return Page(page.status, page.headers, page.body, pending.wish)


def place_of(wish: Wish) -> str:
    """Our page from which it was begun; empty for links that were sent."""
    if not wish.by or not wish.source:
        return ""
    mine = wish.by == wish.account
    return f"/my/sources/{wish.source}" if mine else f"/admin/accounts/{wish.account}/sources/{wish.source}"


async def finish(paths: Paths, settings: Settings, app: App, pending: Pending, code: str) -> list[trial.Result]:
    """From a code to a grant that counts, and to the mail that waits for it; what mail servers said. Foreign,
    consent.Unfit, Temporary, OSError."""
    folder, wish, asked = Folder(paths), pending.wish, pending.asked
    assert asked is not None
    if not folder.claim(pending):
        raise Foreign("this answer is being looked at already")
    got = await consent.redeem(paths, app, asked, code)
    results = await consent.settle(paths, app, wish, got, uses.servers(paths, settings, app, wish), asked.nonce)
    folder.finish(pending)
    uses.switch_on(paths, settings, wish)
    uses.fetch_now(paths, settings, wish)
    return results


def _page(status: int, name: str, tongue: str, onward: str = "", *, back: str = "", **words: str) -> Page:
    return Page(status, pages.HEADERS, pages.page(name, tongue, onward, back=back, **words))
