"""What jobs that only observe have said they would do, and what else is repetitive: not told again within an hour."""

import time

from maintd.events import Event
from maintd.runs import ActionPlanned

AGAIN = 3600.0
"""Seconds after which an action is told again that is planned for the same reason still."""


class Observations:
    """Belongs to the daemon; `is_news` may be asked in any thread."""

    def __init__(self) -> None:
        self._said: dict[str, dict[tuple[str, str], tuple[str | None, float]]] = {}

    def is_news(self, job: str, event: Event) -> bool:
        """Whether an event is not repetitive, or was not told for this reason lately; then it is now."""
        if isinstance(event, ActionPlanned):
            key, reason = (event.verb, event.target), event.reason
        elif event.is_repetitive:
            key, reason = (event.name, event.target), ""
        else:
            return True
        said, now = self._said.setdefault(job, {}), time.monotonic()
        told, at = said.get(key, (None, 0.0))
        if reason == told and now < at + AGAIN:
            return False
        said[key] = reason, now
        return True

    def forget(self, job: str) -> None:
        """The job is gone or has changed: what it would do now is to be said."""
        self._said.pop(job, None)
