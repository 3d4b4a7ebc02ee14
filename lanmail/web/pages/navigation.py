"""What the pages offer to go to: in the office, for oneself, and around one account."""

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A way to a page."""

    path: str
    english: str
    german: str


OFFICE = (
    Entry("/admin/status", "Status", "Status"),
    Entry("/admin/accounts", "Accounts", "Konten"),
    Entry("/admin/groups", "Groups", "Gruppen"),
    Entry("/admin/sources", "External mailboxes", "Externe Postfächer"),
    Entry("/admin/apps", "Apps and tokens", "Apps und Tokens"),
    Entry("/admin/queue", "Queue", "Warteschlange"),
    Entry("/admin/trace", "Trace a mail", "Mail verfolgen"),
    Entry("/admin/archive", "Archive", "Archiv"),
    Entry("/admin/settings", "Settings", "Einstellungen"),
    Entry("/admin/changes", "Changes", "Änderungen"),
)
OWN = (
    Entry("/my/account", "My account", "Mein Konto"),
    Entry("/my/forwarding", "Forwarding", "Weiterleitung"),
    Entry("/my/autoresponder", "Autoresponder", "Abwesenheit"),
    Entry("/my/sources", "External mailboxes", "Externe Postfächer"),
    Entry("/my/clients", "Mail programs", "Mailprogramme"),
    Entry("/my/queue", "Outbox", "Postausgang"),
    Entry("/my/archive", "Archive", "Archiv"),
    Entry("/my/password", "Password", "Passwort"),
)
TABS = (  # behind /admin/accounts/NAME, in the order of the dialog that administrators know
    Entry("", "General", "Allgemein"),
    Entry("/autoresponder", "Autoresponder", "Abwesenheit"),
    Entry("/sources", "External mailboxes", "Externe Postfächer"),
    Entry("/outgoing", "Outgoing mail", "Ausgehende Mails"),
    Entry("/clients", "OAuth2 clients", "OAuth2-Clients"),
)


def served(there: Container[str], entries: tuple[Entry, ...], before: str = "") -> list[Entry]:
    """Those whose page there is."""
    return [entry for entry in entries if before + entry.path in there]
