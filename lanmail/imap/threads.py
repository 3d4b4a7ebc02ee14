"""Messages put into threads (RFC 5256 §3): REFERENCES, ORDEREDSUBJECT, and REFS, which leaves the subjects alone.

Messages are numbered 0, 1, … in the order of the mailbox; a node above that is a dummy, a message that others refer to
but that is not there, or the top of a thread whose messages have only their subject in common. Nothing here recurses,
and all is linear but for sorting, whatever the References say: see `_Links`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lanmail.imap import subjects

MAX_STEPS = 5_000_000


class Message(NamedTuple):
    """What threading wants to know of a message."""

    sent: float  # or INTERNALDATE where there is no sent date
    subject: subjects.Subject
    id: bytes | None = None
    references: tuple[bytes, ...] = ()  # of In-Reply-To at most one, if References has none


class Threads(NamedTuple):
    """The top of each thread, and what is below each node, in order."""

    roots: list[int]
    children: dict[int, list[int]]


class _Links:
    """Step (1): who is below whom. A link that would make a loop is not made.

    To find a loop one goes up from the new parent, but only when the child has children itself. In real mail that is a
    few steps; made-up References can make it many, so that all steps together are limited, and what would need more
    is a thread of its own.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.count = len(messages)
        self.parent = [-1] * self.count
        self._degree = [0] * self.count
        self._steps = MAX_STEPS
        self._nodes: dict[bytes, int] = {}
        own: dict[bytes, int] = {}
        for number, message in enumerate(messages):
            if message.id is not None:
                own.setdefault(message.id, number)  # of several with one Message-ID, the first is meant
        self._nodes.update(own)
        for number, message in enumerate(messages):
            self._add(number, message)

    def _add(self, number: int, message: Message) -> None:
        above = -1
        for reference in message.references:
            node = self._node(reference)
            if above >= 0 and self.parent[node] < 0:
                self._link(above, node)
            above = node
        # what the message says of itself counts more than what others said of it
        if self.parent[number] >= 0 and self.parent[number] != above:
            self._degree[self.parent[number]] -= 1
            self.parent[number] = -1
        if above >= 0 and self.parent[number] < 0:
            self._link(above, number)

    def _node(self, reference: bytes) -> int:
        node = self._nodes.setdefault(reference, len(self.parent))
        if node == len(self.parent):
            self.parent.append(-1)
            self._degree.append(0)
        return node

    def _link(self, parent: int, child: int) -> None:
        if parent == child or (self._degree[child] and not self._free(parent, child)):
            return
        self.parent[child] = parent
        self._degree[parent] += 1

    def _free(self, parent: int, child: int) -> bool:
        """Whether the child is not above the parent."""
        while parent >= 0 and parent != child and self._steps:
            self._steps -= 1
            parent = self.parent[parent]
        return parent < 0


class _Forest:
    """Steps (2) and on: nodes with their children, roots, dates."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.children: dict[int, list[int]] = {}
        self.roots: list[int] = []
        self.next = len(messages)

    def dummy(self, node: int) -> bool:
        return node >= len(self.messages)

    def grow(self, links: _Links) -> None:
        """Steps (2) and (3): dummies go, their children take their place; at the top only an only child does."""
        self.next = len(links.parent)
        for number, above in enumerate(self._upper(links)):
            if above < 0:
                self.roots.append(number)
            else:
                self.children.setdefault(above, []).append(number)
        for node in range(links.count, self.next):
            if links.parent[node] < 0 and node in self.children:
                self.roots.append(node if len(self.children[node]) > 1 else self.children.pop(node)[0])

    def _upper(self, links: _Links) -> Iterator[int]:
        """For each message the next one above it, else the highest dummy, else -1; each dummy is passed only once."""
        settled: dict[int, int] = {}  # dummy → what its children come below
        for number in range(links.count):
            path = []
            above = links.parent[number]
            while above >= 0 and self.dummy(above) and above not in settled:
                path.append(above)
                above = links.parent[above]
            above = settled.get(above, above)
            if above < 0 and path:
                above = path[-1]
            settled.update(dict.fromkeys(path, above))
            yield above

    def first(self, node: int) -> int:
        """The message itself, or of a dummy the oldest child."""
        return min(self.children[node], key=self.order) if self.dummy(node) else node

    def order(self, number: int) -> tuple[float, int]:
        return self.messages[number].sent, number

    def sort_roots(self) -> None:
        first = {root: self.order(self.first(root)) for root in self.roots}
        self.roots.sort(key=first.__getitem__)

    def sorted(self) -> Threads:
        """Step (6)."""
        for below in self.children.values():
            below.sort(key=self.order)
        return Threads(self.roots, self.children)


def references(messages: Sequence[Message]) -> Threads:
    """RFC 5256 §3, REFERENCES."""
    forest = _Forest(messages)
    forest.grow(_Links(messages))
    forest.sort_roots()
    _join(forest)
    forest.sort_roots()
    return forest.sorted()


def refs(messages: Sequence[Message]) -> Threads:
    """The same without looking at subjects; the thread with the latest message comes last."""
    forest = _Forest(messages)
    forest.grow(_Links(messages))
    latest = {root: max(forest.order(one) for one in _below(forest, root)) for root in forest.roots}
    forest.roots.sort(key=latest.__getitem__)
    return forest.sorted()


def _below(forest: _Forest, root: int) -> Iterable[int]:
    """All messages of a thread."""
    nodes = [root]
    for node in nodes:
        nodes += forest.children.get(node, ())
    return nodes[1:] if forest.dummy(root) else nodes


def _join(forest: _Forest) -> None:
    """Step (5): threads of one subject become one."""
    subject = {root: forest.messages[forest.first(root)].subject for root in forest.roots}
    table: dict[str, int] = {}
    for root in forest.roots:
        there = table.setdefault(subject[root].base, root)
        if not forest.dummy(there) and (
                forest.dummy(root) or (subject[there].reply and not subject[root].reply)):
            table[subject[root].base] = root
    table.pop("", None)
    merged = dict.fromkeys(forest.roots)
    for root in forest.roots:
        target = table.get(subject[root].base, root)
        if target == root or root not in merged:
            continue
        del merged[root]
        if forest.dummy(root):
            forest.children[target] += forest.children.pop(root)
        elif forest.dummy(target) or (subject[root].reply and not subject[target].reply):
            forest.children.setdefault(target, []).append(root)
        else:
            del merged[target]
            merged[forest.next] = None
            forest.children[forest.next] = [target, root]
            table[subject[root].base] = forest.next
            forest.next += 1
    forest.roots = list(merged)


def ordered_subject(messages: Sequence[Message]) -> Threads:
    """RFC 5256 §3, ORDEREDSUBJECT: of each subject the oldest message, with all others below it."""
    found: dict[str, list[int]] = {}
    for number in sorted(range(len(messages)), key=lambda number: (messages[number].sent, number)):
        found.setdefault(messages[number].subject.base, []).append(number)
    return Threads([first for first, *_ in found.values()],
                   {first: rest for first, *rest in found.values() if rest})


def written(threads: Threads, numbers: Sequence[int]) -> str:
    """`(2)(3 6 (4 23)(44 7 96))` (RFC 5256 §4); `numbers` are what the client calls the messages."""
    said: list[str] = []
    rest: list[int | str] = []
    for root in reversed(threads.roots):
        rest += (")", root, "(")
    while rest:
        node = rest.pop()
        if isinstance(node, str):
            said.append(node)
            continue
        below = threads.children.get(node, ())
        if node < len(numbers):
            said.append(f"{numbers[node]} " if below else str(numbers[node]))
        if len(below) == 1:
            rest.append(below[0])
        else:
            for one in reversed(below):
                rest += (")", one, "(")
    return "".join(said)
