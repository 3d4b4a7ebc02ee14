"""The words of the autoresponder's page: labels, placeholders, guards, and when it counts."""

import time
from typing import Any

from lanmail import period
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Word
from lanmail.web.pages import forwarding
from lanmail.web.pages.frame import Visit

WORDS = {f"autoresponder.{key}": word for key, word in {
    "enabled": Word("Answer mail automatically", "Mails automatisch beantworten",
                    "Wer schreibt, bekommt die Antwort unten; und Mails gehen weiter, wie dort gesagt ist."),
    "subject": Word("Subject of the answer", "Betreff der Antwort",
                    "Darf Platzhalter enthalten; leer: Re: und der Betreff der Mail."),
    "text": Word("Text of the answer", "Text der Antwort",
                 "Mit Platzhaltern wie [SUBJECT], [FROMNAME], [UNTIL]; leer: keine Antwort."),
    "forward": Word("Meanwhile send all mail on to", "In dieser Zeit alle Mails weiterleiten an",
                    "Konten, Gruppen oder Adressen außerhalb, eines in jeder Zeile; leer: niemand."),
    "keep": Word("A copy of what is sent on stays in the mailbox", "Eine Kopie bleibt im Postfach",
                 "Ohne Kopie steht die Mail nur noch dort, wohin sie weitergeleitet wurde."),
    "only_if_addressed": Word("Only answer mail that names the account", "Nur Mails beantworten, die das Konto nennen",
                              "Nur wenn eine Adresse des Kontos unter „An“ oder „Kopie“ steht."),
    "domain": Word("Domain of the answer", "Domain der Antwort",
                   "Die Antwort kommt von NAME@domain; leer: die Domain des Servers."),
    "envelope": Word("Envelope sender", "Absender im Umschlag",
                     "„null“: niemand; „account“ nur, wenn Ihr Anbieter Mails ohne Absender ablehnt."),
    "max_per_hour": Word("Most answers to one sender in an hour", "Höchstens Antworten je Absender und Stunde",
                         "Damit zwei Programme sich nicht endlos antworten."),
    "max_age": Word("Fetched mail that is older is not answered", "Älteres Abgeholtes wird nicht beantwortet",
                    "Alter von Mails aus externen Postfächern, zum Beispiel 2d (zwei Tage)."),
}.items()}
PLACEHOLDERS = {
    "SUBJECT": Word("the subject of the mail", "der Betreff der Mail"),
    "FROMNAME": Word("its author's name", "der Name des Absenders"),
    "FROM": Word("its author's address", "die Adresse des Absenders"),
    "TO": Word("the address it came to", "die Adresse, an die sie kam"),
    "DATE": Word("the day of the answer", "der Tag der Antwort"),
    "TIME": Word("the time of the answer", "die Uhrzeit der Antwort"),
    "UNTIL": Word("the end of the period", "das Ende des Zeitraums"),
    "ACCOUNT": Word("the name of the account", "der Name des Kontos"),
    "MESSAGEID": Word("the Message-ID of the mail", "die Message-ID der Mail"),
}
GUARDS = {
    "active": Word("The autoresponder counts at that time", "Die Abwesenheit gilt zu dieser Zeit"),
    "text": Word("There is a text", "Es gibt einen Text"),
    "sender": Word("The mail has a sender (bounces have none)",
                   "Die Mail hat einen Absender (Rückläufer haben keinen)"),
    "automatic": Word("A person sent it, not a program", "Ein Mensch hat sie geschickt, kein Programm"),
    "list": Word("It comes from no mailing list or newsletter", "Sie kommt von keiner Mailingliste, keinem Newsletter"),
    "machine": Word("The sender is no address like noreply@…", "Der Absender ist keine Adresse wie noreply@…"),
    "own": Word("The sender is not the account itself, nor unknown here",
                "Der Absender ist nicht das Konto selbst und kein unbekannter Name hier"),
    "addressed": Word("It names the account where it must", "Sie nennt das Konto, wo das nötig ist"),
    "spam": Word("It is no spam", "Sie ist kein Spam"),
    "age": Word("It was not fetched late", "Sie wurde nicht verspätet abgeholt"),
    "internet": Word("The account may write to its sender", "Das Konto darf dem Absender schreiben"),
    "often": Word("The sender did not have enough answers yet", "Der Absender hatte noch nicht genug Antworten"),
}
FREQUENCIES = {
    "0s": Word("every time", "jedes Mal"),
    "1h": Word("once an hour", "einmal in der Stunde"),
    "1d": Word("once a day", "einmal am Tag"),
    "3d": Word("once in three days", "einmal in drei Tagen"),
    "7d": Word("once a week", "einmal in der Woche"),
}


class Said(Refused):
    """Something that the page itself found, in the reader's language."""


def state(own: dict[str, Any]) -> str:
    """off, later, on or over."""
    if not own["enabled"]:
        return "off"
    between, now = period.of(own["from"], own["until"]), time.time()
    return "on" if between.contains(now) else "later" if now < between.begin else "over"


def problem(visit: Visit, refused: Refused) -> str:
    """What was wrong."""
    if isinstance(refused, Said):
        return refused.message
    if refused.code == "conflict":
        return visit.say(*forwarding.CHANGED)
    return refused.message.removeprefix(f"{refused.field}: ")
