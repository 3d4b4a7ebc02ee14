"""Why a mail waits or failed, in words for people who do not know SMTP: what a server or a program of ours said.

    plain("451 4.7.1 Greylisted, try again")    ("The other server asks for a second try …", "Der andere Server …")

What was said stands beside it on every page; this only says what it means. Enhanced status codes (RFC 3463) count
before words, for they mean the same everywhere; what is not known gets no words.
"""

import re

Words = tuple[str, str]

_CODE = re.compile(r"\b([45])\.(\d{1,3})\.(\d{1,3})\b")
_SAID: tuple[tuple[str, Words], ...] = (  # what our own programs say, and servers without codes
    (r"mail loop|too many hops|has been at the group",
     ("The mail goes round in a circle: it has been here too often. Look for two forwards that lead to each other.",
      "Die Mail läuft im Kreis: Sie war schon zu oft hier. Suchen Sie zwei Weiterleitungen, die aufeinander zeigen.")),
    (r"held by hand|held by the API|held on the page",
     ("Somebody held it; it waits until it is released.",
      "Jemand hat sie angehalten; sie wartet, bis sie freigegeben wird.")),
    (r"grey-?list",
     ("The other server asks for a second try some minutes later. That is usual, and we do it by ourselves.",
      "Der andere Server bittet um einen zweiten Versuch in einigen Minuten. Das ist üblich und geschieht allein.")),
    (r"connection refused|connect call failed|no route to host|network is unreachable|host is unreachable",
     ("The other server cannot be reached.", "Der andere Server ist nicht erreichbar.")),
    (r"timed? ?out|did not answer|no answer",
     ("The other server does not answer in time.", "Der andere Server antwortet nicht rechtzeitig.")),
    (r"\bDNS\b|name or service not known|no such host|nxdomain",
     ("The address's domain cannot be looked up (DNS). Is it written right?",
      "Die Domain der Adresse ist im DNS nicht zu finden. Ist sie richtig geschrieben?")),
    (r"\btoken\b|oauth|log in again",
     ("Our log-in at the provider has ended and must be renewed.",
      "Unsere Anmeldung beim Anbieter ist abgelaufen und muss erneuert werden.")),
    (r"certificate|\bTLS\b|handshake",
     ("The encrypted connection to the other server does not come about.",
      "Die verschlüsselte Verbindung zum anderen Server kommt nicht zustande.")),
    (r"authentication|username|password|log-?in failed|^535 ",
     ("The provider does not accept our name and password.",
      "Der Anbieter nimmt unseren Namen und unser Passwort nicht an.")),
    (r"no space left|insufficient system storage|disk quota",
     ("There is not enough room on the disk.", "Auf der Festplatte ist nicht genug Platz.")),
)
_SUBJECTS: dict[str, Words] = {  # subject and detail of the code
    "1.1": ("This address does not exist there.", "Diese Adresse gibt es dort nicht."),
    "1.2": ("The address's domain does not exist, or takes no mail.",
            "Die Domain der Adresse gibt es nicht, oder sie nimmt keine Mails an."),
    "1.10": ("This domain takes no mail.", "Diese Domain nimmt keine Mails an."),
    "1.": ("The other server does not accept one of the addresses.",
           "Der andere Server nimmt eine der Adressen nicht an."),
    "2.1": ("This mailbox is switched off.", "Dieses Postfach ist abgeschaltet."),
    "2.2": ("The mailbox is full.", "Das Postfach ist voll."),
    "2.3": ("The mail is too large for this mailbox.", "Die Mail ist für dieses Postfach zu groß."),
    "2.": ("The mailbox does not take the mail.", "Das Postfach nimmt die Mail nicht an."),
    "3.1": ("There is no room on the other server.", "Auf dem anderen Server ist kein Platz."),
    "3.4": ("The mail is too large for the other server.", "Die Mail ist dem anderen Server zu groß."),
    "3.": ("The other server has a problem of its own.", "Der andere Server hat selbst ein Problem."),
    "4.1": ("The other server does not answer.", "Der andere Server antwortet nicht."),
    "4.2": ("The connection to the other server broke.", "Die Verbindung zum anderen Server ist abgebrochen."),
    "4.3": ("The address's domain cannot be looked up (DNS).", "Die Domain der Adresse ist im DNS nicht zu finden."),
    "4.4": ("No way to the other server is known.", "Zum anderen Server ist kein Weg bekannt."),
    "4.5": ("The other server is busy.", "Der andere Server ist überlastet."),
    "4.7": ("It could not be delivered in time, so we gave up.",
            "Sie ließ sich nicht rechtzeitig zustellen, deshalb haben wir aufgegeben."),
    "4.": ("The other server cannot be reached.", "Der andere Server ist nicht erreichbar."),
    "5.3": ("The mail has too many recipients for the other server.",
            "Die Mail hat dem anderen Server zu viele Empfänger."),
    "5.": ("The other server and ours do not understand each other.",
           "Der andere Server und unserer verstehen sich nicht."),
    "6.": ("The other server does not take mail of this form.", "Der andere Server nimmt Mails dieser Form nicht an."),
    "7.0": ("The other server does not want this mail.", "Der andere Server will diese Mail nicht."),
    "7.8": ("The provider does not accept our name and password.",
            "Der Anbieter nimmt unseren Namen und unser Passwort nicht an."),
    "7.": ("The other server refuses the mail by its rules: often the sender, the text, or where we come from.",
           "Der andere Server lehnt die Mail nach seinen Regeln ab: oft wegen "
           "des Absenders, des Textes oder unserer Herkunft."),
}


def plain(reason: str | None) -> Words | None:
    """In English and German; None when nothing is known."""
    if not reason:
        return None
    for pattern, words in _SAID:
        if re.search(pattern, reason, re.IGNORECASE):
            return words
    if found := _CODE.search(reason):
        return _SUBJECTS.get(f"{found[2]}.{found[3]}") or _SUBJECTS.get(f"{found[2]}.")
    return None
