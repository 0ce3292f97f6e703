"""The lines that are added to a log from one look to the next, over rotations, also those of an archive just made."""

import os
import stat
from collections.abc import Iterator

from maintd.values import dataclass

MOST = 16 << 20
"""Bytes of one log that are read in one look; of more only the last so many."""


@dataclass
class Follower:
    """How far a log was read: its inode, and the offset in it. A first look begins at the end."""

    path: str
    inode: tuple[int, int] | None = None
    offset: int = 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that were added since the last time. Raises OSError if the log cannot be read."""
        descriptor = _opened(self.path)
        try:
            info = os.fstat(descriptor)
            inode = info.st_dev, info.st_ino
            if self.inode is None:
                self.inode, self.offset = inode, _last_line_end(descriptor, info.st_size)
            if self.inode != inode:
                yield from self._rest_of_old()
                self.inode, self.offset = inode, 0
            if info.st_size < self.offset:
                self.offset = 0  # cut, or archived in place: what is left may be seen a second time, but none is missed
            yield from self._read(descriptor, info.st_size)
        finally:
            os.close(descriptor)

    def _rest_of_old(self) -> Iterator[bytes]:
        """What was still written into the log that was renamed, if it is found beside its successor."""
        folder, name = os.path.split(self.path)
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(name) and entry.inode() == self.inode[1]]  # type: ignore[index]
        for old in found:
            descriptor = _opened(os.path.join(folder, old))
            try:
                yield from self._read(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)

    def _read(self, descriptor: int, size: int) -> Iterator[bytes]:
        self.offset = max(self.offset, size - MOST)
        rest = b""
        while self.offset + len(rest) < size:
            block = os.pread(descriptor, 1 << 20, self.offset + len(rest))
            if not block:
                break
            whole, newline, rest = (rest + block).rpartition(b"\n")
            self.offset += len(whole) + len(newline)
            yield from whole.split(b"\n") if newline else ()


def _opened(path: str) -> int:
    """For reading, without following a link or waiting for a FIFO. Raises OSError; ValueError if it is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def _last_line_end(descriptor: int, size: int) -> int:
    begin = max(size - (1 << 16), 0)
    return begin + os.pread(descriptor, size - begin, begin).rpartition(b"\n")[0].__len__() + bool(size)
