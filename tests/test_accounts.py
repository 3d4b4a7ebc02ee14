"""accounts.py: who has a mailbox and where an address leads."""

import errno
import os
from pathlib import Path

import pytest

from lanmail import accounts, atomic, config, paths
from lanmail.address import Address, parse
from lanmail.errors import ConfigError, Temporary


class Office:
    """A root with settings and accounts, and the Directory on it."""

    def __init__(self, root: Path) -> None:
        self.paths = paths.of_root(root)
        self.paths.accounts.mkdir(parents=True)
        self.write('[server]\ndomain = "office.lan"\nextra_domains = ["firma.example", "bücher.example"]\n')
        self.directory = accounts.Directory(self.paths, lambda: self.settings)

    def write(self, text: str) -> None:
        self.paths.config_file.write_text(text)
        self.settings = config.load(self.paths)

    def account(self, name: str, text: str = 'full_name = "x"\n') -> Path:
        path = self.paths.accounts / f"{name}.toml"
        path.write_text(text)
        return path

    def aliases(self, text: str) -> None:
        self.paths.aliases.write_text(text)

    def to(self, text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        found = self.directory.resolve(parse(text))
        return found.kind, found.accounts, tuple(str(item) for item in found.external)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 0)


def test_account_in_every_local_domain_and_any_case(office: Office) -> None:
    office.account("meier")
    for text in ("meier@office.lan", "MEIER@office.lan", "meier@firma.example", '"meier"@office.lan'):
        assert office.to(text) == ("local", ("meier",), ())
    assert office.to("meier@example.org") == ("external", (), ("meier@example.org",))
    assert office.to("schmidt@office.lan") == ("unknown", (), ())


def test_international_domain_in_both_spellings(office: Office) -> None:
    office.account("meier")
    assert office.to("meier@bücher.example")[0] == "local"
    assert office.to("meier@xn--bcher-kva.example")[0] == "local"


def test_sub_address(office: Office) -> None:
    office.account("meier")
    office.aliases('info = ["meier"]\n"meier+special" = "x@example.org"\n')
    assert office.to("meier+shop@office.lan") == ("local", ("meier",), ())
    assert office.to("info+a+b@office.lan") == ("local", ("meier",), ())
    assert office.to("meier+special@office.lan") == ("local", (), ("x@example.org",))
    assert office.to("+meier@office.lan")[0] == "unknown"
    office.write('[server]\ndomain = "office.lan"\n[deliver]\nsub_address_separator = ""\n')
    assert office.to("meier+shop@office.lan")[0] == "unknown"


def test_aliases_nested_and_in_a_ring(office: Office) -> None:
    for name in ("meier", "schmidt"):
        office.account(name)
    office.aliases(
        'team = ["Meier", "ring", "x@example.org"]\nring = ["team", "schmidt@firma.example", "meier"]\n'
        'only = ["only"]\nghost = ["gone"]\n"sales@firma.example" = ["schmidt"]\n'
    )
    assert office.to("team@office.lan") == ("local", ("meier", "schmidt"), ("x@example.org",))
    assert office.to("sales@firma.example") == ("local", ("schmidt",), ())
    for text in ("only@office.lan", "ghost@office.lan", "sales@office.lan"):
        assert office.to(text)[0] == "unknown"


def test_a_chain_of_a_thousand_aliases(office: Office) -> None:
    office.account("meier")
    office.aliases("".join(f"a{n} = 'a{n + 1}'\n" for n in range(1000)) + "a1000 = 'meier'\n")
    assert office.to("a0@office.lan") == ("local", ("meier",), ())


def test_postmaster_and_abuse(office: Office) -> None:
    office.account("meier")
    assert office.to("postmaster@office.lan") == ("local", (), ()), "always deliverable, RFC 5321 §4.5.1"
    office.account("meier", "postmaster = true\n")
    for text in ("Postmaster@firma.example", "abuse@office.lan", "postmaster+x@office.lan"):
        assert office.to(text) == ("local", ("meier",), ())
    assert office.directory.resolve(Address("postmaster", "")).accounts == ("meier",)
    assert office.directory.postmaster() == "meier"
    office.account("meier", "postmaster = false\n")
    assert office.directory.postmaster() is None
    office.account("schmidt", "postmaster = true\n")
    office.aliases('abuse = ["meier"]\n')
    assert office.directory.postmaster() == "schmidt"
    assert office.to("abuse@office.lan") == ("local", ("meier",), ())


def test_broken_account_keeps_its_last_good_state(office: Office) -> None:
    office.account("meier", 'full_name = "Meier"\n')
    office.account("schmidt", "full_name = 5\n")
    assert office.directory.account("meier").full_name == "Meier"
    with pytest.raises(Temporary):
        office.directory.account("schmidt")
    path = office.account("meier", "full_name = \n")
    assert office.directory.account("meier").full_name == "Meier"
    path.write_text('full_name = "M."\n')
    assert office.directory.account("Meier").full_name == "M."
    path.unlink()
    assert office.directory.account("meier") is None
    assert office.to("meier@office.lan")[0] == "unknown"
    assert office.to("schmidt@office.lan")[0] == "local"


def test_defaults_hold_for_accounts_that_say_nothing(office: Office) -> None:
    office.account("meier")
    office.account("schmidt", 'services = ["imap"]\n')
    assert office.directory.account("meier").services == ["smtp", "pop3", "imap"]
    office.write('[server]\ndomain = "office.lan"\n[account_defaults]\nservices = ["smtp"]\n')
    assert office.directory.account("meier").services == ["smtp"]
    assert office.directory.account("schmidt").services == ["imap"]


def test_broken_aliases_make_unknown_names_temporary(office: Office) -> None:
    office.account("meier")
    office.aliases("info = [\n")
    assert office.to("meier@office.lan")[0] == "local"
    with pytest.raises(Temporary):
        office.to("info@office.lan")
    office.aliases('info = ["meier"]\n')
    assert office.to("info@office.lan")[0] == "local"
    office.aliases("info = [\n")
    assert office.to("info@office.lan")[0] == "local"


def test_nobody_is_unknown_for_good_because_there_was_no_descriptor(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE in the first look at conf/accounts made every recipient unknown, 550, until the directory changed."""
    office.account("meier")
    listdir, full = os.listdir, True

    def failing(path: Path) -> list[str]:
        if full:
            raise OSError(errno.EMFILE, "Too many open files")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    for text in ("meier@office.lan", "nobody@office.lan", "postmaster@office.lan"):
        with pytest.raises(Temporary):
            office.to(text)
    with pytest.raises(Temporary):
        office.directory.login_name("meier")
    assert office.to("meier@example.org")[0] == "external"
    full = False
    assert office.to("meier@office.lan")[0] == "local"
    assert office.to("nobody@office.lan")[0] == "unknown"
    full = True
    office.account("schmidt")
    assert office.to("meier@office.lan")[0] == "local", "what is known stays known"
    with pytest.raises(Temporary):
        office.to("schmidt@office.lan")


def test_no_accounts_directory_is_not_no_accounts(office: Office) -> None:
    office.paths.accounts.rmdir()
    with pytest.raises(Temporary):
        office.to("meier@office.lan")
    office.paths.accounts.mkdir()
    assert office.to("meier@office.lan")[0] == "unknown"


def test_a_file_that_could_not_be_read_once_is_read_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.account("meier")
    office.aliases('info = ["meier"]\n')
    read, full = atomic.read, True

    def failing(path: Path, limit: int = 1 << 20) -> bytes:
        if full:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path, limit)

    monkeypatch.setattr(atomic, "read", failing)
    with pytest.raises(Temporary):
        office.directory.account("meier")
    with pytest.raises(Temporary):
        office.to("info@office.lan")
    full = False
    assert office.directory.account("meier") is not None
    assert office.to("info@office.lan")[0] == "local"


HOSTILE = ["../meier", "meier/../x", "a/b", ".", "..", "m\u212aier", "", " meier", "meier ", "*", "a\0b"]
BAD_NAMES = ["müller", "a b", "", "-a", "a-", "a..b", "a/b", "x" * 65, "Postmaster", "abuse", "a\n"]


@pytest.mark.parametrize("local", HOSTILE)
def test_no_local_part_becomes_a_path(office: Office, local: str) -> None:
    office.account("mkier")
    (office.paths.conf / "meier.toml").write_text('full_name = "outside"\n')
    assert office.directory.resolve(Address(local, "office.lan")).kind == "unknown"
    assert office.directory.account(local) is None
    assert office.directory.login_name(local) is None


def test_login_name(office: Office) -> None:
    office.account("meier")
    login = office.directory.login_name
    assert login("Meier") == login("meier@office.lan") == login("MEIER@Firma.Example") == "meier"
    assert login("meier@example.org") is None
    assert login("meier+x") is None
    assert login("") is None
    assert login("@office.lan") is None


def test_login_by_an_alias_address_that_is_ones_own(office: Office) -> None:
    office.account("meier")
    office.account("schmidt")
    office.aliases('eva = ["meier"]\n"chefin@firma.example" = ["meier"]\ninfo = ["meier", "schmidt"]\n'
                   'chain = ["eva"]\nout = ["meier@example.org"]\nlocal = ["meier@office.lan"]\ngone = ["niemand"]\n')
    login = office.directory.login_name
    assert login("Eva@office.lan") == login("eva@firma.example") == login("chefin@Firma.example") == "meier"
    assert login("local@office.lan") == "meier"
    for text in ("eva", "chefin@office.lan", "info@office.lan", "chain@office.lan", "out@office.lan", "gone@office.lan",
                 "eva@example.org", "postmaster@office.lan"):
        assert login(text) is None, text


def test_may_send_as(office: Office) -> None:
    office.account("meier", 'send_as = ["Boss@example.org", "*@list.example"]\n')
    office.account("schmidt")
    office.account("root", 'send_as = ["*"]\n')
    office.aliases('info = ["meier"]\n')
    may = office.directory.may_send_as
    for text in ("meier@office.lan", "meier+x@firma.example", "info@office.lan", "boss@example.org", "y@list.example"):
        assert may("meier", parse(text)), text
    for text in ("meier@office.lan", "info@office.lan", "schmidt@example.org", "nobody@office.lan"):
        assert not may("schmidt", parse(text)), text
    assert may("schmidt", None)
    assert may("root", parse("anybody@example.org"))
    assert not may("nobody", parse("nobody@office.lan"))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(office: Office, name: str) -> None:
    assert accounts.valid_name(name)
    assert office.directory.valid_name(name)


def test_names_are_unique(office: Office) -> None:
    office.account("meier")
    office.aliases('Info = ["meier"]\n')
    assert "already" in (office.directory.valid_name("Meier") or "")
    assert "alias" in (office.directory.valid_name("INFO") or "")
    assert office.directory.valid_name("a.b-c_d1") is None
    office.account("info")
    with pytest.raises(ConfigError, match="an account has this name"):
        config.load(office.paths)


def test_answers_from_memory_between_looks(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 1000)
    path = office.account("meier")
    assert office.to("meier@office.lan")[0] == "local"
    account = office.directory.account("meier", fresh=False)
    calls = []
    monkeypatch.setattr(accounts.os, "stat", lambda *args, **kwargs: calls.append(args))
    assert office.to("meier@office.lan")[0] == "local"
    assert office.directory.account("meier", fresh=False) is account
    assert calls == []
    monkeypatch.undo()
    path.write_text("disabled = true\n")
    assert not office.directory.account("meier", fresh=False).disabled
    assert office.directory.account("meier").disabled


def test_new_account_counts_at_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 1000)
    assert office.to("meier@office.lan")[0] == "unknown"
    assert office.directory.account("meier") is None
    office.account("meier")
    assert office.to("meier@office.lan")[0] == "local"
    assert office.directory.account("meier") is not None


def test_members_send_as_their_team(office: Office) -> None:
    office.account("info", 'shared = true\nmembers = ["meier", "group:sales", "azubi=lrs"]\n')
    for name, groups in (("meier", ""), ("azubi", '"sales"'), ("verkauf", '"sales"'), ("fremd", "")):
        office.account(name, f"groups = [{groups}]\n")
    may = office.directory.may_send_as
    assert [may(name, parse("info@office.lan")) for name in ("meier", "verkauf", "azubi", "fremd")] == [
        True, True, False, False]
    office.account("info", 'members = ["meier"]\n')  # no team mailbox
    assert not may("meier", parse("info@office.lan"))
