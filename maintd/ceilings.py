"""Measures what programs take that have a limit, and says when one is over it as often as that takes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import ClassVar

from maintd import processes
from maintd.errors import Trouble, trouble
from maintd.events import Event, Failure
from maintd.limits import Ceiling, Samples
from maintd.measured import taken
from maintd.relays import Relay
from maintd.rhythm import Rhythm
from maintd.supervisor import Program
from maintd.triggers import Due, Excess, Over
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LimitExceeded(Event):
    """A program takes more than its limit, in as many samples as `over` says. Its level is the job's severity."""

    name: ClassVar[str] = "limit.exceeded"
    level: ClassVar[str] = "error"

    reason: str
    pid: int

    @property
    def msg(self) -> str:
        return f"over its limit: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LimitOk(Event):
    """A program that was over its limit is below it again, in enough samples, or does not run, or has no limit now.

    Also one that could not be measured, and can be again.
    """

    name: ClassVar[str] = "limit.ok"

    reason: str

    @property
    def msg(self) -> str:
        return f"not over its limit: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LimitFailed(Failure):
    """What a program takes cannot be measured, or measuring it hangs. Told once until it can be."""

    name: ClassVar[str] = "limit.failed"
    level: ClassVar[str] = "warning"


LONGEST = 10.0
"""Seconds that measuring the programs of one limit may take; the kernel makes a read of /proc wait for its process."""

_HANGS = "a process in state D, perhaps, which waits for a disk or a network file system: ps -o pid,stat,wchan,cmd"


@dataclass
class _Job:
    """One limit: the last samples of each of its programs, who is over, and when a run may be begun for it again.

    `current` is the program that is being measured; `blind` has those that cannot be.
    """

    ceiling: Ceiling
    samples: dict[str, Samples] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    current: str = ""
    is_awaited: bool = False
    not_before: float = 0.0


class Ceilings:
    """Measures in one thread. `known` says which programs run, or None if nobody can tell just now.

    `put` gets what is due, `emit` what is to be said.

    `is_held` says whether nothing is to be done now. A limit whose measuring hangs, by `clock`, holds up no other one.
    """

    def __init__(  # noqa: PLR0913 - what it asks and tells is said by name
        self,
        known: Callable[[], list[Program] | None],
        put: Callable[[Due], None],
        emit: Callable[[Event, str], None],
        is_held: Callable[[], bool],
        *,
        clock: Callable[[], float],
        longest: float = LONGEST,
    ) -> None:
        self._known, self._put, self._emit, self._is_held = known, put, emit, is_held
        self._jobs: dict[str, _Job] = {}
        self._relay, self._longest = Relay(self._measure, clock, longest), longest
        self._rhythm = Rhythm(self._relay.put)
        self._is_started = False

    @property
    def alive(self) -> bool:
        return not self._is_started or (self._rhythm.alive and self._relay.alive)

    def set(self, job: str, ceiling: Ceiling) -> None:
        if not self._is_started:
            self._is_started = True
            self._rhythm.start()
        known = self._jobs.get(job)
        if known is None or known.ceiling != ceiling:
            self._jobs[job] = _Job(ceiling, over=known.over, blind=known.blind) if known else _Job(ceiling)
        self._rhythm.set(job, ceiling.every, min(ceiling.every, 1.0))

    def remove(self, job: str) -> None:
        self._rhythm.remove(job)
        gone = self._jobs.pop(job, None)
        if gone is not None:
            for program in sorted(gone.over):
                self._end(job, gone, program, "the limit is gone")

    def recall(self, told: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """What an earlier maintd has told of programs, as (job, program), holds until it is over; which is watched.

        Asked before the programs are known. What hung may have been told of all of a limit's programs together.
        """
        watched = [(job, program) for job, program in told if job in self._jobs]
        for name, program in watched:
            job = self._jobs[name]
            (job.over if ":" in program else job.blind).add(program)
        return watched

    def ended(self, job: str, *, acted: bool) -> None:
        """A run for that has ended; the next one is as long away as each step is given to help."""
        found = self._jobs.get(job)
        if found is not None:
            found.is_awaited = False
            step, every = found.ceiling.step, found.ceiling.every
            found.not_before = time.monotonic() + (step if acted else min(step, every))

    def tick(self) -> None:
        """Once a second: says whose measuring hangs. It is measured again when that ends."""
        name = self._relay.lost()
        job = self._jobs.get(name)
        if job is not None:
            seconds = f"{self._longest:.0f} s"
            error = Trouble("hangs", f"it did not end within {seconds}, and cannot be ended", _HANGS)
            self._note_blind(name, job, job.current or job.ceiling.program, error)

    def _measure(self, name: str) -> None:
        job, known = self._jobs.get(name), self._known()
        if job is None or known is None:
            return
        programs = {program.name: program for program in known if program.is_named(job.ceiling.program)}
        found = [excess for program in programs.values() if (excess := self._sampled(name, job, program))]
        for gone in (job.over | job.blind - {job.ceiling.program}) - programs.keys():
            self._end(name, job, gone, "it is gone")
        if found and not job.is_awaited and time.monotonic() >= job.not_before and not self._is_held():
            job.is_awaited = True
            self._put(Due(name, Over(tuple(found))))

    def _sampled(self, name: str, job: _Job, program: Program) -> Excess | None:
        """Takes one sample; what is too much, if it is so in enough of them."""
        if program.state != "RUNNING":
            if program.name in job.over | job.blind and program.state in ("STOPPED", "EXITED", "FATAL"):
                self._end(name, job, program.name, f"it is {program.state}")
            return None
        samples = job.samples.get(program.name)
        if samples is None or samples.pid != program.pid:
            samples = job.samples[program.name] = Samples(program.pid, job.ceiling.of)
        job.current = program.name
        try:
            if processes.uptime(program.pid) < job.ceiling.grace:
                return None
            measures = list(taken(job.ceiling, program.pid, samples))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note_blind(name, job, program.name, trouble(error))
            return None
        above = [measure.text for measure in measures if measure.is_above]
        samples.above.append(bool(above))
        self._note_sight(name, job, program.name, is_above=bool(above))
        if program.name in job.over and samples.is_well(job.ceiling.count):
            self._end(name, job, program.name, ", ".join(measure.text for measure in measures))
        if not above or not samples.is_over(job.ceiling.count):
            return None
        if program.name not in job.over:
            job.over.add(program.name)
            text = f"{', '.join(above)} in {sum(samples.above)} of {len(samples.above)} samples"
            self._emit(LimitExceeded(target=program.name, reason=text, pid=program.pid), name)
        limits = ", ".join(measure.limit for measure in measures if measure.is_above)
        often = f"{job.ceiling.count} of {job.ceiling.of} samples"
        return Excess(program.name, program.pid, f"more than {limits} in {often}")

    def _end(self, name: str, job: _Job, program: str, reason: str) -> None:
        job.over.discard(program)
        job.blind.discard(program)
        self._emit(LimitOk(target=program, reason=reason), name)

    def _note_blind(self, name: str, job: _Job, program: str, found: Trouble) -> None:
        if program not in job.blind:
            job.blind.add(program)
            self._emit(LimitFailed.from_trouble(program, "measure what it takes", found), name)

    def _note_sight(self, name: str, job: _Job, program: str, *, is_above: bool) -> None:
        """It could be measured; that it can be again is said, unless it may be over its limit."""
        for known in job.blind & {program, job.ceiling.program}:
            if is_above or known in job.over:
                job.blind.discard(known)
            else:
                self._end(name, job, known, "it can be measured again")
