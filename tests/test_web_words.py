"""Every setting has its words in both languages, and no words are left of settings that are no more."""

import pytest

from lanmail import schema
from lanmail.administration import wayout
from lanmail.oauth import apps
from lanmail.outgoing import Outgoing
from lanmail.settings import Account, Settings
from lanmail.web import fields
from lanmail.web.words import account, app, outgoing


@pytest.mark.parametrize(("model", "words"), [(Account, account.WORDS), (Outgoing, outgoing.WORDS)])
def test_none_is_missing_and_none_too_many(model: type, words: dict[str, fields.Word]) -> None:
    assert sorted(words) == sorted(".".join(key) for key, _ in schema.fields(model))


@pytest.mark.parametrize(("key", "word"), sorted(account.WORDS.items()))
def test_each_says_something(key: str, word: fields.Word) -> None:
    assert word.english
    assert word.german
    assert word.sentence.endswith((".", '"')), word.sentence
    assert not word.english.endswith(".")
    assert len(word.german) < 50


@pytest.mark.parametrize(("key", "word"), [one for one in account.WORDS.items() if one[1].values])
def test_choices_are_those_of_the_model(key: str, word: fields.Word) -> None:
    values = Account(name="x").model_dump(mode="json")
    shown = fields.of(Account, [key], values, account.WORDS, "de")[0]
    assert set(shown.choices) <= set(word.values)
    assert all(shown.called[one] for one in shown.choices)


def test_what_else_is_done_to_mail_in_german() -> None:
    """Each thing that wayout tells has its German words."""
    loaded = Settings.model_validate({"server": {"domain": "a.lan"}, "dkim": {"keys": [
        {"domain": "a.lan", "key": "x"}]}, "outgoing": {
            "overwrite_sender": "x@a.lan", "max_size": "20MB", "max_recipients": 3, "rate": 5, "hold": "5m",
            "smime": {"sign": True, "certificate": "a.pem", "encrypt": "require"}}})
    found = [{"what": what, "how": how} for what, how in wayout.changes(loaded.outgoing, loaded, True)]
    shown = outgoing.changes(found, loaded.outgoing.model_dump(mode="json"), "de")
    assert [one["how"] for one in shown] == [
        "überschrieben: x@a.lan", "unterschrieben mit a.pem", "immer (Zertifikate in conf/smime/certs)",
        "unterschrieben, wenn From in einer der Domains mit Schlüssel ist", "20MB", "höchstens 3 je Mail",
        "5 Mails je Stunde", "5m"]
    assert outgoing.changes(found, {}, "en") == found


def test_hints_of_providers_in_german() -> None:
    for name in apps.presets():
        assert bool((apps.preset(name) or {}).get("hint")) == bool(app.hint(name)), name
