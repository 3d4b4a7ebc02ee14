"""`lanmail forward` in this process, on an office in a temporary directory; what `config check` says of forwards."""

import json

import pytest
from click.testing import CliRunner

from lanmail import admin, config
from tests.mailroot import Root


@pytest.fixture
def root(tmp_path):
    made = Root(tmp_path)
    (made.paths.accounts / "meier.toml").write_text("# Meier\n")
    made.paths.groups.write_text('[team]\nmembers = ["schmidt", "eva@far.example"]\n')
    return made


def lanmail(root, *arguments, code=0):
    done = CliRunner().invoke(admin.cli, [*arguments, "--root", str(root.paths.root)], env={"LANMAIL_ROOT": None})
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def forward(root, *arguments, code=0):
    return lanmail(root, "forward", *arguments, code=code)


def own(root, name="meier"):
    return config.load_account(root.paths.accounts / f"{name}.toml").forward


def test_on_change_and_off(root):
    said = forward(root, "on", "MEIER", "schmidt; eva@far.example", "team")
    assert said == ("meier forwards to schmidt, eva@far.example, team; no copy stays\n"
                    "its mail ends in: the mailbox of schmidt, eva@far.example\n")
    assert (own(root).to, own(root).keep) == (["schmidt", "eva@far.example", "team"], False)
    assert "a copy stays" in forward(root, "on", "meier", "--keep")
    assert own(root).keep
    forward(root, "on", "meier", "chef")
    assert (own(root).to, own(root).keep) == (["chef"], True)
    assert forward(root, "off", "meier") == "mail of meier stays here now\n"
    assert forward(root, "off", "meier") == "mail of meier was not forwarded\n"
    assert (own(root).to, own(root).keep) == ([], True)
    assert (root.paths.accounts / "meier.toml").read_text().startswith("# Meier\n")


def test_mail_goes_where_the_command_says(root):
    forward(root, "on", "meier", "schmidt", "--keep")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert (len(root.inbox("meier")), len(root.inbox("schmidt"))) == (1, 1)


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("on", "nobody", "schmidt"), 67, "there is no account 'nobody'"),
    (("on", "meier", "nobody"), 67, "there is no account, alias or group 'nobody'"),
    (("on", "meier", "nobody@office.lan"), 67, "there is no account, alias or group"),
    (("on", "meier", "a b@far.example"), 65, "write a name like meier or an address like"),
    (("on", "meier", "eva@far.example\nto = 1"), 65, "write a name like meier"),
    (("on", "meier", "Meier@OFFICE.lan"), 65, "is meier itself"), (("on", "meier", "sales"), 65, "is meier itself"),
    (("on", "meier"), 64, "to whom? lanmail forward on meier TARGET"), (("off", "nobody"), 67, "there is no account"),
    (("show", "nobody"), 67, "there is no account"), (("on", "meier", "../chef"), 65, "neither a local name"),
    (("on", "../meier", "chef"), 67, "there is no account"),
])
def test_refusals_change_nothing(root, arguments, code, said):
    assert said in forward(root, *arguments, code=code)
    assert (root.paths.accounts / "meier.toml").read_text() == "# Meier\n"


@pytest.mark.parametrize(("target", "code"), [
    ("eva@far.example", 65), ("away", 65), ("both", 0), ("team", 0), ("schmidt", 0)])
def test_an_account_kept_in_the_house(root, target, code):
    (root.paths.accounts / "schmidt.toml").write_text("disabled = false\n")
    (root.paths.accounts / "meier.toml").write_text("deny_internet = true\n")
    said = forward(root, "on", "meier", target, code=code)
    assert ("deny_internet" in said) is (target != "schmidt")
    assert bool(own(root).to) is not bool(code)


def test_an_e_invoice_mailbox(root):
    (root.paths.accounts / "meier.toml").write_text("[einvoice]\nenabled = true\n")
    assert "is an e-invoice mailbox" in forward(root, "on", "meier", "schmidt", code=65)
    (root.paths.accounts / "meier.toml").write_text('[forward]\nto = ["schmidt"]\n[einvoice]\nenabled = true\n')
    assert "does not count" in forward(root, "show", "meier")


def test_a_circle_is_made_known(root):
    forward(root, "on", "schmidt", "chef")
    forward(root, "on", "chef", "meier")
    said = forward(root, "on", "meier", "schmidt")
    assert "note: a circle: meier → schmidt → chef → meier" in said
    assert "its mail ends in: the mailbox of chef\n" in said
    root.put("meier@office.lan", sender=None)
    assert root.run() == 0
    assert any(b"Subject: hi" in mail for mail in root.inbox("chef"))
    assert not any(b"Subject: hi" in mail for mail in root.inbox("meier") + root.inbox("schmidt"))


def test_show_all_and_for_programs(root):
    assert "nobody forwards his mail" in forward(root, "show")
    forward(root, "on", "meier", "team")
    (root.paths.accounts / "schmidt.toml").write_text('[forward]\nto = ["gone", "meier"]\n')
    assert [one["account"] for one in json.loads(forward(root, "show", "--json"))] == ["meier", "schmidt"]
    (root.paths.accounts / "chef.toml").write_text("no TOML")
    said = forward(root, "show")
    assert "a circle: meier → schmidt → meier; nobody is gone" in said
    assert "chef.toml" in said
    assert json.loads(forward(root, "show", "meier", "--json")) == {
        "account": "meier", "to": ["team"], "keep": False,
        "ends": {"mailboxes": [], "outside": ["eva@far.example"]},
        "problem": "a circle: meier → schmidt → meier; nobody is gone"}
    assert forward(root, "show", "meier").startswith("meier forwards to team; no copy stays\n")


def test_off_tells_of_the_autoresponders_forward(root):
    (root.paths.accounts / "meier.toml").write_text(
        '[forward]\nto = ["chef"]\n[autoresponder]\nenabled = true\nforward = ["schmidt"]\n')
    assert "its autoresponder still sends it on to schmidt" in forward(root, "off", "meier")


@pytest.mark.parametrize(("text", "line", "said"), [
    ('[forward]\nto = ["schmidt", "gone"]\n', 2, "forward.to: nothing goes to gone: there is no such account"),
    ('deny_internet = true\n[forward]\nto = ["eva@far.example"]\n', 3, "meier must not send to the internet"),
    ('[autoresponder]\nforward = ["gone@office.lan"]\n', 2, "autoresponder.forward: nothing goes to gone@office.lan"),
    ('[einvoice]\nenabled = true\n[forward]\nto = ["schmidt"]\n', 4, "does not count in an e-invoice mailbox"),
])
def test_config_check(root, text, line, said):
    path = root.paths.accounts / "meier.toml"
    path.write_text(text)
    path.chmod(0o640)
    found = [one for one in config.check(root.paths) if one.file == str(path)]
    assert [one.line for one in found] == [line]
    assert said in found[0].text


def test_config_check_is_content_with_good_forwards(root):
    (root.paths.accounts / "meier.toml").write_text(
        '[forward]\nto = ["schmidt", "Team", "info+x", "postmaster", "eva@far.example", "schmidt@OFFICE.lan"]\n')
    assert not [one for one in config.check(root.paths) if "forward" in one.text]
