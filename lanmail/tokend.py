"""NAME
    lanmail-tokend - keep the OAuth2 tokens of external mailboxes fresh

SYNOPSIS
    lanmail-tokend [--root DIR] [--check] [--once] [--trace]

DESCRIPTION
    Sending and fetching log in at some providers with access tokens, which live for an hour or so. This program renews
    each in time: before its end by 5 minutes or a fifth of its life, and once a day at least. Only this program, and
    `lanmail oauth`, speak to providers' token endpoints, and they alone see refresh tokens and client secrets.

    An app (conf/apps/NAME.toml) says who we are at a provider. Tokens come from a person's consent, from the app's own
    right (client credentials, by secret or certificate) or from a Google service account.

    A program that needs a fresh token, or whose token a server refused, drops a file into state/tokens/request and
    waits. A refused token is replaced once, not in a loop.

    No answer ever costs a refresh token. Passing troubles are tried again after 30 seconds, doubling to 15 minutes; a
    provider that fails five times in a row is asked every 5 minutes, and never more than twice at a time. When a person
    has to consent again, the owner of the address and the postmaster get a mail, again after 1, 3 and 7 days and then
    weekly; nothing is asked until then. When the app itself is refused, all its addresses wait, and the postmaster is
    told once. The postmaster also hears 60, 30, 14, 7, 3 days and 1 day before a client secret ends.

    --once does what is due and ends; 75 means that something has to be tried again later. When another tokend runs, it
    ends at once, with 0.
    --trace says on stderr what is done with each address, and why.

READS
    conf/lanmail.toml, conf/apps/, conf/oauth_presets/, conf/accounts/, conf/secrets/, state/tokens/request

WRITES
    state/tokens (what readers read), state/oauth (what only we read), spool/queue (notices), state/tokend.lock,
    state/log, and conf/secrets/oauth-access.keys and oauth-refresh.keys when they are missing

SIGNALS
    SIGTERM finishes requests that are under way, SIGHUP reads the settings again. Apps and secrets need no signal.

STANDARDS
    RFC 6749, 7523; 8628, 7636 and 9207 for consents (`lanmail oauth`).

SECURITY
    Tokens are encrypted on disk, access and refresh tokens with different keys, which systemd may hand over
    (LoadCredential=). Readers need the first only. Secrets go by https only, and never into a log.

BUGS
    When we are killed between a provider's answer and the write of it, a single-use refresh token is lost, and somebody
    has to consent again; the mail says so. Providers whose old token still works lose nothing.

SEE ALSO
    lanmail oauth, lanmail-relay, lanmail-fetchmail
"""

import asyncio
import contextlib
import logging
import os
import random
import time
from urllib.parse import unquote, urlsplit

from lanmail import accounts, daemon, log, notice, owner, watch
from lanmail.errors import ConfigError, Temporary
from lanmail.oauth import apps, appstate, schedule, store, uses, warnings, web
from lanmail.oauth.pending import Wish as Consent
from lanmail.oauth.refreshing import Outcome, Refresher, Wish

LOOK = 60.0  # seconds between two looks at everything
BUSY = 30.0  # seconds until an address is looked at again that could not be
STOP_ASKING = 20.0

Key = tuple[str, str]


class Tokend:
    """One run: what is due and what is asked for, one task for each address at a time."""

    def __init__(self, context: daemon.Context) -> None:
        self.context, self.paths = context, context.paths
        lock = owner.lock(context.paths.state / "tokend.lock")
        if lock is None:
            raise daemon.Refused(f"another lanmail-tokend works on {context.paths.root} already", os.EX_TEMPFAIL)
        self.lock = lock
        self.refresher = Refresher(self.paths, hosts=schedule.Hosts(context.settings.tokend.requests_per_host))
        self.store = self.refresher.store
        self.directory = accounts.Directory(self.paths, lambda: context.settings)
        self.deadlines = schedule.Deadlines()
        self.watch = watch.Watch()
        self.tasks: dict[Key, asyncio.Task[None]] = {}
        self.wishes: dict[Key, Wish] = {}
        self.not_before: dict[Key, float] = {}  # monotonic: of what is spread, busy or broken
        self.told: dict[str, str] = {}  # what is wrong with a file, said once
        self.waiting = False  # something has to be tried again later
        self._wake = asyncio.Event()

    def begin(self, spread: float) -> None:
        """Listen first, then look; what is due at the start is spread over some seconds."""
        self.store.prepare()
        self.store.sweep()
        requests = self.paths.state / "tokens" / "request"
        self.watch.subscribe(requests, lambda _: self._wake.set())
        with contextlib.suppress(OSError):  # without it, changes are seen within a minute
            self.watch.subscribe(apps.directory(self.paths), lambda _: self._wake.set())
        self.watch.attach(asyncio.get_running_loop())
        now = time.monotonic()
        for key in self.store.all():
            self.not_before[key] = now + random.random() * spread  # noqa: S311 no secret

    async def work(self) -> None:
        """Look at everything when something happened, when something is due, and every minute."""
        while True:
            self._wake.clear()
            begun = time.monotonic()
            wait = self.look()
            await asyncio.sleep(min(10 * (time.monotonic() - begun), 1.0))  # of many, one look for many events
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(wait, 0.05))

    def look(self) -> float:
        """Begin what is due; seconds until the next look."""
        self._take_requests()
        wait, published = LOOK, self.store.published()
        for key in dict.fromkeys([*self.wishes, *self.store.all()]):
            if key in self.tasks:
                continue
            left = 0.0 if key in self.wishes else self._left(key, published.get(key, []))
            if left <= 0:
                self._start(key)
            else:
                wait = min(wait, left)
        self.warn_of_apps()
        return wait

    def _left(self, key: Key, resources: list[str]) -> float:
        """Seconds until an address is due."""
        held = self.not_before.get(key, -1e9) - time.monotonic()
        try:
            record = self.store.read(*key, decrypt=False)
            found = [self.store.access(*key, resource, decrypt=False) for resource in resources]
        except (Temporary, OSError) as error:
            self._trouble(key, error)
            return max(held, BUSY)
        now = time.time()
        if record is None or record.state != store.OK:
            if record is not None and any(warnings.of_record(record, self._app(key[0]), 0.0, now)):
                return held
            return LOOK
        if any(one.issued < record.granted for one in found if one) or not found:
            due = 0.0
        else:
            due = min(self.deadlines.wait(one) for one in found if one)
        if record.retry_at > now:
            self.waiting = True
            due = max(due, min(record.retry_at - now, LOOK))
        return max(held, due if due > 0 else self._app_waits(key[0]))

    def _app_waits(self, name: str) -> float:
        """Seconds that an app, or its provider, is to be left alone."""
        app = self._app(name)
        if app is None or appstate.read(self.paths, name).waits(appstate.stamp(self.paths, app), time.time()):
            return LOOK
        return self.refresher.hosts.wait(urlsplit(app.token_url).netloc)

    def _app(self, name: str) -> apps.App | None:
        try:
            app = apps.load(self.paths, name)
        except (ConfigError, OSError) as error:
            if self.told.get(name) != str(error):
                self.told[name] = str(error)
                log.event("app-unusable", level=logging.WARNING, app=name, error=str(error))
            return None
        self.told.pop(name, None)
        return app

    def _take_requests(self) -> None:
        """Files "app,address,resource,reason" of readers."""
        directory = self.paths.state / "tokens" / "request"
        for name in sorted(os.listdir(directory)):
            if name.startswith("."):
                continue
            parts = [unquote(part) for part in name.split(",")]
            with contextlib.suppress(OSError):
                (directory / name).unlink()
            if len(parts) == 4 and parts[0] in apps.names(self.paths) and "@" in parts[1]:
                wish = self.wishes.setdefault((parts[0], parts[1].lower()), Wish())
                wish.resources.add(parts[2])
                if parts[3].startswith("rejected-"):
                    wish.rejected.add(parts[3].removeprefix("rejected-"))
                wish.force = wish.force or parts[3] == "now"
                self.context.say(f"{parts[1]} (app {parts[0]}): {parts[3]}")

    def _start(self, key: Key) -> None:
        wish = self.wishes.pop(key, Wish())
        task = asyncio.create_task(self._renew(key, wish))
        self.tasks[key] = task
        task.add_done_callback(lambda _: self._done(key))

    def _done(self, key: Key) -> None:
        self.tasks.pop(key, None)
        self._wake.set()

    async def _renew(self, key: Key, wish: Wish) -> None:
        """One address; whatever is wrong with it disturbs no other."""
        try:
            outcome = await self.refresher.refresh(*key, wish)
            await self._warn(key, outcome)
            if outcome.recovered:  # mail that waited for it need not wait any longer
                await asyncio.to_thread(uses.fetch_now, self.paths, self.context.settings, Consent(*key))
        except (Temporary, ConfigError, OSError) as error:
            self._trouble(key, error)
        except Exception as error:
            log.crashed(error=repr(error), where=f"{key[1]} (app {key[0]})")
            self.not_before[key] = time.monotonic() + BUSY
            self.waiting = True
        else:
            self.told.pop(" ".join(key), None)
            failing = outcome.record is not None and outcome.record.state == store.OK and outcome.record.failing
            self.waiting = self.waiting or bool(failing)
            self.not_before[key] = time.monotonic() + (0.0 if outcome.renewed else 1.0)
            self.context.say(f"{key[1]} (app {key[0]}): {'renewed' if outcome.renewed else 'not renewed'}")

    def _trouble(self, key: Key, error: Exception) -> None:
        self.not_before[key] = time.monotonic() + BUSY
        self.waiting = True
        text = error.text if isinstance(error, Temporary) else str(error)
        if self.told.get(" ".join(key)) != text:
            self.told[" ".join(key)] = text
            log.event("unusable", level=logging.ERROR, app=key[0], address=key[1], error=text)

    # mails

    async def _warn(self, key: Key, outcome: Outcome) -> None:
        if outcome.record is None:
            return
        async with self.store.lock(*key):
            record = self.store.read(*key)
            if record is None:
                return
            found = self.store.access(*key, decrypt=False)
            expires, now = found.expires if found else 0.0, time.time()
            due = list(warnings.of_record(record, outcome.app, expires, now))
            for one in due:
                linked = warnings.with_link(one, link) if (link := self._link(one, record, outcome.app)) else one
                self._send(linked, record.account)
                warnings.remember(record.told, one, now)
            if due:
                self.store.save(record)

    def _link(self, one: warnings.Notice, record: store.Record, app: apps.App | None) -> str:
        """By which the owner can log in, where our pages are served; empty where they are not."""
        if one.kind != "needs-consent" or app is None or not self.context.settings.httpd.enabled:
            return ""
        base = app.redirect_uri.removesuffix(web.CALLBACK)
        if base == app.redirect_uri:
            return ""
        wish = Consent(record.app, record.address, record.account, record.login_as, record.mailbox)
        return web.link(self.paths, base, wish)

    def warn_of_apps(self) -> None:
        """What the postmaster is to hear."""
        for app in filter(None, map(self._app, apps.names(self.paths))):
            self._warn_of_app(app)

    def _warn_of_app(self, app: apps.App) -> None:
        known, now = appstate.read(self.paths, app.name), time.time()
        due = list(warnings.of_app(app, known, now))
        with contextlib.suppress(OSError):  # then it is said later
            for one in due:
                self._send(one, "")
                warnings.remember(known.told, one, now)
            if due:
                appstate.save(self.paths, known)

    def _send(self, one: warnings.Notice, account: str) -> None:
        """To the owner, if the matter is his, and to the postmaster. OSError."""
        known = [account] if one.owner and account and account in self.directory.names() else []
        postmaster = self.directory.postmaster()
        for name in dict.fromkeys([*known, *([postmaster] if postmaster else [])]):
            notice.put(self.paths, self.context.settings, name, one.subject, one.text, one.kind)
        if not known and not postmaster:
            log.event("untold", level=logging.WARNING, kind=one.kind, subject=one.subject)

    async def close(self) -> None:
        """Let requests under way come to their end: an answer that nobody writes down may be lost for good."""
        if self.tasks:
            await asyncio.wait(set(self.tasks.values()), timeout=STOP_ASKING)
        for task in list(self.tasks.values()):
            task.cancel()
        self.watch.close()
        os.close(self.lock)


async def serve(context: daemon.Context) -> None:
    """Work until told to stop."""
    tokend = Tokend(context)
    try:
        tokend.begin(context.settings.tokend.spread)
        context.ready()
        await context.until_stopped(tokend.work())
    finally:
        await tokend.close()


async def once(context: daemon.Context) -> int:
    """What is due now; the exit code."""
    try:
        tokend = Tokend(context)
    except daemon.Refused:
        return os.EX_OK
    try:
        tokend.begin(0.0)
        tokend.look()
        while tokend.tasks:
            await asyncio.wait(set(tokend.tasks.values()))
        tokend.warn_of_apps()
        return os.EX_TEMPFAIL if tokend.waiting else os.EX_OK
    finally:
        await tokend.close()


main = daemon.program("tokend", __doc__, serve, once=once)
