"""Which folder is used for what, as clients said: the file, and what maildir makes of it."""

from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import specialuse


@pytest.fixture
def root(tmp_path: Path) -> str:
    maildir.prepare(str(tmp_path))
    return str(tmp_path)


def uses(root: str) -> dict[str, str]:
    return maildir.specials(root, maildir.folders(root))


def test_names_alone(root: str) -> None:
    assert uses(root) == {"\\Sent": "Sent", "\\Drafts": "Drafts", "\\Trash": "Trash", "\\Junk": "Junk"}
    maildir.create(root, "archiv")
    assert uses(root)["\\Archive"] == "archiv"
    assert not Path(root, specialuse.NAME).exists()


def test_what_was_said_counts_more_than_names(root: str) -> None:
    maildir.create(root, "Ablage.Größe", ["\\Archive"])
    maildir.create(root, "Archiv")
    assert uses(root)["\\Archive"] == "Ablage.Größe"
    assert Path(root, specialuse.NAME).read_text() == "\\Archive Ablage.Größe\n"
    maildir.create(root, "Fort", ["\\Sent", "\\Trash"])
    assert uses(root)["\\Sent"] == uses(root)["\\Trash"] == "Fort"


def test_one_folder_for_each_use(root: str) -> None:
    maildir.create(root, "A", ["\\Archive"])
    with pytest.raises(specialuse.Taken, match="A"):
        maildir.create(root, "B", ["\\Sent", "\\Archive"])
    assert not maildir.exists(root, "B")
    assert uses(root)["\\Sent"] == "Sent"
    maildir.delete(root, "A")
    maildir.create(root, "B", ["\\Archive"])
    assert uses(root)["\\Archive"] == "B"


def test_it_follows_when_folders_are_renamed_and_removed(root: str) -> None:
    maildir.create(root, "A.B", ["\\Archive"])
    maildir.rename(root, "A", "C")
    assert uses(root)["\\Archive"] == "C.B"
    maildir.delete(root, "C.B")
    assert "\\Archive" not in uses(root)
    maildir.create(root, "C.B")
    assert "\\Archive" not in uses(root)


def test_a_folder_with_a_use_is_not_taken_for_another_by_its_name(root: str) -> None:
    maildir.create(root, "Archive", ["\\Junk"])
    assert uses(root)["\\Junk"] == "Archive"
    assert "\\Archive" not in uses(root)


@pytest.mark.parametrize("text", [b"", b"\n\n", b"rubbish", b"\\Klingon Sent\n", b"\\Archive \xff\xfe\n", b"\\Sent\n"])
def test_a_strange_file_is_no_trouble(root: str, text: bytes) -> None:
    Path(root, specialuse.NAME).write_bytes(text)
    assert uses(root)["\\Sent"] == "Sent"
    maildir.create(root, "X", ["\\Archive"])
    assert uses(root)["\\Archive"] == "X"
