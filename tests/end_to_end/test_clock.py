"""The wall clock is set while the daemon runs, by a preloaded library that shifts what the real program reads."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintd.names import parse_archive
from tests.conftest import until

from .stage import MAINTD

LIBRARIES = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1") for machine in ("x86_64", "aarch64")]
LIBRARY = next((path for path in LIBRARIES if path.exists()), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is missing: apt-get install faketime")


@pytest.mark.parametrize("jump", [timedelta(days=366), timedelta(days=-366)], ids=["forward", "back"])
def test_a_jump_of_a_year_deletes_nothing_and_rotation_goes_on(tmp_path, jump):
    """Set forward or back a year, the clock makes no archive old in a job's next run, and logs are still rotated.

    What lies there afterwards and is too old by the new clock as well stays in that run, and goes in a later one.
    """
    logs = tmp_path / "logs"
    logs.mkdir()
    stamps = [datetime.now(UTC) - timedelta(days=days) for days in (5, 4, 3)]
    old = [logs / f"app.log.{stamp:%Y%m%dT%H%M%SZ}.zst" for stamp in stamps]
    for path in old:
        path.write_bytes(b"x")
    log = logs / "app.log"
    log.write_text("first\n")
    shift, events = tmp_path / "shift", tmp_path / "events"
    shift.write_text("+0\n")
    config = tmp_path / "maintd.toml"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        f'[rotate.app]\npaths = ["{logs}/*.log"]\nmax_size = "1K"\nmax_age = "30d"\ncompress = "none"\n'
    )
    config.chmod(0o644)
    environment = os.environ | {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with events.open("wb") as out:
        daemon = subprocess.Popen([MAINTD, "-c", config, "run"], stdout=out, env=environment)

    def maintd(*arguments: str) -> str:
        return subprocess.run([MAINTD, "-c", config, *arguments], check=False, capture_output=True, text=True).stdout

    def is_idle() -> bool:
        status = maintd("status", "--json")
        return bool(status) and json.loads(status)["jobs"][0]["state"] == "idle"

    try:
        until(is_idle, "what is done at every start is over")
        fresh = tmp_path / "shift.new"
        fresh.write_text(f"{int(jump.total_seconds()):+d}\n")
        fresh.rename(shift)
        until(lambda: b"clock.jumped" in events.read_bytes(), "the jump is noticed")
        shifted = datetime.now(UTC) + jump
        past = [logs / f"app.log.{shifted - timedelta(days=days):%Y%m%dT%H%M%SZ}.zst" for days in (60, 50, 40)]
        for path in past:
            path.write_bytes(b"x")
        log.write_text("line\n" * 1000)
        until(lambda: b'"cause":"grown"' in events.read_bytes(), "the log is rotated")
        until(is_idle, "it has settled")
        assert all(path.exists() for path in (*old, *past)), events.read_text()
        assert b"log.expired" not in events.read_bytes()
        rotated = [path for path in logs.iterdir() if path not in (*old, *past, log)]
        assert [path.read_text() for path in rotated] == ["line\n" * 1000]
        newest = max(
            [*old, *past, *rotated], key=lambda path: (parse_archive(path.name).stamp, parse_archive(path.name).n)
        )
        assert newest == rotated[0]
        maintd("do", "--all")
        # those with a date in the future count as no newer ones: the newest of the others stays too
        too_old = past if jump > timedelta(0) else past[:-1]
        assert [path.exists() for path in past] == [path not in too_old for path in past], events.read_text()
    finally:
        daemon.terminate()
        daemon.wait(10)
