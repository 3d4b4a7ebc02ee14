"""/admin/status: what is wrong, what runs, what waits, and how it was the last day or week, in charts.

A small script fetches the part that changes every half a minute; without it the page is as old as it looks.
"""

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.web import charts, views
from lanmail.web.pages.frame import POLICY, Visit, Visitor

router = APIRouter()

DOES = {
    "deliver": ("puts mail into mailboxes", "legt Mails in die Postfächer"),
    "relay": ("sends mail to the outside", "sendet Mails nach außen"),
    "archived": ("keeps the archive", "führt das Archiv"),
    "tokend": ("renews log-ins at providers", "erneuert Anmeldungen bei Anbietern"),
    "fetchmail": ("fetches external mailboxes", "holt externe Postfächer ab"),
    "smtpd": ("receives mail", "nimmt Mails an"),
    "pop3d": ("lets clients fetch mail (POP3)", "lässt Mails abholen (POP3)"),
    "imapd": ("lets clients read mail (IMAP)", "lässt Mails lesen (IMAP)"),
    "httpd": ("serves these pages", "liefert diese Seiten"),
}
STATES = {
    "running": ("runs", "läuft"), "silent": ("hangs", "hängt"), "stopped": ("stopped", "angehalten"),
    "killed": ("died", "abgebrochen"), "never": ("never ran", "lief noch nie"),
    "off": ("switched off", "ausgeschaltet"),
}
SPOOLS = {
    "queue": ("for mailboxes here", "für Postfächer hier"), "outbound": ("to the outside", "nach außen"),
    "hold": ("held, for a person to look at", "angehalten, ein Mensch muss nachsehen"),
    "archive": ("for the archive", "für das Archiv"), "jobs": ("short messages and jobs", "SMS und Aufträge"),
    "pickup": ("dropped files", "abgelegte Dateien"),
}
HEALTH = {
    "ok": ("all right", "in Ordnung"), "new": ("not visited yet", "noch nicht besucht"),
    "waiting": ("waiting", "wartend"), "late": ("late", "verspätet"), "failing": ("failing", "fehlgeschlagen"),
    "refused": ("log-in refused", "Anmeldung abgelehnt"), "stopped": ("stopped", "angehalten"),
    "incomplete": ("incomplete", "unvollständig"), "off": ("switched off", "ausgeschaltet"),
}
LEVELS = (("all right", "in Ordnung"), ("to be looked at", "bald anzusehen"), ("broken", "gestört"))
BUSY = 10  # accounts that are shown


@router.get("/admin/status")
def show(visit: Visitor, span: str = "day") -> Response:
    """The page."""
    return visit.page("status.html", **_words(visit, span))


@router.get("/admin/status/now")
def now(visit: Visitor, span: str = "day") -> Response:
    """The part of the page that changes."""
    answer = views.page(visit.request, "status-now.html", visit=visit, **_words(visit, span))
    answer.headers.update(POLICY)
    return answer


def _words(visit: Visit, asked: str) -> dict[str, Any]:
    span: charts.Span = "week" if asked == "week" else "day"
    known = visit.call("server.status")
    points = visit.call("server.history", span=span)["points"]
    for one in known["troubles"]:
        one["page"] = one["page"] if _is_there(visit, one["page"]) else ""
    return {
        "known": known, "span": span, "now": time.time(), "charts": _charts(visit, points, span),
        "busy": _busy(visit.call("server.stats")["days"]), "there": {one.path for one in visit.office}, "does": DOES,
        "states": STATES, "spools": SPOOLS, "health": HEALTH, "levels": LEVELS,
        "boxes": _count(one["state"] for one in known["mailboxes"]),
        "grants": _count(one["level"] for one in known["tokens"])}


def _is_there(visit: Visit, path: str) -> bool:
    """Whether a page that something leads to is served."""
    parts = path.partition("?")[0].split("/")
    served = (page.split("/") for page in visit.request.app.state.pages)
    return any(len(page) == len(parts) and all(one == mine or one.startswith("{") for one, mine in zip(
        page, parts, strict=True)) for page in served)


def _busy(days: list[dict[str, Any]]) -> list[tuple[str, dict[str, int]]]:
    """The accounts with the most mail of these days."""
    total: dict[str, dict[str, int]] = {}
    for day in days:
        for name, row in day["accounts"].items():
            mine = total.setdefault(name, dict.fromkeys(row, 0))
            for key, value in row.items():
                mine[key] += value
    return sorted(total.items(), key=lambda one: (-one[1]["received"] - one[1]["sent"], one[0]))[:BUSY]


def _count(words: Any) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return found


def _charts(visit: Visit, points: list[dict[str, Any]], span: charts.Span) -> list[tuple[charts.Chart, str]]:
    """Each with the sentence that says the same."""
    ats = [one["at"] for one in points]

    def column(name: str) -> list[float | None]:
        return [one[name] for one in points]

    waiting = [None if one["queue"] is None else one["queue"] + one["outbound"] for one in points]
    wanted = (
        (visit.say("Mail accepted", "Angenommene Mails"), column("accepted"), True),
        (visit.say("Put into mailboxes", "In Postfächer gelegt"), column("delivered"), True),
        (visit.say("Sent to the outside", "Nach außen gesendet"), column("sent"), True),
        (visit.say("Refused while connected", "Bei der Annahme abgelehnt"), column("rejected"), True),
        (visit.say("Waiting mail", "Wartende Mails"), waiting, False),
        (visit.say("External mailboxes with problems", "Externe Postfächer mit Problemen"),
         column("mailboxes_failing"), False),
    )
    return [(charts.bars(title, ats, values, span), _said(visit, ats, values, summed))
            for title, values, summed in wanted]


def _said(visit: Visit, ats: list[float], values: list[float | None], summed: bool) -> str:
    known = [(one, at) for one, at in zip(values, ats, strict=True) if one is not None]
    if not known:
        return visit.say("Nothing is known of this time.", "Aus dieser Zeit ist nichts bekannt.")
    most, at = max(known, key=lambda one: one[0])
    if not most:
        return visit.say("None.", "Keine.")
    when = f"{most:.0f} ({views.moment(at)})"
    if summed:
        total = sum(one for one, _ in known)
        return visit.say(f"{total:.0f} in all, at most {when}", f"Insgesamt {total:.0f}, höchstens {when}")
    return visit.say(f"Now {known[-1][0]:.0f}, at most {when}", f"Jetzt {known[-1][0]:.0f}, höchstens {when}")
