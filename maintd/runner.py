"""Runs one job: plans once, does that plan or a prefix of it in order, and reports. The only broad except is here."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, ClassVar, Literal

from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.errors import Aborted, NotYet, TimedOut, Trouble, trouble
from maintd.events import Event, Failure
from maintd.job import Context, Job
from maintd.log import Envelope, Listener, Log
from maintd.steps import Action, Finding, Lane, Outcome, Plan
from maintd.units import counted

PARALLEL = 2
"""How many actions that allow it are done at a time: a small server has two cores."""
QUICK = 5.0
"""Seconds that quick work may take in a child, which the owner of a directory may have stopped."""


@dataclass(frozen=True, kw_only=True)
class JobFinished(Event):
    """A run that had something to do has ended. `omitted` are steps that were not tried, `waiting` those put off."""

    name: ClassVar[str] = "job.finished"

    cause: str
    actions: int
    done: int
    failed: int
    omitted: int
    waiting: int

    @property
    def msg(self) -> str:
        parts = [f"{self.done} of {counted(self.actions, 'action')} done"]
        parts += [f"{count} {word}" for count, word in self._rest() if count]
        return ", ".join(parts)

    def _rest(self) -> list[tuple[int, str]]:
        return [(self.failed, "failed"), (self.waiting, "put off"), (self.omitted, "left out")]


@dataclass(frozen=True, kw_only=True)
class JobFailed(Failure):
    """A run could not even be planned."""

    name: ClassVar[str] = "job.failed"


@dataclass(frozen=True, kw_only=True)
class ActionPlanned(Event):
    """What a job under `observe` would have done."""

    name: ClassVar[str] = "action.planned"

    verb: str
    detail: str
    reason: str

    @property
    def msg(self) -> str:
        return f"would {self.verb} it{f' ({self.detail})' if self.detail else ''}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ActionOmitted(Event):
    """A planned action was not tried, with the reason."""

    name: ClassVar[str] = "action.omitted"

    verb: str
    reason: str

    @property
    def msg(self) -> str:
        return f"did not {self.verb} it: {self.reason}"


@dataclass(slots=True)
class Result:
    """How a run ended. `waiting` counts actions put off because somebody has the file open, `deferred` what is planned
    by the run for the other lane.

    `plan` is None if none was made.
    """

    run: str
    planned: int = 0
    done: int = 0
    failed: int = 0
    omitted: int = 0
    waiting: int = 0
    deferred: int = 0
    aborted: bool = False
    is_void: bool = False
    plan: Plan | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, what: Literal["done", "failed", "omitted", "waiting"]) -> None:
        """Counts one action more, from any thread."""
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    @property
    def outcome(self) -> Outcome:
        if self.failed:
            return Outcome.FAILURE
        return Outcome.SUCCESS if not self.aborted and (self.done or not self.planned) else Outcome.SKIPPED


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run to be: a job by name, what its plan is made from, and who listens.

    `is_void` is asked once the locks are held: the job may have been changed or paused while they were waited for.
    """

    name: str
    job: Job
    ctx: Context
    observe: bool = False
    listener: Listener | None = None
    on_step: Callable[[int, int, Action], None] | None = None
    on_progress: Callable[[Action, int], None] | None = None
    is_void: Callable[[], bool] = lambda: False
    stop: threading.Event = field(default_factory=threading.Event)
    id: str = field(default_factory=lambda: os.urandom(4).hex())

    @property
    def only_observes(self) -> bool:
        """Whether it changes nothing, because its job, or the whole daemon, only observes."""
        return self.observe or self.job.observe


class Runner:
    """Runs jobs for the daemon and for `maintd do`. One lock a lane: planning and acting in it exclude each other."""

    def __init__(self, log: Log, lock_fd: int | None = None) -> None:
        self._log = log
        self._lock_fd = lock_fd
        self._lanes = {lane: threading.Lock() for lane in Lane}
        self._quick: dict[int, Worker] = {}

    def rest(self) -> None:
        """Ends the child that this thread's runs keep for quick work in directories that others can write."""
        worker = self._quick.pop(threading.get_ident(), None)
        if worker:
            worker.close()

    def run(self, run: Run) -> Result:
        """Plans and acts.

        The locks of the run's lanes are taken in order; that of `rotate` is given back as soon as
        its part of the plan is done, so that a long compression never holds up a rotation.
        """
        result = Result(run.id)
        begun = time.monotonic()
        with ExitStack() as heavy, ExitStack() as rotate:
            for lane, stack in ((Lane.HEAVY, heavy), (Lane.ROTATE, rotate)):
                if lane in run.ctx.lanes:
                    stack.enter_context(self._lanes[lane])
            result.is_void = run.is_void()
            if not result.is_void:
                result.plan = self._frozen(run, result)
            plan = result.plan or ()
            actions = [step for step in plan if isinstance(step, Action)]
            result.planned = len(actions)
            self._report_findings(run, plan, result)
            if run.only_observes:
                self._observe(run, actions, result)
            else:
                self._act(run, actions, result, begun, rotate)
        if actions:
            self._finish(run, result, begun)
        return result

    def _frozen(self, run: Run, result: Result) -> Plan | None:
        try:
            return tuple(run.job.plan(run.ctx))
        except Exception as error:  # noqa: BLE001 - the one boundary: a job's fault must not end the daemon
            result.failed = 1
            self._emit(run, JobFailed.from_trouble("", f"plan {run.name}", trouble(error)), level=run.job.severity)
            return None

    def _report_findings(self, run: Run, plan: Plan, result: Result) -> None:
        for step in plan:
            if not isinstance(step, Finding):
                continue
            result.waiting += step.is_put_off
            result.deferred += step.is_deferred
            if step.event is None:
                continue
            if isinstance(step.event, Failure):
                result.failed += 1
                self._emit(run, step.event, level=run.job.severity, outcome=Outcome.FAILURE)
            else:
                self._emit(run, step.event)

    def _observe(self, run: Run, actions: Sequence[Action], result: Result) -> None:
        for action in actions:
            event = ActionPlanned(target=action.target, verb=action.verb, detail=action.detail, reason=action.reason)
            self._emit(run, event)
        result.omitted = len(actions)

    def _act(self, run: Run, actions: Sequence[Action], result: Result, begun: float, rotate: ExitStack) -> None:
        done: set[int] = set()
        last_rotate = max((index for index, action in enumerate(actions) if action.lane is Lane.ROTATE), default=-1)
        deadline = begun + run.job.timeout.total_seconds() if run.job.timeout else None
        quick = Worker(lock_fd=self._lock_fd, background=False, patience=QUICK)
        quick = self._quick.setdefault(threading.get_ident(), quick)
        hands = Hands(stop=run.stop, deadline=deadline, lock_fd=self._lock_fd, quick=quick)
        if run.on_progress:
            hands.progress = run.on_progress

        def step(index: int) -> None:
            if run.on_step:
                run.on_step(index, len(actions), actions[index])
            if self._step(run, actions[index], done, hands, result):
                done.add(id(actions[index]))

        with ThreadPoolExecutor(PARALLEL) as pool, hands:
            for indices in _batches(actions):
                if indices[0] > last_rotate:
                    rotate.close()
                for _ in pool.map(step, indices) if len(indices) > 1 else map(step, indices):
                    pass

    def _step(self, run: Run, action: Action, done: AbstractSet[int], hands: Hands, result: Result) -> bool:
        if result.aborted or not action.is_possible(done):
            why = "the run was ended" if result.aborted else "a step that it needs was not done"
            return self._omit(run, action, result, why)
        begun = time.monotonic()
        try:
            for event in action.apply(hands):
                self._emit(run, event, dur_ms=(time.monotonic() - begun) * 1000)
        except NotYet:
            result.count("waiting")
            return False
        except Aborted:
            result.aborted = True
            return self._omit(run, action, result, "the run was told to stop")
        except Exception as error:  # noqa: BLE001 - the one boundary: other targets go on
            result.aborted |= isinstance(error, TimedOut) and hands.is_over
            result.count("failed")
            self._fail(run, action, trouble(error))
            return False
        result.count("done")
        return True

    def _omit(self, run: Run, action: Action, result: Result, why: str) -> bool:
        result.count("omitted")
        self._emit(run, ActionOmitted(target=action.target, verb=action.verb, reason=why))
        return False

    def _fail(self, run: Run, action: Action, found: Trouble) -> None:
        event = action.failure.from_trouble(action.target, f"{action.verb} it", found)
        self._emit(run, event, level=run.job.severity, outcome=Outcome.FAILURE)

    def _finish(self, run: Run, result: Result, begun: float) -> None:
        event = JobFinished(
            cause=str(run.ctx.cause),
            actions=result.planned,
            done=result.done,
            failed=result.failed,
            omitted=result.omitted,
            waiting=result.waiting,
        )
        level = run.job.severity if result.outcome is Outcome.FAILURE else "info"
        self._emit(run, event, outcome=result.outcome, dur_ms=(time.monotonic() - begun) * 1000, level=level)

    def _emit(self, run: Run, event: Event, **envelope: Any) -> None:
        self._log.emit(event, Envelope(run.name, run.id, **envelope), run.listener)


def _batches(actions: Sequence[Action]) -> Iterator[list[int]]:
    """The indices of the actions in order; neighbours that may be done in parallel come together."""
    for parallel, batch in groupby(range(len(actions)), lambda index: actions[index].parallel):
        if parallel:
            yield list(batch)
        else:
            yield from ([index] for index in batch)
