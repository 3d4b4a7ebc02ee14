"""lanmail.invoices: archives and winmail.dat, several invoices in one mail, and examiners shared by threads."""

import io
import os
import struct
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lanmail.invoices import containers, examination
from lanmail.invoices.examiner import Examiner, Limits, Stretch
from lanmail.invoices.pool import Pool
from lanmail.invoices.verdict import USUAL, Wish
from tests.invoices import B64, TEXT, base64, cii, hybrid, look, mail, ubl


def archive(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def tnef(*attached: bytes) -> bytes:
    def attribute(level: int, tag: int, data: bytes) -> bytes:
        return struct.pack("<BII", level, tag, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    parts = [attribute(1, 0x00089006, struct.pack("<I", 0x10000)), attribute(1, 0x00078008, b"IPM.Note\0")]
    for data in attached:
        parts += [attribute(2, 0x00069002, b"\1\0" + bytes(12)), attribute(2, 0x00018010, b"a.xml\0"),
                  attribute(2, 0x0006800F, data)]
    return struct.pack("<IH", 0x223E9F78, 1) + b"".join(parts)


def attached(data: bytes) -> bytes:
    return mail(TEXT, (f"Content-Type: application/octet-stream\n{B64}", base64(data)))


@pytest.mark.parametrize(("data", "wish"), [
    (archive(("liesmich.txt", b"x" * 500), ("a/rechnung", cii())), Wish(zip=True)),
    (archive(("r.pdf", hybrid(("factur-x.xml", cii())))), Wish(zip=True)),
    (tnef(b"x" * 200, ubl()), Wish(tnef=True)),
])
def test_containers_are_opened_when_asked_for(data: bytes, wish: Wish) -> None:
    for one in (data, attached(data)):
        assert examination.examine(one, wish).verdict.kind == "invoice"
        assert examination.examine(one).verdict.kind == "not-einvoice"
    assert examination.examine(data[: len(data) - 60], wish).verdict.reason == "damaged"


def test_an_archive_in_an_archive_stays_closed() -> None:
    inner = archive(("rechnung.xml", cii()))
    assert examination.examine(archive(("inner.zip", inner)), Wish(zip=True)).verdict.kind == "not-einvoice"


def test_office_documents_are_no_archives() -> None:
    data = archive(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", ubl()))
    assert examination.examine(attached(data), Wish(zip=True)).verdict.reason == "nothing-attached"


def test_archives_that_unpack_to_much_are_refused() -> None:
    found = examination.examine(archive(("a.xml", b" " * 3_000_000)), Wish(zip=True, max_part=1 << 20))
    assert (found.verdict.reason or "").startswith("hostile")
    many = archive(*((f"{n}.xml", b"<x>" + b" " * 700_000 + b"</x>") for n in range(9)), ("z.xml", cii()))
    assert (examination.examine(many, Wish(zip=True, max_part=1 << 20)).verdict.reason or "").startswith("hostile")


def test_what_is_encrypted_in_an_archive_is_told() -> None:
    data = bytearray(archive(("a.xml", cii())))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    assert examination.examine(bytes(data), Wish(zip=True)).verdict.reason == "encrypted"


def test_walks_end() -> None:
    assert list(containers.of_tnef(tnef(*[b"x"] * 1000)))[49:] == [b"x"]
    with pytest.raises(containers.Unreadable):
        list(containers.of_tnef(tnef(b"x") + b"\2\x0f\x80\6\0\xff\xff\xff\x7f"))


def test_openpgp_cannot_be_examined() -> None:
    armour = b"-----BEGIN PGP MESSAGE-----\n\n" + base64(os.urandom(300)) + b"-----END PGP MESSAGE-----\n"
    pgp = mail(("Content-Type: application/pgp-encrypted", b"Version: 1\n"),
               ("Content-Type: application/octet-stream; name=encrypted.asc", armour))
    assert look(pgp).reason == "not-examinable: encrypted"


def test_every_invoice_of_a_mail_is_found_when_asked_for() -> None:
    first, second = (("Content-Type: text/xml", ubl(number=f"<b:ID>{n}</b:ID>")) for n in (1, 2))
    third = (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("a.xml", b"<x/>"), ("b.xml", cii()))))
    data = mail(TEXT, first, second, third)
    assert [one.number for one, _ in examination.examine(data).invoices] == ["1"]
    found = examination.examine(data, Wish(every=True))
    assert found.verdict.number == "1"
    assert [one.number for one, _ in found.invoices] == ["1", "2", "R 1"]
    assert found.invoices[2][1] == cii()


# the child

def test_the_xml_of_invoices_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    data = mail(TEXT, (f"Content-Type: application/pdf\n{B64}", base64(hybrid(("b.xml", cii())))))
    path.write_bytes(b"X-Sender: <>\n" + data)
    with Examiner() as examiner, path.open("rb") as file:
        stretch = Stretch(file.fileno(), 13, len(data))
        assert examiner.examine(stretch, xml=True).invoices[0][1] == cii()
        assert examiner.examine(stretch).invoices[0][1] == b""
        (one, content), = examiner.examine(data, xml=True).invoices
        assert (one.number, content) == ("R 1", cii())


def test_a_file_that_became_shorter_is_an_error_and_the_next_is_examined(tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"x" * 100)
    pool = Pool()
    with open(tmp_path / "mail", "rb") as file, pytest.raises(OSError, match="shorter"):
        pool.examine(Stretch(file.fileno(), 0, 10_000), USUAL, Limits())
    assert pool.examine(cii(), USUAL, Limits()).verdict.kind == "invoice"
    pool.close()


def test_memory_of_the_child_is_limited() -> None:
    line = "<c:InvoiceLine><b:Note>" + "n" * 1000 + "</b:Note></c:InvoiceLine>"
    with Examiner(Limits(memory=200 << 20)) as examiner:
        found = examiner.examine(ubl(lines=line * 40_000 + "<c:Note>" + "<c:a/>" * 3_000_000 + "</c:Note>"))
        assert found.verdict.kind == "undecided"
        assert examiner.examine(cii()).verdict.kind == "invoice"


def test_signals_for_the_parent_leave_the_child_alone() -> None:
    with Examiner() as examiner:
        assert examiner.examine(cii()).verdict.kind == "invoice"
        assert examiner._child is not None
        pid = examiner._child.pid
        for number in (15, 2, 1):
            os.kill(pid, number)
        assert examiner.examine(cii()).verdict.kind == "invoice"
        assert examiner._child.pid == pid


def test_threads_share_two_children() -> None:
    pool = Pool(most=2)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda n: pool.examine(cii(number=f"<a:ID>{n}</a:ID>"), USUAL, Limits()), range(40))
    assert [one.verdict.number for one in found] == [str(n) for n in range(40)]
    assert 1 <= len(pool._free) <= 2
    children = [one._child for one in pool._free]
    pool.close()
    assert all(child is not None and child.poll() is not None for child in children)


def test_children_that_nobody_asks_are_ended() -> None:
    pool = Pool(idle=0.05)
    assert pool.examine(cii(), USUAL, Limits()).verdict.kind == "invoice"
    (examiner,) = pool._free
    child, ended = examiner._child, threading.Event()
    assert child is not None
    threading.Thread(target=lambda: (child.wait(), ended.set()), daemon=True).start()
    assert ended.wait(20)
    assert pool.examine(cii(), USUAL, Limits()).verdict.kind == "invoice"
    pool.close()
