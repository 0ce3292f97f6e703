"""What jobs that only observe have said they would do: the same is not told again within an hour."""

import time

from maintd.events import Event
from maintd.runs import ActionPlanned

AGAIN = 3600.0
"""Seconds after which an action is told again that is planned for the same reason still."""


class Observations:
    """Belongs to the daemon; `is_news` may be asked in any thread."""

    def __init__(self) -> None:
        self._said: dict[str, dict[tuple[str, str], tuple[str, float]]] = {}

    def is_news(self, job: str, event: Event) -> bool:
        """Whether an event is no planned action, or one that was not told for this reason lately; then it is now."""
        if not isinstance(event, ActionPlanned):
            return True
        said, now = self._said.setdefault(job, {}), time.monotonic()
        key = event.verb, event.target
        reason, at = said.get(key, ("", 0.0))
        if reason == event.reason and now < at + AGAIN:
            return False
        said[key] = event.reason, now
        return True

    def forget(self, job: str) -> None:
        """The job is gone or has changed: what it would do now is to be said."""
        self._said.pop(job, None)
