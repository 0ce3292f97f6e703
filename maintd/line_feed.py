"""The lines that are added to a log from one look to the next, over rotations, also those of an archive just made."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import field
from typing import Any, Self

from maintd.errors import is_shortage
from maintd.expressions import matcher
from maintd.predecessors import Generation, generations, is_named_after, opened, opened_plain
from maintd.values import dataclass

MOST = 16 << 20
"""Bytes of one log, and of what it was before, that are read in one look; of more only the last so many."""
_TAIL = 256
_HEAD = 64
_LONGEST_LINE = 4096
_CHECKED = 1000
"""After so many lines the time is looked at."""
_SHARE = 0.8
_Piece = tuple[Generation, int, int, int]
"""A generation with its descriptor, the offset from which it is to be read, and how many bytes."""


class Packed(Exception):
    """Lines stand in a compressed generation, whose path it has."""


@dataclass
class Follower:
    """How far a log was read: its inode, the offset in it, what stands before that, and when it was changed (ns).

    A first look begins at the end, or at the start if the log `is_new`. `read` are the generations beside it that were
    read or are older, by their inodes, each with how it begins. In this look `skipped` bytes were too many to be read,
    `missed` generations could not be, and `lost` was what the log had been. One that `unpacks` reads packed ones too.
    Of logs that are `followed` themselves, by path, each has its inode: they are no generations of this one.
    """

    path: str
    inode: tuple[int, int] | None = None
    offset: int = 0
    tail: bytes = b""
    changed: int = 0
    read: dict[int, bytes] = field(default_factory=dict)
    is_new: bool = False
    unpacks: bool = False
    followed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0
    missed: int = 0
    lost: tuple[int, int] | None = None

    @classmethod
    def of(cls, path: str, state: Any) -> Self:
        """One that goes on from a `state`."""
        inode, offset, tail, changed, read = state
        known = {number: head.encode("latin-1") for number, head in read}
        return cls(path, tuple(inode), offset, tail.encode("latin-1"), changed, known)

    @property
    def state(self) -> Any:
        """All that the next look needs, as JSON can have it."""
        known = [(number, head.decode("latin-1")) for number, head in self.read.items()]
        return self.inode, self.offset, self.tail.decode("latin-1"), self.changed, known

    def lines(self) -> Generator[bytes]:
        """The whole lines that were added since the last time. Raises OSError if the log cannot be read.

        It may be left after any line, and the next time goes on with the one after that. Raises Packed if there are
        lines in what is to be unpacked for it, which only a child should do.
        """
        with opened(self.path) as live:
            info = os.fstat(live)
            inode = info.st_dev, info.st_ino
            if self.inode is None:
                self.inode, self.changed = inode, info.st_mtime_ns
                self.offset = 0 if self.is_new else _last_line_end(live, info.st_size)
                self.tail = self._tail_in(live)
                self.read = _heads(self._generations())
            is_renamed = self.inode != inode
            if is_renamed or self._tail_in(live) != self.tail:  # renamed; or cut, or archived in place
                yield from self._aside(max(MOST - info.st_size, 0), is_renamed=is_renamed)
                self.inode, self.offset, self.tail = inode, 0, b""
                # what is left of one that was archived in place may be seen a second time, but none is missed
            self._skip(max(info.st_size - self.offset - MOST, 0))
            yield from self._read(live, info.st_size)
            self.changed = info.st_mtime_ns

    def _generations(self) -> list[Generation]:
        return [one for one in generations(self.path) if self.followed.get(one.path) != one.inode]

    def _aside(self, room: int, *, is_renamed: bool) -> Iterator[bytes]:
        """What was written before the log was begun anew: the rest of what it was then, and all that came between.

        `room` bytes may be read, of more only the last so many.
        """
        found = self._generations()
        with contextlib.ExitStack() as stack:
            pieces = self._pieces(found, room, stack, is_renamed=is_renamed)
            excess = sum(size for *_, size in pieces) - room
            for one, descriptor, offset, size in pieces:
                self.inode, self.offset, self.changed = one.inode, offset, one.changed
                excess -= self._skip(max(min(excess, size), 0))
                yield from self._read(descriptor, offset + size)
                self.read[one.inode[1]] = os.pread(descriptor, _HEAD, 0)
        self.read = _heads(found)

    def _pieces(
        self, found: list[Generation], room: int, stack: contextlib.ExitStack, *, is_renamed: bool
    ) -> list[_Piece]:
        """What is to be read beside the log, in order; no more than fills the room.

        What a renamed log was is the file itself, what a cut one was the newest copy that goes on as it did.
        """
        pieces: list[_Piece] = []
        old = None
        for one in reversed(found):
            is_same = one.inode == self.inode
            if one.changed < self.changed or (self._has_read(one) and not is_same):
                continue
            if room <= 0:
                self.skipped += one.size - (self.offset if is_same else 0)
                continue
            if one.is_packed and not self.unpacks:
                raise Packed(one.path)
            try:
                descriptor = stack.enter_context(opened_plain(one))
            except OSError as error:
                if is_shortage(error):
                    raise
                self.missed += 1
                continue
            goes_on = (
                old is None and (one.is_packed or is_same == is_renamed) and self._tail_in(descriptor) == self.tail
            )
            old = one if goes_on else old
            offset = self.offset if goes_on else 0
            size = os.fstat(descriptor).st_size - offset
            pieces.append((one, descriptor, offset, size))
            room -= size
        if is_renamed and old is None and room > 0 and not self.missed:
            self.lost = self.inode
        return pieces[::-1]

    def _has_read(self, one: Generation) -> bool:
        """Whether that was read by an earlier look. Inodes are used again: it must begin as it did then, too."""
        head = self.read.get(one.inode[1])
        return head is not None and _head(one).startswith(head)

    def _skip(self, size: int) -> int:
        self.offset += size
        self.skipped += size
        return size

    def _read(self, descriptor: int, size: int) -> Iterator[bytes]:
        rest = b""
        try:
            while self.offset + len(rest) < size:
                block = os.pread(descriptor, 1 << 20, self.offset + len(rest))
                if not block:
                    break
                whole, newline, rest = (rest + block).rpartition(b"\n")
                for line in whole.split(b"\n") if newline else ():
                    self.offset += len(line) + 1
                    yield line
        finally:
            self.tail = self._tail_in(descriptor)

    def _tail_in(self, descriptor: int) -> bytes:
        length = min(self.offset, _TAIL)
        return os.pread(descriptor, length, self.offset - length)


def count(  # noqa: PLR0913 - what a child is asked comes by name
    _progress: Callable[[int], None],
    *,
    paths: list[str],
    old: Collection[str],
    logs: dict[str, Any],
    matches: str,
    ignores: str | None,
    limit: float,
    unpacks: bool = True,
) -> dict[str, Any]:
    """Counts the lines of the `paths` that match. `logs` are paths with what was returned of each the last time.

    Of the `old` ones, which were there at the first look of all, what they held then does not count.

    Returns the `count`, the `logs` as they are then, the last `line`, how many bytes were `skipped` and how many
    generations `missed`, and whether it `is_late`: most of `limit` seconds had gone before everything was read. Bytes
    come as the characters 0 to 255. Raises Packed unless it `unpacks`.
    """
    end = time.monotonic() + _SHARE * limit
    is_wanted, is_unwanted = matcher(matches), matcher(ignores) if ignores else None
    found, last, states, skipped, missed, is_late = 0, b"", {}, 0, 0, False
    lost = set()
    followed = {path: tuple(state[0]) for path, state in logs.items()}
    for path in paths:
        follower = _follower(path, paths, old, logs)
        follower.unpacks, follower.followed = unpacks, followed
        with contextlib.closing(follower.lines()) as lines:
            for number, whole in enumerate(lines):
                line = whole[:_LONGEST_LINE]
                if is_wanted(line) and not (is_unwanted and is_unwanted(line)):
                    found, last = found + 1, line
                is_late = number % _CHECKED == 0 and time.monotonic() > end
                if is_late:
                    break
        states[path] = follower.state
        skipped += follower.skipped
        missed += follower.missed
        lost.add(follower.lost)
        if is_late:
            break
    missed += len(lost - {None, *(state[0] for state in states.values())})
    told = {"skipped": skipped, "missed": missed, "is_late": is_late}
    return {"count": found, "logs": states, "line": last.decode("latin-1")} | told


def _follower(path: str, paths: list[str], old: Collection[str], logs: Mapping[str, Any]) -> Follower:
    """One for a log as it was left; for a new one from its start, unless it was read under another name."""
    if path in logs:
        return Follower.of(path, logs[path])
    if path in old or any(is_named_after(path, other) for other in paths):
        return Follower(path)
    info = os.lstat(path)
    renamed = (state for state in logs.values() if tuple(state[0]) == (info.st_dev, info.st_ino))
    state = next(renamed, None)
    return Follower(path, is_new=True) if state is None else Follower.of(path, state)


def _heads(found: list[Generation]) -> dict[int, bytes]:
    return {one.inode[1]: _head(one) for one in found if not one.is_packed}


def _head(one: Generation) -> bytes:
    try:
        with opened(one.path) as descriptor:
            return os.pread(descriptor, _HEAD, 0)
    except OSError as error:
        if is_shortage(error):
            raise
        return b""


def _last_line_end(descriptor: int, size: int) -> int:
    begin = max(size - (1 << 16), 0)
    return begin + os.pread(descriptor, size - begin, begin).rpartition(b"\n")[0].__len__() + bool(size)
