"""Runs one job: plans once, does that plan or a prefix of it in order, and reports. No job's fault ends the daemon."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import groupby
from typing import Any

from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.errors import Aborted, Locked, MaintdError, NotYet, TimedOut, Trouble, trouble
from maintd.events import Event, Failure
from maintd.giving_up import GivingUp
from maintd.log import Envelope, Log
from maintd.readings import Health, Reading
from maintd.runs import (
    ActionOmitted,
    ActionPlanned,
    ActionWaiting,
    JobFailed,
    JobFinished,
    JobWaiting,
    Result,
    Run,
    StepsSpared,
)
from maintd.steps import Action, Finding, Lane, Outcome, Plan
from maintd.units import counted

QUICK = 5.0
"""Seconds that quick work may take in a child, which the owner of a directory may have stopped."""


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
            for lane, stack in ((Lane.HEAVY, heavy), (Lane.STANZAS, heavy), (Lane.ROTATE, rotate)):
                if lane in run.ctx.lanes and run.holds_lanes:
                    stack.enter_context(self._lanes[lane])
            run.begun.set()
            result.is_void = run.is_void()
            if not result.is_void:
                run.on_begun(run)
                if self._is_alone(run, result, heavy):
                    result.plan = self._frozen(run, result) if run.foreseen is None else run.foreseen
            plan = result.plan or ()
            actions = [step for step in plan if isinstance(step, Action)]
            result.planned = len(actions)
            self._report_findings(run, plan, result)
            is_news = True
            if run.only_observes:
                is_news = self._observe(run, [action for action in actions if not action.is_harmless], result)
                actions = [action for action in actions if action.is_harmless]
            if actions:
                self._act(run, actions, result, begun, rotate)
                result.remark = _remark(run)
            run.on_ended(run, result)
        if result.planned and (actions or is_news):
            self._finish(run, result, begun)
        return result

    def _is_alone(self, run: Run, result: Result, held: ExitStack) -> bool:
        """Whether no other program works on the same; what a run holds for that is `held` until its end."""
        if run.only_observes:
            return True
        try:
            held.enter_context(run.job.alone())
        except Locked as error:
            result.waiting = 1
            self._emit(run, JobWaiting(reason=str(error)))
        except (OSError, MaintdError) as error:
            result.failed = 1
            self._emit(run, JobFailed.from_trouble("", f"begin {run.name}", trouble(error)), level=run.job.severity)
        else:
            return True
        return False

    def _frozen(self, run: Run, result: Result) -> Plan | None:
        try:
            return tuple(run.job.plan(run.ctx))
        except Exception as error:  # noqa: BLE001 - a job's fault must not end the daemon
            result.failed = 1
            self._emit(run, JobFailed.from_trouble("", f"plan {run.name}", trouble(error)), level=run.job.severity)
            return None

    def _report_findings(self, run: Run, plan: Plan, result: Result) -> None:
        for step in plan:
            if not isinstance(step, Finding):
                continue
            result.waiting += step.is_put_off
            result.deferred += step.is_deferred
            result.refused += step.is_refused
            result.failed += isinstance(step, Reading) and step.health is Health.DOWN
            if step.event is None:
                continue
            is_failure = isinstance(step.event, Failure)
            result.failed += is_failure
            if not run.is_news(step.event):
                continue
            self._emit(run, step.event, **(_failed(run) if is_failure else {}))

    def _observe(self, run: Run, actions: Sequence[Action], result: Result) -> bool:
        """Says what would be done; whether any of it was not said lately."""
        planned = [
            ActionPlanned(target=action.target, verb=action.verb, detail=action.detail, reason=action.reason)
            for action in actions
        ]
        news = [event for event in planned if run.is_news(event)]
        for event in news:
            self._emit(run, event)
        result.omitted = len(actions)
        return bool(news)

    def _act(self, run: Run, actions: Sequence[Action], result: Result, begun: float, rotate: ExitStack) -> None:
        done, spared = set[int](), list[Action]()
        deadline = begun + run.job.timeout.total_seconds() if run.job.timeout else None
        quick = Worker(lock_fd=self._lock_fd, background=False, patience=QUICK)
        quick = self._quick.setdefault(threading.get_ident(), quick)
        hands = Hands(
            stop=run.stop,
            deadline=deadline,
            lock_fd=self._lock_fd,
            quick=quick,
            done=done,
            spared=spared,
            background=not run.job.is_urgent,
        )
        ends = GivingUp()

        def progress(action: Action, count: int) -> None:
            run.stirs.set()
            if run.on_progress:
                run.on_progress(action, count)

        hands.progress = progress

        def step(index: int) -> None:
            run.stirs.set()
            if run.on_step:
                run.on_step(index, len(actions), actions[index])
            action = actions[index]
            if self._is_spared(action, spared):
                spared.append(action)
                result.count("spared")
            elif ends.spares(action):
                result.count("omitted")
            elif self._step(run, action, done, hands, result, ends):
                _note_done(action, done)

        _go_through(actions, step, hands, rotate)
        self._sum_up(run, spared, ends)
        result.samples = tuple(hands.samples)
        result.given_up = _given_up(actions, done)

    def _sum_up(self, run: Run, spared: Sequence[Action], ends: GivingUp) -> None:
        """Tells in one event each what was not told step by step."""
        if spared:
            self._emit(run, StepsSpared(target=spared[0].target, steps=len(spared), verbs=_verbs(spared)))
        for action, error, others in ends.more():
            self._fail(run, action, trouble(error), others)
        for verb, places in ends.left.items():
            where = f" in {len(places)} places" if len(places) > 1 else ""
            reason = f"{counted(places.total(), 'step')}{where} left to a later run, after others have failed there"
            self._emit(run, ActionOmitted(target=min(places), verb=verb, reason=reason))

    def _is_spared(self, action: Action, spared: Sequence[Action]) -> bool:
        """Whether it is not needed: what it is for is met by now, or what it needs was not needed."""
        if action.goal is None:
            return any(need is other for need in action.needs for other in spared)
        try:
            return action.goal.is_met()
        except (OSError, MaintdError):  # the directory has gone: the action itself says so
            return False

    def _step(  # noqa: PLR0913, PLR0917 - all of a run that a step has to do with
        self, run: Run, action: Action, done: AbstractSet[int], hands: Hands, result: Result, ends: GivingUp
    ) -> bool:
        is_over = result.aborted and not action.concludes
        if is_over or not action.is_possible(done):
            why = "the run was ended" if is_over else "a step that it needs was not done"
            return self._omit(run, action, result, why, is_told=is_over or ends.is_first(action, done))
        if run.is_held():
            result.aborted = True
            return self._omit(run, action, result, "nothing is to be done just now")
        begun = time.monotonic()
        said = has_failed = False
        try:
            for event in action.apply(hands):
                said = True
                has_failed |= isinstance(event, Failure)
                self._pass_on(run, event, begun)
        except NotYet as reason:
            result.count("waiting")
            if not said:
                self._emit(run, ActionWaiting(target=action.target, verb=action.verb, reason=str(reason)))
            return False
        except Aborted:
            result.aborted = True
            return self._omit(run, action, result, "the run was told to stop")
        except Exception as error:  # noqa: BLE001 - other targets go on
            result.aborted |= isinstance(error, TimedOut) and hands.is_over
            result.count("failed")
            if ends.is_told(action, error):
                self._fail(run, action, trouble(error))
            return False
        if action.relieves:
            result.relieved.add(action.target)
        result.count("failed" if has_failed else "done")
        return not has_failed

    def _pass_on(self, run: Run, event: Event, begun: float) -> None:
        if run.is_news(event):
            dur_ms = (time.monotonic() - begun) * 1000
            self._emit(run, event, dur_ms=dur_ms, **(_failed(run) if isinstance(event, Failure) else {}))

    def _omit(self, run: Run, action: Action, result: Result, why: str, *, is_told: bool = True) -> bool:
        result.count("omitted")
        if is_told:
            self._emit(run, ActionOmitted(target=action.target, verb=action.verb, reason=why))
        return False

    def _fail(self, run: Run, action: Action, found: Trouble, others: int = 0) -> None:
        tried = f"{action.verb} {action.what}{f' and {others} more' if others else ''}"
        event = action.failure.from_trouble(action.target, tried, found)
        self._emit(run, event, **_failed(run))

    def _finish(self, run: Run, result: Result, begun: float) -> None:
        event = JobFinished(
            cause=str(run.ctx.cause),
            actions=result.planned,
            done=result.done,
            failed=result.failed,
            omitted=result.omitted,
            spared=result.spared or None,
            waiting=result.waiting,
        )
        level = run.job.severity if result.outcome is Outcome.FAILURE else "info"
        self._emit(run, event, outcome=result.outcome, dur_ms=(time.monotonic() - begun) * 1000, level=level)

    def _emit(self, run: Run, event: Event, **envelope: Any) -> None:
        self._log.emit(event, Envelope(run.name, run.id, **envelope), run.listener)


def _failed(run: Run) -> dict[str, Any]:
    """How a failure is written."""
    return {"level": run.job.severity, "outcome": Outcome.FAILURE}


def _note_done(action: Action, done: set[int]) -> None:
    done.add(id(action))
    goals = (one.goal for one in (action, *action.needs))
    goal = next((goal for goal in goals if goal is not None), None)
    if goal is not None:
        goal.note(action.in_bytes or 0)


def _given_up(actions: Sequence[Action], done: AbstractSet[int]) -> Counter[str]:
    return Counter(action.giver for action in actions if action.giver and id(action) in done)


def _verbs(actions: Sequence[Action]) -> str:
    counts = Counter(action.verb for action in actions)
    return ", ".join(f"{count} {verb}" for verb, count in counts.items())


def _remark(run: Run) -> str:
    try:
        return run.job.remark(run.ctx)
    except OSError:  # it says nothing of what cannot be read, which the run itself has told
        return ""


def _go_through(actions: Sequence[Action], step: Callable[[int], None], hands: Hands, rotate: ExitStack) -> None:
    """Does the actions in order, by index; `rotate` is closed when the last of its lane is done."""
    last_rotate = max((index for index, action in enumerate(actions) if action.lane is Lane.ROTATE), default=-1)
    most = max((action.parallel for action in actions), default=1)  # no plan has steps of two such kinds
    with ThreadPoolExecutor(most) as pool, hands:
        has_both = most > 1 and last_rotate >= 0
        started = [pool.submit(hands.get_ready) for _ in range(most if has_both else 0)]  # beside the quick work
        for indices in _batches(actions):
            if indices[0] > last_rotate:
                rotate.close()
            for _ in pool.map(step, indices) if len(indices) > 1 else map(step, indices):
                pass
        wait(started)  # or one could come to be when all were ended


def _batches(actions: Sequence[Action]) -> Iterator[list[int]]:
    """The indices of the actions in order; neighbours that may be done in parallel come together."""
    for parallel, batch in groupby(range(len(actions)), lambda index: actions[index].parallel):
        if parallel > 1:
            yield list(batch)
        else:
            yield from ([index] for index in batch)
