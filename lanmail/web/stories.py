"""The log lines about one mail, in words for people: what happened, step by step.

    tell("deferred", {"reason": "451 4.2.2 full", "retry_in": "300.000"})    ("Could not …", "Ging noch nicht …")

The line itself stands beside it on the page; a line that is not known here is shown as it is.
"""

from collections.abc import Mapping

from lanmail.web import reasons, views
from lanmail.web.reasons import Words

FAILED = ("rejected", "deferred", "tried", "failed", "untold", "bounced", "undeliverable", "held", "returned")  # marked
_OF: dict[str, Words] = {  # how it came in
    "submission": ("Handed in by {account}", "Eingereicht von {account}"),
    "mx": ("Came from another server ({client})", "Kam von einem anderen Server ({client})"),
    "lan": ("Handed in by a device in the LAN ({client})", "Eingereicht von einem Gerät im LAN ({client})"),
    "lmtp": ("Came from a server in front of this one ({client})", "Kam von einem vorgeschalteten Server ({client})"),
    "pickup": ("Dropped as a file", "Als Datei abgelegt"),
    "fetch": ("Fetched from {source}", "Abgeholt von {source}"),
}
_CAME: Words = ("Came in", "Kam herein")
_SAID: dict[str, Words] = {
    "rejected": ("Refused, it never was here: {reply}", "Abgelehnt, sie war nie hier: {reply}"),
    "delivered": ("Put into the mailbox of {account}, folder {folder}",
                  "In das Postfach von {account} gelegt, Ordner {folder}"),
    "outbound": ("Handed on to be sent to {to}", "Zum Versand an {to} weitergegeben"),
    "deferred": ("Could not be done yet: {reason}. Next try in {retry_in}",
                 "Ging noch nicht: {reason}. Nächster Versuch in {retry_in}"),
    "sent": ("Sent to {to}: {host} has taken it", "An {to} gesendet: {host} hat sie angenommen"),
    "tried": ("{host} did not take it for {to} yet: {reply}",
              "{host} hat sie für {to} noch nicht angenommen: {reply}"),
    "failed": ("Refused for good for {to}: {reply}", "Für {to} endgültig abgelehnt: {reply}"),
    "resumed": ("Sent again after an interruption; it may arrive twice",
                "Nach einer Unterbrechung noch einmal gesendet; sie kommt vielleicht doppelt an"),
    "split": ("Goes out in {parts} mails", "Geht in {parts} Mails hinaus"),
    "notified": ("{to} was told: {action}", "{to} wurde benachrichtigt: {action}"),
    "untold": ("It failed for {to}, and nobody could be told: {reply}",
               "Sie scheiterte für {to}, und niemand konnte es erfahren: {reply}"),
    "bounced": ("The sender was told that {to} does not get it: {reply}",
                "Der Absender erfuhr, dass {to} sie nicht bekommt: {reply}"),
    "returned": ("The forward failed, so it came back to {account}",
                 "Die Weiterleitung scheiterte, deshalb kam sie zu {account} zurück"),
    "undeliverable": ("Nobody could be told, so {account} got it: {why}",
                      "Niemand konnte es erfahren, deshalb bekam {account} sie: {why}"),
    "held": ("Held: {why}", "Angehalten: {why}"),
    "retried": ("Somebody had it tried again", "Jemand ließ es noch einmal versuchen"),
    "released": ("Somebody released it", "Jemand hat sie freigegeben"),
    "removed": ("Somebody removed it", "Jemand hat sie gelöscht"),
    "filtered": ("The filter {filter} says: {verdict} ({why})", "Der Filter {filter} sagt: {verdict} ({why})"),
    "unfiltered": ("The filter {filter} did not work, so it went on without",
                   "Der Filter {filter} ging nicht, deshalb ging sie ohne weiter"),
    "forwarded": ("{account} forwards it to {to}", "{account} leitet sie an {to} weiter"),
    "forward-loop": ("Not forwarded once more, it was at {account} before",
                     "Nicht noch einmal weitergeleitet, sie war schon bei {account}"),
    "forward-ends": ("The forwards lead in a circle, {account} keeps it",
                     "Die Weiterleitungen führen im Kreis, {account} behält sie"),
    "target-unknown": ("{via} names {to}, who is not there", "{via} nennt {to}, den oder die es nicht gibt"),
    "group-empty": ("Nobody is in the group {group}", "In der Gruppe {group} ist niemand"),
    "group-ring": ("The group {group} is a member of itself", "Die Gruppe {group} ist Mitglied ihrer selbst"),
    "group-refused": ("The group {group} does not take it", "Die Gruppe {group} nimmt sie nicht an"),
    "target-refused": ("{account} does not take what {via} forwards",
                       "{account} nimmt nicht an, was {via} weiterleitet"),
    "denied-internet": ("Not sent to {to}: {account} must not send outside",
                        "Nicht an {to} gesendet: {account} darf nicht nach außen senden"),
    "unanswered": ("{account} did not answer automatically: {why}",
                   "{account} hat nicht automatisch geantwortet: {why}"),
    "made": ("A new mail or job came of it: {what}", "Daraus entstand eine neue Mail oder ein Auftrag: {what}"),
    "consumed": ("Carried out for {account}, not delivered: {why}",
                 "Für {account} ausgeführt, nicht zugestellt: {why}"),
    "command": ("A command of {account}: {command}", "Ein Befehl von {account}: {command}"),
    "einvoice": ("E-invoice mailbox of {account}: {kind}", "E-Rechnungs-Postfach von {account}: {kind}"),
    "einvoice-saved": ("The invoice's XML was saved for {account}",
                       "Das XML der Rechnung wurde für {account} gespeichert"),
    "archived": ("Archived", "Archiviert"),
    "restored": ("Put back from the archive for {account}", "Aus dem Archiv für {account} zurückgeholt"),
    "spool-failed": ("The disk would not take it: {error}", "Die Festplatte nahm sie nicht an: {error}"),
}


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def tell(event: str, fields: Mapping[str, str]) -> Words | None:
    """In English and German; None for an event that only programmers know."""
    known = _Known(fields)
    if "retry_in" in fields:
        try:
            known["retry_in"] = views.span(float(fields["retry_in"]))
        except ValueError:
            pass
    if event == "accepted":
        english, german = _OF.get(fields.get("origin", ""), _CAME)
        english, german = english + ": from {from} to {to}", german + ": von {from} an {to}"
    elif event in _SAID:
        english, german = _SAID[event]
    else:
        return None
    said = next((fields[key] for key in ("reply", "reason", "why", "error") if fields.get(key)), None)
    means = reasons.plain(said) if event not in ("sent", "filtered") else None
    more = (f" – {means[0]}", f" – {means[1]}") if means else ("", "")
    return english.format_map(known) + more[0], german.format_map(known) + more[1]
