"""The kind `guard`: keeps free space above a floor, or a directory below a budget, by what other jobs can spare."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from maintd import grounds, unguarded
from maintd.errors import MaintdError, trouble
from maintd.job import AbsolutePath, Context, Count, Job, Limit, WindowField
from maintd.names import printable
from maintd.own_files import OwnFiles
from maintd.room import Floor, Goal, Means, Portion, Relief, Room, WrongDisk
from maintd.rules import rule
from maintd.steps import Action, Finding, Lane, Seen, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked, Low
from maintd.units import format_size

if TYPE_CHECKING:
    from maintd.budget import Budget


def _portion(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError(f"{value} is neither a share nor a size (write 5%, 2G or bytes)")  # noqa: TRY004 - pydantic gathers ValueErrors
    return Portion.parse(value) if isinstance(value, str | int) else value


PortionField = Annotated[
    InstanceOf[Portion],
    BeforeValidator(_portion),
    PlainSerializer(str),
    WithJsonSchema({"type": ["string", "integer"]}),
]


class Guard(Job):
    """Keeps free space above a floor, or a directory below a budget: by steps of the other jobs, until it is.

    What these may keep, it may give up beyond `keep_min`; what is open, or no job's, it never touches.
    """

    kind: ClassVar[str] = "guard"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.ROTATE, Lane.HEAVY)
    due_from_disk: ClassVar[bool] = True
    is_due_by_itself: ClassVar[bool] = True
    is_urgent: ClassVar[bool] = True
    remembers: ClassVar[bool] = True

    directory: AbsolutePath = Field(description="the guarded file system is the one that holds this directory")
    min_free: PortionField | None = Field(default=None, description='what is to stay free: "5%" of it, or "2G"')
    max_used: Limit | None = Field(
        default=None, description="instead of min_free: what the directory may take on the disk, with all below it"
    )
    min_free_inodes: PortionField | None = Field(default=None, description='how many inodes: "2%", or a number')
    warn_free: PortionField | None = Field(
        default=None, description="storage.low is said below this; default: half as much again as min_free"
    )
    order: tuple[Means, ...] = Field(
        default=tuple(Means), min_length=1, description="what is done, in this order; what is left out is never done"
    )
    keep_min: Count = Field(default=1, description="so many generations of each log stay in any case")
    ballast: Limit | None = Field(default=None, description="a file of this size is given back first")
    ballast_file: AbsolutePath | None = Field(default=None, description="its path, on the same file system")
    window: WindowField | None = Field(default=None, description="no guard has one: it acts at once, at any time")

    @rule("window")
    def _acts_at_once(self) -> str:
        return "a guard has no window: it has to act when room is short, at any time" if self.window else ""

    @rule("min_free", "max_used")
    def _guards_one_thing(self) -> str:
        if (self.min_free is None) == (self.max_used is None):
            return "a guard needs either min_free, for a file system, or max_used, for a directory; both are two guards"
        return ""

    @rule("max_used", "min_free_inodes", "warn_free", "ballast")
    def _budget_has_no_room(self) -> str:
        of_room = [name for name in ("min_free_inodes", "warn_free", "ballast") if getattr(self, name) is not None]
        return f"{of_room[0]} goes with min_free, and not with max_used" if self.max_used and of_room else ""

    @rule("ballast", "ballast_file")
    def _ballast_has_its_place(self) -> str:
        is_half = (self.ballast is None) != (self.ballast_file is None)
        return "ballast and ballast_file are given together: its size, and where it is" if is_half else ""

    @rule("order")
    def _order_is_clear(self) -> str:
        return "order names something twice" if len(set(self.order)) < len(self.order) else ""

    @rule("ballast")
    def _ballast_helps(self) -> str:
        return "a ballast of less than 4K helps nobody" if self.ballast is not None and self.ballast < 4096 else ""

    def floor(self) -> Floor | None:
        return None if self.max_used else self._floor

    @property
    def _floor(self) -> Floor:
        assert self.min_free is not None
        return Floor(grounds.resolve(self.directory), self.min_free, self.min_free_inodes, self.warn_free)

    def keeps(self, _name: str) -> OwnFiles:
        return OwnFiles(paths=(self.ballast_file,) if self.ballast_file else ())

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        path = grounds.resolve(self.directory)
        if not os.path.isdir(path):
            yield "directory", f"{printable(path)} does not exist, so its file system is not guarded"
            return
        if not self.max_used:
            room = Room.at(path)
            yield from self._floor.beyond(room)
            if self.min_free_inodes and not room.inodes:
                yield "min_free_inodes", "this file system does not count inodes: it guards nothing there"
        if self.ballast_file is None:
            return
        folder = os.path.dirname(self._ballast_path(self.ballast_file))
        if not os.path.isdir(folder):
            yield "ballast_file", f"its directory {printable(folder)} does not exist"
        elif os.stat(folder).st_dev != os.stat(path).st_dev:
            yield "ballast_file", f"{printable(folder)} is on another file system than {printable(path)}"
        elif grounds.is_shared(folder):
            yield "ballast_file", f"others than root can write {printable(folder)}"

    def budget(self) -> "Budget | None":
        from maintd.budget import Budget  # noqa: PLC0415 - most guards have none, and reading a config needs no walk

        return Budget(grounds.resolve(self.directory), self.max_used) if self.max_used else None

    def plan(self, ctx: Context) -> Iterator[Step]:
        path = grounds.resolve(self.directory)
        if Lane.HEAVY not in ctx.lanes:
            return
        try:
            device = os.stat(path).st_dev
            yield from self._plan_budget(ctx, device) if self.max_used else self._plan_floor(ctx, path, device)
        except (OSError, WrongDisk) as error:
            kind = unguarded.DirectoryFailed if self.max_used else unguarded.StorageFailed
            event = unguarded.of(kind, path, error) if isinstance(ctx.cause, Asked) else None  # who watches it says so
            yield Finding(target=path, reason=f"not guarded: {trouble(error).error_msg}", event=event)

    def _plan_floor(self, ctx: Context, path: str, device: int) -> Iterator[Step]:
        from maintd import guarding  # noqa: PLC0415 - reading a config does not need what acts

        room = self._floor.room(ctx.history[-1].what if ctx.history else "")
        goal = floor = self._floor.goal(room)
        if isinstance(ctx.cause, Low):
            goal = replace(floor, free=max(floor.free, ctx.cause.wanted), inodes=max(floor.inodes, ctx.cause.inodes))
        lack = goal.lack(room)
        if not lack:
            yield Finding(target=path, reason=f"{format_size(room.free)} are free, {format_size(goal.free)} are wanted")
            yield from self._refill(room, goal, device)
        elif isinstance(ctx.cause, Asked | Low):
            made = guarding.Guarding(ctx, self.order, goal, guarding.look_at_room(floor))
            spare = room.free - floor.free  # as long as there is any, a copy is to fit in above the floor
            wanted = Relief(Means.EXPIRED, device, self.keep_min, spare if spare > 0 else room.free, lack)
            wanted = replace(wanted, of_inodes=not goal.lacks_bytes(room))
            yield from made.plan(wanted, self._release(device, lack))

    def _plan_budget(self, ctx: Context, device: int) -> Iterator[Step]:
        from maintd import guarding  # noqa: PLC0415 - as above
        from maintd.budget import Reckoning  # noqa: PLC0415 - as above

        budget = self.budget()
        assert budget
        taken = budget.taken()
        excess = budget.excess(taken)
        if not excess:
            allowed = format_size(budget.most)
            yield Finding(target=budget.path, reason=f"{format_size(taken)} are taken, {allowed} are allowed")
        elif isinstance(ctx.cause, Asked | Low):
            goal = budget.lower() if isinstance(ctx.cause, Low) else budget
            made = guarding.Guarding(ctx, self.order, Reckoning(goal, taken), guarding.look_into(budget, taken))
            free = Room.at(budget.path).free
            yield from made.plan(Relief(Means.EXPIRED, device, self.keep_min, free, excess, budget.path))

    def _release(self, device: int, reason: str) -> Iterator[Step]:
        from maintd import ballast  # noqa: PLC0415 - as above
        from maintd.actions.ballast import Release  # noqa: PLC0415 - as above

        if self.ballast_file is None:
            return
        path = self._ballast_path(self.ballast_file)
        try:
            info = os.lstat(path)
            if ballast.is_ours(path) and info.st_dev == device:
                yield Release(target=path, reason=reason, seen=Seen.of(path, info))
            else:
                yield Finding(target=path, reason="is no ballast of maintd, or on another file system")
        except FileNotFoundError:
            return
        except (OSError, MaintdError) as error:
            yield Finding(target=path, reason=f"the ballast cannot be looked at: {error}")

    def _refill(self, room: Room, goal: Goal, device: int) -> Iterator[Step]:
        """Makes a ballast that is missing; one that is not of the size that is wanted goes first."""
        from maintd.actions.ballast import Refill  # noqa: PLC0415 - as above

        if self.ballast_file is None or self.ballast is None:
            return
        path = self._ballast_path(self.ballast_file)
        least = max(goal.free, self._floor.warning(room)) + goal.free // 10
        there = os.lstat(path).st_size if os.path.lexists(path) else 0
        if there == self.ballast or room.free + there < self.ballast + least:
            return
        old = tuple(self._release(device, f"it is to have {format_size(self.ballast)}"))
        yield from old
        needs = tuple(step for step in old if isinstance(step, Action))
        if needs == old:
            reason = "room for the moment when the disk is full"
            yield Refill(target=path, reason=reason, size=self.ballast, least=least, needs=needs)

    def _ballast_path(self, path: str) -> str:
        return os.path.join(grounds.resolve(os.path.dirname(path)), os.path.basename(path))
