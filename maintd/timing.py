"""When runs start: what a job's options say (Timing), put in its place on a host (Timetable)."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Self

from maintd.cron import DAYS, Cron
from maintd.values import dataclass

_EVERY_DAY = frozenset(range(7))
_DAY = 24 * 60
_WINDOW_FORMS = 'write "02:00-05:00", "22:00-04:00" (past midnight), "sat,sun 02:00-05:00" or "mon-fri 01:00-05:00"'
_WINDOW = re.compile(r"\s*(?:(?P<days>[a-z,-]+)\s+)?(?P<start>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d)\s*")


@dataclass(frozen=True)
class Window:
    """The part of the day in which runs may start, from `start` up to but without `end`: minutes of the local day.

    With `end` before `start` it goes past midnight; `days` (0 is Sunday) are then the days on which it begins. A window
    that lies wholly within the gap of a spring day does not open on that day; in autumn it may open twice.
    """

    text: str
    start: int
    end: int
    days: frozenset[int] = _EVERY_DAY

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `02:00-05:00`, `sat,sun 22:00-04:00`, `mon-fri 01:00-05:00`. Raises ValueError with these forms."""
        match = _WINDOW.fullmatch(text.lower())
        try:
            days = _weekdays(match["days"]) if match and match["days"] else _EVERY_DAY
            start, end = (_minute_of_day(match[side]) for side in ("start", "end")) if match else (0, 0)
        except ValueError as error:
            raise ValueError(f"window {text!r}: {error}; {_WINDOW_FORMS}") from None
        start %= _DAY
        if start == end:
            raise ValueError(f"window {text!r}: {'it ends as it begins' if match else 'not a window'}; {_WINDOW_FORMS}")
        return cls(text, start, end, days)

    def __str__(self) -> str:
        return self.text

    def contains(self, when: datetime) -> bool:
        """Whether a run may start at `when`, read by the clock of its own time zone."""
        minute, day = when.hour * 60 + when.minute, when.isoweekday() % 7
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)

    def opening(self, after: datetime) -> datetime:
        """`after` if a run may start then, else when the window opens next, in the same time zone."""
        if self.contains(after):
            return after
        for days in range(9):
            day = after.date() + timedelta(days=days)
            for fold in (0, 1):
                start = time(self.start // 60, self.start % 60, fold=fold)
                opens = _real(datetime.combine(day, start, after.tzinfo))
                if opens.astimezone(UTC) > after.astimezone(UTC) and self.contains(opens):
                    return opens
        raise OverflowError(f"window {self.text!r} does not open within a week of {after}")


def _minute_of_day(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if hour > 23 + (minute == 0) or minute > 59:
        raise ValueError(f"{text} is no time of day")
    return hour * 60 + minute


def _weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for term in text.split(","):
        first, _, last = term.partition("-")
        if first not in DAYS or (last or first) not in DAYS or term.endswith("-"):
            raise ValueError(f"{term!r} is no weekday ({', '.join(DAYS)})")
        start, length = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
        days.update((start + offset) % 7 for offset in range(length + 1))
    return frozenset(days)


def _real(when: datetime) -> datetime:
    """`when`, or the end of the gap if the clocks leave this time of day out."""
    while when.astimezone(UTC).astimezone(when.tzinfo).replace(tzinfo=None) != when.replace(tzinfo=None):
        when = (when + timedelta(minutes=1)).replace(fold=0)
    return when


def spread_offset(spread: timedelta, host: str, job: str) -> timedelta:
    """The share of `spread` for `job` on `host`, from 0 up to but without all of it; always the same."""
    share = int.from_bytes(hashlib.sha256(f"{host}\0{job}".encode(errors="surrogateescape")).digest()[:8], "big")
    return timedelta(microseconds=share * (spread // timedelta(microseconds=1)) >> 64)


@dataclass(frozen=True)
class Timing:
    """What a job's options say about when it runs; with both cron and every, both count."""

    cron: Cron | None = None
    every: timedelta | None = None
    spread: timedelta | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Timetable:
    """A Timing in its place: the slots it has, and when the runs for them start. What it returns is in UTC.

    A slot is a nominal time: one that cron names, or a whole number of `every` after `anchor`. Its run starts `delay`
    (the share of spread) later, or when the window opens after that. Of slots that wait for one opening the last
    counts, so they are one run.
    """

    timing: Timing
    zone: tzinfo
    delay: timedelta
    anchor: datetime

    @classmethod
    def of(cls, timing: Timing, now: datetime, *, host: str, job: str, last_success: datetime | None = None) -> Self:
        """The timetable of `job` on `host`, cron and window read in the zone of `now` (aware).

        Intervals count from `last_success`; if that is not known, or in the future since the clock was wrong then,
        from now. The spread delays the first run only: intervals that follow keep the phase it gave.
        """
        delay = spread_offset(timing.spread, host, job) if timing.spread else timedelta()
        table = cls(timing, now.tzinfo or UTC, delay, now.astimezone(UTC))
        return table.counting_from(last_success) if last_success and last_success <= now else table

    def counting_from(self, success: datetime) -> Self:
        """The same with its intervals counted from there."""
        return replace(self, anchor=success.astimezone(UTC) - self.delay)

    def next(self, after: datetime) -> datetime | None:
        """When the first run later than `after` starts; None without cron and every."""
        return min((self._next(slots, after) for slots in self._sources()), default=None)

    def slot(self, start: datetime) -> datetime | None:
        """The slot for which a run at `start` is: the last whose time had come."""
        return max((slot for slots in self._sources() if (slot := slots.last(start - self.delay))), default=None)

    def missed(self, since: datetime, now: datetime, *, by_cron: bool = True, by_every: bool = True) -> bool:
        """Whether a run came due after `since` and at the latest now, by cron or by every."""
        slots = [slots.last(now - self.delay) for slots in self._sources(by_cron=by_cron, by_every=by_every)]
        return any(slot is not None and slot + self.delay > since for slot in slots)

    def opening(self, after: datetime) -> datetime:
        """When a run that is due at `after` may start."""
        local = after.astimezone(self.zone)
        return (self.timing.window.opening(local) if self.timing.window else local).astimezone(UTC)

    def _next(self, slots: "_Slots", after: datetime) -> datetime:
        waiting = slots.last(after - self.delay) if self.timing.window else None
        if waiting and (opening := self.opening(waiting + self.delay)) > after:
            return opening
        return self.opening(slots.first(after - self.delay) + self.delay)

    def _sources(self, *, by_cron: bool = True, by_every: bool = True) -> Iterator["_Slots"]:
        if self.timing.cron and by_cron:
            yield _CronSlots(self.timing.cron, self.zone)
        if self.timing.every and by_every:
            yield _IntervalSlots(self.anchor, self.timing.every)


@dataclass(frozen=True)
class _CronSlots:
    cron: Cron
    zone: tzinfo

    def first(self, after: datetime) -> datetime:
        return self.cron.next(after, self.zone).astimezone(UTC)

    def last(self, before: datetime) -> datetime | None:
        return self.cron.previous(before, self.zone).astimezone(UTC)


@dataclass(frozen=True)
class _IntervalSlots:
    anchor: datetime
    every: timedelta

    def first(self, after: datetime) -> datetime:
        return self.anchor + max((after - self.anchor) // self.every + 1, 1) * self.every

    def last(self, before: datetime) -> datetime | None:
        count = (before - self.anchor) // self.every
        return self.anchor + count * self.every if count > 0 else None


_Slots = _CronSlots | _IntervalSlots


def upcoming(timing: Timing, now: datetime, *, host: str, job: str, count: int = 3) -> list[datetime]:
    """When the next `count` runs of `job` on `host` start, from now on, in the zone of `now` (aware)."""
    table = Timetable.of(timing, now, host=host, job=job)
    runs: list[datetime] = []
    after = now.astimezone(UTC)
    while len(runs) < count and (start := table.next(after)):
        runs.append(start.astimezone(now.tzinfo))
        after = start
    return runs
