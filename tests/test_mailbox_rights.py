"""`lanmail mailbox` typed by root: what it writes belongs to whoever runs the programs, what it reads may be root's."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import maildir
from tests.mailboxes import Place, message

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")


@pytest.fixture
def place() -> Iterator[Place]:
    """An installation that belongs to another user, in a directory that he may walk through."""
    base = Path(tempfile.mkdtemp(prefix="lanmail-rights-"))
    base.chmod(0o711)
    made = Place(base / "root", "meier", "schmidt")
    made.root()
    made.paths.state.mkdir()
    (base / "root").chmod(0o711)
    (base / "private").mkdir(mode=0o700)
    for path in [base / "root", *(base / "root").rglob("*")]:
        shutil.chown(path, "mail", "mail")
    yield made
    shutil.rmtree(base)


def owners(place: Place) -> set[int]:
    return {path.lstat().st_uid for top in (place.paths.maildirs, place.paths.state) for path in top.rglob("*")}


def test_in_and_out(place: Place) -> None:
    private = place.base.parent / "private"
    (private / "a.eml").write_bytes(message("a"))
    (private / "a.eml").chmod(0o600)
    mail = pwd.getpwnam("mail").pw_uid
    place.call("import", "meier", private)
    assert owners(place) == {mail}
    assert os.geteuid() == 0
    for form in ("maildir", "mbox", "eml"):
        place.call("export", "meier", "--to", private / form, "--format", form)
    for name in ("a.zip", "a.tar.gz"):
        place.call("export", "meier", "--to", private / name)
    assert {path.lstat().st_uid for path in private.rglob("*")} == {0}
    place.call("import", "schmidt", private / "maildir", "--keep-uids")
    assert owners(place) == {mail}
    assert [text for _, _, _, text in place.state("schmidt")["INBOX"]] == [message("a")]


def test_repair_gives_back(place: Place) -> None:
    place.call("repair", "meier", code=0)
    maildir.create(place.root(), "Sent")
    maildir.put(maildir.path_of(place.root(), "Sent"), message(), "S")
    assert place.json("check", "meier", "Sent", code=65)
    place.call("repair", "meier")
    assert place.json("check", "meier") == []
    assert owners(place) == {pwd.getpwnam("mail").pw_uid}
