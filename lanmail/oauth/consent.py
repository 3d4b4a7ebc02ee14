"""A person's consent: from the question to the provider to a token that mail servers took.

    asked = ask(paths, app, wish, redirect)           for the browser; remembered in state/oauth/pending
    pending, code = answered(paths, text)             what the browser came back with
    tokens = await redeem(paths, app, asked, code)
    results = await settle(paths, app, wish, tokens, servers)

`settle` puts the new grant in the place of the old one only after everything is as it must be: tokens to renew with,
the scopes, the right person, and a mail server that takes the token. Until then the old one goes on working.
"""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from lanmail import tokens
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import Permanent, Temporary
from lanmail.oauth import assertion, authorization, endpoint, errors, schedule, trial
from lanmail.oauth.apps import App
from lanmail.oauth.authorization import Asked, Declined, Foreign
from lanmail.oauth.endpoint import Tokens
from lanmail.oauth.pending import Folder, Pending, Wish
from lanmail.oauth.store import Access, Record, Store
from lanmail.paths import Paths

REDIRECT = "http://localhost"
TESTING = 7 * 86400.0  # seconds that a consent lasts while a Google app is in "Testing"
_OPENID = frozenset({"openid", "offline_access", "profile", "email", "address", "phone"})


class Unfit(Permanent):
    """What the provider gave is not what is needed; the old grant stays. `advice` is for the administrator."""

    def __init__(self, text: str, advice: str = "", results: Iterable[trial.Result] = ()) -> None:
        super().__init__(text)
        self.advice, self.results = advice, list(results)


def ask(paths: Paths, app: App, wish: Wish, redirect: str = "") -> Asked:
    """The question to the provider; its answer is good for three days. OSError, keys.Unusable."""
    record = Store(paths).read(wish.app, wish.address, decrypt=False)
    scope, extra = authorization.scope(app), dict(app.authorize)
    if "offline_access" in scope.split():
        extra.setdefault("prompt", "consent")  # OpenID Connect Core §11: without it offline_access is ignored
    if record is not None and record.claims:
        extra["claims"] = record.claims
    where = redirect or app.redirect_uri or REDIRECT
    asked = authorization.ask(app.authorize_url, app.client_id, where, scope, wish.person, extra)
    Folder(paths).put(wish, asked)
    return asked


def answered(paths: Paths, app: App, text: str, wish: Wish | None = None) -> tuple[Pending, str]:
    """The request that an answer belongs to, and its code. Declined, Foreign.

    `wish`: for whom a person pastes the answer here; only then it may be a code alone.
    """
    folder = Folder(paths)
    answer = authorization.read(text)
    if answer.state is not None:
        found = folder.of_state(answer.state)
    else:
        newest = folder.newest(wish.app, wish.address) if wish is not None else None
        if newest is None:
            raise Foreign("no log-in is under way that this answer could belong to")
        found = newest
    if found.asked is None or found.wish.app != app.name or (
            wish is not None and found.wish.address.lower() != wish.address.lower()):
        raise Foreign("this answer belongs to the log-in of another address")
    try:
        return found, authorization.judge(answer, found.asked, app.issuer, pasted=wish is not None)
    except Declined:
        folder.drop(found)
        raise


async def redeem(paths: Paths, app: App, asked: Asked, code: str) -> Tokens:
    """The tokens for a code. errors.Refused."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": asked.redirect}
    if app.pkce:
        form["code_verifier"] = asked.verifier
    if app.refresh_scope:
        form["scope"] = app.scope()
    return await endpoint.ask(app, paths, form, exchanging=True)


async def without_person(paths: Paths, app: App, wish: Wish) -> Tokens:
    """The tokens of an app that needs nobody's consent: client credentials, a service account. errors.Refused."""
    if app.grant == "jwt_bearer":
        claim = assertion.service(app, paths, wish.person, app.scope()).reveal()
        return await endpoint.ask(app, paths, {"grant_type": assertion.BEARER, "assertion": claim}, proof=False)
    return await endpoint.ask(app, paths, {"grant_type": "client_credentials", "scope": app.scope()})


async def settle(paths: Paths, app: App, wish: Wish, got: Tokens, servers: Iterable[trial.Server], nonce: str = "",
                 say: Callable[[str], None] = lambda _text: None) -> list[trial.Result]:
    """Look at everything, try it at `servers`, and make it the grant that counts; what each said. Unfit, Temporary."""
    fit(app, got)
    await same_person(paths, app, wish, got, nonce)
    tried = list(servers)
    if tried:
        say("trying the token at " + ", ".join(map(str, tried)))
    results = await trial.attempt(tried, got.access)
    if results and not any(one.verdict == "ok" for one in results):
        if not any(one.verdict == "refused" for one in results):
            text = "no mail server could be reached, so the token was not tried"
            raise Unfit(text, "--no-test takes it untried", results)
        raise Unfit(f"no mail server takes the token as {wish.user}", results=results)
    await adopt(paths, app, wish, got)
    Folder(paths).forget(wish.app, wish.address)
    return results


def fit(app: App, got: Tokens) -> None:
    """Unfit unless there is a refresh token, where one is needed, and every scope."""
    if app.needs_person and app.refresh_expected and not got.refresh:
        asked = authorization.scope(app).split()
        advice = ("does the app's registration at the provider allow refresh tokens?"
                  if "offline_access" in asked or app.authorize.get("access_type") == "offline" else
                  "add offline_access to the scopes (scopes.common), or authorize.access_type=offline and "
                  "authorize.prompt=consent where the provider wants it so")
        raise Unfit("the provider gave no refresh token, so mail would stop within the hour", advice)
    granted = {one.lower() for one in got.scope.split()}
    lost = [one for one in app.scope().split() if one.lower() not in granted and one not in _OPENID]
    if granted and lost and not any(one.endswith("/.default") for one in lost):
        raise Unfit(f"consent was not given to {' '.join(lost)}; begin again and leave all boxes ticked")


async def same_person(paths: Paths, app: App, wish: Wish, got: Tokens, nonce: str = "") -> None:
    """Unfit when the provider says that somebody else logged in; it need not say anything."""
    claims = _claims(got.id_token.reveal()) if got.id_token else {}
    if claims:
        # OpenID Connect Core §3.1.3.7: straight from the token endpoint, TLS stands for the signature
        audience = claims.get("aud")
        if app.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise Unfit("the provider's id_token is for another app")
        if nonce and claims.get("nonce") is not None and not authorization.same(str(claims["nonce"]), nonce):
            raise Unfit("the provider's id_token belongs to another log-in")
    if app.userinfo_url and not _names(claims) and "openid" in authorization.scope(app).split():
        claims = await _userinfo(paths, app, got)
    names = _names(claims)
    if names and app.needs_person and wish.person.lower() not in names:
        who = sorted(names)[0]
        raise Unfit(f"{who} logged in, not {wish.person}; sign out at the provider, or use a private window, and begin "
                    "again", f"if it is right that {who} logs in for {wish.address}: --as {who}")


def _names(claims: dict[str, Any]) -> set[str]:
    """The addresses by which a provider knows somebody."""
    values = (claims.get(name) for name in ("email", "preferred_username", "upn"))
    return {value.lower() for value in values if isinstance(value, str) and "@" in value}


def _claims(token: str) -> dict[str, Any]:
    try:
        body = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


async def _userinfo(paths: Paths, app: App, got: Tokens) -> dict[str, Any]:
    """What the provider says about whose token it is; nothing when it says nothing."""
    request = httpclient.Request("GET", app.userinfo_url, (("Authorization", f"Bearer {got.access.reveal()}"),))
    try:
        wished, via = tlsclient.wish(app, paths.conf), tunnel.of(app, paths.conf)
        answer = await httpclient.send(request, wished, via, app.timeout)
    except Temporary:
        return {}
    return errors.fields(answer) if answer.status == 200 else {}


async def adopt(paths: Paths, app: App, wish: Wish, got: Tokens) -> Record:
    """Make these tokens the ones that count. Temporary, OSError."""
    kept = Store(paths)
    kept.prepare()
    async with kept.lock(wish.app, wish.address):
        before = kept.read(wish.app, wish.address, decrypt=False)
        ends = got.refresh_expires or (
            got.issued + app.refresh_life * 86400.0 if app.refresh_life and got.refresh else 0.0)
        record = Record(
            wish.app, wish.address.lower(), account=wish.account, login_as=wish.login_as, mailbox=wish.mailbox,
            scope=got.scope or app.scope(), generation=(before.generation if before else 0) + 1,
            granted=got.issued, refreshed=got.issued, refresh_expires=ends, refresh=got.refresh,
            testing=0 < got.refresh_expires - got.issued <= TESTING + 60, told=before.told if before else {},
        )
        kept.save(record)
        first = next(iter(app.resources))
        due = schedule.due_at(got.issued, got.expires)
        kept.publish(Access(wish.app, wish.address, resource=first, mailbox=wish.mailbox, scope=record.scope,
                            issued=got.issued, expires=got.expires, next_refresh=due, secret=got.access))
    for resource in app.resources:
        tokens.request(paths, wish.app, wish.address, "consent", resource)
    return record
