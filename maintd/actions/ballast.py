"""The ballast of a guard: a file that holds nothing but room, given back when the disk is full, and put back after."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import ClassVar, Self

from maintd import ballast, room, trust
from maintd.actions.hands import Hands
from maintd.budget import Budget
from maintd.events import Event, Failure
from maintd.names import printable
from maintd.room import Room
from maintd.steps import Action, Seen
from maintd.units import format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class BallastReleased(Event):
    """The ballast of a guard was removed, so that there is room to work in; it is put back when there is enough."""

    name: ClassVar[str] = "ballast.released"

    reason: str
    freed_bytes: int

    @property
    def msg(self) -> str:
        return f"gave back {format_size(self.freed_bytes)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class BallastMade(Event):
    """The ballast of a guard was put in place."""

    name: ClassVar[str] = "ballast.made"

    out_bytes: int

    @property
    def msg(self) -> str:
        return f"holds {format_size(self.out_bytes)} for the moment when the disk is full"


@dataclass(frozen=True, kw_only=True)
class GuardSpent(Event):
    """A guard has done all that it may, and less than its floor is free. `kept` says what it left alone, and why. Told
    again when that changes, when there was room in between, or after an hour.
    """

    name: ClassVar[str] = "guard.spent"
    level: ClassVar[str] = "error"
    is_repetitive: ClassVar[bool] = True

    free_bytes: int
    floor_bytes: int
    free_inodes: int
    floor_inodes: int
    kept: str

    @classmethod
    def of(cls, floor: room.Goal, found: Room, kept: str) -> Self:
        return cls(
            target=floor.path,
            free_bytes=found.free,
            floor_bytes=floor.free,
            free_inodes=found.free_inodes,
            floor_inodes=floor.inodes,
            kept=printable(kept),
        )

    @property
    def msg(self) -> str:
        free, floor = format_size(self.free_bytes), format_size(self.floor_bytes)
        if self.free_bytes >= self.floor_bytes:
            free, floor = f"{self.free_inodes} inodes", str(self.floor_inodes)
        return f"{free} free, the floor is {floor}, and nothing else may go: {self.kept}"

    @property
    def core(self) -> str:
        return self.kept


@dataclass(frozen=True, kw_only=True)
class DirectorySpent(Event):
    """A guard has done all that it may, and its directory takes more than its budget. `kept` is what it left alone.

    Told again when that changes, when it was within its budget in between, or after an hour.
    """

    name: ClassVar[str] = "directory.spent"
    level: ClassVar[str] = "error"
    is_repetitive: ClassVar[bool] = True

    disk_bytes: int
    budget_bytes: int
    kept: str

    @property
    def msg(self) -> str:
        taken, budget = format_size(self.disk_bytes), format_size(self.budget_bytes)
        return f"{taken} taken, the budget is {budget}, and nothing else may go: {self.kept}"

    @property
    def core(self) -> str:
        return self.kept


@dataclass(frozen=True, kw_only=True)
class BallastFailed(Failure):
    """The ballast of a guard could not be made or removed."""

    name: ClassVar[str] = "ballast.failed"


@dataclass(frozen=True, kw_only=True)
class Release(Action):
    """Removes the ballast."""

    verb: ClassVar[str] = "release"
    failure: ClassVar[type[Failure]] = BallastFailed

    seen: Seen

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        hands.work(ballast.release, within, seen=asdict(self.seen))
        yield BallastReleased(target=self.target, reason=self.reason, freed_bytes=self.seen.size)


@dataclass(frozen=True, kw_only=True)
class Refill(Action):
    """Makes the ballast, if so much more than it is free then."""

    verb: ClassVar[str] = "ballast"
    failure: ClassVar[type[Failure]] = BallastFailed

    size: int
    least: int

    @property
    def in_bytes(self) -> int:
        return self.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        folder = os.path.dirname(self.target)
        if Room.at(folder).free >= self.size + self.least:
            hands.work(ballast.make, trust.confinement([folder]), path=self.target, size=self.size)
            yield BallastMade(target=self.target, out_bytes=self.size)


@dataclass(frozen=True, kw_only=True)
class Look(Action):
    """Looks at the end whether there is enough room, and if not, says what is left alone; but for what was spared,
    since there was enough for a moment: that is for the next run.
    """

    verb: ClassVar[str] = "measure"
    failure: ClassVar[type[Failure]] = BallastFailed

    wanted: room.Goal
    kept: str
    steps: tuple[Action, ...] = ()

    def apply(self, hands: Hands) -> Iterator[Event]:
        found = Room.at(self.target)
        if self.wanted.lack(found) and not hands.spared:
            yield GuardSpent.of(self.wanted, found, _left(self.steps, hands) + self.kept)


@dataclass(frozen=True, kw_only=True)
class LookInto(Action):
    """The same of a directory and its budget."""

    verb: ClassVar[str] = "measure"
    failure: ClassVar[type[Failure]] = BallastFailed

    wanted: Budget
    kept: str
    steps: tuple[Action, ...] = ()

    def apply(self, hands: Hands) -> Iterator[Event]:
        taken = self.wanted.taken()
        if self.wanted.excess(taken) and not hands.spared:
            kept = printable(_left(self.steps, hands) + self.kept)
            yield DirectorySpent(target=self.target, disk_bytes=taken, budget_bytes=self.wanted.most, kept=kept)


def _left(steps: Sequence[Action], hands: Hands) -> str:
    """That some of the steps before were not done, if it is so; what they said themselves tells why."""
    undone = next((step for step in steps if id(step) not in hands.done), None)
    return f"steps that failed or wait, as to {undone.verb} {undone.target}; " if undone else ""
