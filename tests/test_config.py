"""config.py and conffile.py: reading with good errors, editing without losing anything.

Each directory in tests/conf/bad is a conf/ that must be refused: `setup`, if there, is run in a copy of it (for what
git cannot hold), `expected` has one line for each problem; a line may be the beginning of what is said.
"""

import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lanmail import conffile, config, paths
from lanmail.errors import ConfigError
from lanmail.settings import AccountDefaults

BAD = Path(__file__).parent / "conf" / "bad"
GOOD = '[server]\ndomain = "office.lan"\n'


def conf(root: Path, text: str = GOOD) -> paths.Paths:
    where = paths.of_root(root)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(text)
    return where


def problems(where: paths.Paths) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(where)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("case", sorted(BAD.iterdir()), ids=lambda path: path.name)
def test_bad_conf_is_refused_with_all_reasons(case: Path, tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    shutil.copytree(case, where.conf)
    if (case / "setup").exists():
        subprocess.run(["/bin/sh", "-e", "setup"], cwd=where.conf, check=True)
    said = [line.removeprefix(f"{where.conf}/") for line in problems(where)]
    expected = (case / "expected").read_text().splitlines()
    assert len(said) == len(expected), said
    for line, beginning in zip(said, expected, strict=True):
        assert line.startswith(beginning)


def test_cut_off_anywhere_is_an_error_or_a_whole_file(tmp_path: Path) -> None:
    whole = (
        GOOD
        + '[smtpd]\nmax_size = "10MB"\nlan.senders = { "10.0.0.1" = "a@b.example" }\n[tls]\nmin_version = "TLSv1.3"\n'
    )
    where = conf(tmp_path)
    for length in range(len(whole)):
        where.config_file.write_text(whole[:length])
        try:
            config.load(where)
        except ConfigError as error:
            lines = [problem.line for problem in error.problems]
        else:
            lines = [1]
            assert whole[length - 1] == "\n", "only whole lines can be taken for a whole file"
        assert lines, whole[:length]
        assert all(lines), whole[:length]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.one_of(st.binary(max_size=200), st.text("[]{}=\"'#.a1\n ", max_size=60).map(str.encode)))
def test_any_bytes_are_settings_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    said = []
    for read in (
        lambda: config.load_settings(conffile.read(path)),
        lambda: config.load_account(path),
        lambda: config.load_aliases(path),
    ):
        try:
            read()
        except ConfigError as error:
            said.append(str(error))
    assert all(text.startswith(str(path)) for text in said)


def test_deep_nesting_is_an_error(tmp_path: Path) -> None:
    assert "nested" in problems(conf(tmp_path, "a = " + "[" * 5000 + "]" * 5000 + "\n"))[0]


def test_byte_order_mark_and_crlf_are_harmless(tmp_path: Path) -> None:
    where = conf(tmp_path)
    where.config_file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert config.load(where).server.domain == "office.lan"


def test_lines_are_found_behind_strings_and_lists() -> None:
    text = (
        '"a=b" = """\n[smtpd]\nx = 1\n"""  # x = 2\n'
        "list = [\n  'it''s', # [pop3d]\n  \"]\",\n]\n"
        "[ smtpd . lan ]   # [x]\n senders . \"1.2.3.4\" = '''\n'''\n\n[[many]]\ny.z = {a = 1, b = [2]}\n"
    ).replace("'it''s'", '"it\'s"')
    assert conffile.line_of(text, ("a=b",)) == 1
    assert conffile.line_of(text, ("list",)) == 5
    assert conffile.line_of(text, ("smtpd", "lan")) == 9
    assert conffile.line_of(text, ("smtpd", "lan", "senders", "1.2.3.4")) == 10
    assert conffile.line_of(text, ("many", "y", "z")) == 14
    assert conffile.line_of(text, ("smtpd", "lan", "port")) == 9, "the section, when the key is not written"
    assert conffile.line_of(text, ("pop3d",)) is None


# editing

COMMENTED = """\
# the office
[server]   # who we are
domain='office.lan'# ours

# Largest message.
[smtpd]
# max_size = "50MB"
   workers   =  1   # one core
# max_size = not a value but prose

[log]
# max_size = "1MB"
"""


def test_edit_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    where = conf(tmp_path, COMMENTED)
    config.edit(where.config_file, {"smtpd.workers": 2, "smtpd.max_size": "10MB", "log.keep_days": 7})
    expected = (
        COMMENTED.replace("=  1 ", "=  2 ").replace('# max_size = "50MB"', 'max_size = "10MB"') + "keep_days = 7\n"
    )
    assert where.config_file.read_text() == expected
    assert config.load(where).smtpd.max_size == 10 << 20


def test_edit_of_a_missing_section_and_of_a_table(tmp_path: Path) -> None:
    where = conf(tmp_path)
    config.edit(
        where.config_file, {"smtpd.lan.networks": ["10.0.0.0/8"], "smtpd.lan.senders": {"10.0.0.1": "a@b.example"}}
    )
    assert config.load(where).smtpd.lan.senders == {"10.0.0.1": "a@b.example"}
    config.edit(where.config_file, {"smtpd.lan.senders": None})
    assert config.load(where).smtpd.lan.senders == {}


@pytest.mark.parametrize("text", [
    "a\nb\n", "\nfirst\n", '"""\n', 'x\n"', "back\\slash\n\\", "tab\t\n ü\u2028\x85\u2028\x7f\n",
    "# full_name = 'x'\n[forward]\n# to = []\n",
])
def test_a_text_of_several_lines_is_written_as_such(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts" / "meier.toml"
    path.parent.mkdir()
    path.write_text('disabled = true\n# full_name = ""\n\n[forward]\n# to = []\n')
    config.edit(path, {"full_name": text})
    assert config.load_account(path).full_name == text
    assert path.read_text().startswith('disabled = true\nfull_name = """')
    config.edit(path, {"forward.to": ["meier"], "disabled": False})
    changed = config.load_account(path)
    assert (changed.full_name, changed.forward.to, changed.disabled) == (text, ["meier"], False)
    config.edit(path, {"full_name": conffile.Default('""')})
    assert config.load_account(path).full_name == ""


def test_a_default_becomes_a_comment_again(tmp_path: Path) -> None:
    where = conf(tmp_path, config.sample())
    config.edit(where.config_file, {"smtpd.max_size": "10MB", "smtpd.lan.networks": ["10.0.0.0/8"]})
    config.edit(
        where.config_file, {"smtpd.max_size": conffile.Default('"50MB"'), "smtpd.lan.networks": conffile.Default("[]")}
    )
    assert where.config_file.read_text() == config.sample()


def test_edit_refuses_what_would_not_load(tmp_path: Path) -> None:
    where = conf(tmp_path, COMMENTED)
    for changes in (
        {"smtpd.max_size": "x"},
        {"smtpd.nonsense": 1},
        {"server.domain": None},
        {"server": 3},
        {"pop3d.port": 143},
        {"server.domain.x": 1},
    ):
        with pytest.raises(ConfigError):
            config.edit(where.config_file, changes)
        assert where.config_file.read_text() == COMMENTED
    where.config_file.write_text("[server\n")
    with pytest.raises(ConfigError):
        config.edit(where.config_file, {"server.domain": "a.example"})
    assert where.config_file.read_text() == "[server\n"


def test_edit_is_atomic_and_keeps_the_mode(tmp_path: Path) -> None:
    where = conf(tmp_path)
    where.config_file.chmod(0o604)
    before = where.config_file.stat().st_ino
    config.edit(where.config_file, {"log.level": "debug"})
    after = where.config_file.stat()
    assert after.st_ino != before, "replaced by rename, never written in place"
    assert stat.S_IMODE(after.st_mode) == 0o604
    assert sorted(path.name for path in where.conf.iterdir()) == [".lock", "accounts", "lanmail.toml"]


def test_edit_does_not_follow_a_link(tmp_path: Path) -> None:
    where = conf(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("")
    (where.accounts / "meier.toml").symlink_to(secret)
    with pytest.raises(ConfigError):
        config.edit(where.accounts / "meier.toml", {"disabled": True})
    assert secret.read_text() == ""


def test_editors_at_once_lose_nothing(tmp_path: Path) -> None:
    where = conf(tmp_path)
    threads = [
        threading.Thread(target=config.edit, args=(where.aliases, {(f"a{number}",): ["x@example.org"]}))
        for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(config.load_aliases(where.aliases)) == 10


def test_names_with_dots_are_quoted(tmp_path: Path) -> None:
    where = conf(tmp_path)
    config.edit(where.aliases, {("a.b",): ["x@example.org"], ("sales@office.lan",): ["a.b"]})
    assert config.load_aliases(where.aliases)["sales", "office.lan"] == (("a.b", ""),)


# accounts and the rest of conf/


def test_account_errors_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "meier.toml"
    path.write_text('password = 12345\n# x\npostmastr = true\nsend_as = "boss@example.org"\n')
    with pytest.raises(ConfigError) as caught:
        config.load_account(path)
    assert str(caught.value).replace(f"{path}:", "").splitlines() == [
        "1: password: must be a text in quotes",
        "3: unknown key 'postmastr'; did you mean 'postmaster'?",
        '4: send_as: must be a list like ["a", "b"], not \'boss@example.org\'',
    ], "and a password is never repeated"


@pytest.mark.parametrize("text", ["", "name = 'x'\n", "[a\n", "disabled = true"])
def test_bad_account(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meier.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        config.load_account(path)


def test_account_takes_defaults_for_what_it_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "Meier.toml"
    path.write_text("# nothing said\n")
    found = config.load_account(path, AccountDefaults(services=["imap"]))
    assert (found.name, found.services, found.password) == ("meier", ["imap"], "")
    path.write_text('services = ["smtp"]\npassword = "$argon2id$hidden"\n')
    found = config.load_account(path, AccountDefaults(services=["imap"]))
    assert found.services == ["smtp"]
    assert "hidden" not in repr(found)


def test_check_looks_at_everything(tmp_path: Path) -> None:
    where = conf(tmp_path)
    for name, text in {
        "meier": "postmaster = true\n",
        "schmidt": "postmaster = true\n",
        "Big": "# x\n",
        "müller": "# x\n",
        "broken": "disabled = 1\n",
        "open": "# x\n",
    }.items():
        (where.accounts / f"{name}.toml").write_text(text)
        (where.accounts / f"{name}.toml").chmod(0o640)
    (where.accounts / "open.toml").chmod(0o644)
    (where.accounts / "meier.toml~").write_text("an editor's backup is no account")
    where.aliases.write_text(
        'a = ["gone", "meier+x", "a"]\n"b@elsewhere.example" = "meier"\nc = ["abuse", "x@office.lan"]\n'
    )
    said = [str(problem).removeprefix(f"{where.conf}/") for problem in config.check(where)]
    for beginning in (
        "accounts/Big.toml: rename it to big.toml",
        "accounts/broken.toml:1: disabled: must be true or false, not 1",
        "accounts/müller.toml: 'müller': a name has letters a to z",
        f"accounts/open.toml: holds a password hash and everybody can read it; run: chmod 640 {where.accounts}",
        "accounts/schmidt.toml: only one account can be postmaster, now there are meier, schmidt",
        "aliases.toml:1: alias 'a': there is no account, alias or group 'gone'",
        "aliases.toml:2: alias 'b@elsewhere.example': elsewhere.example is not a local domain",
        "aliases.toml:3: alias 'c': there is no account, alias or group 'x'",
    ):
        assert any(line.startswith(beginning) for line in said), (beginning, said)
    assert len(said) == 8


def test_directories_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = conf(tmp_path)
    where.secrets.mkdir()

    def refuse(path: str | Path, *_rest: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert config.load(where), "a program may be kept out of secrets/"
    monkeypatch.setattr(config.os, "listdir", refuse)
    assert problems(where) == [f"{where.accounts}: cannot be read: Permission denied"]


def test_loading_never_waits(tmp_path: Path) -> None:
    where = conf(tmp_path)
    os.mkfifo(where.accounts / "meier.toml")
    os.mkfifo(where.aliases)
    begun = time.monotonic()
    assert len(config.check(where)) == 2
    assert time.monotonic() - begun < 10


def test_members_that_are_nobody_are_told(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(config.sample())
    for name, text in (
            ("meier", 'groups = ["sales"]\n'), ("info", 'shared = true\nmembers = ["meier", "group:sales=lr"]\n'),
            ("bad", 'shared = true\nmembers = ["nobody=lr", "group:none"]\n'), ("odd", 'members = ["meier"]\n')):
        (where.accounts / f"{name}.toml").write_text(text)
        (where.accounts / f"{name}.toml").chmod(0o640)
    assert [(Path(problem.file).stem, problem.text) for problem in config.check(where)] == [
        ("bad", "there is no account 'nobody', which members names"),
        ("bad", "no account is in the group 'none' of members"),
        ("odd", "members count only with shared = true"),
    ]


def test_what_does_not_count_in_an_e_invoice_mailbox_is_told(tmp_path: Path) -> None:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text(config.sample())
    path = where.accounts / "meier.toml"
    path.write_text('[forward]\nto = ["eva@far.example"]\n\n[sms]\nto = "+491791234567"\n'
                    f'\n[einvoice]\nenabled = true\nsave = "{tmp_path}/none"\n')
    path.chmod(0o640)
    assert [(problem.line, problem.text.split(";")[0]) for problem in config.check(where)] == [
        (2, "forward.to does not count in an e-invoice mailbox"), (5, "sms.to does not count in an e-invoice mailbox"),
        (9, f"there is no directory {tmp_path}/none")]
    path.write_text(path.read_text().replace("enabled = true", "enabled = false"))
    assert config.check(where) == []


@pytest.mark.parametrize(("before", "after"), [
    ("[a]\nx = 1\n\n# about b\n[b]\n", "[a]\nx = 1\nnew = 2\n\n# about b\n[b]\n"),
    ("[a]\nx = [\n  1,\n]  # all\n# below\n[a.c]\ny = 1\n",
     "[a]\nx = [\n  1,\n]  # all\nnew = 2\n# below\n[a.c]\ny = 1\n"),
    ("[a]\nx = 1\n[[a.c]]\ny = 1\n", "[a]\nx = 1\nnew = 2\n[[a.c]]\ny = 1\n"),
    ("[a]\n[b]\n", "[a]\nnew = 2\n[b]\n"),
    ("[b]\n", "[b]\n\n[a]\nnew = 2\n"),
])
def test_a_new_key_stands_behind_the_others_of_its_section(before: str, after: str) -> None:
    assert conffile.render(Path("x.toml"), before, {("a", "new"): 2}) == after


def test_accounts_that_are_remembered_are_read_again_when_they_change(tmp_path: Path) -> None:
    path, once = tmp_path / "meier.toml", config.Remembered()
    path.write_text("quota = '1GB'\n")
    first = once(path, None)
    assert once(path, None) is first
    assert once(path, AccountDefaults(sent_copy=True)).sent_copy is True
    path.write_text("quota = 'x'\n")
    for _ in range(2):
        with pytest.raises(ConfigError):
            once(path, None)
    path.write_text("quota = '2GB'\n")
    assert once(path, None).quota == 2 << 30
    path.unlink()
    with pytest.raises(ConfigError):
        once(path, None)
