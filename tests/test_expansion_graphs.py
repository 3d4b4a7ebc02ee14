"""The way over random forwards and aliases: it ends, nothing comes twice, and from every account a copy arrives."""

import itertools
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanmail import accounts, address, entry, envelope, log, paths
from lanmail.delivery import expansion
from lanmail.errors import Permanent, Temporary
from lanmail.rules.mail import Mail, Target
from lanmail.settings import Account, Settings
from tests.mailroot import Root, files

NAMES = "abcd"
ALIASES = "pq"
OUTSIDE = [f"{name}@far.example" for name in "xy"]
SETTINGS = Settings.model_validate({"server": {"domain": "office.lan"}})

ends = st.sampled_from([*NAMES, *ALIASES, *OUTSIDE, *OUTSIDE, "nobody"])


def graphs_with(trouble):
    """Accounts and where they forward to, aliases, and whom a mail is for."""
    account = st.fixed_dictionaries({
        "to": st.lists(ends, max_size=3), "keep": st.booleans(), "trouble": trouble,
        "deny_internet": st.sampled_from([False, False, True])})
    return st.fixed_dictionaries({
        "accounts": st.fixed_dictionaries(dict.fromkeys(NAMES, account)),
        "aliases": st.fixed_dictionaries({name: st.lists(st.sampled_from([*NAMES, *OUTSIDE]), min_size=1, max_size=3)
                                          for name in ALIASES}),
        "recipients": st.lists(ends, min_size=1, max_size=4, unique=True),
    })


graphs = graphs_with(st.sampled_from([None, None, None, None, Temporary, Permanent]))


class Directory:
    """In memory."""

    def __init__(self, graph):
        self.graph = graph

    def resolve(self, one):
        if one.domain != "office.lan":
            return accounts.Resolution("external", (), (one,))
        if one.local in self.graph["accounts"]:
            return accounts.Resolution("local", (one.local,))
        if one.local in self.graph["aliases"]:
            targets = dict.fromkeys(self.graph["aliases"][one.local])
            return accounts.Resolution("local", tuple(name for name in targets if "@" not in name),
                                       tuple(address.parse(name) for name in targets if "@" in name))
        return accounts.UNKNOWN

    def account(self, name, *, fresh=True):
        found = self.graph["accounts"][name]
        return Account(name=name, deny_internet=found["deny_internet"],
                       forward={"to": found["to"], "keep": found["keep"]})

    def postmaster(self):
        return None


def rule(graph):
    def apply(_mail, visit):
        trouble = graph["accounts"][visit.name]["trouble"]
        if trouble is not None:
            raise trouble("not this one")
        visit.targets += [Target(to) for to in visit.account.forward.to]
        if visit.targets:
            visit.keep = visit.account.forward.keep
    return apply


def full(name):
    return address.parse(name if "@" in name else f"{name}@office.lan")


def walk(graph):
    head = envelope.Envelope(None, [envelope.Recipient(full(name)) for name in graph["recipients"]],
                             origin=envelope.Origin("mx"))
    one = entry.Entry("1.M1P1Q1.x,S=1", "1.M1P1Q1.x", "new", head, 0, 1, 1, b"", 0.0)
    mail = Mail(paths.of_root(Path("/nowhere")), SETTINGS, Directory(graph), one, b"Subject: x\n\n", -1, time.time())
    with mock.patch.object(log, "event"):
        found = expansion.Expansion(mail, (rule(graph),))
        return found, found.find()


def spread(graph, name):
    """Accounts and addresses outside that a name leads to, with aliases looked up."""
    names = graph["aliases"].get(name, [name])
    return [one for one in names if one in graph["accounts"]], [one for one in names if "@" in one]


def sound(graph, name):
    return graph["accounts"][name]["trouble"] is None


def reached(graph):
    """Every account that the mail comes to, by forwards of sound accounts."""
    waiting = [one for name in graph["recipients"] for one in spread(graph, name)[0]]
    found = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if sound(graph, name):
                waiting += [one for to in graph["accounts"][name]["to"] for one in spread(graph, to)[0]]
    return found


def landed(graph, way):
    """The accounts from which something of the mail arrives, given the places and the copies for outside."""
    visited = [name for name in reached(graph) if sound(graph, name)]
    good = {name for name in visited if name in way.places}
    later = {name for name in reached(graph) if graph["accounts"][name]["trouble"] is Temporary}
    for _ in visited:
        for name in visited:
            mine = graph["accounts"][name]
            locals_, outside = ([], [])
            for to in mine["to"]:
                here, there = spread(graph, to)
                locals_ += here
                outside += there
            if any(one in good or one in later for one in locals_) or (outside and not mine["deny_internet"]):
                good.add(name)
    return set(visited), good


@settings(max_examples=200, deadline=None)
@given(graphs)
def test_from_every_account_a_copy_arrives_somewhere(graph):
    _, way = walk(graph)
    visited, good = landed(graph, way)
    assert visited == good


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_copies_stay_where_they_are_wanted_and_elsewhere_only_when_they_must(graph):
    found, way = walk(graph)
    for name, stop in found.stops.items():
        wanted = not graph["accounts"][name]["to"] or graph["accounts"][name]["keep"]
        assert (name in way.places) is stop.visit.keep
        if wanted:
            assert name in way.places
        elif name in way.places and not instead(graph, way, name):
            del way.places[name]
            visited, good = landed(graph, way)
            assert visited != good, f"the copy of {name} was not needed"
            return


def instead(graph, way, name):
    """Whether an address outside that the account forwards to gets the mail by a way of others."""
    outside = {one for to in graph["accounts"][name]["to"] for one in spread(graph, to)[1]}
    return any(full(one) in way.external or way.leaving[full(one)][1].origin is None
               for one in outside if full(one) in way.external or full(one) in way.leaving)


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_nobody_gets_it_twice_and_every_name_is_answered_for(graph):
    _, way = walk(graph)
    assert not set(way.external) & set(way.leaving)
    assert len({place.account for place in way.places.values()}) == len(way.places)
    for name in graph["recipients"]:
        one = full(name)
        here, there = spread(graph, name)
        failed = {report.recipient.address for report in way.failed}
        deferred = {report.recipient.address for report in way.deferred}
        if not here and not there:
            assert one in failed
        assert all(full(other) in way.external or full(other) in way.leaving for other in there)
        for other in here:
            trouble = graph["accounts"][other]["trouble"]
            assert trouble is not Permanent or one in failed
            assert trouble is not Temporary or one in deferred


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_a_copy_for_outside_comes_back_to_all_who_have_none(graph):
    """Whoever forwards to an address that cannot be reached gets the mail back, or has a copy."""
    found, way = walk(graph)
    for name, stop in found.stops.items():
        account = graph["accounts"][name]
        outside = {full(one) for to in account["to"] for one in spread(graph, to)[1]}
        for one in outside:
            if account["deny_internet"] or stop.visit.keep:
                continue
            assert one in way.leaving
            origin = way.leaving[one][1].origin
            assert origin is not None
            owed = [origin.get("account")] if origin.get("keep") == "no" else []
            assert name in owed + (origin.get("also") or "").split(",")


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_accounts_kept_in_the_house_send_nothing_out(graph):
    _, way = walk(graph)
    for _, leaving in way.leaving.values():
        if leaving.origin is not None:
            for name in [leaving.origin.get("account"), *(leaving.origin.get("also") or "").split(",")]:
                assert not name or not graph["accounts"][name]["deny_internet"]


def test_many_who_forward_to_one_address_find_room_in_the_origin_or_keep_a_copy():
    names = [f"{'n' * 50}{number}" for number in range(30)]
    graph = {"accounts": {name: {"to": OUTSIDE[:1], "keep": False, "deny_internet": False, "trouble": None}
                          for name in names}, "aliases": {}, "recipients": names}
    _, way = walk(graph)
    ((_, leaving),) = way.leaving.values()
    owed = [leaving.origin.get("account"), *leaving.origin.get("also").split(",")]
    assert sorted([*owed, *way.places]) == sorted(names)
    assert len(way.places) < 25


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs_with(st.none()))
def test_deliver_makes_what_the_way_says(graph, tmp_path_factory, monkeypatch):
    """The same, with files: as many copies as places, and one for each address outside."""
    root = Root(tmp_path_factory.mktemp("graph"))
    for name, one in graph["accounts"].items():
        to = ", ".join(f'"{target}"' for target in one["to"])
        (root.paths.accounts / f"{name}.toml").write_text(
            f"deny_internet = {str(one['deny_internet']).lower()}\n"
            f"[forward]\nto = [{to}]\nkeep = {str(one['keep']).lower()}\n")
    root.paths.aliases.write_text("".join(
        f"{name} = [{', '.join(repr(one) for one in to)}]\n" for name, to in graph["aliases"].items()))
    _, way = walk(graph)
    root.put(*[str(full(name)) for name in graph["recipients"]], sender=None)
    assert root.run() == 0
    assert root.waiting() == []
    outside = [head for text in files(root.paths.outbound / "new") if (head := envelope.decode(text)[0])]
    sent = sorted(str(one.address) for head in outside for one in head.recipients)
    assert sent == sorted(str(one) for one in itertools.chain(way.external, way.leaving))
    delivered = {one.name for one in root.paths.maildirs.iterdir() if root.inbox(one.name)} - {"chef"}
    assert delivered == set(way.places)
    assert all(len(root.inbox(name)) == 1 for name in delivered)


def test_an_account_that_goes_while_its_mail_is_looked_at_waits_for_the_next_try():
    graph = {"accounts": {"a": {"to": [], "keep": True, "deny_internet": False, "trouble": None}},
             "aliases": {}, "recipients": ["a"]}
    with mock.patch.object(Directory, "account", return_value=None):
        _, way = walk(graph)
    assert [str(one.recipient.address) for one in way.deferred] == ["a@office.lan"]


@pytest.mark.parametrize("length", [2, 500])
def test_a_long_chain_ends(length):
    names = [f"a{number}" for number in range(length)]
    graph = {"accounts": {name: {"to": [after], "keep": False, "deny_internet": False, "trouble": None}
                          for name, after in zip(names, [*names[1:], names[0]], strict=True)},
             "aliases": {}, "recipients": [names[0]]}
    _, way = walk(graph)
    assert list(way.places) == [names[-1]]
