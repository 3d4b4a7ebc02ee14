"""Threads (RFC 5256 §3): what belongs together, in which order, and that no References can make it slow."""

import random
import time

import pytest
from hypothesis import given, settings, strategies

from lanmail.imap import sortkeys, subjects, threads


def mail(number: int, own: str = "", *references: str, subject: str = "", sent: float | None = None) -> threads.Message:
    return threads.Message(
        number if sent is None else sent, subjects.base(subject.encode()), own.encode() or None,
        tuple(reference.encode() for reference in references))


def threaded(*messages: threads.Message, by: str = "references") -> str:
    return threads.written(getattr(threads, by)(messages), range(1, len(messages) + 1))


def test_nothing_and_one() -> None:
    assert threaded() == ""
    assert threaded(mail(1)) == "(1)"


def test_replies_stand_below_what_they_answer() -> None:
    assert threaded(mail(1, "a"), mail(2, "b", "a"), mail(3, "c", "a", "b"), mail(4, "d", "a")) == "(1 (2 3)(4))"


def test_the_order_of_arrival_does_not_matter() -> None:
    messages = [mail(1, "a"), mail(2, "b", "a"), mail(3, "c", "a", "b"), mail(4, "d", "a", "b", "c")]
    for _ in range(10):
        order = random.sample(messages, 4)
        made = threads.written(threads.references(order), [int(message.sent) for message in order])
        assert made == "(1 2 3 4)"


def test_siblings_and_roots_come_by_sent_date_then_by_number() -> None:
    assert threaded(mail(1, "a", sent=9), mail(2, "b", sent=5), mail(3, "c", "b", sent=8), mail(4, "d", "b", sent=7),
                    mail(5, "e", "b", sent=7)) == "(2 (4)(5)(3))(1)"


def test_missing_messages_are_left_out_but_for_the_top_of_several() -> None:
    assert threaded(mail(1, "b", "gone")) == "(1)"
    assert threaded(mail(1, "b", "gone"), mail(2, "c", "gone")) == "((1)(2))"
    assert threaded(mail(1, "b", "gone"), mail(2, "c", "gone", "gone2", "gone3"), mail(3)) == "((1)(2))(3)"
    assert threaded(mail(1, "a"), mail(2, "b", "a", "gone", "gone2")) == "(1 2)"


def test_what_a_message_says_of_itself_counts_more_than_what_others_say() -> None:
    assert threaded(mail(1, "x", "a", "c"), mail(2, "a"), mail(3, "b"), mail(4, "c", "b")) == "(2)(3 4 1)"
    # a message without References leaves the place that an earlier one gave it, not what a later one gives it
    assert threaded(mail(1, "x", "a", "b"), mail(2, "a"), mail(3, "b")) == "(2)(3 1)"
    assert threaded(mail(1, "a"), mail(2, "b"), mail(3, "x", "a", "b")) == "(1 2 3)"


def test_loops_are_broken() -> None:
    assert threaded(mail(1, "a", "a")) == "(1)"
    assert threaded(mail(1, "a", "b"), mail(2, "b", "a")) == "(2 1)"
    assert threaded(mail(1, "a", "b", "a"), mail(2, "b", "c"), mail(3, "c", "a")) == "(1 3 2)"


def test_of_messages_with_one_id_the_first_is_meant() -> None:
    assert threaded(mail(1, "a"), mail(2, "a"), mail(3, "b", "a")) == "(1 3)(2)"


def test_threads_of_one_subject_are_joined() -> None:
    # a reply below what it may be the reply to
    assert threaded(mail(1, subject="x"), mail(2, subject="Re: x")) == "(1 2)"
    assert threaded(mail(1, subject="Re: x"), mail(2, subject="x")) == "(2 1)"
    # equals below a dummy, further ones beside them
    assert threaded(mail(1, subject="x"), mail(2, subject="x"), mail(3, subject="X")) == "((1)(2)(3))"
    assert threaded(mail(1, subject="Re: x"), mail(2, subject="fwd: x")) == "((1)(2))"
    # dummies take in whatever there is
    assert threaded(mail(1, "a", "gone", subject="x"), mail(2, "b", "gone", subject="y"), mail(3, subject="x")) == (
        "((1)(2)(3))")
    assert threaded(mail(1, "a", "g", subject="x"), mail(2, "b", "g", subject="y"), mail(3, "c", "h", subject="x"),
                    mail(4, "d", "h", subject="z")) == "((1)(2)(3)(4))"
    # no subject is no common subject
    assert threaded(mail(1), mail(2), mail(3, subject="re:")) == "(1)(2)(3)"


def test_a_table_entry_that_was_joined_itself_is_not_joined_again() -> None:
    assert threaded(mail(1, subject="Re: x"), mail(2, subject="Re: x"), mail(3, subject="x"), mail(4, subject="x")) == (
        "((3 (1)(2))(4))")


def test_refs_leaves_subjects_alone_and_puts_the_latest_thread_last() -> None:
    messages = mail(1, "a", subject="x"), mail(2, subject="x"), mail(3, "b", "a")
    assert threaded(*messages, by="refs") == "(2)(1 3)"


def test_ordered_subject() -> None:
    assert threaded(mail(1, subject="a", sent=5), mail(2, subject="Re: b", sent=1), mail(3, subject="b", sent=2),
                    mail(4, subject="A", sent=3), mail(5, subject="b", sent=4), mail(6), mail(7),
                    by="ordered_subject") == "(2 (3)(5))(4 1)(6 7)"


REFERENCES = strategies.lists(strategies.sampled_from("abcdefghij"), max_size=4)


@settings(max_examples=300)
@given(strategies.lists(strategies.tuples(strategies.sampled_from(["", *"abcdefghij"]), REFERENCES,
                                          strategies.sampled_from(["", "x", "re: x", "y"])), max_size=12))
def test_every_message_is_told_exactly_once(many: list[tuple[str, list[str], str]]) -> None:
    messages = [mail(number, own, *references, subject=subject)
                for number, (own, references, subject) in enumerate(many)]
    for by in ("references", "refs", "ordered_subject"):
        text = threaded(*messages, by=by)
        numbers = [int(word) for word in text.replace("(", " ").replace(")", " ").split()]
        assert sorted(numbers) == list(range(1, len(messages) + 1))
        assert "()" not in text
        assert text.count("(") == text.count(")")


def _chain(order: list[int], step: int = 1) -> list[threads.Message]:
    return [mail(number, f"{number}@x", f"{(number - step) % len(order)}@x", sent=0) for number in order]


@pytest.mark.parametrize("kind", ["up", "down", "random", "deep", "one subject"])
def test_many_messages_do_not_take_long(kind: str) -> None:
    count = 20_000
    order = list(range(count))
    if kind == "random":
        random.shuffle(order)
    messages = _chain(order[::-1] if kind == "down" else order)
    if kind == "one subject":
        messages = [mail(number, subject="x") for number in range(count)]
    elif kind == "deep":  # each new link to the end of the long chain asks whether it makes a loop
        messages = messages[: count // 2]
        for number in range(count // 4):
            messages += [mail(0, "", f"p{number}", f"q{number}"), mail(0, f"p{number}", f"{count // 2 - 1}@x")]
    start = time.process_time()
    text = threaded(*messages)
    assert time.process_time() - start < 3
    assert text.count("(") <= count + 1


def test_message_ids() -> None:
    ids = sortkeys.message_ids
    assert ids(b"<a@b> <c@d>\n <e@f>") == [b"a@b", b"c@d", b"e@f"]
    assert ids(b'<"a"@b> <"a\\"b"@c>') == [b"a@b", b'a"b@c']
    assert ids(b"<a @ b>") == [b"a@b"]
    assert ids(b"Your message of <nonsense> <@> <a@> <@b> a@b") == []
    assert ids(b"<a@b <c@d>") == [b"c@d"]
    start = time.process_time()
    for bad in (b'<"a', b'<"\\', b"<a", b"<a@", b"< ", b'<"\\"'):
        ids(bad * 20_000)
    assert time.process_time() - start < 1
