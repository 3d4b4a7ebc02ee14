"""What a server's refusal means, and what to do about it, in the words of people.

The table is looked through from above; the first row whose pattern is in the error's text (and whose provider has the
mailbox) speaks. Nothing is known of an error that no row fits: then the server's own words must do.
"""

import re
from dataclasses import dataclass

from lanmail.sources import providers

_MICROSOFT = frozenset({"outlook", "office365"})
_OAUTH = 'use OAuth2: auth = "oauth2" and the name of an app in app'


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: str
    advice: str
    german: str
    of: frozenset[str] = frozenset()  # names of providers; empty: all


_ROWS = (
    _Row(r"name or service not known|nodename nor servname|no address associated|does not exist|name resolution",
         "There is no server of this name. Is host spelled as the provider writes it? Does the DNS work here?",
         "Einen Server dieses Namens gibt es nicht. Ist er so geschrieben, wie der Anbieter ihn nennt?"),
    _Row(r"connection refused|refused the connection",
         "The server is there, but nothing listens on this port. Are port, protocol and tls those of the provider?",
         "Den Server gibt es, aber auf diesem Port antwortet nichts. Stimmen Port, Protokoll und Verschlüsselung?"),
    _Row(r"says nothing",
         'The server waits for us: it speaks TLS from the first octet there, so set tls = "implicit"; or it hangs.',
         "Der Server wartet: Dort beginnt TLS sofort (Verschlüsselung: implicit), oder er hängt."),
    _Row(r"does not answer|timed out|no answer|unreachable",
         "Nothing answers. Is the port right? Does the firewall let this machine out, or is a proxy needed (proxy)?",
         "Es antwortet nichts. Stimmt der Port? Lässt die Firewall diesen Rechner hinaus?"),
    _Row(r"wrong version number|record layer failure|unexpected eof|packet length too long|http request",
         'The server does not speak TLS at once on this port. tls = "implicit" is for ports 993 and 995, '
         'tls = "starttls" for 143 and 110.',
         "Auf diesem Port beginnt TLS nicht sofort: implicit gehört zu 993 und 995, starttls zu 143 und 110."),
    _Row(r"unsupported protocol|protocol version|no protocols available|dh key too small|handshake failure",
         'The server only knows TLS versions that are out of date. tls_min = "TLSv1" allows them.',
         "Der Server kennt nur veraltete TLS-Versionen; der Administrator kann sie zulassen."),
    _Row(r"hostname mismatch|not valid for|ip address mismatch",
         "The certificate is for another name. Use the name that stands in it as host.",
         "Das Zertifikat gilt für einen anderen Namen. Tragen Sie den Namen ein, der darin steht."),
    _Row(r"certificate has expired",
         "The server's certificate has expired. Ask the provider; tls_fingerprint trusts exactly this one meanwhile.",
         "Das Zertifikat des Servers ist abgelaufen. Fragen Sie den Anbieter."),
    _Row(r"not trusted|self.signed|unable to get local issuer",
         "Nobody known vouches for the certificate. For a server of your own: its authority's file in tls_ca, or the "
         "certificate's SHA-256 in tls_fingerprint.",
         "Niemand Bekanntes steht für das Zertifikat ein. Bei einem eigenen Server hilft der Administrator."),
    _Row(r"tls_fingerprint does not list",
         "The certificate is another one than tls_fingerprint names. "
         "If the provider says that it has a new one, enter that.",
         "Das Zertifikat ist ein anderes als das eingetragene. Fragen Sie den Anbieter und den Administrator."),
    _Row(r"nobody has logged in|log in at the provider again|no fresh one came|consent",
         "There is no token for this mailbox: somebody has to log in at the provider, and to agree.",
         "Für dieses Postfach fehlt die Anmeldung beim Anbieter: Jemand muss sich dort anmelden und zustimmen."),
    _Row(r"offers .*, and none of",
         "The server does not take this kind of log-in. Leave mechanism empty to use the best that it offers.",
         "Diese Art der Anmeldung nimmt der Server nicht an."),
    _Row(r"not encrypted, so the password",
         'The password only goes out over TLS. Use tls = "implicit", or tls = "starttls" where the server offers it.',
         "Das Passwort geht nur verschlüsselt hinaus. Wählen Sie implicit, oder starttls, wenn der Server es "
         "anbietet."),
    _Row(r"application-specific password|app(lication)? password required|185833",
         "Google wants an app password: myaccount.google.com, Security, App passwords (two-step log-in must be on). Or "
         + _OAUTH + ".",
         "Google verlangt ein App-Passwort (myaccount.google.com, Sicherheit, App-Passwörter) oder die Anmeldung "
         "bei Google.", frozenset({"gmail"})),
    _Row(r"(imap|pop3?)[ /a-z0-9]*(access )?(is |has been )*(disabled|deactivated|not (enabled|activated|allowed))"
         r"|not enabled for (imap|pop)|deaktiviert|nicht (aktiviert|freigeschaltet)",
         "Fetching by this protocol is switched off for the mailbox. Switch it on in the provider's web mail.",
         "Das Abrufen ist für dieses Postfach ausgeschaltet. Schalten Sie es im Webmail des Anbieters ein."),
    _Row(r"basic auth\w* is (disabled|blocked)|basicauthblocked|web ?login ?required|log in via your web browser",
         f"The provider takes no passwords from mail programs any more: {_OAUTH}.",
         "Der Anbieter nimmt von Mailprogrammen keine Passwörter mehr an; nötig ist die Anmeldung beim Anbieter."),
    _Row(r"\[in-use\]|in use|locked by another|already (open|logged in)",
         "Another program has the mailbox open. A POP3 mailbox has one reader at a time; try again in a few minutes.",
         "Ein anderes Programm hat das Postfach gerade geöffnet. Versuchen Sie es in einigen Minuten noch einmal."),
    _Row(r"web login|captcha|suspicious|locked|gesperrt",
         "The provider has locked the mailbox or wants to see a person: log in once in its web mail, then try again.",
         "Der Anbieter hat das Postfach gesperrt oder will einen Menschen sehen: Melden Sie sich einmal in seinem "
         "Webmail an."),
    _Row(r"too many|limit exceeded|rate|throttl|\[limit\]|overquota",
         "The server has had enough of us for now. Fetch less often (every), and wait a while.",
         "Der Server will vorerst nicht mehr. Rufen Sie seltener ab, und warten Sie eine Weile."),
    _Row(r"\[login-delay\]|login.delay", "The server wants a pause between log-ins; set every to more than that.",
         "Der Server verlangt Pausen zwischen Anmeldungen; rufen Sie seltener ab."),
    _Row(r"\[unavailable\]|unavailable|try again|temporar", "The server has a trouble of its own; it is tried again.",
         "Der Server hat selbst ein Problem; es wird wieder versucht."),
    _Row(r"refused|authenticat|log-?in|invalid credentials|password",
         f"Microsoft takes no passwords for POP3 and IMAP any more: {_OAUTH}.",
         "Microsoft nimmt für POP3 und IMAP keine Passwörter mehr an; nötig ist die Anmeldung bei Microsoft.",
         _MICROSOFT),
    _Row(r"refused|authenticat|log-?in|invalid credentials",
         "User name or password is wrong. Many providers want the whole address as user, and some a password made for "
         "mail programs only (app password), above all with two-factor log-in; with some, fetching must be allowed in "
         "their web mail first.",
         "Benutzername oder Passwort ist falsch. Viele Anbieter wollen die ganze Adresse als Benutzernamen und ein "
         "eigenes Passwort für Mailprogramme; bei manchen muss das Abrufen im Webmail erst erlaubt werden."),
)


def advice(text: str, host: str, language: str = "en") -> list[str]:
    """Sentences that help with an error while talking to `host`, in English or German; none when nothing is known."""
    provider = providers.of_server(host)
    for row in _ROWS:
        if row.of and (provider is None or provider.name not in row.of):
            continue
        if re.search(row.pattern, text, re.IGNORECASE):
            first = row.german if language == "de" else row.advice
            special = provider.told(language) if provider is not None and _is_log_in(text) else ""
            return [first, special] if special and special not in first else [first]
    return []


def _is_log_in(text: str) -> bool:
    return re.search(r"log-?in as|(?<!connection )refused", text, re.IGNORECASE) is not None
