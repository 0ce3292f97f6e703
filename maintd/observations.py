"""What jobs that only observe have said they would do, and what else is repetitive: not told again within an hour."""

import time

from maintd.events import Event, Failure
from maintd.runs import ActionPlanned, Result, Run
from maintd.steps import Finding, Lane

AGAIN = 3600.0
"""Seconds after which an action is told again that is planned for the same reason still."""


class Observations:
    """Belongs to the daemon; `is_news` may be asked in any thread."""

    def __init__(self) -> None:
        self._said: dict[str, dict[tuple[str, str], tuple[str | None, float]]] = {}
        self._failing: dict[str, set[tuple[str, str]]] = {}

    def is_news(self, job: str, event: Event) -> bool:
        """Whether an event is not repetitive, or was not told for this reason lately; then it is now."""
        if isinstance(event, ActionPlanned):
            key, reason = (event.verb, event.target), event.reason
        elif event.is_repetitive:
            key, reason = (event.name, event.target), event.core
        else:
            return True
        said, now = self._said.setdefault(job, {}), time.monotonic()
        told, at = said.get(key, (None, 0.0))
        if reason == told and now < at + AGAIN:
            return False
        said[key] = reason, now
        return True

    def over(self, job: str, name: str) -> None:
        """What a repetitive event of this name told is over: it is news when it comes again."""
        said = self._said.get(job, {})
        for key in [key for key in said if key[0] == name]:
            said.pop(key, None)

    def note(self, run: Run, result: Result) -> None:
        """Takes over which repetitive failures a run has found; one that is over is news when it comes again."""
        is_partial = Lane.ROTATE in run.job.lanes and Lane.ROTATE not in run.ctx.lanes
        if result.plan is None or is_partial:
            return
        events = [step.event for step in result.plan if isinstance(step, Finding)]
        now = {(event.name, event.target) for event in events if isinstance(event, Failure) and event.is_repetitive}
        for key in self._failing.get(run.name, set()) - now:
            self._said.get(run.name, {}).pop(key, None)
        self._failing[run.name] = now

    def is_failing(self, job: str) -> bool:
        """Whether the last run that looked at all of it has found a failure that is not told each time."""
        return bool(self._failing.get(job))

    def forget(self, job: str) -> None:
        """The job is gone or has changed: what it would do now is to be said."""
        self._said.pop(job, None)
        self._failing.pop(job, None)
