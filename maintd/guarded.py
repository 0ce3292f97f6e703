"""What the guards of a config look after: file systems with a floor, directories with a budget, and what came of it."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

from maintd import shares
from maintd.events import Event
from maintd.floors import Floors
from maintd.job import Context, Job
from maintd.observations import Observations
from maintd.runs import Result, Run
from maintd.silent import Silent
from maintd.spending import Spending
from maintd.state import State
from maintd.trends import Sample
from maintd.triggers import Cause, Due, Low, Settling

_SPENT = {"storage.ok": "guard.spent", "directory.ok": "directory.spent"}
"""What ends what a guard has said."""


class Guarded:
    """Used by the daemon's main thread alone, but for `informed` and `count`. `emit` gets what is said for a job."""

    def __init__(
        self,
        state: State,
        observations: Observations,
        emit: Callable[[Event, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._state, self._observations, self._emit = state, observations, emit
        self._floors = Floors(self._tell, self._note_mount, clock)
        self._spending = Spending(self._tell)
        self._spent: set[str] = set()
        self.given_up: dict[str, int] = {}
        """How many files of jobs guards have given up since the last run of each; who has the locks changes it."""
        self.silent = Silent()
        """The object stores that the guards do not ask for a while; for the thread of their lane."""

    def _tell(self, event: Event, job: str) -> None:
        if event.name in _SPENT:
            self._observations.over(job, _SPENT[event.name])
            self._spent.discard(job)
        self._emit(event, job)

    def _note_mount(self, job: str, mount: str) -> None:
        self._state.record_samples(job, (Sample(datetime.now(UTC), mount, 0),))

    @property
    def alive(self) -> dict[str, bool]:
        """Its threads, each with whether it lives."""
        return {"spending": self._spending.alive, "floors": self._floors.alive}

    @property
    def rounds(self) -> int:
        """How often it has gone through all directories."""
        return self._spending.rounds

    def stop(self) -> None:
        self._spending.stop()

    def recall(self, low: Mapping[tuple[str, str], str], over: Mapping[tuple[str, str], str]) -> set[str]:
        """What an earlier maintd has told of file systems and of directories: keys by (job, path).

        Returns the keys of what is watched until it is over.
        """
        found = {low[known] for known in self._floors.recall(low)}
        return found | {over[known] for known in self._spending.recall(over)}

    def left(self, low: Mapping[tuple[str, str], str], over: Mapping[tuple[str, str], str]) -> list[str]:
        """Of what was told, as in `recall`, the keys of what nothing looks after any more."""
        found = [key for known, key in low.items() if not self._floors.watches(*known)]
        return found + [key for known, key in over.items() if not self._spending.watches(*known)]

    def install(self, name: str, job: Job) -> None:
        """A job, new or changed. What was told of it before holds until it is over."""
        floor = job.floor() if job.enabled else None
        if floor is None:
            self._floors.remove(name)
        else:
            samples = self._state.samples(name)
            self._floors.set(name, floor, samples[-1].what if samples else "")
        budget = job.budget() if job.enabled else None
        if budget is None:
            self._spending.remove(name)
        else:
            self._spending.set(name, budget)

        self.given_up.setdefault(name, self._state.given_up(name))  # which may not have heard of the last run yet

    def forget(self, name: str, *, is_gone: bool) -> None:
        """A job that is gone, or has changed and is installed anew: no run is awaited for it."""
        for part in (self._floors, self._spending):
            part.ended(name, helped=True)
            if is_gone:
                part.remove(name)
        self._spent.discard(name)

    def look(self) -> Iterator[Due]:
        """Once a second: the guards that are due."""
        return chain(self._floors.look(), self._spending.look())

    def informed(self, ctx: Context, paused: AbstractSet[str]) -> Context:
        """The context of a guard's run, in the thread of its lane, with what it has to know of the other jobs.

        What was given up of them is looked up as the plan is made, when it has the locks of its lanes.
        """
        return replace(ctx, paused=paused, given_up=self.given_up, silent=self.silent)

    def count(self, run: Run, result: Result) -> None:
        """A run has ended, of whatever job; in the thread of its lane, before the next can have its locks."""
        shares.note(self.given_up, run, result)

    def is_idle(self, name: str, cause: Cause) -> bool:
        """Whether there is hardly anything to do: nothing could be done the last time, or nothing is lacking."""
        is_settling = isinstance(cause, Settling)
        return is_settling or (isinstance(cause, Low) and bool(cause.wanted) and name in self._spent)

    def presses(self, due: Due) -> bool:
        """Whether what is due needs room now, and may find some."""
        return isinstance(due.cause, Low) and bool(due.cause.wanted) and due.job not in self._spent

    def put_off(self, name: str) -> None:
        """A guard was due, and is paused."""
        self._floors.ended(name, helped=False)
        self._spending.ended(name, helped=False)

    def ended(self, due: Due, run: Run | None, result: Result) -> None:
        """A run has ended, of whatever job, and was counted."""
        for name in {due.job, *result.given_up}:
            self._keep_count(name)
        if not isinstance(due.cause, Low):
            if run is not None and run.job.is_urgent:
                self._floors.forget_pace(due.job)
            return
        has_helped = result.done > 1
        self._floors.ended(due.job, helped=has_helped)
        self._spending.ended(due.job, helped=has_helped)
        if has_helped:
            self._spent.discard(due.job)
        elif run is not None:
            self._spent.add(due.job)

    def _keep_count(self, name: str) -> None:
        count = self.given_up.get(name, 0)
        if count != self._state.given_up(name):
            self._state.record_given_up(name, count, datetime.now(UTC))
