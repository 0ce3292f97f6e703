"""The kind `revive`: programs that supervisord has given up are started again, with growing pauses."""

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd.errors import Denied, Unreachable
from maintd.job import Context, Job, Span
from maintd.rules import rule
from maintd.steps import Finding, Lane, Step
from maintd.supervisor import Program, Supervisor
from maintd.triggers import Asked, Fallen
from maintd.units import format_duration


class Revive(Job):
    """Starts programs again that are FATAL: after a pause, which doubles with each attempt that did not last.

    What somebody has stopped stays stopped, and so does what has ended as it should.
    """

    kind: ClassVar[str] = "revive"
    lanes: ClassVar[tuple[Lane, ...]] = (Lane.PROGRAMS,)
    is_due_by_itself: ClassVar[bool] = True
    due_when: ClassVar[str] = "one of its programs is FATAL"
    follows_programs: ClassVar[bool] = True

    programs: tuple[str, ...] = Field(
        min_length=1, description='as supervisorctl names them: ["api", "web:nginx"], or ["services:*"] for a group'
    )
    pause: Span = Field(
        default=timedelta(seconds=30), description="how long a program stays FATAL before the first attempt"
    )
    longest_pause: Span = Field(default=timedelta(hours=1), description="the pause doubles up to this")
    forget: Span = Field(
        default=timedelta(hours=6), description="attempts longer ago than this do not lengthen the pause any more"
    )

    @rule("pause", "longest_pause")
    def _pauses_grow(self) -> str:
        return "longest_pause is shorter than pause" if self.longest_pause < self.pause else ""

    def doubts(self, supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        try:
            found = supervisor.programs()
        except (Unreachable, Denied) as error:
            yield "programs", str(error)
            return
        for name in self.programs:
            if not any(program.is_named(name) for program in found):
                yield "programs", f"supervisord has no program {name}"

    def revives(self, program: Program) -> bool:
        """Whether this job looks after a program, and it is FATAL."""
        return program.state == "FATAL" and any(program.is_named(name) for name in self.programs)

    def plan(self, ctx: Context) -> Iterator[Step]:
        if not isinstance(ctx.cause, Asked | Fallen):
            return
        try:
            fallen = [program for program in ctx.supervisor.programs() if self.revives(program)]
        except (Unreachable, Denied) as error:
            yield Finding(target=self.programs[0], reason=f"supervisord cannot be asked: {error}")
            return
        for program in fallen:
            yield self._revived(ctx, program)
        if not fallen and isinstance(ctx.cause, Asked):
            yield Finding(target=self.programs[0], reason="none of them is FATAL")

    def _revived(self, ctx: Context, program: Program) -> Step:
        from maintd.actions.programs import StartProgram  # noqa: PLC0415 - reading a config does not need what acts

        remembered = f"start {program.name}"
        tried = [min(sample.at, ctx.now) for sample in ctx.history if sample.what == remembered]
        tried = [at for at in tried if at > ctx.now - self.forget]
        pause = min(self.pause * 2.0 ** min(len(tried), 30), self.longest_pause)
        waited = ctx.now - tried[-1] if tried else timedelta(seconds=program.stopped_for)
        if waited < pause and not isinstance(ctx.cause, Asked):
            return Finding(target=program.name, reason=f"FATAL; to be started {format_duration(pause)} after that")
        attempt = f", attempt {len(tried) + 1}" if tried else ""
        return StartProgram(
            target=program.name,
            reason=f"supervisord has given it up{attempt}" + (f": {program.error}" if program.error else ""),
            supervisor=ctx.supervisor,
            now=ctx.now,
            remembered=remembered,
        )
