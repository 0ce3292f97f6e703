"""Pauses while the wall clock is set under the daemon."""

import os
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


def _start(one: Daemon, shift: timedelta = timedelta()) -> None:
    one.start(
        under=[
            "env",
            f"LD_PRELOAD={LIBRARY}",
            f"FAKETIME_TIMESTAMP_FILE={_set(one, shift)}",
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


EXPIRE = '[expire.old]\npaths = ["LOGS/old/*"]\nevery = "1s"\nmax_age = "30d"\n'


def _stage(one: Daemon) -> list[Path]:
    """Files of one to six days."""
    folder = one.tree.logs / "old"
    folder.mkdir(parents=True)
    files = [folder / f"f{days}" for days in range(1, 7)]
    for days, path in enumerate(files, 1):
        path.write_text("x")
        at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(path, (at, at))
    return files


def _runs_again(one: Daemon) -> None:
    """Waits until two more runs of the job have had their turn."""
    (job,) = one.status()["jobs"]
    for _ in range(2):
        before = one.status()["jobs"][0]["next"]
        until(lambda before=before: one.status()["jobs"][0]["next"] > before, f"a run of {job['name']}", 20)


def test_a_clock_that_stays_a_year_ahead_deletes_nothing_by_age(daemon):
    """Run after run nothing goes while the clock is wrong; status and plan say why. Once it is back, that is told."""
    one = daemon(EXPIRE)
    files = _stage(one)
    _start(one)
    _set(one, YEAR)
    doubted = one.event("clock.doubted")
    assert doubted["away_s"] == pytest.approx(YEAR.total_seconds(), abs=60)
    _runs_again(one)
    assert all(path.exists() for path in files), one.events()
    assert one.status()["clock"]["away_s"] == doubted["away_s"]
    assert "nothing goes by age" in one.tree.run("status").stdout
    assert "nothing goes by age" in one.tree.run("plan").stderr
    _set(one, timedelta())
    one.event("clock.trusted")
    assert one.status()["clock"] is None
    assert one.events("file.expired") == []


def test_a_clock_that_was_set_while_nobody_looked_deletes_nothing_until_a_person_says_so(daemon):
    """Started with a clock a year ahead, maintd deletes nothing, also after one more restart; `maintd do` ends that."""
    one = daemon(EXPIRE)
    files = _stage(one)
    _start(one)
    one.stop()
    for count in (1, 2):
        _start(one, YEAR)
        one.event("clock.doubted")
        _runs_again(one)
        assert all(path.exists() for path in files), one.events()
        if count == 1:
            one.stop()
    assert len(one.events("clock.doubted")) == 1
    one.tree.run("do", "--all", "--due")
    assert all(path.exists() for path in files), one.events()
    one.tree.run("do", "expire.old")
    one.event("file.expired")
