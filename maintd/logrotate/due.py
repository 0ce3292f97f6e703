"""Whether a log is to be rotated now, and why or why not: a pure function of its criteria, its state and its size.

The rules are those of logrotate(8), their details found by running logrotate -d under other clocks. Wall clock counts
for days, months and hours, as people mean them, and elapsed time only for a state in the future and for `minutes`.
"""

import calendar
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime

from maintd.logrotate.stanza import EACH_WEEK, Criteria, Kind, Options
from maintd.steps import Seen
from maintd.units import format_size
from maintd.values import dataclass

SECONDS_A_DAY = 86400
_AHEAD = 25 * 3600
"""Seconds. A state that lies further in the future is an error; less comes of summer time and of other zones."""


@dataclass(frozen=True)
class Ruling:
    """Whether a log is due, and why or why not; `warning` is what is wrong with its state, in logrotate's words."""

    is_due: bool
    reason: str
    warning: str = ""


def rule(options: Options, log: Seen, last: datetime | None, now: datetime, *, forced: bool = False) -> Ruling:
    """Rules on one log. `last` is its entry in the state file, or None at first sight: then record `first_sight(now)`.

    Both are local times, and may be naive (the system's zone) or aware.
    """
    ruling = Ruling(is_due=True, reason="it was asked for") if forced else _unforced(options.criteria, log, last, now)
    if ruling.is_due and not log.size and not options.ifempty:
        return replace(ruling, is_due=False, reason="it is empty (notifempty)")
    return ruling


def first_sight(now: datetime) -> datetime:
    """What the state file says of a log that was not in it before: the hour that has begun."""
    return now.replace(minute=0, second=0, microsecond=0)


def _unforced(criteria: Criteria, log: Seen, last: datetime | None, now: datetime) -> Ruling:
    by_size = _by_size(criteria, log.size)
    if by_size is not None:
        return by_size
    if last is None:
        return Ruling(is_due=False, reason="it is seen for the first time: from now on its age is known")
    rotated = f"it was rotated on {last:%Y-%m-%d %H:%M}"
    if last.timestamp() - now.timestamp() > _AHEAD:
        warning = f"log {log.path} last rotated in the future -- rotation forced"
        return Ruling(is_due=True, reason=f"{rotated}, it is said, which is yet to come", warning=warning)
    if not _INTERVALS[criteria.kind](criteria, last, now):
        return Ruling(is_due=False, reason=f"{rotated} already, {interval(criteria)} is enough")
    unmet = _unmet(criteria, log, now)
    return Ruling(is_due=not unmet, reason=unmet or f"{rotated}, and is to be {interval(criteria)}")


def _unmet(criteria: Criteria, log: Seen, now: datetime) -> str:
    """The condition that keeps a log back although its time has come, or nothing."""
    if log.size < criteria.minsize:
        return f"it has {format_size(log.size)}, minsize is {format_size(criteria.minsize)}"
    if criteria.minage and not is_older(log.mtime_ns, criteria.minage, now):
        return f"it was changed less than {criteria.minage} days ago (minage)"
    return ""


def _by_size(criteria: Criteria, size: int) -> Ruling | None:
    """What size alone decides: `size` from that many bytes on, `maxsize` beyond them; neither asks for minsize."""
    if criteria.kind == "size" and size >= criteria.size:
        return Ruling(is_due=True, reason=f"it has {format_size(size)}, size is {format_size(criteria.size)}")
    if criteria.maxsize and size > criteria.maxsize:
        return Ruling(is_due=True, reason=f"it has {format_size(size)}, maxsize is {format_size(criteria.maxsize)}")
    if criteria.kind == "size":
        return Ruling(is_due=False, reason=f"it has {format_size(size)}, size is {format_size(criteria.size)}")
    return None


def is_older(mtime_ns: int, days: int, now: datetime) -> bool:
    """Whether a file was last changed more than so many times 24 hours ago; whole seconds count, as in logrotate."""
    return int(now.timestamp()) - mtime_ns // 10**9 > days * SECONDS_A_DAY


def interval(criteria: Criteria) -> str:
    """How often, in words: `daily`, `weekly on Sunday`, `every 15 minutes`."""
    if criteria.kind == "weekly":
        return (
            "every 7 days" if criteria.weekday == EACH_WEEK else f"weekly on {calendar.day_name[criteria.weekday - 1]}"
        )
    if criteria.kind == "monthly" and criteria.monthday is not None:
        return f"monthly on day {criteria.monthday}"
    return f"every {criteria.minutes} minutes" if criteria.kind == "minutes" else criteria.kind


def _week_passed(criteria: Criteria, last: datetime, now: datetime) -> bool:
    """Seven days by the calendar, or the weekday, if that was not the day of the last rotation."""
    passed = (now.date() - last.date()).days
    is_its_day = now.isoweekday() % 7 == criteria.weekday
    return passed >= 7 or (passed >= 1 and is_its_day)


def _month_passed(criteria: Criteria, last: datetime, now: datetime) -> bool:
    """Another month; with a day in it, whether that came since the last rotation, also if no run was on that day."""
    if criteria.monthday is None:
        return (now.year, now.month) != (last.year, last.month)
    day = _latest(criteria.monthday, now.date())
    return last.date() < day


def _latest(monthday: int, today: date) -> date:
    """The last time up to today that a month came to this day, or to its end."""
    month = (today.year, today.month)
    if today.day < min(monthday, calendar.monthrange(*month)[1]):
        month = (today.year - 1, 12) if today.month == 1 else (today.year, today.month - 1)
    return date(*month, min(monthday, calendar.monthrange(*month)[1]))


def _minutes_passed(criteria: Criteria, last: datetime, now: datetime) -> bool:
    return now.timestamp() - last.timestamp() >= criteria.minutes * 60


_INTERVALS: Mapping[Kind, Callable[[Criteria, datetime, datetime], bool]] = {
    "minutes": _minutes_passed,
    "hourly": lambda _, last, now: (now.date(), now.hour) != (last.date(), last.hour),
    "daily": lambda _, last, now: now.date() != last.date(),
    "weekly": _week_passed,
    "monthly": _month_passed,
    "yearly": lambda _, last, now: now.year != last.year,
}
"""Whether the time between two rotations is over; a last one that lies a little ahead counts as another day."""
