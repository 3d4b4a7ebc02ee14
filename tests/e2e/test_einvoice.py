"""An e-invoice mailbox in a running office: swaks hands invoices in, and each kind of mail goes its way."""

import pytest

from tests.e2e.office import BIN, DOMAIN, HOST, Office, need, until
from tests.invoices import B64, TEXT, base64, cii, hybrid, mail

pytestmark = pytest.mark.slow


def test_invoices_go_one_way_and_other_mail_another(new_office, tmp_path) -> None:
    need("swaks")
    office: Office = new_office()
    for name in ("rechnung", "buero", "meier"):
        office.account(name)
    shelf = office.root / "shelf"
    shelf.mkdir()
    office.lanmail("einvoice", "on", "rechnung", "--forward", "buero", "--other-forward", "meier", "--no-other-keep")
    office.lanmail("account", "set", "rechnung", f"einvoice.save={shelf}")
    invoice = mail(TEXT, (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("factur-x.xml", cii())))))
    office.start(BIN / "lanmail")
    for number, data in enumerate((invoice, mail(TEXT), invoice)):
        path = tmp_path / f"{number}.eml"
        path.write_bytes(data)
        office.run("swaks", "--server", HOST, "--port", str(office.port(25)), "--from", "x@far.example",
                   "--to", f"rechnung@{DOMAIN}", "--data", f"@{path}")
        until(lambda number=number: len(office.inbox("buero")) + len(office.inbox("meier")) > number, seconds=60)
    assert [b"application/pdf" in one for one in office.arrived("buero", 2)] == [True, True]
    assert b"application/pdf" not in office.arrived("meier")[0]
    kept = office.arrived("rechnung", 2)
    assert all(b"\nX-Lanmail-EInvoice: yes; kind=invoice;" in one for one in kept)
    assert [b"duplicate-of=" in one for one in kept] == [False, True]
    assert [path.read_bytes() for path in shelf.glob("*.xml")] == [cii(), cii()]
    assert "R 1" in office.lanmail("einvoice", "show", "rechnung")
