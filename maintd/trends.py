"""How fast something grows, from sizes of several days: a slope that a few odd days do not move, with its uncertainty.

Each day counts once, with the median of its samples, so that what comes and goes every night does not count; of one or
two samples the least counts. The day that goes on is left out until it has as many samples as the days before it, and
one with less than half of what the days around it have altogether: they may be of the night alone. The slope is that of
Theil and Sen: the median of the slopes between all pairs of days. Its bounds are Sen's (1968), by Kendall's variance:
with 95 % the true one lies between them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import combinations
from statistics import median

from maintd.values import dataclass

LEAST_DAYS = 4
MOST_DAYS = 30
_FEW = 2
_NEAR = 3
"""By so many days before a day, and after it, is told what is usual: a job may run at other times than long ago."""
_LATE = 2
_CONFIDENCE = 1.96
DAY = 86_400


@dataclass(frozen=True)
class Sample:
    """How many bytes something had at a time (aware): a path, or a file system by its mount point.

    One that stands for a whole day counts as so many samples.
    """

    at: datetime
    what: str
    size: int
    count: int = 1


@dataclass(frozen=True)
class Trend:
    """Bytes a day, and the bounds within which that is likely to be."""

    per_day: float
    least: float
    most: float

    @property
    def is_growing(self) -> bool:
        """Whether it grows for certain."""
        return self.least > 0

    def days_until(self, room: int) -> tuple[float, float, float] | None:
        """In how many days `room` bytes will be used up: likely, at the earliest, at the latest; None if not known."""
        if not self.is_growing:
            return None
        return room / self.per_day, room / self.most, room / self.least


def trend(samples: Iterable[Sample]) -> Trend | None:
    """The trend of samples of one thing, of the last 30 days with any; None if they say too little."""
    days: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        days[day(sample)].append(sample)
    points = [(number, _size(days[number])) for number in _told(days)[-MOST_DAYS:]]
    if len(points) < LEAST_DAYS:
        return None
    slopes = sorted((second - first) / (end - start) for (start, first), (end, second) in combinations(points, 2))
    count = len(points)
    spread = _CONFIDENCE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(round((len(slopes) - spread) / 2), 0)
    high = min(round((len(slopes) + spread) / 2), len(slopes) - 1)
    return Trend(median(slopes), slopes[low], slopes[high])


def day(sample: Sample) -> int:
    """The day of a sample (UTC), as a number since the epoch."""
    return int(sample.at.timestamp() // DAY)


def summed_up(samples: Sequence[Sample]) -> Sample:
    """One sample that says of a day what these say of it, which are of one thing and one day."""
    return replace(samples[-1], size=round(_size(samples)), count=_count(samples))


def _told(days: Mapping[int, Sequence[Sample]]) -> list[int]:
    """Those that have samples enough, by what is usual about them, in order; none if the newest of them is too old."""
    numbers = sorted(days)
    *past, last = [_count(days[number]) for number in numbers] or [0]
    usual = [median(past[max(place - _NEAR, 0) : place + _NEAR + 1]) for place in range(len(past))]
    told = [place for place, count in enumerate(past) if 2 * count >= usual[place]]
    if past and last >= median(past[-_NEAR:]):
        told.append(len(past))
    return [numbers[place] for place in told] if told and told[-1] >= len(past) - _LATE else []


def _count(samples: Sequence[Sample]) -> int:
    return sum(sample.count for sample in samples)


def _size(samples: Sequence[Sample]) -> float:
    sizes = [sample.size for sample in samples for _ in range(sample.count)]
    return median(sizes) if len(sizes) > _FEW else min(sizes)
