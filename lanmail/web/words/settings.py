"""All keys of lanmail.toml on pages: what sections are called, and the labels and German sentences of their keys."""

from lanmail.remote import Remote
from lanmail.settings import AccountDefaults
from lanmail.web.fields import Word
from lanmail.web.words import account, flow, outgoing, servers

SECTIONS: dict[str, tuple[str, str]] = {  # in the order of the page
    "server": ("Server", "Server"), "smtpd": ("Receiving (SMTP)", "Annahme (SMTP)"), "pop3d": ("POP3", "POP3"),
    "imapd": ("IMAP", "IMAP"), "deliver": ("Delivery", "Zustellung"), "filter": (
        "Spam and virus filters", "Spam- und Virenfilter"),
    "outgoing": ("Way out", "Weg nach draußen"), "relay": ("Sending", "Versand"), "dkim": ("DKIM", "DKIM"),
    "incoming": ("External mailboxes", "Externe Postfächer"), "einvoice": ("E-invoices", "E-Rechnungen"),
    "sms": ("Short messages", "Kurznachrichten"), "archived": ("Archive", "Archiv"), "tokend": ("Tokens", "Tokens"),
    "httpd": ("Web pages and API", "Webseiten und API"), "auth": ("Log-in", "Anmeldung"),
    "tls": ("Certificate", "Zertifikat"), "log": ("Logs", "Protokolle"),
    "account_defaults": ("Defaults of all accounts", "Vorgaben für alle Konten"),
}
PARTS: dict[str, tuple[str, str]] = {  # of sections
    "smtpd.lan": ("Devices of the LAN", "Geräte im LAN"), "outgoing.folder": ("Folder", "Ordner"),
    "outgoing.http": ("HTTP POST", "HTTP POST"), "outgoing.webspace": ("Web space", "Webspace"),
    "outgoing.graph": ("Microsoft Graph", "Microsoft Graph"), "outgoing.smime": ("S/MIME", "S/MIME"),
}
ABOUT: dict[str, str] = {  # their sentences in German; the English ones stand in the models
    "server": "Wer wir sind und wo wir lauschen: gemeinsam für alle Programme.",
    "smtpd": "Mail annehmen: SMTP, Versand der Mailprogramme, LMTP.",
    "smtpd.lan": "Ein Zugang ohne Anmeldung für Scanner und alte Geräte in benannten Netzen.",
    "pop3d": "Mail lesen mit POP3.",
    "imapd": "Mail lesen mit IMAP.",
    "deliver": "Angenommene Mail in Postfächer und nach draußen verteilen.",
    "einvoice":
        "Die Prüfung auf E-Rechnungen, in einem eigenen Prozess. Was darüber hinausgeht, bleibt unentschieden: Es wird "
        ""
                "zugestellt, aber nicht weitergeleitet.",
    "filter": "Was Mails ansieht, bevor sie in Postfächer kommen. Ein Konto kann weitere nennen.",
    "relay":
        "Nach draußen senden: wie oft, wie lange, und wer davon erfährt. Auf welchem Weg, steht unter „Weg nach "
        "draußen“.",
    "outgoing": "Wie Mail ins Internet kommt. Was ein Konto nicht anders sagt, gilt für alle.",
    "outgoing.folder": "Weg „Ordner“: Mail wird für andere Software in ein Verzeichnis gelegt.",
    "outgoing.http": "Weg „HTTP POST“: Mail wird an ein Programm auf einem Webserver gesendet.",
    "outgoing.webspace": "Weg „Webspace“: Mail geht an unsere PHP-Skripte auf einem Webspace, die sie von dort senden.",
    "outgoing.graph": "Weg „Microsoft Graph“: sendMail, für Mandanten ohne SMTP-Anmeldung.",
    "outgoing.smime":
        "Signieren und verschlüsseln, was gesendet wird. Zertifikate der Empfänger liegen in conf/smime/certs/.",
    "dkim":
        "DKIM-Signaturen. Auf dem Server macht lanmail dkim genkey DOMAIN einen Schlüssel und zeigt den DNS-Eintrag.",
    "incoming": "Vorgaben für externe Postfächer, deren Mail geholt wird; was eines nicht anders sagt, gilt für alle.",
    "sms": "Kurznachrichten an Telefone, wenn Mail kommt. An welche Nummer, steht beim Konto.",
    "tokend": "OAuth2-Tokens externer Postfächer frisch halten.",
    "archived":
        "Das Archiv führen. Welche Konten archiviert werden und wie lange, steht bei ihnen oder in den Vorgaben.",
    "httpd": "Die HTTP-API, die Anmeldeseiten und diese Seiten.",
    "auth": "Anmeldung an allen Servern.",
    "tls": "Zertifikat und TLS-Versionen aller Server.",
    "log": "Was nach state/log/ geschrieben wird.",
    "account_defaults": "Was für jedes Konto gilt, das nichts anderes sagt.",
}
WORDS: dict[str, Word] = {
    **servers.WORDS,
    **{f"incoming.{key}": outgoing.WORDS[key] for key in Remote.model_fields},
    **flow.WORDS,
    **{f"outgoing.{key}": word for key, word in outgoing.WORDS.items()},
    **{f"account_defaults.{key}": account.WORDS[key] for key in AccountDefaults.model_fields},
}
