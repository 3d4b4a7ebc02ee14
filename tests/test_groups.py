"""groups.py and membership.py: what groups.toml may say, and who is in a group in the end."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import accounts, atomic, conffile, config, groups, membership
from lanmail.address import Address, parse
from lanmail.errors import ConfigError, Temporary
from lanmail.folders import acl, shares
from tests.test_accounts import Office


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setattr(accounts, "FRESH", 0)
    made = Office(tmp_path)
    for name in ("meier", "schmidt"):
        made.account(name)
    made.account("chef", "postmaster = true\n")
    for path in made.paths.accounts.iterdir():
        path.chmod(0o640)
    return made


def write(office: Office, text: str) -> None:
    office.paths.groups.write_text(text)


def read(text: str) -> groups.Groups:
    return groups.parse(conffile.parse(Path("groups.toml"), text))


def to(office: Office, text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    found = office.directory.resolve(parse(text))
    return found.kind, found.accounts, found.groups


def members(office: Office, name: str) -> tuple[list[str], list[str]]:
    found = office.directory.members(name)
    return list(found.accounts), [str(one) for one in found.external]


# the file

def test_defaults_and_short_forms() -> None:
    found = read('[Sales]\nmembers = ["Meier", "eva@Example.org"]\nmay_post = "members"\n[everyone]\n')
    assert list(found) == ["sales", "everyone"]
    assert found["sales"].members == ["meier", "eva@example.org"]
    assert found["sales"].may_post == ["members"]
    assert not found["sales"].is_open
    assert read("[a]\n")["a"].may_post == ["anyone"]
    assert found["everyone"].may_post == ["local"]
    assert not found["everyone"].send_as
    assert read('[everyone]\nmay_post = "anyone"\nsend_as = true\n')["everyone"].is_open


@pytest.mark.parametrize(("text", "said"), [
    ('[sales]\nmember = ["a"]\n', "groups.toml:2: unknown key 'member' in [sales]; did you mean 'members'?"),
    ('sales = ["a"]\n', "groups.toml:1: group 'sales': write it as a table: [sales]"),
    ('[sales]\n[SALES]\n', "groups.toml:2: group 'SALES': stands here twice"),
    ('[postmaster]\n', "groups.toml:1: group 'postmaster': 'postmaster' is a reserved name"),
    ('["a b"]\n', "groups.toml:1: group 'a b': 'a b': a name has letters"),
    ('["über"]\n', "groups.toml:1: group 'über': 'über': a name has letters"),
    ('[sales]\nname = "x"\n', "groups.toml:2: unknown key 'name' in [sales]"),
    ('[sales]\nmembers = "meier"\n', "groups.toml:2: sales.members: must be a list"),
    ('[sales]\nmembers = ["a", "b c"]\n', "groups.toml:2: sales.members[1]: 'b c' is neither a local name"),
    ('[sales]\nmembers = ["a\\r\\nX-Receiver: <b@c.example>"]\n', "groups.toml:2: sales.members[0]: "),
    ('[sales]\nmay_post = ["nobody else"]\n', "groups.toml:2: sales.may_post[0]: 'nobody else' is neither of anyone"),
    ('[sales]\nreply_to = "list"\n', "groups.toml:2: sales.reply_to: must be 'none', 'sender' or 'group'"),
    ('[sales]\nsubject_tag = "a\\nBcc: b"\n', "groups.toml:2: sales.subject_tag: 'a\\nBcc: b' is not a tag"),
    ('[sales]\nsubject_tag = "a\\u2028b"\n', "groups.toml:2: sales.subject_tag: "),
    ('[sales]\nsubject_tag = "' + 41 * "x" + '"\n', "groups.toml:2: sales.subject_tag: "),
    ('[sales]\nsend_as = "yes"\n', "groups.toml:2: sales.send_as: must be true or false"),
    ('[sales]\ndomains = ["a b"]\n', "groups.toml:2: sales.domains[0]: 'a b' is not a domain"),
    ('[sales]\nowner = "x@"\n', "groups.toml:2: sales.owner: the domain is missing"),
])
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).splitlines()[0].startswith(said)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read('[a]\nx = 1\n[b]\ny = 2\n[abuse]\n')
    assert [problem.line for problem in caught.value.problems] == [2, 4, 5]


def test_check_finds_names_that_nobody_has(office: Office) -> None:
    office.aliases('info = ["sales"]\nto-owner = ["sales-owner"]\n')
    write(office, '[sales]\nmembers = ["Meier", "shmidt", "info", "support", "x@office.lan", "x@far.example",\n'
                  '  "meier+shop"]\n'
                  'may_post = ["members", "boss"]\nowner = "nobody"\ndomains = ["other.example"]\n'
                  '[support]\nmembers = ["sales-owner"]\nowner = "support"\n')
    said = [str(one).removeprefix(f"{office.paths.conf}/") for one in config.check(office.paths)]
    assert said == [
        "groups.toml:6: group 'sales': other.example is not a local domain",
        "groups.toml:2: group 'sales': members: there is no account, alias or group 'shmidt'; did you mean 'schmidt'?",
        "groups.toml:2: group 'sales': members: there is no account, alias or group 'x@office.lan'",
        "groups.toml:4: group 'sales': may_post: there is no account, alias or group 'boss'",
        "groups.toml:5: group 'sales': owner: there is no account, alias or group 'nobody'",
        "groups.toml:9: group 'support': the owner cannot be the group itself",
    ]


def test_check_finds_rings(office: Office) -> None:
    write(office, '[a]\nmembers = ["b"]\n[b]\nmembers = ["c"]\n[c]\nmembers = ["b"]\n[d]\nmembers = ["D", "meier"]\n')
    said = [one.text for one in config.check(office.paths)]
    assert [one[:10] for one in said] == ["group 'b':", "group 'c':", "group 'd':"]
    assert all("is a member of itself" in one for one in said)


def test_team_members_may_be_a_group(office: Office) -> None:
    office.account("info", 'shared = true\nmembers = ["group:sales"]\n').chmod(0o640)
    write(office, '[sales]\nmembers = ["meier"]\n')
    assert config.check(office.paths) == []


# where addresses lead

def test_a_group_in_every_domain_case_and_with_a_sub_address(office: Office) -> None:
    write(office, '[sales]\nmembers = ["meier", "x@far.example"]\n[only]\ndomains = ["firma.example"]\n')
    for text in ("sales@office.lan", "SALES@office.lan", "sales@firma.example", "sales+x@office.lan"):
        assert to(office, text) == ("local", (), ("sales",))
        assert office.directory.resolve(parse(text)).external == ()
    assert to(office, "only@firma.example") == ("local", (), ("only",))
    assert to(office, "only@office.lan")[0] == "unknown"
    assert to(office, "\u212aales@office.lan")[0] == "unknown"
    assert to(office, "everyone@office.lan")[0] == "unknown"
    write(office, "[everyone]\n")
    assert to(office, "everyone@office.lan") == ("local", (), ("everyone",))


def test_aliases_lead_to_groups_and_groups_to_aliases(office: Office) -> None:
    office.aliases('info = ["sales", "chef"]\nboth = ["meier", "schmidt"]\nring = ["sales"]\n')
    write(office, '[sales]\nmembers = ["both", "ring", "support"]\n[support]\nmembers = ["eva@far.example"]\n')
    assert to(office, "info@office.lan") == ("local", ("chef",), ("sales",))
    assert members(office, "sales") == (["meier", "schmidt"], ["eva@far.example"])
    assert office.directory.members("sales").rings == ["sales → sales"]


def test_the_owner(office: Office) -> None:
    write(office, '[sales]\nowner = "meier"\n[support]\n[far]\nowner = "x@far.example"\n[own]\nowner = "sales"\n')
    assert to(office, "sales-owner@office.lan") == ("local", ("meier",), ())
    assert to(office, "Sales-Owner+bounce@office.lan") == ("local", ("meier",), ())
    assert to(office, "support-owner@office.lan") == ("local", ("chef",), ())
    assert [str(one) for one in office.directory.resolve(parse("far-owner@office.lan")).external] == ["x@far.example"]
    assert to(office, "own-owner@office.lan") == ("local", (), ("sales",))
    assert to(office, "gone-owner@office.lan")[0] == "unknown"
    office.account("sales-owner")
    assert to(office, "sales-owner@office.lan") == ("local", ("sales-owner",), ())


@pytest.mark.parametrize("text", [
    '[a]\nmembers = ["a", "meier"]\n', '[a]\nmembers = ["b", "meier"]\n[b]\nmembers = ["a", "meier"]\n',
    '[a]\nmembers = ["b"]\n[b]\nmembers = ["c", "MEIER"]\n[c]\nmembers = ["a@office.lan", "meier", "b"]\n',
])
def test_rings_are_broken_and_everybody_is_there_once(office: Office, text: str) -> None:
    write(office, text)
    assert members(office, "a") == (["meier"], [])
    assert office.directory.members("a").rings


def test_the_same_group_twice_is_no_ring(office: Office) -> None:
    write(office, '[a]\nmembers = ["b", "c"]\n[b]\nmembers = ["d"]\n[c]\nmembers = ["d"]\n[d]\nmembers = ["meier"]\n')
    found = office.directory.members("a")
    assert (list(found.accounts), list(found.groups), found.rings) == (["meier"], ["a", "b", "d", "c"], [])


def test_a_long_chain(office: Office) -> None:
    write(office, "".join(f'[g{n}]\nmembers = ["g{n + 1}"]\n' for n in range(3000)) + '[g3000]\nmembers = ["meier"]\n')
    assert members(office, "g0") == (["meier"], [])


def test_unknown_members_are_named(office: Office) -> None:
    write(office, '[a]\nmembers = ["gone", "meier"]\n')
    assert office.directory.members("a").unknown == ["gone"]
    assert members(office, "a")[0] == ["meier"]


def test_everyone_is_people_only(office: Office) -> None:
    office.account("old", "disabled = true\n")
    office.account("team", 'shared = true\nmembers = ["meier"]\n')
    office.account("bills", "[einvoice]\nenabled = true\n")
    office.account("broken", "this is not TOML\n")
    write(office, '[everyone]\nmembers = ["eva@far.example"]\n[all]\nmembers = ["everyone"]\n')
    assert list(office.directory.people()) == ["broken", "chef", "meier", "schmidt"]
    assert members(office, "all") == ([], ["eva@far.example"])
    for name, held in (("meier", True), ("old", False), ("team", False), ("bills", False)):
        account = office.directory.account(name)
        assert account is not None
        assert office.directory.holds("all", account) is held


def test_a_broken_file_keeps_the_last_good_groups(office: Office) -> None:
    write(office, '[sales]\nmembers = ["meier"]\n')
    assert to(office, "sales@office.lan")[2] == ("sales",)
    write(office, "[sales\n")
    assert to(office, "sales@office.lan")[2] == ("sales",)
    with pytest.raises(Temporary, match="groups are misconfigured"):
        office.directory.resolve(parse("nobody@office.lan"))
    write(office, '[support]\nmembers = ["meier"]\n')
    assert to(office, "sales@office.lan")[0] == "unknown"
    assert to(office, "support@office.lan")[2] == ("support",)


def test_broken_from_the_start_is_temporary_for_unknown_names(office: Office) -> None:
    write(office, "[sales\n")
    assert to(office, "meier@office.lan")[1] == ("meier",)
    with pytest.raises(Temporary):
        office.directory.resolve(parse("sales@office.lan"))


def test_no_descriptor_to_read_it_with(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    write(office, '[sales]\nmembers = ["meier"]\n')
    real = atomic.read

    def short(path, *rest):
        if str(path).endswith("groups.toml"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *rest)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "read", short)
        with pytest.raises(Temporary):
            office.directory.resolve(parse("sales@office.lan"))
    assert to(office, "sales@office.lan")[2] == ("sales",)


def test_one_namespace(office: Office) -> None:
    office.aliases('info = ["meier"]\n')
    write(office, '[sales]\n')
    assert office.directory.valid_name("Sales") == "'sales' is a group already"
    write(office, '[meier]\n[Info]\n')
    with pytest.raises(ConfigError) as caught:
        config.load(office.paths)
    assert [one.text for one in caught.value.problems] == [
        "group 'meier': an account has this name, too", "group 'Info': an alias has this name, too"]
    assert to(office, "meier@office.lan") == ("local", ("meier",), ())


# what members may

def test_members_may_send_as_the_group(office: Office) -> None:
    office.aliases('info = ["sales"]\n')
    write(office, '[sales]\nmembers = ["support", "eva@far.example"]\n[support]\nmembers = ["meier"]\n'
                  '[shut]\nmembers = ["meier"]\nsend_as = false\n[everyone]\n')
    may = office.directory.may_send_as
    for text in ("sales@office.lan", "support@firma.example", "sales+x@office.lan", "info@office.lan"):
        assert may("meier", parse(text))
        assert not may("schmidt", parse(text))
    for text in ("shut@office.lan", "everyone@office.lan", "sales-owner@office.lan", "sales@far.example"):
        assert not may("meier", parse(text))
    assert may("chef", parse("sales-owner@office.lan"))


def test_groups_count_for_rights_in_folders(office: Office) -> None:
    office.account("meier", 'groups = ["old"]\n')
    office.account("info", 'shared = true\nmembers = ["group:sales"]\n').chmod(0o640)
    write(office, '[sales]\nmembers = ["support"]\n[support]\nmembers = ["meier"]\n[everyone]\n')
    (office.paths.maildirs / "schmidt").mkdir(parents=True)
    (office.paths.maildirs / "schmidt" / acl.NAME).write_text("group=support lr\n")
    seen = shares.Shares(office.paths, lambda: office.settings)
    account = office.directory.account("meier")
    assert account is not None
    assert office.directory.who(account) == acl.Who("meier", frozenset({"old", "sales", "support", "everyone"}))
    assert seen.rights("meier", "schmidt", "INBOX") == frozenset("lr")
    assert "p" in seen.rights("meier", "info", "INBOX")
    assert office.directory.may_send_as("meier", parse("info@office.lan"))
    assert seen.rights("schmidt", "info", "INBOX") == acl.NONE


# any groups at all

NAMES = [f"g{number}" for number in range(6)]
TARGETS = [*NAMES, "meier", "schmidt", "eva@far.example", "nobody"]


@given(st.fixed_dictionaries({name: st.lists(st.sampled_from(TARGETS), max_size=5) for name in NAMES}))
def test_members_are_whom_the_way_reaches(lists: dict[str, list[str]]) -> None:
    """In any net of groups: whom a plain search finds, each once, and a ring is told where there is one."""
    made = {name: groups.Group(name=name, members=members) for name, members in lists.items()}

    def lead(to: Address) -> accounts.Resolution:
        if to.domain != "office.lan":
            return accounts.Resolution("external", (), (to,))
        if to.local in made:
            return accounts.Resolution("local", groups=(to.local,))
        return accounts.UNKNOWN if to.local == "nobody" else accounts.Resolution("local", (to.local,))

    def reach(name: str, seen: set[str]) -> set[str]:
        for target in lists[name]:
            if target not in seen:
                seen.add(target)
                if target in made:
                    reach(target, seen)
        return seen
    found = membership.find("g0", made, lead, "office.lan")
    wanted = reach("g0", set())
    assert {*found.accounts, *map(str, found.external), *found.unknown} == wanted - set(NAMES)
    assert len(found.unknown) <= 1
    assert set(found.groups) == {"g0", *(wanted & set(NAMES))}
    assert bool(found.rings) == any(name in reach(name, set()) for name in found.groups)
