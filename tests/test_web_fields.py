"""Forms made of settings: each kind of key, what is sent when nothing, something or everything is changed."""

from typing import Any

import pytest
from starlette.datastructures import FormData

from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.fields import Word

KEYS = ["full_name", "disabled", "archive", "services", "quota", "quota_messages", "send_as", "forward.to",
        "autoresponder.from", "autoresponder.text", "outgoing.transport", "outgoing.password"]
WORDS = {"full_name": Word("Name", "Name", "Wie die Person heißt.")}


def shown(own: tuple[str, ...] = (), **values: Any) -> list[fields.Field]:
    known = Account.model_validate({"name": "meier", **values}).model_dump(mode="json")
    return fields.of(Account, KEYS, known, WORDS, "de", own=own)


def form(all_of: list[fields.Field], **changed: Any) -> FormData:
    """What a browser sends."""
    sent: list[tuple[str, str]] = []
    for one in all_of:
        if one.key in changed:
            said = changed[one.key]
            sent += [(one.key, item) for item in said] if isinstance(said, list) else \
                [] if said is None else [(one.key, said)]
        elif one.kind == "check":
            sent += [(one.key, "yes")] if one.value else []
        elif one.kind == "three":
            sent.append((one.key, "" if one.inherited else "yes" if one.value else "no"))
        elif one.kind == "many":
            sent += [(one.key, item) for item in one.value]
        elif one.kind in fields.LINES:
            sent.append((one.key, "\r\n".join(one.value)))
        else:
            sent.append((one.key, "" if one.kind == "secret" else str(one.value).replace("\n", "\r\n")))
    return FormData(sent)


def test_the_kinds() -> None:
    assert {one.key: one.kind for one in shown()} == {
        "full_name": "text", "disabled": "check", "archive": "three", "services": "many", "quota": "text",
        "quota_messages": "number", "send_as": "lines", "forward.to": "lines", "autoresponder.from": "text",
        "autoresponder.text": "long", "outgoing.transport": "choice", "outgoing.password": "secret"}


def test_words_and_sentences() -> None:
    name, off = shown()[:2]
    assert (name.label, name.help) == ("Name", "Wie die Person heißt.")
    assert (off.label, off.help) == ("disabled", Account.model_fields["disabled"].description)


@pytest.mark.parametrize("values", [{}, {"full_name": "Eva", "disabled": True, "forward": {"to": ["a", "b"]},
                                         "autoresponder": {"text": "Hallo\n\nEva \n"}, "services": ["imap"]}])
def test_nothing_changed_is_nothing_sent(values: dict[str, Any]) -> None:
    all_of = shown(("archive",), **values)
    assert fields.changes(all_of, form(all_of)) == {}


@pytest.mark.parametrize(("key", "typed", "made"), [
    ("full_name", "Eva ", {"full_name": "Eva"}), ("disabled", "yes", {"disabled": True}),
    ("archive", "no", {"archive": False}), ("services", [], {"services": []}),
    ("services", ["imap"], {"services": ["imap"]}), ("quota_messages", "12", {"quota_messages": 12}),
    ("quota_messages", "many", {"quota_messages": "many"}), ("quota_messages", "٣", {"quota_messages": "٣"}),
    ("forward.to", "a\r\n\r\n b ", {"forward": {"to": ["a", "b"]}}),
    ("autoresponder.text", "x\r\n", {"autoresponder": {"text": "x\n"}}),
    ("outgoing.password", "p w ", {"outgoing": {"password": {"secret": "p w "}}}),
])
def test_what_is_typed(key: str, typed: Any, made: dict[str, Any]) -> None:
    all_of = shown()
    assert fields.changes(all_of, form(all_of, **{key: typed})) == made


@pytest.mark.parametrize(("values", "key", "typed", "made"), [
    ({"full_name": "Eva"}, "full_name", "", {"full_name": None}),
    ({"disabled": True}, "disabled", None, {"disabled": False}),
    ({"archive": True}, "archive", "", {"archive": None}),
    ({"forward": {"to": ["a"]}}, "forward.to", "", {"forward": {"to": None}}),
])
def test_back_to_the_default(values: dict[str, Any], key: str, typed: Any, made: dict[str, Any]) -> None:
    all_of = shown((key,), **values)
    assert fields.changes(all_of, form(all_of, **{key: typed})) == made


def test_a_secret_is_never_shown_and_can_be_taken_away() -> None:
    all_of = shown(outgoing={"password": "file:secrets/x"})
    sent = FormData([*form(all_of).multi_items(), ("outgoing.password-clear", "yes")])
    assert fields.changes(all_of, sent) == {"outgoing": {"password": None}}


def test_a_refused_form_shows_what_was_typed() -> None:
    all_of = shown()
    again = fields.marked(all_of, "forward.to[1]", "no address", form(all_of, **{"forward.to": "a\r\nb c"}))
    assert [(one.key, one.value) for one in again if one.problem] == [("forward.to", ["a", "b c"])]
    assert fields.changes(all_of, form(again)) == {"forward": {"to": ["a", "b c"]}}
