"""Every setting has its words in both languages, and no words are left of settings that are no more."""

import pytest

from lanmail import schema
from lanmail.outgoing import Outgoing
from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.words import account, outgoing


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
