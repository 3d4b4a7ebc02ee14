"""archive.verify and archive.export: proof that nothing was changed, and what an auditor asks for."""

import base64
import io
import time
import zipfile
from dataclasses import asdict
from typing import Any

from pydantic import Field

from lanmail.administration import audit
from lanmail.archiving import exporting, finding, journal, query, retention, store, verification
from lanmail.web import checking
from lanmail.web.api import archive
from lanmail.web.api.frame import Call, Params, Refused, method

LARGEST = 32 << 20  # octets of messages that one call exports


class Verify(Params):
    """Whether to look anew."""

    start: bool = Field(False, description="begin to look through all of it, unless that is going on")
    head: str | None = Field(None, max_length=100, description="N:HASH that was written down (lanmail archive head)")


class Export(Params):
    """Which mails."""

    query: str = Field("", max_length=1000, description="as for archive.search; with ids they are not searched")
    ids: list[str] = Field([], max_length=200)


@method("archive.verify", Verify, needs="read", reads=True)
def verify(call: Call, given: Verify) -> dict[str, Any]:
    """How far the last look through the archive is, and what it found; `start` begins one and does not wait for it."""
    where = call.house.paths
    if given.start:
        if call.caller.rights != "admin":
            raise Refused("forbidden", "only an administrator may start it")
        try:
            kept = verification.kept(given.head) if given.head else None
        except ValueError as error:
            raise Refused("invalid_field", f"head: {error}", "head") from None
        try:
            started = checking.start(where, kept)
        except checking.TooLarge:
            raise Refused("refused_by_rule", "the archive is too large for this: use lanmail archive verify") from None
        if started:
            audit.note(where, by=call.caller.name, client=call.client, what="archive.verify", about="", keys=[])
    return asdict(checking.last(where))


@method("archive.export", Export, reads=True)
def export(call: Call, given: Export) -> dict[str, Any]:
    """A .zip in base64: the files of the archive octet by octet, and the lines of the journal that prove them.

    Both forms of a mail are in it. Much mail is for `lanmail archive export`.
    """
    where = call.house.paths
    if call.caller.rights != "admin":
        raise Refused("forbidden", "archived mail is for administrators, and for whose it is")
    chosen = _chosen(call, given)
    if sum(int(data["size"]) for data in chosen.values()) > LARGEST:
        raise Refused("too_large", f"more than {LARGEST >> 20} MB: use lanmail archive export")
    packed, missing = io.BytesIO(), []
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as output:
        for data in chosen.values():
            try:
                with open(store.open_file(where.archive, data), "rb") as stream:
                    output.writestr(exporting.name_of(data), stream.read())
            except OSError:
                missing.append(str(data["id"]))
        ends: list[journal.Line] = []
        output.writestr("journal.jsonl", b"".join(exporting.lines(where, chosen, ends)))
        for last in ends:
            output.writestr("head.json", exporting.end(last, len(chosen) - len(missing)))
    audit.note(where, by=call.caller.name, client=call.client, what="archive.export", about=f"{len(chosen)}", keys=[])
    return {"exported": len(chosen) - len(missing), "missing": missing,
            "data": base64.b64encode(packed.getvalue()).decode()}


def _chosen(call: Call, given: Export) -> dict[int, dict[str, Any]]:
    """The mail lines, all forms."""
    path = journal.path(call.house.paths)
    if path.exists() and path.stat().st_size > checking.LARGEST:
        raise Refused("refused_by_rule", "the archive is too large for this: use lanmail archive export")
    with archive.opened(call) as reader:
        if given.ids:
            ids = {archive.find(reader, one, finding.EVERYTHING).id for one in given.ids}
        else:
            try:
                asked = query.parse(given.query, time.time())
            except query.QueryError as error:
                raise Refused("invalid_field", f"query: {error}", "query") from None
            ids = {one.id for one in finding.search(reader, asked, finding.EVERYTHING, limit=100_000)}
    contents = retention.read(call.house.paths)
    chosen = {seq: data for seq, data in contents.mails.items() if data.get("id") in ids}
    if not chosen:
        raise Refused("not_found", "nothing fits")
    return chosen
