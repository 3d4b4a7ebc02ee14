"""lanmail.invoices: e-invoices in mails, the child that looks at them, and the command."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from lanmail.invoices.examiner import Examiner
from tests.invoices import B64, TEXT, base64, cii, hybrid, look, mail, ubl

BIN = Path(__file__).resolve().parent.parent / "bin"


@pytest.mark.parametrize("head", [
    "Content-Type: application/octet-stream; name=x.dat", "Content-Type: application/pdf", "Content-Type: image/png",
    "Content-Type: text/xml", "Content-Disposition: inline", "Content-Type: text/plain; name=rechnung.txt"])
def test_types_and_names_do_not_matter(head: str) -> None:
    assert look(mail(TEXT, (f"{head}\n{B64}", base64(cii())))).kind == "invoice"
    assert look(mail(TEXT, (f"{head}\n{B64}", base64(hybrid(("x", cii())))))).kind == "invoice"


def test_what_is_attached_to_attached_mail_counts() -> None:
    inner = mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(ubl())), boundary="inner")
    assert look(mail(("Content-Type: message/rfc822", inner))).kind == "invoice"
    assert look(mail((f"Content-Type: message/rfc822\n{B64}", base64(inner)))).kind == "invoice"


def test_words_of_a_mail_do_not_make_it_a_pdf() -> None:
    data = mail(("Content-Type: text/plain", b"the file starts with %PDF-1.7\n"),
                (f"Content-Type: a/b\n{B64}", base64(cii())))
    assert look(data).kind == "invoice"
    assert look(mail((f"Content-Type: message/rfc822\n{B64}", base64(data)))).kind == "invoice"
    assert look(b"Subject: %PDF-\n" + data).kind == "invoice"


def test_the_first_invoice_counts_and_else_what_comes_nearest() -> None:
    plain = ("Content-Type: text/xml", ubl(number=""))
    other = ("Content-Type: text/xml", b"<note>" + b"n" * 200 + b"</note>")
    assert look(mail(TEXT, other, plain)).reason == "missing:number"
    assert look(mail(TEXT, other)).reason == "xml-other"
    assert look(mail(TEXT)).reason == "nothing-attached"
    first, second = (("Content-Type: text/xml", ubl(number=f"<b:ID>{n}</b:ID>")) for n in (1, 2))
    assert look(mail(TEXT, plain, first, second)).number == "1"


def test_signed_and_opaque_is_unwrapped(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    (tmp_path / "plain").write_bytes(mail(TEXT, (f"Content-Type: text/xml\n{B64}", base64(ubl()))))
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "k", "-out", "c"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    for command in (["-sign", "-nodetach", "-signer", "c", "-inkey", "k"], ["-encrypt", "-aes256", "c"]):
        line = ["openssl", "cms", *command[:1], "-in", "plain", "-outform", "DER", "-binary", *command[1:]]
        octets = subprocess.run(line, cwd=tmp_path, check=True, capture_output=True).stdout
        head = f"Content-Type: application/pkcs7-mime; name=smime.p7m\n{B64}"
        found = look(f"From: a@b\n{head}\n\n".encode() + base64(octets))
        assert found.kind == ("invoice" if "-sign" in command else "not-einvoice")
        assert found.reason == (None if "-sign" in command else "not-examinable: encrypted")


# --- the child, and the command

def test_a_child_that_dies_is_replaced() -> None:
    with Examiner() as examiner:
        assert examiner.examine(cii()).verdict.kind == "invoice"
        assert examiner._child is not None
        examiner._child.kill()
        examiner._child.wait()
        assert examiner.examine(cii()).verdict.kind == "invoice"


def test_a_child_that_takes_too_long_is_ended() -> None:
    with Examiner() as examiner:
        assert examiner.examine(cii()).verdict.kind == "invoice"
        assert examiner._child is not None
        os.kill(examiner._child.pid, 19)  # SIGSTOP
        usual, examiner._wall = examiner._wall, 1.0
        assert examiner.examine(cii()).verdict.kind == "undecided"
        examiner._wall = usual
        assert examiner.examine(cii()).verdict.kind == "invoice"
    assert threading.active_count() < 20


def test_the_command(tmp_path: Path) -> None:
    for name, data in (("a.pdf", hybrid(("x.xml", cii()))), ("b.xml", b"<x/>"), ("ü\n.eml", mail(TEXT))):
        (tmp_path / name).write_bytes(data)

    def run(*names: str, data: bytes = b"") -> tuple[int, list[dict[str, object]]]:
        done = subprocess.run([BIN / "lanmail-einvoice", *names], input=data, capture_output=True, cwd=tmp_path,
                              check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    code, said = run("b.xml", "a.pdf", "ü\n.eml")
    assert (code, [(one["path"], one["kind"]) for one in said]) == (
        0, [("b.xml", "not-einvoice"), ("a.pdf", "invoice"), ("ü\n.eml", "not-einvoice")])
    assert run("b.xml")[0] == 1
    code, said = run(data=ubl())
    assert (code, said[0]["path"], said[0]["number"]) == (0, "-", "R 1")
    assert run("none.xml", "a.pdf")[0] == os.EX_NOINPUT


def test_what_lies_in_the_directory_is_not_run(tmp_path: Path) -> None:
    for name in ("json", "logging", "resource", "lanmail"):
        (tmp_path / f"{name}.py").write_text("open('pwned', 'w')\n")
    (tmp_path / "a.xml").write_bytes(ubl())
    done = subprocess.run([BIN / "lanmail-einvoice", "a.xml"], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()
