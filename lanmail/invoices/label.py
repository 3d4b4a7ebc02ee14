"""The header line that tells what a mail is: X-Lanmail-EInvoice.

    X-Lanmail-EInvoice: yes; kind=invoice; format=cii; profile=XRECHNUNG-3.0; number="R 1"
    X-Lanmail-EInvoice: no; reason=xml-other
    X-Lanmail-EInvoice: undecided; reason=too-large

What the document says comes from a stranger: it goes into a quoted string (RFC 2045 §5.1), and what is not ASCII is
encoded (RFC 2231 §4), so no value ends the line, starts another field, or poses as another parameter.
"""

import re
from collections.abc import Sequence
from email.utils import encode_rfc2231

from lanmail import printable
from lanmail.invoices.verdict import Verdict

NAME = b"X-Lanmail-EInvoice"
MAX_VALUE = 100  # characters of what a document says
_WIDTH = 76
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]+")
_TEXT = re.compile(r"[ -~]*")


def lines(found: Verdict, *, count: int = 1, duplicate_of: str | None = None) -> bytes:
    """The field, folded, with its line end."""
    word = "yes" if found.is_einvoice else "undecided" if found.kind == "undecided" else "no"
    pairs: list[tuple[str, str | None]]
    if found.is_einvoice:
        pairs = [("kind", found.kind), ("format", found.format), ("profile", found.profile), ("number", found.number),
                 ("count", str(count) if count > 1 else None), ("duplicate-of", duplicate_of)]
    else:
        pairs = [("reason", found.reason), ("profile", found.profile)]
    words = [word, *(parameter(name, value) for name, value in pairs if value)]
    return _folded(NAME.decode() + ": ", words)


def parameter(name: str, value: str) -> str:
    """`name=value` in ASCII, on one line, however odd the value."""
    value = " ".join(printable.line(value).split())
    value = value if len(value) <= MAX_VALUE else value[: MAX_VALUE - 1] + "…"
    if _TOKEN.fullmatch(value):
        return f"{name}={value}"
    if _TEXT.fullmatch(value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    return f"{name}*={encode_rfc2231(value.encode('utf-8', 'replace').decode(), 'utf-8')}"


def _folded(start: str, words: Sequence[str]) -> bytes:
    text, line = "", start + words[0]
    for word in words[1:]:
        if len(line) + len(word) + 3 > _WIDTH:
            text, line = f"{text}{line};\n", f"\t{word}"
        else:
            line += f"; {word}"
    return f"{text}{line}\n".encode("ascii")
