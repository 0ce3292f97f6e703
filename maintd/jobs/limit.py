"""The kind `limit`: what a program of supervisord may take, and what is done step by step when it takes more."""

import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from maintd.check import Quorum, QuorumField
from maintd.errors import Denied, MaintdError, Unreachable
from maintd.events import Event
from maintd.job import Age, Context, Count, Interval, Job, Limit, Span
from maintd.limits import Ceiling
from maintd.options import Cores
from maintd.rules import rule
from maintd.steps import Finding, Lane, Step
from maintd.supervisor import Supervisor
from maintd.trends import Sample
from maintd.triggers import Asked, Excess, Over
from maintd.units import counted, format_duration
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.restarts import Begun

_FATAL = ("KILL", "STOP")
_CUT_OFF = timedelta(days=1)
"""A restart that was cut off longer ago than this is not taken up again: somebody has seen to it meanwhile."""


@dataclass(frozen=True, kw_only=True)
class LimitSpent(Event):
    """A program is over its limit and was restarted as often as it may be; it is left alone until the window is over.

    Told once an hour while that is so.
    """

    name: ClassVar[str] = "limit.spent"
    level: ClassVar[str] = "error"
    is_repetitive: ClassVar[bool] = True

    reason: str

    @property
    def msg(self) -> str:
        return f"left alone: {self.reason}"


def _signal_name(name: str) -> str:
    short = name.upper().removeprefix("SIG")
    if f"SIG{short}" not in signal.Signals.__members__ or short in _FATAL:
        raise ValueError(f"{name!r} is not a signal that a program can handle (write USR1, USR2, HUP, …)")
    return short


class ProgramLimit(Job):
    """Watches what a program and all that it has started take: memory by PSS, open files, CPU. One sample is nothing.

    Over the limit often enough, it is told first, then sent a signal, then restarted, as `ladder` says.
    """

    kind: ClassVar[str] = "limit"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.PROGRAMS,)
    due_from_disk: ClassVar[bool] = True
    is_due_by_itself: ClassVar[bool] = True
    due_when: ClassVar[str] = "its program takes more"
    follows_programs: ClassVar[bool] = True

    program: str = Field(
        min_length=1, description='as supervisorctl names it: "api", "web:nginx", or "web:*" for each of a group'
    )
    memory: Limit | None = Field(default=None, description="so much memory, shared pages by their share (PSS)")
    files: Count | None = Field(default=None, description="so many open descriptors")
    cpu: Cores | None = Field(default=None, description='so much CPU from one sample to the next: "150%" of a core')
    sample: Interval = Field(default=timedelta(seconds=10), description="how often it is measured")
    over: QuorumField = Field(default=Quorum(3, 5), description="so many samples of so many above a limit are too many")
    grace: Age = Field(default=timedelta(minutes=1), description="nothing is measured for so long after its start")
    ladder: tuple[Literal["signal", "restart"], ...] = Field(
        default=("restart",), description="what is done about it, in this order, after it was told; [] tells only"
    )
    signal: Annotated[str, AfterValidator(_signal_name)] | None = Field(
        default=None, description='the signal of that step: "USR1"; a process that has no handler for it gets none'
    )
    step: Span = Field(default=timedelta(minutes=1), description="how long each step is given to help")
    max_restarts: Count = Field(default=3, description="so many restarts at most")
    restarts_within: Span = Field(default=timedelta(hours=1), description="in how long")
    pause: Span = Field(
        default=timedelta(minutes=1), description="the least time between two restarts, doubled with each more"
    )

    @rule("memory", "files", "cpu")
    def _limits_something(self) -> str:
        return "" if self.memory or self.files or self.cpu else "nothing is limited: set memory, files or cpu"

    @rule("ladder", "signal")
    def _signal_has_its_step(self) -> str:
        if "signal" in self.ladder and self.signal is None:
            return 'the step "signal" of ladder needs the option signal, which says the one: signal = "USR1"'
        if "signal" not in self.ladder and self.signal is not None:
            return 'signal is sent by a step "signal" of ladder, and there is none'
        return ""

    @rule("ladder")
    def _ladder_is_clear(self) -> str:
        return "ladder names something twice" if len(set(self.ladder)) < len(self.ladder) else ""

    def ceiling(self) -> Ceiling:
        return Ceiling(
            self.program,
            self.memory,
            self.files,
            self.cpu,
            self.sample.total_seconds(),
            self.step.total_seconds(),
            self.grace.total_seconds(),
            self.over.count,
            self.over.of,
        )

    def doubts(self, supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        try:
            found = [program for program in supervisor.programs() if program.is_named(self.program)]
            loose = [program.name for program in found if not supervisor.habits(program.name).as_group]
        except (Unreachable, Denied) as error:
            yield "program", str(error)
            return
        if not found:
            yield "program", f"supervisord has no program {self.program}"
        if loose and "restart" in self.ladder:
            yield "program", f"stopasgroup is off for {', '.join(loose)}: what it has started may outlive a restart"

    def plan(self, ctx: Context) -> Iterator[Step]:
        yield from self._cut_off(ctx)
        if isinstance(ctx.cause, Over):
            for excess in ctx.cause.excesses:
                yield from self._climbed(ctx, excess)
        elif isinstance(ctx.cause, Asked):
            yield from self._measured(ctx)

    def _cut_off(self, ctx: Context) -> Iterator[Step]:
        """Programs that were stopped to be started again, and that an end of maintd has left so."""
        from maintd import restarts  # noqa: PLC0415 - reading a config does not need what acts
        from maintd.actions.programs import StartProgram  # noqa: PLC0415 - as above

        for begun in restarts.unfinished(ctx.intents):
            if begun.job != ctx.job:
                continue
            if ctx.now.timestamp() - max(ctx.clock_away, 0.0) - begun.at > _CUT_OFF.total_seconds():
                yield Finding(target=begun.program, reason="a restart was cut off, too long ago to be taken up again")
                continue
            uncounted = _uncounted(begun, ctx.history)
            yield StartProgram(
                target=begun.program,
                reason="its restart was cut off",
                supervisor=ctx.supervisor,
                now=uncounted.at if uncounted else ctx.now,
                remembered=uncounted.what if uncounted else "",
                folder=ctx.intents,
            )

    def _climbed(self, ctx: Context, excess: Excess) -> Iterator[Step]:
        """The next step of the ladder for what was done so far about this process."""
        name, history = excess.program, ctx.history
        if "signal" in self.ladder:
            sent = _times(history, f"signal {name} {excess.pid}", ctx.now)
            is_first = self.ladder[0] == "signal" or bool(_times(history, f"restart {name}", ctx.now))
            if not sent and is_first:
                yield self._signalled(ctx, excess)
                return
            if sent and ctx.now - sent[-1] < self.step:
                yield Finding(
                    target=name, reason=f"{excess.text}; it has {format_duration(self.step)} to heed the signal"
                )
                return
        if "restart" in self.ladder:
            yield self._restarted(ctx, excess)
        else:
            yield Finding(target=name, reason=f"{excess.text}; nothing more is to be done about it")

    def _signalled(self, ctx: Context, excess: Excess) -> Step:
        from maintd.actions.programs import SignalProgram  # noqa: PLC0415 - as above

        assert self.signal is not None
        return SignalProgram(
            target=excess.program,
            reason=excess.text,
            supervisor=ctx.supervisor,
            pid=excess.pid,
            number=signal.Signals[f"SIG{self.signal}"],
            signal=self.signal,
            now=ctx.now,
            remembered=f"signal {excess.program} {excess.pid}",
        )

    def _restarted(self, ctx: Context, excess: Excess) -> Step:
        from maintd.actions.programs import RestartProgram  # noqa: PLC0415 - as above

        remembered = f"restart {excess.program}"
        done = [at for at in self._begun(ctx, excess.program) if at > ctx.now - self.restarts_within]
        if len(done) >= self.max_restarts:
            within = format_duration(self.restarts_within)
            reason = f"{excess.text}, and it was restarted {counted(len(done), 'time')} within {within} (max_restarts)"
            return Finding(target=excess.program, reason=reason, event=LimitSpent(target=excess.program, reason=reason))
        pause = self.pause * 2.0 ** min(len(done) - 1, 30)
        if done and ctx.now - done[-1] < pause:
            return Finding(
                target=excess.program, reason=f"{excess.text}; not within {format_duration(pause)} of the last restart"
            )
        return RestartProgram(
            target=excess.program,
            reason=excess.text,
            supervisor=ctx.supervisor,
            pid=excess.pid,
            folder=ctx.intents,
            job=ctx.job,
            now=ctx.now,
            remembered=remembered,
        )

    def _begun(self, ctx: Context, program: str) -> list[datetime]:
        """When restarts of it were begun, the oldest first; one that was cut off counts as well."""
        from maintd import restarts  # noqa: PLC0415 - as above

        mine = [begun for begun in restarts.unfinished(ctx.intents) if begun.job == ctx.job]
        cut_off = [sample for begun in mine if (sample := _uncounted(begun, ctx.history))]
        return sorted(_times([*ctx.history, *cut_off], f"restart {program}", ctx.now))

    def _measured(self, ctx: Context) -> Iterator[Step]:
        """What it takes now; one sample is no reason to do anything."""
        from maintd.measured import taken  # noqa: PLC0415 - as above

        try:
            found = [program for program in ctx.supervisor.programs() if program.is_named(self.program) and program.pid]
            for program in found:
                told = ", ".join(measure.text for measure in taken(self.ceiling(), program.pid))
                yield Finding(target=program.name, reason=f"it has {told}; the daemon decides by {self.over} samples")
        except (OSError, MaintdError) as error:
            yield Finding(target=self.program, reason=f"cannot be measured: {error}")
            return
        if not found:
            yield Finding(target=self.program, reason="it does not run")


def _times(history: Sequence[Sample], what: str, now: datetime) -> list[datetime]:
    """When that was done; what lies ahead, since the clock was set back, counts as done now."""
    return [min(sample.at, now) for sample in history if sample.what == what]


def _uncounted(begun: "Begun", history: Sequence[Sample]) -> Sample | None:
    """What counts a restart that was begun, unless its run has come so far as to be remembered."""
    sample = Sample(datetime.fromtimestamp(begun.at, UTC), f"restart {begun.program}", 1)
    return None if sample in history else sample
