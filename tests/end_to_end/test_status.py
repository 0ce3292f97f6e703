"""What `maintd status` says of a daemon at work: it is so, it stays so over restarts, and it is taken back in time."""

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import until

from .daemon import Daemon

FAILS = '[rotate.fails]\npaths = ["LOGS/fails/*.log"]\ncron = "@yearly"\nbefore = ["/bin/false"]\n'
WORKS = '[rotate.works]\npaths = ["LOGS/works/*.log"]\ncron = "@yearly"\n'
SHARES = '[rotate.shares]\npaths = ["LOGS/*/x.log"]\ncron = "@yearly"\nolddir = "HERE/old"\n'
GROWS = '[rotate.grows]\npaths = ["LOGS/grows/*.log"]\nmax_size = "1K"\nolddir = "HERE/old"\n'


def job_of(daemon: Daemon, name: str) -> dict[str, Any]:
    return next(job for job in daemon.status()["jobs"] if job["name"] == name)


def refused(daemon: Daemon) -> list[str]:
    """The logs that are refused, by what is behind the folder of logs."""
    return [item["log"].removeprefix(f"{daemon.tree.logs}/") for item in daemon.status()["refused"]]


def restart(daemon: Daemon) -> None:
    assert daemon.stop() == 0
    daemon.start()


def test_the_last_outcomes_survive_a_restart(daemon):
    """How the last run of each job went, and when, is known after a restart as before it, also to scripts."""
    one = daemon(FAILS + WORKS).start()
    one.tree.log("fails/a.log")
    one.tree.log("works/a.log")
    assert one.tree.run("do", "rotate.works").returncode == 0
    until(lambda: job_of(one, "rotate.works")["last_outcome"], "the run is noted")
    assert one.tree.run("status").returncode == 0
    assert one.tree.run("do", "rotate.fails").returncode == 1
    until(lambda: job_of(one, "rotate.fails")["last_outcome"], "the run is noted")

    def last() -> list[tuple[str, str, str]]:
        return [(job["last_outcome"], job["last_run"], job["last_msg"]) for job in one.status()["jobs"]]

    before = last()
    assert [(outcome, msg) for outcome, _, msg in before] == [
        ("failure", "0 done, 1 failed, 2 left out"),
        ("success", "2 done"),
    ]
    restart(one)
    assert last() == before
    assert one.tree.run("status").returncode == 3


def test_the_state_of_an_earlier_maintd_is_taken_over(daemon):
    """A state.sqlite of version 1 is brought up to date: its pauses are in force, and nothing is set aside."""
    one = daemon(WORKS)
    state = one.tree.folder / "state"
    state.mkdir(mode=0o700)
    database = sqlite3.connect(state / "state.sqlite")
    database.executescript("""
        CREATE TABLE success (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
        CREATE TABLE pause (job TEXT PRIMARY KEY, until TEXT) STRICT;
        INSERT INTO pause VALUES ('rotate.works', NULL);
        PRAGMA user_version = 1;
    """)
    database.close()
    one.start()
    assert one.state_of("rotate.works") == "paused"
    assert one.events("state.reset") == []


def test_a_rejected_config_is_shown_until_a_good_one(daemon):
    """After a SIGHUP with a bad config status says which errors, since when, and no; a good reload ends that."""
    one = daemon(WORKS).start()
    assert one.status()["rejected"] is None
    one.tree.write_config(WORKS + "kep = 3\nkeep = 0\n")
    one.hang_up()
    one.event("config.rejected")
    rejected = one.status()["rejected"]
    at = datetime.fromisoformat(rejected["at"])
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=30)
    assert (rejected["errors"], len(rejected["problems"])) == (2, 2)
    assert all(problem.startswith(f"{one.tree.config}:") for problem in rejected["problems"])
    shown = one.tree.run("status")
    assert shown.returncode == 3
    assert f"config rejected: 2 errors at {at:%Y-%m-%d %H:%M}Z" in shown.stdout
    assert all(problem in shown.stdout for problem in rejected["problems"])
    one.tree.write_config(WORKS)
    assert one.tree.run("reload").returncode == 0
    assert one.status()["rejected"] is None
    assert "rejected" not in one.tree.run("status").stdout


def test_refused_logs_are_shown_until_they_are_not_refused(daemon):
    """Logs that are not rotated are listed with advice, over runs of others and restarts, until they could be."""
    one = daemon(SHARES + WORKS).start()
    for name in ("a/x.log", "b/x.log", "works/y.log"):
        one.tree.log(name)
    assert one.tree.run("do", "rotate.shares").returncode == 5
    until(lambda: refused(one) == ["a/x.log", "b/x.log"], "both are refused")
    first = one.status()["refused"]
    assert all(item["job"] == "rotate.shares" and "olddir" in item["advice"] for item in first)
    shown = one.tree.run("status").stdout
    assert "2 logs not rotated:" in shown
    assert all(item["log"] in shown and item["advice"] in shown for item in first)
    assert one.tree.run("do", "rotate.works", "--json").returncode == 0
    restart(one)
    assert one.tree.run("do", "rotate.shares").returncode == 5
    assert one.status()["refused"] == first
    (one.tree.logs / "a/x.log").unlink()
    assert one.tree.run("do", "rotate.shares").returncode == 0
    until(lambda: not refused(one), "none is refused")
    assert "not rotated" not in one.tree.run("status").stdout
    restart(one)
    assert refused(one) == []


def test_a_refusal_ends_with_what_it_was_about(daemon):
    """If the job is changed, or the log was replaced while nobody was there, nothing is said that may be wrong."""
    one = daemon(SHARES).start()
    logs = [one.tree.log("a/x.log"), one.tree.log("b/x.log")]
    one.tree.run("do", "rotate.shares")
    until(lambda: len(refused(one)) == 2, "both are refused")
    assert one.stop() == 0
    os.rename(logs[0], f"{logs[0]}.old")
    one.tree.log("a/x.log")
    one.start()
    assert refused(one) == ["b/x.log"]
    one.tree.write_config(SHARES.replace("HERE/old", "old"))
    assert one.tree.run("reload").returncode == 0
    assert refused(one) == []


def test_a_run_for_some_logs_says_nothing_of_the_others(daemon):
    """A refused log stays listed when another one of its job has grown and is rotated."""
    one = daemon(GROWS.replace("grows/*.log", "grows/**/*.log")).start()
    for name in ("grows/a/x.log", "grows/b/x.log"):
        one.tree.log(name, b"small\n")
    one.tree.run("do", "rotate.grows")
    until(lambda: len(refused(one)) == 2, "both are refused")
    assert one.rotates("grows/y.log")
    one.event("job.finished", cause="settling")
    assert refused(one) == ["grows/a/x.log", "grows/b/x.log"]
    (one.tree.logs / "grows/b/x.log").unlink()
    one.grow("grows/a/x.log")
    one.event("log.rotated", target=str(one.tree.logs / "grows/a/x.log"))
    until(lambda: refused(one) == ["grows/b/x.log"], "what was rotated is not refused")


def test_status_says_until_when_a_pause_lasts(daemon):
    """The end of each pause is shown, of one job as of all; with two of them the later one counts."""
    one = daemon(WORKS + FAILS).start()

    def ends() -> list[str | None]:
        return [job["paused_until"] for job in one.status()["jobs"]]

    one.tree.run("pause", "rotate.works", "--for", "2h")
    works, other = ends()
    assert works
    assert other is None
    left = datetime.fromisoformat(works) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)
    assert f"paused until {works[:10]} {works[11:16]}Z (in " in one.tree.run("status").stdout
    one.tree.run("pause", "--for", "1d")
    status = one.status()
    assert status["paused_all_until"] == ends()[0] == ends()[1]
    assert status["paused_all_until"] > works
    assert f"all jobs are paused until {status['paused_all_until'][:10]}" in one.tree.run("status").stdout
    one.tree.run("pause", "rotate.fails")
    assert ends() == [status["paused_all_until"], None]
    assert "paused until maintd resume" in one.tree.run("status").stdout
    restart(one)
    assert json.loads(one.tree.run("status", "--json").stdout)["paused_all_until"] == status["paused_all_until"]
    one.tree.run("resume")
    assert ends() == [None, None]
