"""The clock: what was looked at is accepted, and nothing else."""

import pytest

from maintd.clock import LEAST, Clock
from maintd.clock_doubts import ClockDoubted, ClockDoubts, ClockTrusted
from maintd.clock_store import Reading
from maintd.state import State


def test_a_jump_after_the_look_is_still_to_be_seen():
    """What happens to the wall clock between a look and its acceptance is seen at the next look, whole."""
    shown = [1000.0]
    clock = Clock(lambda: shown[0])
    seen = clock.drift()
    assert abs(seen) < LEAST
    shown[0] += 3600
    clock.accept(seen)
    jump = clock.jump()
    assert 3590 < jump <= 3600
    clock.accept(jump)
    assert clock.jump() == 0


DAY, YEAR = 86_400.0, 366 * 86_400.0


@pytest.mark.parametrize(
    ("boot", "wall", "is_doubted"),
    [
        pytest.param("a", 100.0, False, id="as it was"),
        pytest.param("a", 100.0 + 1800, False, id="corrected by half an hour"),
        pytest.param("a", 100.0 + 2 * DAY, True, id="two days ahead within one boot"),
        pytest.param("b", 6 * DAY, False, id="off for six days"),
        pytest.param("b", YEAR, True, id="off for a year, or a wrong clock"),
        pytest.param("b", -10 * YEAR, True, id="a clock without a battery"),
        pytest.param("", YEAR, True, id="no name of the boot"),
    ],
)
def test_the_clock_is_compared_with_that_of_the_last_start(tmp_path, boot, wall, is_doubted):
    """100 s after the last reading, of the same boot or of another: what the clock may show, and what is doubted."""
    at, found = 2 * YEAR, Reading(0, 0, "")
    for since_boot, name, shown in ((1000.0, "a", 0.0), (1100.0 if boot == "a" else 100.0, boot, wall)):
        state = State(str(tmp_path), lambda _: None)
        found = Reading(at + shown, since_boot, name)
        doubts = ClockDoubts(state.clock, lambda found=found: found)
        event = doubts.note()
        state.close()
    assert (event is not None) == doubts.holds("expire.a") == is_doubted


def test_a_doubt_ends_by_a_right_clock_a_day_or_a_person(tmp_path):
    """Over a boot with a clock of ten years ago that NTP sets right; after a day of running; job by job by a person."""
    shown = [Reading(10 * YEAR, 1000, "a")]
    doubts = ClockDoubts(State(str(tmp_path), lambda _: None).clock, lambda: shown[0])
    assert doubts.note() is None
    shown[0] = Reading(0, 10, "b")
    assert isinstance(doubts.note(), ClockDoubted)
    shown[0] = Reading(10 * YEAR + DAY, 40, "b")  # it was off for a day
    assert isinstance(doubts.note(), ClockTrusted)
    shown[0] = Reading(20 * YEAR, 41, "b")
    assert isinstance(doubts.note(), ClockDoubted)
    doubts.release("expire.a")
    assert not doubts.holds("expire.a")
    again = ClockDoubts(State(str(tmp_path), lambda _: None).clock, lambda: shown[0])
    assert again.note() is None
    assert (again.holds("expire.a"), again.holds("expire.b")) == (False, True)
    shown[0] = Reading(20 * YEAR + DAY, 42 + DAY, "b")
    assert isinstance(again.note(), ClockTrusted)
    assert not again.holds("expire.b")
