"""A guard where inodes are what is missing: what helps then, and when that is over."""

import os
import subprocess
from datetime import datetime, timedelta

from tests.conftest import until
from tests.faults.runaway import Scene
from tests.test_guard import MIB, archive, did, guarded, of, plan

__all__ = ["guarded"]
FLOOR = 50


def inodes(made: Scene) -> int:
    return os.statvfs(made.disk.folder).f_favail


def use_up(made: Scene, leave: int) -> None:
    """Has a service make small files until so many inodes are left."""
    made.disk.folder.joinpath("service").mkdir(exist_ok=True)
    for number in range(inodes(made) - leave):
        (made.disk.folder / f"service/{leave}-{number}").touch()


def count(made: Scene, most: int) -> None:
    """Has the file system hold so many files; with 0 it does not count them, as btrfs."""
    subprocess.run(["mount", "-o", f"remount,nr_inodes={most}", made.disk.folder], check=True)


def test_where_inodes_are_not_counted_none_can_be_missing(guarded):
    """On a file system that says 0 of 0 inodes nothing goes for `min_free_inodes`; `maintd check` tells of it."""
    made = guarded(min_free='"1M"', min_free_inodes="1000")
    kept = [archive(made, day, 1000) for day in range(1, 5)]
    made.log.write_bytes(b"x" * MIB)
    count(made, 0)
    assert not [step for step in plan(made) if step["step"] == "action"]
    did(made)
    assert all(path.exists() for path in kept)
    assert "min_free_inodes: this file system does not count inodes" in made.maintd("check").stderr


def test_what_frees_no_inode_is_not_done_for_one(guarded):
    """With space enough nothing is rotated or compressed for inodes, which would take more; that is said."""
    made = guarded(min_free='"1M"', min_free_inodes=str(FLOOR))
    kept = [archive(made, day, 1000, suffix="") for day in range(1, 5)]
    made.log.write_bytes(b"x" * MIB)
    count(made, 300)
    use_up(made, FLOOR - 10)
    events = did(made)
    assert not of(events, "log.rotated", "log.compressed")
    assert [event["target"] for event in of(events, "log.expired")] == [str(path) for path in kept[:2]]
    (spent,) = of(events, "guard.spent")
    assert "compress: it frees no inode; runaway: it frees no inode" in spent["kept"]
    assert f"{FLOOR - 8} inodes free, the floor is {FLOOR}" in spent["msg"]
    assert inodes(made) == FLOOR - 8


def test_inodes_end_above_the_floor_and_all_is_well_after_a_while(guarded):
    """A tenth more than the floor is made free, so that it is not crossed by the next file, and well is 5 s later."""
    made = guarded(min_free='"1M"', min_free_inodes=str(FLOOR))
    for number in range(30):
        archive(made, number, 1000)
    made.log.write_bytes(b"")
    count(made, 300)
    with made.daemon():
        use_up(made, FLOOR - 1)
        until(lambda: made.events("storage.ok"), "that all is well", 30)
        assert inodes(made) == FLOOR + FLOOR // 10
    (low,), (well,) = made.events("storage.low"), made.events("storage.ok")
    assert f"{FLOOR - 1} inodes free; the floor is {FLOOR}" in low["msg"]
    assert datetime.fromisoformat(well["ts"]) - datetime.fromisoformat(low["ts"]) >= timedelta(seconds=4)
