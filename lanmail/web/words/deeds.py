"""Methods of the API as what was done, for people: account.create is "Account: added"."""

_NOUNS = {
    "account": ("Account", "Konto"), "alias": ("Alias", "Alias"), "group": ("Group", "Gruppe"),
    "config": ("Settings", "Einstellungen"), "queue": ("Queue", "Warteschlange"), "outgoing": ("Way out",
        "Weg nach draußen"),
    "external": ("External mailbox",
        "Externes Postfach"), "oauth_app": ("App", "App"), "oauth_token": ("Token", "Token"),
    "oauth_client": ("Mail program", "Mailprogramm"), "archive": ("Archive", "Archiv"), "message": ("Mail", "Mail"),
}
_VERBS = {
    "create": ("added", "angelegt"), "modify": ("changed", "geändert"), "set": ("changed", "geändert"),
    "set_certificate": ("certificate stored", "Zertifikat gespeichert"),
    "remove_certificate": ("certificate removed", "Zertifikat entfernt"),
    "delete": ("removed", "entfernt"), "password": ("password changed", "Passwort geändert"),
    "forwarding": ("forwarding changed", "Weiterleitung geändert"), "rename": ("renamed", "umbenannt"),
    "autoresponder": (
        "autoresponder changed", "Abwesenheit geändert"), "verify": ("password tried", "Passwort geprüft"),
    "add_member": ("members added",
        "Mitglieder hinzugefügt"), "remove_member": ("members removed", "Mitglieder entfernt"),
    "reload": ("taken over", "übernommen"), "retry": ("tried again", "neu versucht"), "hold": ("held", "angehalten"),
    "release": ("released", "freigegeben"), "test": ("tested", "geprüft"), "fetch_now": ("fetched", "abgeholt"),
    "forget": ("forgotten what was fetched", "vergessen, was geholt wurde"), "refresh": ("renewed", "erneuert"),
    "sign_out": ("signed out", "abgemeldet"), "revoke": ("revoked", "widerrufen"), "disable": ("disabled", "gesperrt"),
    "disconnect": ("disconnected", "getrennt"), "modify_scope": ("limits changed", "Grenzen geändert"),
    "submit": ("sent", "gesendet"), "restore": ("restored", "wiederhergestellt"), "export": ("exported", "ausgegeben"),
    "addon": ("add-on made", "Add-on erzeugt"), "answer": ("log-in finished", "Anmeldung abgeschlossen"),
    "authorize": ("log-in begun", "Anmeldung begonnen"),
    "authorize_url": ("log-in begun", "Anmeldung begonnen"), "clear": ("cleared", "geleert"),
}


def of(method: str, language: str) -> str:
    """What was done, in words; what nobody has named yet as it is."""
    name, _, verb = method.partition(".")
    if name not in _NOUNS or verb not in _VERBS:
        return method
    return f"{noun(name, language)}: {_VERBS[verb][language == 'de']}"


def noun(name: str, language: str) -> str:
    """What it is about."""
    return _NOUNS[name][language == "de"] if name in _NOUNS else name
