"""A log file with what became of it: supervisord's and logrotate's rollovers, maintd's archives, compressed or not."""

import errno
import heapq
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from io import FileIO
from typing import TYPE_CHECKING, Self

from maintd import names
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.cli.places import Place
    from maintd.cli.stored import Stored

_NUMBERED = re.compile(r"\.([1-9]\d{0,8})(?:\.zst|\.gz)?")
_NUMBERED_LAST = re.compile(_NUMBERED.pattern + r"\Z")
_CODECS = {suffix: codec for codec, suffix in names.CODEC_SUFFIXES.items() if suffix}
_HEAD = 4096
_MISSED = (-1, -1)
"""The inode of what an archive lists, and is not there."""
_UNSEEN = (0, 0)
"""That of what lies in a store, or where nobody may look: to open it says why."""
_LAG = 1.0
"""Seconds. A file's times are those of the kernel's last tick, and so a little before what was written then."""


@dataclass(frozen=True)
class Generation:
    """A file as it was seen: `inode` with device, `size` in bytes, `mtime_ns` since the epoch, `stamp` by its name.

    `stored` if it lies in an archive: size and times are then those that it had. In an object store, no file is it.
    """

    path: str
    inode: tuple[int, int]
    size: int
    mtime_ns: int
    stamp: datetime | None = None
    stored: "Stored | None" = None

    @classmethod
    def at(cls, path: str) -> Self:
        return cls.of(path, os.stat(path))

    @classmethod
    def of(cls, path: str, info: os.stat_result) -> Self:
        parsed = names.parse_archive(os.path.basename(path))
        stamp = parsed.stamp if parsed else None
        return cls(path, (info.st_dev, info.st_ino), info.st_size, info.st_mtime_ns, stamp)

    @property
    def codec(self) -> str:
        """How it is compressed: zstd, gzip, or nothing for not at all; "stored" if in an archive and either."""
        if self.stored:
            return "stored" if self.stored.is_packed else ""
        return _CODECS.get(os.path.splitext(self.path)[1], "")

    @property
    def closed_ns(self) -> int:
        """A time, since the epoch, before which nothing of the next generation was written.

        A file that was copied or touched has a later mtime; a stamp that was taken while the clock was ahead is later
        than the mtime.
        """
        return self.mtime_ns if self.stamp is None else min(self.mtime_ns, _ns(self.stamp))

    def open(self) -> FileIO:
        """Raises FileNotFoundError also if another file has its name by now. What is in a store is read later.

        EIO if an archive has lost it.
        """
        if self.inode == _MISSED:
            raise OSError(errno.EIO, "the archive's manifest lists it, and it is not there")
        if self.stored and self.stored.store:
            return FileIO(os.devnull)
        file = FileIO(self.path)
        info = os.fstat(file.fileno())
        if (info.st_dev, info.st_ino) != self.inode:
            file.close()
            raise FileNotFoundError(self.path)
        return file

    def contents(self, file: FileIO) -> Iterator[bytes]:
        """What it holds, decompressed. Raises OSError EIO where it is damaged."""
        if self.stored:
            return self.stored.contents(file.fileno())
        from maintd import codec  # noqa: PLC0415 - most files are not compressed

        return codec.contents_fd(file.fileno(), self.codec)


@dataclass(frozen=True)
class Lineage:
    """A log by its path, with all its generations; `folders` are where some of them lie, besides its own directory.

    `archives` are those that archive jobs put files into.
    """

    path: str
    folders: tuple[str, ...] = ()
    archives: "tuple[Place, ...]" = ()

    def generations(self) -> list[Generation]:
        """All that is there of the log, oldest first; the last one is the file itself, unless it is missing just now.

        Each way of naming tells the order of its own: a number grows with age, a stamp with time. Two ways beside each
        other are put together by when the files were last written to, which compressing keeps. What was renamed
        during a look may be missing or be there twice, so that two looks have to see the same.
        """
        found: list[Generation] = []
        again = self._look()
        while [(one.path, one.inode) for one in found] != [(one.path, one.inode) for one in again]:
            found, again = again, self._look()
        return again

    def span(self, since: datetime | None = None, until: datetime | None = None) -> list[Generation]:
        """The generations that can hold something of that time; those in the middle are there whatever their times.

        Of what is no regular file, such as a pipe, it is that alone. FileNotFoundError if nothing is there of the log.
        """
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                return [Generation.at(self.path)]
        found = self.generations() or [Generation.at(self.path)]
        first, end = 0, len(found)
        if since is not None:
            late = (place for place, one in enumerate(found) if one.mtime_ns >= _ns(since) - _LAG * 1e9)
            first = next(late, end)
        if until is not None:
            closed = (place for place, one in enumerate(found) if one.closed_ns > _ns(until))
            end = next(closed, end) + 1
        return found[first:end]

    def first(self, since: datetime | None) -> Generation:
        """Where to begin to read: the file itself, or the oldest generation that was written to at `since` or later."""
        return next(iter(self.span(since)), None) or Generation.at(self.path) if since else Generation.at(self.path)

    def after(self, held: Generation, file: FileIO | None) -> Generation | None:
        """The oldest generation that is newer than the one held and holds something.

        `file` is the one held, open, if it could be opened: it tells which one it is also after it was compressed.
        """
        with suppress(FileNotFoundError):
            if Generation.at(self.path).inode == held.inode:
                return None
        found = self.generations()
        place = _place(found, held, file)
        if place is None:  # it is gone: what was written to since is newer
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns if file else held.mtime_ns
            live = os.path.realpath(self.path)
            newer = [other for other in found if other.mtime_ns > mtime_ns or other.path == live]
        else:
            newer = found[place + 1 :]
        return next((other for other in newer if other.size), None)

    def unread(self) -> Iterator[str]:
        """Which archives may hold something of the log and cannot be looked into, and why."""
        if self.archives:
            from maintd.cli.stored import problem  # noqa: PLC0415 - most configs have no archive

            folder, log = os.path.split(os.path.realpath(self.path))
            yield from filter(None, (problem(place, (folder, *self.folders), log) for place in self.archives))

    def _look(self) -> list[Generation]:
        folder, log = os.path.split(os.path.realpath(self.path))
        stamped: dict[tuple[datetime, int], str] = {}
        numbered: dict[int, str] = {}
        for directory in dict.fromkeys((folder, *self.folders)):
            for name in _listed(directory, required=directory == folder):
                match = _NUMBERED.fullmatch(name, len(log)) if name.startswith(log) else None
                archive = names.parse_archive(name)
                if match:
                    numbered[-int(match[1])] = os.path.join(directory, name)
                elif archive and archive.log == log:
                    stamped[archive.stamp, archive.n] = os.path.join(directory, name)
        keyed = {key: one for key, path in stamped.items() for one in _seen([path])}
        loose: list[Generation] = []
        if self.archives:
            packed, loose = _archived(self.archives, (folder, *self.folders), log)
            keyed = packed | keyed
        ways = [one for _, one in sorted(keyed.items())], _seen(path for _, path in sorted(numbered.items())), loose
        return [*heapq.merge(*ways, key=lambda one: one.mtime_ns), *_seen([os.path.join(folder, log)])]


def _archived(
    archives: "Iterable[Place]", folders: tuple[str, ...], log: str
) -> tuple[dict[tuple[datetime, int], Generation], list[Generation]]:
    """What lies in archives: by stamp; and what had a number, which says nothing any more, by when it was written to.

    What was numbered and is still where it was does not count; what is neither there nor where it was is missed.
    """
    from maintd.cli.stored import finds  # noqa: PLC0415 - most configs have no archive

    keyed: dict[tuple[datetime, int], Generation] = {}
    loose: list[Generation] = []
    for find in (find for place in archives for find in finds(place, folders, log)):
        entry, name = find.entry, names.parse_archive(find.stored.name)
        inode = _UNSEEN if find.store else _inode(find.path)
        if inode == _MISSED and entry.is_unmoved():
            continue
        stamp = name.stamp if name else None
        one = Generation(find.path, inode, entry.size, entry.mtime_ns, stamp, find.stored)
        if name and name.log == log:
            if inode != _MISSED or (name.stamp, name.n) not in keyed:
                keyed[name.stamp, name.n] = one
        elif _NUMBERED.fullmatch(find.stored.name, len(log)) and not entry.is_unmoved():
            loose.append(one)
    return keyed, sorted(loose, key=lambda one: one.mtime_ns)


def _inode(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSED
    except OSError:
        return _UNSEEN
    return info.st_dev, info.st_ino


def log_of(name: str) -> str:
    """The name of the log that a file of this name is a generation of; nothing if it is none."""
    archive, numbered = names.parse_archive(name), _NUMBERED_LAST.search(name)
    return archive.log if archive else name[: numbered.start()] if numbered else ""


def _listed(directory: str, *, required: bool) -> list[str]:
    """The names in a directory; where both a copy and its original are, the original comes last, and stays."""
    try:
        return sorted(os.listdir(directory), reverse=True)
    except OSError:
        if required:
            raise
        return []


def _ns(when: datetime) -> int:
    return int(when.timestamp() * 1e9)


def _place(found: list[Generation], held: Generation, file: FileIO | None) -> int | None:
    for place, other in enumerate(found):
        if (other.inode, other.stored) == (held.inode, held.stored):
            return place
    head = os.pread(file.fileno(), _HEAD, 0) if file and not held.codec else b""
    for place in reversed(range(len(found))) if head else ():
        if found[place].codec and _head(found[place]) == head:
            return place
    return None


def _head(generation: Generation) -> bytes:
    head = b""
    with suppress(OSError), generation.open() as file:
        for content in generation.contents(file):
            head += content
            if len(head) >= _HEAD:
                break
    return head[:_HEAD]


def _seen(found: Iterable[str]) -> Iterator[Generation]:
    for path in found:
        with suppress(FileNotFoundError):
            info = os.stat(path)
            if stat.S_ISREG(info.st_mode):
                yield Generation.of(path, info)
