r"""End of data, dots and line ends: what the wire carries, and what a file holds of it.

Both readers are fed whatever the socket gave, in pieces of any size, and return the text of the message with LF line
ends. No work is done for single lines: a clean piece is looked through twice and copied once, at the speed of C.

Invariants
  The message ends at CRLF.CRLF (or .CRLF at the very start) and nowhere else. RFC 5321 §4.1.1.4: "only the
  sequence CRLF.CRLF"; whoever also takes LF.LF or CR.CR can be made to read one mail as two (CVE-2023-51766).
  A line, and with it a dot that is taken away, begins after CRLF only.
  Never more than four octets are held back between two pieces, so a mail without any line end costs no memory.

Line ends that are none: CRs directly before LF belong to that line end; an LF alone is a line end; any other run of CRs
becomes one blank, so that no later program can take it for a line end. `bare` tells that there was one of these; the
policy `bare_lf = "reject"` refuses such a mail. NUL and all other octets are kept as they came.
"""

import re

from lanmail.lineends import Reader

END = b"\r\n.\r\n"

_find_odd = re.compile(rb"\r(?:\n\.|[^\n])").search  # a dot at the start of a line, or a CR that ends no line


class DotReader(Reader):
    """The text after DATA. RFC 5321 §4.5.2."""

    def __init__(self) -> None:
        super().__init__()
        self._held = b"\r\n"  # the start of the text is the start of a line
        self._first = True
        self.size = -2

    def feed(self, data: bytes) -> bytes:
        """The next piece from the wire → text for the file. `ended` says that it was the last one, and what came
        after it is in `rest`."""
        text = self._held + data
        odd = _find_odd(text)
        end = -1
        clean = True
        if odd:
            end = odd.start()
            if not text.startswith(END, end):  # the usual mail has none but the last dot
                clean = False
                end = text.find(END, end)
        if end >= 0:
            self.ended = True
            self.rest = text[end + 5 :]
            body = text[: end + 2]
        else:
            body = self._hold_back(text)
        if not clean:
            body = body.replace(b"\r\n.", b"\r\n")
        out = self.to_lf(body, clean)
        if self._first and out:
            self._first = False
            return out[1:]
        return out

    def _hold_back(self, text: bytes) -> bytes:
        """Keep what may be the beginning of the end, or of a line with a dot, for the next piece."""
        for length in (4, 3, 2, 1):
            if text.endswith(END[:length]):
                self._held = END[:length]
                return self.without_crs(text[:-length])
        self._held = b""
        return text


class BdatReader(Reader):
    """The chunks of BDAT, counted, without dots. RFC 3030."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0  # octets of the present chunk still to come
        self.last = False
        self._held = b""
        self._tail = b"\n"

    def chunk(self, size: int, last: bool) -> None:
        """A BDAT command has been read."""
        self.left, self.last, self.rest = size, last, b""

    def feed(self, data: bytes) -> bytes:
        """The next piece → text. When `left` is 0 the chunk is complete, and `rest` holds what came after it;
        `ended` then says that it was the last chunk."""
        if len(data) > self.left:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left -= len(data)
        self.ended = self.last and not self.left
        text = self._held + data
        self._held = b""
        if text.endswith(b"\r") and not self.ended:
            text = self.without_crs(text[:-1])
            self._held = b"\r"
        elif self.ended and text.endswith(b"\r"):
            self.bare = True
            text = text.rstrip(b"\r") + b" "
        out = self.to_lf(text)
        self._tail = out[-1:] or self._tail
        if self.ended and self._tail != b"\n":  # a file, and DATA on the next hop, end with a line end
            self.size += 2
            return out + b"\n"
        return out
