"""`lanmail mailbox import` from files: mbox trees as Thunderbird makes them, Maildirs, messages; twice is once."""

import gzip
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from lanmail import maildir, mbox
from lanmail.cli.mailbox import intake, journal, naming
from lanmail.folders import changes, subscriptions, uidlist
from tests.mailboxes import Place, message

WHEN = 1_600_000_000.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "root", "meier", "schmidt")


def write_mbox(path: Path, *texts: bytes, flags: tuple[str, ...] = ("\\Seen",)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    for number, text in enumerate(texts):
        mbox.write(stream, text, flags, WHEN + number)
    path.write_bytes(stream.getvalue())


@pytest.fixture
def thunderbird(tmp_path: Path) -> Path:
    """Local Folders of a profile, in German, with what else lies there."""
    root = tmp_path / "Local Folders"
    write_mbox(root / "Inbox", message("one"), message("two"))
    write_mbox(root / "Gesendet", message("sent"))
    write_mbox(root / "Projekte.sbd" / "Entw\u00fcrfe Nr. 2", message("draft"), message("draft"))
    (root / "Projekte").touch()
    (root / "Inbox.msf").write_bytes(b"// <!-- <mdb:mork:z")
    (root / "msgFilterRules.dat").write_text("version=9\n")
    os.symlink("/etc/passwd", root / "Leak")
    return root


def texts(place: Place, name: str, account: str = "meier") -> list[bytes]:
    return [text for _, _, _, text in place.state(account).get(name, [])]


def counts(place: Place, *arguments: str | Path, code: int = 0) -> dict[str, tuple[int, int, int]]:
    found = place.json("import", "meier", *arguments, code=code)["folders"]
    return {one["target"]: (one["copied"], one["there"], one["failed"]) for one in found}


def test_a_tree_of_thunderbird(place: Place, thunderbird: Path) -> None:
    dry = counts(place, thunderbird, "--dry-run")
    assert not Path(place.paths.maildirs, "meier", "cur").exists()
    assert counts(place, thunderbird) == dry == {
        "INBOX": (2, 0, 0), "Sent": (1, 0, 0), "Projekte.Entwürfe Nr_ 2": (2, 0, 0)}
    state = place.state()
    assert [(flags, date, text) for _, flags, date, text in state["INBOX"]] == [
        (frozenset({"\\Seen"}), WHEN, message("one")), (frozenset({"\\Seen"}), WHEN + 1, message("two"))]
    assert len(state["Projekte.Entwürfe Nr_ 2"]) == 2, "the same mail twice is two mails"
    assert "Projekte.Entwürfe Nr_ 2" in subscriptions.load(place.root())
    assert "Leak" not in state
    assert counts(place, thunderbird) == {
        "INBOX": (0, 2, 0), "Sent": (0, 1, 0), "Projekte.Entwürfe Nr_ 2": (0, 2, 0)}
    assert place.state() == state
    with open(thunderbird / "Inbox", "ab") as stream:
        mbox.write(stream, message("three"), (), WHEN)
    assert counts(place, thunderbird / "Inbox") == {"INBOX": (1, 2, 0)}


def test_what_is_chosen(place: Place, thunderbird: Path) -> None:
    assert set(counts(place, thunderbird, "--folder", "projekte")) == {"Projekte.Entwürfe Nr_ 2"}
    assert set(counts(place, thunderbird, "--exclude", "Projekte/*", "--exclude", "inbox")) == {"Sent"}
    assert set(counts(place, thunderbird, "--into", "Alt")) == {"Alt", "Alt.Gesendet", "Alt.Projekte.Entwürfe Nr_ 2"}
    assert counts(place, thunderbird / "Inbox", "--since", "2020-09-14") == {}
    assert counts(place, thunderbird / "Inbox", "--since", "2020-09-13") == {"INBOX": (2, 0, 0)}
    assert counts(place, thunderbird / "Inbox", "--again") == {"INBOX": (2, 0, 0)}
    assert "no folder can be called so" in place.call("import", "meier", thunderbird, "--into", "../x", code=64)


def test_a_message_that_came_by_another_way_is_known_by_its_id(place: Place, tmp_path: Path) -> None:
    place.put(message("a", identity="a@x"))
    place.put(message("b", body="another text\n", identity="b@x"))
    write_mbox(tmp_path / "Inbox", *(message(name, identity=f"{name}@x") for name in "aba"))
    assert counts(place, tmp_path / "Inbox") == {"INBOX": (2, 1, 0)}
    assert counts(place, tmp_path / "Inbox") == {"INBOX": (0, 3, 0)}
    assert len(texts(place, "INBOX")) == 4


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A Maildir++ of another server with UIDs, flags, keywords and a compressed mail."""
    made = Place(tmp_path / "other", "meier")
    for number in range(5):
        made.put(message(f"mail {number}"), flags=("\\Flagged", "Wichtig") if number % 2 else (), date=WHEN + number)
    own = made.folder()
    changes.expunge(own, [1, 3])
    made.put(message("deep"), "Projekte.Entwürfe", flags=("\\Seen",))
    maildir.put(made.root(), message("new"))
    own.sync()
    packed = Path(made.root(), ".Projekte.Entw&APw-rfe", "cur", "1600000000.M1P1.host,S=999:2,SZ")
    packed.write_bytes(gzip.compress(message("packed").replace(b"\n", b"\r\n")))
    os.mkfifo(Path(made.root(), "cur", "fifo"))
    return made.root()


def test_a_maildir_with_its_uids(place: Place, other: str, tmp_path: Path) -> None:
    there = Place(tmp_path / "look", "meier")
    shutil.rmtree(there.paths.maildirs)
    os.makedirs(there.paths.maildirs)
    shutil.copytree(other, there.paths.maildirs / "meier", ignore=shutil.ignore_patterns("fifo"))
    expected = there.state()
    assert counts(place, other, "--keep-uids") == {"INBOX": (4, 0, 0), "Projekte.Entwürfe": (2, 0, 0)}
    found = place.state()
    assert found["INBOX"] == expected["INBOX"]
    assert [one[0] for one in found["INBOX"]] == [2, 4, 5, 6]
    assert found["Projekte.Entwürfe"][0] == expected["Projekte.Entwürfe"][0]
    assert texts(place, "Projekte.Entwürfe")[1] == message("packed")
    before, after = uidlist.read(f"{other}/dovecot-uidlist")[0], uidlist.read(f"{place.root()}/dovecot-uidlist")[0]
    assert (before.uidvalidity, before.uidnext) == (after.uidvalidity, after.uidnext)
    assert counts(place, other, "--keep-uids") == {"INBOX": (0, 4, 0), "Projekte.Entwürfe": (0, 2, 0)}


def test_uids_are_not_kept_where_others_were_seen(place: Place, other: str) -> None:
    place.put(message("mine"))
    result = place.json("import", "meier", other, "--keep-uids", "--folder", "INBOX")
    assert "not new and empty" in result["problems"][0]
    assert [one[0] for one in place.state()["INBOX"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("when", ["while it is read", "before it is in place"])
def test_mail_that_comes_during_an_import_that_keeps_uids(
        place: Place, other: str, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Somebody may see the new mail at once: then no lower UID may come; else the UIDs stay what they were."""
    monkeypatch.setattr(intake, "_MESSAGES", 2)
    seen: list[tuple[int, bytes]] = []

    def deliver(*_arguments: object) -> None:
        if not seen:
            place.put(message("in between"))
            seen.extend((uid, text) for uid, _, _, text in place.state()["INBOX"])

    if when == "while it is read":
        settle = intake.Intake._settle
        monkeypatch.setattr(intake.Intake, "_settle", lambda *arguments: (deliver(), settle(*arguments)))
    else:
        put = intake.Intake._put
        monkeypatch.setattr(intake.Intake, "_put", lambda *arguments: (deliver(), put(*arguments)))
    result = place.json("import", "meier", other, "--keep-uids", "--folder", "INBOX")
    assert "could not be kept" in result["problems"][0]
    found = [(uid, text) for uid, _, _, text in place.state()["INBOX"]]
    assert seen == found[:1], "what was seen is still there, under its UID, and nothing comes before it"
    assert len(found) == 5
    assert not os.listdir(f"{place.root()}/tmp")


def test_single_messages(place: Place, tmp_path: Path) -> None:
    tree = tmp_path / "eml"
    (tree / "Alte Post").mkdir(parents=True)
    (tree / "a.eml").write_bytes(b"Received: by x; Sun, 13 Sep 2020 12:26:40 +0000\r\n"
                                 + message("a").replace(b"\n", b"\r\n"))
    (tree / "Alte Post" / "b").write_bytes(message("b"))
    (tree / "Alte Post" / "photo.png").write_bytes(b"\x89PNG\r\n")
    assert counts(place, tree) == {"INBOX": (1, 0, 0), "Alte Post": (1, 0, 0)}
    (only,) = place.state()["INBOX"]
    assert only[2] == WHEN
    assert only[3].endswith(message("a"))
    assert "neither an mbox file nor a message" in place.call("import", "meier", tree / "Alte Post/photo.png", code=65)
    place.call("import", "meier", tmp_path / "nowhere", code=74)
    assert "name the mbox" in place.call("import", "meier", code=64)


class Killed(BaseException):
    """What a SIGKILL is to the code: nothing of it runs on."""


@pytest.mark.parametrize("step", range(1, 14))
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(intake, "_MESSAGES", 3)
    mails = [message(f"mail {number % 6}") for number in range(10)]
    write_mbox(tmp_path / "Inbox", *mails)
    left = step
    real = {name: getattr(os, name) for name in ("rename", "fdatasync")}

    def mortal(name: str):  # type: ignore[no-untyped-def]
        def call(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real[name](*arguments, **options)
        return call

    maildir.prepare(place.root())
    with monkeypatch.context() as patch:
        patch.setattr(intake.Draft, "drop", lambda self: None)
        for name in real:
            patch.setattr(os, name, mortal(name))
        # what undoes a failed step does not run in a process that is dead
        patch.setattr(changes.contextlib, "suppress", lambda *_errors: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            place.call("import", "meier", tmp_path / "Inbox")
    for lock in Path(place.root()).rglob("*.lock"):
        lock.unlink()
    place.call("import", "meier", tmp_path / "Inbox")
    assert sorted(texts(place, "INBOX")) == sorted(mails)


def test_a_mail_that_was_deleted_after_a_kill_does_not_come_back(place: Place, tmp_path: Path) -> None:
    write_mbox(tmp_path / "Inbox", message("a"), message("b"))
    place.call("import", "meier", tmp_path / "Inbox")
    changes.expunge(place.folder(), [1])
    path = place.paths.state / "import" / "meier"
    path.write_bytes(path.read_bytes().replace(b"[]\n", b'["INB'))  # no end, a torn line
    assert counts(place, tmp_path / "Inbox") == {"INBOX": (0, 2, 0)}
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[-5:-1] if line]
    assert lines[-1] == []


def test_an_account_that_takes_no_more_ends_the_run(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_MESSAGES", 3)
    mails = [message(f"mail {number}") for number in range(12)]
    write_mbox(tmp_path / "Inbox", *mails)
    real, calls = changes.adopt, []

    def adopt(*arguments):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", "somewhere")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(changes, "adopt", adopt)
        assert "the same command goes on" in place.call("import", "meier", tmp_path / "Inbox", code=74)
    assert texts(place, "INBOX") == mails[:3]
    assert counts(place, tmp_path / "Inbox") == {"INBOX": (9, 3, 0)}
    assert texts(place, "INBOX") == mails


def test_names_of_files_reach_no_terminal(place: Place, tmp_path: Path) -> None:
    write_mbox(tmp_path / "tree" / "a\x1b[31mb", message("a"))
    said = place.call("import", "meier", tmp_path / "tree")
    assert "\x1b" not in said
    assert "a_[31mb" in place.state()


def test_two_imports_at_once(place: Place, thunderbird: Path) -> None:
    maildir.prepare(place.root())
    with journal.opened(place.paths.state, place.paths.maildirs / "meier", dry_run=False):
        assert "another import" in place.call("import", "meier", thunderbird, code=75)


def test_an_unreadable_message_is_told_and_the_rest_comes(place: Place, tmp_path: Path) -> None:
    source = Place(tmp_path / "other", "meier")
    source.put(message("good"))
    Path(source.root(), "cur", "1.bad:2,SZ").write_bytes(gzip.compress(message("bad"))[:30])
    said = place.call("import", "meier", source.root(), code=74)
    assert "packed and damaged" in said
    assert texts(place, "INBOX") == [message("good")]


def test_more_keywords_than_a_folder_takes(place: Place, tmp_path: Path) -> None:
    stream = io.BytesIO()
    for number in range(3):
        mbox.write(stream, message(f"m{number}"), tuple(f"k{number}-{one}" for one in range(90)), WHEN)
    (tmp_path / "Inbox").write_bytes(stream.getvalue())
    assert "without theirs" in place.call("import", "meier", tmp_path / "Inbox")
    assert len(texts(place, "INBOX")) == 3


def test_names_from_elsewhere_are_no_paths(place: Place) -> None:
    maildir.create(place.root(), "Gesendet")
    name = naming.Naming(place.root())
    assert name.of(("..", "..", "etc")) == "__.__.etc"
    assert name.of(("a/b\x00c", "")) == "a_b_c._"
    assert name.of(("inbox",)) == "INBOX"
    assert name.of(("INBOX", "Sent Items")) == "Gesendet"
    assert name.of(("Whatever",), "\\Sent") == "Gesendet"
    assert name.of(("Papierkorb",)) == "Trash"
    assert len(name.of(("ü" * 500,) * 30)) < 200
    assert name.of(("Inbox", "INBOX", "x")) == "INBOX_.x"


def test_flags_that_a_folder_can_keep() -> None:
    assert intake.clean(["\\seen", "\\Recent", "\\*", "$Label1", "a b", "ü", "x" * 101, "(", "Work"]) == (
        "\\Seen", "$Label1", "Work")


def test_line_ends_are_made_ours(tmp_path: Path) -> None:
    maildir.ensure(str(tmp_path))
    draft = intake.Draft(str(tmp_path))
    for piece in (b"a\r", b"\nb\r\n", b"\rc\r", b"\r\n", b"d\ne\r"):
        draft.write(piece)
    draft.finish(None)
    assert Path(draft.path).read_bytes() == b"a\nb\n\rc\r\nd\ne\r"
    assert (draft.size, draft.wire_size) == (12, 12 + 4)
