"""Several programs that fail within a while are one incident, which the first of them began."""

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar

from maintd.events import Event
from maintd.names import enumerated
from maintd.settings import Cascade
from maintd.units import counted
from maintd.values import dataclass

_LONGEST = 10
"""For so many times `calm` since it began, a cascade lasts at the most for what fails again and again."""


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
    """No further program has failed for `calm` of [cascade], nor one of these again, which counts for ten times `calm`
    at the most; `count` of them had.
    """

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
    _began: float = 0.0

    def failed(self, program: str, now: float, *, is_new: bool) -> CascadeBegan | None:
        """Takes note of a failure, of one that was well if it `is_new`; what is to be said if that makes a cascade.

        While a cascade lasts, the first failure of each program prolongs it, and so does each later one of these; but
        what fails again and again cannot keep it alive.
        """
        if self.lasts and program in self._failed:
            longest = (_LONGEST - 1) * self.settings.calm.total_seconds()
            self._last = max(self._last, min(now, self._began + longest))
            return None
        if not is_new:
            return None
        self._last = now
        if not self.lasts:
            oldest = now - self.settings.within.total_seconds()
            self._failed = {name: at for name, at in self._failed.items() if at >= oldest}
        self._failed[program] = now
        if self.lasts or len(self._failed) < self.settings.programs:
            return None
        self.lasts, self._began = True, now
        first, *others = self._failed
        return CascadeBegan(target=first, programs=enumerated(others))

    def goes_on(self, failed: Iterable[str], now: float) -> None:
        """One that an earlier maintd has told of may not have ended."""
        self.lasts, self._last, self._began = True, now, now
        self._failed = dict.fromkeys(failed, now)

    def tick(self, now: float) -> CascadeEnded | None:
        """What is to be said if it has ended."""
        if not self.lasts or now - self._last < self.settings.calm.total_seconds():
            return None
        self.lasts, failed = False, list(self._failed)
        self._failed.clear()
        return CascadeEnded(target=failed[0], count=len(failed), programs=enumerated(failed))
