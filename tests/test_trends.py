"""How fast something grows: what a few days tell, what odd days do to it, and silence where nothing is known."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from maintd.trends import LEAST_DAYS, Sample, trend

START = datetime(2026, 3, 1, tzinfo=UTC)
MIB = 1 << 20


def samples(days: int, size, *, every: int = 6) -> list[Sample]:
    """Samples every so many hours; `size` is asked with the days that have passed and the hour."""
    moments = [START + timedelta(hours=hours) for hours in range(0, 24 * days, every)]
    return [Sample(at, "/", int(size((at - START) / timedelta(days=1), at.hour))) for at in moments]


def test_steady_growth_is_told_with_when_it_ends():
    """100 MiB a day into 1000 MiB of room: ten days, with bounds around it."""
    found = trend(samples(10, lambda day, _: day * 100 * MIB))
    assert found.per_day == pytest.approx(100 * MIB, rel=0.01)
    likely, earliest, latest = found.days_until(1000 * MIB)
    assert earliest <= likely <= latest
    assert likely == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("growth", [0, 100 * MIB])
def test_what_comes_and_goes_every_night_is_no_growth(growth: int):
    """A backup that takes 50 GiB for some hours each night changes neither the slope nor what is said."""
    quiet = trend(samples(12, lambda day, _: day * growth))
    nightly = trend(samples(12, lambda day, hour: day * growth + (50_000 * MIB if hour == 0 else 0)))
    assert nightly.per_day == pytest.approx(quiet.per_day, abs=growth / 10 + 1)
    assert nightly.is_growing == quiet.is_growing == bool(growth)


def test_a_burst_of_one_day_is_no_trend():
    """One crash loop of 20 GiB on one day of ten, cleaned up or not, brings no date on which the disk is full."""
    cleaned = trend(samples(10, lambda day, _: 20_000 * MIB if 5 <= day < 6 else MIB))
    left = trend(samples(10, lambda day, _: 20_000 * MIB if day >= 9 else MIB))
    assert cleaned.days_until(MIB) is None
    assert left.days_until(MIB) is None


def test_noise_widens_the_bounds_until_nothing_is_said():
    """Growth that is lost in what goes up and down has no date; clear growth in noise has one with wide bounds."""
    rng = random.Random(1)
    lost = trend(samples(14, lambda day, _: 1000 * MIB + day * MIB + rng.gauss(0, 500 * MIB)))
    clear = trend(samples(14, lambda day, _: 1000 * MIB + day * 100 * MIB + rng.gauss(0, 50 * MIB)))
    assert lost.days_until(MIB) is None
    assert clear.least < 100 * MIB < clear.most
    assert clear.is_growing


def test_too_few_days_say_nothing():
    """With less than four days, however many samples, nothing is known."""
    assert trend([]) is None
    assert trend(samples(LEAST_DAYS - 1, lambda day, _: day * MIB, every=1)) is None
    assert trend(samples(LEAST_DAYS, lambda day, _: day * MIB)) is not None


def test_what_shrinks_or_stays_is_never_full():
    """A size that falls, or does not change, has no date."""
    assert trend(samples(9, lambda day, _: (9 - day) * MIB)).days_until(MIB) is None
    assert trend(samples(9, lambda _day, _: MIB)).days_until(MIB) is None


def test_a_change_of_habit_counts_after_a_while():
    """Only the last 30 days count: what was long ago does not hide that it grows now."""
    found = trend(samples(50, lambda day, _: max(day - 20, 0) * 10 * MIB))
    assert found.per_day == pytest.approx(10 * MIB, rel=0.05)


@pytest.mark.parametrize("hours", [(0, 6, 12, 18), (0, 12), (0, 1, 2, 3, 4, 5, 6, 12)])
def test_the_night_alone_says_nothing_of_a_day_that_has_begun(hours: tuple[int, ...]):
    """12 MiB that come at midnight and go by the next sample never look like growth, whichever sample was the last."""
    found: list[Sample] = []
    for day in range(8):
        for hour in hours:
            size = day * MIB + (12 * MIB if hour == 0 else 0)
            found.append(Sample(START + timedelta(days=day, hours=hour, minutes=5), "/", size))
            told = trend(found)
            assert told is None or told.per_day == pytest.approx(MIB, rel=0.01), (day, hour, told)
    assert told is not None


@pytest.mark.parametrize(("before", "after"), [(1, 6), (6, 1), (1, 24), (24, 6)])
def test_a_job_that_runs_more_rarely_or_more_often_goes_on_telling(before: int, after: int):
    """After 20 steady days the job runs otherwise and it grows: after some days that is told, not that it does not."""
    known = samples(20, lambda _day, _hour: 50_000 * MIB, every=before)
    new = samples(50, lambda day, _: 50_000 * MIB + (day - 20) * 1000 * MIB, every=after)
    later = [sample for sample in new if sample.at >= START + timedelta(days=20)]
    told = [
        trend([*known, *(one for one in later if one.at < START + timedelta(days=20 + days))]) for days in range(30)
    ]
    assert all(one is None or one.most > 0 for one in told[7:])
    assert all(one is not None and one.is_growing for one in told[14:])
    assert told[29].per_day == pytest.approx(1000 * MIB, rel=0.01)


def test_a_day_of_which_little_is_known_is_left_out():
    """A daemon that was stopped soon after midnight has seen the night alone."""
    found = samples(9, lambda day, hour: day * MIB + (50_000 * MIB if hour == 0 else 0))
    part = [sample for sample in found if sample.at.day != START.day + 7 or sample.at.hour == 0]
    assert trend(part).per_day == pytest.approx(MIB, rel=0.01)
    assert trend(part).is_growing
