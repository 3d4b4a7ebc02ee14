"""lanmail archive verify: whatever is done to the archive, it says what, and to which message."""

import hashlib
import json
import os

import pytest
from click.testing import CliRunner

from lanmail import admin
from lanmail.archiving import intake, journal, verification
from tests.archivedroot import Archive


@pytest.fixture
def root(tmp_path):
    """Five mails in the archive."""
    made = Archive(tmp_path)
    for number in range(5):
        made.put("meier@office.lan", message=f"Return-Path: <a@far.example>\nMessage-ID: <{number}@far.example>\n"
                 f"Subject: Rechnung {number}\n\nbody\n".encode())
    made.work()
    return made


def call(root, *arguments, code=0):
    result = CliRunner().invoke(admin.cli, ["archive", *arguments, "--root", str(root.paths.root)])
    assert result.exit_code == code, result.output
    return result.output


def findings(root, *arguments, code=65):
    return json.loads(call(root, "verify", "--json", *arguments, code=code))["findings"]


def rows(root):
    return journal.path(root.paths).read_bytes().splitlines(keepends=True)


def rewrite(root, edit):
    found = rows(root)
    edit(found)
    journal.path(root.paths).write_bytes(b"".join(found))


def file_of(root, number):
    return root.paths.archive / root.lines()[number]["file"]


def change_byte(path):
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def test_nothing_is_wrong(root):
    said = call(root, "verify")
    assert "5 messages" in said
    assert "everything is as it was archived" in said
    assert json.loads(call(root, "verify", "--json"))["sound"]


def test_an_archive_that_never_was_used(tmp_path):
    empty = Archive(tmp_path)
    assert "0 messages" in call(empty, "verify")
    call(empty, "head", code=66)
    assert "nothing is old enough" in call(empty, "purge")
    assert "0 mails" in call(empty, "stats")


def test_one_byte_of_a_message(root):
    change_byte(file_of(root, 2))
    one, = findings(root)
    assert one["kind"] == "changed"
    assert one["line"]["message_id"] == "<2@far.example>"
    assert f"id {one['line']['id']}" in call(root, "verify", code=65)


@pytest.mark.parametrize("how", [lambda path: path.write_bytes(path.read_bytes()[:-1]),
                                 lambda path: path.write_bytes(path.read_bytes() + b"x"),
                                 lambda path: os.truncate(path, 0)], ids=["shorter", "longer", "empty"])
def test_another_length(root, how):
    file_of(root, 1).chmod(0o600)
    how(file_of(root, 1))
    one, = findings(root)
    assert "octets then" in one["text"]


def test_a_message_that_is_gone(root):
    file_of(root, 3).unlink()
    one, = findings(root)
    assert (one["kind"], one["line"]["message_id"]) == ("missing", "<3@far.example>")


def test_messages_that_changed_places(root):
    first, second = file_of(root, 0), file_of(root, 1)
    keep = first.with_name("keep")
    first.rename(keep)
    second.rename(first)
    keep.rename(second)
    assert {(one["kind"], one["line"]["message_id"]) for one in findings(root)} == {
        ("changed", "<0@far.example>"), ("changed", "<1@far.example>")}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)],
                         ids=["directory", "fifo", "link"])
def test_something_else_in_the_place_of_a_message(root, make):
    path = file_of(root, 0)
    path.unlink()
    make(path)
    assert [one["kind"] for one in findings(root)] == ["changed"]


@pytest.mark.parametrize("name", ["2026-11/cur/17.M1.mail,S=3:2,S", "2026-11/new/17.M1", "2026-11/tmp/x", "2026-11/x",
                                  "x", "2026-13x/cur"])
def test_a_file_that_nobody_archived(root, name):
    path = root.paths.archive / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"new")
    one, = findings(root)
    assert one["kind"] == "added"
    assert name.startswith(one["file"])


def test_a_mail_that_is_just_being_archived_is_no_finding(root):
    root.put("meier@office.lan")
    assert root.run() == 0
    one = intake.Intake(root.paths)
    one.store.put(one.spool, one.names()[0])
    one.close()
    said = json.loads(call(root, "verify", "--json"))
    assert said["sound"]
    assert "just being archived" in said["notes"][0]


@pytest.mark.parametrize(("edit", "kinds", "text"), [
    (lambda found: found.__setitem__(3, found[3].replace(b'"direction":"in"', b'"direction":"ou"')), {"journal"},
     "line 4 was changed"),
    (lambda found: found.pop(3), {"journal", "added"}, "line 4 is missing"),
    (lambda found: found.insert(3, found[2]), {"journal"}, "moved or added"),
    (lambda found: found.__setitem__(slice(2, 4), [found[3], found[2]]), {"journal"}, "is missing: 4 follows 2"),
    (lambda found: found.pop(), {"cut-off", "added"}, "its end was cut off"),
    (lambda found: found.clear(), {"cut-off", "added"}, "its end was cut off"),
], ids=["changed", "removed", "added", "swapped", "cut off", "emptied"])
def test_lines_of_the_journal(root, edit, kinds, text):
    rewrite(root, edit)
    found = findings(root)
    assert {one["kind"] for one in found} == kinds
    assert any(text in one["text"] for one in found)


def test_the_journal_is_gone(root):
    journal.path(root.paths).unlink()
    assert {one["kind"] for one in findings(root)} == {"journal", "cut-off", "added"}


def forge(root, edit):
    """Write the journal anew, with a chain that is right, as who has all rights could."""
    found, prev, made = [json.loads(row) for row in rows(root)], journal.ZERO, []
    edit(found)
    for number, data in enumerate(found, 1):
        raw = json.dumps({**data, "seq": number, "prev": prev}, separators=(",", ":")).encode()
        prev = hashlib.sha256(raw).hexdigest()
        made.append(raw + b"\n")
    journal.path(root.paths).write_bytes(b"".join(made))


def test_a_journal_written_anew_shows_against_what_archived_knows(root):
    file_of(root, 4).unlink()
    forge(root, lambda found: found.pop())
    assert {one["kind"] for one in findings(root)} == {"cut-off"}


def test_with_all_rights_only_what_was_kept_elsewhere_tells(root):
    kept = call(root, "head").strip()
    call(root, "verify", "--head", kept)
    change_byte(file_of(root, 4))
    digest = verification.store.digest_of(os.open(file_of(root, 4), os.O_RDONLY))[1]
    forge(root, lambda found: found[-1].__setitem__("sha256", digest))
    (root.paths.state / "archive/head.json").unlink()
    call(root, "verify")
    found, = findings(root, "--head", kept)
    assert "it ended differently then" in found["text"]
    root.put("meier@office.lan")
    root.work()
    assert len(findings(root, "--head", kept)) == 1


@pytest.mark.parametrize("text", ["17", "17:abc", "0:" + "a" * 64, "x" * 100])
def test_a_head_that_is_none(root, text):
    assert "lanmail archive head" in call(root, "verify", "--head", text, code=64)


def test_a_cut_that_was_archived_over_stays_known(root):
    rewrite(root, lambda found: found.pop())
    root.put("meier@office.lan")
    root.work()
    assert {one["kind"] for one in findings(root)} == {"cut-off", "added"}


def test_a_line_that_leads_out_of_the_archive(root):
    forge(root, lambda found: found[-1].__setitem__("file", "../conf/lanmail.toml"))
    (root.paths.state / "archive/head.json").unlink()
    assert {one["kind"] for one in findings(root)} == {"missing", "added"}


def test_what_mails_say_moves_no_cursor(root):
    root.put("meier@office.lan", message=b"Return-Path: <>\nMessage-ID: <\x1b[2J>\n\nx\n")
    root.work()
    file_of(root, 5).unlink()
    assert "\x1b" not in call(root, "verify", code=65)
