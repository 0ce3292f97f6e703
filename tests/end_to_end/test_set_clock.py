"""Pauses while the wall clock is set under the daemon."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .daemon import ONE, Daemon
from .test_clock import LIBRARY

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is missing: apt-get install faketime")
YEAR = timedelta(days=366)


def _set(one: Daemon, by: timedelta) -> Path:
    shift = one.tree.folder / "shift"
    fresh = one.tree.folder / "shift.new"
    fresh.write_text(f"{int(by.total_seconds()):+d}\n")
    fresh.rename(shift)
    return shift


def _start(one: Daemon) -> None:
    one.start(
        under=[
            "env",
            f"LD_PRELOAD={LIBRARY}",
            f"FAKETIME_TIMESTAMP_FILE={_set(one, timedelta())}",
            "FAKETIME_NO_CACHE=1",
            "DONT_FAKE_MONOTONIC=1",
        ]
    )


def test_a_pause_ends_in_time_though_the_clock_was_set_back(daemon):
    """A pause of two seconds is over after these, also if the clock goes back a year meanwhile."""
    one = daemon(ONE)
    _start(one)
    assert one.tree.run("pause", "--for", "2s").returncode == 0
    _set(one, -YEAR)
    one.event("clock.jumped")
    one.event("job.resumed")


def test_a_pause_goes_on_though_the_clock_was_set_ahead(daemon):
    """A pause of an hour is not over because the clock shows next year; status says until when by the new clock."""
    one = daemon(ONE)
    _start(one)
    assert one.tree.run("pause", "rotate.a", "--for", "1h").returncode == 0
    _set(one, YEAR)
    one.event("clock.jumped")
    assert one.state_of("rotate.a") == "paused"
    (job,) = one.status()["jobs"]
    left = datetime.fromisoformat(job["paused_until"]) - datetime.now(UTC) - YEAR
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert one.events("job.resumed") == []
