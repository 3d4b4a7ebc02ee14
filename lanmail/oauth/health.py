"""How an address's tokens are: until when they are good, and what is wrong.

    rows(paths, wanted)     a `Row` for each address that has a grant, and for each wanted one that has none
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from lanmail.errors import ConfigError, MailError
from lanmail.oauth import apps, appstate, store
from lanmail.oauth.apps import App
from lanmail.oauth.store import Access, Record, Store
from lanmail.paths import Paths

OK, WARNING, BROKEN = 0, 1, 2
_LATE = 300.0  # seconds that an access token may be over before it counts as broken
_SOON = 14 * 86400.0  # seconds before the end of a refresh token
_SECRET_DAYS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong or will be; `again`: a new log-in mends it."""

    level: int
    text: str
    german: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One address at one app."""

    app: str
    address: str
    state: str  # that of the tokens, else of the record; "none", "broken"
    record: Record | None = None
    tokens: list[Access] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def level(self) -> int:
        """The worst of the findings."""
        return max((one.level for one in self.findings), default=OK)


def rows(paths: Paths, wanted: Iterable[str] = ()) -> list[Row]:
    """All, or those of the addresses that are wanted (small letters)."""
    kept, some = Store(paths), set(wanted)
    found = [_row(paths, kept, app, address) for app, address in kept.all() if not some or address in some]
    missing = some - {row.address for row in found}
    nobody = Finding(BROKEN, "nobody has logged in", "niemand ist angemeldet", again=True)
    return found + [Row("", one, "none", findings=[nobody]) for one in sorted(missing)]


def _row(paths: Paths, kept: Store, name: str, address: str) -> Row:
    try:
        record = kept.read(name, address, decrypt=False)
        there = [kept.access(name, address, one, decrypt=False) for one in kept.resources(name, address)]
    except MailError as error:
        return Row(name, address, "broken", findings=[Finding(BROKEN, error.text, error.text)])
    if record is None:
        return Row(name, address, "broken", findings=[Finding(OK, "signed out meanwhile", "inzwischen abgemeldet")])
    tokens = [one for one in there if one is not None]
    app: App | None = None
    found: list[Finding] = []
    try:
        app = apps.load(paths, name)
    except ConfigError as error:
        text = f"app {name}: {error.problems[0].text}"
        found = [Finding(BROKEN, text, text)]
    found += [*_of_record(record), *_of_tokens(record, tokens), *(_of_app(paths, app) if app else ())]
    state = next((one.state for one in tokens if one.state != store.OK), record.state)
    return Row(name, address, state, record, tokens, found)


def stamp(moment: float) -> str | None:
    """Local time for people, which sorts; None for never."""
    return time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(moment)) if moment else None


def _of_record(record: Record) -> Iterator[Finding]:
    now = time.time()
    if record.state == store.NEEDS_CONSENT:
        yield Finding(BROKEN, f"somebody has to log in again ({record.why or 'the provider wants it'})",
                      f"jemand muss sich neu anmelden ({record.why or 'der Anbieter will es'})", again=True)
    elif record.state == store.PAUSED:
        why = f": {record.why}" if record.why else ""
        yield Finding(WARNING, f"paused{why}", f"angehalten{why}")
    if record.failing and record.state == store.OK:
        text = str(record.error.get("text", ""))
        more = f": {text}" if text else ""
        yield Finding(WARNING, f"no fresh token since {stamp(record.failing)}{more}",
                      f"kein frisches Token seit {stamp(record.failing)}{more}")
    if record.testing:
        ends = stamp(record.granted + 7 * 86400)
        yield Finding(WARNING, f"the app is in \"Testing\": each log-in ends after 7 days, this one {ends}; publish it "
                               "(\"In production\"), then log in again",
                      f"die App ist noch im Test: jede Anmeldung endet nach 7 Tagen, diese {ends}; veröffentlichen Sie "
                      "sie beim Anbieter, dann neu anmelden", again=True)
    elif record.refresh_expires and record.refresh_expires - now < _SOON:
        ends = stamp(record.refresh_expires)
        yield Finding(WARNING, f"the log-in ends {ends}", f"die Anmeldung endet {ends}", again=True)


def _of_tokens(record: Record, tokens: list[Access]) -> Iterator[Finding]:
    if not tokens and record.state == store.OK:
        yield Finding(BROKEN, "there is no token for fetching and sending; does lanmail-tokend run?",
                      "es gibt kein Token zum Abrufen und Senden; läuft lanmail-tokend?")
    for one in tokens:
        if one.state == store.APP_ERROR:
            more = f"{one.resource}: {one.error.get('text', '')}".rstrip(": ")
            yield Finding(BROKEN, f"no token for {more}", f"kein Token für {more}")
        elif one.state == store.OK == record.state and one.expires < time.time() - _LATE:
            ended = stamp(one.expires)
            yield Finding(BROKEN, f"the token for {one.resource} ended {ended}; does lanmail-tokend run?",
                          f"das Token für {one.resource} endete {ended}; läuft lanmail-tokend?")


def _of_app(paths: Paths, app: App) -> Iterator[Finding]:
    known = appstate.read(paths, app.name)
    if known.waits(appstate.stamp(paths, app), time.time()):
        who, since, said = app.title or app.name, stamp(known.broken), known.error.get("text", "")
        yield Finding(BROKEN, f"{who} refuses the app itself since {since}: {said}".rstrip(": "),
                      f"{who} lehnt die App selbst ab seit {since}: {said}".rstrip(": "))
    if known.skew:
        yield Finding(WARNING, f"this machine's clock differs from the provider's by {abs(known.skew):.0f} s",
                      f"die Uhr hier geht {abs(known.skew):.0f} s anders als die des Anbieters")
    if app.client_secret_expires:
        days = (date.fromisoformat(app.client_secret_expires) - date.today()).days
        if days < 0:
            yield Finding(BROKEN, f"the secret of app {app.name} ended on {app.client_secret_expires}",
                          f"der Schlüssel der App {app.name} endete am {app.client_secret_expires}")
        elif days <= _SECRET_DAYS:
            yield Finding(WARNING, f"the secret of app {app.name} ends on {app.client_secret_expires}, in {days} days",
                          f"der Schlüssel der App {app.name} endet am {app.client_secret_expires}, in {days} Tagen")
