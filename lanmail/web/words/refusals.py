"""Why a call was refused, in German, for pages: by its code and what it is about, never by its English sentence.

What is wrong with a value is said by the rule that it breaks (`findings`). What nobody has thought of gets the sentence
of its code; so a refusal on a German page is German, whatever the API says.
"""

import re

from lanmail.web.api.frame import Refused
from lanmail.web.words import findings

_NAME = "Ein Name hat nur die Buchstaben a bis z, Ziffern, „.“, „_“ und „-“ (keine Umlaute), höchstens 64 " \
        "Zeichen, und ist nicht reserviert."
_TAKEN = "Diesen Namen gibt es schon: Ein Konto, ein Alias oder eine Gruppe heißt so."
_NOBODY = "Das gibt es hier nicht. Schreiben Sie ein Konto, einen Alias, eine Gruppe oder eine Adresse außerhalb."
_TARGET = "Dorthin kann dieses Konto nicht weiterleiten: Es ist das Konto selbst, es darf nichts ins Internet " \
          "senden, oder es sind mehr als 50 Ziele."
_DAY = "Das ist kein Tag und keine Uhrzeit, oder das Ende liegt vor dem Anfang."
_OFFICE = "Das legt der Administrator fest."
_LATER = "Das geht gerade nicht; bitte versuchen Sie es in einer Minute noch einmal."

# noun of the API, or method → (code, field) → sentence; an empty field is any
_SAID: dict[str, dict[tuple[str, str], str]] = {
    "account": {
        ("exists", "name"): _TAKEN, ("exists", "new_name"): _TAKEN, ("invalid_field", "name"): _NAME,
        ("invalid_field", "new_name"): "Dieser Name geht nicht: " + _NAME + " Er darf auch kein Alias sein, und unter "
                                       "ihm darf keine Mail eines früheren Kontos liegen.",
        ("invalid_field", "password"): "Ein Konto braucht ein Passwort von 1 bis 1024 Zeichen; nur ein Team-Postfach "
                                       "kommt ohne aus.",
        ("not_found", "name"): "Dieses Konto gibt es nicht.",
        ("refused_by_rule", "name"): "Dieses Konto ist der Postmaster. Machen Sie erst ein anderes dazu.",
        ("forbidden", "old"): "Das ist nicht Ihr Passwort.",
        ("not_found", "forward.to"): _NOBODY, ("not_found", "autoresponder.forward"): _NOBODY,
        ("not_found", "einvoice.forward"): _NOBODY, ("not_found", "einvoice.other_forward"): _NOBODY,
        ("refused_by_rule", "forward.to"): _TARGET, ("refused_by_rule", "autoresponder.forward"): _TARGET,
        ("refused_by_rule", "einvoice.forward"): _TARGET, ("refused_by_rule", "einvoice.other_forward"): _TARGET,
        ("rate_limited", ""): "Zu viele falsche Passwörter: Bitte warten Sie einen Moment.",
    },
    "account.password": {("invalid_field", "password"): "Ein Passwort hat 8 bis 1024 Zeichen."},
    "account.autoresponder_test": {
        ("invalid_field", "sender"): "Das ist keine Mailadresse.",
        ("invalid_field", "recipient"): "Das ist keine Mailadresse.", ("invalid_field", "at"): _DAY,
        ("invalid_field", "from"): _DAY, ("invalid_field", "until"): _DAY, ("invalid_field", "autoresponder"): _DAY,
    },
    "account.autoresponder": {
        ("invalid_field", "from"): _DAY, ("invalid_field", "until"): _DAY, ("invalid_field", "autoresponder"): _DAY,
        ("forbidden", "autoresponder.domain"): "Von dieser Domain darf das Konto nicht antworten; der Administrator "
                                               "kann es einstellen.",
    },
    "alias": {
        ("exists", "address"): _TAKEN,
        ("not_found", "address"): "Diesen Alias gibt es nicht, oder er führt nicht dorthin.",
        ("invalid_field", "address"): "Schreiben Sie einen Namen wie info oder eine Adresse in einer Domain dieses "
                                      "Servers; der Name darf nicht reserviert sein.",
        ("invalid_field", "to"): "Wohin? Schreiben Sie ein Konto, eine Gruppe oder eine Adresse außerhalb; der Alias "
                                 "selbst geht nicht.",
    },
    "group": {
        ("exists", "name"): _TAKEN, ("exists", "new_name"): _TAKEN,
        ("invalid_field", "name"): _NAME, ("invalid_field", "new_name"): _NAME,
        ("not_found", "name"): "Diese Gruppe gibt es nicht.",
        ("invalid_field", "members"): _NOBODY, ("invalid_field", "may_post"): _NOBODY,
        ("invalid_field", "owner"): _NOBODY,
        ("not_found", "members"): "Jemand davon ist kein Mitglied dieser Gruppe.",
    },
    "config": {("not_found", ""): "Diese Einstellung gibt es nicht."},
    "outgoing": {
        ("invalid_field", "to"): "Schreiben Sie eine Adresse außerhalb, deren Server geprüft werden soll.",
        ("not_found", "name"): "Dieses Konto gibt es nicht.",
    },
    "outgoing.set_certificate": {
        ("invalid_field", "data"): "Bitte wählen Sie eine Datei mit Zertifikat und Schlüssel.",
        ("invalid_field", "password"): "Das Passwort stimmt nicht.",
    },
    "external": {
        ("invalid_field", "host"): "Welcher Server hat dieses Postfach? Bitte eintragen oder den Anbieter wählen.",
        ("refused_by_rule", ""): "Das geht so nicht; fragen Sie den Administrator.",
        ("invalid_field", "password"): "Bitte geben Sie das Passwort (noch einmal) ein, in einer Zeile: Es geht an "
                                       "einen anderen Server oder Benutzer als bisher.",
        ("invalid_field", "user"): "Bitte den Benutzernamen eintragen, meist die ganze Mailadresse.",
        ("invalid_field", "address"): "Bitte die ganze Mailadresse eintragen.",
        ("invalid_field", "provider"): "Diesen Anbieter gibt es hier nicht.",
        ("invalid_field", "name"): "Bitte nur kleine Buchstaben, Ziffern, - und _ verwenden, zum Beispiel gmx.",
        ("invalid_field", "app"): "Bei diesem Anbieter geht nur die Anmeldung beim Anbieter; bitte wählen Sie sie aus.",
        ("invalid_field", "protocol"): "Dieser Anbieter bietet kein POP3; bitte IMAP wählen.",
        ("forbidden", "host"): "Von diesem Server kann nicht abgerufen werden; fragen Sie den Administrator.",
        ("forbidden", "port"): "Möglich sind die Ports 993, 995, 143 und 110; andere richtet der Administrator ein.",
        ("forbidden", "tls"): "Ohne TLS könnte jeder unterwegs mitlesen; fragen Sie den Administrator.",
        ("forbidden", "every"): "Abgerufen wird höchstens einmal in der Minute.",
        ("exists", "name"): "Ein Postfach mit diesem Namen gibt es hier schon.",
        ("not_found", "name"): "Dieses externe Postfach gibt es nicht.",
        ("not_found", "account"): "Dieses Konto gibt es nicht.",
        ("rate_limited", ""): "Gerade eben wurde es schon versucht; bitte warten Sie einen Moment.",
    },
    "oauth_app": {
        ("exists", "name"): "Eine App mit diesem Namen gibt es schon.",
        ("not_found", "name"): "Diese App gibt es nicht.",
        ("not_found", "app"): "Diese App gibt es nicht.",
        ("invalid_field", "name"): "Der Name einer App hat nur kleine Buchstaben, Ziffern, Punkt, - und _.",
        ("invalid_field", "metadata"): "Unter dieser Adresse beschreibt sich kein Anbieter; sie sieht aus wie "
                                       "https://login.example/.well-known/openid-configuration.",
        ("invalid_field", "client_secret"): "Das Geheimnis steht in einer Zeile.",
        ("invalid_field", "address"): "Bitte die ganze Mailadresse eintragen.",
        ("refused_by_rule", "force"): "Diese App wird noch gebraucht.",
        ("refused_by_rule", "answer"): "Der Anbieter hat die Anmeldung nicht bestätigt. Bitte beginnen Sie sie noch "
                                         "einmal.",
        ("refused_by_rule", ""): "Bei dieser App meldet sich niemand auf einer Seite an.",
        ("busy", ""): "Der Anbieter oder sein Mailserver antwortet nicht; bitte später noch einmal.",
        ("invalid_field", ""): "Unter dieser Adresse beschreibt sich kein Anbieter, oder eine Angabe fehlt.",
    },
    "oauth_token": {
        ("not_found", "address"): "Für diese Adresse hat sich niemand angemeldet.",
        ("refused_by_rule", "app"): "Bei diesem Anbieter nimmt man die Zustimmung dort selbst zurück.",
        ("refused_by_rule", ""): "Diese Anmeldung wird hier auch anderswo gebraucht; fragen Sie den Administrator.",
    },
    "oauth_client": {
        ("invalid_field", "name"): "Ein Name hat 1 bis 100 Zeichen in einer Zeile.",
        ("invalid_field", "services"): "Wenigstens eines davon muss das Programm dürfen.",
        ("invalid_field", "redirect_uris"): "Eine dieser Adressen geht nicht: Sie muss mit https:// beginnen und "
                                            "vollständig sein (http:// nur für localhost), und es dürfen höchstens 20 "
                                            "sein.",
        ("refused_by_rule", "account"): "Dieses Konto hat schon sehr viele Programme. Entfernen Sie eines, das nicht "
                                        "mehr gebraucht wird.",
        ("forbidden", "secret"): "Das ist nicht das Geheimnis dieses Programms.",
        ("not_found", "id"): "Dieses Programm oder diese Anmeldung gibt es nicht mehr.",
    },
    "queue": {
        ("not_found", ""): "Diese Mail ist nicht mehr in der Warteschlange.",
        ("conflict", ""): "Mit dieser Mail geschieht gerade etwas; bitte gleich noch einmal.",
    },
    "message": {("not_found", ""): "Von dieser Mail ist nichts bekannt."},
    "archive": {
        ("invalid_field", "query"): "Diese Suche ist nicht zu verstehen.",
        ("invalid_field", "head"): "Das ist keine Zeile aus dem Journal.",
        ("refused_by_rule", ""): "Dafür ist das Archiv zu groß; auf dem Server gibt es den Befehl lanmail archive.",
        ("too_large", ""): "Das ist zu viel auf einmal; auf dem Server gibt es den Befehl lanmail archive export.",
        ("not_found", ""): "Dazu wurde nichts gefunden.",
    },
    "stats": {("invalid_field", ""): "Diese Zeit geht nicht."},
}
_CODES = {
    "bad_json": findings.ANYTHING, "invalid_field": findings.ANYTHING,
    "unknown_field": "Diese Angabe gibt es hier nicht.",
    "unauthorized": "Bitte melden Sie sich an.", "forbidden": _OFFICE, "not_found": "Das gibt es hier nicht (mehr).",
    "unknown_method": "Das gibt es hier nicht.", "use_post": "Das geht so nicht.", "exists": "Das gibt es schon.",
    "conflict": "Inzwischen hat jemand anderes etwas geändert. Bitte sehen Sie es noch einmal an.",
    "too_large": "Das ist zu groß.", "unsupported_media_type": "Das geht so nicht.",
    "refused_by_rule": "Das geht so nicht.", "rate_limited": "Das war zu oft; bitte warten Sie einen Moment.",
    "busy": _LATER,
}


def german(method: str, refused: Refused) -> str:
    """The sentence for the reader of a page."""
    field = re.sub(r"\[\d+\]$", "", (refused.field or "").removeprefix("settings."))
    noun = method.partition(".")[0]
    if noun == "external":
        field = field.rpartition(".")[2]
    named = [known[refused.code, field] for known in (_SAID.get(method, {}), _SAID.get(noun, {}))
             if field and (refused.code, field) in known]
    if named and not _is_exact(refused):
        return named[0]
    if refused.problems:
        return " ".join(dict.fromkeys(findings.german(one) for one in refused.problems))
    return named[0] if named else _SAID.get(noun, {}).get((refused.code, ""), _CODES[refused.code])


def _is_exact(refused: Refused) -> bool:
    """Whether the rule that is broken says more than that the value is none."""
    return any(one.kind and one.kind not in findings.VAGUE for one in refused.problems)
