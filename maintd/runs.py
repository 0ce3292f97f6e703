"""A run: what it is told to do, how it ended, and the events that are about it as a whole."""

import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import field
from typing import ClassVar, Literal

from maintd.events import Event, Failure
from maintd.job import Context, Job
from maintd.log import Listener
from maintd.steps import Action, Outcome, Plan
from maintd.trends import Sample
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class JobFinished(Event):
    """A run that had something to do has ended. `omitted` are steps that were not tried, `waiting` those put off.

    `spared` are those that were not needed any more.
    """

    name: ClassVar[str] = "job.finished"

    cause: str
    actions: int
    done: int
    failed: int
    omitted: int
    waiting: int
    spared: int | None = None

    @property
    def msg(self) -> str:
        parts = [f"{self.done} of {counted(self.actions, 'action')} done"]
        parts += [f"{count} {word}" for count, word in self._rest() if count]
        return ", ".join(parts)

    def _rest(self) -> list[tuple[int, str]]:
        return [
            (self.failed, "failed"),
            (self.waiting, "put off"),
            (self.omitted, "left out"),
            (self.spared or 0, "not needed"),
        ]


@dataclass(frozen=True, kw_only=True)
class StepsSpared(Event):
    """The last steps of a plan were not done, because what they were for was met before; `target` is that of the first.

    `verbs` counts them by what they would have done.
    """

    name: ClassVar[str] = "steps.spared"

    steps: int
    verbs: str

    @property
    def msg(self) -> str:
        return f"from here on not needed any more: {self.verbs}"


@dataclass(frozen=True, kw_only=True)
class JobFailed(Failure):
    """A run could not even be planned."""

    name: ClassVar[str] = "job.failed"


@dataclass(frozen=True, kw_only=True)
class JobWaiting(Event):
    """A run was put off, because another program works on the same just now; it is tried again."""

    name: ClassVar[str] = "job.waiting"

    reason: str

    @property
    def msg(self) -> str:
        return f"put off: {self.reason}"


def _done_to_it(verb: str) -> str:
    return "wait for it" if verb == "wait" else f"{verb} it"


@dataclass(frozen=True, kw_only=True)
class ActionPlanned(Event):
    """What a job under `observe` would have done."""

    name: ClassVar[str] = "action.planned"

    verb: str
    detail: str
    reason: str

    @property
    def msg(self) -> str:
        return f"would {_done_to_it(self.verb)}{f' ({self.detail})' if self.detail else ''}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ActionOmitted(Event):
    """A planned action was not tried, with the reason."""

    name: ClassVar[str] = "action.omitted"

    verb: str
    reason: str

    @property
    def msg(self) -> str:
        return f"did not {_done_to_it(self.verb)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ActionWaiting(Event):
    """A planned action cannot be done yet, with the reason: somebody has the file open, mostly. It is tried again."""

    name: ClassVar[str] = "action.waiting"

    verb: str
    reason: str

    @property
    def msg(self) -> str:
        return f"did not {_done_to_it(self.verb)} yet: {self.reason}"


@dataclass
class Result:
    """How a run ended. `waiting` counts actions put off because somebody has the file open, `deferred` what is planned
    by the run for the other lane, `refused` what was found that somebody has to correct first.

    `given_up` counts what a guard has deleted of other jobs, as far as these have a share that may go.
    `relieved` are the logs that it has rotated. `plan` is None if none was made. `samples` are to be remembered;
    `remark` is what the job says of what it looks after, for status.
    """

    run: str
    planned: int = 0
    done: int = 0
    failed: int = 0
    omitted: int = 0
    waiting: int = 0
    spared: int = 0
    deferred: int = 0
    refused: int = 0
    aborted: bool = False
    is_void: bool = False
    remark: str = ""
    plan: Plan | None = field(default=None, repr=False)
    samples: tuple[Sample, ...] = ()
    relieved: set[str] = field(default_factory=set)
    given_up: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, what: Literal["done", "failed", "omitted", "waiting", "spared"]) -> None:
        """Counts one action more, from any thread."""
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left of what it was for."""
        return not (self.failed or self.waiting or self.deferred or self.aborted)

    @property
    def outcome(self) -> Outcome:
        if self.failed:
            return Outcome.FAILURE
        return Outcome.SUCCESS if not self.aborted and (self.done or not self.planned) else Outcome.SKIPPED


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run to be: a job by name, what its plan is made from, and who listens.

    `is_void` is asked once the locks are held, when it has `begun`: the job may have been changed or paused while they
    were waited for. If not, `on_begun` is called; `on_ended` in any case, before they are given back. `is_held` is
    asked before each action. An event of a finding, or of an action under observe, that is not `is_news` is not said.
    `foreseen` is a plan that was made before, with nothing to do in it: it is reported, and no lock is waited for. With
    each step, and all progress in one, it `stirs`.
    """

    name: str
    job: Job
    ctx: Context
    observe: bool = False
    listener: Listener | None = None
    on_step: Callable[[int, int, Action], None] | None = None
    on_progress: Callable[[Action, int], None] | None = None
    is_void: Callable[[], bool] = lambda: False
    on_begun: Callable[["Run"], None] = lambda _: None
    on_ended: Callable[["Run", Result], None] = lambda _run, _result: None
    is_held: Callable[[], bool] = lambda: False
    is_news: Callable[[Event], bool] = lambda _: True
    foreseen: Plan | None = None
    begun: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    stirs: threading.Event = field(default_factory=threading.Event)
    id: str = field(default_factory=lambda: os.urandom(4).hex())

    @property
    def only_observes(self) -> bool:
        """Whether it changes nothing, because its job, or the whole daemon, only observes."""
        return self.observe or self.job.observe

    @property
    def holds_lanes(self) -> bool:
        """Whether it excludes others that work there; what is urgent and only observes waits for nobody."""
        return self.foreseen is None and not (self.only_observes and self.job.is_urgent)
