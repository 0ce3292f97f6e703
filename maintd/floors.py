"""Watches how much room file systems have, once a second at the cost of a system call each, and says when it is low."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from itertools import pairwise
from typing import ClassVar

from maintd import mounts, unguarded
from maintd.errors import Trouble
from maintd.events import Event
from maintd.names import printable
from maintd.relays import Relay
from maintd.room import Floor, Room, WrongDisk
from maintd.triggers import Due, Low, Settling
from maintd.unguarded import StorageFailed
from maintd.units import format_size
from maintd.values import dataclass

LONGEST = 10.0
"""Seconds after which a file system that is asked for its room is told not to answer."""
_AT_ONCE = 0.05
"""Seconds that are waited for the answers, which take microseconds; those that are later count at the next look."""
LOOKAHEAD = 3.0
"""Seconds for which what is free has to last, at the pace of the last ones, before anything is done."""
CALM = 5.0
"""Seconds for which there has to be room before that is said, and the ballast put back."""
SETTLED = 3600.0
"""Seconds after which it is looked whether a ballast is still as it is to be: somebody may have removed it."""
_READINGS = 8
_WORK = 4
"""What steps need to work in, the copy of a log above all, is taken for so many times what is written meanwhile."""
_SHARE = 10
"""A tenth of the floor is aimed at beyond what is called low, so that it is not low again at once."""
_SOONEST, _LATEST = 2.0, 300.0


@dataclass(frozen=True, kw_only=True)
class StorageLow(Event):
    """A file system has less free than its guard's `warn_free`, or will be below `min_free` in a moment.

    `rate_bytes` a second were written to it lately.
    """

    name: ClassVar[str] = "storage.low"
    level: ClassVar[str] = "warning"

    free_bytes: int
    floor_bytes: int
    free_inodes: int
    floor_inodes: int
    rate_bytes: int

    @property
    def msg(self) -> str:
        if self.free_inodes < self.floor_inodes:
            return f"{self.free_inodes} inodes free; the floor is {self.floor_inodes}"
        pace = f", and {format_size(self.rate_bytes)}/s are being written" if self.rate_bytes else ""
        return f"{format_size(self.free_bytes)} free{pace}; the floor is {format_size(self.floor_bytes)}"


@dataclass(frozen=True, kw_only=True)
class StorageOk(Event):
    """A file system that was low has room again, or one that did not answer does, and has room."""

    name: ClassVar[str] = "storage.ok"

    free_bytes: int
    floor_bytes: int

    @property
    def msg(self) -> str:
        return f"{format_size(self.free_bytes)} free again; the floor is {format_size(self.floor_bytes)}"


@dataclass
class _Watched:
    """`room` is what was found since it was last looked at, or None; `error`, why it could not be, until it could.

    `before` is where its file system was mounted when that was noted, and `mount` where it is, as long as its `device`
    is the same.
    """

    floor: Floor
    before: str
    mount: str = ""
    device: int = -1
    room: Room | None = None
    error: OSError | WrongDisk | None = None
    is_silent: bool = False
    readings: "deque[tuple[float, int]]" = field(default_factory=lambda: deque(maxlen=_READINGS))
    is_low: bool = False
    calm_since: float | None = None
    is_awaited: bool = False
    wait: float = 0.0
    not_before: float = 0.0
    next_settling: float = 0.0

    def pace(self) -> float:
        """Bytes a second by which the free space has shrunk at most between two readings; 0 or less if it grew."""
        pairs = pairwise(self.readings)
        return max(((one - two) / max(end - start, 0.1) for (start, one), (end, two) in pairs), default=0.0)


class Floors:
    """Used by the daemon's main thread alone. `emit` gets what is to be said of a job's file system, `note_mount` where
    it is mounted, to be given to `set` later.

    The file systems are asked in a thread: one that does not answer, by `clock`, holds up nothing.
    """

    def __init__(
        self,
        emit: Callable[[Event, str], None],
        note_mount: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
        longest: float = LONGEST,
        settled: float = SETTLED,
    ) -> None:
        self._emit, self._note_mount, self._settled = emit, note_mount, settled
        self._watched: dict[str, _Watched] = {}
        self._relay = Relay(self._ask, clock, longest)

    @property
    def alive(self) -> bool:
        return self._relay.alive

    def set(self, job: str, floor: Floor, before: str = "") -> None:
        """Watches from now on; where the file system was mounted before, `note_mount` was told.

        What was said of the same path by another floor holds until it is over by this one.
        """
        known = self._watched.get(job)
        if known is None or known.floor != floor:
            next_settling = time.monotonic() + self._settled  # the first is at the start
            made = _Watched(floor, before, next_settling=next_settling)
            if known is not None and known.floor.path == floor.path:
                made.is_low, made.is_silent = known.is_low, known.is_silent
            self._watched = self._watched | {job: made}

    def remove(self, job: str) -> None:
        self._watched = {name: watched for name, watched in self._watched.items() if name != job}

    def recall(self, told: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """What an earlier maintd has told to be low, as (job, path), is until there is room; which of it is watched."""
        watched = [(job, path) for job, path in told if self.watches(job, path)]
        for job, _ in watched:
            self._watched[job].is_low = True
        return watched

    def watches(self, job: str, path: str) -> bool:
        """Whether it looks after the file system of this path, as it is printed, for that job."""
        return job in self._watched and printable(self._watched[job].floor.path) == path

    def _ask(self, job: str) -> None:
        """In the thread of the relay."""
        watched = self._watched.get(job)
        if watched is not None:
            try:
                room, device = watched.floor.room(watched.before), os.stat(watched.floor.path).st_dev
                if device != watched.device:
                    watched.mount, watched.device = mounts.holding(watched.floor.path), device
                watched.room, watched.error = room, None
            except (OSError, WrongDisk) as error:
                watched.error = error

    def look(self) -> Iterator[Due]:
        """What is due: a guard whose file system is low, or one that is not any more, to put its ballast back."""
        self._note_silence(self._relay.lost())
        for job in self._watched:
            self._relay.put(job)
        if self._watched:
            self._relay.settle(_AT_ONCE)
        now = time.monotonic()
        for job, watched in self._watched.items():
            room, watched.room = watched.room, None
            if room is None:
                self._note_absence(job, watched, watched.error)
                continue
            if watched.mount and watched.mount != watched.before:
                watched.before = watched.mount
                self._note_mount(job, watched.mount)
            if watched.is_silent:
                watched.is_silent = False
                if not watched.is_low:
                    self._say_ok(job, watched, room)
            if not watched.is_awaited:  # or what is written and freed by the run itself would count
                watched.readings.append((now, room.free))
            yield from self._looked_at(job, watched, room, now)

    def _looked_at(self, job: str, watched: _Watched, room: Room, now: float) -> Iterator[Due]:
        pace = max(watched.pace(), 0.0)
        floor = watched.floor.goal(room)
        ahead = int(pace * LOOKAHEAD + min(floor.free / 2, pace * LOOKAHEAD * _WORK))
        wanted = min(floor.free + ahead + floor.free // _SHARE, max(room.size * 9 // 10, floor.free))
        inodes = min(floor.inodes + -(-floor.inodes // _SHARE), max(room.inodes * 9 // 10, floor.inodes))
        goal = watched.floor.goal(room, ahead)
        lacks = bool(goal.lack(room))
        least = max(wanted, watched.floor.warning(room) + floor.free // _SHARE)
        is_ample = room.free >= least and room.free_inodes >= inodes
        watched.calm_since = (watched.calm_since or now) if is_ample else None
        if lacks or room.free < watched.floor.warning(room):
            if not watched.is_low:
                watched.is_low = True
                self._say_low(job, watched, room, int(pace))
        elif watched.is_low and watched.calm_since is not None and now - watched.calm_since >= CALM:
            watched.is_low, watched.wait = False, 0.0
            self._say_ok(job, watched, room)
            watched.next_settling = now
        if is_ample and not watched.is_low and now >= watched.next_settling:
            watched.next_settling = now + self._settled
            yield Due(job, Settling())
        if lacks and not watched.is_awaited and now >= watched.not_before:
            watched.is_awaited = True
            yield Due(job, Low(wanted) if goal.lacks_bytes(room) else Low(max(floor.free, 1), inodes))

    def _note_silence(self, job: str) -> None:
        watched = self._watched.get(job)
        if watched is not None:
            watched.is_silent = True
            found = Trouble("hangs", "it does not answer", "look at dmesg and at the mounts")
            self._emit(StorageFailed.from_trouble(watched.floor.path, "see how much room it has", found), job)

    def _note_absence(self, job: str, watched: _Watched, error: OSError | WrongDisk | None) -> None:
        if error is not None and not watched.is_silent:
            watched.is_silent = True
            self._emit(unguarded.of(StorageFailed, watched.floor.path, error), job)

    def _say_ok(self, job: str, watched: _Watched, room: Room) -> None:
        floor = watched.floor.goal(room).free
        self._emit(StorageOk(target=watched.floor.path, free_bytes=room.free, floor_bytes=floor), job)

    def _say_low(self, job: str, watched: _Watched, room: Room, pace: int) -> None:
        floor = watched.floor.goal(room)
        event = StorageLow(
            target=watched.floor.path,
            free_bytes=room.free,
            floor_bytes=floor.free,
            free_inodes=room.free_inodes,
            floor_inodes=floor.inodes,
            rate_bytes=pace,
        )
        self._emit(event, job)

    def ended(self, job: str, *, helped: bool) -> None:
        """A run for that has ended: one that could do nothing is not repeated at once, but after 2 s, 4 s, … 5 min."""
        watched = self._watched.get(job)
        if watched is None:
            return
        watched.is_awaited = False
        watched.wait = 0.0 if helped else min(max(2 * watched.wait, _SOONEST), _LATEST)
        watched.not_before = time.monotonic() + watched.wait

    def forget_pace(self, job: str) -> None:
        """What was written lately was the ballast, and is no sign of what comes."""
        if job in self._watched:
            self._watched[job].readings.clear()
