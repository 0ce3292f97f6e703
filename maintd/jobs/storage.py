"""The kind `storage`: reports what directories take, what grows fastest, and when their file systems will be full."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import grounds, mounts
from maintd.errors import Trouble, trouble
from maintd.job import AbsolutePath, Context, Count, Job, Span
from maintd.names import printable
from maintd.steps import Finding, Step
from maintd.supervisor import Supervisor
from maintd.trends import Sample
from maintd.triggers import Asked

_ADVICE = "mount its disk; if there is none any more, take the directory out of the job"


class Storage(Job):
    """Measures directories and their file systems, and says how fast they grow and when that ends. Changes nothing."""

    kind: ClassVar[str] = "storage"
    remembers: ClassVar[bool] = True
    measures: ClassVar[bool] = True
    is_tried_again: ClassVar[bool] = False

    directories: tuple[AbsolutePath, ...] = Field(min_length=1, description="the directories that are measured")
    top: Count = Field(default=10, description="how many of the largest files are named")
    warn_within: Span = Field(
        default=timedelta(days=14), description="warn when a file system will be full within this, by its growth"
    )

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        for directory in self.directories:
            problem, _ = _problem(grounds.resolve(directory))
            if problem:
                yield "directories", f"{printable(directory)}: {problem}"

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions.measure import Measure, MeasureFailed  # noqa: PLC0415 - reading a config does not need what measures

        found: list[str] = []
        for directory in map(grounds.resolve, self.directories):
            problem, error = _problem(directory)
            lost = self._lost(directory, ctx.history) if problem and not error else ""
            if lost:
                why = f"it is empty, and nothing is mounted at {printable(lost)} any more"
                told = Trouble("notmounted", why, _ADVICE)
                event = MeasureFailed.from_trouble(directory, "measure it", told)
                yield Finding(target=directory, reason=f"not measured: {told.error_msg}", event=event)
            elif error:
                failed = MeasureFailed.from_trouble(directory, "measure it", trouble(error))
                yield Finding(target=directory, reason=f"not measured: {problem}", event=failed)
            elif problem:
                yield Finding(target=directory, reason=f"not measured: {problem}")
            elif directory not in found:
                found.append(directory)
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(
                target=self.directories[0], reason="only the daemon knows whether it is due: left out by --due"
            )
        elif found:
            yield Measure(
                target=found[0],
                reason=f"measured from time to time, with {len(found) - 1} more"
                if found[1:]
                else "measured from time to time",
                directories=tuple(found),
                top=self.top,
                now=ctx.now,
                warn_within=None if ctx.clock_jumped else self.warn_within,
                history=ctx.history,
                keeps=not ctx.clock_jumped,
            )

    def _lost(self, directory: str, history: Sequence[Sample]) -> str:
        """Where the file system of a directory was mounted when it was measured, if nothing is any more; or nothing."""
        at = max((sample.at for sample in history if sample.what == directory), default=None)
        found = Counter(sample.what for sample in history if sample.at == at)
        found.subtract(map(grounds.resolve, self.directories))  # what is left of the paths above it are file systems
        return next((what for what, count in found.items() if count > 0 and mounts.is_lost(directory, what)), "")


def _problem(directory: str) -> tuple[str, OSError | None]:
    """Why there is nothing to measure, or nothing; with the error, if it is one."""
    try:
        with os.scandir(directory) as entries:
            return "" if next(entries, None) else "it is empty", None
    except OSError as error:
        return error.strerror or str(error), error
