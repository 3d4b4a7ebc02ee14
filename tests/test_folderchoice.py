"""folderchoice.py: which folders of a mailbox elsewhere are fetched."""

from collections.abc import Sequence

import pytest

from lanmail import folderchoice, incoming, mutf7
from lanmail.clients.imapclient import Mailbox


def box(name: str, *attributes: str, mark: str = "/") -> Mailbox:
    return Mailbox(mutf7.encode(name).encode(), tuple(name.split(mark)), frozenset(attributes), mark)


EXCHANGE = [box(name) for name in (
    "INBOX", "Kalender", "Kalender/Geburtstage", "Kontakte", "Notizen", "RSS-Abonnements", "Synchronisierungsprobleme",
    "Synchronisierungsprobleme/Konflikte", "Verlauf der Unterhaltung", "Suchordner", "Aufgaben", "Junk-E-Mail",
    "Gelöscht", "Journal", "Kunden", "Kunden/Müller & Söhne", "Kunden/Journal")]


def chosen(boxes: list[Mailbox], wanted: tuple[str, ...] = (), excluded: Sequence[str] = incoming.EXCLUDED,
           foreign: tuple[str, ...] = ()) -> list[str]:
    return ["/".join(one.levels) for one in folderchoice.choose(boxes, wanted, excluded, foreign)]


def test_default_leaves_out_what_holds_no_mail_and_all_below_it() -> None:
    assert chosen(EXCHANGE) == ["INBOX", "Kunden", "Kunden/Journal", "Kunden/Müller & Söhne"]


def test_nothing_excluded_is_everything() -> None:
    assert len(chosen(EXCHANGE, excluded=())) == len(EXCHANGE)


def test_names_count_in_any_case_below_inbox_and_however_umlauts_are_made() -> None:
    boxes = [box(name, mark=".") for name in ("INBOX", "INBOX.KALENDER", "INBOX.Kalender.2026", "INBOX.Gelo\u0308scht",
                                              "INBOX.trash", "INBOX.Projekte")]
    assert chosen(boxes) == ["INBOX", "INBOX/Projekte"]


def test_special_use_counts_whatever_the_name() -> None:
    boxes = [box("INBOX"), box("[Gmail]", "\\Noselect"), box("[Gmail]/Alle Nachrichten", "\\HasNoChildren", "\\All"),
             box("[Gmail]/Markiert", "\\Flagged"), box("[Gmail]/Spamverdacht", "\\JUNK"), box("Aktuell", "\\Trash"),
             box("Aktuell/Alt"), box("Ablage", "\\Archive")]
    assert chosen(boxes) == ["INBOX", "Ablage"]


def test_chosen_folders_come_excluded_or_not() -> None:
    assert chosen(EXCHANGE, ("Kunden/müller & söhne", "Junk-E-Mail")) == ["Junk-E-Mail", "Kunden/Müller & Söhne"]
    assert chosen(EXCHANGE, ("Kunden",)) == ["Kunden"]
    assert chosen(EXCHANGE, ("Kunden/*", "Kal*")) == ["Kunden/Journal", "Kunden/Müller & Söhne"]
    assert chosen(EXCHANGE, ("*",)) == chosen(EXCHANGE)
    assert chosen(EXCHANGE, ("*", "Journal"))[-1] == "Kunden/Müller & Söhne"
    assert "Journal" in chosen(EXCHANGE, ("*", "Journal"))


@pytest.mark.parametrize("name", ["INBOX/Projekte", "Projekte", "INBOX.Projekte", "inbox.projekte"])
def test_chosen_folder_is_named_with_or_without_inbox_or_as_the_server_does(name: str) -> None:
    boxes = [box("INBOX"), box("INBOX.Projekte", mark=".")]
    assert chosen(boxes, (name,)) == ["INBOX/Projekte"]
    assert folderchoice.missing(boxes, [name, "Weg", "Kunden/*"]) == ["Weg"]


def test_folders_of_others_are_left_out_but_when_chosen() -> None:
    boxes = [box("INBOX"), box("shared/info"), box("Shared Documents"), box("user.eva.Sent", mark=".")]
    assert chosen(boxes, foreign=("shared/", "user.")) == ["INBOX", "Shared Documents"]
    assert chosen(boxes, ("shared/info",), foreign=("shared/",)) == ["shared/info"]


def test_excluded_inbox_does_not_take_its_folders_along() -> None:
    boxes = [box("INBOX"), box("INBOX/Kunden"), box("Archiv/2025"), box("Archiv 2")]
    assert chosen(boxes, excluded=("INBOX", "Archiv*")) == ["INBOX/Kunden"]
    assert chosen(boxes, excluded=("Archiv",)) == ["INBOX", "Archiv 2", "INBOX/Kunden"]


def test_what_cannot_be_opened_is_not_chosen() -> None:
    assert chosen([box("Kunden", "\\NoSelect"), box("Weg", "\\NonExistent")], ("Kunden", "*")) == []


def test_mailboxes_of_others_are_found_by_their_name_or_address() -> None:
    boxes = [box(name, mark=".") for name in ("INBOX", "user.info@firma.de", "user.info@firma.de.Kunden", "user.infos",
                                              "user.eva", "INFO@firma.de")]
    found = folderchoice.of_others(boxes, ("user.",), ("Info@Firma.de",))
    assert [one.levels for one in found] == [("INBOX",), ("Kunden",)]
    assert [one.raw for one in folderchoice.of_others(boxes, ("user.",), ("eva@firma.de",))] == [b"user.eva"]
    assert folderchoice.of_others(boxes, (), ("eva",)) == []
