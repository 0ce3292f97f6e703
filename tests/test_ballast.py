"""The ballast of a guard: nobody else's patterns name it, and it is as large as it is to be."""

import os
from pathlib import Path

from maintd.floors import Floors
from maintd.room import Floor, Portion
from maintd.triggers import Due, Settling
from tests.conftest import until
from tests.test_guard import MIB, add, did, guarded, of, planned_by

__all__ = ["guarded"]


def test_no_job_takes_the_ballast(guarded):
    """Patterns for all that is there leave it out, whatever their kind: to compress it would give its room away."""
    made = guarded()
    ballast = made.disk.folder / "ballast"
    made.configure(ballast='"4M"', ballast_file=f'"{ballast}"')
    did(made)
    assert ballast.stat().st_size == 4 * MIB
    (made.disk.folder / "newer").write_bytes(b"x")
    pattern, when = f'paths = ["{made.disk.folder}/*"]\n', 'cron = "@yearly"\n'
    add(made, f'[expire.all]\n{pattern}keep_last = 1\nmax_share = "100%"\n{when}')
    add(made, f'[compress.all]\n{pattern}older_than = "0s"\n{when}')
    add(made, f'[archive.all]\n{pattern}to = "{made.here}/archive"\nolder_than = "0s"\n{when}')
    for job in ("expire.all", "compress.all", "archive.all"):
        assert str(ballast) not in [step["target"] for step in planned_by(made, job) if step["step"] == "action"]
    assert made.maintd("do", "compress.all").returncode == 0
    assert ballast.stat().st_size == 4 * MIB


def test_a_ballast_of_another_size_is_made_anew(guarded):
    """Once `ballast` is changed, the old one goes and one of that size is made, if there is room for it."""
    made = guarded()
    ballast = made.disk.folder / "ballast"
    for size, happened in ((4, ["ballast.made"]), (8, ["ballast.released", "ballast.made"]), (60, [])):
        made.configure(ballast=f'"{size}M"', ballast_file=f'"{ballast}"')
        events = did(made)
        assert [event["event"] for event in of(events, "ballast.made", "ballast.released")] == happened
    assert ballast.stat().st_size == 8 * MIB


def test_it_is_looked_after_now_and_then(tmp_path: Path):
    """A guard is due to settle once in a while, also if its file system was never low: a ballast may have gone."""
    floors = Floors(lambda *_: None, lambda *_: None, settled=0.1)
    floors.set("guard.disk", Floor(os.fspath(tmp_path), Portion(4096), None, Portion(4096)))
    for _ in range(2):
        until(lambda: Due("guard.disk", Settling()) in list(floors.look()), "that it settles")
