"""Asks a filter by its name, remembers what it said of a mail, and leaves alone for a moment one that does not work.

A mail whose delivery is tried again, or that has many recipients, is judged once: what was said is kept in memory.
After a restart it is asked again, which matters only for a mail that was cut short between two of its recipients.
"""

import threading
import time
from collections import OrderedDict

from lanmail.filters import Broken, Question, Verdict, clamd, program, rspamd
from lanmail.filters.options import Filtering

_KEPT = 2000
_REST = 10.0  # seconds in which a filter that did not work is not asked
_lock = threading.Lock()
_said: OrderedDict[tuple[str, str, str], Verdict] = OrderedDict()  # by filter, account and id of the mail
_down: dict[str, tuple[float, str]] = {}  # filter → (until, why)


def ask(name: str, question: Question, options: Filtering) -> Verdict:
    """What the filter says. Broken; OSError of the message itself."""
    key = (name, question.account, question.id)
    with _lock:
        if key in _said:
            return _said[key]
        until, why = _down.get(name, (0.0, ""))
        if time.monotonic() < until:
            raise Broken(why)
    try:
        verdict = once(name, question, options)
    except Broken as error:
        with _lock:
            _down[name] = (time.monotonic() + _REST, str(error))
        raise
    with _lock:
        _down.pop(name, None)
        if verdict.kind != "defer":
            _said[key] = verdict
        while len(_said) > _KEPT:
            _said.popitem(last=False)
    return verdict


def once(name: str, question: Question, options: Filtering) -> Verdict:
    """The same, whatever was said before. Broken; OSError."""
    if name == "rspamd":
        return rspamd.ask(question, options)
    if name == "clamd":
        return clamd.ask(question, options)
    return program.ask(name, question, options)


def forget() -> None:
    """Everything that was said; the settings have changed, or a test begins."""
    with _lock:
        _said.clear()
        _down.clear()
