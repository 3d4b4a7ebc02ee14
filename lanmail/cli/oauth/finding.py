"""Which app an address belongs to, as far as it was said or can be told."""

import os

from lanmail.cli import command
from lanmail.oauth import apps, store, uses
from lanmail.oauth.apps import App
from lanmail.oauth.pending import Wish
from lanmail.paths import Paths


def app_of(where: Paths, name: str) -> App:
    """The app, or the end of the command with what there is. ConfigError."""
    if name not in apps.names(where):
        there = ", ".join(apps.names(where)) or "none yet"
        command.fail(f"there is no app {name!r} (there are: {there}); make it: {command.typed()} oauth app add {name}",
                     os.EX_DATAERR)
    return apps.load(where, name)


def settings_naming(where: Paths, app: str) -> list[str]:
    """Places in conf/ that name an app."""
    return [f"{use.address} ({use.where})" for use in uses.of(where, command.settings_of(where)) if use.app == app]


def wish(where: Paths, address: str, app: str = "", login_as: str = "", mailbox: str = "", account: str = "") -> Wish:
    """For whom a consent is wanted: as said, else as before, else as conf/ has it. Ends the command when unclear."""
    address = address.lower()
    kept = store.Store(where)
    mine = [use for use in uses.of(where, command.settings_of(where)) if use.address.lower() == address]
    if not app:
        known = {use.app for use in mine} | {name for name, one in kept.all() if one == address}
        candidates = sorted(known & set(apps.names(where))) or apps.names(where)
        if len(candidates) != 1:
            there = f"name it with --app: {', '.join(candidates)}" if candidates else (
                f"there is none yet; make one: {command.typed()} oauth app add NAME --preset PRESET --client-id ID")
            command.fail(f"which app? {there}", os.EX_USAGE)
        app = candidates[0]
    app_of(where, app)
    before = kept.read(app, address, decrypt=False)
    owner = next((use.account for use in mine if use.app == app and use.account), "")
    return Wish(app, address, account or (before.account if before else "") or owner,
                login_as or (before.login_as if before else ""), mailbox or (before.mailbox if before else ""))


def signed_in(where: Paths, address: str, app: str = "") -> list[str]:
    """The apps by which an address has a grant. Ends the command when there is none."""
    found = [name for name, one in store.Store(where).all(app) if one == address.lower()]
    if not found:
        command.fail(f"nobody has logged in for {address}" + (f" with app {app}" if app else ""), os.EX_NOUSER)
    return found
