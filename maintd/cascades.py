"""Several programs that fail within a while are one incident, which the first of them began."""

from dataclasses import field
from typing import ClassVar

from maintd.events import Event
from maintd.names import enumerated
from maintd.settings import Cascade
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CascadeBegan(Event):
    """Several programs have failed within `within` of [cascade]; `target` is the first, where the cause is likely.

    While it lasts, `limit` and `revive` start nothing again.
    """

    name: ClassVar[str] = "cascade.began"
    level: ClassVar[str] = "critical"

    programs: str

    @property
    def msg(self) -> str:
        return f"{self.target} failed first, then others: {self.programs}; nothing is restarted until they are calm"


@dataclass(frozen=True, kw_only=True)
class CascadeEnded(Event):
    """No further program has failed for `calm` of [cascade]; `count` of them had."""

    name: ClassVar[str] = "cascade.ended"

    count: int
    programs: str

    @property
    def msg(self) -> str:
        return f"calm again; {counted(self.count, 'program')} had failed: {self.programs}"


@dataclass
class Incident:
    """What has failed lately: when last, in the order of the first times. Times are monotonic, in seconds."""

    settings: Cascade
    lasts: bool = False
    _failed: dict[str, float] = field(default_factory=dict)
    _last: float = 0.0

    def failed(self, program: str, now: float) -> CascadeBegan | None:
        """Takes note of a failure of one that was well; what is to be said if it makes a cascade of them.

        While a cascade lasts, the first failure of each program prolongs it: one that fails again and again cannot keep
        it alive.
        """
        if self.lasts and program in self._failed:
            return None
        self._last = now
        if not self.lasts:
            oldest = now - self.settings.within.total_seconds()
            self._failed = {name: at for name, at in self._failed.items() if at >= oldest}
        self._failed[program] = now
        if self.lasts or len(self._failed) < self.settings.programs:
            return None
        self.lasts = True
        first, *others = self._failed
        return CascadeBegan(target=first, programs=enumerated(others))

    def goes_on(self, first: str, now: float) -> None:
        """One that an earlier maintd has told of may not have ended."""
        self.lasts, self._last, self._failed = True, now, {first: now}

    def tick(self, now: float) -> CascadeEnded | None:
        """What is to be said if it has ended."""
        if not self.lasts or now - self._last < self.settings.calm.total_seconds():
            return None
        self.lasts, failed = False, list(self._failed)
        self._failed.clear()
        return CascadeEnded(target=failed[0], count=len(failed), programs=enumerated(failed))
