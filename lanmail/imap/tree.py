"""A message cut into its MIME parts.

Never raises. Linear: every octet is looked at a fixed number of times, only lines that begin with "--" by Python code.
Bounded: at level 100 and after 10,000 parts nothing is opened any more, what is there is served flat.
What counts as a boundary is more than RFC 2046 §5.1.1 says: any line that begins with one (the longest, if several
would do), inside a part's header as well, which then ends there.
"""

from typing import NamedTuple

from lanmail.imap import contents, headers

MAX_DEPTH = 100
MAX_PARTS = 10_000
MAX_BOUNDARY = 80  # RFC 2046 allows 70

LEAF, TEXT, MULTIPART, MESSAGE = range(4)


class Size(NamedTuple):
    octets: int  # as on disk
    wire: int  # with CRLF line ends
    lines: int


class Part(NamedTuple):
    """One part: a MIME header at `start`, then its body; `parts` of a multipart, or the one of a message/rfc822."""

    kind: int
    start: int
    header: Size
    body: Size
    parts: "tuple[Part, ...]"


class Node:
    """A part and what its header says; its body is from `middle` to `end`. `scan` adds the sizes of both."""

    __slots__ = ("body", "content", "depth", "end", "fields", "header", "kind", "middle", "parent", "parts", "start")

    header: Size
    body: Size
    content: contents.Content
    fields: headers.Fields

    def __init__(self, start: int, parent: "Node | None") -> None:
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.kind = TEXT
        self.start = self.middle = self.end = start
        self.parts: list[Node] = []

    def part(self) -> Part:
        """The part and those below, in the form that a cache keeps."""
        return Part(self.kind, self.start, self.header, self.body, tuple([node.part() for node in self.parts]))


def outline(data: bytes) -> Node:
    """The tree of a whole message without its sizes: only where its parts start and end."""
    return _Scanner(data).scan()


def scan(data: bytes) -> Node:
    """The tree of a whole message with all sizes."""
    root = outline(data)
    _Ruler(data).measure(root)
    return root


class _Scanner:
    """Walks from part to part: `node` is the place, `open` the multiparts around it, outermost first."""

    __slots__ = ("data", "empty_line", "node", "open", "parts", "prefixes", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.open: list[tuple[bytes, Node]] = []
        self.prefixes: tuple[bytes, ...] = ()  # how the boundary lines of `open` begin
        self.empty_line = (-1, -1)  # the last one found; searching again from each header would be quadratic
        self.node: Node = Node(0, None)
        self.parts = 1

    def scan(self) -> Node:
        root = self.node
        at = self.read_header(0)
        while at < self.size:
            at = self.read_body(at)
        self.close(None, self.size)
        return root

    def read_header(self, start: int) -> int:
        """Read the header of `node`, which starts there, and go on to where a body or a boundary line starts."""
        node = self.node
        complete, end = self.header_end(start)
        boundary = self.next_boundary(start, end) if self.open else None
        node.fields = headers.known(self.data[start : boundary[0] if boundary else end])
        inside_multipart = node.parent is not None and node.parent.kind == MULTIPART
        node.content = contents.Content(node.fields, inside_multipart=inside_multipart)
        node.kind = self.kind(node)
        if complete and not boundary:
            if node.kind == MULTIPART:
                self.enter(node)
            # A boundary right after the empty line: that was no empty line but the boundary's line end.
            boundary = self.next_boundary(end, end) if self.open else None
            if boundary and self.open[boundary[1]][1] is node:
                boundary = None
        if boundary:
            return self.cut_short(start, boundary[0])
        node.middle = node.end = end
        if node.kind == MESSAGE:
            self.add_part(end)
            return self.read_header(end)
        return end

    def cut_short(self, start: int, line: int) -> int:
        """Leave `node`, whose header a boundary line ends; it has no body."""
        node = self.node
        node.middle = node.end = self.before_line_end(start, line)
        if node.kind == MESSAGE:
            inside = self.add_part(node.end)
            inside.fields, inside.content = [], contents.Content([])
        self.node = node.parent or node
        return line

    def kind(self, node: Node) -> int:
        kind = kind_of(node.content)
        parent = node.parent
        if node.content.type is None and parent and parent.kind == MULTIPART and is_digest(parent.content):
            kind = MESSAGE  # RFC 2046 §5.1.5
        if kind == MESSAGE and (node.depth + 1 >= MAX_DEPTH or self.parts >= MAX_PARTS):
            return LEAF
        return kind

    def enter(self, node: Node) -> None:
        """Look for the node's boundary from now on."""
        boundary = node.content.parameter(b"boundary")
        if boundary is None:
            return
        if node.depth + 1 >= MAX_DEPTH:
            node.kind = LEAF
            return
        self.open.append((boundary[:MAX_BOUNDARY], node))
        self.prefixes += (b"--" + boundary[:MAX_BOUNDARY],)

    def add_part(self, start: int) -> Node:
        self.node = Node(start, self.node)
        if self.node.parent:
            self.node.parent.parts.append(self.node)
        self.parts += 1
        return self.node

    def read_body(self, at: int) -> int:
        """From a line of `node`'s body to the start of the next body or epilogue."""
        boundary = self.next_boundary(at, self.size) if self.open else None
        if not boundary:
            return self.size
        line, index, last = boundary
        around = self.open[index][1]
        self.close(around, self.before_line_end(at, line))
        del self.open[index if last else index + 1 :]
        self.prefixes = self.prefixes[: len(self.open)]
        next_line = self.data.find(b"\n", line) + 1
        if not next_line:
            return self.size
        if last:
            return next_line
        self.add_part(next_line)
        return self.read_header(next_line)

    def close(self, around: Node | None, end: int) -> None:
        """Leave all parts below `around`."""
        node: Node | None = self.node
        while node is not None and node is not around:
            node.end = end
            node = node.parent
        if node:
            self.node = node

    # Lines

    def header_end(self, start: int) -> tuple[bool, int]:
        """Whether there is an empty line, and the position after it."""
        if self.data.startswith(b"\n", start):
            return True, start + 1
        if self.data.startswith(b"\r\n", start):
            return True, start + 2
        if self.empty_line[0] < start:
            found = headers.empty_line(self.data, start)
            self.empty_line = found.span() if found else (self.size, self.size)
        return self.empty_line[0] < self.size, self.empty_line[1]

    def next_boundary(self, at: int, end: int) -> tuple[int, int, bool] | None:
        """The first boundary line that starts between: where, whose (index in `open`), whether it closes."""
        if self.parts >= MAX_PARTS:
            return None
        data, prefixes = self.data, self.prefixes
        line = at if data.startswith(b"--", at) else data.find(b"\n--", at, end) + 1
        while line or at == 0:
            if data.startswith(prefixes, line):
                index = self.boundary_at(line)
                if index >= 0:
                    return line, index, data.startswith(b"--", line + len(prefixes[index]))
            line = data.find(b"\n--", line, end) + 1
            if not line:
                break
        return None

    def boundary_at(self, line: int) -> int:
        """Whose boundary the line is: exactly or closing, innermost first, else the longest that fits; -1: no one's."""
        start = line + 2
        end = self.data.find(b"\n", start)
        closing = False
        if end < 0:
            length = min(self.size - start, MAX_BOUNDARY + 4)
        else:
            length = end - start - (1 if end > start and self.data[end - 1] == 13 else 0)
            closing = length > 2 and self.data.startswith(b"--", start + length - 2)
        best, best_length = -1, -1
        for index in range(len(self.open) - 1, -1, -1):
            boundary = self.open[index][0]
            if best_length < len(boundary) <= length and self.data.startswith(boundary, start):
                best, best_length = index, len(boundary)
                if best_length == length or (closing and best_length == length - 2):
                    break
        return best

    def before_line_end(self, start: int, line: int) -> int:
        """The line end before a boundary line belongs to the boundary (RFC 2046 §5.1.1)."""
        if line <= start:
            return line
        return line - 2 if line - 2 >= start and self.data[line - 2] == 13 else line - 1


def kind_of(content: contents.Content) -> int:
    """By its Content-Type alone."""
    if not content.mime or content.type is None:
        return TEXT
    kind = content.type.lower()
    if kind == b"text":
        return TEXT
    if kind == b"multipart" and content.subtype:
        return MULTIPART
    if kind == b"message" and content.subtype.lower() == b"rfc822":
        return MESSAGE
    return LEAF


def is_digest(content: contents.Content) -> bool:
    return content.subtype.lower() == b"digest"


class _Ruler:
    """Counts lines from one place to the next, forwards only."""

    __slots__ = ("at", "crlfs", "data", "has_cr", "lines")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.has_cr = b"\r" in data
        self.at = self.lines = self.crlfs = 0

    def measure(self, node: Node) -> None:
        self.move(node.start)
        start = self.here()
        self.move(node.middle)
        middle = self.here()
        for part in node.parts:
            self.measure(part)
        self.move(node.end)
        node.header = _between(start, middle)
        node.body = _between(middle, self.here())

    def here(self) -> tuple[int, int, int]:
        return self.at, self.at + self.lines - self.crlfs, self.lines

    def move(self, to: int) -> None:
        if to > self.at:
            self.lines += self.data.count(b"\n", self.at, to)
            if self.has_cr:
                self.crlfs += self.data.count(b"\r\n", self.at, to)
            self.at = to


def _between(start: tuple[int, int, int], end: tuple[int, int, int]) -> Size:
    return Size(end[0] - start[0], end[1] - start[1], end[2] - start[2])
