"""How far a file was read, and by what it is known again when it has another name, is compressed, or was cut."""

import os
from typing import Any, Self

from maintd import marks
from maintd.values import dataclass

_HEAD = 64
_TAIL = 256
_LONGEST_MARK = 256 << 10


class Text:
    """What an open file holds: its bytes behind the mark that an archiving in place left (marks.py)."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        is_marked = os.pread(descriptor, 1, 0) in (b" ", b"\t")
        self.start = marks.length_at(os.pread(descriptor, _LONGEST_MARK, 0)) if is_marked else 0
        self.size = os.fstat(descriptor).st_size - self.start

    def read(self, count: int, at: int) -> bytes:
        return os.pread(self.descriptor, count, self.start + at) if count > 0 else b""

    def last_line_end(self) -> int:
        begin = max(self.size - (1 << 16), 0)
        return begin + self.read(self.size - begin, begin).rfind(b"\n") + 1


@dataclass(frozen=True)
class Reached:
    """A text that begins with `head` was read up to `at`, before which `tail` stands."""

    at: int
    head: bytes
    tail: bytes

    @classmethod
    def of(cls, text: Text, at: int) -> Self:
        length = min(at, _TAIL)
        return cls(at, text.read(_HEAD, 0), text.read(length, at - length))

    @classmethod
    def from_state(cls, state: Any) -> Self:
        at, head, tail = state
        return cls(at, head.encode("latin-1"), tail.encode("latin-1"))

    @property
    def state(self) -> Any:
        """The same, as JSON can have it."""
        return self.at, self.head.decode("latin-1"), self.tail.decode("latin-1")

    def and_then(self, added: bytes) -> "Reached":
        """How far it was read when that was read behind it."""
        is_open = self.at <= len(self.head) < _HEAD
        head = (self.head + added[len(self.head) - self.at :])[:_HEAD] if is_open else self.head
        return Reached(self.at + len(added), head, (self.tail + added[-_TAIL:])[-_TAIL:])

    def goes_on_in(self, text: Text) -> bool:
        """Whether that is the text which was read, with what was added since."""
        before = self.at - len(self.tail)
        is_same = text.read(len(self.head), 0) == self.head and text.read(len(self.tail), before) == self.tail
        return is_same and self.at <= text.size

    def behind(self, text: Text) -> "Reached | None":
        """How far what is left was read, if that text was taken out of the front and all of it had been read."""
        at, overlap = self.at - text.size, max(text.size - self.at + len(self.tail), 0)
        is_front = at >= 0 and text.size > 0 and text.read(len(self.head), 0) == self.head[: text.size]
        is_known = bool(self.head or overlap)
        if not (is_front and is_known) or text.read(overlap, text.size - overlap) != self.tail[:overlap]:
            return None
        return Reached(at, b"", self.tail[-at:] if at else b"")
