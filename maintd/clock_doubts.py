"""Whether the wall clock may be right when files are judged by their age, also over restarts and boots."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from maintd.clock import LEAST
from maintd.clock_store import ClockStore, Doubt, Reading
from maintd.events import Event
from maintd.units import format_duration
from maintd.values import dataclass

LEAP = 3600.0
"""Seconds; a clock that was set by less is taken for corrected."""
ABSENCE = 7 * 86_400.0
"""Seconds between two boots that are believed: a machine is rarely off for longer."""
PATIENCE = 86_400.0
"""Seconds of running after which the clock is taken for right as it is."""
_KEPT_EVERY = 600.0
_SLEW = 0.001
"""What NTP may correct in a second without a step; the kernel allows half of that."""
_UNTIL = "until it is right again, a day has passed, or a person runs the job (maintd do)"


@dataclass(frozen=True, kw_only=True)
class ClockDoubted(Event):
    """The wall clock leapt by more than an hour, or it is not what it can be by when maintd last ran. Until it is right
    again, a day has passed, or a person runs the job (`maintd do`), nothing is deleted by age.
    """

    name: ClassVar[str] = "clock.doubted"
    level: ClassVar[str] = "warning"

    away_s: float

    @property
    def msg(self) -> str:
        return told(self.away_s)


@dataclass(frozen=True, kw_only=True)
class ClockTrusted(Event):
    """A clock that was doubted is believed again."""

    name: ClassVar[str] = "clock.trusted"

    reason: str

    @property
    def msg(self) -> str:
        return f"{self.reason}: files go by their age again"


class ClockDoubts:
    """Belongs to the daemon's main thread; `holds` may be asked in any. `read` is given by tests alone."""

    def __init__(self, store: ClockStore, read: Callable[[], Reading] = Reading.now) -> None:
        self._store, self._read = store, read
        self._last, self.doubt = store.known or (read(), None)
        self._kept_at = self._last.since_boot if store.known else None
        now = read()
        self.leapt = self._leapt(now) if store.known else 0.0
        self.ran_until = self._last.since_boot if self._last.boot == now.boot else 0.0
        """Seconds since boot at which maintd is known to have run last, before this life of it."""

    def _leapt(self, now: Reading) -> float:
        """By how many seconds the clock was set since maintd last ran; 0 if it may be right."""
        same_boot = bool(now.boot) and self._last.boot == now.boot
        passed = now.since_boot - (self._last.since_boot if same_boot else 0.0)
        drift = now.wall - self._last.wall - passed
        return 0.0 if -LEAP <= drift <= (LEAP if same_boot else ABSENCE) else drift

    def holds(self, job: str) -> bool:
        """Whether nothing of this job is to go by its age."""
        return self.doubt is not None and job not in self._store.released

    def release(self, job: str) -> None:
        """A person had the job run as the clock is."""
        if self.holds(job):
            self._store.release(job)

    def note(self) -> Event | None:
        """Compares the clock with where it was; what is to be said of that."""
        before, (last, now) = self.doubt, (self._last, self._read())
        self._last = now
        same_boot = bool(now.boot) and last.boot == now.boot
        passed = now.since_boot - (last.since_boot if same_boot else 0.0)
        drift = now.wall - last.wall - passed
        if same_boot and abs(drift) <= LEAST + passed * _SLEW:
            drift = 0.0
        bound = LEAP if same_boot else ABSENCE
        known = before or Doubt(0.0, LEAP, PATIENCE)
        found = Doubt(known.away + drift, max(known.most, bound), known.left - passed)
        event: Event | None = None
        if -LEAP <= found.away <= found.most:
            self.doubt = None
            event = ClockTrusted(reason="the clock is right again") if before else None
        elif before is None or not -LEAP <= drift <= bound:
            self.doubt = replace(found, left=PATIENCE)
            event = ClockDoubted(away_s=round(found.away, 1))
        elif found.left <= 0:
            self.doubt = None
            event = ClockTrusted(reason="a day has passed since the clock was set")
        else:
            self.doubt = found
        if event is not None:
            self._store.begin_anew()
        is_late = self._kept_at is None or now.since_boot >= self._kept_at + _KEPT_EVERY
        if event is not None or not same_boot or is_late:
            self.keep()
        return event

    def keep(self) -> None:
        """Remembers where the clocks are."""
        self._kept_at = self._last.since_boot
        self._store.keep(self._last, self.doubt)


def told(away: float) -> str:
    """For people: what is wrong with the clock, and what follows of it."""
    by = format_duration(timedelta(seconds=round(abs(away))))
    way = "ahead of" if away > 0 else "behind"
    return f"the clock is {by} {way} what it should be: nothing goes by age {_UNTIL}"
