"""The kind `guard`: keeps free space above a floor, by giving up what the other jobs can spare, the cheapest first."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from maintd import grounds
from maintd.errors import MaintdError
from maintd.job import AbsolutePath, Context, Count, Job, Limit
from maintd.names import printable
from maintd.room import Floor, Goal, Means, Portion, Relief, Room
from maintd.rules import rule
from maintd.steps import Action, Finding, Lane, Seen, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked, Low
from maintd.units import format_size

_SAID = 3
"""How many things that are left alone are named in an event."""


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
    """Keeps free space above a floor: as soon as it is not, steps of the other jobs are done until it is.

    What these may keep, it may give up beyond `keep_min`; what is open, or no job's, it never touches.
    """

    kind: ClassVar[str] = "guard"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.ROTATE, Lane.HEAVY)
    due_from_disk: ClassVar[bool] = True
    is_due_by_itself: ClassVar[bool] = True
    is_urgent: ClassVar[bool] = True

    directory: AbsolutePath = Field(description="the guarded file system is the one that holds this directory")
    min_free: PortionField = Field(description='what is to stay free: "5%" of it, or "2G"')
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

    def floor(self) -> Floor:
        return Floor(grounds.resolve(self.directory), self.min_free, self.min_free_inodes, self.warn_free)

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        path = grounds.resolve(self.directory)
        if not os.path.isdir(path):
            yield "directory", f"{printable(path)} does not exist, so its file system is not guarded"
            return
        if self.ballast_file is None:
            return
        folder = os.path.dirname(self._ballast_path(self.ballast_file))
        if not os.path.isdir(folder):
            yield "ballast_file", f"its directory {printable(folder)} does not exist"
        elif os.stat(folder).st_dev != os.stat(path).st_dev:
            yield "ballast_file", f"{printable(folder)} is on another file system than {printable(path)}"
        elif grounds.is_shared(folder):
            yield "ballast_file", f"others than root can write {printable(folder)}"

    def plan(self, ctx: Context) -> Iterator[Step]:
        path = grounds.resolve(self.directory)
        try:
            room, device = Room.at(path), os.stat(path).st_dev
        except OSError as error:
            yield Finding(target=path, reason=f"not guarded: {error.strerror}")
            return
        goal = floor = self.floor().goal(room)
        if isinstance(ctx.cause, Low):
            goal = replace(floor, free=max(floor.free, ctx.cause.wanted))
        lack = goal.lack(room)
        if Lane.HEAVY not in ctx.lanes:
            return
        if not lack:
            yield Finding(target=path, reason=f"{format_size(room.free)} are free, {format_size(goal.free)} are wanted")
            yield from self._refill(room, goal)
        elif isinstance(ctx.cause, Asked | Low):
            yield from self._all_means(ctx, Relief(Means.EXPIRED, device, self.keep_min, room.free, lack), floor, goal)

    def _all_means(self, ctx: Context, wanted: Relief, floor: Goal, goal: Goal) -> Iterator[Step]:
        """All that may be done, each step for as long as the goal is not met; then a look whether the floor is."""
        planned: set[tuple[str, str]] = set()
        kept: list[str] = []
        made: dict[int, Action] = {}
        steps: list[Action] = []
        released = tuple(self._release(wanted.device, wanted.reason))
        wanted = replace(
            wanted, free=wanted.free + sum(step.in_bytes or 0 for step in released if isinstance(step, Action))
        )
        for step in [*released, *self._steps(ctx, wanted)]:
            if isinstance(step, Finding):
                kept += [f"{step.target}: {step.reason}"]
                yield step
            elif step.needs or (step.verb, step.target) not in planned:
                planned.add((step.verb, step.target))
                needs = tuple(made[id(need)] for need in step.needs)
                made[id(step)] = replace(step, needs=needs, goal=None if needs else goal)
                steps.append(step)  # or its id() might be given again
                yield made[id(step)]
        yield from self._end(floor, kept, is_planned=bool(planned))

    def _steps(self, ctx: Context, wanted: Relief) -> Iterator[Step]:
        own = ctx.job
        for means in self.order:
            for name, job in ctx.jobs.items():
                if name != own and not job.observe:
                    try:
                        yield from job.relief(replace(ctx, job=name), replace(wanted, means=means))
                    except (OSError, MaintdError) as error:
                        yield Finding(target=name, reason=f"{means}: cannot be planned: {error}")

    def _end(self, floor: Goal, kept: list[str], *, is_planned: bool) -> Iterator[Step]:
        """A look whether that was enough; where nothing could be planned, that is known already."""
        from maintd.actions.ballast import GuardSpent, Look  # noqa: PLC0415 - reading a config does not need what acts

        said = [f"the newest {self.keep_min} of each log", *kept[:_SAID]]
        said += [f"and {len(kept) - _SAID} more"] if len(kept) > _SAID else []
        left = "; ".join(said)
        room = Room.at(floor.path)
        if is_planned:
            yield Look(target=floor.path, reason="is it enough?", wanted=floor, kept=left)
        elif floor.lack(room):
            spent = GuardSpent(target=floor.path, free_bytes=room.free, floor_bytes=floor.free, kept=printable(left))
            yield Finding(target=floor.path, reason=f"nothing is left that may go: {left}", event=spent)

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

    def _refill(self, room: Room, goal: Goal) -> Iterator[Step]:
        from maintd.actions.ballast import Refill  # noqa: PLC0415 - as above

        if self.ballast_file is None or self.ballast is None:
            return
        path = self._ballast_path(self.ballast_file)
        least = max(goal.free, self.floor().warning(room)) + goal.free // 10
        if not os.path.lexists(path) and room.free >= self.ballast + least:
            yield Refill(
                target=path, reason="room for the moment when the disk is full", size=self.ballast, least=least
            )

    def _ballast_path(self, path: str) -> str:
        return os.path.join(grounds.resolve(os.path.dirname(path)), os.path.basename(path))
