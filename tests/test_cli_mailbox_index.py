"""`lanmail mailbox index`: indexes made, brought up to date, made anew, and what is told of them."""

import os
from pathlib import Path

import pytest

from lanmail.textindex import indexes
from tests.mailboxes import Place, message

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_index_is_made_and_brought_up_to_date(place: Place) -> None:
    for name in ("INBOX", "Sent"):
        place.put(message(), name)
    (one,) = place.json("index", "--status")
    assert one == {"account": "meier", "state": "none", "indexed": 0, "messages": None, "size": 0, "seconds": None,
                   "written": None}
    (one,) = place.json("index")
    assert (one["account"], one["state"], one["indexed"], one["messages"]) == ("meier", "complete", 2, 2)
    assert one["size"] == place.paths.indexes.joinpath("meier.sqlite").stat().st_size > 0
    place.put(message())
    assert place.json("index", "meier", "--status")[0]["indexed"] == 2
    before = os.stat(place.paths.indexes / "meier.sqlite").st_ino
    assert place.call("index", "meier").splitlines()[-1].split()[:3] == ["meier", "3", "3"]
    assert os.stat(place.paths.indexes / "meier.sqlite").st_ino == before
    with (place.paths.indexes / "meier.sqlite").open("rb"):  # held open, so that its inode is not given to the new one
        assert place.json("index", "--rebuild")[0]["indexed"] == 3
    assert os.stat(place.paths.indexes / "meier.sqlite").st_ino != before
    place.call("index", "nobody", code=67)


def test_who_cannot_write_says_so(place: Place) -> None:
    place.put(message())
    place.paths.indexes.mkdir(parents=True)
    place.paths.indexes.joinpath("meier.sqlite").mkdir()  # what is no file can neither be opened nor removed
    assert "could not be made" in place.call("index", code=75)
    assert place.json("index", "--status")[0]["state"] == "none"


def test_a_second_filler_waits(place: Place) -> None:
    own = indexes.Indexes(place.paths.indexes)
    process = own.start(indexes.Job(place.root("schmidt"), share=1))
    assert process is not None
    assert place.json("index", "schmidt")[0]["state"] == "complete"
    assert process.ended() == 0
