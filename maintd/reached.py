"""How far a file was read, and by what it is known again when it has another name, is compressed, or was cut."""

import os
import re
from typing import Any, Self

from maintd import marks
from maintd.values import dataclass

_HEAD = 64
_TAIL = 256
_LONGEST_MARK = 256 << 10
_COMPARED = 64 << 10
_TIME = re.compile(rb"\d\d:\d\d:\d\d(?:[.,]\d+)?|\d{10,}(?:\.\d+)?")
"""A time of the day, or seconds since 1970."""
_TELLING = 8
"""Different times: fewer may stand in what a program says each time that it starts."""


class Text:
    """What an open file holds: its bytes behind the `mark` that an archiving in place left (marks.py).

    A mark is known by its number; b"" if there is none.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        is_marked = os.pread(descriptor, 1, 0) in (b" ", b"\t")
        begin = os.pread(descriptor, _LONGEST_MARK, 0) if is_marked else b""
        self.start = marks.length_at(begin)
        self.mark = (marks.nonce_of(begin) or b"") if self.start else b""
        self.size = os.fstat(descriptor).st_size - self.start

    def read(self, count: int, at: int) -> bytes:
        return os.pread(self.descriptor, count, self.start + at) if count > 0 else b""

    def last_line_end(self) -> int:
        begin = max(self.size - (1 << 16), 0)
        return begin + self.read(self.size - begin, begin).rfind(b"\n") + 1

    def is_being_collapsed(self, at: int) -> bool:
        """Whether a mark lies further on in it, just before `at` or after a collapse: its front is being taken out."""
        begin = max(self.start + at - _LONGEST_MARK, 0)
        steps = range(marks.STEP, self.start + self.size, marks.STEP)
        return marks.lies_in(os.pread(self.descriptor, _LONGEST_MARK + marks.SHORTEST, begin), begin) or any(
            marks.nonce_of(os.pread(self.descriptor, marks.SHORTEST, step)) for step in steps
        )

    def is_front_of(self, other: "Text") -> bool:
        """Whether the other text begins with the whole of this one, as far as their ends show."""
        length = min(self.size, _COMPARED)
        is_begun = self.size <= other.size and self.read(_HEAD, 0) == other.read(min(_HEAD, self.size), 0)
        return is_begun and self.read(length, self.size - length) == other.read(length, self.size - length)

    def is_copied_from(self, other: "Text") -> bool:
        """Whether it is the front of the other text, and not by chance."""
        is_same = self.size > 0 and self.is_front_of(other)
        return is_same and (self.mark == other.mark != b"" or self.is_telling(self.size))

    def is_telling(self, at: int) -> bool:
        """Whether what stands before `at` will not be written a second time, for it is full of times.

        A program in a crash loop writes the same lines, however many and different these are.
        """
        length = min(at, _COMPARED)
        return len(set(_TIME.findall(self.read(length, at - length)))) >= _TELLING


@dataclass(frozen=True)
class Reached:
    """A text that begins with `head` was read up to `at`, before which `tail` stands. A `mark` of None is any."""

    at: int
    head: bytes
    tail: bytes
    mark: bytes | None

    @classmethod
    def of(cls, text: Text, at: int) -> Self:
        """One of nothing if the text is no longer so long: it was cut just now."""
        length = min(at, _TAIL)
        tail = text.read(length, at - length)
        if len(tail) < length:
            return cls(0, b"", b"", text.mark)
        return cls(at, text.read(min(at, _HEAD), 0), tail, text.mark)

    @classmethod
    def from_state(cls, state: Any) -> Self:
        at, head, tail, mark = state
        return cls(at, head.encode("latin-1"), tail.encode("latin-1"), None if mark is None else mark.encode("latin-1"))

    @property
    def state(self) -> Any:
        """The same, as JSON can have it."""
        mark = None if self.mark is None else self.mark.decode("latin-1")
        return self.at, self.head.decode("latin-1"), self.tail.decode("latin-1"), mark

    @property
    def with_any_mark(self) -> "Reached":
        """The same in a text whose front was archived since, or in what was taken out of it."""
        return Reached(self.at, self.head, self.tail, None)

    def and_then(self, added: bytes) -> "Reached":
        """How far it was read when that was read behind it."""
        is_open = self.at <= len(self.head) < _HEAD
        head = (self.head + added[len(self.head) - self.at :])[:_HEAD] if is_open else self.head
        return Reached(self.at + len(added), head, (self.tail + added[-_TAIL:])[-_TAIL:], self.mark)

    def goes_on_in(self, text: Text) -> bool:
        """Whether that is the text which was read, with what was added since."""
        before = self.at - len(self.tail)
        is_same = text.read(len(self.head), 0) == self.head and text.read(len(self.tail), before) == self.tail
        return is_same and self.at <= text.size and (not self.at or self.mark in (None, text.mark))

    def behind(self, text: Text) -> "Reached | None":
        """How far what is left was read, if that text was taken out of the front and all of it had been read.

        None if it was not. Nothing is compared where neither the head nor the tail that is known reaches.
        """
        at, overlap = self.at - text.size, max(text.size - self.at + len(self.tail), 0)
        is_front = at >= 0 and text.size > 0 and text.read(len(self.head), 0) == self.head[: text.size]
        if not is_front or text.read(overlap, text.size - overlap) != self.tail[:overlap]:
            return None
        return Reached(at, b"", self.tail[-at:] if at else b"", None)
