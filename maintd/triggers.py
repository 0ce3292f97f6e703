"""When a job is due, and why: Cron, Window, Timing; Cause and Due."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Self

from cronsim import CronSim, CronSimError  # noqa: TID251 - this is its home


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A cron or every trigger fired for `slot` (aware). `catch_up` if the slot passed while nobody was running."""

    slot: datetime
    catch_up: bool = False

    def __str__(self) -> str:
        return f"{'missed' if self.catch_up else 'due'} at {self.slot:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Grown:
    """These logs passed the job's max_size."""

    paths: frozenset[str]

    def __str__(self) -> str:
        return "grown"


@dataclass(frozen=True, slots=True)
class Asked:
    """A person asked: everything the job's conditions allow, or with `due_only` only what is due."""

    due_only: bool = False

    def __str__(self) -> str:
        return "asked"


@dataclass(frozen=True, slots=True)
class Settling:
    """What an earlier run set aside may be ready now: compress and expire, rotate nothing."""

    def __str__(self) -> str:
        return "settling"


Cause = Scheduled | Grown | Asked | Settling


@dataclass(frozen=True, slots=True)
class Due:
    """The job of this name (`kind.name`) is to run, for this cause."""

    job: str
    cause: Cause


_FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class _Field:
    """One of cron's five fields; a name stands for its place in `names` plus `low`."""

    title: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def check(self, text: str) -> None:
        """Raises ValueError unless `text` is a list of *, numbers, names, ranges and steps, as in crontab(5)."""
        for term in text.split(","):
            span, slash, step = term.partition("/")
            first, dash, last = span.partition("-")
            low, high = (self.low, self.high) if span == "*" else (self._number(first), self._number(last or first))
            if dash and (high < low or not last):
                raise ValueError(f"{self.title}: the range {span} does not run upwards from a first to a last value")
            if slash:
                self._check_step(term, step, low, high, is_range=bool(dash) or span == "*")

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.low
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        raise ValueError(
            f"{self.title}: {text!r} is not allowed; write {self.low} to {self.high}{names}, "
            "a list (1,2), a range (1-5), a step (*/2, 1-5/2) or *"
        )

    def _check_step(self, term: str, step: str, low: int, high: int, *, is_range: bool) -> None:
        if not (step.isascii() and step.isdigit() and int(step)):
            raise ValueError(f"{self.title}: the step in {term!r} is not a number from 1 on")
        if not is_range:
            raise ValueError(f"{self.title}: a step needs a range or *: write {low}-{self.high}/{step} for {term}")
        if int(step) > high - low and int(step) != 1:
            raise ValueError(f"{self.title}: the step in {term} leads out of {low}-{high}; cron would take {low} alone")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression with the meaning of crontab(5) and Debian's cron; two are equal if their texts are.

    Days: if day of month and day of week are both restricted, either suffices; if one of them begins with `*` (also
    `*/2`), both must match. 0 and 7 are Sunday.

    When the clocks change, as in cron(8) of Debian: an expression whose minute and hour both do without a leading `*`
    names times of day, and runs once for each: one that the spring gap leaves out runs right after the gap, one that
    the autumn brings twice runs the first time. With a leading `*` in minute or hour it goes with the clock: what the
    gap leaves out is left out, and in the repeated hour it runs both times, so that `*/10 * * * *` is always ten
    minutes apart.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads five fields or a form like @daily. Raises ValueError with the field, the value and what is allowed."""
        fields = _expanded(text).split()
        if [field.lower() for field in fields] == ["@reboot"]:
            raise ValueError(f"cron {text!r}: a start is not a time; what was missed while down is caught up by itself")
        if fields and fields[0].startswith("@"):
            raise ValueError(f"cron {text!r}: there is no such form; there are {', '.join(_NICKNAMES)}")
        if len(fields) != len(_FIELDS):
            names = ", ".join(field.title for field in _FIELDS)
            seconds = '; cron has no seconds, an interval has: every = "30s"' if len(fields) > len(_FIELDS) else ""
            raise ValueError(f"cron {text!r}: {len(fields)} fields, where five are needed ({names}){seconds}")
        try:
            for field, part in zip(_FIELDS, fields, strict=True):
                field.check(part)
        except ValueError as error:
            raise ValueError(f"cron {text!r}: {error}") from None
        try:
            next(CronSim(_expanded(text), _FIRST_DAY))
        except (CronSimError, StopIteration):
            raise ValueError(f"cron {text!r}: this day never comes in the month it names") from None
        return cls(text)

    def __str__(self) -> str:
        return self.text

    @property
    def words(self) -> str:
        """The expression in English: `At 02:30 on Monday through Friday`."""
        return CronSim(_expanded(self.text), _FIRST_DAY).explain()

    def next(self, after: datetime, zone: tzinfo) -> datetime:
        """The first time later than `after` (aware), as the clock in `zone` goes; aware, in `zone`."""
        start = after.astimezone(UTC)
        for moment in CronSim(_expanded(self.text), start.astimezone(zone)):
            # In the repeated hour cronsim may answer with its first pass, which is over.
            if moment.astimezone(UTC) > start:
                return moment.astimezone(UTC).astimezone(zone)
        raise OverflowError(f"cron {self.text!r}: no time within 50 years of {after}")

    def previous(self, before: datetime, zone: tzinfo) -> datetime:
        """The last time at or before `before` (aware), as the clock in `zone` goes; aware, in `zone`."""
        end = before.astimezone(UTC)
        start = (end.replace(microsecond=0) + timedelta(seconds=1)).astimezone(zone)
        found = (moment.astimezone(UTC) for moment in CronSim(_expanded(self.text), start, reverse=True))
        latest = next(moment for moment in found if moment <= end)
        # Going backwards, cronsim overlooks the first pass of a repeated hour: go forward again.
        while (later := self.next(latest, zone).astimezone(UTC)) <= end:
            latest = later
        return latest.astimezone(zone)


def _expanded(text: str) -> str:
    return _NICKNAMES.get(text.strip().lower(), text)


_EVERY_DAY = frozenset(range(7))
_DAY = 24 * 60
_WINDOW_FORMS = 'write "02:00-05:00", "22:00-04:00" (past midnight), "sat,sun 02:00-05:00" or "mon-fri 01:00-05:00"'
_WINDOW = re.compile(r"\s*(?:(?P<days>[a-z,-]+)\s+)?(?P<start>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d)\s*")


@dataclass(frozen=True, slots=True)
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
        if first not in _DAYS or (last or first) not in _DAYS or term.endswith("-"):
            raise ValueError(f"{term!r} is no weekday ({', '.join(_DAYS)})")
        start, length = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7
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


@dataclass(frozen=True, slots=True)
class Timing:
    """What a job's options say about when it runs; with both cron and every, both count."""

    cron: Cron | None = None
    every: timedelta | None = None
    spread: timedelta | None = None
    window: Window | None = None


@dataclass(frozen=True, slots=True)
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
        start = now.astimezone(UTC)
        if last_success and last_success <= now:
            start = last_success.astimezone(UTC) - delay
        return cls(timing, now.tzinfo or UTC, delay, start)

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


@dataclass(frozen=True, slots=True)
class _CronSlots:
    cron: Cron
    zone: tzinfo

    def first(self, after: datetime) -> datetime:
        return self.cron.next(after, self.zone).astimezone(UTC)

    def last(self, before: datetime) -> datetime | None:
        return self.cron.previous(before, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
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
