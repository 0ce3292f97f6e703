"""What a log was before it was rotated: the files beside it that are named after it, in the order of their time."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator

from maintd.values import dataclass

LARGEST = 64 << 20
"""Bytes that a packed one may hold to be read."""
_DATE = r"\d{8}|\d{4}[._-]\d\d[._-]\d\d|\d\d[._-]\d\d[._-]\d{4}"
_ENDS = re.compile(rf"(?:\.\d|[_-](?:{_DATE}))[\d._:TZ-]*(?P<packed>\.(?:gz|zst|bz2|xz|lz4))?")
"""A number with a dot, or a date; `worker-1` and `worker-8001.20260101` are a log beside `worker`, and what one was."""


@dataclass(frozen=True)
class Generation:
    """One of them, `changed` in nanoseconds. `is_packed` if it is compressed.

    `file` is (device, inode, 0), or with the time of its change if it is packed: inodes are soon used again.
    """

    path: str
    file: tuple[int, int, int]
    size: int
    changed: int
    is_packed: bool


def is_named_after(path: str, log: str) -> bool:
    """Whether it has the name of that log, and `.1` or a stamp behind it."""
    return path.startswith(log) and _ENDS.fullmatch(path, len(log)) is not None


def generations(log: str) -> list[Generation]:
    """All of them, the oldest first. Raises OSError."""
    found = []
    with os.scandir(os.path.dirname(log)) as entries:
        for entry in entries:
            if is_named_after(entry.path, log) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    found.append(_generation(entry.path, len(log)))
    return sorted(found, key=lambda one: one.changed)


def _generation(path: str, length: int) -> Generation:
    info, ends = os.lstat(path), _ENDS.fullmatch(path, length)
    is_packed = ends is not None and ends["packed"] is not None
    file = info.st_dev, info.st_ino, info.st_mtime_ns if is_packed else 0
    return Generation(path, file, info.st_size, info.st_mtime_ns, is_packed)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """For reading, without following a link or waiting for a FIFO. Raises OSError, also if it is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_plain(one: Generation) -> Iterator[int]:
    """The same of a generation; of one that is packed what it holds, in memory. Raises OSError if it is another now."""
    with opened(one.path) as descriptor:
        info = os.fstat(descriptor)
        if (info.st_dev, info.st_ino) != one.file[:2]:
            raise FileNotFoundError(one.path)  # it was renumbered just now
        if not one.is_packed:
            yield descriptor
            return
        unpacked = os.memfd_create("generation")
        try:
            _unpack(one.path, descriptor, unpacked)
            yield unpacked
        finally:
            os.close(unpacked)


def _unpack(path: str, packed: int, unpacked: int) -> None:
    from maintd import formats  # noqa: PLC0415 - only a child is to load what it takes

    name = {".zst": "zstd", ".gz": "gzip"}.get(os.path.splitext(path)[1])
    if name is None:
        raise OSError(f"{path} is in a format that is not read here")
    size = 0
    for content in formats.all_contents(name, iter(lambda: os.read(packed, 1 << 20), b"")):
        size += len(content)
        if size > LARGEST:
            raise OSError(f"{path} is too large to be read here")
        os.write(unpacked, content)
