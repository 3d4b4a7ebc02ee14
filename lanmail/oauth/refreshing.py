"""One address's tokens, renewed: lock, read again, decide, ask, write the refresh part, then the access part.

Whatever an answer says, the refresh token that we have is kept until another one takes its place. Single-use tokens
(`rotation = strict`) are noted as being spent before they go out, so that a later refusal can be told from a loss on
the way. Each reaction of lanmail.oauth.errors has its method here.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from lanmail import log
from lanmail.errors import ConfigError, Temporary
from lanmail.monitoring import metrics
from lanmail.oauth import apps, appstate, assertion, endpoint, errors, keys, schedule, store
from lanmail.oauth.apps import App
from lanmail.oauth.errors import Verdict
from lanmail.oauth.store import Access, Record, Store
from lanmail.paths import Paths

SKEW = 60.0  # seconds that clocks may differ
_AGAIN = (60.0, 600.0)  # after the first and the second invalid_grant
_HOPELESS = 3600.0  # between tries for an address that a grant without a person is refused for
_WEEK = 7 * schedule.DAY


@dataclass(slots=True)
class Wish:
    """Why somebody wants a token: of these resources; `rejected` are fingerprints that a server would not take."""

    resources: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    force: bool = False  # by hand: now, whatever waits


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: `record` as it is now (None: there is none), and whether a token was got."""

    record: Record | None
    renewed: bool = False
    app: App | None = None
    recovered: bool = False  # it had failed before


class Refresher:
    """Renews tokens of one installation; the only thing that spends refresh tokens."""

    def __init__(self, paths: Paths, *, hosts: schedule.Hosts | None = None,
                 wall: Callable[[], float] = time.time) -> None:
        self.paths, self.store = paths, Store(paths)
        self.hosts = hosts or schedule.Hosts()
        self._wall = wall

    async def refresh(self, name: str, address: str, wish: Wish) -> Outcome:
        """Renew what is due or wished for. Temporary (Busy, Unusable), OSError, ConfigError: nothing was lost."""
        address = address.lower()
        async with self.store.lock(name, address):
            try:
                app = apps.load(self.paths, name)
            except ConfigError:
                self._stuck(Record(name, address, error=_error("config", "the app's file is missing or broken")))
                raise
            record = self.store.read(name, address)
            if record is None and app.needs_person:
                self._stuck(Record(name, address), store.NEEDS_CONSENT)
                return Outcome(None, app=app)
            if record is None:
                record = Record(name, address, generation=1, granted=self._wall())
                self.store.save(record)
            failing, renewed = bool(record.failing), await self._work(app, record, wish)
            return Outcome(record, renewed, app, renewed and failing)

    async def _work(self, app: App, record: Record, wish: Wish) -> bool:
        now = self._wall()
        if record.state != store.OK:
            self.store.mark(record, record.state)
            return False
        if self._app_waits(app, wish):
            self._stuck(record)
            return False
        if _waits(record, now) and not wish.force:
            return False
        self._note_rejected(record, wish)
        if app.needs_person and not record.refresh:
            self._consent(record, Verdict(errors.CONSENT, "no-refresh", "there is no refresh token"))
            return False
        renewed = False
        for resource in self._resources(app, record, wish):
            if not self._due(record, resource, wish):
                continue
            if not await self._one(app, record, resource, wish):
                return renewed
            renewed = True
        return renewed

    def _app_waits(self, app: App, wish: Wish) -> bool:
        known = appstate.read(self.paths, app.name)
        return known.waits(appstate.stamp(self.paths, app), self._wall()) and not wish.force

    def _resources(self, app: App, record: Record, wish: Wish) -> list[str]:
        """What there is a token of, or is asked for; a scope nobody consented to is not."""
        there = {*self.store.resources(record.app, record.address), *wish.resources}
        known = app.resources
        wanted = [one for one in known if one in there] or list(known)[:1]
        for unknown in sorted(wish.resources - known.keys()):
            text = f"the app has no scopes for {unknown}; name it in the app's use"
            found = Access(record.app, record.address, unknown, state=store.APP_ERROR, error=_error("config", text))
            self.store.publish(found)
        return wanted

    def _due(self, record: Record, resource: str, wish: Wish) -> bool:
        found = self._published(record, resource)
        if found is None or wish.force or (not found.secret and found.state != store.NEEDS_CONSENT):
            return True
        if found.fingerprint in wish.rejected and not found.rejected:
            return True
        now = self._wall()
        if found.next_refresh <= now or now < found.issued - schedule.BACK or found.issued < record.granted:
            return True
        return found.state == store.APP_ERROR

    def _note_rejected(self, record: Record, wish: Wish) -> None:
        """A server that refuses the replacement, too, does not mind the token but the account: no more of them."""
        for resource in self.store.resources(record.app, record.address) if wish.rejected else ():
            found = self._published(record, resource)
            if found is not None and found.rejected and found.fingerprint in wish.rejected:
                text = ("a server refuses fresh tokens: the protocol may be switched off for this mailbox, or the user "
                        "name or the app's scopes may be wrong")
                if record.error.get("class") != "rejected":
                    log.event("rejected-again", app=record.app, address=record.address, resource=resource)
                    record.error = _error("rejected", text, now=self._wall())
                    self.store.save(record, generation=record.generation)

    def _published(self, record: Record, resource: str) -> Access | None:
        try:
            return self.store.access(record.app, record.address, resource)
        except keys.Unusable as error:
            log.event("unreadable", app=record.app, address=record.address, error=error.text)
            return None  # it is made again

    async def _one(self, app: App, record: Record, resource: str, wish: Wish) -> bool:
        host = urlsplit(app.token_url).netloc
        lost = record.spending != "" and record.spending == record.fingerprint
        async with self.hosts.turn(host) as may:
            if self._app_waits(app, wish):
                self._stuck(record)
                return False
            if not may and not wish.force:
                return False
            self._spend(app, record)
            try:
                form = self._form(app, record, resource)
                got = await endpoint.ask(app, self.paths, form, proof=app.grant != "jwt_bearer")
            except Temporary as error:  # or our own key cannot be read
                refused = error.verdict if isinstance(error, errors.Refused) else errors.unanswered(error)
                if refused.reaction == errors.CONFIG:
                    refused = replace(refused, text=f"{refused.text} ({_asked(app, app.scope(resource))})")
                self._refused(app, record, resource, refused, host, lost=lost)
                return False
        self.hosts.answered(host)
        await self._accept(app, record, resource, got, wish)
        return True

    def _spend(self, app: App, record: Record) -> None:
        if app.rotation == "strict" and record.refresh and record.spending != record.fingerprint:
            record.spending = record.fingerprint
            self.store.save(record, generation=record.generation)

    def _form(self, app: App, record: Record, resource: str) -> dict[str, str]:
        scope = app.scope(resource)
        if app.grant == "client_credentials":
            return {"grant_type": "client_credentials", "scope": scope}
        if app.grant == "jwt_bearer":
            who = record.login_as or record.address
            return {"grant_type": assertion.BEARER,
                    "assertion": assertion.service(app, self.paths, who, scope).reveal()}
        form = {"grant_type": "refresh_token", "refresh_token": record.refresh.reveal()}
        return form | {"scope": scope} if app.refresh_scope or resource != next(iter(app.resources)) else form

    async def _accept(self, app: App, record: Record, resource: str, got: endpoint.Tokens, wish: Wish) -> None:
        """The refresh part first: an access token can be had again, a single-use refresh token cannot."""
        now = self._wall()
        record.refresh = got.refresh or record.refresh
        record.refreshed, record.retry_at, record.failing = now, 0.0, 0.0
        record.tries = record.refusals = 0
        record.spending, record.error = "", {}
        record.scope = got.scope or record.scope
        if got.refresh_expires:
            record.refresh_expires = got.refresh_expires
            record.testing = abs(got.refresh_expires - record.granted - _WEEK) < 3600
        elif app.refresh_life and record.refresh:
            record.refresh_expires = now + app.refresh_life * schedule.DAY
        await self._keep(record)
        before = self._published(record, resource)
        rejected = before.fingerprint if before and before.fingerprint in wish.rejected else ""
        self.store.publish(Access(
            record.app, record.address, resource, record.mailbox, got.scope, store.OK, got.issued, got.expires,
            schedule.due_at(got.issued, got.expires), rejected, {}, got.access))
        for other in self.store.resources(record.app, record.address):
            there = self._published(record, other)
            if there is not None and there.state == store.APP_ERROR and there.secret:
                there.state, there.error = store.OK, {}
                self.store.publish(there)
        self._app_works(app, got)
        metrics.count("tokens_renewed")
        log.event("renewed", app=app.name, address=record.address, resource=resource, life=int(got.expires - now))

    async def _keep(self, record: Record) -> None:
        """Write what must not be lost: a full disk is waited for, with the lock held."""
        for patience in (0.1, 1.0, *[5.0] * 120):
            try:
                self.store.save(record, generation=record.generation)
                return
            except (OSError, keys.Unusable) as error:
                log.event("not-written", level=logging.ERROR, app=record.app, address=record.address, error=str(error))
                await asyncio.sleep(patience)
        self.store.save(record, generation=record.generation)

    def _app_works(self, app: App, got: endpoint.Tokens) -> None:
        known = appstate.read(self.paths, app.name)
        skewed = abs(got.skew) > SKEW
        if known.broken or skewed != (abs(known.skew) > SKEW):
            known.broken, known.error, known.retry_at = 0.0, {}, 0.0
            known.skew = got.skew if skewed else 0.0
            appstate.save(self.paths, known)

    # refusals

    def _refused(self, app: App, record: Record, resource: str, verdict: Verdict, host: str, *, lost: bool) -> None:
        now = self._wall()
        metrics.count("tokens_refused")
        log.event("refused", app=app.name, address=record.address, resource=resource, reaction=verdict.reaction,
                  code=verdict.code, error=verdict.text)
        record.error = _error(verdict.reaction, verdict.text, verdict.code, now)
        reaction = verdict.reaction
        if resource != next(iter(app.resources)) and reaction in (errors.CONSENT, errors.CONFIG):
            self._without(record, resource, verdict, now)
            return
        if reaction == errors.TRANSIENT and host:
            if self.hosts.failed(host):
                log.event("host-left-alone", host=host, error=verdict.text)
        elif host:
            self.hosts.answered(host)
        if reaction in (errors.APP, errors.CONFIG):
            self._app_refused(app, record, verdict, now)
        elif reaction == errors.THROTTLED:
            self.hosts.throttled(host, verdict.wait)
            record.retry_at = now + verdict.wait
            record.failing = record.failing or now
        elif reaction == errors.TRANSIENT:
            self._later(record, max(schedule.pause(record.tries + 1), verdict.wait), now)
        elif not app.needs_person:
            self._later(record, _HOPELESS, now)
        elif reaction == errors.CONSENT:
            self._consent(record, verdict)
            return
        else:
            self._suspect(app, record, verdict, now, lost=lost)
            return
        self.store.save(record, generation=record.generation)
        self._expire(record)

    def _without(self, record: Record, resource: str, verdict: Verdict, now: float) -> None:
        """Nobody consented to this resource; the others are not touched by it."""
        self.store.publish(Access(
            record.app, record.address, resource, state=store.NEEDS_CONSENT, issued=now,
            next_refresh=now + schedule.DAY, error=_error(verdict.reaction, verdict.text, verdict.code, now)))

    def _later(self, record: Record, seconds: float, now: float) -> None:
        record.tries += 1
        record.failing = record.failing or now
        record.retry_at = now + seconds

    def _suspect(self, app: App, record: Record, verdict: Verdict, now: float, *, lost: bool) -> None:
        """invalid_grant passes now and then; a token that works once is not sent again after it."""
        there = self.store.read(record.app, record.address)
        if there is not None and there.fingerprint != record.fingerprint:
            return  # somebody has put another one in its place, without our lock: it is tried next
        record.refusals += 1
        if app.rotation == "strict" or record.refusals > len(_AGAIN):
            if lost:
                why = "the answer with the next refresh token was lost on the way"
                verdict = Verdict(errors.CONSENT, verdict.code, f"{verdict.text} ({why})")
            self._consent(record, verdict)
            return
        self._later(record, _AGAIN[record.refusals - 1], now)
        self.store.save(record, generation=record.generation)
        self._expire(record)

    def _consent(self, record: Record, verdict: Verdict) -> None:
        """A person must act: readers are told, nobody asks again, the token stays as it is."""
        now = self._wall()
        record.state, record.why, record.since = store.NEEDS_CONSENT, verdict.text, now
        record.claims, record.spending = verdict.claims, ""
        record.error = record.error or _error(verdict.reaction, verdict.text, verdict.code, now)
        self.store.save(record, generation=record.generation)
        self.store.mark(record, store.NEEDS_CONSENT)
        log.event("needs-consent", app=record.app, address=record.address, why=verdict.text)

    def _app_refused(self, app: App, record: Record, verdict: Verdict, now: float) -> None:
        known = appstate.read(self.paths, app.name)
        appstate.refused(known, appstate.stamp(self.paths, app), record.error, now)
        appstate.save(self.paths, known)
        record.failing = record.failing or now

    def _expire(self, record: Record) -> None:
        """When nothing is left to log in with, readers are told why instead of waiting for it."""
        if record.error.get("class") in (errors.APP, errors.CONFIG):
            self._stuck(record)

    def _stuck(self, record: Record, state: str = store.APP_ERROR) -> None:
        """Tell readers of tokens that have ended, or never were."""
        for resource in self.store.resources(record.app, record.address) or [store.MAIL]:
            found = self._published(record, resource) or Access(record.app, record.address, resource)
            if found.expires - self._wall() < schedule.MARGIN / 2 and found.state != state:
                found.state, found.error = state, record.error
                self.store.publish(found)


def _asked(app: App, scope: str) -> str:
    """The request, for people, without what is secret in it."""
    named = f", scope {scope}" if scope else ""
    return f"asked {app.token_url} with grant {app.grant}, client_id {app.client_id}{named}"


def _waits(record: Record, now: float) -> bool:
    """Whether it is too early to ask again; a clock that was set back meanwhile makes nobody wait."""
    return record.retry_at > now >= float(record.error.get("time", now)) - schedule.BACK


def _error(kind: str, text: str, code: str = "", now: float | None = None) -> dict[str, object]:
    return {"time": round(time.time() if now is None else now), "class": kind, "code": code, "text": text}
