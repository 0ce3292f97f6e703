"""Walks a directory tree by descriptors and adds up what it takes, in memory that does not grow with it.

It follows no link, crosses no mount, and counts a file with several names once, as du(1) does. Several walks can share
the work: each looks at every directory, and only at those files whose inode number is its own.
"""

import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any, Self

from maintd import names
from maintd.values import dataclass

_BLOCK = 512
_MOST_GROUPS = 2000
_MOST_DATABASES = 200
_MOST_TROUBLES = 20
_EVERY = 4096
"""Entries between two calls of `progress`."""
OTHERS = "(others)"
_DATABASES = (".db", ".sqlite", ".sqlite3", ".db3")
_TELLING = frozenset("be3Z0123456789tz")
"""What the names of databases and archives can end in: most names are told apart by that alone."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Progress = Callable[[int], None]


@dataclass(slots=True)
class Sum:
    """Bytes as files say (`apparent`) and as they take on the disk, and how many files."""

    apparent: int = 0
    disk: int = 0
    files: int = 0

    def add(self, other: "Sum") -> None:
        self.apparent += other.apparent
        self.disk += other.disk
        self.files += other.files


@dataclass(slots=True)
class Walked:
    """What a walk found. `groups` are by the first part below the root: a directory, or a file's name up to its dot.

    `largest` are (bytes on disk, path); `databases` paths of what is named as one; `archives` what maintd set aside;
    `troubles` are (path, why) of what could not be read, the first few of `unread` in all.
    """

    total: Sum = field(default_factory=Sum)
    directories: int = 0
    archives: Sum = field(default_factory=Sum)
    groups: dict[str, Sum] = field(default_factory=dict)
    largest: list[tuple[int, str]] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """What dataclasses.asdict gave, also after it went through JSON."""
        sums = {name: Sum(**fields[name]) for name in ("total", "archives")}
        groups = {name: Sum(**group) for name, group in fields["groups"].items()}
        pairs = {name: [(first, second) for first, second in fields[name]] for name in ("largest", "troubles")}
        return cls(**fields | sums | pairs | {"groups": groups})

    def add(self, other: Self, top: int) -> None:
        """Takes over what another share of the same tree has found."""
        self.total.add(other.total)
        self.archives.add(other.archives)
        self.directories += other.directories
        for name, group in other.groups.items():
            self.group(name).add(group)
        self.largest = heapq.nlargest(top, [*self.largest, *other.largest])
        self.databases = sorted({*self.databases, *other.databases})
        self.mounts = sorted({*self.mounts, *other.mounts})
        self.troubles = sorted({*self.troubles, *other.troubles})
        self.unread = max(self.unread, other.unread)

    def group(self, name: str) -> Sum:
        known = name in self.groups or len(self.groups) < _MOST_GROUPS
        return self.groups.setdefault(name if known else OTHERS, Sum())


@dataclass(slots=True)
class _Level:
    """A directory on the way down; `sum` is that of its group, None at the root, where each file has its own."""

    path: str
    fd: int
    entries: Iterator["os.DirEntry[str]"]
    sum: Sum | None


class Walk:
    """One walk, whose `top` largest files are noted, of share `number` of `count`; `progress` is told how far it is."""

    def __init__(self, root: str, top: int, progress: Progress, *, number: int = 0, count: int = 1) -> None:
        self._root, self._top, self._progress = root, top, progress
        self._number, self._count = number, count
        self._links: set[int] = set()
        self._seen = 0
        self._unsaid = 0
        self.found = Walked()

    def run(self, root_fd: int) -> Walked:
        """Adds up all below the directory that is open; the descriptor stays the caller's."""
        info = os.fstat(root_fd)
        self._device = info.st_dev
        self._count_directory(info)
        levels = [_Level(self._root.rstrip("/"), root_fd, self._listed(root_fd, self._root), None)]
        try:
            while levels:
                deeper = self._through(levels[-1])
                if deeper:
                    levels.append(deeper)
                else:
                    self._leave(levels.pop(), root_fd)
        finally:
            for level in levels:
                self._leave(level, root_fd)
        return self.found

    def _leave(self, level: _Level, root_fd: int) -> None:
        if level.fd != root_fd:
            os.close(level.fd)

    def _through(self, level: _Level) -> _Level | None:  # noqa: C901 - a call for each file would cost a fifth
        """Goes on with a directory up to the next one below it that can be entered."""
        passed = Sum()
        deeper: _Level | None = None
        number, count, smallest = self._number, self._count, self._smallest()
        for entry in level.entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    deeper = self._entered(level, entry)
                    if deeper:
                        break
                    continue
                if entry.inode() % count != number:
                    continue
                info = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._trouble(f"{level.path}/{entry.name}", error)
                continue
            if info.st_nlink > 1 and self._is_known(info.st_ino):
                continue
            disk = _BLOCK * info.st_blocks
            passed.apparent += info.st_size
            passed.disk += disk
            passed.files += 1
            if disk > smallest:
                self._note_large(disk, f"{level.path}/{entry.name}")
                smallest = self._smallest()
            if level.sum is None or entry.name[-1] in _TELLING:
                self._note_name(level, entry.name, info)
            if not passed.files % _EVERY:
                self._progress(self._seen + passed.files)
        self._seen += passed.files
        self._tell(passed.files + 1)  # a directory is some work too
        self.found.total.add(passed)
        if level.sum:
            level.sum.add(passed)
        return deeper

    def _tell(self, entries: int) -> None:
        self._unsaid += entries
        if self._unsaid >= _EVERY:
            self._unsaid = 0
            self._progress(self._seen)

    def _smallest(self) -> int:
        return self.found.largest[0][0] if len(self.found.largest) >= self._top else -1

    def _note_large(self, disk: int, path: str) -> None:
        add = heapq.heappush if len(self.found.largest) < self._top else heapq.heapreplace
        add(self.found.largest, (disk, path))

    def _note_name(self, level: _Level, name: str, info: os.stat_result) -> None:
        """What a file's name says of it: its group at the root, a database, an archive."""
        if level.sum is None:
            self.found.group(name.partition(".")[0] or name).add(Sum(info.st_size, _BLOCK * info.st_blocks, 1))
        if name.endswith(_DATABASES) and len(self.found.databases) < _MOST_DATABASES:
            self.found.databases.append(f"{level.path}/{name}")
        elif names.parse_archive(name):
            self.found.archives.add(Sum(info.st_size, _BLOCK * info.st_blocks, 1))

    def _is_known(self, inode: int) -> bool:
        """Whether a file with several names was counted under another one."""
        known = inode in self._links
        self._links.add(inode)
        return known

    def _entered(self, level: _Level, entry: "os.DirEntry[str]") -> _Level | None:
        path = f"{level.path}/{entry.name}"
        seen = entry.stat(follow_symlinks=False)
        if seen.st_dev != self._device:
            self.found.mounts.append(path)
            return None
        descriptor = os.open(entry.name, _OPEN, dir_fd=level.fd)
        if not os.path.samestat(os.fstat(descriptor), seen):  # it was exchanged at this moment
            os.close(descriptor)
            return None
        self._count_directory(seen)
        inside = self.found.group(entry.name) if level.sum is None else level.sum
        if self._is_own(seen):
            inside.disk += _BLOCK * seen.st_blocks
        return _Level(path, descriptor, self._listed(descriptor, path), inside)

    def _is_own(self, directory: os.stat_result) -> bool:
        return directory.st_ino % self._count == self._number

    def _count_directory(self, info: os.stat_result) -> None:
        if self._is_own(info):
            self.found.directories += 1
            self.found.total.disk += _BLOCK * info.st_blocks

    def _listed(self, descriptor: int, path: str) -> Iterator["os.DirEntry[str]"]:
        """The entries of a directory, read as they are asked for."""
        try:
            with os.scandir(descriptor) as entries:
                yield from entries
        except OSError as error:
            self._trouble(path, error)

    def _trouble(self, path: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # it went away under the walk
            return
        self.found.unread += 1
        if len(self.found.troubles) < _MOST_TROUBLES:
            self.found.troubles.append((path, error.strerror or str(error)))
