"""The e-invoice mailbox, through deliver: ways, marks, duplicates, XML for other programs."""

import os
from pathlib import Path

import pytest

from lanmail import address, envelope, jobs, spool
from lanmail.invoices.verdict import Result, undecided
from lanmail.rules import einvoice
from tests.invoices import B64, TEXT, base64, cii, hybrid, mail, ubl
from tests.mailroot import Root, files

HEAD = b"Return-Path: <a@far.example>\n"
INVOICE = HEAD + mail(TEXT, (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("factur-x.xml", cii())))))
PLAIN = HEAD + mail(TEXT)
BOTH = 'forward = ["schmidt"]\nother_forward = ["chef"]\n'


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def deliver(root: Root, message: bytes, text: str = BOTH, *, sender: str | None = "a@far.example",
            status: int = 0) -> str:
    """Deliver a mail to meier, whose [einvoice] says `text`; its id."""
    (root.paths.accounts / "meier.toml").write_text(f"[einvoice]\nenabled = true\n{text}")
    entry_id = root.put("meier@office.lan", message=message, sender=sender)
    assert root.run() == status
    return entry_id


def label(data: bytes) -> bytes:
    """What the first header lines behind Return-Path say, unfolded."""
    assert data.startswith(HEAD + b"X-Lanmail-EInvoice: ")
    field = data[len(HEAD + b"X-Lanmail-EInvoice: "):].partition(b"\nFrom: ")[0]
    return field.replace(b"\n\t", b" ")


def log(root: Root) -> str:
    return "".join(path.read_text() for path in root.paths.log.glob("*.log"))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("detected", [True, False])
def test_each_kind_goes_its_way_and_leaves_a_copy_or_not(root: Root, detected: bool, keep: bool) -> None:
    key = "keep" if detected else "other_keep"
    deliver(root, INVOICE if detected else PLAIN, f"{BOTH}{key} = {str(keep).lower()}\n")
    target, other = ("schmidt", "chef") if detected else ("chef", "schmidt")
    assert root.inbox(target) == [INVOICE if detected else PLAIN]
    assert root.inbox(other) == []
    mine = root.inbox("meier")
    assert len(mine) == keep
    if keep:
        assert label(mine[0]).startswith(b"yes; kind=invoice" if detected else b"no; reason=")


def test_both_leave_a_copy_unless_told_otherwise_and_without_targets_always(root: Root) -> None:
    for message in (INVOICE, PLAIN):
        deliver(root, message, "keep = false\nother_keep = false\n")
        deliver(root, message)
    assert len(root.inbox("meier")) == 4
    assert (len(root.inbox("schmidt")), len(root.inbox("chef"))) == (1, 1)


def test_outside_it_goes_as_it_came(root: Root) -> None:
    deliver(root, INVOICE, 'forward = "buero@far.example"\nkeep = false\n')
    (out,) = files(root.paths.outbound / "new")
    assert out.endswith(INVOICE.removeprefix(HEAD))
    assert b"X-Lanmail-EInvoice" not in out
    assert b"X-Origin: forward account=meier keep=no" in out
    assert root.inbox("meier") == []


def test_the_permanent_forward_and_others_mail_are_left_alone(root: Root) -> None:
    deliver(root, PLAIN, '[forward]\nto = ["schmidt"]\n')
    assert len(root.inbox("meier")) == 1
    assert root.inbox("schmidt") == []
    root.put("schmidt@office.lan", message=INVOICE)
    assert root.run() == 0
    (other,) = root.inbox("schmidt")
    assert other.endswith(INVOICE)
    assert b"X-Lanmail-EInvoice" not in other


def test_what_the_mark_says(root: Root) -> None:
    deliver(root, INVOICE, "")
    deliver(root, PLAIN, "")
    assert [label(one) for one in root.inbox("meier")] == [
        b'yes; kind=invoice; format=cii; profile=EN16931; number="R 1"', b"no; reason=nothing-attached"]


def test_a_forged_mark_does_not_stay_and_nothing_else_changes(root: Root) -> None:
    forged = b'x-lanmail-einvoice: yes;\n kind=invoice; number="1"\n'
    for lines in (forged, forged * 2, b"X-Lanmail-Einvoice : yes\n"):
        deliver(root, HEAD + lines + PLAIN.removeprefix(HEAD), BOTH)
        mine = root.inbox("meier")[-1]
        assert mine == HEAD + b"X-Lanmail-EInvoice: no; reason=nothing-attached\n" + PLAIN.removeprefix(HEAD)
    assert b"x-lanmail-einvoice: yes" in root.inbox("chef")[0]  # not from us, and nobody said so


@pytest.mark.parametrize(("number", "told"), [
    ("R&#10;X-Evil: 1", b'number="R X-Evil: 1"'), ("R\u202e1", b'number="R 1"'), ("7;b\\", b'number="7;b\\\\"'),
    ('a"; kind=x', b'number="a\\"; kind=x"'), ("Rg. äö", b"number*=utf-8''Rg.%20%C3%A4%C3%B6"),
    ("4711/2026", b'number="4711/2026"'),
    ("n" * 500, b"number*=utf-8''" + b"n" * 99 + b"%E2%80%A6"),
])
def test_what_a_document_says_starts_no_line(root: Root, number: str, told: bytes) -> None:
    message = HEAD + mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(cii(number=f"<a:ID>{number}</a:ID>"))))
    deliver(root, message, "")
    (mine,) = root.inbox("meier")
    header = mine.partition(b"\n\n")[0]
    assert b"\nX-Evil" not in header
    assert label(mine).endswith(told)
    assert header.isascii()
    assert max(map(len, header.split(b"\n"))) < 998
    assert mine.endswith(message.removeprefix(HEAD))


def test_undecided_is_delivered_not_forwarded_and_logged(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(einvoice._pool, "examine", lambda *_args, **_more: Result(undecided("too slow")))
    deliver(root, INVOICE, f"{BOTH}keep = false\nother_keep = false\n")
    assert label(root.inbox("meier")[0]) == b'undecided; reason="too slow"'
    assert root.inbox("schmidt") == root.inbox("chef") == []
    assert "einvoice id=" in log(root)
    assert 'kind=undecided reason="too slow"' in log(root)


def test_a_child_that_is_killed_decides_nothing(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    program = root.paths.root / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("lanmail.invoices.examiner.sys.executable", str(program))
    einvoice._pool.close()
    deliver(root, INVOICE)
    assert label(root.inbox("meier")[0]).startswith(b"undecided; reason=")
    assert root.inbox("schmidt") == root.inbox("chef") == []


def test_sizes_are_limited_by_the_settings(tmp_path: Path) -> None:
    root = Root(tmp_path, settings='[einvoice]\nmax_part = "64KB"\n')
    line = "<c:InvoiceLine><b:ID>7</b:ID></c:InvoiceLine>"
    for lines in (line, line * 3000):
        deliver(root, HEAD + mail(TEXT, ("Content-Type: text/xml", ubl(lines=lines))), "")
    assert [label(one)[:4] for one in root.inbox("meier")] == [b"yes;", b"unde"]


def test_a_returned_invoice_of_ours_is_none_that_came(root: Root) -> None:
    report = INVOICE.replace(b"multipart/mixed", b"multipart/report; report-type=delivery-status")
    deliver(root, report, sender=None)
    assert label(root.inbox("meier")[0]) == b"no; reason=returned"
    deliver(root, report)
    assert label(root.inbox("meier")[1]).startswith(b"yes")


# duplicates

def test_the_same_invoice_again_is_marked(root: Root) -> None:
    first = deliver(root, INVOICE)
    deliver(root, HEAD + mail(TEXT, ("Content-Type: text/xml", ubl())))
    deliver(root, HEAD + mail(TEXT, ("Content-Type: text/xml", ubl(number="<b:ID>R 2</b:ID>"))))
    labels = [label(one) for one in root.inbox("meier")]
    assert [f"duplicate-of={first}".encode() in one for one in labels] == [False, True, False]
    assert len(root.inbox("schmidt")) == 3
    assert f"duplicate_of={first}" in log(root)
    lines = (root.paths.state / "einvoice/meier").read_text().splitlines()
    assert [line.split("\t", 1)[1] for line in lines] == ["invoice\tvat:DE123\tR 1", "invoice\tvat:DE123\tR 2"]


def test_duplicates_stay_here_when_wished(root: Root) -> None:
    for _ in range(2):
        deliver(root, INVOICE, f'{BOTH}keep = false\nduplicates = "not-forwarded"\n')
    assert len(root.inbox("schmidt")) == 1
    assert b"duplicate-of=" in label(root.inbox("meier")[0])


def test_another_account_has_its_own_memory(root: Root) -> None:
    deliver(root, INVOICE, "")
    (root.paths.accounts / "schmidt.toml").write_text("[einvoice]\nenabled = true\n")
    root.put("schmidt@office.lan", message=INVOICE)
    assert root.run() == 0
    assert b"duplicate-of" not in label(root.inbox("schmidt")[0])


# XML for other programs

def test_the_xml_lies_in_a_directory(root: Root) -> None:
    shelf = root.paths.root / "shelf"
    shelf.mkdir()
    other = cii(number="<a:ID>/../x</a:ID>")
    two = HEAD + mail(TEXT, ("Content-Type: text/xml", ubl()), ("Content-Type: text/xml", other),
                      (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("../../evil.xml", cii())))))
    entry_id = deliver(root, two, f'save = "{shelf}"\n')
    assert {path.name: path.read_bytes() for path in shelf.iterdir()} == {
        f"{entry_id}.xml": ubl(), f"{entry_id}-2.xml": other}
    assert b"count=2" in label(root.inbox("meier")[0])
    deliver(root, PLAIN, f'save = "{shelf}"\n')
    assert len(list(shelf.iterdir())) == 2


def test_a_directory_that_is_gone_lets_the_mail_wait(root: Root) -> None:
    shelf = root.paths.root / "shelf"
    entry_id = deliver(root, INVOICE, f'save = "{shelf}"\n', status=os.EX_TEMPFAIL)
    assert root.inbox("meier") == []
    assert root.waiting()
    assert f"einvoice.save of meier: the directory {shelf} is not there" in log(root)
    shelf.mkdir()
    state = root.paths.state / "queue" / f"{entry_id}.json"
    state.unlink()
    assert root.run() == 0
    assert [path.name for path in shelf.iterdir()] == [f"{entry_id}.xml"]
    assert b"duplicate-of" not in label(root.inbox("meier")[0])


def test_the_xml_is_posted_by_a_job(root: Root) -> None:
    odd = cii().replace(b"<a:Name>B<", b"<a:Name>B\r\n\0".replace(b"\0", b"") + b"<")
    message = HEAD + mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(odd)))
    entry_id = deliver(root, message, 'post = "https://erp.lan/in"\npost_authorization = "file:secrets/erp"\n')
    (made,) = files(root.paths.spool / "jobs/new")
    head, start = envelope.decode(made)
    assert head is not None
    job = jobs.read(head, made[start:])
    assert job == jobs.Job("post", "meier", (
        ("Return-Path", "<>"), ("Url", "https://erp.lan/in"), ("File-Name", f"{entry_id}.xml"),
        ("Content-Type", "application/xml"), ("Authorization", "file:secrets/erp")), odd, entry_id)


@pytest.mark.parametrize(("entry_id", "name"), [
    ("1763.M1P2Q3Rabcd.host", "1763.M1P2Q3Rabcd.host.xml"), ("../x", "_x.xml"), (".hidden", "hidden.xml"),
    ("a b/ü\n", "a_b___.xml"), ("x" * 250, "x" * 200 + ".xml")])
def test_names_are_made_of_ids(entry_id: str, name: str) -> None:
    assert einvoice.file_name(entry_id, 1) == name
    assert os.sep not in einvoice.file_name(entry_id, 3)


def test_asked_again_it_says_the_same(root: Root) -> None:
    entry_id = deliver(root, INVOICE, "")
    head = envelope.Envelope(address.parse("a@far.example"), [envelope.Recipient(address.parse("meier@office.lan"))])
    (path,) = (root.paths.maildirs / "meier/new").iterdir()
    path.unlink()
    name = f"{entry_id},S={len(envelope.encode(head) + INVOICE)}"
    (root.paths.queue / "new" / name).write_bytes(envelope.encode(head) + INVOICE)
    assert spool.parse_name(name).id == entry_id
    assert root.run() == 0
    assert b"duplicate-of" not in label(root.inbox("meier")[0])
