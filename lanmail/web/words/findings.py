"""What is wrong with a value or a file of conf/, in German: by the rule that is broken, not by the English text.

    german(Problem("…", 3, "smtpd.max_size: 'x' is not a size; …", "units.size"))     "Schreiben Sie eine Größe wie …"
"""

from collections.abc import Sequence

from lanmail.errors import Problem

ANYTHING = "Diese Angabe geht so nicht."
VAGUE = frozenset({"value_error", "missing", "string_too_short", "string_too_long", "too_short"})  # of few words
_DAY = "Schreiben Sie einen Tag oder Zeitpunkt wie 2026-12-24 oder 2026-12-24 12:00."
_ADDRESS = "Schreiben Sie eine Mailadresse wie eva@example.org."
_TARGET = "Schreiben Sie einen Namen wie meier oder eine Adresse wie eva@example.org."
_DOMAIN = "Schreiben Sie eine Domain wie office.lan."
_APP = "Es fehlt noch etwas: {}."
_RULES: dict[str, str] = {  # {0} is the first of the problem's values
    # types of settings, by the function that reads them
    "units.size": "Schreiben Sie eine Größe wie 512KB, 50MB oder 2GB.",
    "units.duration": "Schreiben Sie eine Dauer wie 30s, 5m, 12h oder 3d.",
    "units.network": "Schreiben Sie ein Netz wie 192.168.1.0/24 oder eine Adresse wie 192.168.1.20.",
    "units.ip": "Schreiben Sie eine IP-Adresse wie 192.168.1.20 oder ::1.",
    "units.mode": "Schreiben Sie drei Ziffern von 0 bis 7 wie 027.",
    "units.domain": _DOMAIN, "units.hostname": "Schreiben Sie einen Rechnernamen wie mail.office.lan.",
    "units.mailbox": _ADDRESS,
    "units.grant": "Schreiben Sie eine Adresse wie info@office.lan, *@office.lan für eine Domain oder * für alle.",
    "units.forward_to": _TARGET, "units.forward_list": _TARGET,
    "units.command_word": "Schreiben Sie ein einzelnes Wort.",
    "units.host": "Schreiben Sie den Namen oder die IP-Adresse eines Servers wie smtp.provider.example.",
    "units.dns_server": "Schreiben Sie eine IP-Adresse wie 192.0.2.1 oder 192.0.2.1:5353.",
    "units.member": "Schreiben Sie ein Konto wie meier, eine Gruppe wie group:sales, oder mit Rechten wie meier=lrs.",
    "units.group": "Schreiben Sie den Namen einer Gruppe ohne Leerzeichen, wie sales.",
    "units.directory": "Schreiben Sie den ganzen Pfad eines Verzeichnisses wie /srv/outgoing.",
    "units.proxy": "Schreiben Sie http://proxy.lan:3128 oder socks5://proxy.lan:1080; die Anmeldung steht in eigenen "
                   "Feldern.",
    "units.url": "Schreiben Sie eine Adresse wie https://www.firma.example/in.php, ohne Anmeldung darin.",
    "units.fingerprint": "Ein Fingerabdruck (SHA-256) hat 64 Ziffern von 0 bis f, mit oder ohne Doppelpunkte.",
    "units.new_sender": "Schreiben Sie eine Adresse wie info@firma.example oder %localpart%@firma.example.",
    "incoming.name": "Schreiben Sie kleine Buchstaben, Ziffern, - und _, zum Beispiel gmx.",
    "groups._poster": "Schreiben Sie ein Konto, eine Gruppe oder eine Adresse wie eva@example.org.",
    "groups._owner": _TARGET, "groups._tag": "Höchstens 40 Zeichen in einer Zeile, zum Beispiel [Vertrieb].",
    "period.moment": _DAY,
    "timetable.window": "Schreiben Sie Zeiten wie 22:00-06:00 oder Mon-Fri 07:00-19:00; die Tage heißen Mon Tue Wed "
                        "Thu Fri Sat Sun.",
    "oauth.apps._endpoint": "Schreiben Sie eine Adresse, die mit https:// beginnt.",
    "oauth.apps._day": "Schreiben Sie einen Tag wie 2027-05-31.",
    "filters.options.name": "Schreiben Sie rspamd, clamd oder den ganzen Pfad eines Programms.",
    "filters.options.several": "Schreiben Sie rspamd, clamd oder den ganzen Pfad eines Programms.",
    "filters.options.field": "Schreiben Sie eine Kopfzeile mit dem Anfang ihres Werts, wie X-Spam-Flag: YES.",
    "filters.options.server": "Schreiben Sie /run/clamav/clamd.ctl, 127.0.0.1:3310 oder http://127.0.0.1:11333.",
    "secret.reference": "Das ist kein Ort eines Geheimnisses: file:secrets/NAME unter conf/ oder credential:NAME.",
    "header": "Das ist keine Kopfzeile einer Anfrage.", "json": "Das ist kein JSON.",
    "regular-expression": "Das ist kein regulärer Ausdruck.",
    "until-before-from": "Das Ende liegt vor dem Anfang.",
    # what pydantic looks at
    "missing": "Hier muss etwas stehen.", "string_too_short": "Hier muss etwas stehen.",
    "too_short": "Hier muss etwas stehen.", "too_long": "Das sind zu viele; höchstens {0}.",
    "int_type": "Hier muss eine ganze Zahl stehen.", "int_parsing": "Hier muss eine ganze Zahl stehen.",
    "int_from_float": "Hier muss eine ganze Zahl stehen.",
    "float_type": "Hier muss eine Zahl stehen.", "bool_type": "Hier muss ja oder nein (true, false) stehen.",
    "string_type": "Hier muss ein Text stehen.", "list_type": "Hier muss eine Liste stehen.",
    "dict_type": "Hier müssen Namen mit ihren Werten stehen.", "model_type": "Hier muss ein Abschnitt stehen.",
    "greater_than_equal": "Mindestens {0}.", "less_than_equal": "Höchstens {0}.",
    "string_too_long": "Höchstens {0} Zeichen.", "literal_error": "Möglich ist: {0}.",
    "unknown-key": "Den Schlüssel „{0}“ gibt es hier nicht.", "extra_forbidden": "Diese Angabe gibt es hier nicht.",
    # of an app at a provider
    "app-token_url": _APP.format("die Adresse für Tokens (token_url)"), "app-client_id": _APP.format("die Client-ID"),
    "app-authorize_url": _APP.format("die Adresse der Anmeldeseite (authorize_url)"),
    "app-service_account": _APP.format("die Datei des Dienstkontos (service_account)"),
    "app-client_secret": _APP.format("das Client-Geheimnis oder ein privater Schlüssel"),
    "app-name": "Der Name einer App hat nur kleine Buchstaben, Ziffern, Punkt, - und _.",
    "preset": "Diesen Anbieter gibt es hier nicht; bekannt sind: {0}.",
    # a certificate that is handed in
    "certificate-large": "Die Datei ist zu groß für ein Zertifikat.",
    "certificate-weak": "Der Schlüssel ist zu kurz; mindestens 2048 Bit sind nötig.",
    "certificate-ended": "Das Zertifikat ist abgelaufen.",
    "certificate-keyless": "In der Datei ist kein privater Schlüssel; nehmen Sie eine mit Zertifikat und Schlüssel.",
    "certificate-none": "Die Datei ist nicht zu gebrauchen: Gesucht ist ein Zertifikat mit seinem Schlüssel (RSA, EC).",
    "certificate-locked": "Das Passwort stimmt nicht, oder die Datei ist kein Zertifikat mit Schlüssel (PEM, PKCS#12).",
    # files
    "not-utf8": "Die Datei ist nicht in UTF-8; speichern Sie sie in dieser Kodierung.",
    "not-regular": "Das ist keine gewöhnliche Datei; auch ein Link darf es nicht sein.",
    "too-large": "Die Datei ist zu groß.", "missing-file": "Die Datei gibt es nicht.",
    "unreadable": "Die Datei lässt sich nicht lesen.", "empty-file": "Die Datei ist leer.",
    "not-toml": "Die Datei ist kein TOML; sehen Sie sich diese Zeile und die davor an.",
    "cut-off": "Die letzte Zeile endet nicht mit einem Zeilenende; vielleicht ist die Datei abgeschnitten.",
    "readable-by-all": "Darin steht ein verschlüsseltes Passwort, und jeder kann die Datei lesen (chmod 640).",
    "secret-open": "Die Datei ist geheim, aber nicht nur ihr Eigentümer kann sie lesen (chmod 600).",
    "writable-by-all": "In dieses Verzeichnis kann jeder schreiben (chmod o-w).",
    # accounts, aliases, groups
    "name": "Ein Name hat nur die Buchstaben a bis z, Ziffern, „.“, „_“ und „-“, höchstens 64 Zeichen, und ist nicht "
            "reserviert.",
    "small-letters": "Namen von Konten sind klein geschrieben; benennen Sie die Datei um.",
    "postmasters": "Nur ein Konto kann Postmaster sein, jetzt sind es mehrere: {0}.",
    "not-with-einvoice": "{0} gilt in einem E-Rechnungs-Postfach nicht; nehmen Sie es heraus, oder schalten Sie die "
                         "E-Rechnungen ab.",
    "no-directory": "Das Verzeichnis {0} gibt es nicht; E-Rechnungen würden warten.",
    "members-unshared": "Mitglieder gelten nur bei einem Team-Postfach (shared = true).",
    "empty-group": "In der Gruppe „{0}“, die bei den Mitgliedern steht, ist kein Konto.",
    "nobody": "„{0}“ gibt es hier nicht: kein Konto, kein Alias und keine Gruppe.",
    "nobody-but": "„{0}“ gibt es hier nicht. Meinten Sie „{1}“?",
    "denied": "An {0} geht nichts: Das Konto darf nichts ins Internet senden.",
    "not-local": "„{0}“ ist keine Domain dieses Servers.", "account-twice": "Das Konto gibt es zweimal: {0} und {1}.",
    "name-twice": "„{0}“ gibt es schon unter den Konten oder Aliassen; ein Name gehört nur einem.",
    "alias": "Der Alias „{0}“ stimmt so nicht: Er braucht einen Namen, der nicht reserviert ist, und als Ziele Namen "
             "oder Adressen, und er steht nur einmal da.",
    "group": "Die Gruppe „{0}“ stimmt so nicht: Ihr Name geht nicht oder steht schon da, oder sie ist keine Tabelle.",
    "own-owner": "Die Gruppe kann nicht ihr eigener Eigentümer sein.",
    "group-in-itself": "Die Gruppe ist über andere Gruppen oder selbst ihr Mitglied; jeder bekommt trotzdem nur eine "
                       "Kopie.",
}
_PATTERNS = {
    "online_check": "Schreiben Sie einen Server mit Port wie 192.0.2.1:443.",
    "scram": "Das ist kein SCRAM-Verifier; lanmail account passwd schreibt ihn.",
    "public_url": "Schreiben Sie eine Adresse ohne Pfad, wie https://mail.firma.example.",
    "to": "Schreiben Sie eine Nummer aus Ziffern wie 00491791234567 oder +491791234567.",
    "country_code": "Schreiben Sie 1 bis 4 Ziffern ohne führende Null, wie 49.",
    "shared_namespace": "Ein Ordnername ohne Punkt und Schrägstrich.",
    "users_namespace": "Ein Ordnername ohne Punkt und Schrägstrich.",
}


def german(problem: Problem) -> str:
    """The sentence in German, without the key."""
    return of(problem.kind, problem.values)


def of(kind: str, values: Sequence[str] = ()) -> str:
    """The same for a rule that is broken."""
    if kind == "pattern":
        return _PATTERNS.get(values[0] if values else "", ANYTHING)
    if kind == "keys-together":
        return _together(*values)
    sentence = _RULES.get(kind, ANYTHING)
    if values and kind.startswith(("units.", "groups.")):
        return f"„{values[0]}“: {sentence}"
    return sentence.format(*(value.replace(" or ", " oder ") if kind == "literal_error" else value
                             for value in (*values, "", "")))


def placed(problem: Problem) -> str:
    """With the key in front, where the text has it there: for lists of findings."""
    key, colon, _ = problem.text.partition(": ")
    of_key = colon and " " not in key and not key.startswith(("'", '"'))
    return f"{key}: {german(problem)}" if of_key else german(problem)


def _together(key: str, other: str = "") -> str:
    """Keys that are right by themselves."""
    if other == "server.port_offset":
        return "Mit server.port_offset ist dieser Port größer als 65535."
    if other:
        return f"Diesen Port benutzt schon {other}."
    if key == "smtpd.lan.port":
        return "Nennen Sie auch die Netze, die diesen Port benutzen dürfen (smtpd.lan.networks)."
    return "Für diesen Weg fehlt noch eine andere Einstellung dieses Abschnitts."
