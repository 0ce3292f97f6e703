"""Measures directories, their file systems and what is deleted and still open; the long parts in children."""

import contextlib
import heapq
import os
import stat as st
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from maintd import durable, grounds, holders, statx
from maintd.errors import MaintdError
from maintd.values import dataclass
from maintd.walk import Progress, Walk, Walked

_HEADER = b"SQLite format 3\0"
_HEADER_LENGTH = 100
MOST_DELETED = 50

Call = Callable[..., Any]
"""Has a function of this module run in a child: its name, and its arguments by name."""


@dataclass(frozen=True)
class Space:
    """A file system: `mount` is its highest directory, sizes in bytes; `free` is what others than root may use."""

    mount: str
    size: int
    free: int
    inodes: int
    free_inodes: int

    @property
    def used(self) -> int:
        return self.size - self.free


@dataclass(frozen=True)
class Database:
    """A SQLite database by its header, in bytes: `free` is what a VACUUM would give back, `wal` its write-ahead log."""

    path: str
    size: int
    wal: int
    free: int


@dataclass(frozen=True)
class Deleted:
    """A file on a device that has no name any more, and that a process still has open: its space is not given back."""

    size: int
    pid: int
    program: str
    was: str
    device: int


@dataclass(frozen=True)
class Unnamed:
    """All that is deleted and still open on one file system: so many files, their size, and the largest of them."""

    size: int = 0
    count: int = 0
    largest: tuple[Deleted, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A directory with all that is below it."""

    path: str
    walked: Walked
    databases: tuple[Database, ...]
    space: Space


def threads() -> ThreadPoolExecutor:
    """Threads for `measure`, as many as there are cores, two at most; each has a child, which ends with it."""
    return ThreadPoolExecutor(_cores())


def _cores() -> int:
    return min(len(os.sched_getaffinity(0)), 2)


def measure(path: str, top: int, call: Call, pool: ThreadPoolExecutor) -> Measured:
    """Measures one directory, by `threads` that share the work. Raises OSError, MaintdError."""
    count = _cores()
    shares = [pool.submit(call, "walk", path=path, top=top, number=number, count=count) for number in range(count)]
    found = [share.result() for share in shares]
    walked = Walked.of(found[0])
    for other in found[1:]:
        walked.add(Walked.of(other), top)
    walked.largest.sort(reverse=True)
    databases = call("databases", paths=walked.databases) if walked.databases else []
    return Measured(path, walked, tuple(Database(**one) for one in databases), space(path))


def deleted(spaces: Sequence[Space], call: Call) -> list[Unnamed]:
    """What is deleted and still open on each of these file systems, by whatever path it was opened."""
    devices = [os.stat(space.mount).st_dev for space in spaces]
    found = call("still_open", devices=devices)
    return [Unnamed(**one | {"largest": tuple(Deleted(**each) for each in one["largest"])}) for one in found]


def space(path: str) -> Space:
    """The file system that holds a directory. Raises OSError."""
    found, mount = os.statvfs(path), path
    device = os.stat(path).st_dev
    while mount != "/" and os.stat(os.path.dirname(mount)).st_dev == device:
        mount = os.path.dirname(mount)
    return Space(mount, found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


# In the child


def walk(progress: Progress, *, path: str, top: int, number: int, count: int) -> dict[str, Any]:
    """Walks one share of a directory."""
    with durable.directory(grounds.resolve(path)) as root:
        walked = Walk(path, top, progress, number=number, count=count).run(root)
    return asdict(walked)


def databases(_progress: Progress, *, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these files that are SQLite databases, by their headers. This process has no connection to any."""
    return [asdict(found) for path in paths if (found := _database(path))]


def _database(path: str) -> Database | None:
    """The fields of the header are those of https://sqlite.org/fileformat.html, section 1.3."""
    try:
        with (
            durable.directory(os.path.dirname(path)) as dir_fd,
            durable.opened(os.path.basename(path), dir_fd=dir_fd) as file,
        ):
            header, size = os.pread(file, _HEADER_LENGTH, 0), os.fstat(file).st_size
        wal = 0
        with contextlib.suppress(FileNotFoundError):
            wal = os.lstat(f"{path}-wal").st_size
    except (OSError, MaintdError):  # gone, or not to be read: its size is known from the walk
        return None
    if len(header) < _HEADER_LENGTH or not header.startswith(_HEADER):
        return None
    page = int.from_bytes(header[16:18], "big")
    free = int.from_bytes(header[36:40], "big")
    return Database(path, size, wal, free * (65_536 if page == 1 else page))


def still_open(_progress: Progress, *, devices: Collection[int]) -> list[dict[str, Any]]:
    """Files without a name on each device that processes have open, each once, as far as /proc shows them."""
    found: dict[tuple[int, int], Deleted] = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for number, inode in statx.inodes_in(f"/proc/{pid}/fd"):
                if inode[0] in devices and inode not in found:
                    with contextlib.suppress(OSError):
                        one = _if_deleted(pid, number)
                        if one:
                            found[inode] = one
    return [asdict(_unnamed([one for one in found.values() if one.device == device])) for device in devices]


def _unnamed(found: Sequence[Deleted]) -> Unnamed:
    largest = heapq.nlargest(MOST_DELETED, found, key=lambda one: one.size)
    return Unnamed(sum(one.size for one in found), len(found), tuple(largest))


def _if_deleted(pid: str, number: str) -> Deleted | None:
    link = f"/proc/{pid}/fd/{number}"
    info = os.stat(link)
    if info.st_nlink or not st.S_ISREG(info.st_mode) or not info.st_blocks:
        return None
    was = os.readlink(link).removesuffix(" (deleted)")
    return Deleted(512 * info.st_blocks, int(pid), holders.program(int(pid)), was, info.st_dev)
