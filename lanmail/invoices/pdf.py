"""Files embedded in a PDF (ISO 32000-1 §7.11.4), those likeliest to be an invoice first.

    files(data: bytes) -> Iterator[(name, content)]      Unreadable

They are looked for in the name tree of the catalog, however deep, in its /AF, and in annotations; what a PDF claims of
itself (PDF/A, XMP, AFRelationship) says nothing. Loops are walked once; sizes and numbers are bounded. A PDF that is
encrypted for nobody in particular, with an empty password, is read, and one whose end is missing.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

MAX_NODES = 2000
MAX_SPECS = 50
MAX_FILES = 20
MAX_STRUCTURE = 4 << 20  # unpacked, of tables and packed objects
MAX_STREAM = 20 << 20  # of an embedded file
MAX_UNPACKED = 60 << 20  # of all of them
MAX_WORK = 100 << 20
MAX_ODD = 1 << 20  # of one that is packed in another way than usual: pypdf takes much time and memory to unpack it
DAMAGED, ENCRYPTED, HOSTILE = "damaged", "encrypted", "hostile"
_END = b"\nstartxref\n0\n%%EOF\n"  # where it was cut off: then pypdf looks for the objects, as viewers do
PREFERRED = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")
_MAY_HOLD_FILES = re.compile(rb"/(?:EF|EmbeddedFile|ObjStm|Encrypt)|/[A-Za-z]*#[0-9A-Fa-f]{2}")


class Unreadable(Exception):
    """The reason, in a word: encrypted, damaged, hostile."""


def looks_like_pdf(data: bytes) -> bool:
    """Readers accept the header anywhere in the first 1024 octets."""
    return b"%PDF-" in data[:1024]


def files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each embedded file that may be XML. Unreadable, behind all that can be read."""
    if not _MAY_HOLD_FILES.search(data):
        return
    import pypdf

    with pypdf.apply_configuration(zlib_maximum_output_length=MAX_STRUCTURE,
                                   stream_decoding_work_maximum_length=MAX_WORK, disable_legacy_handling=True):
        trouble, left, room = "", MAX_FILES, MAX_UNPACKED
        for specs in _specs(data):
            for name, stream in sorted(specs, key=lambda one: _rank(one[0]))[:left]:
                left -= 1
                try:
                    with _reading():
                        content = _content(stream)
                    room -= len(content)
                    if room < 0:
                        raise Unreadable(HOSTILE)
                except Unreadable as error:  # one file that cannot be read does not hide the next
                    trouble = str(error) if trouble != HOSTILE else trouble
                else:
                    yield name, content
        if trouble:
            raise Unreadable(trouble)


def _content(stream: Any) -> bytes:
    """What is in an embedded file. Such are packed by FlateDecode alone, if at all; of others only small ones are read.
    """
    import pypdf

    filters, more = stream.get("/Filter"), stream.get("/DecodeParms")
    filters, more = (one.get_object() if one is not None else None for one in (filters, more))
    names = filters if isinstance(filters, list) else [filters] if filters is not None else []
    usual = more is None and [one.get_object() for one in names] in ([], ["/FlateDecode"])
    if not usual and (len(names) > 2 or len(stream._data) > MAX_ODD):
        raise Unreadable(HOSTILE)
    most = MAX_STREAM if usual else MAX_ODD
    with pypdf.apply_configuration(zlib_maximum_output_length=most, stream_decoding_work_maximum_length=MAX_WORK,
                                   disable_legacy_handling=True):
        content: bytes = stream.get_data()
    stream.decoded_self = None  # pypdf would keep it
    return content


def _specs(data: bytes) -> Iterator[list[tuple[str, Any]]]:
    """The embedded files that the catalog names, then those that pages have, which takes longer. Unreadable."""
    walker = _Walker()
    try:
        root = _catalog(data)
    except Unreadable as error:
        if str(error) != DAMAGED:
            raise
        root = _catalog(data + _END)
    for look in (walker.catalog, walker.pages):
        with _reading():
            found = look(root)
        yield found


def _catalog(data: bytes) -> Any:
    """The catalog of a document. Unreadable."""
    import pypdf

    with _reading():
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(ENCRYPTED)
        root = reader.trailer["/Root"].get_object()
        if not isinstance(root, dict):
            raise Unreadable(DAMAGED)
        return root


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Whatever pypdf raises comes from what is odd in the file."""
    from pypdf.errors import FileNotDecryptedError, LimitReachedError

    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except FileNotDecryptedError as error:
        raise Unreadable(ENCRYPTED) from error
    except LimitReachedError as error:
        raise Unreadable(HOSTILE) from error
    except Exception as error:
        raise Unreadable(DAMAGED) from error


def _rank(name: str) -> int:
    low = name.lower()
    return PREFERRED.index(low) if low in PREFERRED else 3 if low.endswith(".xml") else 4


class _Walker:
    """Walks over the objects of one PDF, each once."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()
        self.left = MAX_NODES
        self.found: list[tuple[str, Any]] = []
        self.streams: set[int] = set()

    def catalog(self, root: Any) -> list[tuple[str, Any]]:
        """Of the name tree and /AF."""
        names = self.open(root.get("/Names"))
        if names is not None:
            self.names(names.get("/EmbeddedFiles"))
        self.each(root.get("/AF"), self.spec)
        return self.taken()

    def taken(self) -> list[tuple[str, Any]]:
        found, self.found = self.found, []
        return found

    def open(self, value: Any) -> Any:
        """The dictionary that something refers to; None when it is none, was seen, or there were too many."""
        reference = getattr(value, "idnum", None)
        if reference is not None:
            key = (reference, value.generation)
            if key in self.seen:
                return None
            self.seen.add(key)
        self.left -= 1
        value = value.get_object() if value is not None and self.left > 0 else None
        return value if isinstance(value, dict) else None

    def each(self, value: Any, work: Any) -> None:
        found = value.get_object() if value is not None else None
        if isinstance(found, list):
            for one in found[:MAX_NODES]:
                work(one)
        elif isinstance(found, dict):
            work(value)  # one without an array around it

    def names(self, value: Any) -> None:
        todo = [value]
        while todo and len(self.found) < MAX_SPECS:
            node = self.open(todo.pop())
            if node is None:
                continue
            self.each(node.get("/Kids"), todo.append)
            pairs = node.get("/Names")
            pairs = pairs.get_object() if pairs is not None else None
            if isinstance(pairs, list):
                for one in pairs[1 : 2 * MAX_SPECS : 2]:
                    self.spec(one)

    def pages(self, root: Any) -> list[tuple[str, Any]]:
        """Of pages, and annotations on them."""
        todo = [root.get("/Pages")]
        while todo:
            page = self.open(todo.pop())
            if page is None:
                continue
            self.each(page.get("/Kids"), todo.append)
            self.each(page.get("/AF"), self.spec)
            self.each(page.get("/Annots"), self.annotation)
        return self.taken()

    def annotation(self, value: Any) -> None:
        found = self.open(value)
        if found is not None and found.get("/Subtype") == "/FileAttachment":
            self.spec(found.get("/FS"))

    def spec(self, value: Any) -> None:
        """A file specification; the same stream may stand in several."""
        spec = self.open(value)
        embedded = spec.get("/EF") if spec is not None else None
        embedded = embedded.get_object() if embedded is not None else None
        if spec is None or not isinstance(embedded, dict) or len(self.found) >= MAX_SPECS:
            return
        name = str(spec.get("/UF") or spec.get("/F") or "").strip("\0 ")
        for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"):
            stream = embedded.get(key)
            stream = stream.get_object() if stream is not None else None
            if hasattr(stream, "get_data"):
                if id(stream) not in self.streams:
                    self.streams.add(id(stream))
                    self.found.append((name, stream))
                return
