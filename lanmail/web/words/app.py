"""What the settings of an app at a provider are called on pages; the English sentence stands in oauth/apps.py."""

from lanmail.web.fields import Word

WORDS = {
    "title": Word("Provider's name", "Name des Anbieters", "Wie der Anbieter für Menschen heißt."),
    "tenant": Word("Directory (tenant)", "Verzeichnis (Mandant)",
                   "Microsoft: Kennung oder Domain der Organisation; leer: alle."),
    "client_id": Word("Client ID", "Client-ID", "Die Kennung der App beim Anbieter."),
    "client_secret": Word("Client secret", "Client-Schlüssel",
                          "Der geheime Schlüssel der App; leer bei einer öffentlichen App."),
    "client_secret_expires": Word("The secret ends on", "Der Schlüssel endet am",
                                  "Ein Tag wie 2027-05-31; der Postmaster wird rechtzeitig erinnert."),
    "redirect_uri": Word("Redirect URI", "Umleitungs-URI", "Wohin der Anbieter Menschen zurückschickt, genau so beim "
                         "Anbieter eintragen; leer: http://localhost, und die Adresszeile wird hier eingefügt."),
    "use": Word("For", "Wofür", "Wofür die Tokens gut sind; danach richtet sich, worum gebeten wird."),
    "issuer": Word("Issuer", "Aussteller", "Die Kennung des Anbieters (RFC 9207); leer: wird nicht verglichen."),
    "authorize_url": Word("Log-in URL", "Anmelde-URL", "Wo Menschen zustimmen."),
    "token_url": Word("Token URL", "Token-URL", "Woher die Tokens kommen."),
    "device_url": Word("Device code URL", "Gerätecode-URL", "Für die Anmeldung auf einem anderen Gerät; leer: nicht."),
    "revoke_url": Word("Revocation URL", "Widerrufs-URL", "Wo eine Zustimmung zurückgenommen wird; leer: gar nicht."),
    "end_session_url": Word("Log-out URL", "Abmelde-URL", "Wo sich Menschen im Browser beim Anbieter abmelden."),
    "userinfo_url": Word("Person URL", "Personen-URL", "Wo der Anbieter sagt, wessen Token es ist."),
    "mechanism": Word("SASL mechanism", "SASL-Verfahren", "Das Verfahren, das die Mailserver annehmen; leer: beide."),
    "rotation": Word("Refresh tokens", "Refresh-Tokens",
                     "Bleiben (none), werden erneuert (overlap) oder gelten einmal (strict)."),
    "refresh_expected": Word("Refresh token required", "Refresh-Token nötig",
                             "Eine Zustimmung ohne Refresh-Token wird abgelehnt."),
    "timeout": Word("Patience in seconds", "Geduld in Sekunden", "Wie lange der Anbieter brauchen darf."),
}
_MICROSOFT = "Tragen Sie die Umleitungs-URI http://localhost unter „Mobile und Desktopanwendungen“ ein."
_NO_NEW = "{} gibt neuen Apps keinen Zugriff auf Mails; nehmen Sie ein App-Passwort, wenn Ihre ihn nicht hat."
_HINTS = {
    "aol": _NO_NEW.format("AOL"), "yahoo": _NO_NEW.format("Yahoo"), "microsoft": _MICROSOFT,
    "fastmail": "Fastmail trägt Apps auf Anfrage von Hand ein; ohne eine nehmen Sie ein App-Passwort.",
    "google": "Legen Sie einen Client der Art „Desktop-App“ an und veröffentlichen Sie den Zustimmungsbildschirm („In "
              "Produktion“).",
}


def hint(preset: str) -> str:
    """What is good to know about a provider, in German; "" where nobody has written it."""
    return _HINTS.get(preset.partition("-")[0], "")
