"""What a log was before it was rotated: the files beside it that are named after it, in the order of their time."""

import bisect
import contextlib
import itertools
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from maintd import statx
from maintd.values import dataclass

_SETTLED = 50_000_000
"""Nanoseconds after which a directory that is changed again has another time."""
_COARSE = 2_000_000_000
"""The same on a file system whose times are whole seconds."""
LARGEST = 64 << 20
"""Bytes that a packed one may hold to be read."""
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = "|".join(
    (
        rf"{_YEAR}{_MONTH}{_DAY}",
        rf"{_YEAR}[._-]{_MONTH}[._-]{_DAY}",
        rf"\d\d[._-]\d\d[._-]{_YEAR}",
        r"1\d{9}",  # seconds since 1970
    )
)
_ENDS = re.compile(rf"(?:\.\d|[_-](?:{_DATE}))[\d._:TZ-]*(?P<packed>\.(?:gz|zst|bz2|xz|lz4))?")
"""A number with a dot, or a date; `worker-1` and `worker-8001.20260101` are a log beside `worker`, and what one was."""
File = tuple[int, int, int]
"""Device, inode, and when it was made (ns): inodes are soon used again. Where that is not known, 0, or the time of the
change of one that is packed.
"""


class Seen(NamedTuple):
    """What one of them was at a look."""

    path: str
    changed: int
    size: int


@dataclass(frozen=True)
class Generation:
    """One of them; when its content was `changed`, and anything of it `touched`, in ns. `is_packed` if compressed."""

    path: str
    file: File
    size: int
    changed: int
    touched: int
    is_packed: bool

    @property
    def unpacked_path(self) -> str:
        """The path that it had before it was compressed, if it was not renumbered."""
        return os.path.splitext(self.path)[0] if self.is_packed else self.path


def is_named_after(path: str, log: str) -> bool:
    """Whether it has the name of that log, and `.1` or a stamp behind it."""
    return path.startswith(log) and _ENDS.fullmatch(path, len(log)) is not None


class Listings:
    """What lies in directories: each is listed anew only if it was changed since, or so recently that it may have."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}

    def names(self, directory: str) -> list[str]:
        """Sorted. Raises OSError."""
        changed = settled(directory)
        known = self._found.get(directory)
        if known is None or not changed or known[0] != changed:
            known = self._found[directory] = changed, sorted(os.listdir(directory))
        return known[1]


def settled(directory: str) -> int:
    """When a directory was changed (ns), or 0 if it is so new that the next change may have the same time."""
    changed = os.stat(directory).st_mtime_ns
    grain = _SETTLED if changed % 1_000_000_000 else _COARSE
    return changed if changed < time.time_ns() - grain else 0


def generations(log: str, listings: Listings) -> list[Generation]:
    """All of them, the oldest first. Raises OSError."""
    directory, base = os.path.split(log)
    names, found = listings.names(directory), []
    for name in itertools.takewhile(lambda name: name.startswith(base), names[bisect.bisect_left(names, base) :]):
        path = os.path.join(directory, name)
        if is_named_after(path, log):
            with contextlib.suppress(FileNotFoundError):
                info = statx.status(path)
                if stat.S_ISREG(info.mode):
                    found.append(_generation(path, info, len(log)))
    return sorted(found, key=lambda one: one.changed)


def _generation(path: str, info: statx.Status, length: int) -> Generation:
    ends = _ENDS.fullmatch(path, length)
    is_packed = ends is not None and ends["packed"] is not None
    return Generation(path, _file(info, is_packed=is_packed), info.size, info.modified, info.changed, is_packed)


def _file(info: statx.Status, *, is_packed: bool) -> File:
    return info.device, info.inode, info.born or (info.modified if is_packed else 0)


def file_of(descriptor: int) -> File:
    """What one that is not packed has as its `file`."""
    return _file(statx.status(descriptor), is_packed=False)


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
        if _file(statx.status(descriptor), is_packed=one.is_packed) != one.file:
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
