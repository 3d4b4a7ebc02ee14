"""sources/multidrop.py: to whom the mails of a collective mailbox go, by their headers."""

from pathlib import Path

import pytest

from lanmail import accounts, config, paths
from lanmail.sources.multidrop import Sorter, Wishes

RECEIVED = (b"Received: from mx.provider.example (mx [192.0.2.1]) by store.provider.example with LMTP\n"
            b"\tid AbC (envelope-from <anna@example.org>); Sun, 22 Nov 2026 05:00:00 +0100\n"
            b"Received: from out.example.org by mx.provider.example (Postfix) with ESMTPS id 4Z\n"
            b"\tfor <%b>; Sun, 22 Nov 2026 04:59:59 +0100 (CET)\n")
POSTMASTER = "postmaster@office.lan"


@pytest.fixture
def directory(tmp_path: Path) -> accounts.Directory:
    where = paths.of_root(tmp_path)
    where.accounts.mkdir(parents=True)
    where.config_file.write_text('[server]\ndomain = "office.lan"\nextra_domains = ["firma.example"]\n')
    for name in ("anna", "bob", "carla"):
        (where.accounts / f"{name}.toml").write_text('full_name = "x"\n')
    where.aliases.write_text('verkauf = ["anna", "bob"]\npartner = ["bob", "out@example.org"]\n'
                             'outside = ["out@example.org"]\n"carla@office.lan" = ["out@example.org"]\n')
    loaded = config.load(where)
    return accounts.Directory(where, lambda: loaded)


def names(directory: accounts.Directory, header: bytes, **wishes: object) -> tuple[str, list[str]]:
    found = Sorter(Wishes(**wishes), directory, "office.lan").sort(header + b"\n")  # type: ignore[arg-type]
    return found.by, [str(one) for one in found.recipients]


TO = b"From: x@example.org\nTo: Anna <anna@firma.example>, kunde@example.org\nSubject: x\n"


@pytest.mark.parametrize(("header", "by", "recipients"), [
    (b"Delivered-To: bob@firma.example\nX-Envelope-To: anna@firma.example\n" + TO, "Delivered-To",
     ["bob@firma.example"]),
    (b"Delivered-To: p1234@provider.example\nX-Envelope-To: <bob@firma.example>\n" + TO, "X-Envelope-To",
     ["bob@firma.example"]),
    (b"X-Original-To: bob@firma.example\n" + TO, "X-Original-To", ["bob@firma.example"]),
    (b"Envelope-to: bob@firma.example,\n anna@firma.example\n" + TO, "Envelope-To",
     ["bob@firma.example", "anna@firma.example"]),
    (b"X-RCPT-TO: bob@firma.example\n" + TO, "X-RCPT-TO", ["bob@firma.example"]),
    (RECEIVED % b"bob@firma.example" + TO, "Received", ["bob@firma.example"]),
    (RECEIVED % b"p1234@provider.example" + TO, "To", ["anna@firma.example"]),
    (TO + b"Cc: BOB@office.lan\n", "To", ["anna@firma.example", "BOB@office.lan"]),
    (b"Resent-To: bob@firma.example\n" + TO, "To", ["bob@firma.example"]),
    (b"Resent-To: kunde@example.org\n" + TO, "To", ["anna@firma.example"]),
    (b"To: undisclosed-recipients:;\nSubject: newsletter\n", "fallback", [POSTMASTER]),
    (b"To: liste@lists.example.org\nList-Id: <liste>\n", "fallback", [POSTMASTER]),
    (b"", "fallback", [POSTMASTER]),
], ids=["delivered-to", "x-envelope-to", "x-original-to", "envelope-to list", "x-rcpt-to", "received for", "to",
        "to and cc", "resent", "resent elsewhere", "bcc", "list", "no header"])
def test_first_header_that_names_one_of_ours_decides(
        directory: accounts.Directory, header: bytes, by: str, recipients: list[str]) -> None:
    assert names(directory, header) == (by, recipients)


def test_bcc_and_list_mail_is_found_by_its_envelope(directory: accounts.Directory) -> None:
    header = b"Envelope-To: bob@firma.example\nTo: liste@lists.example.org\nList-Id: <liste>\n"
    assert names(directory, header) == ("Envelope-To", ["bob@firma.example"])


def test_last_hop_stands_on_top(directory: accounts.Directory) -> None:
    header = b"Delivered-To: bob@firma.example\nDelivered-To: anna@firma.example\n"
    assert names(directory, header)[1] == ["bob@firma.example"]


@pytest.mark.parametrize(("local", "prefix"), [
    (b"firma.example-bob", ""), (b"kunde12-bob", "kunde12-"), (b"KUNDE12-bob", "kunde12-"), (b"bob", "bob")])
def test_prefix_of_qmail_is_taken_off(directory: accounts.Directory, local: bytes, prefix: str) -> None:
    assert names(directory, b"Delivered-To: " + local + b"@firma.example\n", prefix=prefix)[1] == ["bob@firma.example"]


def test_name_of_the_collective_mailbox_itself_says_nothing(directory: accounts.Directory) -> None:
    header = b"Delivered-To: alle@firma.example\n" + TO
    assert names(directory, header, own="alle@firma.example") == ("To", ["anna@firma.example"])
    # without it somebody unknown was meant by an envelope: what the sender wrote is not believed then
    assert names(directory, header) == ("fallback", [POSTMASTER])


def test_one_that_nobody_knows_goes_to_the_fallback(directory: accounts.Directory) -> None:
    header = b"To: frueher@firma.example, bob@firma.example\n"
    assert names(directory, header)[1] == [POSTMASTER, "bob@firma.example"]
    assert names(directory, header, fallback="anna")[1] == ["anna@office.lan", "bob@firma.example"]
    assert names(directory, header, fallback="bob")[1] == ["bob@office.lan"]
    assert names(directory, b"", fallback="gone")[1] == [POSTMASTER]


def test_order_can_be_chosen(directory: accounts.Directory) -> None:
    header = b"Delivered-To: bob@firma.example\nX-Mailbox: carla@firma.example\n"
    assert names(directory, header, headers=["X-Mailbox"])[1] == ["carla@firma.example"]


@pytest.mark.parametrize(("to", "recipients"), [
    (b"verkauf@firma.example", ["anna@office.lan", "bob@office.lan"]),
    (b"partner@firma.example", ["bob@office.lan"]),
    (b"outside@firma.example", [POSTMASTER]),
    (b"outside@firma.example, bob@firma.example", [POSTMASTER, "bob@firma.example"]),
    (b"someone@example.org", [POSTMASTER]),
    (b"carla@firma.example", ["carla@firma.example"]),
    (b"carla@office.lan", [POSTMASTER]),
    (b"bob+tag@firma.example", ["bob+tag@firma.example"]),
])
def test_nothing_leads_to_the_internet(directory: accounts.Directory, to: bytes, recipients: list[str]) -> None:
    found = names(directory, b"To: " + to + b"\n")[1]
    assert found == recipients
    for one in found:
        local, _, domain = one.partition("@")
        assert not directory.resolve(accounts.Address(local, domain)).external


def test_a_group_gets_its_mail_under_its_own_address(tmp_path: Path, directory: accounts.Directory) -> None:
    paths.of_root(tmp_path).groups.write_text('[team]\nmembers = ["anna", "x@example.org"]\n')
    assert names(directory, b"To: team+x@firma.example, bob@firma.example\n") == (
        "To", ["team@firma.example", "bob@firma.example"])


def test_second_copy_for_the_same_person_is_none_but_for_another_it_is(directory: accounts.Directory) -> None:
    sorter = Sorter(Wishes(), directory, "office.lan")
    mail = b"Message-ID: <1@x>\nTo: anna@firma.example, bob@firma.example\n\n"
    assert len(sorter.sort(mail).recipients) == 2
    assert sorter.sort(mail).recipients == ()
    assert [str(one) for one in sorter.sort(b"Delivered-To: carla@firma.example\n" + mail).recipients] == [
        "carla@firma.example"]
    assert sorter.sort(b"To: bob@firma.example\n\n").recipients == sorter.sort(b"To: bob@firma.example\n\n").recipients
    assert len(Sorter(Wishes(same=""), directory, "office.lan").sort(mail).recipients) == 2


def test_hostile_headers_are_read_in_linear_time_and_name_nobody(directory: accounts.Directory) -> None:
    header = b"Delivered-To: " + b"<" * 50_000 + b"\nReceived: " + b"for " * 50_000 + b"\nTo: " + b"(" * 50_000 + b"\n"
    assert names(directory, header)[0] == "fallback"
    many = b"To: " + b",\n ".join(b"u%d@firma.example" % number for number in range(5_000)) + b"\n"
    assert names(directory, many)[1] == [POSTMASTER]
