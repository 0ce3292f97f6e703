"""The events of a check: each tells that its health has changed, and since when it is so."""

from datetime import timedelta
from typing import ClassVar

from maintd.events import Event, Failure
from maintd.units import format_duration
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CheckSeen(Event):
    """What a check sees that a person has asked for, whether it is new or not."""

    name: ClassVar[str] = "check.seen"

    health: str
    reason: str
    advice: str | None = None

    @property
    def msg(self) -> str:
        return f"{self.health}: {self.reason}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, kw_only=True)
class CheckFailed(Failure):
    """A check is down, as often as fail_after says, or again after it flapped. Its level is the job's severity."""

    name: ClassVar[str] = "check.failed"
    usual_advice: ClassVar[str] = (
        "look at what it checks: whether it runs (supervisorctl status), and what its log says"
    )

    since: str
    was: str

    @property
    def msg(self) -> str:
        hint = "" if self.advice == self.usual_advice else f" ({self.advice})"
        return f"down: {self.error_msg}{hint}"


@dataclass(frozen=True, kw_only=True)
class CheckDegraded(Event):
    """A check is worse than it should be, but works; also when that is less bad than it `was`."""

    name: ClassVar[str] = "check.degraded"
    level: ClassVar[str] = "warning"

    reason: str
    since: str
    was: str
    advice: str | None = None

    @property
    def msg(self) -> str:
        return f"degraded: {self.reason}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, kw_only=True)
class CheckRecovered(Event):
    """A check is up again, as often as recover_after says. `lasted_s` is how long it was not, all in all."""

    name: ClassVar[str] = "check.recovered"

    reason: str
    since: str
    was: str
    lasted_s: float

    @property
    def msg(self) -> str:
        return f"up again after {format_duration(timedelta(seconds=round(self.lasted_s, 1)))}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class CheckFlapping(Event):
    """A check goes up and down. It counts as degraded, and says no more until it is steady. If it was down among that,
    its level is the job's severity; it is said again for that if it was merely degraded at first.
    """

    name: ClassVar[str] = "check.flapping"
    level: ClassVar[str] = "warning"

    reason: str
    since: str
    was: str
    changes: int

    @property
    def msg(self) -> str:
        return f"goes up and down ({self.changes} changes in the last readings), at last: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class CheckUnknown(Event):
    """A check cannot tell how its target is, for a reason of its own; not because of one that it depends on. Told again
    after an hour of that without a break, at the job's severity.
    """

    name: ClassVar[str] = "check.unknown"
    level: ClassVar[str] = "warning"

    reason: str
    since: str
    was: str
    advice: str | None = None

    @property
    def msg(self) -> str:
        return f"cannot be told: {self.reason}" + (f" ({self.advice})" if self.advice else "")
