"""/admin/settings: lanmail.toml section by section, what is wrong in conf/, and the programs asked to take it over."""

import itertools
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import schema
from lanmail.administration import asking
from lanmail.conffile import Key
from lanmail.settings import Settings
from lanmail.web import fields
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import Form, Refusal, Visit, Visitor
from lanmail.web.words import settings as words

router = APIRouter()
HERE = "/admin/settings"
# Keys that mean something else when they are empty than when they are left out.
EMPTY: dict[str, Any] = {"deliver.sub_address_separator": "", "imapd.shared_namespace": "", "imapd.users_namespace": "",
                         "auth.cleartext_networks": [], "incoming.exclude": [], "httpd.metrics_networks": []}


@router.get(HERE)
def show(visit: Visitor) -> Response:
    """All sections, and what is wrong."""
    try:
        own: list[str] | None = visit.call("config.get")["own"]
    except Refused:
        own = None  # the check below says why
    sections = [{"name": name, "title": visit.say(*title), "about": _about(visit, (name,)),
                 "own": sum(key.startswith(f"{name}.") for key in own or ())} for name, title in words.SECTIONS.items()]
    return visit.page("settings.html", sections=sections, broken=own is None, checked=visit.call("config.check"))


@router.post(HERE)
def reload(visit: Visitor, form: Form) -> Response:
    """Have the programs take over what stands in the file."""
    visit.call("config.reload")
    return visit.done(HERE, visit.say("The programs take the settings over within seconds.",
                                      "Die Programme übernehmen die Einstellungen innerhalb von Sekunden."))


@router.get(HERE + "/{section}")
def one(visit: Visitor, section: str) -> Response:
    """The form of a section."""
    known = _known(visit, section)
    return _page(visit, section, known, _fields(visit, section, known))


@router.post(HERE + "/{section}")
def change(visit: Visitor, section: str, form: Form) -> Response:
    """Save what was changed, and have the programs take it over."""
    known = _known(visit, section)
    shown = _fields(visit, section, known)
    changes = _changes(shown, form)
    try:
        found = visit.call("config.set", settings=changes, if_version=str(form.get("version", ""))[:64]) \
            if changes else {"waits": []}
    except Refused as refused:
        marked = fields.marked(shown, refused.field, refused.message, form)
        return _page(visit, section, known, marked, refused)
    return visit.done(f"{HERE}/{section}", _taken_over(visit, found["waits"]))


def _taken_over(visit: Visit, waits: list[str]) -> str:
    try:
        visit.call("config.reload")
    except Refused as refused:
        return visit.say("Saved, but the programs cannot take it over: ",
                         "Gespeichert, aber die Programme können es nicht übernehmen: ") + refused.message
    if waits:
        return visit.say(f"Saved. It counts when the programs are started again: {', '.join(waits)}.",
                         f"Gespeichert. Das gilt erst, wenn die Programme neu gestartet werden: {', '.join(waits)}.")
    return visit.say("Saved; the programs take it over within seconds.",
                     "Gespeichert; die Programme übernehmen es innerhalb von Sekunden.")


def _known(visit: Visit, section: str) -> dict[str, Any]:
    if section not in words.SECTIONS:
        raise Refusal(404, "There is no such section.", "Diesen Abschnitt gibt es nicht.")
    found: dict[str, Any] = visit.call("config.get")
    return found


def _fields(visit: Visit, section: str, known: dict[str, Any]) -> list[Field]:
    keys = [".".join(key) for key, _ in schema.fields(Settings) if key[0] == section]
    shown = fields.of(Settings, keys, known["settings"], words.WORDS, visit.language, own=known["own"])
    later = visit.say("Counts when the programs are started again.", "Gilt erst nach einem Neustart der Programme.")
    return [replace(field, help=f"{field.help} {later}") if asking.waits(tuple(field.key.split("."))) else field
            for field in shown]


def _changes(shown: list[Field], form: Form) -> dict[str, Any]:
    changes = fields.changes(shown, form)
    for key, empty in EMPTY.items():
        section, _, name = key.partition(".")
        if name in changes.get(section, {}) and changes[section][name] is None:
            changes[section][name] = empty
    return changes


def _page(visit: Visit, section: str, known: dict[str, Any], shown: list[Field],
          refused: Refused | None = None) -> Response:
    """The form; sections within the section under headings of their own."""
    parts = [{"title": visit.say(*words.PARTS.get(".".join(path), ("", ""))), "about": _about(visit, path),
              "fields": list(group)}
             for path, group in itertools.groupby(shown, lambda field: tuple(field.key.split(".")[:-1]))]
    placed = any(field.problem for field in shown)
    return visit.page("settings-section.html", status=400 if refused else 200,
                      title=visit.say(*words.SECTIONS[section]),
                      section=section, parts=parts, version=known["version"],
                      problem=refused.message if refused and not placed else "")


def _about(visit: Visit, path: Key) -> str:
    model = schema.section(Settings, path)
    english = (model.__doc__ or "").strip() if model else ""
    return " ".join(visit.say(english, words.ABOUT.get(".".join(path), english)).split())
