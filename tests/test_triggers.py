"""Cron, windows and timetables: when jobs are due."""

import itertools
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintd.cron import Cron
from maintd.timing import Timetable, Timing, Window, spread_offset, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def runs(expression, start, count, zone=UTC):
    """The next `count` runs after `start`, as ISO local times without seconds; with offsets outside UTC."""
    found, after = [], start
    for _ in range(count):
        after = Cron.parse(expression).next(after, zone)
        found.append(after.isoformat(timespec="minutes") if zone is not UTC else f"{after:%Y-%m-%dT%H:%M}")
    return found


# 2026-01-01 is a Thursday. Each row: expression, start (UTC), what crontab(5) says comes next.
CRON_TABLE = [
    ("* * * * *", "2026-01-01T00:00", ["2026-01-01T00:01", "2026-01-01T00:02"]),
    ("*/15 * * * *", "2026-01-01T00:00", ["2026-01-01T00:15", "2026-01-01T00:30"]),
    ("*/40 * * * *", "2026-01-01T00:00", ["2026-01-01T00:40", "2026-01-01T01:00"]),
    ("7-59/20 * * * *", "2026-01-01T00:00", ["2026-01-01T00:07", "2026-01-01T00:27", "2026-01-01T00:47"]),
    ("10-20/5 * * * *", "2026-01-01T00:00", ["2026-01-01T00:10", "2026-01-01T00:15", "2026-01-01T00:20"]),
    ("10-20/5,50 * * * *", "2026-01-01T00:20", ["2026-01-01T00:50", "2026-01-01T01:10"]),
    ("5,35 * * * *", "2026-01-01T00:00", ["2026-01-01T00:05", "2026-01-01T00:35"]),
    ("35,5 * * * *", "2026-01-01T00:00", ["2026-01-01T00:05", "2026-01-01T00:35"]),
    ("0 * * * *", "2026-01-01T00:00", ["2026-01-01T01:00", "2026-01-01T02:00"]),
    ("0 0 * * *", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-03T00:00"]),
    ("59 23 31 12 *", "2026-01-01T00:00", ["2026-12-31T23:59", "2027-12-31T23:59"]),
    ("30 2 * * *", "2026-01-01T02:29", ["2026-01-01T02:30", "2026-01-02T02:30"]),
    ("0 */6 * * *", "2026-01-01T00:00", ["2026-01-01T06:00", "2026-01-01T12:00"]),
    ("0 */5 * * *", "2026-01-01T15:00", ["2026-01-01T20:00", "2026-01-02T00:00"]),
    ("0 9-17 * * *", "2026-01-01T17:00", ["2026-01-02T09:00", "2026-01-02T10:00"]),
    ("0 9-17/4 * * *", "2026-01-01T00:00", ["2026-01-01T09:00", "2026-01-01T13:00", "2026-01-01T17:00"]),
    ("0 22,4 * * *", "2026-01-01T00:00", ["2026-01-01T04:00", "2026-01-01T22:00"]),
    ("0 0 1 * *", "2026-01-01T00:00", ["2026-02-01T00:00", "2026-03-01T00:00"]),
    ("0 0 31 * *", "2026-01-31T00:00", ["2026-03-31T00:00", "2026-05-31T00:00"]),
    ("0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("0 0 29 2 *", "2096-03-01T00:00", ["2104-02-29T00:00"]),
    ("0 0 */10 * *", "2026-01-01T00:00", ["2026-01-11T00:00", "2026-01-21T00:00", "2026-01-31T00:00"]),
    ("0 0 10-12 * *", "2026-01-01T00:00", ["2026-01-10T00:00", "2026-01-11T00:00", "2026-01-12T00:00"]),
    ("0 0 1 */3 *", "2026-01-01T00:00", ["2026-04-01T00:00", "2026-07-01T00:00"]),
    ("0 0 1 jan *", "2026-01-01T00:00", ["2027-01-01T00:00"]),
    ("0 0 1 Mar,SEP *", "2026-01-01T00:00", ["2026-03-01T00:00", "2026-09-01T00:00"]),
    ("0 0 1 oct-dec *", "2026-01-01T00:00", ["2026-10-01T00:00", "2026-11-01T00:00", "2026-12-01T00:00"]),
    ("0 0 1 1-12/6 *", "2026-01-01T00:00", ["2026-07-01T00:00", "2027-01-01T00:00"]),
    # 0 and 7 are Sunday; 1 is Monday (APScheduler's own trigger counts from Monday = 0)
    ("0 0 * * 0", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
    ("0 0 * * 7", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
    ("0 0 * * sun", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
    ("0 0 * * 1", "2026-01-01T00:00", ["2026-01-05T00:00", "2026-01-12T00:00"]),
    ("0 0 * * Mon", "2026-01-01T00:00", ["2026-01-05T00:00", "2026-01-12T00:00"]),
    ("0 0 * * 0,7", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
    ("0 0 * * 5-7", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"]),
    ("0 0 * * 0-2", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-05T00:00", "2026-01-06T00:00"]),
    ("0 0 * * mon-fri", "2026-01-02T00:00", ["2026-01-05T00:00", "2026-01-06T00:00"]),
    ("0 0 * * 1-5/2", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-05T00:00", "2026-01-07T00:00"]),
    ("0 0 * * */2", "2026-01-01T00:00", ["2026-01-03T00:00", "2026-01-04T00:00", "2026-01-06T00:00"]),
    ("0 0 * * tue,THU", "2026-01-01T00:00", ["2026-01-06T00:00", "2026-01-08T00:00"]),
    # both days restricted: either suffices
    ("0 0 13 * 5", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"]),
    ("30 4 1,15 * 5", "2026-01-10T00:00", ["2026-01-15T04:30", "2026-01-16T04:30", "2026-01-23T04:30"]),
    ("0 0 1-3 * sun", "2026-01-02T00:00", ["2026-01-03T00:00", "2026-01-04T00:00", "2026-01-11T00:00"]),
    ("0 0 30 2 1", "2026-02-20T00:00", ["2026-02-23T00:00", "2027-02-01T00:00"]),
    ("0 0 1-31 * 1", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-03T00:00"]),
    # one of them begins with a star: both must match (Debian's cron and cronie, DOM_STAR and DOW_STAR)
    ("0 0 */2 * 1", "2026-01-01T00:00", ["2026-01-05T00:00", "2026-01-19T00:00", "2026-02-09T00:00"]),
    ("0 0 1-7 * */7", "2026-01-05T00:00", ["2026-02-01T00:00", "2026-03-01T00:00", "2026-04-05T00:00"]),
    ("0 0 13 * */5", "2026-01-01T00:00", ["2026-02-13T00:00", "2026-03-13T00:00", "2026-09-13T00:00"]),
    ("@hourly", "2026-01-01T00:30", ["2026-01-01T01:00", "2026-01-01T02:00"]),
    ("@daily", "2026-01-01T00:00", ["2026-01-02T00:00"]),
    ("@midnight", "2026-01-01T00:00", ["2026-01-02T00:00"]),
    ("@weekly", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
    ("@monthly", "2026-01-01T00:00", ["2026-02-01T00:00"]),
    ("@yearly", "2026-01-01T00:00", ["2027-01-01T00:00"]),
    ("@Annually", "2026-01-01T00:00", ["2027-01-01T00:00"]),
    ("  0   0\t* * * ", "2026-01-01T00:00", ["2026-01-02T00:00"]),
]


@pytest.mark.parametrize(("expression", "start", "expected"), CRON_TABLE)
def test_cron_has_crons_own_meaning(expression, start, expected):
    """Each form of crontab(5) comes when cron would run it."""
    assert runs(expression, at(start), len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "fragments"),
    [
        ("61 * * * *", ["minute", "'61'", "0 to 59"]),
        ("* 24 * * *", ["hour", "'24'", "0 to 23"]),
        ("* * 0 * *", ["day of month", "'0'", "1 to 31"]),
        ("* * * 13 *", ["month", "'13'", "jan to dec"]),
        ("* * * * 8", ["day of week", "'8'", "0 to 7", "sun to sat"]),
        ("* * * * Funday", ["day of week", "'Funday'"]),
        ("x * * * *", ["minute", "'x'"]),
        ("1,,2 * * * *", ["minute", "''"]),
        ("-5 * * * *", ["minute"]),
        ("5- * * * *", ["minute", "5-"]),
        ("٣ * * * *", ["minute"]),
        ("* 5-2 * * *", ["hour", "5-2", "upwards"]),
        ("* * * * fri-mon", ["day of week", "fri-mon"]),
        ("*/0 * * * *", ["minute", "*/0", "from 1 on"]),
        ("*/x * * * *", ["minute", "*/x"]),
        ("*/2/2 * * * *", ["minute", "*/2/2"]),
        ("5/15 * * * *", ["minute", "5-59/15"]),
        ("*/90 * * * *", ["minute", "*/90", "0-59"]),
        ("0 0 L * *", ["day of month", "'L'"]),
        ("0 0 * * 1#2", ["day of week", "'1#2'"]),
        ("0 0 * * 5L", ["day of week", "'5L'"]),
        ("* * * *", ["4 fields", "day of week"]),
        ("", ["0 fields"]),
        ("0 * * * * *", ["6 fields", "no seconds", 'every = "30s"']),
        ("@reboot", ["@reboot", "not a time"]),
        ("@REBOOT", ["not a time"]),
        ("@fortnightly", ["@fortnightly", "@weekly"]),
        ("0 0 30 2 *", ["never comes"]),
        ("0 0 31 apr,jun */2", ["never comes"]),
    ],
)
def test_a_bad_expression_is_refused_in_words(expression, fragments):
    """A refusal quotes the expression and names the field, the value and what is allowed."""
    with pytest.raises(ValueError) as refusal:
        Cron.parse(expression)
    for fragment in [repr(expression), *fragments]:
        assert fragment in str(refusal.value)


def test_cron_is_a_value():
    """Expressions are equal and print by their text, and say themselves in words."""
    assert Cron.parse("@daily") == Cron.parse("@daily") != Cron.parse("0 0 * * *")
    assert len({Cron.parse("@daily"), Cron.parse("@daily")}) == 1
    assert str(Cron.parse("30 2 * * mon-fri")) == "30 2 * * mon-fri"
    assert Cron.parse("@daily").words == "At 00:00 every day"
    assert Cron.parse("30 2 * * mon-fri").words == "At 02:30 on Monday through Friday"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 1 * mon", "At 00:00 on the first day of every month, or on Monday"),
        (
            "0 0 1-7 jan 1,3",
            "At 00:00 on every day of month from 1 through 7 in January, or on Monday and Wednesday in January",
        ),
        ("0 0 1 * 0-7", "At 00:00 every day"),
        ("0 0 */2 * mon", "At 00:00 on every second day of month if it's on Monday"),
        ("0 0 21 * *", "At 00:00 on the 21st day of every month"),
        ("0 0 12 * *", "At 00:00 on the 12th day of every month"),
    ],
)
def test_words_say_whether_either_day_suffices_or_both_must_match(expression, words):
    """Where cron takes day of month or day of week, the words say `or`, and what each of them means."""
    assert Cron.parse(expression).words == words


# The clocks of Berlin go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
DST_TABLE = [
    # spring: a time of day within the gap comes right after it, once
    ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
    ("0 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0,30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 2,3 * * *", "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("30 3 * * *", "2026-03-28T12:00", ["2026-03-29T03:30+02:00"]),
    # … and with a star in minute or hour what is left out is left out
    ("0 * * * *", "2026-03-29T00:30", ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]),
    ("30 */2 * * *", "2026-03-29T00:00", ["2026-03-29T00:30+01:00", "2026-03-29T04:30+02:00"]),
    ("*/30 2 * * *", "2026-03-28T12:00", ["2026-03-30T02:00+02:00", "2026-03-30T02:30+02:00"]),
    ("*/30 * * * *", "2026-03-29T01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
    # autumn: a time of day that comes twice is taken the first time
    ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ("0 3 * * *", "2026-10-24T12:00", ["2026-10-25T03:00+01:00", "2026-10-26T03:00+01:00"]),
    (
        "30 1-3 * * *",
        "2026-10-25T00:00",
        ["2026-10-25T01:30+02:00", "2026-10-25T02:30+02:00", "2026-10-25T03:30+01:00"],
    ),
    # … and with a star in minute or hour both times
    ("0 * * * *", "2026-10-25T01:30", ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
    ("30 */2 * * *", "2026-10-25T01:30", ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]),
]


@pytest.mark.parametrize(("expression", "start", "expected"), DST_TABLE)
def test_both_days_on_which_the_clocks_change(expression, start, expected):
    """A time of day is run exactly once on both days; an expression with a leading star goes with the clock."""
    assert runs(expression, at(start, BERLIN), len(expected), BERLIN) == expected


def test_in_the_repeated_hour_the_first_run_stays_the_last():
    """Asked in the second pass of the hour, the next run is tomorrow's and the last is today's first."""
    night = Cron.parse("45 2 * * *")
    within_second = at("2026-10-25T02:30", BERLIN).replace(fold=1)
    assert night.next(within_second, BERLIN).isoformat() == "2026-10-26T02:45:00+01:00"
    assert night.previous(within_second, BERLIN).isoformat() == "2026-10-25T02:45:00+02:00"


def test_previous_includes_its_own_moment():
    """`previous` answers with a time at or before the one asked about, to the microsecond."""
    noon = Cron.parse("0 12 * * *")
    assert noon.previous(at("2026-01-02T12:00"), UTC) == at("2026-01-02T12:00")
    assert noon.previous(at("2026-01-02T12:00:00.000001"), UTC) == at("2026-01-02T12:00")
    assert noon.previous(at("2026-01-02T11:59:59.999999"), UTC) == at("2026-01-01T12:00")
    assert noon.next(at("2026-01-02T12:00"), UTC) == at("2026-01-03T12:00")
    assert noon.next(at("2026-01-02T11:59:59.999999"), UTC) == at("2026-01-02T12:00")


def field(low, high):
    number = st.integers(low, high)
    span = st.tuples(number, number).map(sorted)
    stepped = span.filter(lambda ends: ends[1] > ends[0]).flatmap(
        lambda ends: st.integers(1, ends[1] - ends[0]).map(lambda step: f"{ends[0]}-{ends[1]}/{step}")
    )
    term = st.one_of(number.map(str), span.map(lambda ends: f"{ends[0]}-{ends[1]}"), stepped)
    star = st.one_of(st.just("*"), st.integers(1, high - low).map(lambda step: f"*/{step}"))
    return st.one_of(star, st.lists(term, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


def values(text, low, high):
    found = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, last = (low, high) if span == "*" else (int(end) for end in [*span.split("-"), *span.split("-")][:2])
        if "-" not in span and span != "*":
            last = first
        found.update(range(first, last + 1, int(step or 1)))
    return found


def matches(expression, moment):
    """Whether cron would run `expression` in this minute: written from crontab(5), with nothing of maintd."""
    minute, hour, day, month, weekday = expression.split()
    on_day = moment.day in values(day, 1, 31)
    on_weekday = moment.isoweekday() % 7 in {number % 7 for number in values(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")
    return (
        moment.minute in values(minute, 0, 59)
        and moment.hour in values(hour, 0, 23)
        and moment.month in values(month, 1, 12)
        and ((on_day and on_weekday) if both else (on_day or on_weekday))
    )


def parsed(expression):
    """The Cron, or None for the only fault that EXPRESSIONS can have."""
    with suppress(ValueError):
        return Cron.parse(expression)
    with pytest.raises(ValueError, match="never comes"):
        Cron.parse(expression)
    return None


@given(EXPRESSIONS, MOMENTS)
@settings(deadline=None, max_examples=90)
def test_runs_increase_and_match_minute_by_minute(expression, moment):
    """Each run is later than the one before, matches its expression, and no minute that matches lies between."""
    cron = parsed(expression)
    after = moment
    for _ in range(4 if cron else 0):
        run = cron.next(after, UTC)
        assert run > after
        assert matches(expression, run)
        assert cron.previous(run, UTC) == run
        assert cron.previous(run - timedelta(microseconds=1), UTC) <= after
        first = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        between = min(run - first, timedelta(days=1)) // timedelta(minutes=1)
        assert not any(matches(expression, first + timedelta(minutes=n)) for n in range(between))
        after = run


@given(EXPRESSIONS, st.sampled_from(["2026-03-28T22:00", "2026-10-24T22:00"]), st.integers(0, 8 * 3600))
@settings(deadline=None, max_examples=90)
def test_next_and_previous_agree_when_the_clocks_change(expression, evening, seconds):
    """On both days of Berlin, from any second of the night, no run lies between the last and the next."""
    cron = parsed(expression)
    if cron is None:
        return
    moment = at(evening) + timedelta(seconds=seconds)
    run, before = cron.next(moment, BERLIN).astimezone(UTC), cron.previous(moment, BERLIN).astimezone(UTC)
    assert before <= moment < run
    assert cron.next(before, BERLIN).astimezone(UTC) == run
    assert cron.previous(run, BERLIN).astimezone(UTC) == run


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("02:00-05:00", ["2026-01-01T02:00", "2026-01-01T04:59:59"], ["2026-01-01T01:59", "2026-01-01T05:00"]),
        ("2:30 - 5:00", ["2026-01-01T02:30"], ["2026-01-01T02:29"]),
        ("00:00-24:00", ["2026-01-01T00:00", "2026-01-01T23:59:59"], []),
        ("22:00-24:00", ["2026-01-01T23:59"], ["2026-01-02T00:00"]),
        ("22:00-04:00", ["2026-01-01T22:00", "2026-01-01T03:59"], ["2026-01-01T04:00", "2026-01-01T21:59"]),
        ("sat,sun 02:00-05:00", ["2026-01-03T02:00", "2026-01-04T02:00"], ["2026-01-02T02:00", "2026-01-05T02:00"]),
        ("mon-fri 01:00-05:00", ["2026-01-05T01:00", "2026-01-09T01:00"], ["2026-01-03T01:00", "2026-01-04T01:00"]),
        ("fri-mon 01:00-05:00", ["2026-01-02T01:00", "2026-01-05T01:00"], ["2026-01-01T01:00", "2026-01-06T01:00"]),
        ("FRI 22:00-04:00", ["2026-01-02T22:00", "2026-01-03T03:59"], ["2026-01-02T03:00", "2026-01-03T22:00"]),
    ],
)
def test_a_window_holds_its_hours(text, inside, outside):
    """A window takes its start and leaves its end; past midnight it belongs to the day on which it began."""
    window = Window.parse(text)
    assert str(window) == text
    assert all(window.contains(at(moment)) for moment in inside)
    assert not any(window.contains(at(moment)) for moment in outside)


@pytest.mark.parametrize(
    "text", ["", "02:00", "2-5", "02:00-25:00", "02:60-03:00", "24:30-25:00", "02:00-02:00", "xx 02:00-05:00",
             "mon- 02:00-05:00", "mon,,tue 02:00-05:00", "00:00-00:00"]
)  # fmt: skip
def test_a_bad_window_is_refused_in_words(text):
    """A refusal quotes the window and shows the forms that are accepted."""
    with pytest.raises(ValueError) as refusal:
        Window.parse(text)
    assert repr(text) in str(refusal.value)
    assert "02:00-05:00" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "after", "opening"),
    [
        ("02:00-05:00", "2026-01-01T03:00", "2026-01-01T03:00:00+01:00"),
        ("02:00-05:00", "2026-01-01T05:00", "2026-01-02T02:00:00+01:00"),
        ("sat 02:00-05:00", "2026-01-03T06:00", "2026-01-10T02:00:00+01:00"),
        ("24:00-02:00", "2026-01-01T12:00", "2026-01-02T00:00:00+01:00"),
        # the gap of spring: what is left of the window opens after it, and one wholly within it not on that day
        ("02:30-05:00", "2026-03-29T00:00", "2026-03-29T03:00:00+02:00"),
        ("02:00-03:00", "2026-03-29T00:00", "2026-03-30T02:00:00+02:00"),
        ("02:00-02:30", "2026-10-25T00:00", "2026-10-25T02:00:00+02:00"),
        ("02:00-02:30", "2026-10-25T02:45", "2026-10-25T02:00:00+01:00"),
    ],
)
def test_a_window_opens_next(text, after, opening):
    """Inside a window a run may start now, outside it waits for the next opening, also when the clocks change."""
    assert Window.parse(text).opening(at(after, BERLIN)).isoformat() == opening


@given(
    st.tuples(st.integers(0, 1439), st.integers(0, 1439)).filter(lambda ends: ends[0] != ends[1]),
    st.sets(st.sampled_from(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])),
    MOMENTS,
)
@settings(deadline=None, max_examples=60)
def test_nothing_opens_before_the_opening(ends, days, moment):
    """No minute between the moment asked about and the opening lies in the window."""
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in ends)
    window = Window.parse(f"{','.join(sorted(days))} {start}-{end}")
    opening = window.opening(moment)
    assert window.contains(opening)
    minutes = (opening - moment) // timedelta(minutes=1)
    assert not any(window.contains(moment + timedelta(minutes=n)) for n in range(0, minutes, 7))


def test_the_spread_is_a_fixed_share():
    """A host and job always get the same share, less than the whole, and different ones differ."""
    hour = spread_offset(HOUR, "web1", "rotate.services")
    assert hour == timedelta(seconds=2339, microseconds=504715)  # sha256: the same in every version and process
    assert spread_offset(HOUR * 2, "web1", "rotate.services") // 2 == hour
    shares = [spread_offset(HOUR, f"web{n}", "rotate.services") for n in range(200)]
    assert len(set(shares)) == 200
    assert all(timedelta() <= share < HOUR for share in shares)
    assert max(shares) - min(shares) > 0.9 * HOUR
    assert spread_offset(timedelta(microseconds=1), "web1", "rotate.services") == timedelta()


def test_upcoming_runs_are_those_of_cron_in_the_zone_of_now():
    """`upcoming` lists the next three runs of a cron job by the local clock."""
    now = at("2026-10-24T12:00", BERLIN)
    found = upcoming(Timing(cron=Cron.parse("30 2 * * *")), now, host="web1", job="rotate.services")
    assert [run.isoformat() for run in found] == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
        "2026-10-27T02:30:00+01:00",
    ]


def test_upcoming_runs_of_both_triggers_are_merged():
    """With cron and every, both count, in the order of time; with neither there is nothing to come."""
    now = at("2026-01-01T00:00")
    both = Timing(cron=Cron.parse("0 1 * * *"), every=timedelta(minutes=45))
    found = upcoming(both, now, host="web1", job="a", count=4)
    assert [f"{run:%H:%M}" for run in found] == ["00:45", "01:00", "01:30", "02:15"]
    assert upcoming(Timing(), now, host="web1", job="a") == []


def test_upcoming_runs_are_delayed_by_the_share():
    """The share of spread is added to each run of cron, and once to the phase of an interval."""
    now, share = at("2026-01-01T00:00"), spread_offset(HOUR, "web1", "a")
    cron = upcoming(Timing(cron=Cron.parse("@daily"), spread=HOUR), now, host="web1", job="a")
    assert cron[1:] == [at("2026-01-02T00:00") + share, at("2026-01-03T00:00") + share]
    assert cron[0] == now + share  # midnight is past, its delayed run is not
    every = upcoming(Timing(every=6 * HOUR, spread=HOUR), now, host="web1", job="a")
    assert every == [now + 6 * HOUR + share, now + 12 * HOUR + share, now + 18 * HOUR + share]


def test_runs_outside_the_window_wait_for_it_and_are_one():
    """Of the slots that fall outside the window one run remains, when it opens, for the last of them."""
    timing = Timing(cron=Cron.parse("0 */2 * * *"), window=Window.parse("03:00-05:00"))
    table = Timetable.of(timing, at("2026-01-01T12:00"), host="web1", job="a")
    starts = list(itertools.islice(iterate(table, at("2026-01-01T12:00")), 4))
    assert [f"{start:%dT%H:%M}" for start in starts] == ["02T03:00", "02T04:00", "03T03:00", "03T04:00"]
    assert table.slot(starts[0]) == at("2026-01-02T02:00")
    assert table.slot(starts[1]) == at("2026-01-02T04:00")


def iterate(table, after):
    while after := table.next(after):
        yield after


def test_intervals_count_from_the_last_success():
    """The next run of an interval is one interval after the last success, spread or not, and then in step."""
    now, last = at("2026-01-01T12:00"), at("2026-01-01T10:30")
    for spread in (None, HOUR):
        timing = Timing(every=2 * HOUR, spread=spread)
        table = Timetable.of(timing, now, host="web1", job="a", last_success=last)
        assert list(itertools.islice(iterate(table, now), 2)) == [at("2026-01-01T12:30"), at("2026-01-01T14:30")]
    future = Timetable.of(Timing(every=HOUR), now, host="web1", job="a", last_success=now + 1000 * HOUR)
    assert future.next(now) == now + HOUR


def test_a_missed_run_is_seen():
    """A slot between the last run and now was missed, unless its share of spread is still to come."""
    now, daily = at("2026-01-02T00:10"), Cron.parse("@daily")
    table = Timetable.of(Timing(cron=daily), now, host="web1", job="a")
    assert table.missed(at("2026-01-01T00:00:05"), now)
    assert not table.missed(at("2026-01-02T00:00:05"), now)
    spread = Timetable.of(Timing(cron=daily, spread=100 * HOUR), now, host="web1", job="a")
    assert spread.delay > HOUR
    assert not spread.missed(at("2026-01-02T00:00") - 24 * HOUR + spread.delay, now)


def test_the_module_is_light():
    """Reading triggers loads neither apscheduler nor pydantic, for `check` must start fast."""
    code = "import sys, maintd.timing; print(*sorted({'apscheduler', 'pydantic', 'logging'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
