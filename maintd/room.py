"""How much room a file system has, and how much it is to have: a Floor as configured, a Goal for one run."""

import os
import re
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from typing import Protocol, Self

from maintd import mounts
from maintd.errors import MaintdError
from maintd.names import printable
from maintd.silent import Silent
from maintd.units import format_size, parse_size
from maintd.values import dataclass

_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_TOO_SMALL = "nothing is given up for that: mount the disk that is meant, or lower what is to be free"
_NOT_MOUNTED = "nothing is given up for that: mount its disk; if there is none any more, give the guard another name"


class Means(StrEnum):
    """What the kind `guard` may do to get room, the cheapest first; in this order by default."""

    EXPIRED = "expired"
    COMPRESS = "compress"
    STORED = "stored"
    OLDEST = "oldest"
    RUNAWAY = "runaway"


@dataclass(frozen=True)
class Portion:
    """A share of a whole, or a fixed number."""

    number: float
    is_percent: bool = False

    @classmethod
    def parse(cls, value: str | int) -> Self:
        """Reads `5%`, `2G`, or a number. Raises ValueError with these forms."""
        match = _PERCENT.fullmatch(str(value))
        if match is None:
            return cls(parse_size(value))
        if float(match[1]) > 100:
            raise ValueError(f"{value!r} is more than all of it")
        return cls(float(match[1]), is_percent=True)

    def of(self, whole: int) -> int:
        return int(whole * self.number / 100) if self.is_percent else int(self.number)

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.is_percent else str(int(self.number))


@dataclass(frozen=True)
class Room:
    """A file system now, in bytes and inodes; `free` is what others than root may use (f_bavail)."""

    size: int
    free: int
    inodes: int
    free_inodes: int

    @classmethod
    def at(cls, path: str) -> Self:
        """Of the file system that holds `path`. Raises OSError."""
        found = os.statvfs(path)
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


class WrongDisk(MaintdError):
    """What holds a guarded directory is another file system than before, or too small for the floor."""


class Aim(Protocol):
    """What steps of a guard are for."""

    def is_met(self) -> bool:
        """Whether they are not needed any more, by a new look. Raises OSError, MaintdError."""

    def note(self, size: int) -> None:
        """A step for that was done, which is about so many bytes."""


@dataclass(frozen=True)
class Goal:
    """So much is to be free where `path` is, in bytes and inodes."""

    path: str
    free: int
    inodes: int = 0

    def is_met(self) -> bool:
        room = Room.at(self.path)
        return not self.lack(room)

    def note(self, size: int) -> None:
        """To look costs nothing."""

    def lack(self, room: Room) -> str:
        """What is missing, for people, or nothing."""
        if self.lacks_bytes(room):
            return f"{format_size(room.free)} free, {format_size(self.free)} are wanted"
        if room.free_inodes < self.inodes:
            return f"{room.free_inodes} inodes free, {self.inodes} are wanted"
        return ""

    def lacks_bytes(self, room: Room) -> bool:
        """Whether it is not only inodes that are missing, if something is."""
        return room.free < self.free


@dataclass(frozen=True)
class Floor:
    """What is always to be free where `path` is; below `warn` it is said. `inodes` None: whatever number of them."""

    path: str
    free: Portion
    inodes: Portion | None
    warn: Portion | None

    def room(self, before: str = "") -> Room:
        """What there is now. Raises OSError; WrongDisk where the floor can never be met, or if the file system that was
        mounted at `before` is not any more.
        """
        room = Room.at(self.path)
        if mounts.is_lost(self.path, before):
            raise WrongDisk(f"nothing is mounted at {printable(before)} any more", hint=_NOT_MOUNTED)
        for option, problem in self.beyond(room):
            raise WrongDisk(f"{option}: {problem}", hint=_TOO_SMALL)
        return room

    def beyond(self, room: Room) -> Iterator[tuple[str, str]]:
        """What can never be met, as the file system is too small for it: the option, and why."""
        if self.free.of(room.size) >= room.size:
            yield "min_free", f"the whole file system has {format_size(room.size)}: it can never be met"
        if self.inodes is not None and room.inodes and self.inodes.of(room.inodes) >= room.inodes:
            yield "min_free_inodes", f"the whole file system has {room.inodes:,} inodes: it can never be met"

    def goal(self, room: Room, extra: int = 0) -> Goal:
        """The floor and `extra` bytes more, but never more than there is; no inodes where they are not counted."""
        return Goal(
            self.path,
            min(self.free.of(room.size) + extra, room.size),
            self.inodes.of(room.inodes) if self.inodes and room.inodes else 0,
        )

    def warning(self, room: Room) -> int:
        """Bytes below which to warn: by default half as much again as the floor."""
        least = self.free.of(room.size)
        return max(least, self.warn.of(room.size) if self.warn else least * 3 // 2)


@dataclass(frozen=True)
class Relief:
    """What a guard asks of a job: steps that free space on this device by these means, and why.

    With `below` only what lies below that directory counts. `keep_min` generations of each log stay; `free` bytes are
    there to work with. `of_inodes` says that nothing but inodes is missing. Object stores that are `silent` are not
    asked.
    """

    means: Means
    device: int
    keep_min: int
    free: int
    reason: str
    below: str = ""
    of_inodes: bool = False
    silent: Silent = field(default_factory=Silent, compare=False)

    def covers(self, path: str, device: int) -> bool:
        """Whether what is done to a file there would be of use."""
        return device == self.device and (not self.below or path.startswith(f"{self.below.rstrip('/')}/"))
