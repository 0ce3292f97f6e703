"""What a row of readings comes to: bad or good by N of M, or flapping. One reading alone changes nothing."""

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from itertools import pairwise

from maintd.check import MOST_READINGS, Quorum
from maintd.readings import Health
from maintd.values import dataclass

RECENT = 12
"""Among so many readings changes are counted."""
CHANGES = 5
"""So many changes between good and bad are flapping: three dips, say."""
STEADY = 6
"""So many readings without a change end it."""
_BAD = (Health.DEGRADED, Health.DOWN)


@dataclass
class Course:
    """The last readings of one check, the newest last."""

    readings: deque[Health] = field(default_factory=lambda: deque(maxlen=MOST_READINGS))
    is_flapping: bool = False

    def add(self, health: Health) -> None:
        self.readings.append(health)
        if self.is_flapping:
            steady = self._known()[-STEADY:]
            is_blind = list(self.readings)[-STEADY:] == [Health.UNKNOWN] * STEADY
            self.is_flapping = not is_blind and (len(steady) < STEADY or _changes(steady) > 0)
            if not self.is_flapping:
                self.readings = deque(
                    [Health.UNKNOWN] * STEADY if is_blind else steady, maxlen=MOST_READINGS
                )  # it takes new changes to flap again
        else:
            self.is_flapping = self.changes >= CHANGES

    def clear(self) -> None:
        self.readings.clear()
        self.is_flapping = False

    @property
    def changes(self) -> int:
        """How often the last readings went from good to bad or back."""
        return _changes(self._known()[-RECENT:])

    @property
    def goes_down(self) -> bool:
        """Whether it was down in one of those, and not merely degraded."""
        return Health.DOWN in self._known()[-RECENT:]

    def _known(self) -> list[Health]:
        return [health for health in self.readings if health is not Health.UNKNOWN]

    def is_blind(self, fail_after: Quorum) -> bool:
        """Whether the readings say that it cannot be told, and not merely that there are too few of them."""
        return list(self.readings)[-fail_after.of :].count(Health.UNKNOWN) >= fail_after.count

    def verdict(self, now: Health, fail_after: Quorum, recover_after: Quorum) -> Health:
        """How the check is, that was `now` until the last reading."""
        if not self.readings or (now is Health.UP and self.readings[-1] is Health.UP):
            return now
        last, recent = self.readings[-1], list(self.readings)
        failing, recovering = recent[-fail_after.of :], recent[-recover_after.of :]
        if last is Health.UP:
            enough = recovering.count(Health.UP) >= recover_after.count
            return Health.UP if enough or now is Health.UNKNOWN else _eased(now, recovering, recover_after)
        if last is Health.UNKNOWN:
            return Health.UNKNOWN if self.is_blind(fail_after) else now
        if last is Health.DOWN and failing.count(Health.DOWN) >= fail_after.count:
            return Health.DOWN
        if now is Health.DOWN:
            return now if last is Health.DOWN else _eased(now, recovering, recover_after)
        return Health.DEGRADED if sum(health in _BAD for health in failing) >= fail_after.count else now


def _eased(now: Health, recovering: list[Health], recover_after: Quorum) -> Health:
    """What was down and has not recovered is degraded once it was not down often enough."""
    better = sum(health in (Health.UP, Health.DEGRADED) for health in recovering)
    return Health.DEGRADED if now is Health.DOWN and better >= recover_after.count else now


def _changes(readings: Iterable[Health]) -> int:
    good = [health is Health.UP for health in readings]
    return sum(before != after for before, after in pairwise(good))
