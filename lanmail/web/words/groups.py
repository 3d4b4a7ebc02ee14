"""Groups on pages: labels, sentences in German, and what may be wrong with them, in German."""

import re
from collections.abc import Callable

from lanmail.web.fields import Word

POSTERS = {"anyone": ("Everybody, also from outside", "Jeder, auch von außerhalb"),
           "local": ("Who is logged in, devices and programs of the LAN",
                     "Wer angemeldet ist, Geräte und Programme im LAN"),
           "members": ("Its members", "Ihre Mitglieder")}
REPLIES = {"none": ("as the mail says", "wie die Mail es sagt"), "sender": ("to who wrote it", "an den Absender"),
           "group": ("to the group", "an die Gruppe")}

WORDS: dict[str, Word] = {
    "members": Word("Members", "Mitglieder",
                    "Konten, Aliasse, andere Gruppen und Adressen außerhalb; in jeder Zeile ein Mitglied."),
    "may_post": Word("Who may write to it", "Wer an sie schreiben darf",
                     "Alle anderen werden beim Senden abgewiesen (550 5.7.1).", POSTERS),
    "send_as": Word("Members may use its address as sender", "Mitglieder dürfen ihre Adresse als Absender benutzen",
                    "Dafür wird sie im Mailprogramm als weitere Identität eingetragen."),
    "owner": Word("Owner", "Eigentümer",
                  "Bekommt Mails an NAME-owner und was von Mitgliedern außerhalb zurückkommt. Leer: der Postmaster."),
    "copy_to_sender": Word("Who writes gets a copy, too", "Wer schreibt, bekommt auch eine Kopie",
                           "Gilt für Mitglieder, die selbst an die Gruppe schreiben."),
    "reply_to": Word("Answers go", "Antworten gehen",
                     "Wohin das Mailprogramm eine Antwort auf eine Mail der Gruppe schickt.", REPLIES),
    "subject_tag": Word("In front of the subject", "Vor dem Betreff",
                        'Steht vor dem Betreff, wenn es dort nicht schon steht, zum Beispiel "[Vertrieb]".'),
    "list_id": Word("Mark mail as that of a list", "Mails als Listenpost kennzeichnen",
                    "Mit List-Id, List-Post und Precedence: list; dann antwortet keine Abwesenheitsnotiz allen."),
    "domains": Word("Only in these domains", "Nur in diesen Domains",
                    "Lokale Domains, in denen die Gruppe eine Adresse hat; leer: in allen."),
}


_LEFT = (
    (re.compile(r"alias (\S+) still leads to \S+"), lambda m: f"der Alias {m[1]} führt noch dorthin"),
    (re.compile(r"group (\S+) still has \S+ in members"), lambda m: f"die Gruppe {m[1]} hat sie noch als Mitglied"),
    (re.compile(r"group (\S+) still has \S+ in may_post"), lambda m: f"in der Gruppe {m[1]} darf sie noch schreiben"),
    (re.compile(r"group (\S+) still has \S+ in owner"), lambda m: f"die Gruppe {m[1]} hat sie noch als Eigentümer"),
)
Sentences = tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]


def left(text: str) -> str:
    """What still names a group that is gone, in German."""
    return _german(text, _LEFT)


def _german(text: str, known: Sentences) -> str:
    for pattern, sentence in known:
        if found := pattern.fullmatch(text):
            return sentence(found)
    return text
