"""The ways out, of all ([outgoing] in lanmail.toml) and of one account: labels, and sentences in German."""

from collections.abc import Mapping, Sequence
from typing import Any

from lanmail.web.fields import Word

TRANSPORTS = {"smtp": ("by a smarthost (SMTP)", "über einen Smarthost (SMTP)"),
        "mx": ("straight to the recipients' servers (MX)", "direkt an die Server der Empfänger (MX)"),
        "folder": ("save in a folder", "in einem Ordner speichern"),
        "http": ("by HTTP POST", "per HTTP POST"),
        "webspace": ("by a web space (PHP)", "über einen Webspace (PHP)"),
        "graph": ("by Microsoft Graph", "über Microsoft Graph")}
TLS = {"none": ("none", "keines"), "auto": ("when it is offered", "wenn es angeboten wird"),
       "starttls": ("STARTTLS", "STARTTLS"), "implicit": ("from the first octet (SSL/TLS)", "von Anfang an (SSL/TLS)")}
AUTH = {"none": ("none", "keine"), "password": ("password", "Passwort"), "oauth2": ("OAuth2", "OAuth2")}

WORDS: dict[str, Word] = {
    "transport": Word("Way out", "Weg nach draußen",
        "Über einen Smarthost, direkt an die Server der Empfänger, oder auf einem der anderen Wege "
        "unten.", TRANSPORTS),
    "host": Word("SMTP server", "SMTP-Server",
        "Der Smarthost, an den alle Mail geht. Leer: Mail wartet, bis einer genannt ist."),
    "port": Word("Port", "Port", "0 ist 465 bei TLS von Anfang an, 25 ohne TLS und Anmeldung, sonst 587."),
    "tls": Word("Encryption", "Verschlüsselung",
        "TLS, wenn es angeboten wird, mit STARTTLS, von Anfang an oder gar nicht.", TLS),
    "tls_min": Word("Oldest TLS version", "Älteste TLS-Version", "Ältere Versionen werden nicht benutzt."),
    "tls_max": Word("Newest TLS version", "Neueste TLS-Version", "Dieselbe wie die älteste heißt: genau diese."),
    "tls_verify": Word("Check the certificate", "Zertifikat prüfen",
        "Das Zertifikat des Servers und sein Name werden geprüft."),
    "tls_ca": Word("Trusted certificates", "Vertraute Zertifikate",
        "Diesen statt denen des Systems vertrauen: PEM-Datei, von conf/ aus gesehen."),
    "tls_fingerprint": Word("Certificate fingerprints", "Fingerabdrücke des Zertifikats",
        "SHA-256 des Zertifikats, je Zeile einer: nur diese gelten, von wem auch immer "
        "unterschrieben."),
    "auth": Word("Log-in", "Anmeldung", "Wie angemeldet wird, wenn es einen Benutzernamen gibt.", AUTH),
    "user": Word("User name", "Benutzername", "Leer: keine Anmeldung."),
    "password": Word("Password", "Passwort", "Das Passwort dazu."),
    "mechanism": Word("SASL mechanism", "SASL-Verfahren",
        "Nur dieses Verfahren benutzen; leer: das beste der angebotenen."),
    "app": Word("OAuth2 app", "OAuth2-App", "Bei Anmeldung mit OAuth2: die App, deren Tokens benutzt werden."),
    "proxy": Word("Proxy", "Proxy", "Für alle Verbindungen: http://HOST:PORT oder socks5://HOST:PORT."),
    "proxy_user": Word("User name at the proxy", "Benutzername am Proxy", "Leer: keine Anmeldung am Proxy."),
    "proxy_password": Word("Password at the proxy", "Passwort am Proxy", "Das Passwort dazu."),
    "helo": Word("Name in EHLO", "Name bei EHLO", "Wie wir uns nennen; leer: der Rechnername (server.hostname)."),
    "connections": Word("Most connections", "Höchstzahl an Verbindungen",
        "So viele Verbindungen zum Smarthost gibt es höchstens gleichzeitig."),
    "overwrite_sender": Word("Overwrite the sender", "Absender überschreiben",
        "Absender und From aller Mail ins Internet, wie %localpart%@firma.example; leer: so "
        "wie er ist."),
    "max_size": Word("Largest mail", "Größte Mail",
        'Größere Mail nach draußen wird nicht angenommen, zum Beispiel "20MB"; 0: nur die Grenze des Servers.'),
    "max_recipients": Word("Most recipients of one mail", "Empfänger je Mail",
        "Mail an mehr Empfänger wird in mehrere geteilt; 0: nie. 1 hilft bei Googles „Multiple "
        "destination domains“."),
    "rate": Word("Mails per hour", "Mails je Stunde", "Gleichmäßig verteilt; die übrigen warten. 0 ist ohne Grenze."),
    "hold": Word("Hold back for", "Zurückhalten für",
        "So lange wartet jede Mail, bevor sie gesendet wird; bis dahin lässt sie sich zurücknehmen."),
    "folder.path": Word("Folder", "Ordner", "Verzeichnis, das für jede Mail eine Datei ID.eml bekommt."),
    "folder.envelope": Word("Write the envelope", "Umschlag mitschreiben",
        "Jede Datei beginnt mit X-Sender und X-Receiver, so wie spool/pickup es nimmt."),
    "http.url": Word("Address (URL)", "Adresse (URL)", "Dorthin wird gesendet (https)."),
    "http.variable": Word("Variable", "Variable", "Name des Datei-Felds mit der Nachricht."),
    "http.sender_field": Word("Field for the sender", "Feld für den Absender",
        "Feld für den Absender des Umschlags; leer: wird nicht gesendet."),
    "http.recipients_field": Word("Field for recipients", "Feld für Empfänger",
        "Feld für jeden Empfänger, wie recipients[]; leer: werden nicht gesendet."),
    "http.authorization": Word("Authorization", "Authorization", "Der Wert einer Kopfzeile Authorization."),
    "http.headers": Word("More headers", "Weitere Kopfzeilen",
        "Weitere Kopfzeilen der Anfrage, je Zeile eine wie X-Quelle = buero; nichts "
        "Geheimes, das gehört in Authorization."),
    "http.secret_headers": Word("More headers with secrets", "Weitere geheime Kopfzeilen",
        "Je Zeile eine wie X-Api-Key = geheim. Nach dem Speichern steht statt des Geheimnisses da, in welcher "
        "Datei es liegt; eine Zeile, die so bleibt, ändert nichts."),
    "http.timeout": Word("Patience", "Geduld", "So lange darf der Server brauchen."),
    "webspace.url": Word("Address of the scripts", "Adresse der Skripte",
        "Wo lanmail.php aufgerufen wird, wie https://www.firma.example/lanmail/."),
    "webspace.script_password": Word("Script password", "Skript-Passwort", "Für den Aufruf; 20 Zeichen oder mehr."),
    "webspace.upload": Word("Upload by", "Übertragung mit", "Wie Dateien dorthin kommen.",
        {"ftps": ("FTP with TLS", "FTP mit TLS"),
         "ftp": ("FTP without TLS", "FTP ohne TLS"),
         "sftp": ("SFTP", "SFTP")}),
    "webspace.host": Word("FTP or SFTP server", "FTP- oder SFTP-Server", "Der Server, auf den die Dateien kommen."),
    "webspace.port": Word("Port", "Port", "0 ist der übliche."),
    "webspace.user": Word("User name", "Benutzername", "Der Benutzername dort."),
    "webspace.password": Word("Password", "Passwort", "Das Passwort dazu."),
    "webspace.private_key": Word("Key file", "Schlüsseldatei",
        "Für SFTP statt eines Passworts; von conf/ aus gesehen."),
    "webspace.host_key": Word("The server's key", "Schlüssel des Servers",
        "So wie ssh-keygen -l ihn zeigt, SHA256:…; `lanmail webspace` trägt ihn ein."),
    "webspace.directory": Word("Directory", "Verzeichnis",
        "Das Verzeichnis dort, das zur Adresse der Skripte gehört."),
    "webspace.mode": Word("The scripts send", "Die Skripte senden", "Mit PHP mail() oder über einen SMTP-Server.",
        {"mail": ("with PHP mail()", "mit PHP mail()"), "smtp": ("by an SMTP server", "über einen SMTP-Server")}),
    "webspace.smtp_host": Word("SMTP server of the scripts", "SMTP-Server der Skripte",
        "Der SMTP-Server, den die Skripte benutzen."),
    "webspace.smtp_port": Word("Its port", "Dessen Port", "587 ist üblich."),
    "webspace.smtp_tls": Word("Encryption to it", "Verschlüsselung dorthin",
        "TLS von den Skripten zum SMTP-Server.", TLS),
    "webspace.smtp_user": Word("User name there", "Benutzername dort", "Der Benutzername am SMTP-Server."),
    "webspace.smtp_password": Word("Password there", "Passwort dort", "Das Passwort dazu."),
    "webspace.timeout": Word("Patience", "Geduld", "So lange dürfen Übertragung und Aufruf jeweils dauern."),
    "graph.url": Word("Address of the service", "Adresse des Dienstes", "Nationale Clouds haben ihre eigene."),
    "graph.mailbox": Word("Send from mailbox", "Senden aus Postfach",
        "Postfach, aus dem gesendet wird; leer: das des Tokens."),
    "graph.allow_partial": Word("Send to some of the recipients", "Auch an einen Teil der Empfänger senden",
        "Auch dann senden, wenn die Mail Empfänger nennt, die sie auf diesem Weg nicht "
        "bekommen sollen."),
    "graph.timeout": Word("Patience", "Geduld", "So lange darf der Dienst brauchen."),
    "smime.sign": Word("Sign mail", "Mail unterschreiben", "Mail nach draußen mit S/MIME unterschreiben."),
    "smime.certificate": Word("Own certificate", "Eigenes Zertifikat",
        "Mit Kette, PEM oder PKCS#12; von conf/ aus gesehen."),
    "smime.key": Word("Private key", "Privater Schlüssel",
        "PEM, von conf/ aus gesehen; leer: er steht in der Datei des Zertifikats."),
    "smime.password": Word("Password of the key", "Passwort des Schlüssels", "Damit wird der Schlüssel geöffnet."),
    "smime.encrypt": Word("Encrypt mail", "Mail verschlüsseln", "Für die Zertifikate aller Empfänger verschlüsseln.",
        {"never": ("never", "nie"), "if-possible": ("if all have certificates", "wenn alle Zertifikate haben"),
        "require": ("always", "immer")}),
    "smime.expired": Word("When the certificate has expired", "Bei abgelaufenem Zertifikat",
        "Was mit Mail geschieht, wenn das eigene Zertifikat abgelaufen ist.",
        {"hold": ("hold mail back", "Mail zurückhalten"),
         "unsigned": ("send it unsigned", "ohne Unterschrift senden")}),
}
# What else is done to mail (wayout.changes): its name there → ours, and how; {} is what stands in the settings.
_CHANGES = {
    "sender": ("Absender", "überschrieben: {overwrite_sender}"),
    "S/MIME": ("S/MIME", "unterschrieben mit {smime[certificate]}"),
    "encrypted": ("verschlüsselt", "{encrypt} (Zertifikate in conf/smime/certs)"),
    "DKIM": ("DKIM", "unterschrieben, wenn From in einer der Domains mit Schlüssel ist"),
    "largest mail": ("größte Mail", "{max_size}"),
    "recipients": ("Empfänger", "höchstens {max_recipients} je Mail"),
    "rate": ("Tempo", "{rate} Mails je Stunde"),
    "held back": ("zurückgehalten", "{hold}"),
}


def changes(found: Sequence[Mapping[str, str]], settings: Mapping[str, Any], language: str) -> list[Mapping[str, str]]:
    """What else is done to mail, in the reader's language."""
    if language != "de":
        return list(found)
    values = {**settings, "encrypt": WORDS["smime.encrypt"].values[settings["smime"]["encrypt"]][1]}
    return [{"what": _CHANGES[one["what"]][0], "how": _CHANGES[one["what"]][1].format_map(values)}
            if one["what"] in _CHANGES else one for one in found]
