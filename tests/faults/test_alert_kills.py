"""A sample of the campaign that kills maintd while it alerts and restarts; all of it: python -m tests.faults."""

from . import alert_kills


def test_whatever_moment_maintd_is_killed_at_all_is_told_and_runs():
    """After a few kills each failure was delivered, repeats were the same message, and no program stays stopped."""
    row = alert_kills.run(0.05)
    assert row.holds, row
