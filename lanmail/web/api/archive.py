"""archive.*: finding mail in the archive, reading it, putting it back. An account sees what it received or sent.

A key with the rights "read" watches the server and sees nobody's mail. What an administrator looks at is noted in the
record of changes, with the id of the mail.
"""

import base64
import contextlib
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from lanmail import log, messagefile, names
from lanmail.administration import audit
from lanmail.archiving import finding, following, index, journal, query, reading, restoring
from lanmail.web.api.frame import Call, Params, Refused, method

_CATCH_UP = 2.0  # seconds that a call waits for the index to take in what is new
_SCAN = 10.0  # seconds that a search inside of words takes at most


class Whose(Params):
    """With whose eyes to look; an account's own caller sees its own."""

    account: str | None = Field(None, max_length=64, description="only what this account may see")


class Search(Whose):
    """What is sought."""

    query: str = Field("", max_length=1000, description="words, \"phrases\", from: to: subject: after: … ; empty: all")
    substring: bool = Field(False, description="also inside of words; slower, and for some seconds at most")
    relevance: bool = Field(False, description="what fits best first, not the newest; of more than 1,000, the newest "
                                               "1,000")
    offset: int = Field(0, ge=0, le=1_000_000)
    limit: int = Field(50, ge=1, le=200)


class One(Whose):
    """A mail, by its id or an unambiguous beginning of that."""

    id: str = Field(min_length=1, max_length=200)
    form: Literal["accepted", "sent"] = Field("accepted", description="as it came in, or as it went out changed")
    raw: bool = Field(False, description="the whole message too, in base64")


class Restore(Whose):
    """Which mails go back, and where to."""

    ids: list[str] = Field(min_length=1, max_length=200)
    to: str | None = Field(None, max_length=64, description="whose mailbox; an account restores to its own")
    folder: str = Field("INBOX", min_length=1, max_length=200, description="it is made if need be")
    again: bool = Field(False, description="also what lies in that folder already")


@method("archive.search", Search, needs="self", reads=True)
def search(call: Call, given: Search) -> dict[str, Any]:
    """Find mail, the newest first. `empty`: nothing was archived yet; not `complete`: time was up."""
    scope = _scope(call, given.account)
    try:
        asked = query.parse(given.query, time.time())
    except query.QueryError as error:
        raise Refused("invalid_field", f"query: {error}", "query") from None
    if not journal.path(call.house.paths).exists():
        return {"found": [], "more": False, "complete": True, "empty": True}
    with opened(call) as reader:
        if given.substring:
            found, complete = _scan(reader, asked, scope, given.offset, given.limit + 1)
        else:
            complete = True
            found = finding.search(reader, asked, scope, limit=given.limit + 1, offset=given.offset,
                                   relevance=given.relevance)
    _note(call, "archive.search", given.account or "")
    return {"found": [reading.data(one) for one in found[: given.limit]], "more": len(found) > given.limit,
            "complete": complete, "empty": False}


@method("archive.get", One, needs="self", reads=True)
def get(call: Call, given: One) -> dict[str, Any]:
    """One mail: its header in short, its text, the names of what is attached; who sent it sees the envelope, too."""
    scope = _scope(call, given.account)
    with opened(call) as reader:
        mail = find(reader, given.id, scope)
        forms = finding.sent_forms(reader, mail) if mail.is_own else []
    if given.form == "sent" and not forms:
        raise Refused("not_found", "it went out as it is, not at all, or is not yours", "form")
    try:
        head, text = reading.read(call.house.paths, mail, forms[-1] if given.form == "sent" else "")
    except (FileNotFoundError, ValueError):
        raise Refused("busy", f"there is no sound file of {mail.id}; see: lanmail archive verify", "id") from None
    _note(call, "archive.get", mail.id)
    known = reading.data(mail) | {
        "header": [{"name": name, "value": value} for name, value in reading.facts(text)], "text": reading.texts(text),
        "sent_form": bool(forms), "form": given.form, "envelope": reading.envelope_of(head) if mail.is_own else None}
    return known | ({"data": base64.b64encode(text).decode()} if given.raw else {})


@method("archive.restore", Restore, needs="self", always=True)
def restore(call: Call, given: Restore) -> dict[str, Any]:
    """Put mails into a mailbox again: as they came, unread, with their old date. No rule is asked."""
    scope, name = _scope(call, given.account), call.only(given.to or call.caller.account or "")
    _has_room(call, name)
    with opened(call) as reader:
        mails = [find(reader, one, scope) for one in dict.fromkeys(given.ids)]
    try:
        place = restoring.target(str(call.house.paths.maildirs / name), given.folder)
    except ValueError as error:
        raise Refused("invalid_field", f"folder: {error}", "folder") from None
    there = set() if given.again else restoring.ids_in(place)
    done, problems = [], []
    for mail in mails:
        if mail.id in there:
            continue
        try:
            why = restoring.put(call.house.paths, place, mail)
        except messagefile.Unable as error:
            raise Refused("busy", str(error)) from None
        if why is None:
            done.append(mail.id)
            log.restored(id=mail.id, account=name, folder=given.folder)
        else:
            problems.append({"id": mail.id, "why": why})
    return {"restored": done, "there": [one.id for one in mails if one.id in there], "problems": problems}


def _scope(call: Call, account: str | None) -> finding.Scope:
    if call.caller.account is not None:
        return finding.visible_to_holder(call.house.paths.state, call.only(account or call.caller.account))
    if call.caller.rights != "admin":
        raise Refused("forbidden", "archived mail is for administrators, and for whose it is")
    return finding.visible_to(account.lower()) if account else finding.EVERYTHING


@contextlib.contextmanager
def opened(call: Call) -> Iterator[index.Reader]:
    """The index, with what is new in it as far as that is quick; archived keeps it up to date."""
    where, until = call.house.paths, time.monotonic() + _CATCH_UP
    with contextlib.suppress(following.Busy, OSError):
        if following.is_behind(where):
            following.fill(where, enough=lambda _now: time.monotonic() >= until)
    try:
        with index.Reader(index.path(where)) as reader:
            yield reader
    except FileNotFoundError:
        raise Refused("not_found", "nothing was archived yet") from None
    except index.Damaged as error:
        raise Refused("busy", f"the index cannot be used ({error}); see: lanmail archive reindex") from None


class _Late(Exception):
    """A search takes too long."""


def _scan(reader: index.Reader, asked: query.Query, scope: finding.Scope, offset: int,
          limit: int) -> tuple[list[finding.Found], bool]:
    """What is found inside of words until time is up, and whether that is all."""
    until, found = time.monotonic() + _SCAN, list[finding.Found]()

    def look() -> None:
        if time.monotonic() > until:
            raise _Late

    try:
        for one in islice(finding.scan(reader, asked, scope, look), offset, offset + limit):
            found.append(one)
    except _Late:
        return found, False
    return found, True


def find(reader: index.Reader, text: str, scope: finding.Scope) -> finding.Found:
    try:
        return finding.one(reader, text, scope)
    except LookupError as error:
        raise Refused("not_found", str(error), "id") from None


def _has_room(call: Call, name: str) -> None:
    """Refused for who has no mailbox here, or a full one."""
    if not name:
        raise Refused("invalid_field", "to: say whose mailbox the mail goes to", "to")
    if names.account_problem(name) or call.house.directory.account(name) is None:
        raise Refused("not_found", f"there is no account {name}", "to")
    if (call.house.paths.full / name).exists():
        raise Refused("refused_by_rule", f"the mailbox of {name} is full", "to")


def _note(call: Call, what: str, about: str) -> None:
    """Whoever looks at other people's mail leaves a trace."""
    if call.caller.account is None:
        audit.note(call.house.paths, by=call.caller.name, client=call.client, what=what, about=about, keys=[])
