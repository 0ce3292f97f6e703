"""What is due: each rule of logrotate(8) at its edges, and as the installed logrotate rules."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintd.logrotate import status
from maintd.logrotate.due import first_sight, rule
from maintd.logrotate.stanza import Criteria, Options
from maintd.steps import Seen

from .clocked import Original, needed, stanza

NOW = datetime(2026, 11, 24, 10, 30, 15)  # a Tuesday
DAY = 86400
SIZE = 100
LONG_AGO = "2026-11-01 01:00:00"
TODAY = "2026-11-24 01:00:00"

# criteria, last rotation, now, whether it is due
TIMES = [
    (Criteria(kind="hourly"), "2026-11-24 11:59:59", "2026-11-24 12:00:00", True),
    (Criteria(kind="hourly"), "2026-11-24 12:00:00", "2026-11-24 12:59:59", False),
    (Criteria(kind="hourly"), "2026-11-23 12:00:00", "2026-11-24 12:00:00", True),
    (Criteria(kind="daily"), "2026-11-23 23:59:59", "2026-11-24 00:00:00", True),
    (Criteria(kind="daily"), "2026-11-24 00:00:00", "2026-11-24 23:59:59", False),
    (Criteria(kind="daily"), "2025-11-24 12:00:00", "2026-11-24 12:00:00", True),
    (Criteria(kind="weekly"), "2026-11-21 23:00:00", "2026-11-22 00:00:00", True),
    (Criteria(kind="weekly"), "2026-11-22 00:00:00", "2026-11-22 23:59:59", False),
    (Criteria(kind="weekly"), "2026-11-20 00:00:00", "2026-11-23 00:00:00", False),
    (Criteria(kind="weekly"), "2026-11-16 23:00:00", "2026-11-23 01:00:00", True),
    (Criteria(kind="weekly", weekday=1), "2026-11-17 23:00:00", "2026-11-23 01:00:00", True),
    (Criteria(kind="weekly", weekday=7), "2026-11-17 00:00:00", "2026-11-23 23:59:59", False),
    (Criteria(kind="weekly", weekday=7), "2026-11-17 23:59:59", "2026-11-24 00:00:00", True),
    (Criteria(kind="weekly", weekday=2), "2026-11-25 09:00:00", "2026-11-24 10:00:00", False),
    (Criteria(kind="monthly"), "2026-10-31 23:59:59", "2026-11-01 00:00:00", True),
    (Criteria(kind="monthly"), "2026-11-01 00:00:00", "2026-11-30 23:59:59", False),
    (Criteria(kind="monthly"), "2025-11-01 00:00:00", "2026-11-01 00:00:00", True),
    (Criteria(kind="yearly"), "2025-12-31 23:59:59", "2026-01-01 00:00:00", True),
    (Criteria(kind="yearly"), "2026-01-01 00:00:00", "2026-12-31 23:59:59", False),
    # a state in the future: a little is another zone, more than 25 hours an error that is put right
    (Criteria(kind="daily"), "2026-11-24 12:00:01", "2026-11-24 12:00:00", False),
    (Criteria(kind="daily"), "2026-11-25 01:00:00", "2026-11-24 12:00:00", True),
    (Criteria(kind="yearly"), "2026-11-25 13:00:00", "2026-11-24 12:00:00", False),
    (Criteria(kind="yearly"), "2026-11-25 13:00:01", "2026-11-24 12:00:00", True),
    (Criteria(kind="hourly"), "2026-11-24 13:00:00", "2026-11-24 12:59:59", True),
    # a day that is none: logrotate reads 31 February as 3 March
    (Criteria(kind="daily"), "2026-2-31", "2026-03-03 10:00:00", False),
]

# criteria, last rotation, size, age in seconds, whether it is due
CONDITIONS = [
    (Criteria(), LONG_AGO, SIZE, 0, False),
    (Criteria(size=SIZE), TODAY, SIZE, 0, True),
    (Criteria(size=SIZE + 1), LONG_AGO, SIZE, 0, False),
    (Criteria(size=0), TODAY, 0, 0, True),
    (Criteria(size=SIZE, minsize=SIZE + 1, minage=9), TODAY, SIZE, 0, True),
    (Criteria(size=SIZE + 1, maxsize=SIZE - 1), TODAY, SIZE, 0, True),
    (Criteria(size=SIZE), "2030-01-01 00:00:00", SIZE, 0, True),
    (Criteria(kind="daily", maxsize=SIZE), TODAY, SIZE, 0, False),
    (Criteria(kind="daily", maxsize=SIZE - 1), TODAY, SIZE, 0, True),
    (Criteria(kind="daily", maxsize=SIZE - 1, minsize=SIZE + 1, minage=9), TODAY, SIZE, 0, True),
    (Criteria(kind="daily", minsize=SIZE), LONG_AGO, SIZE, 0, True),
    (Criteria(kind="daily", minsize=SIZE + 1), LONG_AGO, SIZE, 0, False),
    (Criteria(kind="daily", minsize=SIZE - 1), TODAY, SIZE, 0, False),
    (Criteria(kind="daily", minage=1), LONG_AGO, SIZE, DAY, False),
    (Criteria(kind="daily", minage=1), LONG_AGO, SIZE, DAY + 1, True),
    (Criteria(kind="daily", minage=1), LONG_AGO, SIZE, -DAY, False),
    (Criteria(kind="daily", minsize=SIZE + 1, minage=9), "2030-01-01 00:00:00", SIZE, 0, True),
    (Criteria(kind="daily"), None, SIZE, 0, False),
    (Criteria(kind="hourly"), None, SIZE, 0, False),
    (Criteria(size=SIZE), None, SIZE, 0, True),
    (Criteria(kind="daily", maxsize=SIZE - 1), None, SIZE, 0, True),
]


def moment(text: str | None) -> datetime | None:
    return status._time(text.replace(" ", "-")) if text else None


def seen(size: int = SIZE, age: float = 0, now: datetime = NOW) -> Seen:
    mtime = int((now.timestamp() - age) * 10**9)
    return Seen("/x.log", 1, 1, size, mtime, 0, 0o644, 0, 0)


def utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC)


def originally(folder: Path, options: Options, log: Seen, last: datetime | None, *, oracle: Original, forced=False):
    """What logrotate -d says of such a log: whether it needs rotating, and whether its state is in the future."""
    path = folder / "x.log"
    path.write_bytes(b"x" * log.size)
    os.utime(path, ns=(log.mtime_ns, log.mtime_ns))
    (folder / "s").unlink(missing_ok=True)
    if last is not None:
        oracle.state(status.render({str(path): last}))
    done = oracle.run(stanza(path, options), "-d", *(["-f"] if forced else []))
    assert ("log needs rotating" in done.stderr) != ("log does not need rotating" in done.stderr), done.stderr
    return "log needs rotating" in done.stderr, "in the future" in done.stderr


@pytest.mark.parametrize(("criteria", "last", "now", "is_due"), TIMES)
def test_time(criteria, last, now, is_due):
    """Days, weeks and months are those of the calendar; what is more than 25 hours ahead is put right by rotating."""
    now = moment(now)
    ruling = rule(Options(criteria=criteria), seen(now=now), moment(last), now)
    assert (ruling.is_due, bool(ruling.reason)) == (is_due, True)


@needed
@pytest.mark.parametrize(("criteria", "last", "now", "is_due"), TIMES)
def test_time_originally(tmp_path, criteria, last, now, is_due):
    """The table of times is what logrotate itself says."""
    now = moment(now)
    options = Options(criteria=criteria)
    log = seen(now=utc(now))
    assert originally(tmp_path, options, log, moment(last), oracle=Original(tmp_path, now))[0] == is_due


@pytest.mark.parametrize(("criteria", "last", "size", "age", "is_due"), CONDITIONS)
def test_size_and_age(criteria, last, size, age, is_due):
    """size and maxsize are enough alone, also for a log not seen before; minsize and minage only add to a time."""
    ruling = rule(Options(criteria=criteria), seen(size, age), moment(last), NOW)
    assert (ruling.is_due, bool(ruling.reason)) == (is_due, True)


@needed
@pytest.mark.parametrize("case", CONDITIONS)
def test_size_and_age_originally(tmp_path, case):
    """The table of sizes and ages is what logrotate itself says."""
    criteria, last, size, age, is_due = case
    log = seen(size, age, utc(NOW))
    said = originally(tmp_path, Options(criteria=criteria), log, moment(last), oracle=Original(tmp_path, NOW))
    assert said[0] == is_due


@pytest.mark.parametrize("forced", [False, True])
def test_an_empty_log_stays_with_notifempty(forced):
    """notifempty holds whatever makes a log due, even --force; ifempty is the default."""
    criteria = Criteria(size=0)
    assert rule(Options(criteria=criteria), seen(0), None, NOW, forced=forced).is_due
    ruling = rule(Options(criteria=criteria, ifempty=False), seen(0), None, NOW, forced=forced)
    assert (ruling.is_due, ruling.reason) == (False, "it is empty (notifempty)")


def test_forced():
    """--force rotates what is not due by any criterion, and at first sight too."""
    options = Options(criteria=Criteria(kind="yearly", minsize=10**9, minage=99))
    assert not rule(options, seen(), moment(TODAY), NOW).is_due
    assert rule(options, seen(), moment(TODAY), NOW, forced=True).is_due
    assert rule(options, seen(), None, NOW, forced=True).is_due


def test_a_state_in_the_future_is_told():
    """Who has a clock or a state file that is wrong is warned, in logrotate's words."""
    ruling = rule(Options(criteria=Criteria(kind="daily")), seen(), datetime(2030, 1, 1), NOW)
    assert ruling.warning == "log /x.log last rotated in the future -- rotation forced"
    assert rule(Options(criteria=Criteria(kind="daily")), seen(), NOW, NOW).warning == ""


def test_reasons():
    """Every ruling says in a sentence on which figures it rests."""
    daily = Options(criteria=Criteria(kind="daily", minsize=2048, maxsize=10240))
    assert (
        rule(daily, seen(), moment(TODAY), NOW).reason == "it was rotated on 2026-11-24 01:00 already, daily is enough"
    )
    assert rule(daily, seen(), moment(LONG_AGO), NOW).reason == "it has 100 B, minsize is 2.0 KiB"
    assert (
        rule(daily, seen(4096), moment(LONG_AGO), NOW).reason
        == "it was rotated on 2026-11-01 01:00, and is to be daily"
    )
    assert rule(daily, seen(20480), moment(TODAY), NOW).reason == "it has 20.0 KiB, maxsize is 10.0 KiB"
    weekly = Options(criteria=Criteria(kind="weekly"))
    assert rule(weekly, seen(), moment(TODAY), NOW).reason.endswith("already, weekly on Sunday is enough")


@needed
def test_first_sight_is_recorded_as_the_hour(tmp_path):
    """A log that is new to the state file is not rotated but entered with the hour that has begun, as by logrotate."""
    (tmp_path / "x.log").write_text("x")
    oracle = Original(tmp_path, NOW)
    oracle.run(stanza(tmp_path / "x.log", Options(criteria=Criteria(kind="daily"))))
    entries = status.read(str(tmp_path / "s")).entries
    assert entries == {str(tmp_path / "x.log"): first_sight(NOW)}


@pytest.mark.parametrize(
    ("last", "now", "is_due"),
    [
        ("2026-11-24 10:00:00", "2026-11-24 10:14:59", False),
        ("2026-11-24 10:00:00", "2026-11-24 10:15:00", True),
        ("2026-11-24 10:20:00", "2026-11-24 10:15:00", False),
        (None, "2026-11-24 10:59:00", False),
    ],
)
def test_minutes(last, now, is_due):
    """`minutes 15` (newer than 3.22) is due when that many have passed since the last rotation, to the second."""
    options = Options(criteria=Criteria(kind="minutes", minutes=15))
    assert rule(options, seen(), moment(last), moment(now)).is_due == is_due


@pytest.mark.parametrize(
    ("monthday", "last", "now", "is_due"),
    [
        (15, "2026-11-01 00:00:00", "2026-11-14 23:59:59", False),
        (15, "2026-11-01 00:00:00", "2026-11-15 00:00:00", True),
        (15, "2026-11-01 00:00:00", "2026-11-18 00:00:00", True),
        (15, "2026-11-15 00:00:00", "2026-12-14 00:00:00", False),
        (15, "2026-11-14 00:00:00", "2026-12-01 00:00:00", True),
        (15, "2025-12-14 00:00:00", "2026-01-03 00:00:00", True),
        (15, "2025-12-16 00:00:00", "2026-01-03 00:00:00", False),
        (31, "2026-02-01 00:00:00", "2026-02-27 23:00:00", False),
        (31, "2026-02-01 00:00:00", "2026-02-28 00:00:00", True),
        (31, "2026-02-28 00:00:00", "2026-03-30 00:00:00", False),
    ],
)
def test_a_day_of_the_month(monthday, last, now, is_due):
    """`monthly 15` is due from the 15th on, or the end of a shorter month, also if nothing ran on that day."""
    options = Options(criteria=Criteria(kind="monthly", monthday=monthday))
    assert rule(options, seen(), moment(last), moment(now)).is_due == is_due


@needed
def test_a_week_has_seven_days_also_in_spring(tmp_path):
    """The man page counts days and ignores the time; logrotate 3.21 loses one where a day of 23 hours lies between."""
    options = Options(criteria=Criteria(kind="weekly", weekday=7))
    last, now = datetime(2026, 3, 23, 1), datetime(2026, 3, 30, 0, 30)
    oracle = Original(tmp_path, now, "Europe/Berlin")
    assert originally(tmp_path, options, seen(), last, oracle=oracle) == (False, False)
    assert rule(options, seen(), last, oracle.local(now)).is_due


criteria_of = st.builds(
    Criteria,
    kind=st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly", "size"]),
    weekday=st.integers(0, 7),
    size=st.integers(0, 6),
    minsize=st.integers(0, 6),
    maxsize=st.integers(0, 6),
    minage=st.integers(0, 2),
)
"""Everything that 3.21 knows, with numbers small enough to meet each other."""
since = st.one_of(
    st.integers(-26 * 3600, 26 * 3600), st.integers(-40, 800).map(lambda days: days * DAY), st.integers(-DAY, 9 * DAY)
)


@needed
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    criteria=criteria_of,
    now=st.datetimes(datetime(2020, 1, 1), datetime(2036, 1, 1)),
    since=st.none() | since,
    log=st.tuples(st.integers(0, 6), st.integers(-2, 3 * DAY + 2)),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_rules_as_logrotate_does(tmp_path, criteria, now, since, *, log, flags):
    """Whatever the criteria, the state, the log and the time of day: maintd rules as logrotate -d says."""
    now = now.replace(microsecond=0)
    forced, ifempty = flags
    last = None if since is None else now - timedelta(seconds=since)
    log, options = seen(*log, utc(now)), Options(criteria=criteria, ifempty=ifempty)
    said = originally(tmp_path, options, log, last, oracle=Original(tmp_path, now), forced=forced)
    ruling = rule(options, log, last and utc(last), utc(now), forced=forced)
    assert (ruling.is_due, bool(ruling.warning)) == said


@needed
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    criteria=criteria_of.filter(lambda criteria: criteria.kind != "weekly"),
    now=st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 31))
    | st.datetimes(datetime(2026, 10, 24, 2), datetime(2026, 10, 27)),
    since=st.integers(-27 * 3600, 27 * 3600),
)
def test_rules_as_logrotate_does_when_clocks_change(tmp_path, criteria, now, since):
    """On the days on which summer time begins or ends, too."""
    zone = ZoneInfo("Europe/Berlin")
    instant = now.replace(microsecond=0, tzinfo=UTC)
    now, last = instant.astimezone(zone), (instant - timedelta(seconds=since)).astimezone(zone)
    log, options = seen(3, 0, now), Options(criteria=replace(criteria, minage=0))
    naive = last.replace(tzinfo=None, fold=0)  # what the state file says, which does not know of fold
    if now.fold:
        return  # faketime cannot be told the second of two equal hours
    oracle = Original(tmp_path, now.replace(tzinfo=None), "Europe/Berlin")
    said = originally(tmp_path, options, log, naive, oracle=oracle)
    ruling = rule(options, log, naive.replace(tzinfo=zone), now)
    assert (ruling.is_due, bool(ruling.warning)) == said
