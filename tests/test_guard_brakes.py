"""What keeps a guard from giving up too much of another job: its pause, and its share of files that may go."""

import json
import os
import time
from datetime import UTC, datetime

from maintd import contexts
from maintd.config import load
from maintd.guarded import Guarded
from maintd.log import Log
from maintd.observations import Observations
from maintd.runner import Runner
from maintd.runs import Run
from maintd.state import State
from maintd.triggers import Asked
from tests.conftest import until
from tests.faults.runaway import FLOOR, Scene
from tests.test_guard import MIB, add, archive, did, guarded, of

__all__ = ["guarded"]


def files(made: Scene, count: int = 16) -> None:
    """Of a job by whose slip all but one are given up."""
    folder = made.disk.folder / "data"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02d}.csv").write_bytes(b"x" * 4096)
        os.utime(folder / f"{number:02d}.csv", (1.7e9 + number, 1.7e9 + number))
    add(made, f'[expire.some]\npaths = ["{folder}/*.csv"]\nkeep_last = 1\ncron = "@yearly"\n')
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - MIB)


def left(made: Scene) -> int:
    return len(list((made.disk.folder / "data").iterdir()))


def change(made: Scene, old: str, new: str) -> None:
    config = made.here / "maintd.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def test_a_guard_takes_a_jobs_share_once_between_two_runs_of_it(guarded):
    """Runs of a guard follow each other; together they give up no more than max_share, also after a restart.

    A run of the job that is broken off, here by its timeout, gives no new share, neither at once nor then.
    """
    made = guarded()
    files(made)
    add(made, 'timeout = "1ms"\n')
    with made.daemon():
        (spent,) = until(lambda: made.events("guard.spent"), "that nothing is left")
        assert left(made) == 8
        assert made.maintd("do", "expire.some").returncode == 1
        assert left(made) == 8
    change(made, 'timeout = "1ms"\n', "")
    assert "at most 50% go in one (max_share)" in spent["kept"]
    assert "guards take that once between two of its own" in spent["kept"]
    assert not of(did(made), "file.expired")
    with made.daemon():
        until(lambda: len(made.events("daemon.started", "guard.spent")) == 4, "the same of the next daemon")
        assert left(made) == 8
        assert made.maintd("do", "expire.some").returncode == 0
        did(made)
        assert not of(did(made), "file.expired")
    assert left(made) == 2  # its own run has taken four, and guards two


def test_a_guard_without_the_daemon_takes_it_once_as_well(guarded):
    """`maintd do`, from a crontab for one, counts over all of its runs; a run of the job itself begins anew.

    With --due that is left out, and begins nothing.
    """
    made = guarded()
    files(made)
    for _ in range(2):
        did(made)
        assert left(made) == 8
        assert made.maintd("do", "--all", "--due").returncode == 0
        assert left(made) == 8
    assert made.maintd("do", "expire.some").returncode == 0
    assert left(made) == 4
    for _ in range(2):
        did(made)
        assert left(made) == 2


def test_of_two_guards_at_one_moment_only_one_takes_it(guarded):
    """The second waits for the first, and knows what that has taken before anybody else has heard that it ended."""
    made = guarded()
    files(made)
    config = load(str(made.here / "maintd.toml"))
    of = Guarded(State(config.settings.state_dir, print), Observations(), lambda *_: None, time.monotonic)
    ctx = contexts.context(config, "guard.disk", datetime.now(UTC), Asked())
    runs = [
        Run(name="guard.disk", job=config.jobs["guard.disk"], ctx=of.informed(ctx, frozenset()), on_ended=of.count)
        for _ in range(2)
    ]
    runner = Runner(Log(lambda _: None))
    assert [runner.run(run).given_up.total() for run in runs] == [8, 0]
    runner.rest()
    assert left(made) == 8


def test_a_guard_takes_nothing_of_a_paused_job(guarded):
    """What a person has paused keeps its files, of whatever kind; the guard says why, and goes on when that ends.

    So it is if maintd starts when nothing at all is free on the disk where it has noted that.
    """
    made = guarded()
    change(made, f'state_dir = "{made.here}/state"', f'state_dir = "{made.disk.folder}/state"')
    files(made)
    kept = [archive(made, day, 4096) for day in range(1, 5)]
    made.log.write_bytes(b"x" * MIB)
    (made.disk.folder / "filler").unlink()
    with made.daemon():
        for job in ("rotate.app", "expire.some"):
            assert made.maintd("pause", job).returncode == 0
        made.disk.fill(leave=FLOOR - MIB)
        (spent,) = until(lambda: made.events("guard.spent"), "that nothing may go")
        for job in ("rotate.app", "expire.some"):
            assert f"{job}: it is paused, so it gives up nothing" in spent["kept"]
        assert not made.events("file.expired", "log.expired", "log.rotated")
    made.disk.fill(leave=0)
    assert not [
        json.loads(line)
        for line in made.maintd("plan", "guard.disk", "--json").stdout.splitlines()
        if '"action"' in line
    ]
    assert not of(did(made), "file.expired", "log.expired", "log.rotated")
    assert (left(made), [path.exists() for path in kept]) == (16, [True] * 4)
    with made.daemon():
        until(lambda: len(made.events("guard.spent")) == 2, "that the next daemon knows the same", 40)
        assert made.events("state.failed")
        assert not made.events("file.expired", "log.expired", "log.rotated")
        assert made.maintd("resume").returncode == 0
        until(lambda: made.events("log.expired"), "that it goes on", 40)
