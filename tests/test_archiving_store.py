"""The store of the archive: files that nobody changes any more, under names that say what they are."""

import errno
import hashlib
import os

import pytest

from lanmail import address, envelope, paths, spool
from lanmail.archiving import store

ID = "1763759701.M123456P7Q1R00af.mail"
TEXT = b"Return-Path: <a@far.example>\nMessage-ID: <1@far.example>\nSubject: hi\n\nbody\n"


@pytest.fixture
def where(tmp_path):
    made = paths.of_root(tmp_path)
    store.spool_of(made).ensure()
    return made


def entry(where, text=TEXT, *, to=("meier@office.lan", "blind@office.lan"), name=None, **facts):
    """Put an entry into spool/archive; its file name."""
    said = {"id": ID, "form": "accepted", "submitter": "", "receivers": ("meier",), "how": "mx"}
    known = store.Facts(**{**said, **facts})
    head = envelope.Envelope(address.parse("a@far.example"), [envelope.Recipient(address.parse(one)) for one in to],
                             origin=store.origin(known))
    return store.spool_of(where).put(head, text, name or known.id)


def put(where, name):
    one, owner = store.Store(where), store.spool_of(where)
    try:
        found = one.put(owner, name)
        one.settle()
    finally:
        one.close()
        owner.close()
    return found


def test_a_file_is_the_entry_as_it_was_handed_over(where):
    name = entry(where)
    raw = (where.spool / "archive/new" / name).read_bytes()
    found = put(where, name)
    digest = hashlib.sha256(raw).hexdigest()
    assert found.new
    assert found.body["file"] == f"2025-11/cur/{ID},S={len(raw)},H={digest[:32]}:2,S"
    file = where.archive / found.body["file"]
    assert file.read_bytes() == raw
    assert file.stat().st_mode & 0o7777 == 0o440
    assert found.body == {
        "kind": "mail", "id": ID, "form": "accepted", "file": found.body["file"], "sha256": digest, "size": len(raw),
        "arrived": "2025-11-21T21:15:01.123Z", "direction": "in", "submitter": "", "receivers": ["meier"], "how": "mx",
        "sender": "a@far.example", "recipients": ["meier@office.lan", "blind@office.lan"],
        "message_id": "<1@far.example>",
    }
    head, text = store.read(where.archive, found.body)
    assert text == TEXT
    assert [str(one.address) for one in head.recipients] == found.body["recipients"]


def test_the_same_entry_again_is_the_same_file(where):
    first = put(where, entry(where))
    assert not put(where, entry(where)).new
    assert len(list((where.archive / "2025-11/cur").iterdir())) == 1
    assert store.Store(where).is_sound(first.body)


def test_the_form_that_went_out_lies_beside_the_one_that_came_in(where):
    first = put(where, entry(where))
    second = put(where, entry(where, b"Return-Path: <>\n\nother\n", form="sent", submitter="meier", receivers=(),
                              name=f"{ID}-sent"))
    assert second.new
    assert second.body["id"] == first.body["id"]
    assert second.body["file"].startswith(f"2025-11/cur/{ID}-sent,S=")
    assert second.body["direction"] == "out"


def test_a_thousand_accounts_fit(where):
    names = tuple(sorted(f"account-with-a-rather-long-name-{number}" for number in range(1000)))
    found = put(where, entry(where, receivers=names, submitter="meier"))
    assert tuple(found.body["receivers"]) == names
    assert found.body["direction"] == "both"


@pytest.mark.parametrize("mail_id", ["../../etc/passwd", "a/b", "", ".hidden", "a b\nc", "x" * 300, "a:2,S", "nul\0"])
def test_an_id_that_is_no_file_name_is_refused(where, mail_id):
    facts = store.Facts(mail_id, "accepted", "", ("meier",), "mx")
    try:
        head = envelope.Envelope(None, [], origin=store.origin(facts))
        envelope.encode(head)
    except ValueError:
        return
    with pytest.raises(ValueError, match="no id"):
        store.facts(head)


def test_an_id_with_odd_characters_comes_back(where):
    facts = store.Facts("17.Größe=1%&", "accepted", "", ("meier",), "mx")
    head = envelope.Envelope(None, [], origin=store.origin(facts))
    decoded, _ = envelope.decode(envelope.encode(head))
    assert decoded is not None
    assert store.facts(decoded) == facts


@pytest.mark.parametrize("origin", [None, envelope.Origin("mx"), envelope.Origin("archive"),
                                    envelope.Origin("archive", (("id", "1"), ("form", "other")))])
def test_what_is_not_for_the_archive_is_refused(where, origin):
    head = envelope.Envelope(None, [envelope.Recipient(address.parse("meier@office.lan"))], origin=origin)
    with pytest.raises(ValueError, match="X-Origin"):
        put(where, store.spool_of(where).put(head, TEXT, ID))


def test_an_archive_on_a_file_system_of_its_own_gets_copies(where, monkeypatch):
    real = os.link

    def link(source, target, **options):
        if "src_dir_fd" in options:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
    found = put(where, entry(where))
    assert found.new
    assert (where.archive / found.body["file"]).stat().st_mode & 0o7777 == 0o440
    assert store.Store(where).is_sound(found.body)
    assert not put(where, entry(where)).new
    assert not list((where.archive / "2025-11/tmp").iterdir())


@pytest.mark.parametrize("name", ["../conf/lanmail.toml", "/etc/passwd", "2025-11/cur/../../x", "2025-11/cur", 7, None])
def test_a_forged_line_leads_nowhere(where, name):
    with pytest.raises(OSError):
        store.open_file(where.archive, {"file": name})


def test_a_link_in_place_of_a_message_is_not_followed(where):
    found = put(where, entry(where))
    file = where.archive / found.body["file"]
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        store.open_file(where.archive, found.body)
    assert spool.parse_name(file.name).id == ID
