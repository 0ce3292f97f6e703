"""Sizes, durations and counts as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintd.units import counted, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("10", 10), ("10K", 10_240), ("10k", 10_240), ("10KiB", 10_240), ("10kB", 10_000), ("10M", 10 << 20),
     ("1.5G", 3 << 29), ("2 GB", 2_000_000_000), ("1T", 1 << 40), (7, 7)],
)  # fmt: skip
def test_sizes(text, size):
    """Single letters and KiB count in 1024s, kB in 1000s, a bare number is bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "10X", "10 M B", "1e3", "0x10", "ten"])
def test_what_is_no_size_is_refused_with_examples(text):
    """A size that cannot be read is refused, and the message shows how to write one."""
    with pytest.raises(ValueError, match="10M"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9" * 400 + "T", "99999999999T", "9223372036854775808"])
def test_what_no_file_can_be_as_large_as_is_refused(text):
    """A size beyond what the kernel can express is refused, however many digits it has."""
    with pytest.raises(ValueError, match="larger than a file"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "7", "1h30", "h", "-1d", "1y", "7 days", "99999999999d"])
def test_what_is_no_duration_is_refused(text):
    """A duration needs a unit that is known, and ends before a hundred years."""
    with pytest.raises(ValueError, match=r"duration|hundred years"):
        parse_duration(text)


@given(st.integers(0, 10**11).map(lambda ms: timedelta(milliseconds=ms)))
def test_durations_are_read_back_as_written(span):
    """What maintd prints as a duration can be pasted into a config; beyond a second it is exact to the second."""
    again = parse_duration(format_duration(span))
    assert abs(again - span) < (timedelta(seconds=1) if span >= timedelta(seconds=1) else timedelta(milliseconds=1))


def test_sizes_for_people():
    """Sizes are shown in 1024s with one digit."""
    assert [format_size(size) for size in (0, 1023, 1536, 5 << 20, 3 << 40)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 TiB"
    ]  # fmt: skip


def test_counts_for_people():
    """One of a thing is no plural."""
    assert [counted(count, "error") for count in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]
