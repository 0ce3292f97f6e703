"""Cron expressions with cron's own meaning, also on the two days a year that have 23 or 25 hours."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

from cronsim import CronSim, CronSimError  # noqa: TID251 - this is its home

from maintd.units import counted
from maintd.values import dataclass

_FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ORDINAL = {"1": "st", "2": "nd", "3": "rd"}
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
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
    _Field("day of week", 0, 7, DAYS),
)


@dataclass(frozen=True)
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
            raise ValueError(
                f"cron {text!r}: {counted(len(fields), 'field')}, where five are needed ({names}){seconds}"
            )
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
        """The expression in English: `At 02:30 on Monday through Friday`; where either day suffices, it says `or`."""
        minute, hour, day, month, weekday = _expanded(self.text).split()
        if day.startswith("*") or weekday.startswith("*"):
            return _explained(_expanded(self.text))
        by_day = _explained(f"{minute} {hour} {day} {month} *")
        by_weekday = _explained(f"{minute} {hour} * {month} {weekday}")
        _, on, weekdays = by_weekday.partition(" on ")
        return f"{by_day}, or on {weekdays}" if on else by_weekday

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


def _explained(text: str) -> str:
    words = CronSim(text, _FIRST_DAY).explain()
    return re.sub(r"\b([23]?)([123])th\b", lambda found: found[1] + found[2] + _ORDINAL[found[2]], words)


def _expanded(text: str) -> str:
    return _NICKNAMES.get(text.strip().lower(), text)
