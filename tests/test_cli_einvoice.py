"""`lanmail einvoice` as people type it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from lanmail import admin, config
from lanmail.invoices import ledger
from lanmail.rules import einvoice
from tests.invoices import B64, TEXT, base64, cii, hybrid, mail, ubl
from tests.mailroot import Root

Run = Callable[..., click.testing.Result]
INVOICE = mail(TEXT, (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("factur-x.xml", cii())))))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


@pytest.fixture
def run(root: Root, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lanmail einvoice ARGUMENTS... --root TMP`."""
    monkeypatch.delenv("LANMAIL_ROOT", raising=False)

    def lanmail(*arguments: str, code: int = 0, data: bytes = b"") -> click.testing.Result:
        typed = ["einvoice", *arguments, "--root", str(root.paths.root)]
        result = click.testing.CliRunner().invoke(admin.cli, typed, input=data)
        assert result.exit_code == code, result.output
        return result

    return lanmail


def test_on_and_off(run: Run, root: Root) -> None:
    said = run("on", "meier", "--forward", "schmidt; buero@far.example", "--no-keep", "--other-forward", "info").output
    assert "goes on to schmidt, buero@far.example, without a copy here" in said
    assert "goes on to info, and a copy stays" in said
    own = config.load_account(root.paths.accounts / "meier.toml").einvoice
    assert (own.enabled, own.forward, own.keep, own.other_forward, own.other_keep) == (
        True, ["schmidt", "buero@far.example"], False, ["info"], True)
    run("on", "meier", "--keep")
    assert config.load_account(root.paths.accounts / "meier.toml").einvoice.forward == own.forward
    assert "is no e-invoice mailbox" in run("off", "meier").output
    assert "lanmail einvoice on meier" in run("show", "meier").output


def test_targets_that_lead_nowhere_are_refused(run: Run, root: Root) -> None:
    before = (root.paths.accounts / "meier.toml").read_text()
    assert "no account or alias 'nobody'" in run("on", "meier", "--forward", "nobody", code=os.EX_NOUSER).output
    assert "no account 'x'" in run("on", "x", code=os.EX_NOUSER).output
    assert (root.paths.accounts / "meier.toml").read_text() == before


def test_what_does_not_count_is_told(run: Run, root: Root) -> None:
    (root.paths.accounts / "meier.toml").write_text('[forward]\nto = ["schmidt"]\n')
    assert "warning: forward.to does not count" in run("on", "meier").output
    assert json.loads(run("show", "meier", "--json").output)["warnings"] == [
        "forward.to does not count in an e-invoice mailbox"]


def test_what_would_happen_to_a_mail(run: Run, root: Root, tmp_path: Path) -> None:
    path = tmp_path / "invoice.eml"
    path.write_bytes(INVOICE)
    run("on", "meier", "--forward", "schmidt", "--no-keep")
    said = json.loads(run("test", "meier", str(path), "--json").output)
    assert (said["kind"], said["number"]) == ("invoice", "R 1")
    assert (said["forwarded_to"], said["copy_stays"]) == (["schmidt"], False)
    assert said["header"] == ('X-Lanmail-EInvoice: yes; kind=invoice; format=cii; profile=EN16931; number="R 1"')
    ledger.note(einvoice.file_of(root.paths, "meier"), [ledger.Line("ID1", "invoice", "vat:DE123", "R 1")])
    assert json.loads(run("test", "meier", str(path), "--json").output)["duplicate_of"] == "ID1"
    said = run("test", "meier", "-", data=mail(TEXT), code=1).output
    assert "nothing-attached" in said
    assert "forwarded to   nobody" in said
    assert root.inbox("schmidt") == []
    assert len(ledger.read(einvoice.file_of(root.paths, "meier"))) == 1
    assert "no e-invoice mailbox" in run("test", "schmidt", str(path)).output


def test_what_is_undecided_has_a_code_of_its_own(run: Run, root: Root) -> None:
    root.paths.config_file.write_text(root.paths.config_file.read_text() + '[einvoice]\nmax_part = "64KB"\n')
    large = ubl(lines="<c:InvoiceLine><b:ID>7</b:ID></c:InvoiceLine>" * 3000)
    said = run("test", "meier", "-", data=mail(TEXT, ("Content-Type: text/xml", large)), code=os.EX_TEMPFAIL).output
    assert "too-large" in said


def test_what_a_document_says_moves_no_cursor(run: Run) -> None:
    data = mail(TEXT, ("Content-Type: text/xml", ubl(number="<b:ID>R&#x9b;2J\u202e</b:ID>")))
    said = run("test", "meier", "-", data=data).output
    assert "\x9b" not in said
    assert "\u202e" not in said


def test_the_last_ones_are_listed(run: Run, root: Root) -> None:
    assert "no e-invoices yet" in run("show", "meier").output
    new = [ledger.Line(f"ID{n}", "invoice", "name:gruen & co", f"R {n}") for n in range(12)]
    ledger.note(einvoice.file_of(root.paths, "meier"), new)
    said = run("show", "meier").output
    assert "R 11" in said
    assert "R 1 " not in said
    assert "and 2 before these" in said
    assert json.loads(run("show", "meier", "--json").output)["invoices"] == 12


# what is remembered

def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    def line(entry_id: str, number: str) -> ledger.Line:
        return ledger.Line(entry_id, "invoice", "vat:1", number)

    path, one, two = tmp_path / "s/meier", line("A", "1"), line("B", "2")
    assert ledger.note(path, [one]) == [None]
    with path.open("a") as file:
        file.write("X\tinvoi")
    assert ledger.note(path, [two]) == [None]
    assert ledger.read(path) == [one, two]
    assert ledger.note(path, [line("C", "2"), line("C", "3")]) == ["B", None]
    assert ledger.note(path, [two]) == [None]
