"""/admin/accounts/NAME/outgoing: how mail of an account leaves: which way, what is done to it, whether it works."""

import base64
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from lanmail.administration import smimefiles
from lanmail.outgoing import OWN_WAY, Outgoing
from lanmail.web import fields, reasons
from lanmail.web.api.frame import STATUS, Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import Form, Visit, Visitor
from lanmail.web.words.outgoing import WORDS, changes

router = APIRouter()
HERE = "/admin/accounts/{name}/outgoing"
WAY = ["transport"]
SECTIONS: list[tuple[str, tuple[str, str], list[str]]] = [
    ("smtp", ("SMTP server", "SMTP-Server"), ["host", "port", "tls", "auth", "user", "password", "app"]),
    ("folder", ("Save in a folder", "In einem Ordner speichern"), ["folder.path", "folder.envelope"]),
    ("http", ("HTTP POST", "HTTP POST"), ["http.url", "http.variable", "http.authorization", "http.sender_field",
                                          "http.recipients_field", "http.headers", "http.secret_headers",
                                          "http.timeout"]),
    ("webspace", ("Web space", "Webspace"), [
        "webspace.url", "webspace.script_password", "webspace.upload", "webspace.host", "webspace.port",
        "webspace.user", "webspace.password", "webspace.private_key", "webspace.host_key", "webspace.directory",
        "webspace.mode", "webspace.smtp_host", "webspace.smtp_port", "webspace.smtp_tls", "webspace.smtp_user",
        "webspace.smtp_password", "webspace.timeout"]),
    ("graph", ("Microsoft Graph", "Microsoft Graph"), ["graph.mailbox", "graph.url", "graph.allow_partial",
                                                       "graph.timeout"]),
    ("limits", ("Sender and limits", "Absender und Grenzen"), ["overwrite_sender", "max_size", "max_recipients", "rate",
                                                               "hold"]),
    ("smime", ("S/MIME", "S/MIME"), ["smime.sign", "smime.certificate", "smime.key", "smime.password", "smime.encrypt",
                                     "smime.expired"]),
    ("more", ("Connection", "Verbindung"), [
        "tls_min", "tls_max", "tls_verify", "tls_ca", "tls_fingerprint", "mechanism", "helo", "connections", "proxy",
        "proxy_user", "proxy_password"]),
]
Shown = list[tuple[str, str, list[Field]]]


@router.get(HERE)
def show(visit: Visitor, name: str) -> Response:
    """What counts for the account."""
    known = visit.call("outgoing.get", name=name)
    return _page(visit, known, _sections(visit, known))


@router.post(HERE)
def change(visit: Visitor, form: Form, name: str) -> Response:
    """Set what was changed, or let that of all count again."""
    known = visit.call("outgoing.get", name=name)
    shown = _sections(visit, known)
    settings: dict[str, Any] | None = None
    if "default" not in form:
        settings = _as_for_all(known, fields.changes([one for _, _, inner in shown for one in inner], form))
    version = str(form.get("version", ""))
    try:
        visit.call("outgoing.set", name=name, settings=settings, if_version=version)
    except Refused as refused:
        field = (refused.field or "").removeprefix("outgoing.")
        marked = [(key, title, fields.marked(inner, field, refused.message, form)) for key, title, inner in shown]
        return _page(visit, known, marked, refused=refused, version=version)
    return visit.done(f"/admin/accounts/{known['name']}/outgoing", visit.say("Saved.", "Gespeichert."))


@router.post(HERE + "/test")
def test(visit: Visitor, form: Form, name: str) -> Response:
    """Try the way: connect and log in, but send nothing."""
    known = visit.call("outgoing.get", name=name)
    to = str(form.get("to", "")).strip()
    try:
        tried, refused = visit.call("outgoing.test", name=name, to=to), None
    except Refused as error:
        tried, refused = None, error
    return _page(visit, known, _sections(visit, known), tried=tried, refused=refused, to=to)


@router.post(HERE + "/certificate")
def certify(visit: Visitor, form: Form, name: str) -> Response:
    """Sign with a certificate that somebody chose on his computer."""
    known, file = visit.call("outgoing.get", name=name), form.get("file")
    data = file.file.read(smimefiles.LIMIT + 1) if isinstance(file, UploadFile) else b""
    try:
        visit.call("outgoing.set_certificate", name=name, data=base64.b64encode(data).decode(),
                   password=str(form.get("password", "")), sign="sign" in form)
    except Refused as refused:
        return _page(visit, known, _sections(visit, known), wrong_certificate=refused)
    return visit.done(f"/admin/accounts/{known['name']}/outgoing", visit.say(
        "The certificate is kept; it counts at once.", "Das Zertifikat ist gespeichert und gilt sofort."))


@router.post(HERE + "/certificate/remove")
def uncertify(visit: Visitor, form: Form, name: str) -> Response:
    """Sign no more with the account's own."""
    del form
    visit.call("outgoing.remove_certificate", name=name)
    return visit.done(f"/admin/accounts/{name.lower()}/outgoing", visit.say(
        "The certificate and its key are removed.", "Das Zertifikat und sein Schlüssel sind entfernt."))


def _as_for_all(known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Whoever chooses the way of all takes it with its server, unless he names one."""
    if changes.get("transport") != known["office"]["transport"]:
        return changes
    made = {**changes, "transport": None}
    for key in known["own"]:
        top, _, inner = key.partition(".")
        if top in OWN_WAY and top not in changes:
            if inner:
                made.setdefault(top, {})[inner] = None
            else:
                made[top] = None
    return made


def _page(visit: Visit, known: dict[str, Any], shown: Shown, *, refused: Refused | None = None,
          tried: dict[str, Any] | None = None, to: str = "", version: str = "",
          wrong_certificate: Refused | None = None) -> Response:
    placed = any(one.problem for _, _, inner in shown for one in inner)
    failed = refused or wrong_certificate
    return visit.page(
        "outgoing.html", status=STATUS[failed.code] if failed else 200, name=known["name"], known=known,
        sections=shown, tried=tried, to=to, version=version or known["version"],
        changes=changes(known["changes"], known["settings"], visit.language),
        means=reasons.plain((tried or {}).get("problem")),
        signs=visit.call("outgoing.certificate", name=known["name"]), wrong_certificate=wrong_certificate,
        wrong_to=refused is not None and refused.field == "to",
        problem="" if refused is None else _problem(visit, refused, placed))


def _problem(visit: Visit, refused: Refused, placed: bool) -> str:
    if refused.code == "conflict":
        return visit.say("Somebody else changed this account meanwhile. Nothing was saved; look at it again.",
                         "Jemand anders hat dieses Konto inzwischen geändert. Nichts wurde gespeichert; "
                         "bitte noch einmal ansehen.")
    return visit.say("Nothing was saved: see below.", "Nichts wurde gespeichert: siehe unten.") if placed \
        else refused.message


def _sections(visit: Visit, known: dict[str, Any]) -> Shown:
    way = ("way", visit.say("Way", "Weg"), WAY)
    return [(key, title, fields.of(Outgoing, keys, known["settings"], WORDS, visit.language))
            for key, title, keys in [way, *((key, visit.say(*title), keys) for key, title, keys in SECTIONS)]]
