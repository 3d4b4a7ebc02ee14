"""The index of shared folders: true at once for accounts that come, whoever is looking at that moment."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import maildir, paths, settings
from lanmail.folders import acl, shares

READS = frozenset("lr")


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    account(where, "meier")
    return where


@pytest.fixture
def index(where: paths.Paths) -> shares.Shares:
    current = settings.Settings.model_validate({"server": {"domain": "office.lan"}})
    return shares.Shares(where, lambda: current)


def account(where: paths.Paths, name: str, text: str = 'password = ""\n') -> None:
    (where.accounts / f"{name}.toml").write_text(text)
    maildir.prepare(str(where.maildirs / name))


def age(where: paths.Paths, seconds: float) -> None:
    """As if the accounts had last come or gone so long ago."""
    moment = time.time() - seconds
    os.utime(where.accounts, (moment, moment))


def seen(index: shares.Shares, name: str = "meier") -> set[str]:
    return {owner for owner, _, _ in index.visible(name)}


def test_an_account_that_comes_while_somebody_looks_is_in_the_index(
        where: paths.Paths, index: shares.Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    look = index._shared_by

    def slowly(name: str) -> Iterator[tuple[str, str]]:
        account(where, "info", 'shared = true\nmembers = ["meier"]\n')
        return look(name)

    monkeypatch.setattr(index, "_shared_by", slowly)
    index.rebuild()
    monkeypatch.undo()
    assert seen(index) == {"info"}


def test_an_account_file_that_is_still_empty_is_read_again(
        where: paths.Paths, index: shares.Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    account(where, "info", "")
    came = os.stat(where.accounts).st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: came)  # looked at in the same moment
        index.rebuild()
    assert index.account("info") is None
    account(where, "info", 'shared = true\nmembers = ["meier"]\n')
    assert seen(index) == {"info"}


def test_a_limit_counts_for_the_next_question(where: paths.Paths, index: shares.Shares) -> None:
    before = index.account("meier")
    account(where, "meier", "quota_messages = 2\n")
    after = index.account("meier")
    assert before is not None
    assert after == before.model_copy(update={"quota_messages": 2})


def test_a_folder_is_shared_right_after_an_account_came(where: paths.Paths, index: shares.Shares) -> None:
    age(where, 5)
    assert seen(index) == set()
    account(where, "otto")
    index.grant("otto", "INBOX", acl.Entry("user", "meier"), READS)
    assert seen(index) == {"otto"}


def test_a_change_of_one_folder_does_not_make_the_rest_of_the_index_younger(
        where: paths.Paths, index: shares.Shares) -> None:
    age(where, 5)
    index.rebuild()
    made = time.time() - shares.REBUILD + 0.5
    os.utime(where.state / "shares", (made, made))
    age(where, shares.REBUILD + 5)
    index.grant("meier", "INBOX", acl.Entry("user", "otto"), READS)
    assert (where.state / "shares").stat().st_mtime == pytest.approx(made, abs=0.01)
    assert (where.state / "shares").read_text() == "meier\tINBOX\n"
