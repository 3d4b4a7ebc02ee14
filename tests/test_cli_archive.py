"""lanmail archive search, show, restore, reindex: what an administrator types and sees."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanmail import admin, maildir
from lanmail.archiving import finding, following, index, store
from tests.archiveroot import NOW, Archive, mail


@pytest.fixture
def some(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.where.accounts.mkdir(parents=True)
    made.where.config_file.write_text('[server]\ndomain = "office.lan"\n')
    for name in ("alice", "bob"):
        (made.where.accounts / f"{name}.toml").write_text("")
    return made


@pytest.fixture
def two(some: Archive) -> tuple[str, str]:
    """alice wrote to bob, blindly to somebody elsewhere, and it went out changed; then somebody wrote to bob."""
    first = some.add(mail("Verträge", "Guten Tag,\n\x1b[31mdie Rechnungsprüfung\n"), sender="alice@office.lan",
                     submitter="alice", to=("bob@office.lan", "blind@far.example"))
    some.add(mail("Verträge (extern)"), mail_id=first, form=store.SENT, submitter="alice", receivers=(),
             to=("blind@far.example",))
    second = some.add(mail("Preise \x1b]0;x", "neue Preise"))
    some.flush()
    return first, second


def call(some: Archive, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(admin.cli, ["archive", "--root", str(some.where.root), *arguments])
    assert result.exit_code == code, result.output
    return result.output


def found(some: Archive, *arguments: str) -> list[str]:
    return [one["subject"] for one in json.loads(call(some, "search", "--json", *arguments))["found"]]


def test_search_brings_the_index_up_to_date_itself(some: Archive, two: tuple[str, str]) -> None:
    assert found(some, "vertrag") == ["Verträge"]
    some.add(mail("Vertrag 2"))
    some.flush()
    assert found(some, "vertrag") == ["Vertrag 2", "Verträge"]


def test_search_as_a_table(some: Archive, two: tuple[str, str]) -> None:
    head, newest, oldest = call(some, "search").splitlines()
    assert head.split() == ["ID", "DATE", "DIR", "FROM", "TO", "SUBJECT", "ATT", "SIZE"]
    assert two[1] in newest
    assert two[0] in oldest
    assert " both " in oldest
    assert "\x1b" not in newest
    assert call(some, "search", "nirgends").splitlines() == ["nothing found",
                                                             "(--substring also finds words inside of others)"]
    assert "go on with: --offset 1" in call(some, "search", "--limit", "1")
    assert found(some, "--limit", "1", "--offset", "1") == ["Verträge"]
    assert found(some, "--substring", "prüfung") == ["Verträge"]
    assert found(some, "--substring", "--limit", "1", "--offset", "1") == ["Verträge"]
    assert found(some, "--", "-vertrag") == found(some, "-vertrag") == ["Preise  ]0;x"]


def test_search_says_what_is_wrong(some: Archive, two: tuple[str, str]) -> None:
    assert "at character 9: \" is not closed" in call(some, "search", 'Angebot "x', code=os.EX_USAGE)
    assert "did you mean from:" in call(some, "search", "form:eva", code=os.EX_USAGE)
    call(some, "search", "--substring", "--relevance", "x", code=os.EX_USAGE)


def test_an_empty_archive(some: Archive) -> None:
    for words in (("search",), ("show", "x"), ("restore", "x", "--to", "bob"), ("reindex",)):
        assert "the archive is empty" in call(some, *words, code=os.EX_NOINPUT)


def test_an_account_sees_what_is_its_own(some: Archive, two: tuple[str, str]) -> None:
    assert found(some, "--account", "alice") == ["Verträge"]
    assert len(found(some, "--account", "BOB")) == 2
    assert found(some, "--account", "nobody") == found(some, "--account", "bob", "to:blind") == []
    assert "no mail in the archive" in call(some, "show", two[1], "--account", "alice", code=os.EX_NOINPUT)
    for option in ("--envelope", "--sent"):
        assert "only shown to who sent the mail" in call(some, "show", two[0], option, "--account", "bob",
                                                         code=os.EX_NOPERM)
    shown = json.loads(call(some, "show", two[0], "--json", "--account", "bob"))
    assert "envelope" not in shown
    assert "blind" not in json.dumps(shown)
    assert "blind" not in call(some, "show", two[0], "--account", "bob")
    assert shown["accounts"] == [{"account": "bob", "direction": "in"}]


def test_show(some: Archive, two: tuple[str, str]) -> None:
    shown = call(some, "show", two[0][:18], "--envelope")
    for line in ("Subject:     Verträge", "Accounts:    alice (out), bob (in)", "Sender:      <alice@office.lan>",
                 "Recipient:   <blind@far.example>", "·[31mdie Rechnungsprüfung"):
        assert line in shown.splitlines(), line
    assert "Recipient" not in call(some, "show", two[0])
    assert "Verträge (extern)" in call(some, "show", two[0], "--sent")
    raw = call(some, "show", two[0], "--raw")
    assert raw == mail("Verträge", "Guten Tag,\n\x1b[31mdie Rechnungsprüfung\n")
    assert json.loads(call(some, "show", two[0], "--json"))["envelope"] == {
        "sender": "alice@office.lan", "recipients": ["bob@office.lan", "blind@far.example"]}
    assert "several mails" in call(some, "show", two[0][:6], code=os.EX_NOINPUT)
    assert "there is no other form" in call(some, "show", two[1], "--sent", code=os.EX_NOINPUT)


def test_show_of_a_mail_in_parts(some: Archive) -> None:
    one = some.add('Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\n--b\n'
                   'Content-Type: multipart/alternative; boundary=a\n\n--a\n\nplain\n--a\nContent-Type: text/html\n\n'
                   '<p>markup</p>\n--a--\n--b\nContent-Type: text/html\n\n<p>second <b>part</b></p>\n--b\n'
                   'Content-Type: application/pdf; name=x.pdf\n\n%PDF\n--b--\n')
    some.flush()
    shown = call(some, "show", one)
    assert "plain" in shown
    assert "second part" in shown
    assert "markup" not in shown
    assert "PDF" not in shown
    assert "Attachments: x.pdf" in shown


def test_a_file_that_is_gone_or_damaged(some: Archive, two: tuple[str, str]) -> None:
    file = some.where.archive / some.lines()[1].data["file"]
    data = file.read_bytes()
    file.unlink()
    assert "see: lanmail archive verify" in call(some, "show", two[0], code=os.EX_DATAERR)
    assert "see: lanmail archive verify" in call(some, "restore", two[0], "--to", "bob", code=os.EX_DATAERR)
    file.write_bytes(data[20:])
    assert "see: lanmail archive verify" in call(some, "show", two[0], code=os.EX_DATAERR)
    assert "see: lanmail archive verify" in call(some, "restore", two[0], "--to", "bob", code=os.EX_DATAERR)
    assert not list((some.where.maildirs / "bob").glob("*/*.mail*"))


# restore


def messages(some: Archive, folder: str = "INBOX", account: str = "bob") -> dict[str, bytes]:
    root = maildir.path_of(str(some.where.maildirs / account), folder)
    return {path.name: path.read_bytes() for place in ("new", "cur") for path in Path(root, place).iterdir()}


def test_restore_once(some: Archive, two: tuple[str, str]) -> None:
    assert "restored: Verträge" in call(some, "restore", two[0], two[0], "--to", "bob")
    (name, data), = messages(some).items()
    assert data == mail("Verträge", "Guten Tag,\n\x1b[31mdie Rechnungsprüfung\n").encode()
    assert name.endswith(f",S={len(data)},W={len(data) + data.count(10)}:2,")
    path = some.where.maildirs / "bob/cur" / name
    assert int(path.stat().st_mtime) == int(NOW)
    assert "lies there already" in call(some, "restore", two[0], "--to", "bob")
    assert list(messages(some)) == [name]
    call(some, "restore", two[0], two[1], "--to", "bob", "--again")
    assert len(messages(some)) == 3
    assert found(some) == [found(some)[0], "Verträge"]


def test_what_was_delivered_is_not_put_there_twice(some: Archive, two: tuple[str, str]) -> None:
    root = some.where.maildirs / "bob"
    maildir.prepare(str(root))
    (root / "cur" / f"{two[0]},S=3,W=3:2,S").write_bytes(b"a\n\n")
    assert "lies there already" in call(some, "restore", two[0], "--to", "bob")
    assert "restored" in call(some, "restore", two[0], "--to", "bob", "--folder", "Alte Verträge")
    assert len(messages(some, "Alte Verträge")) == 1


def test_restored_again_after_it_was_deleted_it_is_a_new_message(some: Archive, two: tuple[str, str]) -> None:
    call(some, "restore", two[0], "--to", "bob")
    first, = messages(some)
    (some.where.maildirs / "bob/cur" / first).unlink()
    call(some, "restore", two[0], "--to", "bob")
    second, = messages(some)
    assert first != second


def test_restore_to_nobody_or_nowhere(some: Archive, two: tuple[str, str]) -> None:
    assert "there is no account 'dave'" in call(some, "restore", two[0], "--to", "dave", code=os.EX_NOUSER)
    assert "no slash" in call(some, "restore", two[0], "--to", "bob", "--folder", "a/b", code=os.EX_USAGE)
    call(some, "restore", two[1], "--to", "bob", "--account", "alice", code=os.EX_NOINPUT)


# the index


def test_reindex(some: Archive, two: tuple[str, str]) -> None:
    assert call(some, "reindex").startswith("2 mails indexed")
    assert json.loads(call(some, "reindex", "--missing", "--json"))["added"] == 0
    assert json.loads(call(some, "reindex", "--json"))["added"] == 2


def test_search_while_somebody_else_writes_the_index(some: Archive, two: tuple[str, str]) -> None:
    some.fill()
    some.add(mail("later"))
    some.flush()
    said = []

    def look(_now: following.Filling) -> bool:
        said.append(call(some, "search", "vertrag"))
        call(some, "reindex", code=os.EX_TEMPFAIL)
        return True

    following.fill(some.where, enough=look)
    assert "the newest mail may be missing" in said[0]
    assert "Verträge" in said[0]


def test_search_with_a_damaged_index(some: Archive, two: tuple[str, str]) -> None:
    some.fill()
    index.path(some.where).write_bytes(b"no database at all" * 100)
    assert found(some, "vertrag") == ["Verträge"]


def test_found_within_the_rights_of_several_accounts(some: Archive, two: tuple[str, str]) -> None:
    some.fill()
    assert len(some.search("", finding.visible_to("alice", "bob"))) == 2
