"""Ages of stamps under a clock that is set: pure values."""

from typing import Any

from maintd.ages import age

DAY = 86_400.0


def test_a_clock_that_is_set_makes_nothing_older_or_younger():
    """A stamp that stays is as old as before, whatever the wall clock says by then."""
    memory: dict[str, Any] = {}
    assert age(1000.0, "a", memory, now=1060.0) == 60
    assert 60 <= age(1000.0, "a", memory, now=1060.0 + DAY) < 70
    assert 60 <= age(1000.0, "a", memory, now=1060.0 - DAY) < 70


def test_what_was_written_since_the_last_look_is_no_older_than_that():
    """A new stamp is young, also if it was made before the clock was set ahead; one of the future is new."""
    memory: dict[str, Any] = {}
    age(1000.0, "a", memory, now=1060.0)
    assert age(1061.0, "a", memory, now=1062.0 + DAY) < 10
    assert age(1063.0 + DAY, "a", memory, now=1064.0) == 0


def test_a_stamp_never_seen_goes_by_the_wall_clock():
    assert age(1000.0, "b", {}, now=1000.0 + DAY) == DAY
