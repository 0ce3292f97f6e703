"""The lines that are added to a log from one look to the next, over rotations, also those of an archive just made."""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from maintd.expressions import compiled_bytes
from maintd.values import dataclass

MOST = 16 << 20
"""Bytes of one log that are read in one look; of more only the last so many."""
_TAIL = 256
_LONGEST_LINE = 4096
_CHECKED = 1000
"""After so many lines the time is looked at."""
_SHARE = 0.8


@dataclass
class Follower:
    """How far a log was read: its inode, the offset in it, and what stands before that. A first look begins at the end.

    `skipped` are bytes that were too many to be read in this look.
    """

    path: str
    inode: tuple[int, int] | None = None
    offset: int = 0
    tail: bytes = b""
    skipped: int = 0

    def lines(self) -> Generator[bytes]:
        """The whole lines that were added since the last time. Raises OSError if the log cannot be read.

        It may be left after any line, and the next time goes on with the one after that.
        """
        with _opened(self.path) as descriptor:
            info = os.fstat(descriptor)
            inode = info.st_dev, info.st_ino
            if self.inode is None:
                self.inode, self.offset = inode, _last_line_end(descriptor, info.st_size)
                self.tail = self._tail_in(descriptor)
            if self.inode != inode:
                yield from self._rest_of_renamed(self.inode[1])
                self.inode, self.offset, self.tail = inode, 0, b""
            elif self._tail_in(descriptor) != self.tail:  # cut, or archived in place
                yield from self._rest_of_copied(self.inode[1])
                self.offset, self.tail = 0, b""  # what is left may be seen a second time, but none is missed
            yield from self._read(descriptor, info.st_size)

    def _rest_of_renamed(self, inode: int) -> Iterator[bytes]:
        """What was still written into the log that was renamed, if it is found beside its successor."""
        for entry in self._beside():
            if entry.inode() == inode:
                yield from self._rest_of(entry.path)

    def _rest_of_copied(self, inode: int) -> Iterator[bytes]:
        """What was still written before the log was cut, if a copy has it: the newest that goes on as the log did."""
        others = [entry for entry in self._beside() if entry.inode() != inode]
        for entry in sorted(others, key=lambda entry: -entry.stat(follow_symlinks=False).st_mtime_ns):
            with contextlib.suppress(OSError), _opened(entry.path) as descriptor:
                is_copy = self.tail and self._tail_in(descriptor) == self.tail
                if is_copy:
                    yield from self._read(descriptor, os.fstat(descriptor).st_size)
                    return

    def _beside(self) -> list["os.DirEntry[str]"]:
        folder, name = os.path.split(self.path)
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name.startswith(name) and entry.is_file(follow_symlinks=False)]

    def _rest_of(self, path: str) -> Iterator[bytes]:
        with _opened(path) as descriptor:
            yield from self._read(descriptor, os.fstat(descriptor).st_size)

    def _read(self, descriptor: int, size: int) -> Iterator[bytes]:
        self.skipped += max(size - MOST - self.offset, 0)
        self.offset = max(self.offset, size - MOST)
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


def count(
    _progress: Callable[[int], None],
    *,
    logs: dict[str, Any],
    matches: str,
    ignores: str | None,
    limit: float,
) -> dict[str, Any]:
    """Counts the lines that match. `logs` are paths with what was returned of each the last time, or None.

    Returns the `count`, the `logs` as they are then, the last `line`, how many bytes were `skipped`, and whether it
    `is_late`: most of `limit` seconds had gone before everything was read. Bytes come as the characters 0 to 255.
    """
    end = time.monotonic() + _SHARE * limit
    wanted, unwanted = compiled_bytes(matches), compiled_bytes(ignores) if ignores else None
    found, last, states, skipped, is_late = 0, b"", {}, 0, False
    for path, known in logs.items():
        follower = _follower(path, known)
        with contextlib.closing(follower.lines()) as lines:
            for number, whole in enumerate(lines):
                line = whole[:_LONGEST_LINE]
                if wanted.search(line) and not (unwanted and unwanted.search(line)):
                    found, last = found + 1, line
                is_late = number % _CHECKED == 0 and time.monotonic() > end
                if is_late:
                    break
        states[path] = follower.inode, follower.offset, follower.tail.decode("latin-1")
        skipped += follower.skipped
        if is_late:
            break
    return {"count": found, "logs": states, "line": last.decode("latin-1"), "skipped": skipped, "is_late": is_late}


def _follower(path: str, known: Any) -> Follower:
    if known is None:
        return Follower(path)
    inode, offset, tail = known
    return Follower(path, tuple(inode), offset, tail.encode("latin-1"))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """For reading, without following a link or waiting for a FIFO. Raises OSError, also if it is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _last_line_end(descriptor: int, size: int) -> int:
    begin = max(size - (1 << 16), 0)
    return begin + os.pread(descriptor, size - begin, begin).rpartition(b"\n")[0].__len__() + bool(size)
