"""Pauses while the wall clock is set under the daemon."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintd.state import State, samples_kept
from maintd.trends import Sample
from tests.conftest import until

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


def test_what_was_done_to_programs_is_as_long_ago_though_the_clock_was_set_back(daemon):
    """A restart a minute ago is that after the clock went back an hour: no pause and no budget stretches by it."""
    one = daemon('[limit.one]\nprogram = "one"\nmemory = "1G"\n' + ONE)
    at, hour = datetime.now(UTC), timedelta(hours=1)
    folder = one.tree.folder / "state"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = State(str(folder), lambda _: None)
    for job in ("limit.one", "rotate.a"):
        state.record_samples(job, [Sample(at, "something", 1)])
    state.close()
    _start(one)
    _set(one, -hour)
    one.event("clock.jumped")
    until(lambda: samples_kept(str(folder), "limit.one")[0].at < at, "it is moved", 10)
    (moved,), (kept,) = (samples_kept(str(folder), job) for job in ("limit.one", "rotate.a"))
    assert abs(moved.at + hour - at) < timedelta(seconds=5)
    assert kept.at == at
