"""The words of header fields (RFC 5322 §3.2): phrases, atoms, quoted strings, comments, domains; read leniently.

A `Reader` stands at a place in a value and moves only forwards. What it reads is added to `text`; each step says how
it ended.
"""

import re

from lanmail.mime import values

_DOTTED = values.ATEXT.replace(b"[", b"[.", 1)
_blanks = re.compile(rb"[ \t\r\n]*+").match
_atom = re.compile(values.ATEXT + rb"++").match
_dotted = re.compile(_DOTTED + rb"*+").match
_word_starts = re.compile(rb'%b|["]' % _DOTTED).match
_comment_special = re.compile(rb"[()\\\n\0]").search
_literal_special = re.compile(rb"[\[\]\\\n\0]").search

_QUOTE, _OPEN, _DOT, _AT, _BRACKET = b'"(.@['

MORE, END, BROKEN = 1, 0, -1  # how a step ended: before something else, at the end, in an error


class Reader:
    __slots__ = ("at", "comment", "size", "text", "value")

    def __init__(self, value: bytes, at: int = 0) -> None:
        self.value = value
        self.size = len(value)
        self.at = at
        self.text = bytearray()
        self.comment = -1  # where the last comment starts

    def sees(self, octet: int) -> bool:
        return self.at < self.size and self.value[self.at] == octet

    def phrase(self) -> int:
        """Words, quoted or not, and dots; joined by single blanks."""
        if self.at >= self.size:
            return END
        if self.value[self.at] == _DOT:
            return BROKEN
        while True:
            if self.value[self.at] == _QUOTE:
                state = self.quoted()
            else:
                word = _dotted(self.value, self.at)
                if word:
                    self.text += word[0]
                    self.at = word.end()
                state = self.blanks()
            if state != MORE or not _word_starts(self.value, self.at):
                return state
            self.text += b" "

    def loose_dot_atom(self) -> int:
        """A local part with dots anywhere, as some providers give them out."""
        state = BROKEN
        while True:
            while self.value[self.at] == _DOT:
                self.text += b"."
                self.at += 1
                if self.at == self.size:
                    return END
                state = MORE
            if self.value[self.at] == _AT:
                return state
            state = self.atom()
            if state != MORE or self.value[self.at] != _DOT:
                return state

    def domain_text(self) -> int:
        self.at += 1
        if self.blanks() != MORE:
            return BROKEN
        return self.domain_literal() if self.value[self.at] == _BRACKET else self.dot_atom()

    def dot_atom(self) -> int:
        while True:
            state = self.atom()
            if state != MORE or self.value[self.at] != _DOT:
                return state
            self.at += 1
            self.text += b"."
            if self.blanks() != MORE:
                return BROKEN

    def atom(self) -> int:
        atom = _atom(self.value, self.at)
        if not atom:
            return BROKEN
        self.text += atom[0]
        self.at = atom.end()
        return self.blanks()

    def quoted(self) -> int:
        content, at = values.quoted(self.value, self.at)
        self.text += content
        self.at = self.size if at < 0 else at
        return BROKEN if at < 0 else self.blanks()

    def domain_literal(self) -> int:
        start = self.at
        self.at += 1
        while special := _literal_special(self.value, self.at):
            here, self.at = special.start(), special.end()
            match special[0]:
                case b"]":
                    self.text += self.value[start : self.at]
                    return self.blanks()
                case b"[":
                    self.at = here
                    return BROKEN
                case b"\\":
                    if self.at < self.size and self.value[self.at] not in b"\r\n\0":
                        self.at += 1
                case b"\n":
                    self.text += self.value[start:here].removesuffix(b"\r")
                    start = self.at
                case _:
                    self.text += self.value[start:here] + values.NUL_REPLACEMENT
                    start = self.at
        self.at = self.size
        return BROKEN

    def blanks(self) -> int:
        """Past blanks and comments."""
        while True:
            blanks = _blanks(self.value, self.at)
            self.at = blanks.end() if blanks else self.at
            if self.at >= self.size:
                return END
            if self.value[self.at] != _OPEN:
                return MORE
            self.comment = self.at + 1
            end = values.comment_end(self.value, self.at + 1)
            if end < 0:
                self.at = self.size
                return BROKEN
            self.at = end

    def comment_text(self) -> bytes:
        """What the last comment says; one that does not end loses what is after its last fold."""
        if self.comment < 0:
            return b""
        text = bytearray()
        start = at = self.comment
        depth = 1
        while special := _comment_special(self.value, at):
            here, at = special.start(), special.end()
            match special[0]:
                case b"(":
                    depth += 1
                case b")":
                    depth -= 1
                    if not depth:
                        text += self.value[start:here]
                        break
                case b"\\":
                    if at >= self.size or self.value[at] in b"\r\n\0":
                        continue
                    text += self.value[start:here]
                    start = at
                    at += 1
                case b"\n":
                    text += self.value[start:here].removesuffix(b"\r")
                    start = at
                case _:
                    text += self.value[start:here] + values.NUL_REPLACEMENT
                    start = at
        return bytes(text)
