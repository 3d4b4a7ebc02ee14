"""einvoice: says whether a mail, an XML or a PDF is an e-invoice.

Reads files, or standard input, and prints one JSON object a line for each: what it is (invoice, credit-note,
not-einvoice or undecided), why not, and what the document says: its syntax and profile, number, date, type, currency,
seller, buyer and amounts. An e-invoice is XML by EN 16931 in one of its two syntaxes, UBL or CII, so XRechnung and
ZUGFeRD or Factur-X from the profile BASIC on, alone or embedded in a PDF. MINIMUM, BASIC WL and ZUGFeRD 1.0 are none.
It is not validated: the details that each invoice has must be there, no more.

Names and types of files and attachments do not matter. Of a mail all attachments are looked at, and those of mails
attached to it, also inside what is signed; the first e-invoice counts. ZIP archives and winmail.dat are opened when
asked for.

Reads: the files, or standard input.

Writes: nothing but its output.

Exit status: 0 when at least one is an e-invoice; 1 when none is; 2 when none is and at least one could not be decided;
64 usage; 66 a file cannot be read.

Security: documents are strangers' work. They are parsed in a child process that has 1 GB of memory and 20 seconds of
CPU time, loads nothing, resolves no entities, and is replaced when it fails.

Examples: `lanmail-einvoice Rechnung.pdf`; `lanmail-einvoice maildirs/*/new/*`; `lanmail-einvoice < mail.eml`.

See also: lanmail-deliver.
"""

import json
import os
import sys
from typing import NoReturn

import click

import lanmail
from lanmail import manpage
from lanmail.invoices.examiner import Examiner
from lanmail.invoices.verdict import Wish

UNDECIDED = 2


def run(paths: tuple[str, ...], zip_: bool, tnef: bool) -> NoReturn:
    """One call; ends with the exit code."""
    wish = Wish(zip=zip_, tnef=tnef)
    kinds, unread = set(), False
    with Examiner() as examiner:
        for path in paths or ("-",):
            try:
                data = _read(path)
            except OSError as error:
                print(f"lanmail-einvoice: {path}: {error.strerror}", file=sys.stderr)
                unread = True
                continue
            found = examiner.examine(data, wish).verdict
            kinds.add(found.kind)
            print(json.dumps(found.as_json(path), ensure_ascii=False), flush=True)
    if unread:
        sys.exit(os.EX_NOINPUT)
    sys.exit(0 if kinds & {"invoice", "credit-note"} else UNDECIDED if "undecided" in kinds else 1)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()


main = click.version_option(lanmail.__version__, prog_name="lanmail-einvoice")(
    manpage.Command("lanmail-einvoice", callback=run, help=__doc__,
                    params=[
        click.Argument(["paths"], nargs=-1, metavar="[PATH]..."),
        click.Option(["--zip", "zip_"], is_flag=True, help="Look into ZIP archives, one level deep."),
        click.Option(["--tnef"], is_flag=True, help="Look into winmail.dat."),
    ],
                    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}))
