"""When jobs run next: what `every` counts from, and what another time zone moves."""

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta

from tests.conftest import until

from .daemon import GROWS, Daemon

SECOND = timedelta(seconds=1)
EVERY = timedelta(hours=7)


def _next_runs(one: Daemon) -> list[datetime]:
    return [datetime.fromisoformat(job["next"]) for job in one.status()["jobs"] if job["next"]]


def _next(one: Daemon) -> datetime:
    (when,) = _next_runs(one)
    return when


def test_an_interval_counts_from_the_start_and_then_from_each_success(daemon):
    """A job that never ran is due an `every` after the start; then after what a person had it do, over restarts too."""
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\nevery = "7h"\n')
    begun = datetime.now(UTC)
    one.start()
    until(lambda: begun - SECOND <= _next(one) - EVERY <= datetime.now(UTC), "it counts from the start")
    first = _next(one)
    until(lambda: datetime.now(UTC) > first - EVERY + 2 * SECOND, "some time has passed")
    one.tree.log("a/x.log")
    asked = datetime.now(UTC)
    assert one.tree.run("do", "rotate.a").returncode == 0
    until(lambda: asked - SECOND <= _next(one) - EVERY <= datetime.now(UTC), "it counts from what was done")
    second = _next(one)
    assert second > first
    assert one.stop() == 0
    one.start()
    assert _next(one) == second


def test_the_first_interval_goes_on_over_restarts(daemon):
    """A job that never ran is due an `every` after it was first seen, however often maintd is started in between."""
    one = daemon('[expire.a]\npaths = ["LOGS/a/*"]\nmax_age = "30d"\nevery = "7h"\n').start()
    first = _next(one)
    assert one.stop() == 0
    one.start()
    assert _next(one) == first
    assert one.stop() == 0
    with contextlib.closing(sqlite3.connect(one.tree.folder / "state/state.sqlite")) as state:
        seen = (datetime.now(UTC) - EVERY).isoformat()
        state.execute("UPDATE seen SET at = ?", [seen])
        state.commit()
    begun = datetime.now(UTC)
    one.start()
    until(lambda: _next(one) - EVERY >= begun - SECOND, "it ran, and counts from that")


def test_another_timezone_changes_what_goes_by_it_and_runs_nothing(daemon):
    """With another timezone cron waits for its next time there, and what goes by `every` keeps its next run."""
    jobs = '[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "0 0 * * *"\n[compress.c]\npaths = ["LOGS/c/*"]\n'
    jobs += 'older_than = "1d"\nevery = "7h"\n' + GROWS.format("b")
    one = daemon(jobs).start()
    assert one.tree.run("do", "rotate.a", "--due").returncode == 0  # what is done at every start is over by now
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    by_cron, by_every = _next_runs(one)
    assert by_cron.hour == 0
    until(lambda: datetime.now(UTC) > by_every - EVERY + 2 * SECOND, "some time has passed")
    one.tree.write_config(jobs, daemon='timezone = "Asia/Tokyo"')
    assert one.tree.run("reload").returncode == 0
    moved, kept = _next_runs(one)
    assert (moved.hour, kept) == (15, by_every)
    for _ in range(2):
        assert one.rotates("b/x.log")  # which would have waited its turn behind what was made up for
    assert late.stat().st_size
    one.tree.write_config(jobs)
    assert one.tree.run("reload").returncode == 0
    assert _next_runs(one) == [by_cron, by_every]
