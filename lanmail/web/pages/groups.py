"""/admin/groups: addresses whose mail goes to several people, and who is in them in the end."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import groups
from lanmail.groups import Group
from lanmail.web import fields
from lanmail.web.api.frame import STATUS, Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import Form, Visit, Visitor
from lanmail.web.words import groups as words

router = APIRouter()
LIST, NEW = "/admin/groups", "/admin/new-group"
SHOWN = 50
KEYS = ("members", "may_post", "owner", "send_as", "reply_to", "subject_tag", "copy_to_sender", "list_id", "domains")
FIRST = ("members", "may_post")  # what a new group needs
MORE = "may_post_more"  # the names beside the three words


@router.get(LIST)
def show(visit: Visitor, search: str = "", offset: int = 0) -> Response:
    """All groups."""
    found = visit.call("group.list", search=search[:200], offset=max(0, offset), limit=SHOWN)
    return visit.page("groups.html", found=found, search=search[:200], offset=max(0, offset), limit=SHOWN,
                      writers=lambda one: _writers(visit, one))


@router.get(NEW)
def new(visit: Visitor) -> Response:
    """The form of a new group."""
    return _new(visit, "", _fields(visit, _defaults(), FIRST))


@router.post(NEW)
def create(visit: Visitor, form: Form) -> Response:
    """Make it."""
    name = str(form.get("name", "")).strip()
    shown = _fields(visit, _defaults(), FIRST)
    try:
        made = visit.call("group.create", name=name, settings=_changes(shown, form))
    except Refused as refused:
        return _new(visit, name, _marked(visit, shown, refused, form), refused)
    return visit.done(f"{LIST}/{made['name']}", visit.say(f"{made['addresses'][0]} is there; it counts at once.",
                                                          f"{made['addresses'][0]} ist da und gilt sofort."))


@router.get(LIST + "/{name}")
def one(visit: Visitor, name: str) -> Response:
    """One group, its settings and who is in it."""
    known = visit.call("group.get", name=name)
    return _one(visit, known, _fields(visit, known["settings"], KEYS))


@router.post(LIST + "/{name}")
def change(visit: Visitor, name: str, form: Form) -> Response:
    """Change its settings."""
    known = visit.call("group.get", name=name)
    shown = _fields(visit, known["settings"], KEYS)
    changes = _changes(shown, form)
    try:
        if changes:
            visit.call("group.modify", name=name, settings=changes, if_version=str(form.get("version", ""))[:64])
    except Refused as refused:
        return _one(visit, known, _marked(visit, shown, refused, form), refused)
    return visit.done(f"{LIST}/{known['name']}", visit.say("Saved; it counts from now on.",
                                                           "Gespeichert; es gilt ab jetzt."))


@router.get(LIST + "/{name}/rename")
def ask_name(visit: Visitor, name: str) -> Response:
    """The form for another name."""
    known = visit.call("group.get", name=name)
    return visit.page("group-rename.html", name=known["name"], given="", problem="")


@router.post(LIST + "/{name}/rename")
def rename(visit: Visitor, name: str, form: Form) -> Response:
    """Give it another name."""
    given = str(form.get("new_name", "")).strip()
    try:
        made = visit.call("group.rename", name=name, new_name=given, alias="alias" in form)
    except Refused as refused:
        return visit.page("group-rename.html", status=STATUS[refused.code], name=name.lower(), given=given,
                          problem=refused.message)
    return visit.done(f"{LIST}/{made['name']}", visit.say("Renamed; what names the group names it anew.",
                                                          "Umbenannt; was die Gruppe nennt, nennt sie jetzt neu."))


@router.get(LIST + "/{name}/remove")
def ask(visit: Visitor, name: str) -> Response:
    """Whether it is really to be removed."""
    return visit.page("group-remove.html", known=visit.call("group.get", name=name))


@router.post(LIST + "/{name}/remove")
def remove(visit: Visitor, name: str, form: Form) -> Response:
    """Remove it, and say what still names it."""
    found = visit.call("group.delete", name=name)
    left = "; ".join(words.left(text) if visit.language == "de" else text for text in found["left"])
    said = visit.say(f"The group {found['name']} is removed.", f"Die Gruppe {found['name']} ist entfernt.")
    return visit.done(LIST, said + (visit.say(f" Still to be mended: {left}.", f" Noch zu ändern: {left}.")
                                    if left else ""))


def _new(visit: Visit, name: str, shown: list[Field], refused: Refused | None = None) -> Response:
    return visit.page("group-new.html", status=400 if refused else 200, name=name, fields=shown,
                      **_told(visit, shown, refused))


def _one(visit: Visit, known: dict[str, Any], shown: list[Field], refused: Refused | None = None) -> Response:
    wrong = known["problems_de"] if visit.language == "de" else [
        text.partition("': ")[2] for text in known["problems"]]
    return visit.page("group.html", status=400 if refused else 200, known=known, fields=shown, wrong=wrong,
                      everyone=known["name"] == "everyone", **_told(visit, shown, refused))


def _told(visit: Visit, shown: list[Field], refused: Refused | None) -> dict[str, str]:
    """The problem at the name, or above the form when no field has it."""
    said = refused.message if refused else ""
    about_name = refused is not None and refused.field == "name"
    placed = about_name or any(field.problem for field in shown)
    return {"problem": "" if placed else said, "name_problem": said if about_name else ""}


def _defaults() -> dict[str, Any]:
    return Group(name="x").model_dump(mode="json")


def _writers(visit: Visit, group: dict[str, Any]) -> str:
    """Who may write to it, for people."""
    called = [words.POSTERS[one][visit.language == "de"] if one in words.POSTERS else one
              for one in group["settings"]["may_post"]]
    return ", ".join(called) or visit.say("nobody", "niemand")


def _fields(visit: Visit, settings: dict[str, Any], keys: tuple[str, ...]) -> list[Field]:
    """Those of the settings; who may write is boxes for the three words, and lines for names."""
    made: list[Field] = []
    for field in fields.of(Group, keys, settings, words.WORDS, visit.language):
        if field.key == "may_post":
            picked = [one for one in field.value if one in groups.WORDS]
            made.append(replace(field, kind="many", choices=groups.WORDS, value=picked, help=visit.say(
                "All others are refused while they send (550 5.7.1).", field.help)))
            sentence = visit.say("Accounts, groups and addresses, one in each line.",
                                 "Konten, Gruppen und Adressen, in jeder Zeile eines davon.")
            field = replace(field, key=MORE, label=visit.say("and these", "und diese"), help=sentence,
                            value=[one for one in field.value if one not in groups.WORDS])
        made.append(field)
    return made


def _changes(shown: list[Field], form: Form) -> dict[str, Any]:
    """What is to be set: the two fields of may_post together."""
    said = fields.changes(shown, form)
    if {"may_post", MORE} & said.keys():
        before = {field.key: field.value for field in shown}
        said["may_post"] = [*said.get("may_post", before["may_post"]), *(said.pop(MORE, before[MORE]) or [])]
    return said


def _marked(visit: Visit, shown: list[Field], refused: Refused, form: Form) -> list[Field]:
    key = MORE if refused.field == "may_post" else refused.field
    return fields.marked(shown, key, refused.message, form)
