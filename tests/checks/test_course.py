"""What rows of readings come to: pure values."""

import pytest

from maintd.check import Quorum
from maintd.course import Course
from maintd.readings import Health

LETTERS = {"u": Health.UP, "g": Health.DEGRADED, "d": Health.DOWN, "?": Health.UNKNOWN}


def ends(readings: str, fail_after: object = 2, recover_after: object = 2) -> str:
    """How a check stands after these readings: a Health, or that it flaps."""
    course, now = Course(), Health.UNKNOWN
    for letter in readings:
        course.add(LETTERS[letter])
        if not course.is_flapping:
            now = course.verdict(now, Quorum.parse(fail_after), Quorum.parse(recover_after))
    return "flapping" if course.is_flapping else str(now)


@pytest.mark.parametrize(
    ("readings", "end"),
    [
        ("u", "up"),
        ("d", "unknown"),
        ("dd", "down"),
        ("uud", "up"),
        ("uudu", "up"),
        ("uudd", "down"),
        ("uuddu", "down"),
        ("uudduu", "up"),
        ("uugg", "degraded"),
        ("uugd", "degraded"),
        ("uugdd", "down"),
        ("uuddgg", "degraded"),
        ("uudd?", "down"),
        ("uu??", "unknown"),
        ("uu?u?u?u?u", "up"),
        ("ududu", "up"),
        ("ududud", "flapping"),
        ("udududuuuuu", "flapping"),
        ("udududuuuuuu", "up"),
        ("udududdddddd", "down"),
        ("ududud?????", "flapping"),
        ("ududud??????", "unknown"),
    ],
)
def test_so_many_in_a_row(readings, end):
    """It takes two in a row each way; one blip is nothing, three dips are flapping, six alike are the end of that."""
    assert ends(readings) == end


@pytest.mark.parametrize(
    ("readings", "end"),
    [("uududd", "down"), ("uududud", "flapping"), ("uuduud", "up"), ("uuddu", "up"), ("udddu", "down")],
)
def test_so_many_of_the_last(readings, end):
    """With "3 of 5" the bad ones need not stand side by side."""
    assert ends(readings, "3 of 5") == end


def test_one_is_enough_if_that_is_wanted():
    assert [ends("ud", 1, 1), ends("udu", 1, 1), ends("ug", 1)] == ["down", "up", "degraded"]


@pytest.mark.parametrize("given", [0, "0", "3 of 2", "2 of 61", True, 1.5, "two", "1 of"])
def test_what_is_no_quorum_is_refused(given):
    with pytest.raises(ValueError, match="write 3"):
        Quorum.parse(given)
