"""`lanmail mailbox export`: what it writes, `import` reads again, to the last octet."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import subscriptions
from tests.mailboxes import Place, message

WHEN = 1_600_000_000
ODD = (b"Subject: From\n\nFrom me\n>From you\n>>From all\n\nFrom a@b Sat Nov 21 10:00:00 2026\nSubject: x\n\n", b"",
       b"Subject: torn", b"\n\nonly a body", b"Status: mine\nContent-Length: 3\nSubject: own\n\nlonger than that\n\n\n",
       b"Subject: cr\n\na\rb\n", "Subject: ümlaut\n\näöü\n".encode())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "root", "meier", "schmidt")
    maildir.prepare(made.root())
    for number, text in enumerate(ODD):
        made.put(text, flags=("\\Seen", "$Label1") if number % 2 else ("\\Flagged",), date=WHEN + number)
    made.put(message("deep"), "Projekte.Entwürfe & mehr", flags=tuple(f"k{n}" for n in range(30)), date=WHEN)
    made.put(message("sent", "../../etc\n"), "Sent", flags=("\\Seen", "\\Draft", "\\Answered", "\\Deleted"), date=WHEN)
    made.put(b"Subject: ../../x: y?\x1b\n\nx\n", "Sent", date=WHEN)
    return made


def seen(place: Place, account: str) -> dict[str, list[tuple[frozenset[str], int, bytes]]]:
    return {name: [one[1:] for one in mails] for name, mails in place.state(account).items() if mails}


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_there_and_back(place: Place, tmp_path: Path, form: str) -> None:
    before = place.state()
    said = place.call("export", "meier", "--to", tmp_path / "out", "--format", form)
    assert "Projekte.Entwürfe & mehr" in said
    assert place.state() == before
    place.call("import", "schmidt", tmp_path / "out", *(("--keep-uids",) if form == "maildir" else ()))
    assert seen(place, "schmidt") == seen(place, "meier")
    if form == "maildir":
        assert {name: mails for name, mails in place.state("schmidt").items() if mails} == {
            name: mails for name, mails in before.items() if mails}
        assert (tmp_path / "out/subscriptions").read_bytes() == Path(place.root(), "subscriptions").read_bytes()
    assert subscriptions.load(place.root("schmidt"))


def test_single_messages(place: Place, tmp_path: Path) -> None:
    place.call("export", "meier", "--to", tmp_path / "out", "--format", "eml")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.eml")}
    assert "Projekte/Entwürfe & mehr/000001 deep.eml" in names
    assert "Sent/000002 x y.eml" in names
    assert (tmp_path / "out/INBOX/000007 ümlaut.eml").read_bytes() == ODD[6].replace(b"\n", b"\r\n")
    assert (tmp_path / "out/Sent/000001 sent.eml").stat().st_mtime == WHEN


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_archives(place: Place, tmp_path: Path, name: str) -> None:
    place.call("export", "meier", "--to", tmp_path / name)
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            archive.extractall(tmp_path / "out")
    else:
        with tarfile.open(tmp_path / name) as tar:
            tar.extractall(tmp_path / "out", filter="data")
    place.call("import", "schmidt", tmp_path / "out")
    assert {name: sorted(text for _, _, text in mails) for name, mails in seen(place, "schmidt").items()} == {
        name: sorted(text for _, _, text in mails) for name, mails in seen(place, "meier").items()}
    assert not list(tmp_path.glob("*.partial"))


def test_one_folder_to_one_file(place: Place, tmp_path: Path) -> None:
    place.call("export", "meier", "sent", "--to", tmp_path / "Sent.mbox")
    assert (tmp_path / "Sent.mbox").read_bytes().count(b"From MAILER-DAEMON Sun Sep 13 12:26:40 2020\n") == 2
    place.call("import", "schmidt", tmp_path / "Sent.mbox")
    assert seen(place, "schmidt")["Sent"] == seen(place, "meier")["Sent"]


def test_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    (tmp_path / "x.zip").touch()
    assert "not empty" in place.call("export", "meier", "--to", tmp_path / "out", code=74)
    assert "there already" in place.call("export", "meier", "--to", tmp_path / "x.zip", code=74)
    assert "takes one folder" in place.call("export", "meier", "--to", tmp_path / "y.mbox", code=64)
    assert "no folder" in place.call("export", "meier", "Nope", "--to", tmp_path / "z", code=66)
    shutil.rmtree(place.paths.maildirs / "schmidt", ignore_errors=True)
    assert "no Maildir yet" in place.call("export", "schmidt", "--to", tmp_path / "z", code=66)
