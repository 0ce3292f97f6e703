"""Which programs of supervisord have failed and are not well again, and how often each did so lately."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import field

from maintd.values import dataclass

_HOUR = 3600.0
_LONGEST = 900.0
"""Seconds of running that are enough at last, however often a program has failed within the hour."""
_MOST = 1000


@dataclass
class _Program:
    """`count` failures since it was well; `times` are those of the last ones, also from before that. Since `running`
    it was seen to run without a break, None if it does not.
    """

    count: int = 0
    is_given_up: bool = False
    running: float | None = None
    times: "deque[float]" = field(default_factory=lambda: deque(maxlen=_MOST))


class Failing:
    """Times are monotonic, in seconds. What is well again is known for an hour: it may fail anew."""

    def __init__(self) -> None:
        self._known: dict[str, _Program] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known and self._known[name].count > 0

    def __iter__(self) -> Iterator[str]:
        return (name for name, program in self._known.items() if program.count)

    def recall(self, told: Mapping[str, bool], now: float) -> None:
        """What an earlier maintd has told to have failed, each with whether it was told to be given up."""
        for name, is_given_up in told.items():
            self.failed(name, now, is_final=is_given_up)

    def failed(self, name: str, now: float, *, is_final: bool) -> None:
        """It failed, or was given up by supervisord (`is_final`)."""
        program = self._known.setdefault(name, _Program())
        program.count += 1
        program.is_given_up |= is_final
        program.times.append(now)
        program.running = None

    def saw(self, name: str, now: float, *, is_running: bool) -> None:
        """How one of those that have failed is now."""
        program = self._known[name]
        program.running = (now if program.running is None else program.running) if is_running else None

    def is_new(self, name: str, calm: float, now: float) -> bool:
        """Whether a failure now is one of a program that was well: it has run for `calm`, if it ever failed."""
        return name not in self or self._has_run(name, now) >= calm

    def _has_run(self, name: str, now: float) -> float:
        since = self._known[name].running
        return 0.0 if since is None else now - since

    def is_given_up(self, name: str) -> bool:
        """Whether it was told to be."""
        return name in self and self._known[name].is_given_up

    def is_well(self, name: str, calm: float, now: float) -> bool:
        """Whether one that runs has done so for long enough: `calm` for each failure of the last hour."""
        lately = sum(at > now - _HOUR for at in self._known[name].times)
        return self._has_run(name, now) >= max(calm, min(calm * lately, _LONGEST))

    def end(self, name: str) -> int:
        """It is well again, or matters no more; how often it had failed."""
        program = self._known[name]
        count, program.count, program.is_given_up = program.count, 0, False
        return count

    def forget(self, now: float) -> None:
        """What failed more than an hour ago, and is well, counts no more."""
        self._known = {
            name: program for name, program in self._known.items() if program.count or program.times[-1] > now - _HOUR
        }
