"""Plans how a guard makes room: what the other jobs can spare, in its order, each step for as long as it is needed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace

from maintd.actions.ballast import DirectorySpent, GuardSpent, Look, LookInto
from maintd.actions.upload import AskStore
from maintd.budget import Budget
from maintd.errors import trouble
from maintd.job import Context, Job
from maintd.names import printable
from maintd.room import Aim, Goal, Means, Relief, Room
from maintd.steps import Action, Finding, Step
from maintd.values import dataclass

_SAID = 3
"""How many things that are left alone are named in an event."""
_OF_BYTES = (Means.COMPRESS, Means.RUNAWAY)
"""What frees no inode: a rotation takes one."""

Last = Callable[[str, tuple[Action, ...]], Iterator[Step]]


@dataclass
class Guarding:
    """One plan of a guard's. `goal` is what each step is for, `last` what comes after them all: given what is left
    alone, and what is planned.
    """

    ctx: Context
    order: tuple[Means, ...]
    goal: Aim
    last: Last
    _kept: list[str] = field(default_factory=list)

    def plan(self, wanted: Relief, released: Iterable[Step] = ()) -> Iterator[Step]:
        """All that may be done, each step for as long as the goal is not met; then a look whether it is."""
        released = tuple(released)
        room = sum(step.in_bytes or 0 for step in released if isinstance(step, Action))
        planned: dict[tuple[str, str], Action] = {}
        made: dict[int, Action] = {}
        steps: list[Action] = []
        for step in [*released, *self._asked(replace(wanted, free=wanted.free + room))]:
            if isinstance(step, Finding):
                self._kept.append(f"{step.target}: {step.reason}")
                yield step
            elif step.needs or (step.verb, step.target) not in planned:
                steps.append(step)  # or its id() might be given again
                needs = tuple(made[id(need)] for need in step.needs)
                is_apart = all(isinstance(need, AskStore) for need in needs)
                made[id(step)] = replace(step, needs=needs, goal=self.goal if is_apart else None)
                planned[step.verb, step.target] = made[id(step)]
                yield made[id(step)]
            else:
                steps.append(step)
                made[id(step)] = planned[step.verb, step.target]
        said = [f"the newest {wanted.keep_min} of each log", *self._kept[:_SAID]]
        said += [f"and {len(self._kept) - _SAID} more"] if len(self._kept) > _SAID else []
        yield from self.last("; ".join(said), tuple(made.values()))

    def _asked(self, wanted: Relief) -> Iterator[Step]:
        for name, job in self.ctx.jobs.items():
            why = "it only observes" if job.observe else "it is paused" if name in self.ctx.paused else ""
            if why and type(job).relief is not Job.relief:
                yield Finding(target=name, reason=f"{why}, so it gives up nothing")
        for means in self.order:
            if wanted.of_inodes and means in _OF_BYTES:
                yield Finding(target=means, reason="it frees no inode")
                continue
            for name, job in self._givers(means):
                if name != self.ctx.job and not job.observe and name not in self.ctx.paused:
                    try:
                        is_doubted = self.ctx.clock_jumped or name in self.ctx.doubted
                        ctx = replace(self.ctx, job=name, clock_jumped=is_doubted)
                        yield from job.relief(ctx, replace(wanted, means=means, silent=ctx.silent))
                    except Exception as error:  # noqa: BLE001 - the fault of one job ends no guard
                        yield Finding(target=name, reason=f"{means}: cannot be planned: {trouble(error).error_msg}")

    def _givers(self, means: Means) -> list[tuple[str, Job]]:
        """The jobs in their order; what lies in directories as well goes before what a store is asked for."""
        jobs = list(self.ctx.jobs.items())
        return sorted(jobs, key=lambda one: _is_remote(one[1])) if means is Means.STORED else jobs


def _is_remote(job: Job) -> bool:
    archive = job.archive()
    return archive is not None and archive.is_remote


def look_at_room(floor: Goal) -> Last:
    """A look whether so much is free; where nothing could be planned, that is known already."""

    def last(kept: str, planned: tuple[Action, ...]) -> Iterator[Step]:
        room = Room.at(floor.path)
        if planned:
            yield Look(target=floor.path, reason="is it enough?", wanted=floor, kept=kept, steps=planned)
        elif floor.lack(room):
            spent = GuardSpent.of(floor, room, kept)
            yield Finding(target=floor.path, reason=f"nothing is left that may go: {kept}", event=spent)

    return last


def look_into(budget: Budget, taken: int) -> Last:
    """The same of what a directory takes."""

    def last(kept: str, planned: tuple[Action, ...]) -> Iterator[Step]:
        if planned:
            yield LookInto(target=budget.path, reason="is it enough?", wanted=budget, kept=kept, steps=planned)
        else:
            spent = DirectorySpent(target=budget.path, disk_bytes=taken, budget_bytes=budget.most, kept=printable(kept))
            yield Finding(target=budget.path, reason=f"nothing is left that may go: {kept}", event=spent)

    return last
