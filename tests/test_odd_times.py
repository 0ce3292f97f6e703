"""Files with a time that no calendar has, which anybody may give to their own: they hold up nobody's work."""

import os

import pytest

from tests.faults.runaway import FLOOR
from tests.test_guard import MIB, add, archive, did, guarded, of

__all__ = ["guarded"]


@pytest.mark.parametrize("seconds", [253402300800, -99_999_999_999])
def test_a_file_of_no_time_holds_up_no_job(guarded, seconds: int):
    """With an mtime in the year 10000, or long before the first, expire, archive and guard go on with all others."""
    made = guarded()  # a tmpfs keeps such times, as btrfs does
    folder = made.disk.folder / "data"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.csv").write_bytes(os.urandom(MIB))
        os.utime(folder / f"{number}.csv", (1.7e9 + number, 1.7e9 + number))
    odd = folder / "odd.csv"
    odd.write_bytes(b"x")
    os.utime(odd, ns=(0, seconds * 10**9))
    assert odd.stat().st_mtime_ns == seconds * 10**9
    when = 'cron = "@yearly"\n'
    add(made, f'[expire.some]\npaths = ["{folder}/*.csv"]\nkeep_last = 3\nempty_directories = true\n{when}')
    add(made, f'[archive.old]\npaths = ["{folder}/*.csv"]\nto = "{made.here}/archive"\nolder_than = "1d"\n{when}')
    kept = [archive(made, day, MIB) for day in range(1, 5)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - MIB)
    events = did(made)
    assert len(of(events, "file.expired", "log.expired")) == 1 + (seconds < 0)
    assert all(path.exists() for path in kept)
    for name in ("expire.some", "archive.old"):
        done = made.maintd("do", name)
        assert (done.returncode, "not foreseen" in done.stdout + done.stderr) == (0, False)
    assert len(list((made.here / "archive").glob("*.zst"))) >= 2
