"""Files that the programs smstools and Gammu take from a directory and send with a modem or telephone.

smstools (smsd): any name; header lines, an empty line, the text:

    To: 491791234567                international, without +
    Alphabet: UTF-8                 or UCS2, with the text in UTF-16 big endian

Gammu (gammu-smsd, Service = files): OUT, a priority A to Z, date, time, a number, the recipient, a note. The file has
the form of gammu-smsd-inject, .smsbackup, and not that of a plain text: it alone says which alphabet is used.

A file appears whole: it is written under a name that neither program takes, flushed, and linked to its final one. That
name is made of the job's id, so a second try finds the first one's file as long as nobody has taken it.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from lanmail import atomic
from lanmail.errors import Temporary
from lanmail.sms import gsm7

_PIECE = 200  # hexadecimal digits of a Text line
MODE = 0o660  # the program that takes the files is of our group


def smstools(directory: str, entry_id: str, to: str, text: str) -> str:
    """Leave a message for smsd; what was done. Temporary."""
    if gsm7.is_gsm(text):
        data = f"To: {to.lstrip('+')}\nAlphabet: UTF-8\n\n{text}".encode()
    else:
        data = f"To: {to.lstrip('+')}\nAlphabet: UCS2\n\n".encode() + text.encode("utf-16-be")
    return _put(Path(directory), f"lanmail.{_plain(entry_id)}", data)


def gammu(directory: str, entry_id: str, to: str, text: str, made: float) -> str:
    """Leave a message for gammu-smsd; what was done. Temporary."""
    stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(made))
    coded = text.encode("utf-16-be").hex().upper()
    pieces = [coded[start : start + _PIECE] for start in range(0, len(coded), _PIECE)]
    coding = "Default_No_Compression" if gsm7.is_gsm(text) else "Unicode_No_Compression"
    lines = ["[SMSBackup000]", "PDU = Submit", "State = Sent", f'Number = "{to}"',
             *(f"Text{number:02} = {piece}" for number, piece in enumerate(pieces)),
             f"Coding = {coding}", "Folder = 1", f"Length = {len(coded) // 4}", "Class = -1", "ReplySMSC = False"]
    data = ("\n".join(lines) + "\n").encode("ascii")
    return _put(Path(directory), f"OUTC{stamp}_00_{to}_lanmail{_plain(entry_id)}.smsbackup", data)


def _plain(entry_id: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", entry_id)[:80]


def _put(directory: Path, name: str, data: bytes) -> str:
    temporary = directory / f".{name}.tmp"
    try:
        temporary.unlink(missing_ok=True)  # of a try that was cut short
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, MODE)
        try:
            atomic.write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):  # of a try whose end we did not live to see
            os.link(temporary, directory / name)
        temporary.unlink()
        atomic.sync_dir(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        what = "is not there" if isinstance(error, FileNotFoundError) else f"takes no file: {error.strerror or error}"
        raise Temporary(f"the directory {directory} {what}", 451, "4.3.0") from error
    return f"stored as {name}"
